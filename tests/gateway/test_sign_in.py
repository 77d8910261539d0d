"""G1: staff sign in at the pages; what a client is given, for how long, and what ends it."""

import asyncio
from datetime import timedelta

import pytest

from shared import clock
from shared.actors import Role
from tests.gateway.signing_in import (
    REDIRECT,
    Browser,
    Pkce,
    app,
    bearer,
    first_link,
    outside,
    person,
    refreshed,
    set_password,
    tokens_of,
)
from tests.harness import District

REGIONS = "/registry/v1/regions/350582005"


async def test_staff_sign_in_with_password_and_authenticator(district: District) -> None:
    await app(district)
    someone = await person(district)
    async with outside(district) as client:
        pkce = Pkce()
        browser = await someone.sign_in(client, pkce)
        assert len(set(someone.recovery_codes)) == 10
        assert browser.answer["state"] == pkce.state
        assert browser.answer["iss"] == district.houses["gateway"].settings.issuer_url
        tokens = await tokens_of(client, browser.answer["code"], pkce)
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] <= 600
        assert tokens["scope"] == "openid"
        shown = await client.get(REGIONS, headers=bearer(tokens["access_token"]))
        assert shown.status_code == 200
        who = await client.get("/oauth/userinfo", headers=bearer(tokens["access_token"]))
        assert who.json() == {"sub": someone.account_id, "role": "grid_worker", "party": "", "residents": []}

        district.move_clock(seconds=60)
        again = await someone.sign_in(client, Pkce())
        assert "code" in again.answer

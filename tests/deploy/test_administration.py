"""What the operator does with a shell: the first administrator's link, and clients."""

import asyncio
import re
import subprocess
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from deploy import administration
from deploy.trouble import Trouble
from shared.core import clock
from tests.gateway.signing_in import REDIRECT, outside, set_password
from tests.gateway.test_clients import ask
from tests.harness import District

URL = "http://gateway"
LAB = {"client_id": "lab-1", "name": "检验科", "kind": "machine", "role": "laboratory", "party": "lab-1", "region": ""}


async def test_the_link_is_there_until_somebody_commands(district: District) -> None:
    owner = district.database.owner_url
    first = await asyncio.to_thread(administration.first_link, owner, URL)
    second = await asyncio.to_thread(administration.first_link, owner, URL)
    assert first is not None
    assert second is not None
    async with outside(district) as client:
        assert (await client.get(first.removeprefix(URL))).status_code == 404  # the newer one took its place
        (kept,) = await district.sql("SELECT hash, expires_at FROM gateway.links")
        assert second.rsplit("/", 1)[1].encode() not in kept["hash"]
        assert timedelta(hours=23) < kept["expires_at"] - clock.now() <= timedelta(hours=24)
    assert (
        await set_password(district, second, "a long walk along the wall", login="chen", name="陈", party="指挥部")
    ).status_code == 200
    assert await asyncio.to_thread(administration.first_link, owner, URL) is None


async def test_clients_are_added_rotated_and_revoked(district: District) -> None:
    owner = district.database.owner_url
    secret = await asyncio.to_thread(lambda: administration.add_client(owner, **LAB))
    assert secret is not None
    async with outside(district) as client:
        assert (await ask(client, secret, "lab-1")).status_code == 200
        rotated = await asyncio.to_thread(administration.rotate_client, owner, "lab-1")
        assert [(await ask(client, one, "lab-1")).status_code for one in (secret, rotated)] == [200, 200]
        await asyncio.to_thread(administration.revoke_client, owner, "lab-1")
        refused: httpx.Response = await ask(client, rotated, "lab-1")
        assert refused.json()["error"] == "invalid_client"
    assert len(await district.sql("SELECT FROM gateway.endings")) == 1
    (row,) = await asyncio.to_thread(administration.list_clients, owner)
    assert row[:6] == ("lab-1", "检验科", "machine", "", "laboratory", "lab-1")
    for act in (administration.rotate_client, administration.revoke_client):
        with pytest.raises(Trouble):
            await asyncio.to_thread(act, owner, "nobody")
    with pytest.raises(Trouble, match="already"):
        await asyncio.to_thread(lambda: administration.add_client(owner, **LAB))
    operations = await district.sql("SELECT operation FROM gateway.audit ORDER BY seq")
    assert [row["operation"] for row in operations] == ["clients add", "clients rotate", "clients revoke"]


async def test_an_app_is_listed_with_its_name_and_where_it_leads(district: District) -> None:
    owner = district.database.owner_url
    app = {
        "client_id": "grid-app",
        "name": "网格",
        "kind": "app",
        "region": "",
        "redirect_uris": [REDIRECT, "com.a:/b"],
    }
    await asyncio.to_thread(lambda: administration.add_client(owner, people="staff", **app))
    (row,) = await asyncio.to_thread(administration.list_clients, owner)
    assert row == ("grid-app", "网格", "app", "staff", "", "", "", f"{REDIRECT} com.a:/b", "")


async def test_an_app_has_no_secret(district: District) -> None:
    owner = district.database.owner_url
    app = {"client_id": "grid-app", "name": "网格", "kind": "app", "region": "", "redirect_uris": [REDIRECT]}
    assert await asyncio.to_thread(lambda: administration.add_client(owner, **app)) is None
    (row,) = await asyncio.to_thread(administration.list_clients, owner)
    assert row[:8] == ("grid-app", "网格", "app", "everyone", "", "", "", REDIRECT)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"role": "labratory"}, "No machine has the role labratory. Choose one of: laboratory, desk_120, "),
        ({"role": "command"}, "No machine has the role command. Choose one of: laboratory, "),
        ({"party": ""}, "The client cannot be registered: A machine requires a role and a party."),
        ({"client_id": "L"}, "The client cannot be registered: CLIENT_ID 'L': 3 to 100 lower-case letters, "),
        ({"region": "Xintang"}, "The client cannot be registered: --region 'Xintang': 2 to 16 digits, "),
        ({"people": "nobody"}, "The client cannot be registered: --for: Input should be 'everyone', 'staff' or "),
        (
            {"kind": "app", "redirect_uris": ["http://a.example"]},
            "The client cannot be registered: --redirect: Use https, http on a loopback address, or the private ",
        ),
    ],
    ids=["misspelt role", "role of people", "no party", "no name", "no region", "nobody", "unsafe redirect"],
)
def test_what_is_wrong_with_a_client_is_told(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(Trouble, match=f"^{re.escape(sentence)}"):
        administration.add_client("postgresql://nobody", **{**LAB, **given})


def test_an_app_or_a_machine_is_asked_for(run: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    done = run("clients", "add", "lab-1", "--name", "检验科")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Choose one: --redirect for an app in which people sign in; --by-phone for ")
    assert "laboratory, desk_120, hospital, " in done.stderr

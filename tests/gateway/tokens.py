"""Development tokens, as callers get and show them."""

import httpx


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", **headers}


async def token_of(outside: httpx.AsyncClient, **asked: object) -> str:
    answer = await outside.post("/gateway/v1/development/tokens", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "Bearer"
    return str(answer.json()["access_token"])

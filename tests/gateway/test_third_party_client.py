"""Sign-in by a third party's OpenID client, unmodified: Authlib, against a gateway that listens on a port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.children import listen
from services.gateway.app import create_app
from tests.gateway.signing_in import Browser, app, bearer, person
from tests.harness import District

CALLBACK = "http://127.0.0.1:9/signed-in"


@asynccontextmanager
async def listening(district: District) -> AsyncIterator[str]:
    """The gateway on a free port of this machine."""
    (socket,) = listen([0]).values()
    port = socket.getsockname()[1]
    settings = district.database.settings("gateway", public_url=f"http://127.0.0.1:{port}")
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve(sockets=[socket]))
    async with asyncio.timeout(30):
        while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
            await asyncio.sleep(0.01)
    try:
        yield settings.issuer_url
    finally:
        server.should_exit = True
        await task


def relying_party(issuer: str) -> tuple[Starlette, OAuth]:
    """An application of somebody else's, as Authlib's documentation says to write one."""
    oauth = OAuth()
    oauth.register(
        "fangxian",
        client_id="grid-app",
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid",
            "code_challenge_method": "S256",
            "token_endpoint_auth_method": "none",
            "trust_env": False,
        },
    )

    async def sign_in(request: Request) -> Response:
        return await oauth.fangxian.authorize_redirect(request, CALLBACK)

    async def signed_in(request: Request) -> Response:
        token = await oauth.fangxian.authorize_access_token(request)
        return JSONResponse({"token": token, "claims": token["userinfo"]})

    routes = [Route("/", sign_in), Route("/signed-in", signed_in)]
    return Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, secret_key="x" * 32)]), oauth


@pytest.fixture
async def issuer(district: District) -> AsyncIterator[str]:
    async with listening(district) as url:
        yield url


async def test_authlib_signs_somebody_in_and_refreshes(district: District, issuer: str) -> None:
    await app(district, redirect_uris=[CALLBACK])
    someone = await person(district)
    application, oauth = relying_party(issuer)
    theirs = httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://127.0.0.1:9")
    async with theirs, httpx.AsyncClient(base_url=issuer, headers={"accept-language": "en"}, trust_env=False) as client:
        sent = await theirs.get("/")
        browser = Browser(client)
        await browser.follow(await client.get(sent.headers["location"]))
        await browser.submit("password", login=someone.login, password=someone.password)
        someone.authenticator = browser.text.split("<code>")[1][:32]
        await browser.submit("enrol", code=someone.digits())
        await browser.submit("continue")
        assert browser.page is not None
        back = await theirs.get(browser.page.headers["location"])
        assert back.status_code == 200, back.text
        said = back.json()
        # Authlib has checked signature, issuer, audience, nonce and times of the id_token.
        assert (said["claims"]["sub"], said["claims"]["iss"]) == (someone.account_id, issuer)
        assert said["claims"]["amr"] == ["pwd", "otp"]
        token = said["token"]
        shown = await client.get("/gateway/v1/sessions", headers=bearer(token["access_token"]))
        assert len(shown.json()["items"]) == 1
        metadata = await oauth.fangxian.load_server_metadata()
        async with oauth.fangxian._get_oauth_client(**metadata) as oauth_client:
            again = await oauth_client.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
            info = await oauth_client.get(metadata["userinfo_endpoint"])
        assert again["refresh_token"] != token["refresh_token"]
        assert info.json()["role"] == "grid_worker"

"""What clients ask the issuer: tokens, their end, who the bearer is, and how to find all that.

Answers are those of the protocols (RFC 6749, 7009, OpenID Connect), so that libraries understand them; errors name
theirs, and `error_uri` leads to this API's page of problems where there is one.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.gateway.accounts.phones import Message
from services.gateway.accounts.sending import Sender
from services.gateway.clients.tables import ClientRow
from services.gateway.clients.use_cases import ASSERTION, client_named, has_asserted, has_secret
from services.gateway.issuer import direct, rules, use_cases
from services.gateway.issuer.rules import RefusedError
from services.gateway.issuer.sign_in import FORM, agent_of
from services.gateway.issuer.use_cases import Answer, Provider
from shared.actors import Actor
from shared.house import House
from shared.http.limits import check_content_type
from shared.problems import Problem
from shared.work import Work

PREFIX = "/oauth/"
BODY_BYTES = 16 << 10
PUBLIC = {"cache-control": "public, max-age=60"}
NOT_KEPT = {"cache-control": "no-store", "pragma": "no-cache"}

Give = Callable[[Work, Provider, ClientRow, Mapping[str, str]], Awaitable[Answer]]
GIVES: Mapping[str, Give] = {"authorization_code": use_cases.exchange, "refresh_token": use_cases.refresh}


@dataclass(frozen=True)
class Endpoints:
    """The issuer's addresses in one process."""

    house: House
    provider: Provider
    send: Sender
    mini_program: direct.MiniProgram

    def routes(self) -> Sequence[BaseRoute]:
        """Where they are."""
        return [
            Route("/.well-known/openid-configuration", self.discovery, methods=["GET"]),
            Route("/.well-known/oauth-authorization-server", self.discovery, methods=["GET"]),
            Route("/oauth/jwks", self.jwks, methods=["GET"]),
            Route("/oauth/token", self.token, methods=["POST"]),
            Route("/oauth/revoke", self.revoke, methods=["POST"]),
            Route("/oauth/userinfo", self.userinfo, methods=["GET", "POST"]),
        ]

    async def discovery(self, _: Request) -> Response:
        """Where everything is."""
        return JSONResponse(rules.discovery(self.provider.url), headers=PUBLIC)

    async def jwks(self, _: Request) -> Response:
        """The keys of id_tokens."""
        return JSONResponse({"keys": self.provider.keys.public}, headers=PUBLIC)

    async def token(self, request: Request) -> Response:
        """Tokens for a proof."""
        message = None
        try:
            asked = await _form(request)
            grant_type = asked.get("grant_type", "")
            # The platform is asked before the work begins.
            proof = await self.mini_program.proof(asked.get("code", "")) if grant_type == rules.MINI_PROGRAM else None
            async with self.house.system_work(f"token {grant_type[:60]}") as work:
                client = await self._client(work, request, asked)
                answer, message = await self._give(work, client, asked, proof, agent_of(request))
            if isinstance(answer, RefusedError):
                raise answer
        except RefusedError as refused:
            return _refusal(refused)
        finally:
            if message is not None:
                await self.send(message)
        return JSONResponse(answer.said(), headers=NOT_KEPT)

    async def _give(
        self, work: Work, client: ClientRow, asked: Mapping[str, str], proof: direct.Proof | None, agent: str
    ) -> tuple[Answer, Message | None]:
        grant_type = asked.get("grant_type", "")
        if (grant_type == "client_credentials") != (client.kind == "machine"):
            raise RefusedError("unauthorized_client", "machines sign in by client_credentials, and nobody else does")
        if client.kind == "machine":
            return use_cases.machine_token(self.provider, client), None
        if grant_type == rules.PHONE_CODE:
            return await direct.by_phone_code(work, self.provider, client, asked, agent)
        if proof is not None:
            return await direct.by_mini_program(work, self.provider, client, proof, agent), None
        if grant_type not in GIVES:
            raise RefusedError("unsupported_grant_type", "grant_type is none of grant_types_supported")
        return await GIVES[grant_type](work, self.provider, client, asked), None

    async def revoke(self, request: Request) -> Response:
        """Sign out: the session of a token ends."""
        try:
            asked = await _form(request)
            async with self.house.system_work("revoke") as work:
                client = await self._client(work, request, asked)
                await use_cases.revoke(work, self.provider, client, asked.get("token", ""))
        except RefusedError as refused:
            return _refusal(refused)
        return Response(headers=NOT_KEPT)

    async def userinfo(self, request: Request) -> Response:
        """Who the bearer is (OpenID Connect Core, 5.3): an id and a role, no name."""
        actor: Actor = request.app.state.authenticate(request)
        said = {"sub": actor.subject.removeprefix("account:"), "role": actor.role.label, "party": actor.party}
        return JSONResponse({**said, "residents": [str(one) for one in actor.residents]}, headers=NOT_KEPT)

    async def _client(self, work: Work, request: Request, asked: Mapping[str, str]) -> ClientRow:
        """The client that asks: machines by secret or signed assertion, apps by name, for they can keep no secret."""
        name, secret = _basic(request) or (asked.get("client_id", ""), asked.get("client_secret"))
        assertion = asked.get("client_assertion")
        if assertion is not None:
            name = name or rules.subject_of_assertion(assertion)
        client = await client_named(work, name)
        if assertion is not None and asked.get("client_assertion_type") == ASSERTION and secret is None:
            audiences = {self.provider.url, f"{self.provider.url}/oauth/token"}
            is_known = await has_asserted(work, client, assertion, audiences)
        elif secret is not None:
            is_known = has_secret(client, secret, work)
        else:
            is_known = client is not None and client.kind == "app"
        if client is None or not is_known:
            raise RefusedError("invalid_client", "the client is not known, or did not prove itself", 401)
        return client


async def _form(request: Request) -> Mapping[str, str]:
    try:
        check_content_type(request, (FORM,))
        return rules.parameters_of((await request.body()).decode("utf-8"))
    except (UnicodeDecodeError, Problem):
        raise RefusedError("invalid_request", f"the body is to be {FORM}") from None


def _basic(request: Request) -> tuple[str, str] | None:
    """Name and secret of a Basic header, each form-encoded (RFC 6749, 2.3.1)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        name, colon, secret = "", "", ""
    if not colon:
        raise RefusedError("invalid_client", "the Authorization header cannot be read", 401)
    return unquote_plus(name), unquote_plus(secret)


def _refusal(refused: RefusedError) -> Response:
    headers = dict(NOT_KEPT)
    if refused.status == 401:
        headers["www-authenticate"] = 'Basic realm="fangxian"'
    if refused.retry_after is not None:
        headers["retry-after"] = str(refused.retry_after)
    said: dict[str, Any] = {"error": refused.error, "error_description": refused.description}
    return JSONResponse(said, refused.status, headers)

"""The issuer's endpoints for clients: tokens, revocation, user info and discovery.

Answers follow the protocols (RFC 6749, 7009, 8628, OpenID Connect), so that libraries understand them. refusals.py
describes the additional members of an error.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.gateway.accounts.phones import Message
from services.gateway.accounts.sending import Sender
from services.gateway.clients.assertions import UnprovenError
from services.gateway.clients.tables import ClientRow
from services.gateway.clients.use_cases import ASSERTION, check_assertion, client_named, has_secret
from services.gateway.edge.networks import client_of
from services.gateway.edge.published import published
from services.gateway.issuer import devices, direct, rules, use_cases
from services.gateway.issuer.refusals import RefusedError
from services.gateway.issuer.use_cases import Answer, Provider
from services.gateway.issuer.visiting import FORM, agent_of
from shared.core.actors import Actor
from shared.database.unit_of_work import UnitOfWork
from shared.http.limits import check_content_type
from shared.problems import Problem, language_of
from shared.runtime.context import ServiceContext

PREFIX = "/oauth/"
BODY_BYTES = 16 << 10
NOT_KEPT = {"cache-control": "no-store", "pragma": "no-cache"}

Give = Callable[[UnitOfWork, Provider, ClientRow, Mapping[str, str]], Awaitable[Answer]]
GIVES: Mapping[str, Give] = {
    "authorization_code": use_cases.exchange,
    "refresh_token": use_cases.refresh,
    rules.DEVICE_CODE: devices.exchange,
}


@dataclass(frozen=True)
class Endpoints:
    """The issuer's endpoints in one process."""

    context: ServiceContext
    provider: Provider
    send: Sender
    mini_program: direct.MiniProgram

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [
            Route("/.well-known/openid-configuration", self.discovery, methods=["GET"]),
            Route("/.well-known/oauth-authorization-server", self.discovery, methods=["GET"]),
            Route("/oauth/jwks", self.jwks, methods=["GET"]),
            Route("/oauth/token", self.token, methods=["POST"]),
            Route("/oauth/device_authorization", self.device_authorization, methods=["POST"]),
            Route("/oauth/revoke", self.revoke, methods=["POST"]),
            Route("/oauth/userinfo", self.userinfo, methods=["GET", "POST"]),
        ]

    async def discovery(self, request: Request) -> Response:
        """Return the metadata of the issuer."""
        return published(rules.discovery(self.provider.url))

    async def jwks(self, request: Request) -> Response:
        """Return the public keys of id_tokens."""
        return published({"keys": self.provider.keys.public})

    async def token(self, request: Request) -> Response:
        """Exchange a proof for tokens."""
        message = None
        try:
            parameters = await _form(request)
            grant_type = parameters.get("grant_type", "")
            # Call the platform before the transaction begins.
            proof = (
                await self.mini_program.proof(parameters.get("code", "")) if grant_type == rules.MINI_PROGRAM else None
            )
            async with self.context.system_unit_of_work(f"token {grant_type[:60]}") as uow:
                client = await self._client(uow, request, parameters)
                answer, message = await self._give(uow, client, parameters, proof, agent_of(request))
            if isinstance(answer, RefusedError):
                raise answer
        except RefusedError as refused:
            return _refusal(request, refused)
        finally:
            if message is not None:
                await self.send(message)
        return JSONResponse(answer.to_json(), headers=NOT_KEPT)

    async def _give(
        self, uow: UnitOfWork, client: ClientRow, parameters: Mapping[str, str], proof: direct.Proof | None, agent: str
    ) -> tuple[Answer, Message | None]:
        grant_type = parameters.get("grant_type", "")
        if grant_type not in rules.GRANT_TYPES:
            raise RefusedError("grant_type_unsupported")
        if (grant_type == "client_credentials") != (client.kind == "machine"):
            raise RefusedError("grant_type_not_for_client")
        if client.kind == "machine":
            return use_cases.machine_token(self.provider, client), None
        if grant_type in (rules.PHONE_CODE, rules.MINI_PROGRAM) and client.people == "staff":
            raise RefusedError("people_not_for_client")
        if grant_type == rules.PHONE_CODE:
            return await direct.by_phone_code(uow, self.provider, client, parameters, agent)
        if proof is not None:
            return await direct.by_mini_program(uow, self.provider, client, proof, agent), None
        return await GIVES[grant_type](uow, self.provider, client, parameters), None

    async def device_authorization(self, request: Request) -> Response:
        """Start the sign-in on a device without a browser (RFC 8628, 3.1)."""
        try:
            parameters = await _form(request)
            network = client_of(request, self.context.settings.proxy_networks)
            async with self.context.system_unit_of_work("device authorization") as uow:
                if parameters.get("client_id") == devices.CONSOLE:
                    await devices.register_console(uow)
                client = await self._client(uow, request, parameters)
                begun = await devices.begin(uow, self.provider, client, network)
            if isinstance(begun, RefusedError):
                raise begun
        except RefusedError as refused:
            return _refusal(request, refused)
        return JSONResponse(begun, headers=NOT_KEPT)

    async def revoke(self, request: Request) -> Response:
        """End the session of a token."""
        try:
            parameters = await _form(request)
            async with self.context.system_unit_of_work("revoke") as uow:
                client = await self._client(uow, request, parameters)
                await use_cases.revoke(uow, self.provider, client, parameters.get("token", ""))
        except RefusedError as refused:
            return _refusal(request, refused)
        return Response(headers=NOT_KEPT)

    async def userinfo(self, request: Request) -> Response:
        """Return id and role of the bearer (OpenID Connect Core, 5.3), but no name."""
        actor: Actor = request.app.state.authenticate(request)
        payload = {"sub": actor.subject.removeprefix("account:"), "role": actor.role.label, "party": actor.party}
        return JSONResponse({**payload, "residents": [str(one) for one in actor.residents]}, headers=NOT_KEPT)

    async def _client(self, uow: UnitOfWork, request: Request, parameters: Mapping[str, str]) -> ClientRow:
        """Authenticate the client. Raises RefusedError.

        Machines send a secret or an assertion. Apps send only their id, because they cannot keep a secret.
        """
        name, secret = _basic(request) or (parameters.get("client_id", ""), parameters.get("client_secret"))
        assertion = parameters.get("client_assertion")
        if assertion is not None:
            name = name or rules.subject_of_assertion(assertion)
        if not name:
            raise RefusedError("client_unidentified" if assertion is None else "assertion_malformed")
        client = await client_named(uow, name)
        if client is None:
            raise RefusedError("client_unknown")
        if assertion is not None and secret is not None:
            raise RefusedError("proof_ambiguous")
        if assertion is not None:
            await self._check_assertion(uow, client, parameters)
        elif secret is not None:
            if not has_secret(client, secret, uow):
                raise RefusedError("secret_wrong")
        elif client.kind != "app":
            raise RefusedError("client_unproven")
        return client

    async def _check_assertion(self, uow: UnitOfWork, client: ClientRow, parameters: Mapping[str, str]) -> None:
        if parameters.get("client_assertion_type") != ASSERTION:
            raise RefusedError("assertion_type_wrong")
        audiences = {self.provider.url, f"{self.provider.url}/oauth/token"}
        try:
            wait = await check_assertion(uow, client, parameters["client_assertion"], audiences)
        except UnprovenError as unproven:
            raise RefusedError(unproven.code) from None
        if wait:
            raise RefusedError("assertions_too_many", retry_after=wait)


async def _form(request: Request) -> Mapping[str, str]:
    try:
        check_content_type(request, (FORM,))
        return rules.parameters_of((await request.body()).decode("utf-8"))
    except (UnicodeDecodeError, Problem):
        raise RefusedError("body_not_form") from None


def _basic(request: Request) -> tuple[str, str] | None:
    """Return client id and secret of a Basic header, each form-encoded (RFC 6749, 2.3.1)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        name, colon, secret = "", "", ""
    if not colon:
        raise RefusedError("authorization_unreadable")
    return unquote_plus(name), unquote_plus(secret)


def _refusal(request: Request, refused: RefusedError) -> Response:
    language = language_of(request.headers.get("accept-language"))
    headers = {**NOT_KEPT, "content-language": language, "vary": "accept-language"}
    if refused.status == 401:
        headers["www-authenticate"] = 'Basic realm="fangxian"'
    if refused.retry_after is not None:
        headers["retry-after"] = str(refused.retry_after)
    return JSONResponse(refused.body(language), refused.status, headers)

"""The sign-in pages: routes for browsers, outside of the API.

A sign-in is bound to the browser in which it began: the cookie, the token in each form and the Origin header must
match. So nobody can make another browser sign in or submit a form. The pages cannot be framed (pages.py).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from services.gateway.accounts import rules as proofs
from services.gateway.accounts.phones import Message
from services.gateway.accounts.sending import Sender
from services.gateway.accounts.tables import AccountRow, ChallengeRow
from services.gateway.clients.tables import ClientRow
from services.gateway.clients.use_cases import client_named
from services.gateway.issuer import messages, naming, rules, steps
from services.gateway.issuer.device_page import DevicePage
from services.gateway.issuer.ending import end_session
from services.gateway.issuer.forms import View, body_of
from services.gateway.issuer.link_page import LinkPage
from services.gateway.issuer.pages import Fault, Pages
from services.gateway.issuer.refusals import RefusedError
from services.gateway.issuer.steps import Went
from services.gateway.issuer.tables import InteractionRow, SessionRow
from services.gateway.issuer.use_cases import Provider
from services.gateway.issuer.visiting import BROWSER, DEVICE, Visitor, form_of, set_cookies, token_of, visitor_of
from shared.problems import language_of
from shared.runtime.context import ServiceContext

BODY_BYTES = 16 << 10

STEPS: Mapping[str, tuple[Callable[..., Awaitable[Went]], Sequence[str]]] = {
    "password": (steps.give_password, ["login", "password"]),
    "digits": (steps.give_digits, ["code"]),
    "enrol": (steps.enrol, ["code"]),
    "phone": (steps.give_phone, ["phone"]),
    "phone_again": (steps.send_again, []),
    "phone_code": (steps.give_phone_code, ["code"]),
}
"""The step and the fields of each form, by the name of the form."""


@dataclass(frozen=True)
class SignIn:
    """The pages of one process."""

    context: ServiceContext
    provider: Provider
    send: Sender

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [
            Route("/sign-in/authorize", self.authorize, methods=["GET"]),
            Route("/sign-in/end", self.end, methods=["GET"]),
            Route("/sign-in/link/{secret}", LinkPage(self.context, self.provider.url).answer, methods=["GET", "POST"]),
            Route("/sign-in/device", DevicePage(self.context, self.provider.url).answer, methods=["GET", "POST"]),
            Route("/sign-in/{id:uuid}", self.interaction, methods=["GET", "POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        """Authorization endpoint: start a sign-in for a client (OpenID Connect Core, 3.1.2.1)."""
        renderer = Pages(language_of(request.headers.get("accept-language")))
        try:
            parameters = rules.parameters_of(request.scope["query_string"].decode("ascii", "replace"))
            renderer = Pages(rules.language_wanted(parameters.get("ui_locales", "")) or renderer.language)
            async with self.context.system_unit_of_work("authorize") as uow:
                client = await client_named(uow, parameters.get("client_id", ""))
                if client is None or client.kind != "app":
                    raise RefusedError("client_unknown")
                redirect_uri = rules.check_redirect(parameters, client.redirect_uris)
        except RefusedError:
            return renderer.page(messages.CANNOT, [], fault="client", status=400)
        try:
            checked = rules.check_request(parameters, redirect_uri)
        except RefusedError as refused:
            state = parameters.get("state")
            back = rules.answer_to(
                redirect_uri,
                self.provider.url,
                None if state is None or len(state) > rules.LONGEST_STATE else state,
                error=refused.error,
                error_description=refused.description,
                error_code=refused.code,
            )
            return RedirectResponse(back, 303, headers={"referrer-policy": "no-referrer"})
        browser = request.cookies.get(BROWSER) or proofs.new_secret()
        async with self.context.system_unit_of_work("authorize") as uow:
            interaction_id = await steps.begin(uow, asked_of(checked, client), browser)
        response = RedirectResponse(f"/sign-in/{interaction_id}", 303)
        set_cookies(response, self.provider.url, browser, request.cookies.get(DEVICE) or proofs.new_secret())
        return response

    async def interaction(self, request: Request) -> Response:
        """Show the current page of a sign-in, or process a posted form."""
        renderer = Pages(language_of(request.headers.get("accept-language")))
        interaction_id: UUID = request.path_params["id"]
        visitor = visitor_of(request, self.context.settings.proxy_networks)
        by_recovery = request.query_params.get("with") == "recovery"
        if request.method != "POST":
            return await self._show(renderer, interaction_id, visitor, by_recovery=by_recovery)
        form = await form_of(request, self.provider.url, str(interaction_id), visitor.browser)
        if isinstance(form, str):
            return renderer.page(messages.CANNOT, [], fault=form, status=400)
        went = await self._step(interaction_id, visitor, form)
        await self._send(went.message)
        if went.fault is not None:
            return await self._show(renderer, interaction_id, visitor, went, form, by_recovery)
        if went.recovery_codes:
            return await self._recovery_codes(renderer, interaction_id, visitor, went.recovery_codes)
        return await self._on(renderer, interaction_id, visitor, form.get("grant_id"))

    async def _step(self, interaction_id: UUID, visitor: Visitor, form: Mapping[str, str]) -> Went:
        act = form.get("act", "")
        if act == "continue":
            return steps.ON
        if act not in STEPS:
            return Went("form")
        step, fields = STEPS[act]
        return await step(self.context, interaction_id, visitor, *(form.get(field, "") for field in fields))

    async def _on(self, renderer: Pages, interaction_id: UUID, visitor: Visitor, chosen: str | None) -> Response:
        """Redirect to the client if everything is proven, else to the next page."""
        done = await steps.finish(self.context, interaction_id, visitor, chosen)
        if isinstance(done, Went):
            if done.fault == "no_grant":
                return await self._show(renderer, interaction_id, visitor, done)
            return RedirectResponse(f"/sign-in/{interaction_id}", 303)
        parameters, code = done
        if "device" in parameters:
            return renderer.page(messages.DEVICE_DONE, [f"<p>{renderer.render(messages.DEVICE_DONE_MORE)}</p>"])
        back = rules.answer_to(parameters["redirect_uri"], self.provider.url, parameters.get("state"), code=code)
        return RedirectResponse(back, 303, headers={"referrer-policy": "no-referrer"})

    async def _show(
        self,
        renderer: Pages,
        interaction_id: UUID,
        visitor: Visitor,
        went: Went = steps.ON,
        form: Mapping[str, str] | None = None,
        by_recovery: bool = False,
    ) -> Response:
        form = form or {}
        async with self.context.system_unit_of_work("sign in") as uow:
            row = await steps.current(uow, interaction_id, visitor)
            if row is None or row.stage == "done":
                return renderer.page(messages.CANNOT, [], fault="gone", status=400)
            challenge = None if row.challenge_id is None else await uow.session.get(ChallengeRow, row.challenge_id)
            account = None if row.account_id is None else await uow.session.get(AccountRow, row.account_id)
            is_choice = row.stage == "grant" and account is not None and account.kind == "staff"
            grants = await steps.choices(uow, row) if is_choice else []
            points = await naming.points_named(uow, grants)
            authenticator = row.authenticator or "" if row.stage == "enrol" else ""
        renderer = in_language(row, renderer)
        regions = {} if account is None else await naming.regions_named(self.context, account, grants)
        view = View(
            stage=row.stage,
            asked=row.asked,
            token=token_of(visitor.browser, str(interaction_id)),
            phone="" if challenge is None else proofs.masked(challenge.phone or ""),
            login=(account and account.login) or "",
            authenticator=authenticator,
            options=[(str(one.id), naming.to_text(one, renderer.language, regions, points)) for one in grants],
            by_recovery=by_recovery,
            fault=None if went.fault is None else Fault(went.fault, _form_that_shows(row, form), went.wait),
            typed=form,
        )
        title, body = body_of(renderer, view)
        return renderer.page(
            title,
            body,
            is_marked=went.fault is not None,
            status=_status_of(went),
            goes_to=_goes_to(row),
        )

    async def _recovery_codes(
        self, renderer: Pages, interaction_id: UUID, visitor: Visitor, codes: Sequence[str]
    ) -> Response:
        async with self.context.system_unit_of_work("sign in") as uow:
            row = await steps.current(uow, interaction_id, visitor)
        renderer = renderer if row is None else in_language(row, renderer)
        rows = "".join(f"<li>{code}</li>" for code in codes)
        token = token_of(visitor.browser, str(interaction_id))
        body = [
            f"<p>{renderer.render(messages.KEEP_WHY)}</p><ol>{rows}</ol>",
            renderer.form("continue", [], messages.KEPT, token),
        ]
        return renderer.page(messages.KEEP_CODES, body, goes_to="" if row is None else _goes_to(row))

    async def end(self, request: Request) -> Response:
        """Sign out for a client (OpenID Connect RP-Initiated Logout 1.0). The id_token names the session."""
        renderer = Pages(language_of(request.headers.get("accept-language")))
        try:
            parameters = rules.parameters_of(request.scope["query_string"].decode("ascii", "replace"))
        except RefusedError:
            parameters = {}
        claims = self.provider.keys.read(parameters.get("id_token_hint", ""))
        if claims is None:
            return renderer.page(messages.CANNOT, [], fault="gone", status=400)
        async with self.context.system_unit_of_work("sign out") as uow:
            session = await uow.session.get(SessionRow, UUID(str(claims["sid"])))
            if session is not None:
                await end_session(uow, session.id, "signed_out")
            client = await client_named(uow, str(claims["aud"]))
        back = parameters.get("post_logout_redirect_uri")
        if client is None or back not in client.redirect_uris or back is None:
            return renderer.page(messages.SIGNED_OUT, [f"<p>{renderer.render(messages.SIGNED_OUT_MORE)}</p>"])
        return RedirectResponse(rules.answer_to(back, self.provider.url, parameters.get("state")), 303)

    async def _send(self, message: Message | None) -> None:
        if message is not None:
            await self.send(message)


def _status_of(went: Went) -> int:
    return 200 if went.fault is None else 429 if went.fault == "wait" else 403 if went.fault == "no_grant" else 422


def asked_of(checked: rules.Asked, client: ClientRow) -> Mapping[str, Any]:
    """Return what a sign-in stores of its authorization request and of the app."""
    return {**checked._asdict(), "client": client.name, "people": client.people}


def in_language(row: InteractionRow, renderer: Pages) -> Pages:
    """Return the pages in the language that the app requested, else in the browser's."""
    return Pages(row.asked.get("language") or renderer.language)


def _goes_to(row: InteractionRow) -> str:
    return rules.origin_of(row.asked["redirect_uri"]) if "redirect_uri" in row.asked else ""


def _form_that_shows(row: InteractionRow, form: Mapping[str, str]) -> str:
    """Return the form that shows a fault. After an expired code it is the form that requests a new one."""
    act = form.get("act", "")
    return "phone" if act in ("phone_code", "phone_again") and row.stage == "start" else act

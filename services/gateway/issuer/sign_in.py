"""Where people sign in: the pages' addresses. Plain routes beside the API, for browsers and nobody else.

A sign-in belongs to the browser it began in: its cookie, a token in each form, and the Origin header must agree. So
nobody can be led into signing in as somebody else, nor press a button they do not see.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import pyotp
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from services.gateway.accounts import rules as proofs
from services.gateway.accounts.phones import Message
from services.gateway.accounts.sending import Sender
from services.gateway.accounts.tables import AccountRow, ChallengeRow
from services.gateway.clients.use_cases import apps_there_are, client_named
from services.gateway.edge.networks import Networks, client_of
from services.gateway.issuer import links, pages, rules, steps
from services.gateway.issuer.ending import end_session
from services.gateway.issuer.pages import Pages
from services.gateway.issuer.rules import RefusedError
from services.gateway.issuer.steps import Visitor, Went
from services.gateway.issuer.tables import InteractionRow, SessionRow
from services.gateway.issuer.use_cases import Provider
from shared.house import House
from shared.http.limits import check_content_type
from shared.problems import Problem, language_of

PREFIX = "/sign-in/"
BODY_BYTES = 16 << 10

BROWSER = "fangxian_sign_in"
DEVICE = "fangxian_device"
BROWSER_SECONDS = 3600
DEVICE_SECONDS = 180 * 24 * 3600
FORM = "application/x-www-form-urlencoded"

STEPS: Mapping[str, tuple[Callable[..., Awaitable[Went]], Sequence[str]]] = {
    "password": (steps.give_password, ["login", "password"]),
    "digits": (steps.give_digits, ["code"]),
    "enrol": (steps.enrol, ["code"]),
    "phone": (steps.give_phone, ["phone"]),
    "phone_code": (steps.give_phone_code, ["code"]),
}
"""By the name of a form: the step it takes, and the fields it takes it with."""


@dataclass(frozen=True)
class SignIn:
    """The pages of one process."""

    house: House
    provider: Provider
    send: Sender

    def routes(self) -> Sequence[BaseRoute]:
        """Where they are."""
        return [
            Route("/sign-in/authorize", self.authorize, methods=["GET"]),
            Route("/sign-in/end", self.end, methods=["GET"]),
            Route("/sign-in/link/{secret}", self.link, methods=["GET", "POST"]),
            Route("/sign-in/{id:uuid}", self.interaction, methods=["GET", "POST"]),
        ]

    async def authorize(self, request: Request) -> Response:
        """Where clients send people (OpenID Connect Core, 3.1.2.1)."""
        said = Pages(language_of(request.headers.get("accept-language")))
        try:
            asked = rules.parameters_of(request.scope["query_string"].decode("ascii", "replace"))
            async with self.house.system_work("authorize") as work:
                client = await client_named(work, asked.get("client_id", ""))
                if client is None or client.kind != "app":
                    raise RefusedError("invalid_request", "no such client")
                redirect_uri = rules.check_redirect(asked, client.redirect_uris)
        except RefusedError:
            return said.page(pages.CANNOT, [], fault="client", status=400)
        try:
            checked = rules.check_request(asked, redirect_uri)
        except RefusedError as refused:
            state = asked.get("state")
            back = rules.answer_to(
                redirect_uri,
                self.provider.url,
                None if state is None or len(state) > rules.LONGEST_STATE else state,
                error=refused.error,
                error_description=refused.description,
            )
            return RedirectResponse(back, 303, headers={"referrer-policy": "no-referrer"})
        browser = request.cookies.get(BROWSER) or proofs.new_secret()
        async with self.house.system_work("authorize") as work:
            interaction_id = await steps.begin(work, {**checked._asdict(), "client": client.name}, browser)
        response = RedirectResponse(f"/sign-in/{interaction_id}", 303)
        self._set_cookie(response, BROWSER, browser, BROWSER_SECONDS)
        self._set_cookie(response, DEVICE, request.cookies.get(DEVICE) or proofs.new_secret(), DEVICE_SECONDS)
        return response

    async def interaction(self, request: Request) -> Response:
        """One sign-in under way: shows where it stands, or takes a step."""
        said = Pages(language_of(request.headers.get("accept-language")))
        interaction_id: UUID = request.path_params["id"]
        visitor = visitor_of(request, self.house.settings.proxy_networks)
        if request.method != "POST":
            return await self._show(said, interaction_id, visitor)
        form = await self._form(request, str(interaction_id), visitor)
        if isinstance(form, str):
            return said.page(pages.CANNOT, [], fault=form, status=400)
        went = await self._step(interaction_id, visitor, form)
        await self._send(went.message)
        if went.fault is not None:
            return await self._show(said, interaction_id, visitor, went)
        if went.recovery_codes:
            return await self._recovery_codes(said, interaction_id, visitor, went.recovery_codes)
        return await self._on(said, interaction_id, visitor, form.get("grant_id"))

    async def _step(self, interaction_id: UUID, visitor: Visitor, form: Mapping[str, str]) -> Went:
        act = form.get("act", "")
        if act == "continue":
            return steps.ON
        if act not in STEPS:
            return Went("form")
        step, fields = STEPS[act]
        return await step(self.house, interaction_id, visitor, *(form.get(field, "") for field in fields))

    async def _on(self, said: Pages, interaction_id: UUID, visitor: Visitor, chosen: str | None) -> Response:
        """To the client if all is proven, else to the next page."""
        done = await steps.finish(self.house, interaction_id, visitor, chosen)
        if isinstance(done, Went):
            if done.fault == "no_grant":
                return await self._show(said, interaction_id, visitor, done)
            return RedirectResponse(f"/sign-in/{interaction_id}", 303)
        asked, code = done
        back = rules.answer_to(asked["redirect_uri"], self.provider.url, asked.get("state"), code=code)
        return RedirectResponse(back, 303, headers={"referrer-policy": "no-referrer"})

    async def _show(self, said: Pages, interaction_id: UUID, visitor: Visitor, went: Went = steps.ON) -> Response:
        async with self.house.system_work("sign in") as work:
            row = await steps.current(work, interaction_id, visitor)
            if row is None or row.stage == "done":
                return said.page(pages.CANNOT, [], fault="gone", status=400)
            challenge = None if row.challenge_id is None else await work.session.get(ChallengeRow, row.challenge_id)
            phone = "" if challenge is None else proofs.masked(challenge.phone or "")
            account = None if row.account_id is None else await work.session.get(AccountRow, row.account_id)
            options: list[tuple[str, str]] = []
            if row.stage == "grant" and account is not None and account.kind == "staff":
                options = [
                    (str(grant.id), f"{grant.role} {grant.region} {grant.party}")
                    for grant in await steps.choices(work, row)
                ]
        token = token_of(visitor, str(interaction_id))
        title, body = body_of(said, row, token, phone, account, options)
        return said.page(
            title,
            [f"<p>{said.say(pages.TO, client=row.asked['client'])}</p>", *body],
            fault=went.fault or "",
            status=_status_of(went),
            goes_to=rules.origin_of(row.asked["redirect_uri"]),
            wait=went.wait,
        )

    async def _recovery_codes(
        self, said: Pages, interaction_id: UUID, visitor: Visitor, codes: Sequence[str]
    ) -> Response:
        async with self.house.system_work("sign in") as work:
            row = await steps.current(work, interaction_id, visitor)
        goes_to = "" if row is None else rules.origin_of(row.asked["redirect_uri"])
        rows = "".join(f"<li>{code}</li>" for code in codes)
        token = token_of(visitor, str(interaction_id))
        body = [f"<p>{said.say(pages.KEEP_WHY)}</p><ol>{rows}</ol>", said.form("continue", [], pages.KEPT, token)]
        return said.page(pages.KEEP_CODES, body, goes_to=goes_to)

    async def link(self, request: Request) -> Response:
        """A one-time link: name and password are set here."""
        said = Pages(language_of(request.headers.get("accept-language")))
        secret: str = request.path_params["secret"]
        kind = await links.state_of(self.house, secret)
        if kind is None:
            return said.page(pages.CANNOT, [], fault="link_gone", status=404)
        if request.method != "POST":
            return self._set_password(said, kind == "first", secret)
        form = await self._form(request, secret, None)
        if isinstance(form, str):
            return said.page(pages.CANNOT, [], fault=form, status=400)
        fault = await links.use(
            self.house, secret, form.get("login", ""), form.get("name", ""), form.get("password", "")
        )
        if fault == "gone":
            return said.page(pages.CANNOT, [], fault="link_gone", status=404)
        if fault is not None:
            return self._set_password(said, kind == "first", secret, fault)
        return said.page(pages.DONE, await self._where(said))

    async def _where(self, said: Pages) -> list[str]:
        """The applications one can sign in to: those on the web as links, those of a phone or a desk by name."""
        async with self.house.system_work("where to sign in") as work:
            apps = await apps_there_are(work)
        if not apps:
            return [f"<p>{said.say(pages.DONE_NOWHERE)}</p>"]
        rows = "".join(f"<li>{said.link(app.name, rules.web_origin_of(app.redirect_uris))}</li>" for app in apps)
        return [f"<p>{said.say(pages.DONE_WHERE)}</p><ul>{rows}</ul>"]

    def _set_password(self, said: Pages, is_first: bool, secret: str, fault: str = "") -> Response:
        fields = [said.field("password", pages.NEW_PASSWORD, "new-password", "password")]
        if is_first:
            fields = [
                said.field("login", pages.LOGIN, "username", more=pages.NO_CASE),
                said.field("name", pages.NAME, "name"),
                *fields,
            ]
        body = [said.form("set", fields, pages.NEXT, token_of(None, secret))]
        return said.page(
            pages.FIRST if is_first else pages.SET_PASSWORD, body, fault=fault, status=422 if fault else 200
        )

    async def end(self, request: Request) -> Response:
        """Sign out at a client's wish (OpenID Connect RP-Initiated Logout 1.0): its id_token says whose session."""
        said = Pages(language_of(request.headers.get("accept-language")))
        try:
            asked = rules.parameters_of(request.scope["query_string"].decode("ascii", "replace"))
        except RefusedError:
            asked = {}
        claims = self.provider.keys.read(asked.get("id_token_hint", ""))
        if claims is None:
            return said.page(pages.CANNOT, [], fault="gone", status=400)
        async with self.house.system_work("sign out") as work:
            session = await work.session.get(SessionRow, UUID(str(claims["sid"])))
            if session is not None:
                await end_session(work, session.id, "signed_out")
            client = await client_named(work, str(claims["aud"]))
        back = asked.get("post_logout_redirect_uri")
        if client is None or back not in client.redirect_uris or back is None:
            return said.page(pages.DONE, [])
        return RedirectResponse(rules.answer_to(back, self.provider.url, asked.get("state")), 303)

    async def _form(self, request: Request, what: str, visitor: Visitor | None) -> Mapping[str, str] | str:
        """What a form of ours holds; or what is wrong with it."""
        origin = request.headers.get("origin")
        if origin is not None and origin not in (self.provider.url, f"{request.url.scheme}://{request.url.netloc}"):
            return "origin"
        try:
            check_content_type(request, (FORM,))
            form = rules.parameters_of((await request.body()).decode("utf-8"))
        except (RefusedError, UnicodeDecodeError, Problem):
            return "form"
        if not hmac.compare_digest(form.get("token", "").encode(), token_of(visitor, what).encode()):
            return "gone"
        return form

    async def _send(self, message: Message | None) -> None:
        if message is not None:
            await self.send(message)

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        secure = self.provider.url.startswith("https:")
        response.set_cookie(name, value, seconds, path=PREFIX, secure=secure, httponly=True, samesite="lax")


def visitor_of(request: Request, proxies: Networks) -> Visitor:
    """Who is at the other end, behind proxies of ours perhaps."""
    return Visitor(
        network=client_of(request, proxies),
        browser=request.cookies.get(BROWSER, ""),
        device=request.cookies.get(DEVICE, ""),
        agent=agent_of(request),
    )


def agent_of(request: Request) -> str:
    """What the other end says it is."""
    return request.headers.get("user-agent", "")[:120]


def token_of(visitor: Visitor | None, what: str) -> str:
    """What a form must hold: only a page that this browser was shown has it."""
    browser = "" if visitor is None else visitor.browser
    return hmac.new(browser.encode(), f"form|{what}".encode(), sha256).hexdigest()


def body_of(
    said: Pages,
    row: InteractionRow,
    token: str,
    phone: str,
    account: AccountRow | None,
    options: Sequence[tuple[str, str]],
) -> tuple[Any, list[str]]:
    """Title and forms of the stage a sign-in has reached."""
    match row.stage:
        case "phone":
            fields = [said.field("code", pages.CODE, "one-time-code", more=pages.DIGITS_ONLY)]
            sent = f"<p>{said.say(pages.SENT, phone=phone)}</p>"
            return pages.SIGN_IN, [sent, said.form("phone_code", fields, pages.NEXT, token), _phone(said, token, True)]
        case "authenticator":
            fields = [said.field("code", pages.DIGITS, "one-time-code", more=pages.NO_CASE)]
            return pages.SECOND_FACTOR, [said.form("digits", fields, pages.NEXT, token)]
        case "enrol":
            secret = row.authenticator or ""
            uri = pyotp.TOTP(secret).provisioning_uri(name=(account and account.login) or "", issuer_name="Fangxian")
            fields = [said.field("code", pages.FIRST_DIGITS, "one-time-code", more=pages.DIGITS_ONLY)]
            shown = f"<p>{said.say(pages.SCAN)}</p>{said.picture(uri)}<p><code>{secret}</code></p>"
            return pages.SET_UP, [shown, said.form("enrol", fields, pages.NEXT, token)]
        case "grant":
            fields = [said.options("grant_id", pages.CHOOSE, options)] if options else []
            return pages.SIGN_IN, [said.form("continue", fields, pages.NEXT, token)] if options else []
    fields = [
        said.field("login", pages.LOGIN, "username", more=pages.NO_CASE),
        said.field("password", pages.PASSWORD, "current-password", "password"),
    ]
    staff = f"<h2>{said.say(pages.STAFF)}</h2>" + said.form("password", fields, pages.NEXT, token)
    return pages.SIGN_IN, [f"<h2>{said.say(pages.RESIDENT)}</h2>" + _phone(said, token, False), staff]


def _phone(said: Pages, token: str, again: bool) -> str:
    fields = [said.field("phone", pages.OTHER_PHONE if again else pages.PHONE, "tel", "tel")]
    return said.form("phone", fields, pages.AGAIN if again else pages.SEND_CODE, token, plain=again)


def _status_of(went: Went) -> int:
    return 200 if went.fault is None else 429 if went.fault == "wait" else 403 if went.fault == "no_grant" else 422

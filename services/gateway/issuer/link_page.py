"""The page of a one-time link, where the owner sets name and password."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.clients.use_cases import apps_there_are
from services.gateway.issuer import links, messages, pages, rules
from services.gateway.issuer.links import Filled, Opened
from services.gateway.issuer.pages import Pages
from services.gateway.issuer.visiting import form_of, token_of
from shared.problems import LocalizedText, language_of
from shared.runtime.context import ServiceContext

FILLED = ("password", "again", "login", "name", "party")


@dataclass(frozen=True)
class LinkPage:
    """The page of one process."""

    context: ServiceContext
    issuer: str

    async def answer(self, request: Request) -> Response:
        """Show the form, or process the posted form."""
        renderer = Pages(language_of(request.headers.get("accept-language")))
        secret: str = request.path_params["secret"]
        link = await links.opened(self.context, secret)
        if link is None:
            return renderer.page(messages.CANNOT, [], fault="link_gone", status=404)
        if request.method != "POST":
            return _form(renderer, link, secret, {}, {})
        form = await form_of(request, self.issuer, secret, "")
        if isinstance(form, str):
            return renderer.page(messages.CANNOT, [], fault=form, status=400)
        faults = await links.use(self.context, secret, link, Filled(**{name: form.get(name, "") for name in FILLED}))
        if "" in faults:
            return renderer.page(messages.CANNOT, [], fault=faults[""], status=404)
        if faults:
            return _form(renderer, link, secret, form, faults)
        login = link.login or form["login"].strip().lower()
        return renderer.page(
            messages.DONE, [f"<p>{renderer.render(messages.DONE_LOGIN, login=login)}</p>", *await self._where(renderer)]
        )

    async def _where(self, renderer: Pages) -> list[str]:
        """List the apps for sign-in: web apps as links, others by name."""
        async with self.context.system_unit_of_work("where to sign in") as uow:
            apps = await apps_there_are(uow)
        if not apps:
            return [f"<p>{renderer.render(messages.DONE_NOWHERE)}</p>"]
        rows = "".join(f"<li>{renderer.link(app.name, rules.web_origin_of(app.redirect_uris))}</li>" for app in apps)
        return [f"<p>{renderer.render(messages.DONE_WHERE)}</p><ul>{rows}</ul>"]


def _form(renderer: Pages, link: Opened, secret: str, typed: Mapping[str, str], faults: Mapping[str, str]) -> Response:
    def field(name: str, label: LocalizedText, complete: str, hint: LocalizedText | None = None, more: str = "") -> str:
        value, fault = typed.get(name, ""), faults.get(name, "")
        return renderer.field(name, label, complete, more=more, value=value, hint=hint, fault=fault)

    def password(name: str, label: LocalizedText, hint: LocalizedText | None = None) -> str:
        return renderer.field(name, label, "new-password", "password", hint=hint, fault=faults.get(name, ""))

    if link.is_first:
        head = []
        own = [
            field("login", messages.LOGIN, "username", messages.LOGIN_RULE, pages.NO_CASE),
            field("name", messages.NAME, "name"),
            field("party", messages.PARTY, "organization", messages.PARTY_WHY),
        ]
    else:
        head = [f"<p>{renderer.render(messages.FOR_ACCOUNT, name=link.name or link.login)}</p>"]
        own = [
            f'<label for="login">{renderer.render(messages.LOGIN)}</label>'
            f'<input id="login" type="text" autocomplete="username" value="{escape(link.login)}" readonly>'
        ]
    fields = [
        *own,
        password("password", messages.NEW_PASSWORD, messages.PASSWORD_RULE),
        password("again", messages.PASSWORD_AGAIN),
    ]
    body = [*head, renderer.form("set", fields, messages.NEXT, token_of("", secret))]
    title = messages.FIRST if link.is_first else messages.SET_PASSWORD
    return renderer.page(title, body, is_marked=bool(faults), status=422 if faults else 200)

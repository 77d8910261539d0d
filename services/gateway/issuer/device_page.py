"""The page where a person enters the code of a device, so that the device can sign in (RFC 8628, 3.3)."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from services.gateway.accounts import attempts
from services.gateway.accounts import rules as proofs
from services.gateway.clients.use_cases import client_named
from services.gateway.issuer import devices, messages, pages, rules, steps
from services.gateway.issuer.pages import Fault, Pages
from services.gateway.issuer.visiting import BROWSER, DEVICE, form_of, set_cookies, token_of, visitor_of
from shared.problems import language_of
from shared.runtime.context import ServiceContext

WHAT = "device"


@dataclass(frozen=True)
class DevicePage:
    """The page of one process."""

    context: ServiceContext
    issuer: str

    async def answer(self, request: Request) -> Response:
        """Show the form. A posted form finds the device, and then refuses it or starts the sign-in for it."""
        renderer = Pages(language_of(request.headers.get("accept-language")))
        browser = request.cookies.get(BROWSER) or proofs.new_secret()
        device = request.cookies.get(DEVICE) or proofs.new_secret()
        if request.method != "POST":
            response = _form(renderer, browser, request.query_params.get("user_code", "")[:40])
        else:
            form = await form_of(request, self.issuer, WHAT, browser)
            if isinstance(form, str):
                return renderer.page(messages.CANNOT, [], fault=form, status=400)
            response = await self._take(request, renderer, browser, form.get("user_code", ""), form.get("act", ""))
        set_cookies(response, self.issuer, browser, device)
        return response

    async def _take(self, request: Request, renderer: Pages, browser: str, typed: str, act: str) -> Response:
        visitor = visitor_of(request, self.context.settings.proxy_networks)
        lanes = proofs.user_code_lanes(visitor.network)
        async with self.context.system_unit_of_work("device") as uow:
            wait = await attempts.take(uow, lanes)
            row = None if wait else await devices.waiting(uow, typed, lock=act == "refuse")
            client = None if row is None else await client_named(uow, row.client_id)
            if row is not None and client is not None:
                await attempts.give_back(uow, lanes)
                if act == "refuse":
                    row.state = "refused"
                else:
                    parameters = {
                        "client_id": client.client_id,
                        "client": client.name,
                        "people": client.people,
                        "device": rules.user_code_of(typed),
                        "network": row.network,
                    }
                    interaction_id = await steps.begin(uow, parameters, browser)
        if row is None or client is None:
            return _form(renderer, browser, typed, Fault("wait" if wait else "user_code", "look", wait))
        if act == "refuse":
            return renderer.page(messages.DEVICE_REFUSED, [f"<p>{renderer.render(messages.DEVICE_REFUSED_MORE)}</p>"])
        return RedirectResponse(f"/sign-in/{interaction_id}", 303)


def _form(renderer: Pages, browser: str, typed: str, fault: Fault | None = None) -> Response:
    token = token_of(browser, WHAT)
    field = renderer.field("user_code", messages.USER_CODE, "off", more=pages.CAPITALS, value=typed)
    body = [
        f"<p>{renderer.render(messages.DEVICE_WHY)}</p>",
        renderer.form("look", [field], messages.NEXT, token, fault=fault),
    ]
    if typed and fault is None:
        body.append(renderer.refusal("user_code", typed, messages.REFUSE, token))
    status = 200 if fault is None else 429 if fault.code == "wait" else 422
    return renderer.page(messages.DEVICE, body, is_marked=fault is not None, status=status)

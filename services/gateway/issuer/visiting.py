"""Who is at the other end of a sign-in page, and whether a form was sent from a page that this browser was shown."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.edge.networks import Networks, client_of
from services.gateway.issuer import rules
from services.gateway.issuer.refusals import RefusedError
from shared.http.limits import check_content_type
from shared.problems import Problem

PREFIX = "/sign-in/"
FORM = "application/x-www-form-urlencoded"
BROWSER = "fangxian_sign_in"
DEVICE = "fangxian_device"
BROWSER_SECONDS = 3600
DEVICE_SECONDS = 180 * 24 * 3600


@dataclass(frozen=True)
class Visitor:
    """Whoever is at the other end: where from, with what cookies."""

    network: str
    browser: str
    """The cookie this sign-in began with."""
    device: str
    """The cookie that knows a browser again in which somebody has signed in."""
    agent: str


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


def token_of(browser: str, what: str) -> str:
    """What a form must hold: only a page that this browser was shown has it."""
    return hmac.new(browser.encode(), f"form|{what}".encode(), sha256).hexdigest()


async def form_of(request: Request, issuer: str, what: str, browser: str) -> Mapping[str, str] | str:
    """What a form of ours holds; or the fault in it."""
    origin = request.headers.get("origin")
    if origin is not None and origin not in (issuer, f"{request.url.scheme}://{request.url.netloc}"):
        return "origin"
    try:
        check_content_type(request, (FORM,))
        form = rules.parameters_of((await request.body()).decode("utf-8"))
    except (RefusedError, UnicodeDecodeError, Problem):
        return "form"
    if not hmac.compare_digest(form.get("token", "").encode(), token_of(browser, what).encode()):
        return "gone"
    return form


def set_cookies(response: Response, issuer: str, browser: str, device: str) -> None:
    """Give a browser what it is known again by on these pages, and nowhere else."""
    secure = issuer.startswith("https:")
    for name, value, seconds in ((BROWSER, browser, BROWSER_SECONDS), (DEVICE, device, DEVICE_SECONDS)):
        response.set_cookie(name, value, seconds, path=PREFIX, secure=secure, httponly=True, samesite="lax")

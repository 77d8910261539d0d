"""The visitor of a sign-in page, and the check that a form was sent from a page shown to the same browser."""

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
    """The client of a request: network address, cookies and user agent."""

    network: str
    browser: str
    """The cookie of the browser in which the sign-in began."""
    device: str
    """The cookie that identifies a browser on which somebody signed in before."""
    agent: str


def visitor_of(request: Request, proxies: Networks) -> Visitor:
    """Return the visitor of a request. Known reverse proxies are skipped."""
    return Visitor(
        network=client_of(request, proxies),
        browser=request.cookies.get(BROWSER, ""),
        device=request.cookies.get(DEVICE, ""),
        agent=agent_of(request),
    )


def agent_of(request: Request) -> str:
    """Return the User-Agent of a request, at most 120 characters."""
    return request.headers.get("user-agent", "")[:120]


def token_of(browser: str, what: str) -> str:
    """Return the CSRF token of a form. Only pages shown to this browser contain it."""
    return hmac.new(browser.encode(), f"form|{what}".encode(), sha256).hexdigest()


async def form_of(request: Request, issuer: str, what: str, browser: str) -> Mapping[str, str] | str:
    """Return the fields of a posted form, or the code of a fault."""
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
    """Set the cookies that identify the browser. They are sent only to the sign-in pages."""
    secure = issuer.startswith("https:")
    for name, value, seconds in ((BROWSER, browser, BROWSER_SECONDS), (DEVICE, device, DEVICE_SECONDS)):
        response.set_cookie(name, value, seconds, path=PREFIX, secure=secure, httponly=True, samesite="lax")

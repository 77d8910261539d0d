"""Forms of the sign-in as a browser sends them: of a sign-in under way, with the token that its page held."""

import re
from typing import Any

import httpx
import schemathesis
from schemathesis import Case, HookContext

BEGIN = {
    "client_id": "grid-app",
    "redirect_uri": "https://app.example.com/signed-in",
    "response_type": "code",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
    "scope": "openid",
}
TOKEN = re.compile(r'name="token" value="([0-9a-f]+)"')


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Let a step of a sign-in be one that can be taken; every tenth is sent as it was made up."""
    body = case.body
    if case.path != "/sign-in/{id}" or case.method != "POST" or not isinstance(body, dict) or len(str(body)) % 10 == 0:
        return
    with httpx.Client(base_url=str(case.operation.base_url)) as browser:
        page = browser.get(browser.get("/sign-in/authorize", params=BEGIN).headers["location"])
        case.path_parameters["id"] = page.url.path.rsplit("/", 1)[-1]
        case.cookies = dict(browser.cookies)
        found = TOKEN.search(page.text)
        if found:
            body["token"] = found[1]

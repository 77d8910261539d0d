"""Rules of the sign-in protocol: valid authorization requests, PKCE, user codes and metadata. Pure functions.

OpenID Connect Core 1.0, authorization code flow, and OAuth 2.0 by the recommendations of RFC 9700: PKCE with S256 only
(RFC 7636), exact comparison of redirect URIs, `iss` in the answer (RFC 9207), refresh tokens for one use.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

from services.gateway.clients.assertions import ALGORITHMS
from services.gateway.issuer.refusals import RefusedError
from shared.problems import Language, language_of

MOST_PARAMETERS = 40
LONGEST_STATE = 1_000
LONGEST_NONCE = 500
MOST_SCOPES = 20

SCOPES = ("openid",)
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class Asked(NamedTuple):
    """A valid authorization request."""

    client_id: str
    redirect_uri: str
    code_challenge: str
    state: str | None = None
    nonce: str | None = None
    scope: str = ""
    grant_id: str | None = None
    language: Language | None = None
    """The language that the app wants for the pages (`ui_locales`)."""


def parameters_of(text: str) -> dict[str, str]:
    """Parse the parameters of a query or a form. Each may occur once (RFC 6749, 3.1). Raises RefusedError."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise RefusedError("parameters_unreadable") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            raise RefusedError("parameter_repeated")
        if value and "\0" not in value:
            parameters[name] = value
    return parameters


def check_redirect(parameters: Mapping[str, str], registered: Sequence[str]) -> str:
    """Return the redirect URI, which must equal a registered one. Raises RefusedError; never send that to the URI."""
    uri = parameters.get("redirect_uri")
    if uri is None and len(registered) == 1:
        return registered[0]
    if uri not in registered or uri is None:
        raise RefusedError("redirect_uri_unregistered")
    return uri


def check_request(parameters: Mapping[str, str], redirect_uri: str) -> Asked:
    """Validate an authorization request. Client and redirect URI are already validated. Raises RefusedError."""
    for name, code in (("request", "request_object"), ("request_uri", "request_uri")):
        if name in parameters:
            raise RefusedError(code)
    if parameters.get("response_type") != "code" or parameters.get("response_mode", "query") != "query":
        raise RefusedError("response_type_unsupported")
    if parameters.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(
        parameters.get("code_challenge", "")
    ):
        raise RefusedError("pkce_missing")
    if len(parameters.get("state", "")) > LONGEST_STATE or len(parameters.get("nonce", "")) > LONGEST_NONCE:
        raise RefusedError("value_too_long")
    scopes = parameters.get("scope", "").split()
    if len(scopes) > MOST_SCOPES:
        raise RefusedError("scopes_too_many")
    if parameters.get("prompt") == "none":
        raise RefusedError("login_required")
    grant_id = parameters.get("grant_id")
    if grant_id is not None and not is_uuid(grant_id):
        raise RefusedError("id_malformed", name="grant_id")
    return Asked(
        client_id=parameters["client_id"],
        redirect_uri=redirect_uri,
        code_challenge=parameters["code_challenge"],
        state=parameters.get("state"),
        nonce=parameters.get("nonce"),
        scope=" ".join(scope for scope in SCOPES if scope in scopes),
        grant_id=grant_id,
        language=language_wanted(parameters.get("ui_locales", "")),
    )


def language_wanted(ui_locales: str) -> Language | None:
    """Return the first language of `ui_locales` in which the pages exist (OpenID Connect Core, 3.1.2.1)."""
    for tag in ui_locales.split():
        if tag.partition("-")[0].lower() in ("zh", "en"):
            return language_of(tag)
    return None


def subject_of_assertion(assertion: str) -> str:
    """Return the unverified subject of an assertion; empty if it cannot be read."""
    try:
        part = assertion.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def proves(verifier: str, challenge: str) -> bool:
    """Whether a code verifier matches a code challenge (S256)."""
    if not VERIFIER.fullmatch(verifier):
        return False
    made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(made, challenge.encode("utf-8", "surrogatepass"))


def answer_to(redirect_uri: str, issuer: str, state: str | None, **answer: str) -> str:
    """Return the redirect URI with an answer, the unchanged state and the issuer (RFC 9207)."""
    values = {**answer, **({} if state is None else {"state": state}), "iss": issuer}
    return redirect_uri + ("&" if urlsplit(redirect_uri).query else "?") + urlencode(values)


def origin_of(uri: str) -> str:
    """Return the origin of a redirect URI for a content security policy."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def web_origin_of(uris: Sequence[str]) -> str:
    """Return the origin of a web app; empty for an app without an https redirect URI."""
    return next((origin_of(uri) for uri in uris if uri.startswith("https:")), "")


USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no words occur, and no letters that look like digits (RFC 8628, 6.1)."""

USER_CODE_LENGTH = 8


def new_user_code() -> str:
    """Return a random code for a person to type on another device: one of 20^8."""
    return "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH))


def user_code_of(typed: str) -> str:
    """Normalise a typed user code; empty if it cannot be a user code."""
    code = re.sub(r"[^A-Z]", "", typed.upper())
    return code if len(code) == USER_CODE_LENGTH and set(code) <= set(USER_CODE_LETTERS) else ""


def user_code_shown(code: str) -> str:
    """Format a user code: `WDJB-MJHT`."""
    return f"{code[:4]}-{code[4:]}"


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def discovery(issuer: str) -> dict[str, Any]:
    """Return the issuer's metadata (OpenID Connect Discovery 1.0, RFC 8414)."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/sign-in/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "userinfo_endpoint": f"{issuer}/oauth/userinfo",
        "end_session_endpoint": f"{issuer}/sign-in/end",
        "device_authorization_endpoint": f"{issuer}/oauth/device_authorization",
        "jwks_uri": f"{issuer}/oauth/jwks",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": list(SCOPES),
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "amr", "sid"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [
            "none",
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
        ],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "claims_parameter_supported": False,
        "ui_locales_supported": ["zh-CN", "en"],
    }


PHONE_CODE = "urn:fangxian:params:oauth:grant-type:phone-code"
MINI_PROGRAM = "urn:fangxian:params:oauth:grant-type:mini-program"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials", DEVICE_CODE, PHONE_CODE, MINI_PROGRAM)

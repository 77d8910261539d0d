"""The issuer's endpoints in the OpenAPI document. Requests and responses follow the protocols. Pure functions."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from services.gateway.issuer import rules
from services.gateway.issuer.refusals import REFUSALS, RefusedError
from shared.core.actors import Role
from shared.http.openapi import describe_callers
from shared.http.router import ALWAYS
from shared.problems import Forbidden, Unauthenticated, openapi_responses
from shared.problems.documents import openapi_examples

Document = dict[str, Any]

TAG = "sign-in"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
ISSUER = "https://fangxian.example.cn"
TOKEN = "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJhY2NvdW50In0.c2lnbmF0dXJl"  # noqa: S105 (an example)
SECRET = "kQ0o7mXb0o1m0c5rW7b0N2yq9Q"  # noqa: S105 (an example)

TEXT: Document = {"type": "string", "maxLength": 4096}
CLIENT: Document = {
    "client_id": {**TEXT, "description": "The id of the client. Optional if the client authenticates."},
    "client_secret": {**TEXT, "description": "For a machine. Can also be sent in the Authorization header (Basic)."},
    "client_assertion_type": {**TEXT, "description": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
    "client_assertion": {**TEXT, "description": "For a machine: a JWT signed with its key (RFC 7523)."},
}
ERROR: Document = {
    "title": "OAuthError",
    "type": "object",
    "description": "An error with the members of OAuth 2.0 and two more.",
    "required": ["error", "error_description", "error_code", "message"],
    "properties": {
        "error": {
            "type": "string",
            "enum": sorted({one.error for one in REFUSALS.values()}),
            "description": "The error code of OAuth 2.0 or OpenID Connect.",
        },
        "error_description": {"type": "string", "description": "The cause in English."},
        "error_code": {
            "type": "string",
            "enum": sorted(REFUSALS),
            "description": "The exact cause. This value never changes, so use it in programs.",
        },
        "message": {"type": "string", "description": "The cause in the language of Accept-Language."},
    },
}
TOKENS: Document = {
    "title": "Tokens",
    "type": "object",
    "required": ["access_token", "token_type", "expires_in"],
    "properties": {
        "access_token": {"type": "string"},
        "token_type": {"type": "string", "const": "Bearer"},
        "expires_in": {"type": "integer", "description": "Seconds until the access token expires."},
        "refresh_token": {"type": "string", "description": "Valid for one use. Machines do not get one."},
        "id_token": {"type": "string", "description": "Only if the scope openid was requested."},
        "scope": {"type": "string"},
    },
}
DEVICE: Document = {
    "title": "DeviceAuthorization",
    "type": "object",
    "required": ["device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval"],
    "properties": {
        "device_code": {"type": "string"},
        "user_code": {"type": "string", "description": "The code that the person enters."},
        "verification_uri": {"type": "string", "description": "The page where the person enters the code."},
        "verification_uri_complete": {"type": "string"},
        "expires_in": {"type": "integer", "description": "Lifetime of the codes in seconds."},
        "interval": {"type": "integer", "description": "Seconds to wait between two requests."},
    },
}
WHO: Document = {
    "title": "UserInfo",
    "type": "object",
    "required": ["sub", "role", "party", "residents"],
    "properties": {
        "sub": {"type": "string"},
        "role": {"type": "string"},
        "party": {"type": "string"},
        "residents": {"type": "array", "items": {"type": "string", "format": "uuid"}},
    },
}
KEYS: Document = {
    "title": "KeySet",
    "type": "object",
    "required": ["keys"],
    "properties": {"keys": {"type": "array", "items": {"type": "object"}, "description": "JWKs (RFC 7517)."}},
}
METADATA: Document = {
    "title": "ProviderMetadata",
    "type": "object",
    "description": "OpenID Connect Discovery 1.0 and RFC 8414.",
    "required": ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "grant_types_supported"],
    "properties": {
        **{name: {"type": "string"} for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")},
        "grant_types_supported": {"type": "array", "items": {"type": "string"}},
    },
}
SCHEMAS = {one["title"]: one for one in (ERROR, TOKENS, DEVICE, WHO, KEYS, METADATA)}

GRANTS: Mapping[str, Document] = {
    "code": {
        "grant_type": "authorization_code",
        "client_id": "grid-app",
        "code": SECRET,
        "redirect_uri": "https://app.example.com/signed-in",
        "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    },
    "refresh": {"grant_type": "refresh_token", "client_id": "grid-app", "refresh_token": SECRET},
    "machine": {"grant_type": "client_credentials", "client_id": "lab-jinjiang", "client_secret": SECRET},
    "phone": {
        "grant_type": rules.PHONE_CODE,
        "client_id": "resident-app",
        "challenge_id": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e11",
        "challenge_secret": SECRET,
        "code": "123456",
    },
    "mini_program": {"grant_type": rules.MINI_PROGRAM, "client_id": "resident-app", "code": "0f3Xyz"},
    "device": {"grant_type": rules.DEVICE_CODE, "client_id": "fangxian-console", "device_code": SECRET},
}
TOKEN_FORM: Document = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": list(rules.GRANT_TYPES)},
        **CLIENT,
        **{
            name: {**TEXT, "description": words}
            for name, words in {
                "code": "The authorization code, the code sent to a phone, or a mini-program's login code.",
                "redirect_uri": "The redirect URI to which the authorization code was sent.",
                "code_verifier": "The code verifier of PKCE (RFC 7636).",
                "refresh_token": "Valid once. A repetition within 30 seconds gets the same refresh token again.",
                "grant_id": "With a refresh token: the grant to act in from now on.",
                "challenge_id": "From POST /gateway/v1/phone-challenges.",
                "challenge_secret": "From POST /gateway/v1/phone-challenges.",
                "device_code": "From POST /oauth/device_authorization.",
            }.items()
        },
    },
}


def document() -> Document:
    """Return the issuer's endpoints as an OpenAPI document, to merge with those of the services."""
    examples = openapi_examples({problem.code for problem in ALWAYS})
    paths = deepcopy(PATHS)
    for item in paths.values():
        for operation in item.values():
            describe_callers(operation)
    return {"paths": paths, "components": {"schemas": SCHEMAS, "examples": examples}}


def _problems(is_open: bool) -> dict[str, Any]:
    left_out = (Unauthenticated, Forbidden) if is_open else ()
    responses = openapi_responses(problem for problem in ALWAYS if problem not in left_out)
    return {str(status): response for status, response in responses.items()}


def _answer(words: str, name: str, example: Any) -> Document:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": words, "content": {JSON: {"schema": schema, "example": example}}}


def _refusals(codes: Iterable[str]) -> dict[str, Any]:
    """Return the error responses of the protocol, with the problems that any request can get."""
    responses = _problems(is_open=True)
    by_status: dict[str, list[str]] = {}
    for code in codes:
        by_status.setdefault(str(REFUSALS[code].status), []).append(code)
    for status, codes_ in by_status.items():
        examples = {
            code: {"summary": code, "value": RefusedError(code, name="grant_id").body("zh-CN")} for code in codes_
        }
        response = responses.setdefault(status, {"description": "", "content": {}})
        words = "; ".join(sorted({REFUSALS[code].error for code in codes_}))
        response["description"] = "; ".join(filter(None, (response["description"], words)))
        response["content"][JSON] = {"schema": {"$ref": "#/components/schemas/OAuthError"}, "examples": examples}
    return responses


def _form(schema: Document, examples: Mapping[str, Document]) -> Document:
    shown = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return {"required": True, "content": {FORM: {"schema": schema, "examples": shown}}}


def _open(operation_id: str, summary: str, description: str) -> Document:
    return {"operationId": operation_id, "summary": summary, "description": description, "tags": [TAG], "security": []}


def _published(operation_id: str, summary: str, description: str, name: str, example: Any) -> Document:
    about = _open(operation_id, summary, description)
    known = {"304": {"description": "Not modified (If-None-Match)."}}
    return {"get": {**about, "responses": {"200": _answer(summary, name, example), **known, **_problems(is_open=True)}}}


def _posted(operation_id: str, summary: str, description: str, body: Document, responses: Document) -> Document:
    about = _open(operation_id, summary, description)
    return {"post": {**about, "requestBody": body, "responses": responses}}


CLIENTS = [code for code, one in REFUSALS.items() if one.error == "invalid_client"] + ["assertions_too_many"]
REQUESTS = ["body_not_form", "parameters_unreadable", "parameter_repeated"]
OF_PAGES = ("redirect_uri_unregistered", "pkce_missing", "value_too_long", "scopes_too_many", "request_object",
            "request_uri", "response_type_unsupported", "login_required")  # fmt: skip
OF_TOKENS = [code for code in REFUSALS if code not in (*OF_PAGES, *CLIENTS)]

_WHO: Document = {
    "sub": "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10",
    "role": "grid_worker",
    "party": "沙塘社区居委会",
    "residents": [],
}
_JWK = {"kty": "RSA", "kid": "id-0199c2a4", "use": "sig", "alg": "RS256", "n": "vW8y", "e": "AQAB"}
_DISCOVERY = (
    "discover",
    "Get the issuer's metadata",
    "The endpoints and capabilities of the issuer.",
    "ProviderMetadata",
)

PATHS: Document = {
    "/.well-known/openid-configuration": _published(*_DISCOVERY, rules.discovery(ISSUER)),
    "/.well-known/oauth-authorization-server": _published(
        "discover_server",
        "Get the issuer's metadata (RFC 8414)",
        "The same as /.well-known/openid-configuration.",
        "ProviderMetadata",
        rules.discovery(ISSUER),
    ),
    "/oauth/jwks": _published(
        "list_id_token_keys",
        "List the keys of id_tokens",
        "A new key is published before it signs.",
        "KeySet",
        {"keys": [_JWK]},
    ),
    "/oauth/token": _posted(
        "ask_for_tokens",
        "Get tokens",
        "`grant_type` says which proof is exchanged for tokens. docs/sign-in.md lists the fields of each type.",
        _form(TOKEN_FORM, GRANTS),
        {
            "200": _answer(
                "Tokens",
                "Tokens",
                {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 600, "refresh_token": SECRET},
            ),
            **_refusals([*OF_TOKENS, *CLIENTS]),
        },
    ),
    "/oauth/revoke": _posted(
        "revoke_token",
        "End the session of a token",
        "An unknown token or a token of another client changes nothing. The answer is 200 too (RFC 7009).",
        _form(
            {"type": "object", "required": ["token"], "properties": {"token": TEXT, "token_type_hint": TEXT, **CLIENT}},
            {"app": {"client_id": "grid-app", "token": SECRET}},
        ),
        {"200": {"description": "The session has ended."}, **_refusals([*REQUESTS, *CLIENTS])},
    ),
    "/oauth/device_authorization": _posted(
        "authorize_device",
        "Start the sign-in on a device without a browser",
        "Show the person `verification_uri_complete` and `user_code`. Then call `/oauth/token` with the device code "
        "every `interval` seconds (RFC 8628).",
        _form({"type": "object", "properties": CLIENT}, {"console": {"client_id": "fangxian-console"}}),
        {
            "200": _answer(
                "The device code, and what the device shows to the person",
                "DeviceAuthorization",
                {
                    "device_code": SECRET,
                    "user_code": "WDJB-MJHT",
                    "verification_uri": f"{ISSUER}/sign-in/device",
                    "verification_uri_complete": f"{ISSUER}/sign-in/device?user_code=WDJB-MJHT",
                    "expires_in": 900,
                    "interval": 5,
                },
            ),
            **_refusals([*REQUESTS, *CLIENTS, "grant_type_not_for_client", "too_many_requests"]),
        },
    ),
    "/oauth/userinfo": {
        "get": {
            "operationId": "show_user",
            "summary": "Show the identity of the token's owner",
            "description": "Id, role, organisation, and the residents for whom the owner may act. No name.",
            "tags": [TAG],
            "x-roles": [role.label for role in Role if role in Role.ANYONE],
            "responses": {"200": _answer("The identity of the bearer", "UserInfo", _WHO), **_problems(is_open=False)},
        }
    },
}

"""The errors of the sign-in protocols. Each has its own stable code in addition to the error of OAuth 2.0.

`error` is that of the protocol (RFC 6749, 5.2; RFC 8628, 3.5; OpenID Connect Core, 3.1.2.6) and is coarse. `error_code`
is the exact cause. `error_description` is in English, because the RFC allows only ASCII. `message` is in the language
of the caller. Pure functions.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.problems import Language, LocalizedText


class Refusal(NamedTuple):
    """One cause of an error: the protocol's error, the texts, and the status of the answer."""

    error: str
    text: LocalizedText
    status: int = 400


def _request(zh: str, en: str) -> Refusal:
    return Refusal("invalid_request", LocalizedText(zh=zh, en=en))


def _client(zh: str, en: str) -> Refusal:
    return Refusal("invalid_client", LocalizedText(zh=zh, en=en), 401)


def _grant(zh: str, en: str) -> Refusal:
    return Refusal("invalid_grant", LocalizedText(zh=zh, en=en))


REFUSALS: Mapping[str, Refusal] = {
    # The request itself
    "body_not_form": _request(
        "请求体应为 application/x-www-form-urlencoded", "Send the body as application/x-www-form-urlencoded"
    ),
    "parameters_unreadable": _request("无法读取参数", "The parameters cannot be read"),
    "parameter_repeated": _request("参数重复", "A parameter occurs more than once"),
    "id_malformed": _request("{name} 应为 UUID", "{name} must be a UUID"),
    "redirect_uri_unregistered": _request("回调地址未登记", "The redirect_uri is not registered for this client"),
    "pkce_missing": _request(
        "须提供 code_challenge，且 code_challenge_method 须为 S256",
        "A code_challenge with code_challenge_method S256 is required",
    ),
    "value_too_long": _request("state 或 nonce 过长", "The state or the nonce is too long"),
    "scopes_too_many": Refusal("invalid_scope", LocalizedText(zh="scope 过多", en="Too many scopes")),
    "request_object": Refusal(
        "request_not_supported", LocalizedText(zh="不支持 request 参数", en="The request parameter is not supported")
    ),
    "request_uri": Refusal(
        "request_uri_not_supported",
        LocalizedText(zh="不支持 request_uri 参数", en="The request_uri parameter is not supported"),
    ),
    "response_type_unsupported": Refusal(
        "unsupported_response_type",
        LocalizedText(
            zh="response_type 须为 code，response_mode 须为 query", en="Use response_type code and response_mode query"
        ),
    ),
    "login_required": Refusal(
        "login_required", LocalizedText(zh="请在登录页面登录", en="The person must sign in on the sign-in page")
    ),
    "grant_type_unsupported": Refusal(
        "unsupported_grant_type",
        LocalizedText(
            zh="grant_type 不在 grant_types_supported 之列", en="The grant_type is not one of grant_types_supported"
        ),
    ),
    "grant_type_not_for_client": Refusal(
        "unauthorized_client",
        LocalizedText(
            zh="此客户端不能使用该 grant_type：设备或系统使用 client_credentials，应用使用其他方式",
            en="This client cannot use this grant_type. Machines use client_credentials, apps use the others",
        ),
    ),
    "people_not_for_client": Refusal(
        "unauthorized_client",
        LocalizedText(zh="此应用不供居民登录", en="This app is only for staff"),
    ),
    # Authentication of the client
    "client_unidentified": _client(
        "缺少客户端身份：请提供 client_id，设备或系统还须提供密钥或断言",
        "The client is missing. Send client_id; a machine also sends its secret or an assertion",
    ),
    "client_unknown": _client("客户端未登记或已撤销", "This client is not registered, or it was revoked"),
    "client_unproven": _client(
        "设备或系统须提供 client_secret 或 client_assertion",
        "A machine must send its client_secret or a client_assertion",
    ),
    "secret_wrong": _client("客户端密钥不正确或已更换", "The client secret is wrong, or it was replaced"),
    "authorization_unreadable": _client("无法读取 Authorization 头", "The Authorization header cannot be read"),
    "proof_ambiguous": _client(
        "密钥和断言只能提供其中一种", "Send either a client secret or a client assertion, not both"
    ),
    "assertion_type_wrong": _client(
        "client_assertion_type 须为 urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    ),
    "assertion_malformed": _client("断言不是有效的 JWT", "The assertion is not a JWT"),
    "assertion_algorithm": _client(
        "不支持断言的 alg，请使用 ES256、EdDSA、Ed25519、PS256 或 RS256",
        "The alg of the assertion is not supported. Use ES256, EdDSA, Ed25519, PS256 or RS256",
    ),
    "assertion_no_key": _client(
        "此客户端没有适用于该 alg 的公钥", "This client has no public key for the alg of the assertion"
    ),
    "assertion_kid_unknown": _client(
        "断言的 kid 与此客户端登记的公钥不符", "The kid of the assertion is not one of this client's public keys"
    ),
    "assertion_signature": _client("断言签名不正确", "The signature of the assertion is wrong"),
    "assertion_claims": _client(
        "断言缺少有效的 iss、sub、aud、exp 或 jti", "The assertion needs a valid iss, sub, aud, exp and jti"
    ),
    "assertion_issuer": _client(
        "断言的 iss 和 sub 都须为 client_id", "Both iss and sub of the assertion must be the client_id"
    ),
    "assertion_audience": _client(
        "断言的 aud 须为本系统的 issuer 或 token 端点",
        "The aud of the assertion must be the issuer or the token endpoint",
    ),
    "assertion_expired": _client("断言已过期", "The assertion has expired"),
    "assertion_early": _client("断言尚未生效，请核对时钟", "The assertion is not valid yet. Check your clock"),
    "assertion_too_long": _client("断言有效期不得超过 1 小时", "An assertion may be valid for at most one hour"),
    "assertion_replayed": _client(
        "此断言已使用过，请为每次请求生成新的断言", "This assertion was used before. Make a new one for each request"
    ),
    "assertions_too_many": Refusal(
        "temporarily_unavailable",
        LocalizedText(
            zh="此客户端获取令牌过于频繁，请使用已有令牌",
            en="This client requests tokens too often. Use the token that it already has",
        ),
        429,
    ),
    # Authorization codes and refresh tokens
    "code_unknown": _grant("授权码不属于此客户端", "The code does not belong to this client"),
    "code_used": _grant("授权码已使用过，对应会话已结束", "The code was used before, so its session was ended"),
    "code_expired": _grant("授权码已过期，或回调地址不符", "The code has expired, or was sent to another redirect_uri"),
    "code_verifier_wrong": _grant("code_verifier 不正确", "The code_verifier is wrong"),
    "refresh_token_unknown": _grant("刷新令牌不属于此客户端", "The refresh token does not belong to this client"),
    "refresh_token_used": _grant(
        "刷新令牌已使用过，为安全起见会话已结束，请重新登录",
        "The refresh token was used before, so its session was ended. Sign in again",
    ),
    "session_ended": _grant("会话已结束，请重新登录", "The session has ended. Sign in again"),
    "account_closed": _grant("账号已停用", "The account is closed"),
    "grant_ended": _grant("授权已结束，或不适用于此应用", "The grant has ended, or it cannot be used in this app"),
    # Residents
    "challenge_over": _grant("验证码已失效，请重新获取", "The challenge has expired. Request a new code"),
    "phone_code_wrong": _grant("验证码不正确", "The code is wrong"),
    "login_code_wrong": _grant("小程序登录码无效或已使用过", "The login code is wrong or was used before"),
    "mini_program_unset": Refusal(
        "unsupported_grant_type", LocalizedText(zh="本系统未配置小程序", en="No mini-program is configured here")
    ),
    "platform_away": Refusal(
        "temporarily_unavailable",
        LocalizedText(zh="小程序平台没有响应，请稍后再试", en="The platform does not answer. Try again later"),
        503,
    ),
    # A device without a browser (RFC 8628)
    "authorization_pending": Refusal(
        "authorization_pending",
        LocalizedText(zh="等待用户在浏览器中确认", en="The person has not confirmed in a browser yet"),
    ),
    "slow_down": Refusal(
        "slow_down",
        LocalizedText(
            zh="查询过于频繁，请将间隔增加 5 秒",
            en="You poll too often. Wait five seconds longer between two requests",
        ),
    ),
    "device_code_expired": Refusal(
        "expired_token", LocalizedText(zh="设备码已过期，请重新开始", en="The device code has expired. Start again")
    ),
    "device_refused": Refusal("access_denied", LocalizedText(zh="用户已拒绝", en="The person refused the sign-in")),
    "device_code_unknown": _grant(
        "设备码不属于此客户端，或已使用过", "The device code does not belong to this client, or was used before"
    ),
    "too_many_requests": Refusal(
        "temporarily_unavailable",
        LocalizedText(zh="请求过于频繁，请稍后再试", en="Too many requests. Try again later"),
        429,
    ),
}


class RefusedError(Exception):
    """An error of the protocol, by its code in `REFUSALS`."""

    def __init__(self, code: str, *, retry_after: int | None = None, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.refusal = REFUSALS[code]
        self.values = values
        self.retry_after = retry_after

    @property
    def error(self) -> str:
        """The error of the protocol."""
        return self.refusal.error

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.refusal.status

    @property
    def description(self) -> str:
        """The cause in English, in ASCII."""
        return self.refusal.text.render("en", self.values)

    def body(self, language: Language) -> dict[str, Any]:
        """Return the response body."""
        return {
            "error": self.error,
            "error_description": self.description,
            "error_code": self.code,
            "message": self.refusal.text.render(language, self.values),
        }

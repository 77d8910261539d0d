"""Texts that tell residents what the operations of this service did with their data."""

from shared.audit.acts import AUTOMATIC, Act, declare
from shared.problems import LocalizedText

CODE = LocalizedText(zh="健康码核验和管理", en="checking and managing health codes")
ACCOUNT = LocalizedText(zh="账号绑定和登录", en="linking and using your account")
VISIT = LocalizedText(zh="查看了您的验码到访记录", en="viewed the record of where your code was checked")
TRACING = LocalizedText(zh="疫情防控和流行病学调查", en="epidemic control and tracing of infections")
RECOLOURED = Act(LocalizedText(zh="按赋码规则更新了您的健康码", en="updated your health code by the rules"), AUTOMATIC)
LINKED = Act(LocalizedText(zh="将您的身份信息与账号绑定", en="linked your account to your personal record"), ACCOUNT)

V1 = "/gateway/v1"
VERIFIED = f"POST {V1}/verifications"

declare(
    {
        VERIFIED: Act(
            LocalizedText(zh="核验了您的健康码", en="checked your health code"),
            LocalizedText(zh="进入场所前验码", en="check before you enter"),
        ),
        f"GET {V1}/codes/{{resident_id}}": Act(
            LocalizedText(zh="查看了您的健康码", en="viewed your health code"), CODE
        ),
        f"GET {V1}/visits": Act(VISIT, TRACING),
        f"GET {V1}/visits/{{scan_id}}": Act(VISIT, TRACING),
        f"POST {V1}/account/resident": LINKED,
        "bind": LINKED,
        "recognise": LINKED,
        **{
            f"gateway feed {owner}{how}": RECOLOURED
            for owner in ("registry", "testing", "observation", "gateway")
            for how in ("", " retry", " rebuild", " forget")
        },
        "end_codes": RECOLOURED,
        "job apply_policy": Act(
            LocalizedText(
                zh="按新发布的赋码规则更新了您的健康码", en="updated your health code by newly published rules"
            ),
            AUTOMATIC,
        ),
    },
    nobody=[
        f"GET {V1}/audit/heads",
        f"GET {V1}/code",
        f"GET {V1}/code.svg",
        f"GET {V1}/codes/counts",
        f"POST {V1}/phone-challenges",
        f"POST {V1}/development/tokens",
        f"GET {V1}/sessions",
        f"DELETE {V1}/sessions/{{session_id}}",
        *(f"{method} {V1}/accounts" for method in ("GET", "POST")),
        *(f"{method} {V1}/accounts/{{account_id}}" for method in ("GET", "PATCH")),
        f"POST {V1}/accounts/{{account_id}}/reset",
        *(f"{method} {V1}/clients" for method in ("GET", "POST")),
        f"GET {V1}/clients/{{registered_id}}",
        *(f"POST {V1}/clients/{{registered_id}}/{move}" for move in ("rotate", "revoke")),
        *(f"{method} {V1}/grants" for method in ("GET", "POST")),
        f"GET {V1}/grants/{{grant_id}}",
        *(f"POST {V1}/grants/{{grant_id}}/{move}" for move in ("approve", "refuse", "end")),
        f"POST {V1}/hooks/{{source}}",
        *(f"{method} {V1}/hook-sources" for method in ("GET", "POST")),
        *(f"{method} {V1}/hook-sources/{{source_id}}" for method in ("GET", "DELETE")),
        f"POST {V1}/hook-sources/{{source_id}}/rotate",
        f"GET {V1}/messages",
        f"GET {V1}/messages/{{kept_id}}",
        *(f"{method} {V1}/service-points" for method in ("GET", "POST")),
        *(f"{method} {V1}/service-points/{{point_id}}" for method in ("GET", "PATCH")),
        f"POST {V1}/service-points/{{point_id}}/close",
        *(f"{method} {V1}/policies" for method in ("GET", "POST")),
        f"GET {V1}/policies/{{version}}",
        f"POST {V1}/policies/trials",
        f"GET {V1}/policies/trials/{{trial_id}}",
        f"POST {V1}/policies/trials/{{trial_id}}/cancel",
        *(f"{method} {V1}/sunset" for method in ("GET", "POST")),
        *(f"{method} {V1}/webhooks" for method in ("GET", "POST")),
        *(f"{method} {V1}/webhooks/{{endpoint_id}}" for method in ("GET", "DELETE")),
        *(f"POST {V1}/webhooks/{{endpoint_id}}/{move}" for move in ("rotate", "disable", "enable", "replay")),
        f"GET {V1}/webhooks/{{endpoint_id}}/deliveries",
    ],
)

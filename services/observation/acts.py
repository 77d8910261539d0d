"""What the operations of this service do, for the audit log that residents read."""

from shared.audit.acts import AUTOMATIC, DECISION, Act, declare
from shared.problems import LocalizedText

OBSERVING = LocalizedText(zh="医学观察和健康监测", en="medical observation and health monitoring")
REFERRING = LocalizedText(zh="发热转诊和120转运", en="fever referral and 120 transport")
ORDER = LocalizedText(zh="查看了您的医学观察记录", en="viewed your observation")
REFERRAL = LocalizedText(zh="查看了您的转诊记录", en="viewed your referral to a hospital")
UPDATED = Act(
    LocalizedText(
        zh="开始、变更或结束了您的医学观察或转诊", en="started, changed or ended your observation or referral"
    ),
    AUTOMATIC,
)

V1 = "/observation/v1"

declare(
    {
        f"GET {V1}/orders": Act(ORDER, OBSERVING),
        f"GET {V1}/orders/{{order_id}}": Act(ORDER, OBSERVING),
        f"GET {V1}/orders/{{order_id}}/plan": Act(ORDER, OBSERVING),
        f"GET {V1}/orders/{{order_id}}/notice": Act(
            LocalizedText(zh="查看或打印了您的医学观察通知", en="viewed or printed the notice of your observation"),
            OBSERVING,
        ),
        f"POST {V1}/orders/{{order_id}}/end": Act(
            LocalizedText(zh="结束了您的医学观察", en="ended your observation"), OBSERVING
        ),
        f"POST {V1}/orders/{{order_id}}/early-end": Act(
            LocalizedText(zh="提出提前解除您的医学观察", en="proposed to end your observation early"), DECISION
        ),
        f"POST {V1}/orders/{{order_id}}/convert": Act(
            LocalizedText(zh="提出变更您的医学观察方式", en="proposed to change the kind of your observation"), DECISION
        ),
        f"POST {V1}/orders/{{order_id}}/extend": Act(
            LocalizedText(zh="提出延长您的医学观察", en="proposed to extend your observation"), DECISION
        ),
        f"POST {V1}/referrals": Act(LocalizedText(zh="上报了您的发热情况", en="reported your fever"), REFERRING),
        f"GET {V1}/referrals": Act(REFERRAL, REFERRING),
        f"GET {V1}/referrals/{{referral_id}}": Act(REFERRAL, REFERRING),
        f"GET {V1}/referrals/{{referral_id}}/standing": Act(REFERRAL, REFERRING),
        f"GET {V1}/referrals/{{referral_id}}/fevers": Act(REFERRAL, REFERRING),
        f"POST {V1}/referrals/{{referral_id}}/reveal": Act(
            LocalizedText(
                zh="为接诊查看了您的姓名、电话和住址", en="viewed your name, phone and address to reach or treat you"
            ),
            REFERRING,
        ),
        f"POST {V1}/referrals/{{referral_id}}/cancel": Act(
            LocalizedText(zh="取消了您的转诊", en="cancelled your referral"), REFERRING
        ),
        f"POST {V1}/referrals/{{referral_id}}/reopen": Act(
            LocalizedText(zh="恢复了您的转诊", en="reopened your referral"), REFERRING
        ),
        f"GET {V1}/messages": Act(
            LocalizedText(
                zh="查看了120或医院发来的转诊消息", en="viewed messages from 120 or the hospital about your referral"
            ),
            REFERRING,
        ),
        **{
            f"observation feed {owner}{how}": UPDATED
            for owner in ("registry", "testing", "gateway")
            for how in ("", " retry", " rebuild", " forget")
        },
        "overdue referrals": UPDATED,
    },
    nobody=[f"GET {V1}/protocols", f"GET {V1}/protocols/{{number}}", f"POST {V1}/protocols"],
)

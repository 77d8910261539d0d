"""What the operations of this service do, for the audit log that residents read."""

from shared.audit.acts import AUTOMATIC, Act, declare
from shared.problems import LocalizedText

REGISTER = LocalizedText(zh="居民登记和底数核查", en="keeping the register of residents")
MOVING = LocalizedText(zh="居住地变更登记", en="a change of where you live")
LAWFUL = LocalizedText(zh="依法保全或删除数据", en="keeping or erasing data as the law requires")
PROXY = LocalizedText(zh="亲属或监护人代办", en="acting for a relative or a dependant")
SHOWN = LocalizedText(zh="查看了您的登记信息（已遮盖）", en="viewed your record, masked")
CHANGED = LocalizedText(zh="修改了您的登记信息", en="changed your record")
ENTERED = LocalizedText(zh="登记了您的信息", en="registered you")
REQUEST = LocalizedText(zh="查看了您的登记申请", en="viewed a request to register you")
TRANSFER = LocalizedText(zh="查看了您的迁移申请", en="viewed a request to transfer you to another community")
HELD = LocalizedText(
    zh="为您的数据设置、查看或解除了依法保全", en="created, viewed or released a legal hold on your data"
)
PROXY_SHOWN = LocalizedText(zh="查看了代办关系", en="viewed who acts for whom")

V1 = "/registry/v1"

declare(
    {
        f"POST {V1}/residents": Act(ENTERED, REGISTER),
        f"POST {V1}/residents/search": Act(
            LocalizedText(zh="按证件号码或电话查找了您", en="searched for you by document or phone"), REGISTER
        ),
        f"POST {V1}/residents/recognise": Act(
            LocalizedText(zh="核对了您提交的身份信息", en="compared your entries with your record"),
            LocalizedText(zh="绑定账号", en="linking your account"),
        ),
        f"GET {V1}/residents/{{resident_id}}": Act(SHOWN, REGISTER),
        f"GET {V1}/residents": Act(
            LocalizedText(zh="查看了含有您的居民名册（已遮盖）", en="viewed a list that includes you, masked"),
            REGISTER,
        ),
        f"PATCH {V1}/residents/{{resident_id}}": Act(CHANGED, REGISTER),
        f"POST {V1}/residents/{{resident_id}}/move": Act(
            LocalizedText(zh="变更了您的居住地，或提出了变更", en="moved you to another address, or requested it"),
            MOVING,
        ),
        f"POST {V1}/residents/{{resident_id}}/reveal": Act(
            LocalizedText(
                zh="查看了您未遮盖的信息（姓名、证件号码、电话或住址）",
                en="viewed your name, document number, phone or address unmasked",
            ),
            REGISTER,
        ),
        f"POST {V1}/residents/{{resident_id}}/close": Act(
            LocalizedText(zh="注销了您的登记", en="closed your record"), REGISTER
        ),
        f"POST {V1}/residents/{{resident_id}}/reopen": Act(
            LocalizedText(zh="恢复了您的登记", en="reopened your record"), REGISTER
        ),
        f"GET {V1}/registrations/{{registration_id}}": Act(REQUEST, REGISTER),
        f"GET {V1}/registrations": Act(REQUEST, REGISTER),
        f"GET {V1}/transfers": Act(TRANSFER, MOVING),
        f"GET {V1}/transfers/{{transfer_id}}": Act(TRANSFER, MOVING),
        f"POST {V1}/transfers/{{transfer_id}}/accept": Act(
            LocalizedText(zh="同意了您的迁移", en="accepted your transfer to another community"), MOVING
        ),
        f"POST {V1}/transfers/{{transfer_id}}/refuse": Act(
            LocalizedText(zh="拒绝了您的迁移", en="refused your transfer to another community"), MOVING
        ),
        f"POST {V1}/imports": Act(LocalizedText(zh="上传了居民名册文件", en="uploaded a file of residents"), REGISTER),
        "job import": Act(
            LocalizedText(
                zh="通过名册文件登记或更新了您的信息", en="registered you or updated your record from a file"
            ),
            REGISTER,
        ),
        f"GET {V1}/imports/{{import_id}}/errors": Act(
            LocalizedText(zh="导出了名册文件中有误的行", en="downloaded the failed rows of a file"), REGISTER
        ),
        f"POST {V1}/legal-holds": Act(HELD, LAWFUL),
        f"GET {V1}/legal-holds": Act(HELD, LAWFUL),
        f"GET {V1}/legal-holds/{{hold_id}}": Act(HELD, LAWFUL),
        f"POST {V1}/legal-holds/{{hold_id}}/release": Act(HELD, LAWFUL),
        f"POST {V1}/residents/{{resident_id}}/erasure": Act(
            LocalizedText(zh="申请删除您的数据", en="requested the erasure of your data"), LAWFUL
        ),
        f"POST {V1}/proxies": Act(LocalizedText(zh="登记了代办关系", en="recorded who acts for whom"), PROXY),
        f"GET {V1}/proxies": Act(PROXY_SHOWN, PROXY),
        f"GET {V1}/proxies/{{proxy_id}}": Act(PROXY_SHOWN, PROXY),
        f"POST {V1}/proxies/{{proxy_id}}/end": Act(LocalizedText(zh="结束了代办关系", en="ended a proxy"), PROXY),
        "birthdays": Act(
            LocalizedText(zh="按年龄更新了您的人群标签", en="updated your age group on your birthday"), AUTOMATIC
        ),
        "settle requests": Act(
            LocalizedText(zh="办结了登记或迁移申请", en="completed a request to register or transfer you"), AUTOMATIC
        ),
    },
    nobody=[
        f"POST {V1}/regions",
        f"GET {V1}/regions",
        f"GET {V1}/regions/{{code}}",
        f"GET {V1}/imports/template",
        f"GET {V1}/imports/{{import_id}}",
        f"POST {V1}/imports/{{import_id}}/cancel",
        f"GET {V1}/population",
    ],
)

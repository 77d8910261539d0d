"""What the operations of this service do, in words for the people they concern."""

from shared.audit.acts import AUTOMATIC, Act, declare
from shared.problems import Text

REGISTER = Text(zh="居民登记和底数核查", en="keeping the register of residents")
MOVING = Text(zh="居住地变更登记", en="a change of where you live")
LAWFUL = Text(zh="依法保全或删除数据", en="keeping or erasing data as the law asks")
PROXY = Text(zh="亲属或监护人代办", en="acting for a relative or a dependant")
SHOWN = Text(zh="查看了您的登记信息（已遮盖）", en="looked at your entry in the register, masked")
CHANGED = Text(zh="修改了您的登记信息", en="changed your entry in the register")
ENTERED = Text(zh="登记了您的信息", en="entered you into the register")
REQUEST = Text(zh="查看了您的登记申请", en="looked at a request to register you")
TRANSFER = Text(zh="查看了您的迁移申请", en="looked at a request to move you to another community")
HELD = Text(zh="为您的数据设置、查看或解除了依法保全", en="set, read or ended a legal hold on your data")
PROXY_SHOWN = Text(zh="查看了代办关系", en="looked at who acts for whom")

V1 = "/registry/v1"

declare(
    {
        f"POST {V1}/residents": Act(ENTERED, REGISTER),
        f"POST {V1}/residents/search": Act(
            Text(zh="按证件号码或电话查找了您", en="searched for you by document or phone"), REGISTER
        ),
        f"POST {V1}/residents/recognise": Act(
            Text(zh="核对了您提交的身份信息", en="compared what you entered with the register"),
            Text(zh="绑定账号", en="linking your account"),
        ),
        f"GET {V1}/residents/{{resident_id}}": Act(SHOWN, REGISTER),
        f"GET {V1}/residents": Act(
            Text(zh="查看了含有您的居民名册（已遮盖）", en="looked at a list with you in it, masked"),
            REGISTER,
        ),
        f"PATCH {V1}/residents/{{resident_id}}": Act(CHANGED, REGISTER),
        f"POST {V1}/residents/{{resident_id}}/move": Act(
            Text(zh="变更了您的居住地，或提出了变更", en="moved you to another address, or asked for it"), MOVING
        ),
        f"POST {V1}/residents/{{resident_id}}/reveal": Act(
            Text(
                zh="查看了您未遮盖的信息（姓名、证件号码、电话或住址）",
                en="saw your name, document number, phone or address in full",
            ),
            REGISTER,
        ),
        f"POST {V1}/residents/{{resident_id}}/close": Act(
            Text(zh="注销了您的登记", en="closed your entry in the register"), REGISTER
        ),
        f"POST {V1}/residents/{{resident_id}}/reopen": Act(
            Text(zh="恢复了您的登记", en="opened your entry in the register again"), REGISTER
        ),
        f"GET {V1}/registrations/{{registration_id}}": Act(REQUEST, REGISTER),
        f"GET {V1}/registrations": Act(REQUEST, REGISTER),
        f"GET {V1}/transfers": Act(TRANSFER, MOVING),
        f"GET {V1}/transfers/{{transfer_id}}": Act(TRANSFER, MOVING),
        f"POST {V1}/transfers/{{transfer_id}}/accept": Act(
            Text(zh="同意了您的迁移", en="agreed that you move to another community"), MOVING
        ),
        f"POST {V1}/transfers/{{transfer_id}}/refuse": Act(
            Text(zh="拒绝了您的迁移", en="refused that you move to another community"), MOVING
        ),
        f"POST {V1}/imports": Act(
            Text(zh="上传了居民名册文件", en="sent a file with the register of a place"), REGISTER
        ),
        "job import": Act(
            Text(zh="通过名册文件登记或更新了您的信息", en="entered or changed your data by a file"),
            REGISTER,
        ),
        f"GET {V1}/imports/{{import_id}}/errors": Act(
            Text(zh="导出了名册文件中有误的行", en="took out the rows of a file that were not accepted"), REGISTER
        ),
        f"POST {V1}/legal-holds": Act(HELD, LAWFUL),
        f"GET {V1}/legal-holds": Act(HELD, LAWFUL),
        f"GET {V1}/legal-holds/{{hold_id}}": Act(HELD, LAWFUL),
        f"POST {V1}/legal-holds/{{hold_id}}/release": Act(HELD, LAWFUL),
        f"POST {V1}/residents/{{resident_id}}/erasure": Act(
            Text(zh="申请删除您的数据", en="asked for the erasure of your data"), LAWFUL
        ),
        f"POST {V1}/proxies": Act(Text(zh="登记了代办关系", en="recorded who acts for whom"), PROXY),
        f"GET {V1}/proxies": Act(PROXY_SHOWN, PROXY),
        f"GET {V1}/proxies/{{proxy_id}}": Act(PROXY_SHOWN, PROXY),
        f"POST {V1}/proxies/{{proxy_id}}/end": Act(Text(zh="结束了代办关系", en="ended a right to act for you"), PROXY),
        "birthdays": Act(
            Text(zh="按年龄更新了您的人群标签", en="changed your age group after your birthday"), AUTOMATIC
        ),
        "settle requests": Act(
            Text(zh="办结了登记或迁移申请", en="carried out a request to register or move you"), AUTOMATIC
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

"""What each tag of the merged document is for, in one sentence: in English there, in both languages on its pages."""

from collections.abc import Mapping

from shared.problems import Text

T = Text
TAGS: Mapping[str, Text] = {
    "audit": T(
        zh="查询谁在何时查看或更改了什么，以及居民查询谁看过自己的资料。",
        en="Who looked at or changed what, for auditors and for the person concerned.",
    ),
    "boxes": T(zh="标本转运箱的装箱、交接和签收。", en="Transport boxes of tubes: packing, handing over, receiving."),
    "campaigns": T(zh="全员核酸的轮次、进度和漏检名单。", en="Rounds of mass testing: plan, progress, who is missing."),
    "codes": T(zh="健康码：颜色、原因和二维码。", en="Health codes: the colour with its reasons, and the QR code."),
    "development": T(
        zh="仅开发模式提供：直接取得令牌。", en="Development mode only: tokens without signing in, for trying the API."
    ),
    "hooks": T(
        zh="其他系统（120、医院、市级平台）推送签名消息的入口。",
        en="The way in for signed messages of other systems, such as the 120 centre and hospitals.",
    ),
    "imports": T(zh="从表格文件导入居民。", en="Import residents from a spreadsheet, as a job with a file of errors."),
    "messages": T(
        zh="其他系统发来的转诊消息及处理结果。",
        en="Messages about referrals from other systems, and what became of them.",
    ),
    "orders": T(
        zh="医学观察：集中、居家和健康监测，提前解除和变更。",
        en="Medical observation: the orders, their plans, and their end or change.",
    ),
    "policies": T(
        zh="赋码规则：试算、提案和版本。", en="The rules that give a code its colour: trials, proposals, versions."
    ),
    "population": T(zh="辖区底数统计。", en="Counts of the people in a region, by its parts and by tags."),
    "proposals": T(
        zh="须由第二人审批的提案：查看、批准、不予批准、撤回。",
        en="Acts that a second person must approve: read, approve, refuse, withdraw.",
    ),
    "protected services": T(
        zh="凭核验凭证访问受保护的服务。", en="Services behind a code check, reached with a receipt or by forward-auth."
    ),
    "protocols": T(
        zh="医学观察方案：天数、检测日和时限。",
        en="Protocols of observation: days, test days and time limits, as data.",
    ),
    "proxies": T(zh="代办：老人、儿童等由他人代为办理。", en="Who may act for whom, such as a child or an old person."),
    "referrals": T(
        zh="发热转诊：从报告到医院反馈。",
        en="Fever cases, from the report to what the hospital found, with time limits.",
    ),
    "regions": T(zh="行政区划及其下的片、网格。", en="The administrative tree, down to patches and grids."),
    "residents": T(
        zh="居民登记、变更、迁移和注销。", en="People on record: register, find, change, move, reveal and close."
    ),
    "results": T(zh="检测机构报告的结果及更正。", en="Laboratory results and their corrections."),
    "retention": T(
        zh="资料保存期限、保全和删除。", en="How long data is kept, what holds it longer, and requests to erase it."
    ),
    "retests": T(zh="混管阳性后的单采复核。", en="The single swabs that members of a pooled tube owe."),
    "service points": T(
        zh="验码点：登记、验码和到访记录。",
        en="Where codes are checked: the points, the checks, and the visits they leave.",
    ),
    "sign-in": T(
        zh="账号、应用、授权和登录会话。",
        en="Accounts, applications, grants of roles, and sessions of signed-in people.",
    ),
    "sunset": T(zh="宣布应急结束，停止收集。", en="The end of the emergency, after which nothing more is collected."),
    "tubes": T(zh="采样：条码卷、采样管和标本。", en="Sampling: rolls of barcodes, tubes, samples and seals."),
    "webhooks": T(
        zh="订阅事件：向您的系统推送签名通知。",
        en="Subscriptions: signed events that are delivered to your own system.",
    ),
}

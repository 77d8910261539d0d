"""One sentence about each tag: in English in the merged OpenAPI document, in both languages on the pages."""

from collections.abc import Mapping

from shared.problems import LocalizedText

T = LocalizedText
TAGS: Mapping[str, LocalizedText] = {
    "audit": T(
        zh="操作审计：查询何人何时查看或更改了哪些资料；居民可查询谁看过自己的资料。",
        en="Who viewed or changed what, for auditors. Residents see who viewed their own data.",
    ),
    "boxes": T(zh="标本转运箱的装箱、交接和签收。", en="Transport boxes for tubes: packing, handover, receipt."),
    "campaigns": T(
        zh="全员核酸的轮次、进度和漏检名单。", en="Rounds of mass testing: plan, progress, and people not yet sampled."
    ),
    "codes": T(zh="健康码：颜色、原因和二维码。", en="Health codes: the colour with its reasons, and the QR code."),
    "development": T(
        zh="仅开发模式提供：无需登录即可取得令牌。", en="Development mode only: tokens without sign-in, to try the API."
    ),
    "hooks": T(
        zh="接收其他系统（120、医院、市级平台）推送的签名消息。",
        en="Receive signed messages from other systems, such as the 120 centre and hospitals.",
    ),
    "imports": T(zh="用表格文件批量导入居民。", en="Import residents from a spreadsheet. A job with a list of errors."),
    "messages": T(
        zh="其他系统发来的转诊消息及处理结果。",
        en="Messages from other systems about referrals, and how they were processed.",
    ),
    "orders": T(
        zh="医学观察：集中隔离、居家观察和健康监测，以及变更和解除。",
        en="Medical observation orders: central, home and health monitoring, with changes and release.",
    ),
    "policies": T(
        zh="赋码规则：试算、提案和版本。", en="The rules that decide the colour of a code: trials, proposals, versions."
    ),
    "population": T(zh="辖区人口底数统计。", en="Population of a region, by sub-region and by tag."),
    "proposals": T(
        zh="须由第二人审批的提案：查看、批准、不予批准、撤回。",
        en="Proposals that a second person must approve: read, approve, refuse, withdraw.",
    ),
    "protected services": T(
        zh="凭核验凭证访问受保护的服务。", en="Services behind a service point: access requires a receipt."
    ),
    "protocols": T(
        zh="医学观察方案：观察天数、检测日和时限。",
        en="Protocols of medical observation: number of days, test days and time limits.",
    ),
    "proxies": T(
        zh="代办：由他人代老人、儿童等办理。", en="Who may act for another person, such as a child or an elder."
    ),
    "referrals": T(
        zh="发热转诊：从报告到医院反馈结果，各环节有时限。",
        en="Fever cases from the report to the hospital's outcome, with time limits.",
    ),
    "regions": T(zh="行政区划及其下的片、网格。", en="The administrative tree, down to patches and grids."),
    "residents": T(
        zh="居民登记、查询、变更、迁移和注销。", en="Residents: register, find, change, move, reveal and close."
    ),
    "results": T(zh="检测机构报告的结果及更正。", en="Laboratory results and their corrections."),
    "retention": T(zh="资料保存期限、保全和删除。", en="Retention periods, legal holds, and requests to erase data."),
    "retests": T(zh="混采阳性后的单采复核。", en="The single swabs that members of a positive pool owe."),
    "service points": T(
        zh="验码点：设置、验码和到访记录。",
        en="Service points where codes are checked, verifications, and visits.",
    ),
    "sign-in": T(
        zh="账号、应用、授权和登录会话。",
        en="Accounts, apps, grants of roles, and sessions.",
    ),
    "sunset": T(
        zh="宣布应急状态结束，停止收集资料。", en="The end of the emergency, after which no data is collected."
    ),
    "tubes": T(zh="采样：条码卷、采样管和标本。", en="Sampling: rolls of barcodes, tubes, samples and seals."),
    "webhooks": T(
        zh="订阅事件：向您的系统推送签名通知。",
        en="Subscriptions to events: signed deliveries to your own system.",
    ),
}

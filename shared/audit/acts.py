"""The texts of audit entries for residents, in both languages: what was done, why, and in which role.

Each operation that shows or changes somebody's data has an `Act`. Every other operation is listed in `about_nobody`. A
service declares its own in the `acts.py` beside its `app.py`. A test finds operations that have neither.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.core.settings import SERVICES
from shared.problems import Language, LocalizedText


class Act(NamedTuple):
    """The text of one operation: `what` continues "On 21 January somebody …", `why` is the purpose."""

    what: LocalizedText
    why: LocalizedText


declared: dict[str, Act] = {}
"""All acts by operation: the method and path template, or the name of a background task of a service.

Tasks that several services run under one name, such as reading a feed, have the service as a prefix:
`gateway feed testing`.
"""

about_nobody: set[str] = set()
"""Operations that neither show nor change a resident's data."""


def declare(acts: Mapping[str, Act], nobody: Iterable[str] = ()) -> None:
    """Declare the texts of a service's operations, and the operations that are about nobody."""
    declared.update(acts)
    about_nobody.update(nobody)


def act_of(service: str, operation: str, kind: Kind) -> Act:
    """Return the text of an entry. An operation of an older version without a text gets the text of its kind."""
    known = declared.get(operation) or declared.get(f"{service} {operation}")
    return known or BY_KIND.get(kind) or BY_KIND[Kind.LOOK]


SUPERVISION = LocalizedText(zh="监督检查", en="supervision of the use of personal data")
AUTOMATIC = LocalizedText(zh="系统按规则自动处理", en="rules that the system applies automatically")
DECISION = LocalizedText(zh="须经两人决定的事项", en="a decision that needs two people")
GENERAL = LocalizedText(zh="疫情防控工作", en="epidemic prevention and control")

BY_KIND: Mapping[Kind, Act] = {
    Kind.LOOK: Act(LocalizedText(zh="查看了您的信息", en="looked at your data"), GENERAL),
    Kind.SEARCH: Act(LocalizedText(zh="查找了您的信息", en="searched for your data"), GENERAL),
    Kind.REVEAL: Act(LocalizedText(zh="查看了您未遮盖的信息", en="viewed your data in full"), GENERAL),
    Kind.EXPORT: Act(LocalizedText(zh="导出了含有您信息的文件", en="exported a file that contains your data"), GENERAL),
    Kind.CHANGE: Act(LocalizedText(zh="办理了与您有关的事项", en="handled a matter that concerns you"), GENERAL),
    Kind.RESTRICTION: Act(
        LocalizedText(zh="更新了您的健康码或医学观察状态", en="changed your health code or your observation"), AUTOMATIC
    ),
    Kind.SIGN_IN: Act(LocalizedText(zh="登录或绑定了账号", en="signed in, or linked an account"), GENERAL),
    Kind.GRANT: Act(LocalizedText(zh="办理了授权", en="granted or ended an authorisation"), GENERAL),
    Kind.APPROVAL: Act(
        LocalizedText(zh="提出或审批了与您有关的事项", en="proposed or decided a matter that concerns you"), DECISION
    ),
    Kind.PURGE: Act(
        LocalizedText(zh="按期限删除了您的数据", en="deleted your data at the end of the retention period"), AUTOMATIC
    ),
}

_PROPOSAL = Act(LocalizedText(zh="审批了与您有关的事项", en="decided a matter that concerns you"), DECISION)

for _service in SERVICES:
    _v1 = f"/{_service}/v1"
    declare(
        {
            f"GET {_v1}/audit": Act(
                LocalizedText(zh="检查了涉及您信息的操作记录", en="searched the records of who used your data"),
                SUPERVISION,
            ),
            f"POST {_v1}/proposals/{{proposal_id}}/approve": _PROPOSAL,
            f"POST {_v1}/proposals/{{proposal_id}}/refuse": _PROPOSAL,
            f"POST {_v1}/proposals/{{proposal_id}}/withdraw": _PROPOSAL,
        },
        nobody=[
            f"GET {_v1}/proposals",
            f"GET {_v1}/proposals/{{proposal_id}}",
            f"GET {_v1}/retention",
            f"POST {_v1}/retention",
            f"GET {_v1}/who-looked-at-me",
            "GET /internal/audit/heads",
        ],
    )

PURPOSES: Mapping[str, LocalizedText] = {
    "contact_tracing": LocalizedText(zh="密切接触者追踪", en="contact tracing"),
    "home_visit": LocalizedText(zh="上门服务", en="a home visit"),
    "medical_transfer": LocalizedText(zh="就医转运", en="transport to a hospital"),
    "notification": LocalizedText(zh="通知本人", en="notifying you"),
    "identity_check": LocalizedText(zh="身份核对", en="an identity check"),
    "correction": LocalizedText(zh="更正登记信息", en="a correction of the register"),
    "transfer": LocalizedText(zh="接您就医", en="taking you to a hospital"),
    "treatment": LocalizedText(zh="为您诊治", en="treating you"),
}
"""The texts of the purposes for which unmasked data is shown."""

ROLES: Mapping[Role, LocalizedText] = {
    Role.RESIDENT: LocalizedText(zh="本人或代办人", en="yourself or your proxy"),
    Role.GRID_WORKER: LocalizedText(zh="网格员", en="grid worker"),
    Role.COMMUNITY_OFFICER: LocalizedText(zh="社区工作人员", en="community officer"),
    Role.VILLAGE_DOCTOR: LocalizedText(zh="村医", en="village doctor"),
    Role.SAMPLER: LocalizedText(zh="采样员", en="sampler"),
    Role.LABORATORY: LocalizedText(zh="检测机构", en="laboratory"),
    Role.DESK_120: LocalizedText(zh="120调度台", en="120 dispatch centre"),
    Role.HOSPITAL: LocalizedText(zh="定点医院", en="designated hospital"),
    Role.DOORKEEPER: LocalizedText(zh="验码员", en="doorkeeper"),
    Role.CHECKPOINT: LocalizedText(zh="检疫点工作人员", en="checkpoint officer"),
    Role.COMMAND: LocalizedText(zh="指挥部工作人员", en="command centre staff"),
    Role.SUPERVISOR: LocalizedText(zh="督查人员", en="supervisor"),
    Role.MUNICIPAL: LocalizedText(zh="市级系统", en="municipal system"),
    Role.AUDITOR: LocalizedText(zh="审计人员", en="auditor"),
    Role.SERVICE: LocalizedText(zh="系统自动处理", en="the system, automatically"),
}

NO_ORGANISATION = LocalizedText(zh="未登记单位", en="no organisation on record")


def purpose_in_words(purpose: str, act: Act, language: Language) -> str:
    """Return the text of the stated purpose, or of the operation's purpose if none was stated."""
    if not purpose:
        return act.why.render(language)
    known = PURPOSES.get(purpose)
    return known.render(language) if known else purpose


def role_in_words(role: str, language: Language) -> str:
    """Return the name of a role for people."""
    try:
        return ROLES[Role.named(role)].render(language)
    except KeyError:
        return role


def organisation_in_words(role: str, party: str, language: Language) -> str:
    """Name the organisation of the actor. Staff have its name, machines an id, so their role is shown with it."""
    name = role_in_words(role, language)
    if role in (Role.RESIDENT.label, Role.SERVICE.label):
        return name
    if not party:
        return NO_ORGANISATION.render(language)
    try:
        is_id = Role.named(role) in Role.MACHINE | Role.DOOR
    except KeyError:
        is_id = False
    if not is_id:
        return party
    return f"{name}（{party}）" if language == "zh-CN" else f"{name} ({party})"

"""What residents read of an entry: what was done, why, in which role, in words of both languages.

Each operation that shows or changes somebody's data has an `Act`; each other operation is named among those that are
about nobody. A service declares its own in `acts.py` beside its `app.py`; a test finds an operation that has neither.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.actors import Role
from shared.audit.kinds import Kind
from shared.problems import Language, Text
from shared.settings import SERVICES


class Act(NamedTuple):
    """One operation in words: `what` continues "On 21 January somebody …", `why` is the purpose it serves."""

    what: Text
    why: Text


declared: dict[str, Act] = {}
"""All acts, by operation: the method and the form of the address, or the name of work that a service does by itself.

What several services do under one name, as reading a feed, is declared after the service's own: `gateway feed testing`.
"""

about_nobody: set[str] = set()
"""Operations that neither show nor change a resident's data."""


def declare(acts: Mapping[str, Act], nobody: Iterable[str] = ()) -> None:
    """Say what the operations of a service do, in words."""
    declared.update(acts)
    about_nobody.update(nobody)


def act_of(service: str, operation: str, kind: Kind) -> Act:
    """What an entry says in words; by its kind, if its operation is of an older version and has no words any more."""
    known = declared.get(operation) or declared.get(f"{service} {operation}")
    return known or BY_KIND.get(kind) or BY_KIND[Kind.LOOK]


SUPERVISION = Text(zh="监督检查", en="supervision of how personal data are used")
AUTOMATIC = Text(zh="系统按规则自动处理", en="the rules that the system applies by itself")
DECISION = Text(zh="须经两人决定的事项", en="a decision that needs two people")
GENERAL = Text(zh="疫情防控工作", en="epidemic prevention and control")

BY_KIND: Mapping[Kind, Act] = {
    Kind.LOOK: Act(Text(zh="查看了您的信息", en="looked at your data"), GENERAL),
    Kind.SEARCH: Act(Text(zh="查找了您的信息", en="searched for your data"), GENERAL),
    Kind.REVEAL: Act(Text(zh="查看了您未遮盖的信息", en="saw your data in full"), GENERAL),
    Kind.EXPORT: Act(Text(zh="导出了含有您信息的文件", en="took out a file that holds your data"), GENERAL),
    Kind.CHANGE: Act(Text(zh="办理了与您有关的事项", en="did something that concerns you"), GENERAL),
    Kind.RESTRICTION: Act(
        Text(zh="更新了您的健康码或医学观察状态", en="changed your health code or your observation"), AUTOMATIC
    ),
    Kind.SIGN_IN: Act(Text(zh="登录或绑定了账号", en="signed in, or linked an account"), GENERAL),
    Kind.GRANT: Act(Text(zh="办理了授权", en="gave or ended a right to act"), GENERAL),
    Kind.APPROVAL: Act(Text(zh="提出或决定了与您有关的事项", en="proposed or decided something about you"), DECISION),
    Kind.PURGE: Act(Text(zh="按期限删除了您的数据", en="removed data about you at the end of their period"), AUTOMATIC),
}

_PROPOSAL = Act(Text(zh="审批了与您有关的事项", en="decided on something that concerns you"), DECISION)

for _service in SERVICES:
    _v1 = f"/{_service}/v1"
    declare(
        {
            f"GET {_v1}/audit": Act(
                Text(zh="检查了涉及您信息的操作记录", en="searched the record of who used your data"), SUPERVISION
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

PURPOSES: Mapping[str, Text] = {
    "contact_tracing": Text(zh="密切接触者追踪", en="tracing of contacts"),
    "home_visit": Text(zh="上门服务", en="a visit at home"),
    "medical_transfer": Text(zh="就医转运", en="transport to a hospital"),
    "notification": Text(zh="通知本人", en="telling you something"),
    "identity_check": Text(zh="身份核对", en="a check of your identity"),
    "correction": Text(zh="更正登记信息", en="a correction of the register"),
    "transfer": Text(zh="接您就医", en="fetching you to a hospital"),
    "treatment": Text(zh="为您诊治", en="treating you"),
}
"""The purposes for which somebody is shown in full, as people read them."""

ROLES: Mapping[Role, Text] = {
    Role.RESIDENT: Text(zh="本人或代办人", en="yourself, or somebody who acts for you"),
    Role.GRID_WORKER: Text(zh="网格员", en="grid worker"),
    Role.COMMUNITY_OFFICER: Text(zh="社区工作人员", en="community officer"),
    Role.VILLAGE_DOCTOR: Text(zh="村医", en="village doctor"),
    Role.SAMPLER: Text(zh="采样员", en="sampler"),
    Role.LABORATORY: Text(zh="检测机构", en="laboratory"),
    Role.DESK_120: Text(zh="120调度台", en="120 emergency desk"),
    Role.HOSPITAL: Text(zh="定点医院", en="designated hospital"),
    Role.DOORKEEPER: Text(zh="验码员", en="doorkeeper"),
    Role.CHECKPOINT: Text(zh="检疫点工作人员", en="checkpoint officer"),
    Role.COMMAND: Text(zh="指挥部工作人员", en="member of the command"),
    Role.SUPERVISOR: Text(zh="督查人员", en="supervisor"),
    Role.MUNICIPAL: Text(zh="市级系统", en="system of the city"),
    Role.AUDITOR: Text(zh="审计人员", en="auditor"),
    Role.SERVICE: Text(zh="系统自动处理", en="the system itself"),
}

NO_ORGANISATION = Text(zh="未登记单位", en="no organisation on record")


def purpose_in_words(purpose: str, act: Act, language: Language) -> str:
    """The stated purpose in words; where none was stated, the one that the operation serves."""
    if not purpose:
        return act.why.say(language)
    known = PURPOSES.get(purpose)
    return known.say(language) if known else purpose


def role_in_words(role: str, language: Language) -> str:
    """A role as people read it."""
    try:
        return ROLES[Role.named(role)].say(language)
    except KeyError:
        return role


def organisation_in_words(role: str, party: str, language: Language) -> str:
    """For whom somebody acted. Staff carry the name of their organisation, machines an id, which the role explains."""
    name = role_in_words(role, language)
    if role in (Role.RESIDENT.label, Role.SERVICE.label):
        return name
    if not party:
        return NO_ORGANISATION.say(language)
    try:
        is_id = Role.named(role) in Role.MACHINE | Role.DOOR
    except KeyError:
        is_id = False
    if not is_id:
        return party
    return f"{name}（{party}）" if language == "zh-CN" else f"{name} ({party})"

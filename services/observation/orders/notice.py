"""The printable notices of observation: the notice 告知书 at the start and the release notice at the end.

Observation has no names, so name, address and phone are blank lines. They are filled in by hand or by the caller's own
page.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from html import escape
from string import Template

from services.observation.people.rules import days_of
from services.observation.protocols.rules import Protocol, date_of
from shared.contracts.observation import Order, OrderKind
from shared.core.days import SHANGHAI

KINDS: dict[OrderKind, str] = {"central": "集中隔离医学观察", "home": "居家医学观察", "monitoring": "日常健康监测"}

RULES: dict[OrderKind, tuple[str, ...]] = {
    "central": ("单人单间居住，不离开房间，不与他人接触。",),
    "home": (
        "单人单间居住，不外出，分餐，保持通风和消毒；同住人员请减少接触。",
        "驻社区干部、社区两委、村医每日上门（每日 {visits} 次），请予配合。",
        "门口悬挂公示牌，请勿遮挡或取下。",
        "生活垃圾集中消毒、封存、处置，请交由专班处理。",
    ),
    "monitoring": ("减少串门走动，不参加聚集性活动。",),
}

COMMON = (
    "每日测温 {temperatures} 次（早、晚各一次），并报告体温和症状。",
    "如出现发热（≥ {fever} ℃）、干咳、乏力、咽痛、嗅（味）觉减退、腹泻等症状，请立即报告，"
    "留在原处等待 120 专车，请勿自行就医。",
    "需要食品、药品、就医等帮助，请联系工作专班。就医、核酸采样、申诉不受限制。",
)

UNSIGNED = "________________疫情防控指挥部（盖章）"

STYLE = """
body { font: 12pt/1.8 serif; max-width: 42em; margin: 2em auto; }
h1 { text-align: center; }
dl { display: grid; grid-template-columns: 8em 1fr; }
dd { margin: 0; border-bottom: 1px solid #999; min-height: 1.8em; }
.sign { margin-top: 3em; text-align: right; }
@page { size: A4; margin: 20mm; }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

HEADERS = {"content-security-policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; frame-ancestors 'none'"}
"""The response headers of the page. They allow only its own style."""

PAGE = Template("""<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<title>$title</title>
<style>$style</style>
</head>
<body>
<h1>$title</h1>
<dl>
<dt>编号</dt><dd>$order</dd>
<dt>人员编号</dt><dd>$resident</dd>
<dt>姓名</dt><dd></dd>
<dt>住址</dt><dd></dd>
<dt>联系电话</dt><dd></dd>
$lines
</dl>
$text
<dl>
<dt>驻社区干部</dt><dd></dd>
<dt>社区两委</dt><dd></dd>
<dt>村医</dt><dd></dd>
<dt>本人签收</dt><dd></dd>
</dl>
<p>依据：$grounds。</p>
<p class="sign">$headquarters<br>$issued</p>
</body>
</html>
""")


@dataclass(frozen=True, slots=True)
class Issuer:
    """The signature of a notice and the plan it is based on, from the settings of the installation."""

    headquarters: str = ""
    """If empty, the page has a line to fill in by hand."""
    plan: str = ""
    """If empty, the page names only the protocol."""


def render(order: Order, protocol: Protocol, end_reason: str | None, extra_days: int, issuer: Issuer) -> str:
    """Return the notice for the order's state: of observation while it is open, of release afterwards."""
    title, lines, text = _opening(order, protocol, extra_days) if order.state == "open" else _ending(order, end_reason)
    return PAGE.substitute(
        style=STYLE,
        title=escape(title),
        order=escape(str(order.id)),
        resident=escape(str(order.resident_id)),
        lines="\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in lines),
        text=text,
        grounds=escape("；".join(filter(None, (issuer.plan, protocol.title.zh)))),
        headquarters=escape(issuer.headquarters or UNSIGNED),
        issued=_day(_local(order.ended_at or order.opened_at).date()),
    )


def _opening(order: Order, protocol: Protocol, extra_days: int) -> tuple[str, list[tuple[str, str]], str]:
    kind = KINDS[order.kind]
    tests = [f"第 {day} 天（{_day(date_of(order.day_0, day))}）" for day in protocol.test_days[order.kind].value]
    last = _day((_local(order.ends_at) - timedelta(microseconds=1)).date())
    lines = [
        ("观察方式", kind),
        ("末次暴露日", f"{_day(order.day_0)}（第 0 天）"),
        ("观察期限", f"{days_of(order.kind, protocol, extra_days)} 天，至 {last} 24 时"),
        ("核酸检测", "、".join(tests) or "按通知进行"),
    ]
    values = {
        "visits": protocol.visits_a_day[order.kind].value,
        "temperatures": protocol.temperatures_a_day.value,
        "fever": protocol.fever_celsius.value,
    }
    items = "".join(f"<li>{escape(rule.format(**values))}</li>" for rule in (*RULES[order.kind], *COMMON))
    text = (
        f"<p>您与一名核酸检测阳性人员共同居住，请自即日起接受{kind}，并遵守以下要求：</p><ol>{items}</ol>"
        "<p>观察期满且规定的核酸检测均为阴性后，凭解除通知单解除。检测结果更正的，观察随即撤销。</p>"
    )
    return f"{kind}告知书", lines, text


def _ending(order: Order, end_reason: str | None) -> tuple[str, list[tuple[str, str]], str]:
    kind = KINDS[order.kind]
    ended = _local(order.ended_at or order.ends_at)
    lines = [("观察方式", kind), ("结束时间", f"{_day(ended.date())} {ended:%H:%M}")]
    why = {
        "completed": "观察期已满，规定的核酸检测均为阴性，现予解除。感谢您的配合。",
        "ended_early": "经疫情防控指挥部审批，提前解除医学观察。感谢您的配合。",
        "converted": "您本人的核酸检测结果为阳性，观察终止，由 120 专车转运至定点医院。",
        "evidence_withdrawn": "所依据的检测结果已更正或已由定点医院排除，观察撤销。给您带来的不便，敬请谅解。",
        "person_closed": "居民信息已注销，观察撤销。",
    }
    return f"解除{kind}通知单", lines, f"<p>{escape(why[end_reason or 'completed'])}</p>"


def _local(instant: datetime) -> datetime:
    return instant.astimezone(SHANGHAI)


def _day(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"

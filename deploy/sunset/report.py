"""The report of the destruction: as JSON that can be checked, and as a page for people."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.sunset.scope import STAYS, WHY_ZH
from shared.audit.canonical import canonical, timestamp
from shared.audit.signing import key_of, signed
from shared.core.settings import SERVICES, Service
from shared.crypto.tokens import Signer

FORMAT = "fangxian-sunset-1"
Counts = Mapping[Service, Mapping[str, int]]


def report_of(
    declared: Mapping[str, Any], counts: tuple[Counts, Counts], holds: Sequence[Any], keys: Any, now: Any
) -> dict[str, Any]:
    """Return the report without signature. `counts` are the removed and the remaining rows of each table."""
    removed, left = counts
    return {
        "format": FORMAT,
        "declared_on": declared["declared_on"].isoformat(),
        "decree": declared["decree"],
        "proposal": str(declared["proposal_id"]),
        "approved_at": timestamp(declared["approved_at"]),
        "ended_at": timestamp(now),
        "removed": {service: dict(removed[service]) for service in SERVICES},
        "remains": {
            service: {
                table: {"rows": rows, "why": STAYS[service].get(table, "legal hold")}
                for table, rows in left[service].items()
                if rows
            }
            for service in SERVICES
        },
        "holds": [
            {"hold": str(one["id"]), "ordered_by": one["ordered_by"], "until": timestamp(one["until"])} for one in holds
        ],
        "destroyed_keys": keys,
    }


def finished(report: dict[str, Any], signer: Signer) -> dict[str, Any]:
    """Add the hash (SHA-256 of the canonical JSON, RFC 8785) and the signature of the gateway's key (Ed25519)."""
    digest = hashlib.sha256(canonical(report)).hexdigest()
    return signed(signer, {**report, "hash": digest, "key": key_of(signer)})


def write(report: dict[str, Any], out: Path) -> None:
    """Write both forms."""
    (out / "sunset.json").write_bytes(canonical(report) + b"\n")
    (out / "sunset.md").write_text(page(report), encoding="utf-8")


def page(report: Mapping[str, Any]) -> str:
    """Return the report as a page for people."""
    keys = report["destroyed_keys"]
    lines = [
        "# 个人信息销毁报告 · Report of the destruction of personal data",
        "",
        f"- 应急状态结束 · the emergency ended: {report['declared_on']} ({report['decree']})",
        f"- 两人批准 · approved by two people: {report['approved_at']} (proposal {report['proposal']})",
        f"- 销毁完成 · destroyed by: {report['ended_at']}",
        f"- SHA-256: `{report['hash']}`, {report['key']}",
        "",
        "## 已删除 · Removed",
        "",
        *_table(("服务 · service", "表 · table", "行 · rows"), _removed(report)),
        "",
        "## 已销毁的密钥 · Destroyed keys",
        "",
        "备份和预写日志中的密文自此无法解密。"
        "No encrypted value in a backup or in the write-ahead log can be decrypted any more.",
        "",
        *(f"- data, {service}: {', '.join(ids)}" for service, ids in keys["data"].items()),
        *(f"- {kind}: {', '.join(keys[kind])}" for kind in ("index", "master")),
        "",
        "## 保留及理由 · What remains, and why",
        "",
        *_table(("服务 · service", "表 · table", "行 · rows", "理由 · why"), _remaining(report)),
        "",
        "## 依法保全 · Legal holds",
        "",
        *([f"- {one['hold']}: {one['ordered_by']}, {one['until']}" for one in report["holds"]] or ["无 · none"]),
    ]
    return "\n".join(lines) + "\n"


def _removed(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (service, table, str(rows)) for service, tables in report["removed"].items() for table, rows in tables.items()
    ]


def _remaining(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    zh = {**WHY_ZH, "legal hold": "依法保全，或系统自身的任务"}
    return [
        (service, table, str(one["rows"]), f"{zh[one['why']]} · {one['why']}")
        for service, tables in report["remains"].items()
        for table, one in tables.items()
    ]


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [_row(heads), _row(("---",) * len(heads)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""The page: one line per target, with the figure, the floor in the same run, the ratio and the target."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Better = Literal["at least", "at most"]
_SIGNS: Mapping[Better, str] = {"at least": "≥", "at most": "≤"}


@dataclass(frozen=True)
class Aim:
    """The target for a ratio or a figure."""

    better: Better
    limit: float
    unit: str = "×"

    def met(self, value: float) -> bool:
        """Whether a value reaches the target."""
        return value >= self.limit if self.better == "at least" else value <= self.limit

    def __str__(self) -> str:
        return f"{_SIGNS[self.better]} {_number(self.limit)} {self.unit}".rstrip()


@dataclass(frozen=True)
class Figure:
    """One line of the page. `value` is compared with the target; it is usually a ratio."""

    path: str
    what: str
    measured: str
    floor: str = ""
    value: float | None = None
    aim: Aim | None = None
    notes: Sequence[str] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Everything that was measured, for the JSON."""
    failed: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached. None without a target or a measurement."""
        return None if self.aim is None or self.value is None else self.aim.met(self.value)


def not_measured(path: str, what: str, why: str, *, failed: bool = False) -> Figure:
    """Return a line without a figure, with the reason."""
    return Figure(path, what, "failed" if failed else "not measured", notes=[why], failed=failed)


@dataclass
class Page:
    """All figures of one run, and the machine they were taken on."""

    machine: Mapping[str, str]
    figures: list[Figure] = field(default_factory=list)

    def show(self, console: Console) -> None:
        """Print it: a table on a terminal, plain lines elsewhere."""
        for name, value in self.machine.items():
            console.print(escape(f"{name}: {value}"), highlight=False, soft_wrap=True)
        if console.is_terminal:
            console.print(_table(self.figures))
        else:
            for figure in self.figures:
                console.print(escape(line_of(figure)), highlight=False, soft_wrap=True)
        for figure in self.figures:
            for note in figure.notes:
                console.print(escape(f"  {figure.path}: {note}"), highlight=False, soft_wrap=True)

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.write_text(json.dumps(self._plain(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def _plain(self) -> dict[str, Any]:
        return {
            "machine": dict(self.machine),
            "figures": [
                {**asdict(figure), "aim": str(figure.aim) if figure.aim else None, "met": figure.met}
                for figure in self.figures
            ],
        }


def line_of(figure: Figure) -> str:
    """One figure as one plain line."""
    cells = [figure.path, figure.what, figure.measured]
    if figure.floor:
        cells.append(f"floor {figure.floor}")
    if figure.value is not None:
        cells.append(f"= {_value(figure)}")
    if figure.aim is not None:
        cells.append(f"aim {figure.aim} {_verdict(figure)}".rstrip())
    return " | ".join(cells)


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("path", "what", "measured", "floor"):
        table.add_column(heading, overflow="fold")
    for heading in ("ratio", "aim", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        verdict = {True: "met", False: "[bold red]not met[/]", None: ""}[figure.met]
        aim = str(figure.aim) if figure.aim else ""
        cells = (figure.path, figure.what, figure.measured, figure.floor, _value(figure), aim)
        table.add_row(*map(escape, cells), "[bold red]failed[/]" if figure.failed else verdict)
    return table


def _verdict(figure: Figure) -> str:
    return {True: "met", False: "NOT MET", None: ""}[figure.met]


def _value(figure: Figure) -> str:
    if figure.value is None:
        return ""
    return f"{_number(figure.value)} {figure.aim.unit if figure.aim else '×'}"


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 and value != int(value) else f"{value:,.0f}"


def per_second(rate: float) -> str:
    """`6,120/s`."""
    return f"{rate:,.0f}/s"


def milliseconds(seconds: float) -> str:
    """`12.3 ms`."""
    return f"{seconds * 1000:.1f} ms"

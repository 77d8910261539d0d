"""The checks: expected value, actual value and duration. One table at the end, and an exit code."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

LONGEST_CELL = 100
LONGEST_EXPLANATION = 500


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked."""

    step: str
    what: str
    expected: str
    got: str
    well: bool
    seconds: float | None = None
    late: bool = False
    """Right, but later than promised."""


@dataclass
class Checks:
    """All that was checked, in the order it was."""

    done: list[Check] = field(default_factory=list)
    step: str = ""

    @property
    def failed(self) -> list[Check]:
        """What was not as expected."""
        return [check for check in self.done if not check.well]

    def equal(self, what: str, expected: Any, got: Any, seconds: float | None = None) -> bool:
        """Check that what came is what was expected."""
        return self._note(what, _cell(expected), _cell(got), bool(expected == got), seconds)

    def each(
        self, what: str, expected: Mapping[Any, Any], got: Mapping[Any, Any], seconds: float | None = None
    ) -> bool:
        """Check many of a kind at once, by name: all are as expected, and there are no others."""
        names = expected.keys() | got.keys()
        wrong = [name for name in sorted(names) if expected.get(name) != got.get(name)]
        told = f"{len(names) - len(wrong):,} as expected"
        if wrong:
            told += f"; {wrong[0]}: {got.get(wrong[0])} instead of {expected.get(wrong[0])}"
        return self._note(what, f"{len(expected):,} as expected", told, not wrong, seconds)

    def within(self, what: str, limit: float, seconds: float) -> bool:
        """Check that something took no longer than its limit in seconds."""
        well = seconds <= limit
        self.done.append(Check(self.step, what, f"<= {limit:g} s", f"{seconds:.3f} s", well, seconds, late=not well))
        return well

    def fail(self, what: str, expected: str, got: str) -> None:
        """Note something that could not be checked at all."""
        self._note(what, expected, got[:LONGEST_EXPLANATION], False, None)

    def _note(self, what: str, expected: str, got: str, well: bool, seconds: float | None) -> bool:
        self.done.append(Check(self.step, what, expected, got, well, seconds))
        return well


@contextmanager
def stopwatch() -> Iterator["Lap"]:
    """How long something takes: `with stopwatch() as lap: …; lap.seconds`."""
    lap = Lap(time.perf_counter())
    try:
        yield lap
    finally:
        lap.end = time.perf_counter()


@dataclass
class Lap:
    """One measurement."""

    start: float
    end: float | None = None

    @property
    def seconds(self) -> float:
        """So far, or in all."""
        return (self.end or time.perf_counter()) - self.start


def show(checks: Checks, console: Console) -> None:
    """Print the table, and one line that says whether all was well."""
    table = Table(box=box.SIMPLE_HEAD, title="What was checked", title_justify="left")
    for heading in ("step", "what", "expected", "got"):
        table.add_column(heading, overflow="fold")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("")
    step = ""
    for check in checks.done:
        took = "" if check.seconds is None or check.seconds < 0.005 else f"{check.seconds:.2f} s"
        verdict = "ok" if check.well else "[bold yellow]SLOW[/]" if check.late else "[bold red]FAILED[/]"
        named = check.step if check.step != step else ""
        table.add_row(*map(escape, (named, check.what, check.expected, check.got)), took, verdict)
        step = check.step
    console.print(table)
    console.print(f"{len(checks.done)} checks, {_in_all(checks.failed)}")


def _in_all(failed: Sequence[Check]) -> str:
    if not failed:
        return "all well."
    if all(check.late for check in failed):
        return f"{len(failed)} slow: all results are correct, but took too long. Is the machine busy?"
    return f"{len(failed)} failed."


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{key} {value[key]}" for key in sorted(value))
    elif isinstance(value, set | frozenset | list | tuple):
        text = ", ".join(map(str, sorted(value, key=str) if isinstance(value, set | frozenset) else value))
    else:
        text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"

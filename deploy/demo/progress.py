"""Progress of the demo: bars on a terminal, otherwise a line from time to time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from deploy.demo.table import stopwatch

QUARTERS = 4


@dataclass
class Bar:
    """One piece of work that counts."""

    what: str
    total: int
    shown: "_Shown"
    done: int = 0

    def advance(self, by: int = 1) -> None:
        """Add to the number of finished items."""
        self.to(self.done + by)

    def to(self, done: int) -> None:
        """Set the number of finished items."""
        before, self.done = self.done, done
        self.shown.moved(self, before)


class _Shown:
    def moved(self, bar: Bar, before: int) -> None:
        raise NotImplementedError


class _Bars(_Shown):
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def moved(self, bar: Bar, before: int) -> None:
        self.progress.update(self.task, completed=bar.done, total=bar.total)


class _Lines(_Shown):
    def __init__(self, console: Console) -> None:
        self.console = console

    def moved(self, bar: Bar, before: int) -> None:
        total = max(1, bar.total)
        if before * QUARTERS // total < bar.done * QUARTERS // total < QUARTERS:
            self.console.print(f"  {bar.what}: {bar.done:,} of {bar.total:,}")


@dataclass
class Progression:
    """Where progress is shown."""

    console: Console

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """One of the demo's steps."""
        self.console.print(f"[bold]{number}. {title}[/]" if self.console.is_terminal else f"{number}. {title}")
        with stopwatch() as lap:
            yield
        self.console.print(f"   done in {lap.seconds:.1f} s")

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:
        """One piece of work of a known size."""
        if not self.console.is_terminal:
            with stopwatch() as lap:
                yield Bar(what, total, _Lines(self.console))
            self.console.print(f"  {what}: {total:,} in {lap.seconds:.1f} s")
            return
        columns = (TextColumn("   {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as progress:
            yield Bar(what, total, _Bars(progress, progress.add_task(what, total=total)))

"""How the demo ends: all well, too late, or wrong."""

import io

import pytest
from rich.console import Console

from deploy.demo.table import Checks, show


def ended(checks: Checks) -> str:
    shown = io.StringIO()
    show(checks, Console(file=shown, width=160))
    return shown.getvalue().strip().splitlines()[-1].strip()


@pytest.mark.parametrize(
    ("seconds", "got", "said"),
    [
        (0.9, 7, "2 checks, all well."),
        (1.9, 7, "2 checks, 1 slow: all results are correct, but took too long. Is the machine busy?"),
        (0.9, 8, "2 checks, 1 failed."),
        (1.9, 8, "2 checks, 2 failed."),
    ],
    ids=["well", "late", "wrong", "late and wrong"],
)
def test_the_last_line_tells_late_from_wrong(seconds: float, got: int, said: str) -> None:
    checks = Checks()
    checks.equal("people", 7, got)
    checks.within("from the post to the code", 1.0, seconds)
    assert ended(checks) == said
    assert bool(checks.failed) == (said != "2 checks, all well.")

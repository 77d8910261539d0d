"""What our protocol builds on in uvicorn is as it was read: none of it is promised to stay."""

import hashlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

ROOT = Path(__file__).parents[2]

READ = {
    HttpToolsProtocol: "18fdf324b11bf160",
    RequestResponseCycle: "e67d470d435dcc1c",
    FlowControl: "126debcdaa894c83",
}
"""Of 0.54.0."""


@pytest.mark.parametrize("part", READ, ids=lambda part: part.__name__)
def test_uvicorn_is_as_it_was_when_the_protocol_was_written(part: Any) -> None:
    found = hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:16]
    assert found == READ[part], (
        f"{part.__name__} of uvicorn {uvicorn.__version__} is not the one shared/http/protocol.py was written for: "
        f"read what has changed, see that test_hot*.py and test_slow_heads.py hold, and put {found!r} here"
    )


def test_only_the_protocol_knows_how_uvicorn_is_made() -> None:
    product = (path for folder in ("services", "shared", "deploy") for path in (ROOT / folder).rglob("*.py"))
    knowing = [path.relative_to(ROOT).as_posix() for path in product if "from uvicorn.protocols" in path.read_text()]
    assert knowing == ["shared/http/protocol.py"]

"""What Schemathesis cannot know of the API: that an idempotency key is new with each act."""

import re
from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis import Case, HookContext

KEY = "Idempotency-Key"


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Give each act a key of its own: the example's would make the second act a repetition of the first.

    A key of the wrong form is sent as it is. What repetitions do is tested in tests/shared/test_work.py.
    """
    key = case.headers.get(KEY) if case.headers else None
    if isinstance(key, str) and re.fullmatch(r"[\x21-\x7e]{8,128}", key):
        kwargs["headers"] = {**(kwargs.get("headers") or {}), KEY: str(uuid4())}

"""What Schemathesis cannot know of the API: that an idempotency key is new with each act, and that null is no id."""

import re
from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis import Case, HookContext

KEY = "Idempotency-Key"


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Give each act a key of its own: the example's would make the second act a repetition of the first.

    A key of the wrong form is sent as it is, and so is a case without its token: a change would put the token back.
    What repetitions do is tested in tests/shared/test_unit_of_work.py.
    """
    for name, value in (case.path_parameters or {}).items():
        if name.endswith("_id") and value in (None, "null"):  # from another answer's `"resident_id": null`
            case.path_parameters[name] = str(uuid4())
    left_out = getattr(case.meta.phase.data, "parameter", None) if case.meta else None
    key = case.headers.get(KEY) if case.headers else None
    if left_out != "Authorization" and isinstance(key, str) and re.fullmatch(r"[\x21-\x7e]{8,128}", key):
        case.headers[KEY] = str(uuid4())

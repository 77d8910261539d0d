"""The journey, with what openapi-python-client made: `python journey.py ADDRESS`. Prints one line for each call."""

import io
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from fangxian_client import AuthenticatedClient, Client
from fangxian_client.api.codes import get_code
from fangxian_client.api.development import make_token
from fangxian_client.api.imports import get_import, start_import
from fangxian_client.api.policies import list_policies
from fangxian_client.api.regions import list_regions
from fangxian_client.api.residents import change_resident, get_registration, get_resident, register_resident
from fangxian_client.models import (
    ImportJob,
    NewResident,
    ProblemDetails,
    ResidentChange,
    StartImportForm,
    TokenAsked,
    TokenAskedRole,
)
from fangxian_client.types import File, Response

HOME = "350582005001"
IMPORTED = "name,document_number,region\n李四,003582198001010018,350582005001\n"


def answered(what: str, answer: Response[Any], status: int) -> Any:
    """What was answered; fails on another status, or on a body that was not understood."""
    print(f"{what}: {int(answer.status_code)} {type(answer.parsed).__name__}")
    assert answer.status_code == status, answer.content
    assert answer.parsed is not None, answer.content
    return answer.parsed


def until(ask: Callable[[], Any]) -> Any:
    """Ask until there is something."""
    deadline = time.monotonic() + 120
    while not (found := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)
    return found


def key() -> str:
    return str(uuid.uuid4())


def main(address: str) -> None:
    token = answered(
        "token",
        make_token.sync_detailed(
            client=Client(base_url=address, timeout=60),
            body=TokenAsked(role=TokenAskedRole.COMMAND, region="350582005"),
        ),
        200,
    )
    client = AuthenticatedClient(base_url=address, token=token.access_token, timeout=60)
    regions = answered("regions", list_regions.sync_detailed(client=client, limit=5), 200)
    assert len(regions.items) > 0
    assert answered("policies", list_policies.sync_detailed(client=client), 200).items[0].policy.rules

    form = StartImportForm(file=File(io.BytesIO(IMPORTED.encode()), "people.csv", "text/csv"), dry_run=True)
    job = answered("import, dry run", start_import.sync_detailed(client=client, body=form, idempotency_key=key()), 202)
    done = until(lambda: (found := get_import.sync(job.id, client=client)) and found.state == "succeeded" and found)
    assert isinstance(done, ImportJob)
    assert done.result.created == 1, done
    print(f"import, read: 200 created={done.result.created}")

    person = NewResident(name="张三", document_number="003582199003070019", region=HOME)
    asked = answered(
        "register", register_resident.sync_detailed(client=client, body=person, idempotency_key=key()), 202
    )
    settled = until(lambda: (found := get_registration.sync(asked.id, client=client)) and found.resident_id and found)
    print(f"registration: 200 {settled.state}")
    answer = get_resident.sync_detailed(settled.resident_id, client=client)
    shown = answered("read", answer, 200)
    etag = answer.headers["etag"]
    change = ResidentChange(phone="15487654321")
    changed = answered(
        "change", change_resident.sync_detailed(shown.id, client=client, body=change, if_match=etag), 200
    )
    assert changed.version == shown.version + 1
    stale = answered(
        "change again", change_resident.sync_detailed(shown.id, client=client, body=change, if_match=etag), 412
    )
    assert isinstance(stale, ProblemDetails)
    assert stale.code == "version_mismatch"
    code = until(lambda: (found := get_code.sync(shown.id, client=client)) and hasattr(found, "colour") and found)
    print(f"code: 200 {code.colour}")
    unknown = answered("nobody", get_resident.sync_detailed(uuid.uuid4(), client=client), 404)
    assert isinstance(unknown, ProblemDetails)
    assert unknown.code == "not_found"


if __name__ == "__main__":
    main(sys.argv[1])

"""What a capability declares, its service lists: what is left out fails here, with where it belongs."""

import asyncio
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest

from deploy.sunset.scope import GOES, STAYS
from services.registry.residents.schemas import Purpose
from shared.audit import acts
from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.core.settings import SERVICES, Service
from shared.governance.proposals import use_cases as proposals
from shared.http.route import Route
from shared.http.router import Router
from shared.runtime.app import Api, build
from shared.runtime.worker import Worker
from tests.harness import District


def declared(service: str, wanted: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
    """What the modules of a service hold of a kind, by the name to import it by."""
    package = importlib.import_module(f"services.{service}")
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if wanted(value) and getattr(value, "__module__", found.name) in (found.name, type(value).__module__):
                yield f"{found.name}.{name}", value


def api_of(service: str) -> Api:
    found: Api = importlib.import_module(f"services.{service}.app").API
    return found


def worker_of(service: str) -> Worker:
    found: Worker = importlib.import_module(f"services.{service}.worker").WORKER
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_every_router_is_in_the_app(district: District, service: str) -> None:
    included = {id(route) for route in district.apps[service].router.routes}
    for name, router in declared(service, lambda one: isinstance(one, Router)):
        assert {id(route) for route in router.routes} <= included, (
            f"list {name} in API.routers of services.{service}.app"
        )


def test_a_service_without_a_snapshot_does_not_start(district: District) -> None:
    context, api = district.contexts["registry"], api_of("registry")
    with pytest.raises(TypeError, match=r"list Region in API\.snapshots of services\.registry\.app"):
        build(context.settings, replace(api, snapshots={}), context)


@pytest.mark.parametrize("service", SERVICES)
def test_every_reaction_is_in_the_worker_and_its_gauge_in_the_app(service: str) -> None:
    listed = worker_of(service).reactions
    for name, reaction in declared(service, lambda one: hasattr(one, "__reacts_to__")):
        assert reaction in listed, f"list {name} in WORKER.reactions of services.{service}.worker"
    assert list(api_of(service).reactions) == list(listed), f"reactions=WORKER.reactions in services.{service}.app"


@pytest.mark.parametrize("service", SERVICES)
def test_every_kind_of_proposal_is_in_the_app(service: str) -> None:
    for name, kind in declared(service, lambda one: isinstance(one, proposals.ProposalType)):
        assert any(kind is one for one in api_of(service).proposals), (
            f"list {name} in API.proposals of services.{service}.app"
        )


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_says_what_it_does_to_the_people_it_concerns_or_that_it_concerns_nobody(
    district: District, service: str
) -> None:
    found = {
        f"{'/'.join(sorted(route.methods or ()))} {route.path}"
        for route in district.apps[service].router.routes
        if isinstance(route, Route) and route.path.startswith(f"/{service}/v1/") and "/forward-auth/" not in route.path
    }
    assert len(found) > 20
    for operation in sorted(found):
        is_told, is_nobodys = operation in acts.declared, operation in acts.about_nobody
        assert is_told != is_nobodys, f"list {operation} in services/{service}/acts.py, once"
    listed = {one for one in {*acts.declared, *acts.about_nobody} if f" /{service}/v1/" in one}
    assert listed - found == set(), f"services/{service}/acts.py lists what is not there"


def test_what_people_read_of_an_entry_is_there_in_both_languages() -> None:
    told = [text for act in (*acts.declared.values(), *acts.BY_KIND.values()) for text in act]
    for text in (*told, *acts.PURPOSES.values(), *acts.ROLES.values(), acts.NO_ORGANISATION):
        assert re.search("[一-鿿]", text.zh), text
        assert re.fullmatch(r"[\x20-\x7e]+", text.en), text
    assert set(acts.ROLES) == set(Role)
    assert set(acts.PURPOSES) >= set(get_args(Purpose))
    assert set(acts.BY_KIND) >= set(Kind) - {Kind.KEYS, Kind.VISITS}, "what is never about a resident has no words"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_worker_alone_knows_every_sealed_column(district: District, service: str) -> None:
    """It has imported what its reactions, jobs and periodic tasks need, and no route."""
    program = (
        f"import services.{service}.worker; from shared.crypto.reencryption import encrypted_columns_of as of; "
        f"print(*(f'{{one.table}}.{{column}}' for one in of('{service}') for column, _ in one.columns))"
    )
    said = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    rows = await district.sql(
        r"""
        SELECT format('%s.%s', table_name, column_name) AS name FROM information_schema.columns
        WHERE table_schema = $1 AND column_name LIKE '%\_sealed'
        """,
        service,
    )
    assert {row["name"] for row in rows} - set(said.stdout.split()) == set()


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_goes_or_stays_at_the_end_for_a_reason(district: District, service: Service) -> None:
    """A new table is in neither list until somebody has thought about it."""
    rows = await district.sql(
        """
        SELECT relname FROM pg_class WHERE relnamespace = $1::text::regnamespace
        AND relkind IN ('r', 'p') AND NOT relispartition
        """,
        service,
    )
    there, listed = {row["relname"] for row in rows}, {*GOES[service], *STAYS[service]}
    assert there - listed == set(), "say in deploy/sunset/scope.py whether it goes or stays, and why"
    assert listed - there == set(), "deploy/sunset/scope.py names what is not there"
    assert not set(GOES[service]) & set(STAYS[service])


@pytest.mark.parametrize("service", SERVICES)
async def test_what_names_a_person_goes_at_the_end(district: District, service: Service) -> None:
    rows = await district.sql(
        """
        SELECT DISTINCT relname AS name FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
          AND attname IN ('resident_id', 'guardian_id', 'dependant_id', 'phone_sealed', 'name_sealed', 'document_index')
        """,
        service,
    )
    assert rows
    assert {row["name"] for row in rows} <= set(GOES[service]), "list it in GOES of deploy/sunset/scope.py"

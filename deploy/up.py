"""`fangxian up`: create the data directory if necessary, and start eight processes."""

import contextlib
import errno
import itertools
import os
import socket
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from pydantic import SecretStr

from deploy import children, data, keys, logs, regions, secret_files, status, variables
from deploy.data import DataDirectory
from deploy.embedded import home, postgres, valkey
from deploy.embedded.server import Server
from deploy.logs import Journal, LogFile
from deploy.own_servers import as_role, check_postgres, check_redis
from deploy.processes import Process
from deploy.supervisor import Child, Stop, Supervisor
from deploy.trouble import Trouble, in_words
from shared.core.settings import SERVICES, Service, Settings, login_of

PORT = 8000
SERVERS_START_WITHIN = 120.0
"""Seconds. A cluster that was not shut down cleanly replays its log first."""
SERVERS_ATTEMPTS = 4
READY_WITHIN = 30.0
DISK_FULL = "53100"
"""PostgreSQL's code for a full disk."""
SHOWN = (
    "production",
    "development_issuer",
    "demonstration_ids",
    "database_pool",
    "public_url",
    "phone_gateway_url",
    "mini_program_id",
    "region",
    "headquarters",
)
"""Settings in the status file. `fangxian doctor` reads them, because it may run in another environment."""


@dataclass(frozen=True)
class Options:
    """The choices of the operator."""

    data: Path
    port: int = PORT
    database_url: str | None = None
    """Address of the operator's own PostgreSQL, with the login of its owner; None for the embedded one."""
    redis_url: str | None = None

    @property
    def own_servers(self) -> list[str]:
        """The variables that name the operator's own servers. Their values contain passwords and are not stored."""
        given = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        return [name for name, url in given.items() if url]

    @property
    def ports(self) -> dict[Service, int]:
        """The port of each API, on the loopback."""
        order: tuple[Service, ...] = ("gateway", "registry", "testing", "observation")
        return {service: self.port + offset for offset, service in enumerate(order)}

    @property
    def urls(self) -> dict[Service, str]:
        """The address of each API."""
        return {service: f"http://127.0.0.1:{port}" for service, port in self.ports.items()}


def options(path: Path | None = None, port: int = PORT, environment: Mapping[str, str] = os.environ) -> Options:
    """Options from the command line and from `DATABASE_URL` and `REDIS_URL`."""
    if not 1024 <= port <= 65532:
        raise Trouble(f"--port {port} and the next three ports must be between 1024 and 65535.")
    database_url = environment.get("DATABASE_URL") or None
    return Options(
        data=path or data.default_path(),
        port=port,
        database_url=as_role(database_url) if database_url else None,
        redis_url=environment.get("REDIS_URL") or None,
    )


@dataclass(frozen=True)
class Installation:
    """A data directory that exists and is held, with the addresses of its servers."""

    directory: DataDirectory
    options: Options
    owner_url: str
    redis_url: str
    servers: tuple[Server, ...]
    """The embedded servers; empty for the operator's own servers."""

    @property
    def passwords(self) -> dict[str, str]:
        """The password of each service's login role."""
        return keys.passwords(self.directory.keys / "owner")

    def settings(self, service: Service) -> Settings:
        """Return the settings for the processes of a service. `FANGXIAN_…` in the environment is added."""
        login = as_role(self.owner_url, login_of(service), self.passwords[service])
        urls = self.options.urls
        return variables.settings(
            service=service,
            database_url=SecretStr(login),
            redis_url=SecretStr(self.redis_url),
            keys=self.directory.keys / service,
            registry_url=urls["registry"],
            testing_url=urls["testing"],
            observation_url=urls["observation"],
            gateway_url=urls["gateway"],
        )


Listeners = Mapping[Service, socket.socket]
Load = Callable[[], Iterator[Service | None]]
"""Loads the program step by step; yields a service when all that its processes need is loaded."""
Migrate = Callable[[str, dict[str, str]], None]


def the_eight(installation: Installation, listeners: Listeners) -> list[Process]:
    """Four APIs and four workers."""
    settings = {service: installation.settings(service) for service in SERVICES}
    urls = installation.options.urls
    apis = [
        Process(
            service,
            partial(_serve_alone, listeners, service),
            settings[service],
            is_ready=partial(status.is_ready, urls[service]),
        )
        for service in SERVICES
    ]
    workers = [
        Process(f"{service}-worker", partial(_work, listeners), settings[service], in_background=True)
        for service in SERVICES
    ]
    return apis + workers


def _serve_alone(listeners: Listeners, service: Service, settings: Settings) -> None:
    for other, listener in listeners.items():
        if other != service:
            listener.close()
    children.serve_api(listeners[service], settings)


def _work(listeners: Listeners, settings: Settings) -> None:
    for listener in listeners.values():
        listener.close()
    children.work(settings)


def migrate(owner_url: str, passwords: dict[str, str]) -> None:
    """Migrate the schemas and roles of the database to this version. Raises Trouble if it is of a newer one."""
    import asyncpg
    from sqlalchemy.exc import DBAPIError

    import migrations

    try:
        if problem := migrations.version_problem(owner_url):
            raise Trouble(problem)
        choice = regions.chosen()
        migrations.upgrade(owner_url, passwords, sample=choice.wants_sample)
        regions.bring(owner_url, choice)
    except DBAPIError as error:
        raise Trouble(_refusal_in_words(error.orig and error.orig.__cause__)) from error
    except asyncpg.PostgresError as error:  # of a script, which goes past SQLAlchemy
        raise Trouble(_refusal_in_words(error)) from error


def _refusal_in_words(refused: BaseException | None) -> str:
    if getattr(refused, "sqlstate", None) == DISK_FULL:
        return "The disk of the database is full. Make room and start again."
    first_line = str(refused).partition("\n")[0].rstrip(".")
    return f"The database could not be migrated to this version: {first_line}."


def up(
    chosen: Options,
    processes: Callable[[Installation, Listeners], Sequence[Process]] = the_eight,
    load: Load = children.import_everything,
    migrate: Migrate = migrate,
    announce: Callable[[Installation], None] = lambda _installation: None,
    progress: Callable[[str], None] = lambda _sentence: None,
) -> None:
    """Run everything until a stop is requested. If the start fails, raises Trouble and removes what it created.

    `progress` gets a sentence when a step begins.
    """
    directory = data.at(chosen.data)
    with _trouble_in_words(), _held(directory, chosen) as (held, listeners):
        journal = Journal(LogFile(directory.logs / "supervisor.log"))
        journal.note(f"Fangxian {version('fangxian')} starts.")
        for sentence in variables.unknown():
            journal.write_line(sentence, "warning")
        variables.check(directory.keys)

        def let_go() -> None:
            os.close(held)

        facts: dict[str, object] = {"pid": os.getpid(), "started_at": time.time(), "urls": chosen.urls}
        facts |= {"version": version("fangxian"), "servers": chosen.own_servers}
        supervising = Supervisor(directory, journal, let_go, facts)
        with unforeseen_noted(journal), supervising as supervisor, contextlib.suppress(Stop):
            if not directory.is_complete:
                progress("First start: creating keys and a database. This takes about 10 seconds.")
            installation = _make(directory, chosen, supervisor)
            progress("Starting the database, four APIs and four workers …")
            facts["settings"] = installation.settings("gateway").model_dump(include=set(SHOWN))
            _start(installation, supervisor, load, partial(processes, installation, listeners), migrate)
            facts["started"] = True
            supervisor.write_status()
            with contextlib.suppress(BrokenPipeError):  # nobody reads the output any more: no reason to stop
                announce(installation)
            supervisor.run()
        journal.write_line("Stopped.")


def migrate_only(chosen: Options) -> None:
    """Migrate the database to this version while nothing runs."""
    directory = data.at(chosen.data)
    with _trouble_in_words(), _taken(directory) as held:
        journal = Journal(LogFile(directory.logs / "supervisor.log"), quiet=True)
        with unforeseen_noted(journal), Supervisor(directory, journal, partial(os.close, held), {}) as supervisor:
            installation = _make(directory, chosen, supervisor)
            supervisor.finish(_prepare_database(installation, supervisor, migrate))
            data.complete(directory)


@contextlib.contextmanager
def _taken(directory: DataDirectory) -> Iterator[int]:
    data.refuse_if_held(directory)
    data.check(directory)
    with data.taken(directory) as held:
        yield held


@contextlib.contextmanager
def _held(directory: DataDirectory, chosen: Options) -> Iterator[tuple[int, dict[Service, socket.socket]]]:
    """Lock the data directory and the ports for this process. Everything that can be refused is checked before."""
    data.refuse_if_held(directory)
    data.check(directory)
    try:
        by_port = children.listen(chosen.ports.values())
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        raise Trouble(f"Port {error.filename} is in use by another program. Choose another --port.") from None
    listeners = {service: by_port[port] for service, port in chosen.ports.items()}
    try:
        with data.taken(directory) as held:
            yield held, listeners
    finally:
        for listener in listeners.values():
            listener.close()


def _make(directory: DataDirectory, chosen: Options, supervisor: Supervisor) -> Installation:
    """Prepare a start: check the operator's own servers, and create missing keys and embedded servers."""
    if chosen.database_url:
        supervisor.do("supervisor", partial(check_postgres, chosen.database_url, directory.keys))
    if chosen.redis_url:
        supervisor.do("supervisor", partial(check_redis, chosen.redis_url))
    if directory.is_complete and not directory.keys.exists():
        raise Trouble(f"The keys of {directory.path} are missing from {directory.keys}. Restore them from a backup.")
    keys.make(directory.keys)
    keys.require(directory.keys)
    owner_url, redis_url, servers = chosen.database_url, chosen.redis_url, list[Server]()
    if not (owner_url and redis_url):
        place = home.make(directory.path)
    if not owner_url:
        servers.append(_postgres(directory, place))
        owner_url = postgres.owner_url(place, _secret(directory, "database-owner.password"))
    if not redis_url:
        password = _secret(directory, "valkey.password")
        servers.append(valkey.server(place, password))
        redis_url = valkey.redis_url(place, password)
    return Installation(directory, chosen, owner_url, redis_url, tuple(servers))


def _postgres(directory: DataDirectory, place: home.Home) -> Server:
    if directory.cluster.exists() and not place.cluster.exists():
        raise Trouble(f"The database of {directory.path} is missing from {place.cluster}. Restore it from a backup.")
    return postgres.server(place)


def _secret(directory: DataDirectory, name: str) -> str:
    return secret_files.read(directory.keys / "owner" / name)


def _start(
    installation: Installation,
    supervisor: Supervisor,
    load: Load,
    processes: Callable[[], Sequence[Process]],
    migrate: Migrate,
) -> None:
    """Import the program while the database starts: the imports use this process, the database its children."""
    steps = load()
    loaded: list[Service | None] = []
    supervisor.finish(_prepare_database(installation, supervisor, migrate), meanwhile=_noted(steps, loaded))
    data.complete(installation.directory)
    made = processes()
    apis = [process for process in made if not process.in_background]
    started: list[Child] = []
    supervisor.work_through(_start_when_loaded(apis, itertools.chain(loaded, steps), supervisor, started))
    unready = supervisor.finish(supervisor.until_ready(started, READY_WITHIN))
    for process in made:
        if process.in_background:
            supervisor.add_process(process)
    for child in unready:
        supervisor.journal.write_line(f"{child.name} is not ready yet. See `fangxian logs {child.name}`.", "warning")


def _noted(steps: Iterator[Service | None], loaded: list[Service | None]) -> Iterator[None]:
    for step in steps:
        loaded.append(step)
        yield


def _start_when_loaded(
    apis: Sequence[Process], steps: Iterator[Service | None], supervisor: Supervisor, started: list[Child]
) -> Iterator[None]:
    """Start each API as soon as its service is loaded: it builds its routes while the next service is loaded."""
    waiting = list(apis)
    for loaded in steps:
        if loaded:
            children.share_memory()
            started += [supervisor.add_process(api) for api in waiting if api.settings.service == loaded]
            waiting = [api for api in waiting if api.settings.service != loaded]
        yield
    children.share_memory()
    children.load_is_done()
    started += [supervisor.add_process(api) for api in waiting]


def _prepare_database(
    installation: Installation, supervisor: Supervisor, migrate: Migrate
) -> Generator[None, None, None]:
    """Start the servers and migrate the database. Yields while it waits."""
    if not installation.options.database_url:
        yield from _make_cluster(installation.directory, supervisor)
    servers = [supervisor.add_server(server) for server in installation.servers]
    for child in (yield from supervisor.until_ready(servers, SERVERS_START_WITHIN, attempts=SERVERS_ATTEMPTS)):
        words = logs.last_line(installation.directory.logs / f"{child.name}.log")
        raise Trouble(f"The embedded {child.name} does not start: {words or 'it gives no reason'}.")
    yield from supervisor.doing("migrations", partial(migrate, installation.owner_url, installation.passwords))


def _make_cluster(directory: DataDirectory, supervisor: Supervisor) -> Generator[None, None, None]:
    place = home.find(directory.path)
    if not place.cluster.exists():
        password = _secret(directory, "database-owner.password")
        yield from supervisor.doing("postgres", partial(postgres.create, place, password))
    secret_files.write_once(directory.cluster, f"{place.cluster}\n")


@contextlib.contextmanager
def unforeseen_noted(journal: Journal) -> Iterator[None]:
    """Log an unexpected OSError with its traceback in the supervisor's log. The terminal shows only a sentence."""
    try:
        yield
    except OSError as error:
        journal.note(in_words(error), "error", exception=traceback.format_exc())
        raise


@contextlib.contextmanager
def _trouble_in_words() -> Iterator[None]:
    """Convert an OSError to Trouble."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Trouble("The disk is full. Make room and start again.") from None
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise Trouble(f"{error.filename}: {error.strerror}. Choose a --data that you own.") from None
        raise

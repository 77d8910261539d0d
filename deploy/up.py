"""`fangxian up`: from a data directory, made if need be, to eight processes at work."""

import contextlib
import errno
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
from deploy.supervisor import Stop, Supervisor
from deploy.trouble import Trouble, in_words
from shared.settings import SERVICES, Service, Settings, login_of

PORT = 8000
SERVERS_START_WITHIN = 120.0
"""Seconds. A cluster that was not closed in good order replays its log first."""
SERVERS_ATTEMPTS = 4
READY_WITHIN = 30.0
DISK_FULL = "53100"
"""What PostgreSQL calls it."""
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
"""The settings that `fangxian doctor` asks about: it may be run in another environment than the processes were."""


@dataclass(frozen=True)
class Options:
    """What the operator has chosen."""

    data: Path
    port: int = PORT
    database_url: str | None = None
    """The owner's, of a PostgreSQL of one's own; None for the embedded one."""
    redis_url: str | None = None

    @property
    def own_servers(self) -> list[str]:
        """The variables that name servers of one's own. Their addresses hold passwords and are not written down."""
        given = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        return [name for name, url in given.items() if url]

    @property
    def ports(self) -> dict[Service, int]:
        """Where each API listens, on the loopback."""
        order: tuple[Service, ...] = ("gateway", "registry", "testing", "observation")
        return {service: self.port + offset for offset, service in enumerate(order)}

    @property
    def urls(self) -> dict[Service, str]:
        """The address of each API."""
        return {service: f"http://127.0.0.1:{port}" for service, port in self.ports.items()}


def options(path: Path | None = None, port: int = PORT, environment: Mapping[str, str] = os.environ) -> Options:
    """Options from the command line and from `DATABASE_URL` and `REDIS_URL`."""
    if not 1024 <= port <= 65532:
        raise Trouble(f"--port {port} and the three after it should lie between 1024 and 65535.")
    database_url = environment.get("DATABASE_URL") or None
    return Options(
        data=path or data.default_path(),
        port=port,
        database_url=as_role(database_url) if database_url else None,
        redis_url=environment.get("REDIS_URL") or None,
    )


@dataclass(frozen=True)
class Installation:
    """A data directory that is made and held, and where its servers are."""

    directory: DataDirectory
    options: Options
    owner_url: str
    redis_url: str
    servers: tuple[Server, ...]
    """The embedded ones; none where one's own are used."""

    @property
    def passwords(self) -> dict[str, str]:
        """The password of each service's login role."""
        return keys.passwords(self.directory.keys / "owner")

    def settings(self, service: Service) -> Settings:
        """What a service's processes need to know. `FANGXIAN_…` in the environment adds to it."""
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
    return apis + [Process(f"{service}-worker", partial(_work, listeners), settings[service]) for service in SERVICES]


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
    """Bring the database to this version's schemas and roles; Trouble if it is of a newer one."""
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
        return "The disk of the database is full: make room and start again."
    first_line = str(refused).partition("\n")[0].rstrip(".")
    return f"The database could not be brought to this version: {first_line}."


def up(
    chosen: Options,
    processes: Callable[[Installation, Listeners], Sequence[Process]] = the_eight,
    load: Callable[[], Iterator[None]] = children.import_everything,
    migrate: Migrate = migrate,
    announce: Callable[[Installation], None] = lambda _installation: None,
    progress: Callable[[str], None] = lambda _sentence: None,
) -> None:
    """Run everything until asked to stop. Raises Trouble, with nothing half made, if it cannot be started.

    `progress` is told what happens, as it begins.
    """
    directory = data.at(chosen.data)
    with _trouble_in_words(), _held(directory, chosen) as (held, listeners):
        journal = Journal(LogFile(directory.logs / "supervisor.log"))
        journal.note(f"Fangxian {version('fangxian')} starts.")
        for sentence in variables.unknown():
            journal.say(sentence, "warning")
        variables.check(directory.keys)

        def let_go() -> None:
            os.close(held)

        facts: dict[str, object] = {"pid": os.getpid(), "started_at": time.time(), "urls": chosen.urls}
        facts |= {"version": version("fangxian"), "servers": chosen.own_servers}
        supervising = Supervisor(directory, journal, let_go, facts)
        with unforeseen_noted(journal), supervising as supervisor, contextlib.suppress(Stop):
            if not directory.is_complete:
                progress("First start: making keys and a database. This takes about 10 seconds.")
            installation = _make(directory, chosen, supervisor)
            progress("Starting the database, four APIs and four workers …")
            facts["settings"] = installation.settings("gateway").model_dump(include=set(SHOWN))
            _start(installation, supervisor, load, partial(processes, installation, listeners), migrate)
            facts["started"] = True
            supervisor.write_status()
            with contextlib.suppress(BrokenPipeError):  # nobody reads on: no reason to stop
                announce(installation)
            supervisor.run()
        journal.say("Stopped.")


def migrate_only(chosen: Options) -> None:
    """Bring the database to this version while nothing runs."""
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
    """The data directory and the ports, for this process alone. Whatever can be refused is refused before that."""
    data.refuse_if_held(directory)
    data.check(directory)
    try:
        by_port = children.listen(chosen.ports.values())
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        raise Trouble(f"Port {error.filename} is in use by another program: choose another --port.") from None
    listeners = {service: by_port[port] for service, port in chosen.ports.items()}
    try:
        with data.taken(directory) as held:
            yield held, listeners
    finally:
        for listener in listeners.values():
            listener.close()


def _make(directory: DataDirectory, chosen: Options, supervisor: Supervisor) -> Installation:
    """Everything a start needs: checked where it is others', made where it is ours and missing."""
    if chosen.database_url:
        supervisor.do("supervisor", partial(check_postgres, chosen.database_url, directory.keys))
    if chosen.redis_url:
        supervisor.do("supervisor", partial(check_redis, chosen.redis_url))
    if directory.is_complete and not directory.keys.exists():
        raise Trouble(f"The keys of {directory.path} are gone from {directory.keys}: put them back from a backup.")
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
        raise Trouble(f"The database of {directory.path} is gone from {place.cluster}: put it back from a backup.")
    return postgres.server(place)


def _secret(directory: DataDirectory, name: str) -> str:
    return secret_files.read(directory.keys / "owner" / name)


def _start(
    installation: Installation,
    supervisor: Supervisor,
    load: Callable[[], Iterator[None]],
    processes: Callable[[], Sequence[Process]],
    migrate: Migrate,
) -> None:
    """Load the program while the database is made ready: the one takes this process, the other its children."""
    supervisor.finish(_prepare_database(installation, supervisor, migrate), meanwhile=load())
    data.complete(installation.directory)
    children.share_memory()
    started = [supervisor.add_process(process) for process in processes()]
    for child in supervisor.finish(supervisor.until_ready(started, READY_WITHIN)):
        supervisor.journal.say(f"{child.name} is not ready yet: see `fangxian logs {child.name}`.", "warning")


def _prepare_database(
    installation: Installation, supervisor: Supervisor, migrate: Migrate
) -> Generator[None, None, None]:
    """Start the servers, and bring the database to this version; yield while it waits."""
    if not installation.options.database_url:
        yield from _make_cluster(installation.directory, supervisor)
    servers = [supervisor.add_server(server) for server in installation.servers]
    for child in (yield from supervisor.until_ready(servers, SERVERS_START_WITHIN, attempts=SERVERS_ATTEMPTS)):
        words = logs.last_line(installation.directory.logs / f"{child.name}.log")
        raise Trouble(f"The embedded {child.name} does not start: {words or 'it says nothing of why'}.")
    yield from supervisor.doing("migrations", partial(migrate, installation.owner_url, installation.passwords))


def _make_cluster(directory: DataDirectory, supervisor: Supervisor) -> Generator[None, None, None]:
    place = home.find(directory.path)
    if not place.cluster.exists():
        password = _secret(directory, "database-owner.password")
        yield from supervisor.doing("postgres", partial(postgres.create, place, password))
    secret_files.write_once(directory.cluster, f"{place.cluster}\n")


@contextlib.contextmanager
def unforeseen_noted(journal: Journal) -> Iterator[None]:
    """What the operating system refuses, with the place, in the supervisor's log: the terminal has a sentence of it."""
    try:
        yield
    except OSError as error:
        journal.note(in_words(error), "error", exception=traceback.format_exc())
        raise


@contextlib.contextmanager
def _trouble_in_words() -> Iterator[None]:
    """What the operating system refuses, as Trouble."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Trouble("The disk is full: make room and start again.") from None
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise Trouble(f"{error.filename}: {error.strerror}. Choose a --data of your own.") from None
        raise

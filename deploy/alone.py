"""One process by itself, as a container or a service manager starts it: all it knows comes from its environment.

`FANGXIAN_…` are its settings (shared/settings.py). The database's address may leave out the password, which is then
read from `database.password` among the process's keys, so that no secret need stand in an environment.
"""

import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from deploy import children, keys, secret_files, variables
from deploy.own_servers import as_role, check_postgres
from deploy.trouble import Trouble
from deploy.up import migrate
from shared.settings import Service, Settings, login_of


def serve(service: Service, host: str, port: int) -> None:
    """Serve one API until SIGTERM or SIGINT."""
    settings = settings_of(service)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=children.BACKLOG)
    except OSError as error:
        raise Trouble(f"{host}:{port} cannot be listened on: {error.strerror}.") from None
    with listener:
        _name_what_is_no_setting(settings, "api")
        children.serve_api(listener, settings)


def work(service: Service) -> None:
    """Do one service's background work until SIGTERM or SIGINT."""
    settings = settings_of(service)
    _name_what_is_no_setting(settings, "worker")
    children.work(settings)


def _name_what_is_no_setting(settings: Settings, part: str) -> None:
    children.libraries_log_in_json(settings, part)
    for sentence in variables.unknown():
        logging.getLogger("settings").warning(sentence)


def migrate_with(owner_url: str | None, owner_keys: Path) -> None:
    """Bring a database to this version. `owner_keys` holds the passwords that the services' logins are to have."""
    if not owner_url:
        raise Trouble("DATABASE_URL should be the address of the database, as its owner.")
    try:
        passwords = keys.passwords(owner_keys)
    except OSError as error:
        raise Trouble(f"{error.filename} cannot be read: `fangxian keys make` makes it.") from None
    check_postgres(as_role(owner_url))
    migrate(as_role(owner_url), passwords)


def settings_of(service: Service) -> Settings:
    """One process's settings. Trouble if one is missing or wrong, or if a key is not there."""
    settings = variables.settings(service=service)
    needed = (name for name in keys.names_of(service) if name != keys.DATABASE_PASSWORD)
    if gone := [name for name in needed if not (settings.keys / name).is_file()]:
        raise Trouble(f"Keys are missing in {settings.keys} ({', '.join(gone)}): FANGXIAN_KEYS should lead to them.")
    url = _with_password(settings.database_url.get_secret_value(), service, settings.keys / keys.DATABASE_PASSWORD)
    return settings.model_copy(update={"database_url": SecretStr(url)})


def _with_password(url: str, service: Service, file: Path) -> str:
    said = urlsplit(as_role(url))
    if said.password is not None or not file.exists():
        return url
    return as_role(url, said.username or login_of(service), secret_files.read(file))

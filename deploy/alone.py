"""A single process, as a container or a service manager starts it. Its environment is its only configuration.

`FANGXIAN_…` are its settings (shared/core/settings.py). The address of the database may omit the password. Then the
process reads it from `database.password` among its keys, so that the environment needs no secret.
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
from shared.core.settings import Service, Settings, login_of


def serve(service: Service, host: str, port: int) -> None:
    """Serve one API until SIGTERM or SIGINT."""
    settings = settings_of(service)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=children.BACKLOG)
    except OSError as error:
        raise Trouble(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
    with listener:
        _name_what_is_no_setting(settings, "api")
        children.serve_api(listener, settings)


def work(service: Service) -> None:
    """Run the worker of one service until SIGTERM or SIGINT."""
    settings = settings_of(service)
    _name_what_is_no_setting(settings, "worker")
    children.work(settings)


def _name_what_is_no_setting(settings: Settings, part: str) -> None:
    children.libraries_log_in_json(settings, part)
    for sentence in variables.unknown():
        logging.getLogger("settings").warning(sentence)


def migrate_with(owner_url: str | None, owner_keys: Path) -> None:
    """Migrate a database to this version. `owner_keys` holds the passwords for the services' logins."""
    if not owner_url:
        raise Trouble("Set DATABASE_URL to the address of the database, with the login of its owner.")
    try:
        passwords = keys.passwords(owner_keys)
    except OSError as error:
        raise Trouble(f"{error.filename} cannot be read. `fangxian keys make` creates it.") from None
    check_postgres(as_role(owner_url))
    migrate(as_role(owner_url), passwords)


def settings_of(service: Service) -> Settings:
    """Return the settings of one process. Raises Trouble if one is missing or wrong, or if a key is missing."""
    settings = variables.settings(service=service)
    needed = (name for name in keys.names_of(service) if name != keys.DATABASE_PASSWORD)
    if gone := [name for name in needed if not (settings.keys / name).is_file()]:
        raise Trouble(f"Keys are missing in {settings.keys} ({', '.join(gone)}). Set FANGXIAN_KEYS to their directory.")
    url = _with_password(settings.database_url.get_secret_value(), service, settings.keys / keys.DATABASE_PASSWORD)
    return settings.model_copy(update={"database_url": SecretStr(url)})


def _with_password(url: str, service: Service, file: Path) -> str:
    parts = urlsplit(as_role(url))
    if parts.password is not None or not file.exists():
        return url
    return as_role(url, parts.username or login_of(service), secret_files.read(file))

"""The embedded Valkey: only for wake-ups, so it stores nothing. It has a private socket with a password, and no TCP."""

import os
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from deploy.embedded.home import Home, make_own
from deploy.embedded.programs import valkey_program
from deploy.embedded.server import Server

CONFIGURATION = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
requirepass "{password}"
dir "{directory}"
save ""
appendonly no
daemonize no
databases 16
maxmemory 128mb
maxmemory-policy noeviction
"""


def server(home: Home, password: str) -> Server:
    """Return the server. Its configuration is written at each start; the password is in that file, not in arguments."""
    directory = home.path / "valkey"
    configuration = directory / "valkey.conf"
    program = valkey_program(home)

    def tidy() -> None:
        make_own(directory, home.user)
        socket_of(home).unlink(missing_ok=True)
        configuration.unlink(missing_ok=True)
        configuration.touch(mode=0o600)
        text = CONFIGURATION.format(socket=_quoted(socket_of(home)), password=password, directory=_quoted(directory))
        configuration.write_text(text, encoding="ascii")
        home.user.owns(configuration)

    return Server(
        name="valkey",
        command=[str(program), str(configuration)],
        user=home.user,
        tidy=tidy,
        ready=lambda _pid: answers(socket_of(home), password),
        stop_signal=signal.SIGTERM,
        give_up_signal=signal.SIGKILL,
    )


def _quoted(path: Path) -> str:
    """Escape a path for the double quotes of valkey.conf: special bytes become \\xHH."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\')
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path))


def socket_of(home: Home) -> Path:
    """Return the path of its socket."""
    return home.sockets / "valkey.sock"


def redis_url(home: Home, password: str) -> str:
    """Return its address for redis-py and arq."""
    return f"unix://:{quote(password, safe='')}@{quote(str(socket_of(home)))}?db=0"


def answers(path: Path, password: str) -> bool:
    """Whether a server on this socket accepts the password and answers."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            reply = b""
            while reply.count(b"\r\n") < 2 and (part := connection.recv(256)):
                reply += part
            return reply == b"+OK\r\n+PONG\r\n"
    except OSError:
        return False

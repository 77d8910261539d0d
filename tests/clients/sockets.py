"""How our server reads raw requests, compared with nginx and h11 on the same bytes. Run by hand.

    python -m tests.clients.sockets

Each input is sent on a connection of its own, followed by a probe: if the probe is answered, and only then, the server
still knew where the next request begins. All three speak for the same application, which echoes what it was asked: ours
with the protocol of our services, nginx as a reverse proxy before it, and h11 in memory. It prints a table and every
difference with its reason, and ends with 1 if a difference has no reason in `REASONS`. Needs Debian's nginx.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
from starlette.types import Receive, Scope, Send

from tests.shared.fast_path_server import served

SECONDS = 5.0
H = b"host: test\r\n"
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAA\r\n"
PROBE = b"GET /probe HTTP/1.1\r\nhost: test\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
PIECES = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
INSIDE = b"GET /inside HTTP/1.1\r\nhost: a\r\n\r\n"


def post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1", host: bytes = H) -> bytes:
    """A POST with these header lines."""
    return b"POST /a HTTP/" + version + b"\r\n" + host + b"".join(lines) + b"\r\n" + body


def length(body: bytes) -> bytes:
    return b"content-length: %d\r\n" % len(body)


INPUTS: dict[str, bytes] = {
    "get": b"GET /a HTTP/1.1\r\n" + H + b"\r\n",
    "head": b"HEAD /a HTTP/1.1\r\n" + H + b"\r\n",
    "post with a length": post(length(b"hello"), body=b"hello"),
    "post without a body": post(),
    "post with length 0": post(length(b"")),
    "post in chunks": post(CHUNKED, body=PIECES),
    "chunks with extensions": post(CHUNKED, body=b"5;a=b\r\nhello\r\n0;c\r\n\r\n"),
    "fields after the body": post(CHUNKED, body=PIECES[:-2] + b"x-late: 1\r\nhost: other\r\n\r\n"),
    "a length after the body": post(CHUNKED, body=PIECES[:-2] + b"content-length: 5\r\n\r\n"),
    "offer h2c, get": b"GET /a HTTP/1.1\r\n" + H + OFFER + b"\r\n",
    "offer h2c, length": post(OFFER, length(b"hello"), body=b"hello"),
    "offer h2c, chunks": post(OFFER, CHUNKED, body=PIECES),
    "offer h2c, a request in the body": post(OFFER, length(INSIDE), body=INSIDE),
    "offer h2c, a request in a chunk": post(OFFER, CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(INSIDE), INSIDE)),
    "offer h2c, fields after the body": post(OFFER, CHUNKED, body=PIECES[:-2] + b"x-late: 1\r\n\r\n"),
    "offer h2c, close": post(OFFER.replace(b"Upgrade,", b"close, Upgrade,"), length(b"hello"), body=b"hello"),
    "offer h2c, HTTP/1.0": post(OFFER, length(b"hello"), body=b"hello", version=b"1.0"),
    "offer h2c, twice in a row": post(OFFER, length(b"hello"), body=b"hello") * 2,
    "offer h2c, length and coding": post(OFFER, length(b"hello"), CHUNKED, body=PIECES),
    "offer h2c, gzip": post(OFFER, b"transfer-encoding: gzip, chunked\r\n", body=PIECES),
    "offer h2c, a broken chunk": post(OFFER, CHUNKED, body=b"zz\r\nhello\r\n"),
    "offer websocket, get": b"GET /a HTTP/1.1\r\n" + H + WEBSOCKET + b"\r\n",
    "offer websocket, length": post(WEBSOCKET, length(b"hello"), body=b"hello"),
    "upgrade without connection": post(b"upgrade: h2c\r\n", length(b"hello"), body=b"hello"),
    "connection without upgrade": post(b"connection: upgrade\r\n", length(b"hello"), body=b"hello"),
    "no host": b"GET /a HTTP/1.1\r\n\r\n",
    "an empty host": b"GET /a HTTP/1.1\r\nhost:\r\n\r\n",
    "two hosts": b"GET /a HTTP/1.1\r\n" + H + b"host: other\r\n\r\n",
    "a host with a space": b"GET /a HTTP/1.1\r\nhost: a b\r\n\r\n",
    "a host with a slash": b"GET /a HTTP/1.1\r\nhost: a/b\r\n\r\n",
    "HTTP/1.0 without host": b"GET /a HTTP/1.0\r\n\r\n",
    "HTTP/0.9": b"GET /a HTTP/0.9\r\n" + H + b"\r\n",
    "HTTP/1.2": b"GET /a HTTP/1.2\r\n" + H + b"\r\n",
    "HTTP/2.0": b"GET /a HTTP/2.0\r\n" + H + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "RTSP/1.0": b"GET /a RTSP/1.0\r\n" + H + b"\r\n",
    "coding gzip": post(b"transfer-encoding: gzip\r\n", body=PIECES),
    "coding gzip, chunked": post(b"transfer-encoding: gzip, chunked\r\n", body=PIECES),
    "coding chunked, gzip": post(b"transfer-encoding: chunked, gzip\r\n", body=PIECES),
    "coding chunked twice": post(CHUNKED * 2, body=PIECES),
    "coding Chunked": post(b"transfer-encoding: Chunked\r\n", body=PIECES),
    "coding identity": post(b"transfer-encoding: identity\r\n"),
    "coding and length": post(CHUNKED, length(b"hello"), body=PIECES),
    "length and coding": post(length(b"hello"), CHUNKED, body=PIECES),
    "coding in HTTP/1.0": post(CHUNKED, body=PIECES, version=b"1.0"),
    "two equal lengths": post(length(b"hello") * 2, body=b"hello"),
    "two lengths": post(length(b"hello"), length(b"hell"), body=b"hello"),
    "a list of lengths": post(b"content-length: 5, 5\r\n", body=b"hello"),
    "length +5": post(b"content-length: +5\r\n", body=b"hello"),
    "length -1": post(b"content-length: -1\r\n", body=b"hello"),
    "a broken chunk": post(CHUNKED, body=b"zz\r\nhello\r\n"),
    "a chunk that is too long": post(CHUNKED, body=b"2\r\nhello\r\n0\r\n\r\n"),
    "bare line feeds": b"GET /a HTTP/1.1\nhost: test\n\n",
    "a folded line": b"GET /a HTTP/1.1\r\nhost: test\r\nx-a: b\r\n c\r\n\r\n",
    "a space before the colon": b"GET /a HTTP/1.1\r\nhost: test\r\nx-a : b\r\n\r\n",
    "a name with a space": b"GET /a HTTP/1.1\r\nhost: test\r\nx a: b\r\n\r\n",
    "a value with NUL": b"GET /a HTTP/1.1\r\nhost: test\r\nx-a: b\0c\r\n\r\n",
    "empty lines before": b"\r\n\r\nGET /a HTTP/1.1\r\n" + H + b"\r\n",
    "absolute form": b"GET http://test/a HTTP/1.1\r\n" + H + b"\r\n",
    "OPTIONS": b"OPTIONS /a HTTP/1.1\r\n" + H + b"\r\n",
    "CONNECT": b"CONNECT test:80 HTTP/1.1\r\n" + H + b"\r\n",
    "TRACE": b"TRACE /a HTTP/1.1\r\n" + H + b"\r\n",
    "a method of nobody": b"BREW /a HTTP/1.1\r\n" + H + b"\r\n",
    "a method in small letters": b"get /a HTTP/1.1\r\n" + H + b"\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01",
    "connection close": b"GET /a HTTP/1.1\r\n" + H + b"connection: close\r\n\r\n",
    "three in one piece": (b"GET /a HTTP/1.1\r\n" + H + b"\r\n") * 3,
}

LENIENT = "h11 lets the coding count and drops the length; we and nginx refuse, as RFC 9112, 6.1 allows"
REASONS: dict[str, str] = {
    "a length after the body": "the parser refuses a length there too; RFC 9110, 6.5.1 forbids to send one",
    "offer h2c, length and coding": LENIENT,
    "coding and length": LENIENT,
    "length and coding": LENIENT,
    "an empty host": "RFC 9112, 3.2 allows an empty value; nginx is stricter",
    "a host with a space": "h11 looks at how many there are, not at the value",
    "a host with a slash": "h11 looks at how many there are, not at the value",
    "HTTP/0.9": "refused as an unknown version; nginx calls it malformed, h11 leaves the version to the application",
    "HTTP/1.2": "the parser knows no such version; nginx and h11 read it as HTTP/1.1, as RFC 9110, 2.5 would have it",
    "HTTP/2.0": "h11 leaves the version to the application",
    "the preface of HTTP/2": "h11 leaves the version to the application",
    "RTSP/1.0": "the parser reads RTSP as well and does not tell it from HTTP/1.0; answered once, then closed",
    "coding chunked, gzip": "the parser refuses a coding behind chunked before its name is known to us; closed as well",
    "coding chunked twice": "chunked twice is malformed (RFC 9112, 6.1); h11 calls it unknown",
    "coding in HTTP/1.0": "such framing is faulty (RFC 9112, 6.1); h11 reads it and closes",
    "two equal lengths": "RFC 9112, 6.3 lets a server refuse equal lengths or take them as one",
    "a list of lengths": "RFC 9112, 6.3 lets a server refuse equal lengths or take them as one",
    "bare line feeds": "RFC 9112, 2.2 lets a server refuse them; we take CR LF only",
    "a folded line": "RFC 9112, 5.2 lets a server refuse or unfold; h11 unfolds",
    "empty lines before": "RFC 9112, 2.2: at least one empty line should be ignored; h11 ignores none",
    "absolute form": "all take it; h11 shows the target as it came",
    "CONNECT": "not implemented here (501); nginx calls it malformed, h11 leaves it to the application",
    "TRACE": "the echo answers all methods, our services 405; nginx refuses TRACE itself",
    "a method of nobody": "we answer 501 (RFC 9110, 9.1) and close; nginx passes it on to us, and keeps its connection",
    "a method in small letters": "an unknown method is 501 (RFC 9110, 9.1); nginx calls it malformed",
}

Outcome = tuple[str, ...]
"""Each answer as `200 POST /a hello` or as a bare status, and `closed` if the connection ended."""


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the method, the path and the body."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    said = json.dumps(f"{scope['method']} {scope['path']} {body.decode('latin-1')}".strip()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


async def over_the_line(port: int, sent: bytes) -> Outcome:
    """What a server at a port makes of an input and the probe behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found: list[str] = []
    try:
        writer.write(sent + PROBE)
        async with asyncio.timeout(SECONDS):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                start, *lines = head.decode("latin-1").strip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                is_head = not found and sent.startswith(b"HEAD")
                size = 0 if is_head else int(headers.get("content-length", 0))
                body = await reader.readexactly(size)
                found.append(_answer(start.split()[1], body))
                if found[-1].endswith("/probe"):
                    return tuple(found)
    except (asyncio.IncompleteReadError, ConnectionError):
        return (*found, "closed")
    except TimeoutError:
        return (*found, "waits")
    finally:
        writer.close()


def _answer(status: str, body: bytes) -> str:
    return f"{status} {json.loads(body)}" if status == "200" and body else status


def in_memory(sent: bytes) -> Outcome:
    """What h11 makes of an input and the probe behind it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(sent + PROBE)
    found: list[str] = []
    request: Any = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                path = request.target.decode()
                said = f"{request.method.decode()} {path} {body.decode('latin-1')}".strip()
                found.append("200" if request.method == b"HEAD" else f"200 {said}")
                if path.endswith("/probe"):
                    return tuple(found)
                if request.method == b"CONNECT":
                    return (*found, "waits")
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    return (*found, "closed")
                connection.start_next_cycle()
            elif event is h11.PAUSED:
                return (*found, "paused: it waits for an answer to the offer")
            else:
                return (*found, "waits")
    except h11.RemoteProtocolError as error:
        return (*found, str(error.error_status_hint), "closed")


CONFIGURATION = """
daemon off; master_process off; pid {place}/nginx.pid; error_log stderr crit;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; proxy_set_header Host test; }}
    }}
}}
"""


@asynccontextmanager
async def nginx(behind: int) -> AsyncIterator[int]:
    """nginx as a reverse proxy before a port; gives its own."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        raise SystemExit("nginx is missing: apt-get install nginx-light")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with tempfile.TemporaryDirectory() as place:
        path = _written(place, port, behind)
        running = await asyncio.create_subprocess_exec(program, "-c", path, "-p", place)
        try:
            async with asyncio.timeout(SECONDS):
                while not await _listens(port):  # noqa: ASYNC110 - nginx offers nothing to wait for
                    await asyncio.sleep(0.02)
            yield port
        finally:
            running.terminate()
            await running.wait()


def _written(place: str, port: int, behind: int) -> str:
    path = Path(place, "nginx.conf")
    path.write_text(CONFIGURATION.format(place=place, port=port, behind=behind))
    return str(path)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def compare() -> int:
    """Print the table; how many differences have no reason."""
    same, unexplained = 0, 0
    async with served(echo) as (_, port), nginx(port) as before:
        for name, sent in INPUTS.items():
            outcomes = {
                "ours": await over_the_line(port, sent),
                "nginx": await over_the_line(before, sent),
                "h11": in_memory(sent),
            }
            if len(set(outcomes.values())) == 1:
                same += 1
                print(f"same    {name}: {_line(outcomes['ours'])}")
                continue
            reason = REASONS.get(name)
            unexplained += reason is None
            print(f"differ  {name}")
            for who, outcome in outcomes.items():
                print(f"          {who:6} {_line(outcome)}")
            print(f"          {reason or 'NO REASON IS KNOWN'}")
    print(f"{len(INPUTS)} inputs, {same} read alike by all three, {len(INPUTS) - same} not, {unexplained} unexplained")
    return unexplained


def _line(outcome: Outcome) -> str:
    return " | ".join(outcome).replace("\r\n", "␍␊")


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(compare()) else 0)

"""Two real HTTP servers of other organisations: the city's webhook receiver, and a service behind the edge."""

import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvicorn
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

START_WITHIN_SECONDS = 10.0
HOST = "127.0.0.1"

Headers = Mapping[str, str]
Answer = tuple[int, Any]
Handle = Callable[[str, Headers, bytes], Answer]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass
class Received:
    """One delivery whose signature was right."""

    webhook_id: str
    event: dict[str, Any]
    at: float
    """By the monotonic clock."""


@dataclass
class Municipality:
    """The city's receiver: verifies each delivery with the `standardwebhooks` library and keeps what it was told."""

    secrets: dict[str, str] = field(default_factory=dict)
    """By path: each subscription has its own address and secret."""
    received: dict[str, list[Received]] = field(default_factory=dict)
    refused: int = 0
    """Deliveries whose signature was wrong."""

    def handle(self, path: str, headers: Headers, body: bytes) -> Answer:
        """Take one delivery."""
        secret = self.secrets.get(path)
        if secret is None:
            return 404, {}
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError:
            self.refused += 1
            return 400, {}
        self.received.setdefault(path, []).append(Received(headers["webhook-id"], _decode(body), time.monotonic()))
        return 200, {}

    def latest(self, path: str, type_: str) -> list[dict[str, Any]]:
        """The newest version known of each subject of a type: what a subscriber that may get things twice keeps."""
        newest: dict[str, dict[str, Any]] = {}
        for one in list(self.received.get(path, [])):
            if one.event["type"] == type_:
                resource = one.event["data"]
                held = newest.get(resource["id"])
                if held is None or resource["version"] > held["version"]:
                    newest[resource["id"]] = resource
        return list(newest.values())


@dataclass
class SampleService:
    """The computer system of a service window. It does not check codes, because the edge does."""

    served: list[str] = field(default_factory=list)

    def handle(self, path: str, _headers: Headers, _body: bytes) -> Answer:
        """Answer every request that arrives."""
        self.served.append(path)
        return 200, {"served": path}


@contextmanager
def serving(handle: Handle) -> Iterator[str]:
    """Serve on a free loopback port in a separate thread. Yields the address."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((HOST, 0))
    listener.listen(128)
    server = uvicorn.Server(
        uvicorn.Config(_application(handle), ws="none", lifespan="off", access_log=False, log_config=None)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="receiver")
    thread.start()
    deadline = time.monotonic() + START_WITHIN_SECONDS
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_WITHIN_SECONDS)
        listener.close()


Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def _application(handle: Handle) -> Asgi:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status, answer = handle(scope["path"], headers, body)
        content = _encode(answer)
        told = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": content})

    return application

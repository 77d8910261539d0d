"""A subscriber's own server: takes signed events, remembers every one, and can be away for a while."""

import json
import socket
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


class Server(ThreadingHTTPServer):
    """A server that, when it is closed, first ends what it has begun."""

    daemon_threads = False


@dataclass
class Subscriber:
    """Who is told. What comes is kept by its `webhook-id`."""

    secret: str = ""
    port: int = 0
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    """How often each event came: at least once, and more often only if an acknowledgement was lost."""
    changed: list[str] = field(default_factory=list)
    """Events whose repetition was not the same as before."""
    refused: int = 0
    """Events whose signature was wrong."""
    _server: Server | None = None
    _place: socket.socket | None = None
    """Bound, and deaf: nobody else is given the port while we are away."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/events"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Take one delivery; the status it is answered with."""
        try:
            Webhook(self.secret).verify(body, headers, json_parse=False)
        except WebhookVerificationError:
            self.refused += 1
            return 400
        event, webhook_id = json.loads(body), headers["webhook-id"]
        if self.events.setdefault(webhook_id, event) != event:
            self.changed.append(webhook_id)
        self.times[webhook_id] += 1
        return 204

    def open(self) -> None:
        """Listen, at the same address as before."""

        class Handler(BaseHTTPRequestHandler):
            timeout = 5
            subscriber = self

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(self.subscriber.take(headers, body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        if self._place is None:
            self._place = socket.socket()
            self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._place.bind(("127.0.0.1", self.port))
            self.port = self._place.getsockname()[1]
        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="subscriber").start()

    def close(self) -> None:
        """Be away: whoever connects is refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def newest(self) -> dict[tuple[str, str], int]:
        """The newest version heard of each subject."""
        found: dict[tuple[str, str], int] = {}
        for event in list(self.events.values()):
            subject = event["type"], event["subject"]
            found[subject] = max(found.get(subject, 0), event["version"])
        return found

    def doubled(self) -> list[str]:
        """Versions of subjects that came under more than one id."""
        ids: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        for webhook_id, event in list(self.events.items()):
            ids[event["type"], event["subject"], event["version"]].add(webhook_id)
        return [str(version) for version, several in ids.items() if len(several) > 1]

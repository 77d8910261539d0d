"""`fangxian sign-in` says when it does not trust a certificate, and takes the authority that the operator names."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.session import Session
from deploy.trouble import Trouble
from tests.gateway.test_webhook_addresses import certificate


class Refusing(BaseHTTPRequestHandler):
    """Answers that there is nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server with a certificate of its own, and that certificate."""
    pem = certificate("localhost", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}", pem
        server.shutdown()
        thread.join()


def test_an_untrusted_certificate_is_told_as_that(
    served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pem = served
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(Trouble, match=r"certificate of https://localhost:\d+ is not trusted here \(self.signed cert"):
        Session.at(url).sign_in(lambda *_: None)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with pytest.raises(Trouble, match="The gateway answered 404"):
        Session.at(url).sign_in(lambda *_: None)

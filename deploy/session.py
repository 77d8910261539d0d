"""The session of a person on their own machine, in a private file. It is refreshed when a token is needed.

    $XDG_STATE_HOME/fangxian/session-<hash of the address>.json   0600: the tokens; ~/.local/state where it is not set
    …/session-<hash>.lock                                         held while the tokens are refreshed

The sign-in uses the device flow (RFC 8628). It needs no browser and no port on this machine, so it works over SSH.
"""

import fcntl
import hashlib
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from deploy import secret_files
from deploy.trouble import Trouble

CLIENT = "fangxian-console"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
ADDRESS = "FANGXIAN"
"""Environment variable with the address of the gateway, as in the pages of docs/."""

DEFAULT_URL = "http://127.0.0.1:8000"
ASK_SECONDS = 30.0
FRESH_SECONDS = 60
"""A token with a shorter remaining lifetime is refreshed first."""

TRIES = 5
"""If the answer to a refresh is lost, the same token is sent again. The server accepts it for 30 seconds."""

RETRY_SECONDS = 2.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Show = Callable[[str, str], None]
"""Shows a person the address to open and the code to check."""


@dataclass(frozen=True)
class Session:
    """The session with one gateway: its file and its requests."""

    url: str
    file: Path
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def at(cls, url: str | None) -> "Session":
        """Return the session with a gateway: the named one, otherwise $FANGXIAN, otherwise the one on this machine."""
        address = (url or os.environ.get(ADDRESS) or DEFAULT_URL).rstrip("/")
        if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
            raise Trouble(f"{address} is not the address of a gateway. Write it like https://fangxian.example.cn.")
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "fangxian"
        return cls(address, state / f"session-{hashlib.sha256(address.encode()).hexdigest()[:16]}.json")

    def sign_in(self, show: Show) -> None:
        """Start a session: a person approves this shell in a browser on any machine."""
        with self._client() as client:
            begun = self._ask(client, "/oauth/device_authorization", {})
            show(begun["verification_uri_complete"], begun["user_code"])
            form = {"grant_type": DEVICE_CODE, "device_code": begun["device_code"]}
            interval, until = float(begun["interval"]), time.monotonic() + float(begun["expires_in"])
            while time.monotonic() < until:
                self.sleep(interval)
                answer = self._post(client, "/oauth/token", form)
                if answer.is_success:
                    with self._locked():
                        self._keep(answer.json())
                    return
                error = _content(answer).get("error")
                if error == "slow_down":
                    interval += 5
                elif error != "authorization_pending":
                    raise Trouble(_sentence(answer))
        raise Trouble("Nobody approved this sign-in in time. Run `fangxian sign-in` again.")

    def token(self) -> str:
        """Return an access token valid for at least a minute. Of several shells one refreshes, and the others wait."""
        tokens = self._read()
        if tokens["expires_at"] - time.time() < FRESH_SECONDS:
            with self._locked():
                tokens = self._read()  # another shell may have refreshed meanwhile
                if tokens["expires_at"] - time.time() < FRESH_SECONDS:
                    tokens = self._refresh(tokens["refresh_token"])
        return str(tokens["access_token"])

    def sign_out(self) -> bool:
        """End the session, here and at the gateway. Returns whether there was one."""
        with self._locked():
            if not self.file.exists():
                return False
            token = self._read()["refresh_token"]
            self.file.unlink()
        with self._client() as client:
            self._ask(client, "/oauth/revoke", {"token": token})
        return True

    def _refresh(self, refresh_token: str) -> dict[str, Any]:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        with self._client() as client:
            answer = self._post(client, "/oauth/token", form)
        if answer.is_success:
            return self._keep(answer.json())
        if _content(answer).get("error") == "invalid_grant":
            self.file.unlink(missing_ok=True)
            raise Trouble(f"The session has ended ({_sentence(answer)}) Run `fangxian sign-in` again.")
        raise Trouble(_sentence(answer))

    def _ask(self, client: httpx.Client, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        answer = self._post(client, path, form)
        if not answer.is_success:
            raise Trouble(_sentence(answer))
        return _content(answer)

    def _post(self, client: httpx.Client, path: str, form: Mapping[str, str]) -> httpx.Response:
        for left in reversed(range(TRIES)):
            try:
                answer = client.post(path, data={"client_id": CLIENT, **form})
            except httpx.HTTPError as error:
                if "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise Trouble(_untrusted(self.url, str(error))) from None
                if not left:
                    raise Trouble(f"{self.url} does not answer ({type(error).__name__}): is it running?") from None
            else:
                if answer.status_code < 500 or not left:
                    return answer
            self.sleep(RETRY_SECONDS)
        raise AssertionError

    def _client(self) -> httpx.Client:
        headers = {"accept-language": "en", "user-agent": "fangxian"}
        through_proxy = urlsplit(self.url).hostname not in LOOPBACK
        return httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=ASK_SECONDS,
            trust_env=through_proxy,
            transport=self.transport,
            verify=_authorities() if self.url.startswith("https://") else True,
        )

    def _read(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self.file.read_text(encoding="ascii"))
        except FileNotFoundError:
            raise Trouble(f"You are not signed in to {self.url}. Run `fangxian sign-in`.") from None
        except ValueError:
            raise Trouble(f"{self.file} cannot be read. Remove it, and run `fangxian sign-in`.") from None
        return content

    def _keep(self, given: Mapping[str, Any]) -> dict[str, Any]:
        tokens = {
            "url": self.url,
            "access_token": given["access_token"],
            "refresh_token": given["refresh_token"],
            "expires_at": int(time.time()) + int(given["expires_in"]),
        }
        secret_files.replace(self.file, json.dumps(tokens))
        return tokens

    @contextmanager
    def _locked(self) -> Iterator[None]:
        secret_files.make_directory(self.file.parent)
        handle = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _authorities() -> ssl.SSLContext:
    """Trust the public certificate authorities, and those that curl trusts: of the system, or of $SSL_CERT_FILE."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


def _untrusted(url: str, error: str) -> str:
    return (
        f"The certificate of {url} is not trusted here ({error.partition('failed: ')[2].partition(' (_ssl')[0]}). "
        "If your own certificate authority issued it, set SSL_CERT_FILE to the file with the authority's certificate."
    )


def _content(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        content = answer.json() if answer.content else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _sentence(answer: httpx.Response) -> str:
    content = _content(answer)
    words = content.get("message") or content.get("detail") or f"The gateway answered {answer.status_code}"
    return f"{str(words).rstrip('.')}."

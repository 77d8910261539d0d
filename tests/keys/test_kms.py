"""A master key in a KMS with the interface of Vault's transit engine: over HTTP, against a server of that contract.

The server here keeps to the published contract: versions, `vault:v1:` prefixes, associated data, a token, rotation, and
a least version that it still opens.
"""

import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.core.ids import new_id
from shared.crypto import encryption
from shared.crypto.master_keys import MasterKeyError, VaultTransitKeyWrapper, Wrapped
from shared.runtime.context import ServiceContext
from tests.harness import District

TOKEN = "s.test"


class Transit(ThreadingHTTPServer):
    """One key of a transit engine."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.versions = [os.urandom(32)]
        self.least = 1
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def act(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        verb = path.removeprefix("/v1/transit/")
        self.asked.append(verb)
        bound_to = base64.b64decode(body.get("associated_data", ""))
        if verb == "keys/fangxian":
            return {"latest_version": len(self.versions), "min_decryption_version": self.least}
        if verb == "keys/fangxian/rotate":
            self.versions.append(os.urandom(32))
            return {}
        if verb == "keys/fangxian/config":
            self.least = body["min_decryption_version"]
            return {}
        if verb == "encrypt/fangxian":
            nonce = os.urandom(12)
            sealed = AESGCM(self.versions[-1]).encrypt(nonce, base64.b64decode(body["plaintext"]), bound_to)
            return {"ciphertext": f"vault:v{len(self.versions)}:{base64.b64encode(nonce + sealed).decode()}"}
        assert verb == "decrypt/fangxian", verb
        _, version, coded = body["ciphertext"].split(":")
        number, raw = int(version[1:]), base64.b64decode(coded)
        if number < self.least:
            raise PermissionError("too old")
        plain = AESGCM(self.versions[number - 1]).decrypt(raw[:12], raw[12:], bound_to)
        return {"plaintext": base64.b64encode(plain).decode()}


class _Handler(BaseHTTPRequestHandler):
    server: Transit

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or b"{}"))

    def _answer(self, body: dict[str, Any]) -> None:
        status, said = 200, {}
        if self.headers["x-vault-token"] != TOKEN:
            status, said = 403, {"errors": ["permission denied"]}
        else:
            try:
                said = {"data": self.server.act(self.path, body)}
            except (InvalidTag, PermissionError, IndexError, ValueError):
                status, said = 400, {"errors": ["cipher: message authentication failed"]}
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def kms() -> Iterator[Transit]:
    server = Transit()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def test_a_key_is_wrapped_and_opens_for_what_it_is_bound_to(kms: Transit) -> None:
    key_wrapper = VaultTransitKeyWrapper(kms.url, TOKEN, "fangxian")
    wrapped = await key_wrapper.wrap(b"k" * 32, b"registry|202101")
    assert wrapped.master == await key_wrapper.newest() == "v1"
    assert b"k" * 32 not in wrapped.key
    assert await key_wrapper.unwrap(wrapped, b"registry|202101") == b"k" * 32
    with pytest.raises(MasterKeyError, match="decrypt"):
        await key_wrapper.unwrap(wrapped, b"testing|202101")


async def test_a_new_version_wraps_and_old_ones_open_until_they_are_forgotten(kms: Transit) -> None:
    key_wrapper = VaultTransitKeyWrapper(kms.url, TOKEN, "fangxian")
    old = await key_wrapper.wrap(b"k" * 32, b"x")
    await key_wrapper.rotate()
    new = await key_wrapper.wrap(b"k" * 32, b"x")
    assert (old.master, new.master, await key_wrapper.newest()) == ("v1", "v2", "v2")
    assert await key_wrapper.unwrap(old, b"x") == await key_wrapper.unwrap(new, b"x")
    await key_wrapper.forget_before("v2")
    with pytest.raises(MasterKeyError):
        await key_wrapper.unwrap(old, b"x")
    assert await key_wrapper.unwrap(new, b"x") == b"k" * 32


@pytest.mark.parametrize("trouble", ["wrong token", "away", "nonsense"])
async def test_a_kms_that_refuses_or_is_away_is_named_and_never_quoted(kms: Transit, trouble: str) -> None:
    url = "http://127.0.0.1:9" if trouble == "away" else kms.url
    key_wrapper = VaultTransitKeyWrapper(url, "wrong" if trouble == "wrong token" else TOKEN, "fangxian")
    with pytest.raises(MasterKeyError) as refused:
        await key_wrapper.unwrap(Wrapped("v1", b"vault:v1:AAAA"), b"x")
    assert "AAAA" not in str(refused.value)
    assert TOKEN not in str(refused.value)


async def test_what_another_master_wrapped_is_named(kms: Transit) -> None:
    with pytest.raises(MasterKeyError, match="another master key"):
        await VaultTransitKeyWrapper(kms.url, TOKEN, "fangxian").unwrap(Wrapped("4c43107e", b"\xee\x9b"), b"x")


async def test_a_service_seals_with_keys_that_the_kms_wraps(
    district: District, kms: Transit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stays_as_it_is() -> None:
        """The service that runs beside makes no keys of its own meanwhile."""

    monkeypatch.setattr(district.contexts["observation"], "open", stays_as_it_is)
    settings = district.database.settings(
        "observation", master_keys="kms", kms_url=kms.url, kms_token=TOKEN, kms_key="fangxian"
    )
    kept = await district.sql("SELECT * FROM observation.data_keys")
    await district.sql("DELETE FROM observation.data_keys")
    try:
        first, second, row = ServiceContext.build(settings), ServiceContext.build(settings), new_id()
        for context in (first, second):
            await context.open()
        assert [row["master"] for row in await district.sql("SELECT master FROM observation.data_keys")] == ["v1"] * 2
        sealed = first.keyring.encrypt("x.y", row, "张三")
        assert second.keyring.decrypt("x.y", row, sealed) == "张三"
        asked = len(kms.asked)
        await first.open()
        assert len(kms.asked) == asked, "what is open already is not asked for again"
        for context in (first, second):
            await context.close()
    finally:
        await district.sql("DELETE FROM observation.data_keys")
        for one in kept:
            await district.sql(
                "INSERT INTO observation.data_keys (id, month, master, wrapped) VALUES ($1, $2, $3, $4)",
                one["id"],
                one["month"],
                one["master"],
                one["wrapped"],
            )
        encryption.use(district.contexts["observation"].keyring)

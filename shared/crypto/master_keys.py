"""The master key, which wraps the data keys and encrypts nothing else. It is in a file, the environment, or a KMS.

The newest version wraps. A key that an older version wrapped can be unwrapped as long as this version is known. The
name of the wrapping version is stored with every wrapped key.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.core.settings import Settings
from shared.crypto import key_files
from shared.crypto.key_files import Version

NONCE_BYTES = 12
TIMEOUT_SECONDS = 5.0


class MasterKeyError(Exception):
    """The master key cannot unwrap a key, or the KMS is not available. The text never contains a key."""


class Wrapped(NamedTuple):
    """A wrapped key, and the version of the master key that wrapped it."""

    master: str
    key: bytes


class KeyWrapper(Protocol):
    """A store of the master key. `bound_to` is associated data, which is also needed to unwrap the key."""

    async def newest(self) -> str:
        """Return the version that wraps now."""

    async def wrap(self, key: bytes, bound_to: bytes) -> Wrapped:
        """Wrap a key under the newest version."""

    async def unwrap(self, wrapped: Wrapped, bound_to: bytes) -> bytes:
        """Unwrap a key. Raises `MasterKeyError`."""


class LocalKeyWrapper:
    """A master key in the memory of this process, from the environment or a file. A changed file is read again."""

    def __init__(self, versions: Sequence[Version], file: Path | None = None) -> None:
        self._versions = list(versions)
        self._file = file
        self._watched = key_files.Watched(file) if file else None

    @classmethod
    def from_file(cls, file: Path) -> "LocalKeyWrapper":
        """Read `master.key`."""
        return cls(key_files.read(file), file)

    @classmethod
    def from_text(cls, text: str) -> "LocalKeyWrapper":
        """Read keys of 32 bytes as base64url, separated by commas, the newest first."""
        return cls([key_files.parse(part, "FANGXIAN_MASTER_KEY")[0] for part in text.split(",")])

    def _known(self) -> list[Version]:
        if self._file and self._watched and self._watched.changed():
            self._versions = key_files.read(self._file)
        return self._versions

    async def newest(self) -> str:
        return self._known()[0].id

    async def wrap(self, key: bytes, bound_to: bytes) -> Wrapped:
        version = self._known()[0]
        nonce = os.urandom(NONCE_BYTES)
        return Wrapped(version.id, nonce + AESGCM(version.secret).encrypt(nonce, key, bound_to))

    async def unwrap(self, wrapped: Wrapped, bound_to: bytes) -> bytes:
        # Keys of the first installations have no name of the wrapping version.
        versions = [one for one in self._known() if wrapped.master in ("", one.id)]
        for version in versions:
            try:
                return AESGCM(version.secret).decrypt(wrapped.key[:NONCE_BYTES], wrapped.key[NONCE_BYTES:], bound_to)
            except (InvalidTag, ValueError):
                continue
        raise MasterKeyError(f"no known master key opens what {wrapped.master or 'an unnamed one'} wrapped")


class VaultTransitKeyWrapper:
    """A master key that never leaves a KMS with the interface of Vault's transit engine (OpenBao has the same)."""

    def __init__(self, url: str, token: str, key: str) -> None:
        self._key = key
        self._client = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/v1/transit/",
            headers={"x-vault-token": token},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )

    async def newest(self) -> str:
        data = await self._ask("GET", f"keys/{self._key}")
        return f"v{data['latest_version']}"

    async def wrap(self, key: bytes, bound_to: bytes) -> Wrapped:
        body = {"plaintext": b64encode(key).decode(), "associated_data": b64encode(bound_to).decode()}
        ciphertext = str((await self._ask("POST", f"encrypt/{self._key}", body))["ciphertext"])
        return Wrapped(ciphertext.split(":")[1], ciphertext.encode())

    async def unwrap(self, wrapped: Wrapped, bound_to: bytes) -> bytes:
        if not wrapped.key.isascii():
            raise MasterKeyError("a data key is wrapped by another master key than the KMS's")
        body = {"ciphertext": wrapped.key.decode("ascii"), "associated_data": b64encode(bound_to).decode()}
        return b64decode(str((await self._ask("POST", f"decrypt/{self._key}", body))["plaintext"]))

    async def rotate(self) -> None:
        """Create a new version, which wraps from now on."""
        await self._ask("POST", f"keys/{self._key}/rotate")

    async def forget_before(self, version: str) -> None:
        """Make the KMS refuse to unwrap keys that earlier versions wrapped."""
        await self._ask("POST", f"keys/{self._key}/config", {"min_decryption_version": int(version.removeprefix("v"))})

    async def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        try:
            response = await self._client.request(method, path, json=body)
            response.raise_for_status()
            data: dict[str, object] = response.json()["data"] if response.content else {}
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise MasterKeyError(f"the KMS does not do {path.split('/')[0]}: {type(error).__name__}") from error
        return data


def key_wrapper_of(settings: Settings) -> KeyWrapper:
    """Build the store of the master key from the settings."""
    if settings.master_keys == "kms":
        token = settings.kms_token.get_secret_value() if settings.kms_token else ""
        return VaultTransitKeyWrapper(settings.kms_url, token, settings.kms_key)
    if settings.master_keys == "environment":
        return LocalKeyWrapper.from_text(settings.master_key.get_secret_value() if settings.master_key else "")
    return LocalKeyWrapper.from_file(settings.keys / "master.key")

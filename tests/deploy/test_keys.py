"""Keys: who may read them, that each is where it is needed and nowhere else, and that none is ever replaced."""

import base64
import contextlib
import json
import os
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from deploy import key_versions, keys, secret_files
from deploy.trouble import Trouble
from services.gateway.edge.internal_tokens import Issuer
from services.gateway.tokens.keys import Keys
from shared.core.actors import Actor, Role, system
from shared.core.settings import SERVICES
from shared.crypto.tokens import Signer

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    keys.make(tmp_path / "keys")
    return tmp_path / "keys"


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_nobody_else_may_read_a_key_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.make(tmp_path / "keys")
    finally:
        os.umask(before)
    for path in (tmp_path / "keys", *(tmp_path / "keys").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_service_gets_what_it_needs_and_nothing_more(made: Path) -> None:
    shared = {"own.jwk", "services.jwks", "master.key", "index.key", "database.password"}
    for service in SERVICES:
        names = {path.name for path in (made / service).iterdir()}
        assert names == (shared | {"issuer.jwk", "code-hmac.key"} if service == "gateway" else shared)


def test_all_services_know_what_each_has_signed(made: Path) -> None:
    for signer in SERVICES:
        own = OKPKey.import_key(json.loads((made / signer / "own.jwk").read_text()))
        token = jwt.encode({"alg": "EdDSA", "kid": signer}, {"sub": "somebody"}, own, algorithms=["EdDSA"])
        for reader in SERVICES:
            public = KeySet.import_key_set(json.loads((made / reader / "services.jwks").read_text()))
            assert jwt.decode(token, public, algorithms=["EdDSA"]).claims == {"sub": "somebody"}


def test_what_is_public_holds_nothing_private(made: Path) -> None:
    published = json.loads((made / "owner" / "services.jwks").read_text())["keys"]
    assert sorted(key["kid"] for key in published) == sorted(SERVICES)
    assert not any("d" in key for key in published)


@pytest.mark.parametrize("name", ["master.key", "index.key", "code-hmac.key"])
def test_symmetric_keys_are_32_bytes_and_differ(made: Path, tmp_path: Path, name: str) -> None:
    keys.make(tmp_path / "other")
    one, other = ((directory / "owner" / name).read_text().strip() for directory in (made, tmp_path / "other"))
    assert len(base64.urlsafe_b64decode(one + "=")) == 32
    assert one != other


def test_making_again_changes_nothing(made: Path) -> None:
    before = content(made)
    keys.make(made)
    assert content(made) == before


@pytest.mark.parametrize("there", [False, True], ids=["not there", "empty"])
def test_keys_are_made_apart_once(run: Run, tmp_path: Path, there: bool) -> None:
    directory = tmp_path / "keys"
    if there:
        directory.mkdir()
    first, before = run("keys", "make", str(directory)), content(directory)
    second = run("keys", "make", str(directory))
    assert (first.returncode, first.stdout) == (
        0,
        f"The keys are in {directory}. Back them up separately from the database.\n",
    )
    assert (second.returncode, second.stdout) == (
        0,
        f"The keys in {directory} already exist and were not changed.\n",
    )
    assert keys.missing(directory) == []
    assert content(directory) == before


def test_keys_are_not_made_among_other_things(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()
    done = run("keys", "make", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{tmp_path} contains other files (thesis.odt). Choose an empty directory.\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.odt"]


def test_lost_keys_are_not_made_anew_apart(made: Path) -> None:
    (made / "owner" / "master.key").unlink()
    with pytest.raises(Trouble, match=r"owner/master\.key.*backup"):
        keys.make_apart(made)


def test_what_an_interrupted_start_left_is_not_taken_over(tmp_path: Path) -> None:
    secret_files.write_once(tmp_path / "keys.half" / "owner" / "master.key", "half")
    keys.make(tmp_path / "keys")
    assert keys.missing(tmp_path / "keys") == []
    assert not (tmp_path / "keys.half").exists()


def test_a_failure_on_the_way_leaves_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = secret_files.write_once

    def full(path: Path, text: str) -> bool:
        if path.name == "issuer.jwk":
            raise OSError(28, "No space left on device")
        return written(path, text)

    monkeypatch.setattr(secret_files, "write_once", full)
    with pytest.raises(OSError, match="No space"):
        keys.make(tmp_path / "keys")
    assert list(tmp_path.iterdir()) == []


def test_a_lost_key_is_asked_for_and_not_made_anew(made: Path) -> None:
    (made / "testing" / "master.key").unlink()
    with pytest.raises(Trouble, match=r"testing/master\.key.*backup"):
        keys.require(made)


def test_of_writers_at_once_one_wins_and_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    texts = [str(number) * 5000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda text: secret_files.write_once(path, text), texts))
    assert won.count(True) == 1
    assert path.read_text() == texts[won.index(True)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [kind for kind in key_versions.KINDS if kind != "data"])
def test_a_rotated_key_is_wherever_the_old_one_was_and_nowhere_else(made: Path, kind: str) -> None:
    before = content(made)
    if kind in key_versions.BEGINS_IN:
        key_versions.rotate_signing(made, kind)
    else:
        key_versions.add_symmetric(made, kind)
    after = content(made)
    assert after.keys() == before.keys(), "no file more, and none half made"
    changed = {name for name in after if after[name] != before[name]}
    new = key_versions.versions(made, kind)[0]
    secret = str(new.jwk.get("d") or new.jwk["k"]).encode()
    assert {name for name in after if secret in after[name]} == changed - {
        name for name in changed if name.endswith("services.jwks")
    }
    for path in made.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("kind", ["registry", "issuer", "code"])
@pytest.mark.parametrize("written", range(9))
def test_stopped_at_any_file_all_services_still_know_each_other(
    made: Path, monkeypatch: pytest.MonkeyPatch, kind: str, written: int
) -> None:
    replace, left = secret_files.replace, [written]

    def dies(path: Path, text: str) -> None:
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        replace(path, text)

    monkeypatch.setattr(secret_files, "replace", dies)
    with contextlib.suppress(OSError):
        key_versions.rotate_signing(made, kind, 0)
    monkeypatch.setattr(secret_files, "replace", replace)
    signers = {service: Signer.from_files(service, made / service) for service in SERVICES}
    for service in SERVICES:
        token = signers[service].token_for("testing", system(service))
        assert signers["testing"].actor_of(token)
    issuer = Issuer.from_files(made / "gateway")
    assert issuer.actor_of(issuer.issue(Actor("x", Role.COMMAND), None, 60))
    assert Keys.from_files(made / "gateway").current.id in Keys.from_files(made / "gateway").secrets


def test_a_second_rotation_waits_until_the_first_has_begun(made: Path) -> None:
    key_versions.rotate_signing(made, "issuer")
    with pytest.raises(Trouble, match="is already about to begin"):
        key_versions.rotate_signing(made, "issuer")

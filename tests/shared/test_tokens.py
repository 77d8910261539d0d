"""Internal tokens: 60 seconds, one audience, and only the gateway speaks for people."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from deploy import key_versions, keys
from shared.core.actors import Actor, Role, system
from shared.core.settings import SERVICES
from shared.crypto.tokens import Signer
from shared.problems import Unauthenticated

GRID_WORKER = Actor("staff:1", Role.GRID_WORKER, ("35058200500101", "35058200500101~"), purpose="door visit")


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Signer]:
    directory = tmp_path_factory.mktemp("keys") / "keys"
    keys.make(directory)
    return {service: Signer.from_files(service, directory / service) for service in SERVICES}


def forged(signer: Signer, *, expires_in: int = 60, **claims: Any) -> str:
    now = int(time.time())
    values = {
        "iss": signer.service,
        "aud": "registry",
        "exp": now + expires_in,
        "sub": "x",
        "role": "command",
        "range": ["", "~"],
        "residents": [],
        "party": "",
        "purpose": "",
    } | claims
    header = {"alg": "Ed25519", "kid": signer.own.kid}
    return jwt.encode(header, values, signer.own, algorithms=["Ed25519"])


def test_the_actor_arrives_whole(signers: dict[str, Signer]) -> None:
    token = signers["gateway"].token_for("registry", GRID_WORKER)
    assert signers["registry"].actor_of(token) == GRID_WORKER
    assert signers["registry"].actor_of(token) == GRID_WORKER, "also when it is known already"


def test_a_token_for_another_audience_is_refused(signers: dict[str, Signer]) -> None:
    token = signers["gateway"].token_for("registry", GRID_WORKER)
    with pytest.raises(Unauthenticated):
        signers["testing"].actor_of(token)


def test_only_the_gateway_speaks_for_people(signers: dict[str, Signer]) -> None:
    with pytest.raises(Unauthenticated):
        signers["registry"].actor_of(signers["testing"].token_for("registry", GRID_WORKER))
    assert (
        signers["registry"].actor_of(signers["testing"].token_for("registry", system("testing"))).role is Role.SERVICE
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"expires_in": -1},
        {"expires_in": 3600},
        {"exp": "soon"},
        {"aud": "testing"},
        {"iss": "registry"},
        {"role": "king"},
        {"role": "sampler|command"},
        {"range": ["", "~", "x"]},
        {"residents": ["nobody"]},
    ],
    ids=str,
)
def test_a_token_that_claims_what_it_may_not_is_refused(signers: dict[str, Signer], claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        signers["registry"].actor_of(forged(signers["gateway"], **claims))


def test_a_token_signed_by_another_key_is_refused(signers: dict[str, Signer]) -> None:
    stranger = Signer("gateway", OKPKey.generate_key("Ed25519", {"kid": "gateway"}), signers["gateway"].public)
    with pytest.raises(Unauthenticated):
        signers["registry"].actor_of(forged(stranger))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "é.é.é"])
def test_what_is_no_token_is_refused(signers: dict[str, Signer], token: str) -> None:
    with pytest.raises(Unauthenticated):
        signers["registry"].actor_of(token)


def test_no_algorithm_is_no_signature(signers: dict[str, Signer]) -> None:
    _, body, _ = forged(signers["gateway"]).split(".")
    header = jwt.encode({"alg": "Ed25519", "kid": "gateway"}, {}, signers["gateway"].own, algorithms=["Ed25519"])
    with pytest.raises(Unauthenticated):
        signers["registry"].actor_of(f"eyJhbGciOiJub25lIiwia2lkIjoiZ2F0ZXdheSJ9.{body}.")
    with pytest.raises(Unauthenticated):
        signers["registry"].actor_of(f"{header.split('.')[0]}.{body}.{header.split('.')[2]}")


def test_the_cache_forgets_what_has_expired(signers: dict[str, Signer], monkeypatch: pytest.MonkeyPatch) -> None:
    token = signers["gateway"].token_for("registry", GRID_WORKER)
    signers["registry"].actor_of(token)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated):
        signers["registry"].actor_of(token)


def test_keys_are_read_only_from_their_own_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Signer.from_files("registry", tmp_path)


# While a key is rotated ---------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    keys.make(tmp_path / "keys")
    return tmp_path / "keys"


def both(directory: Path) -> tuple[Signer, Signer]:
    return Signer.from_files("gateway", directory / "gateway"), Signer.from_files("registry", directory / "registry")


def test_a_new_key_is_known_before_it_signs_and_the_old_one_after(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, registry = both(directory)
    now = time.time()
    new, begins, ends = key_versions.rotate_signing(directory, "gateway", 10)
    for signer in (gateway, registry):
        signer.refresh()
    assert gateway.own.kid == "gateway"
    assert {key.kid for key in registry.public.keys} >= {"gateway", new.id}
    old_token = gateway.token_for("registry", GRID_WORKER)

    monkeypatch.setattr(time, "time", lambda: begins + 1)
    gateway.refresh()
    assert gateway.own.kid == new.id
    another = replace(GRID_WORKER, subject="another")
    for token in (old_token, gateway.token_for("registry", another)):
        assert registry.actor_of(token)

    monkeypatch.setattr(time, "time", lambda: ends + 1)
    registry.refresh()
    assert new.id in {key.kid for key in registry.public.keys}
    assert "gateway" not in {key.kid for key in registry.public.keys}
    assert begins > now + 9


def test_a_rotated_key_still_speaks_for_its_own_service_alone(directory: Path) -> None:
    key_versions.rotate_signing(directory, "testing", 0)
    testing = Signer.from_files("testing", directory / "testing")
    assert testing.own.kid.startswith("testing.")
    _, registry = both(directory)
    assert registry.actor_of(testing.token_for("registry", system("testing"))).role is Role.SERVICE
    for claims in ({"iss": "gateway"}, {"iss": testing.own.kid}):
        with pytest.raises(Unauthenticated):
            registry.actor_of(forged(testing, **claims))


def test_a_revoked_key_signs_nothing_more(directory: Path) -> None:
    key_versions.rotate_signing(directory, "gateway", 0)
    key_versions.remove(directory, "gateway", "gateway")
    gateway, registry = both(directory)
    assert registry.actor_of(gateway.token_for("registry", GRID_WORKER))
    assert "gateway" not in {key.kid for key in registry.public.keys}


def test_to_revoke_the_key_that_signs_lets_the_next_begin_at_once(directory: Path) -> None:
    new, *_ = key_versions.rotate_signing(directory, "gateway", 3600)
    key_versions.remove(directory, "gateway", "gateway")
    gateway, registry = both(directory)
    assert gateway.own.kid == new.id
    assert registry.actor_of(gateway.token_for("registry", GRID_WORKER))

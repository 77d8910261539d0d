"""Internal tokens: 60 seconds, one audience, and only the gateway speaks for people."""

import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from deploy import keys
from shared.actors import Actor, Role, system
from shared.problems import Unauthenticated
from shared.settings import SERVICES
from shared.tokens import Signer

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
    header = {"alg": "Ed25519", "kid": signer.service}
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

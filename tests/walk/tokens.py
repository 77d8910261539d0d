"""Everybody who might ask for what is not theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import OKPKey

from services.gateway.edge.internal_tokens import Issuer
from shared.core import clock
from shared.core.actors import Actor, Role
from shared.core.ids import new_id
from shared.core.regions import range_of
from shared.core.settings import SERVICES, Service
from tests.harness import District

SCOPES = {"another community": "350582005003", "another township": "350582004", "another county": "350583"}
PARTY = "of-nobody-here"

Kind = Literal["nobody", "foreigner", "service"]


@dataclass(frozen=True)
class Token:
    """One caller. Nobody is told 401 everywhere; a foreigner is good, but of another place, person or party."""

    name: str
    kind: Kind
    role: str
    bearer: Callable[[], str | None]
    """Fresh each time: what a service gives lives shorter than a walk."""
    to: Service = "gateway"
    """Which door it knocks at: the edge, or a service's own."""
    region: str | None = None
    """Its own region, if it has one."""


def tokens(district: District, neighbour: UUID) -> list[Token]:
    """All of them."""
    return [*_foreigners(district, neighbour), *_nobodies(district), *_services(district)]


def _foreigners(district: District, neighbour: UUID) -> list[Token]:
    issuer = Issuer.from_files(district.contexts["gateway"].settings.keys)
    made = []
    for role in Role:
        if role in (Role.RESIDENT, Role.SERVICE):
            continue
        for where, region in SCOPES.items():
            party = str(new_id()) if role in Role.DOOR else PARTY
            actor = Actor(f"walker:{role.label}", role, range_of(region), party=party)
            bearer = partial(issuer.issue, actor, region, 3600)
            made.append(Token(f"{role.label} of {where}", "foreigner", role.label, bearer, region=region))
    for name, residents in {"another resident": (neighbour,), "a resident bound to nobody": ()}.items():
        actor = Actor(f"walker:{name}", Role.RESIDENT, residents=residents)
        made.append(Token(name, "foreigner", Role.RESIDENT.label, partial(issuer.issue, actor, None, 3600)))
    return made


def _nobodies(district: District) -> list[Token]:
    """Whose token is none at all, though it would be command of everything if it were."""
    context = district.contexts["gateway"]
    issuer = Issuer.from_files(context.settings.keys)
    command = Actor("walker:nobody", Role.COMMAND, range_of(""))
    stranger = Issuer(OKPKey.generate_key("Ed25519", {"kid": str(issuer.key.kid)}))
    inside = partial(context.signer.token_for, "gateway", command)
    others: dict[str, Callable[[], str | None]] = {
        "none": lambda: None,
        "empty": lambda: "",
        "expired": partial(issuer.issue, command, "", -60),
        "of another issuer": partial(_signed, issuer, iss="https://elsewhere.example"),
        "for another audience": partial(_signed, issuer, aud="elsewhere"),
        "of the role of a service": partial(_signed, issuer, role="service"),
        "signed by another key": partial(stranger.issue, command, "", 3600),
        "signed by none": lambda: f"eyJhbGciOiJub25lIn0.{issuer.issue(command, '', 3600).split('.')[1]}.",
        "made for the inside": inside,
        "of a service, at the edge": partial(
            district.contexts["testing"].signer.token_for, "gateway", _service("testing")
        ),
    }
    return [Token(name, "nobody", "", bearer) for name, bearer in others.items()]


def _signed(issuer: Issuer, **changed: str) -> str:
    now = int(clock.now().timestamp())
    claims = {"iss": "fangxian", "aud": "fangxian", "sub": "walker:nobody", "iat": now, "nbf": now, "exp": now + 3600}
    claims |= {"role": "command", "region": "", "residents": [], "party": ""}
    return jwt.encode({"alg": "Ed25519", "kid": issuer.key.kid}, claims | changed, issuer.key, algorithms=["Ed25519"])


def _services(district: District) -> list[Token]:
    """At each service's own door: another service's token for it, the same meant for another, and one from outside."""
    issuer = Issuer.from_files(district.contexts["gateway"].settings.keys)
    outside = partial(issuer.issue, Actor("walker:nobody", Role.COMMAND, range_of("")), "", 3600)
    made = []
    for service in SERVICES:
        if service == "gateway":
            continue
        sender: Service = "testing" if service != "testing" else "observation"
        signer = district.contexts[sender].signer
        elsewhere = partial(signer.token_for, "gateway", _service(sender))
        given = partial(signer.token_for, service, _service(sender))
        made += [
            Token(f"{sender}, at {service}", "service", "service", given, service),
            Token(f"{sender}, meant for another, at {service}", "nobody", "", elsewhere, service),
            Token(f"from outside, at {service}", "nobody", "", outside, service),
        ]
    return made


def _service(name: Service) -> Actor:
    return Actor(f"service:{name}", Role.SERVICE)

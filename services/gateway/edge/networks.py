"""Where a request came from: what is counted by network is counted by this, and by nothing else."""

import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import structlog
from prometheus_client import Counter

logger = structlog.get_logger()

UNBELIEVED = Counter(
    "fangxian_forwarded_unbelieved_total",
    "Requests with an X-Forwarded-For of a peer that is in none of FANGXIAN_PROXY_NETWORKS.",
)
SAID_SECONDS = 60.0

Networks = Sequence[IPv4Network | IPv6Network]


def client_of(scope: Mapping[str, Any], proxies: Networks) -> str:
    """The client of a request, given as its ASGI scope or as a request, which reads as its scope."""
    peer = (scope.get("client") or ("",))[0]
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return address_of(peer, forwarded.decode("latin-1"), proxies)


def address_of(peer: str, forwarded: str, proxies: Networks) -> str:
    """The address a request came from: the peer's, or the last that no proxy of ours wrote into X-Forwarded-For.

    An IPv6 client is its /64, which is one household's or one machine's.
    """
    client = _plain(peer)
    for said in reversed(forwarded.split(",")):
        if not _is_proxy(client, proxies) or not said.strip():
            break
        client = _plain(said.strip())
    try:
        address = ip_address(client)
    except ValueError:
        return peer
    return str(IPv6Network((int(address), 64), strict=False)) if isinstance(address, IPv6Address) else client


class Unbelieved:
    """Notices requests with X-Forwarded-For whose peer is not a known proxy: all behind it count as one client."""

    def __init__(self) -> None:
        self._said: float | None = None

    def look(self, scope: Mapping[str, Any], proxies: Networks) -> None:
        """Count such a request, and log it at most once a minute. No address is logged."""
        if not any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            return
        if _is_proxy(_plain((scope.get("client") or ("",))[0]), proxies):
            return
        UNBELIEVED.inc()
        now = time.monotonic()
        if self._said is None or now - self._said >= SAID_SECONDS:
            self._said = now
            logger.warning(
                "forwarded.unbelieved",
                mend="name the network of your reverse proxy in FANGXIAN_PROXY_NETWORKS, "
                "or all who come through it count as one client",
            )


def _plain(client: str) -> str:
    """An IPv4 address as such, also where a socket of both kinds gives it as one of IPv6 (`::ffff:203.0.113.7`)."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return client if mapped is None else str(mapped)


def _is_proxy(address: str, proxies: Networks) -> bool:
    try:
        return any(ip_address(address) in network for network in proxies)
    except ValueError:
        return False

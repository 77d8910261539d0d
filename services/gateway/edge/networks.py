"""The network address of a client. All limits by network use this address."""

import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import structlog
from prometheus_client import Counter

logger = structlog.get_logger()

UNBELIEVED = Counter(
    "fangxian_forwarded_unbelieved_total",
    "Requests with X-Forwarded-For from a peer outside of FANGXIAN_PROXY_NETWORKS.",
)
LOG_SECONDS = 60.0

Networks = Sequence[IPv4Network | IPv6Network]


def client_of(scope: Mapping[str, Any], reverse_proxies: Networks) -> str:
    """Return the client address of a request. `scope` is an ASGI scope or a Starlette request."""
    peer = (scope.get("client") or ("",))[0]
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return address_of(peer, forwarded.decode("latin-1"), reverse_proxies)


def address_of(peer: str, forwarded: str, reverse_proxies: Networks) -> str:
    """Return the client address: the peer, or behind known reverse proxies the last other one in X-Forwarded-For.

    An IPv6 client is represented by its /64, because one household or machine gets a whole /64.
    """
    client = _plain(peer)
    for hop in reversed(forwarded.split(",")):
        if not _is_reverse_proxy(client, reverse_proxies) or not hop.strip():
            break
        client = _plain(hop.strip())
    try:
        address = ip_address(client)
    except ValueError:
        return peer
    return str(IPv6Network((int(address), 64), strict=False)) if isinstance(address, IPv6Address) else client


class Unbelieved:
    """Counts requests with X-Forwarded-For from an unknown reverse proxy. Its clients all count as one."""

    def __init__(self) -> None:
        self._logged_at: float | None = None

    def look(self, scope: Mapping[str, Any], reverse_proxies: Networks) -> None:
        """Count such a request, and log a warning at most once a minute. The address is not logged."""
        if not any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            return
        if _is_reverse_proxy(_plain((scope.get("client") or ("",))[0]), reverse_proxies):
            return
        UNBELIEVED.inc()
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            logger.warning(
                "forwarded.unbelieved",
                mend="set FANGXIAN_PROXY_NETWORKS to the network of your reverse proxy, "
                "otherwise all its clients count as one client",
            )


def _plain(client: str) -> str:
    """Convert an IPv4 address in IPv6 form (`::ffff:203.0.113.7`, from a dual-stack socket) to plain IPv4."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return client if mapped is None else str(mapped)


def _is_reverse_proxy(address: str, reverse_proxies: Networks) -> bool:
    try:
        return any(ip_address(address) in network for network in reverse_proxies)
    except ValueError:
        return False

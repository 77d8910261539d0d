"""Where calls to the outside may go: never to our own machines, whatever name leads there.

An address that somebody else gave us (a webhook's) is resolved by us, judged, and connected to as judged: a name that
resolves differently the second time is no way in. Private, loopback, link-local and metadata addresses are refused
unless an operator allows their network, as a city's intranet needs.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

KEPT_SECONDS = 30.0
MOST_KEPT = 1_000

_NAT64 = IPv6Network("64:ff9b::/96")


class AddressForbiddenError(httpx.TransportError):
    """A host has no address that may be called."""


def innermost(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def may_be_called(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether an address is public, or lies in a network that an operator allows."""
    inner = innermost(address)
    if any(inner in network or address in network for network in allowed):
        return True
    tunnelled = isinstance(address, IPv6Address) and address.teredo is not None
    return inner.is_global and not inner.is_multicast and not tunnelled


def literal(host: str) -> Address | None:
    """The address that a host of a URL says itself, also in the odd forms that `inet_aton` reads; None for a name."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 2130706433
    except OSError:
        return None


@dataclass
class Judge:
    """Resolves names, and says which address to call. What was judged is kept for half a minute."""

    allowed: Sequence[Network] = ()
    _kept: dict[tuple[str, int], tuple[Address, float]] = field(default_factory=dict)

    async def address_of(self, host: str, port: int) -> Address:
        """An address of the host that may be called. Raises `AddressForbiddenError`, or OSError if there is none."""
        given = literal(host)
        if given is not None:
            return self._judged([given])
        address, until = self._kept.get((host, port), (None, 0.0))
        if address is None or time.monotonic() > until:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            address = self._judged([ip_address(str(place[0]).partition("%")[0]) for *_, place in found])
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[host, port] = (address, time.monotonic() + KEPT_SECONDS)
        return address

    def _judged(self, addresses: Sequence[Address]) -> Address:
        """The first, if all may be called: a name that leads to one of ours as well is no honest one."""
        if not addresses or not all(may_be_called(address, self.allowed) for address in addresses):
            raise AddressForbiddenError("address_forbidden")
        return addresses[0]


class JudgedTransport(httpx.AsyncHTTPTransport):
    """Connects to the very address that was judged; the certificate is still checked against the name."""

    def __init__(self, judge: Judge, tls: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=tls, limits=limits, trust_env=False)
        self._judge = judge

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Its Host header was made from the name."""
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await self._judge.address_of(url.host, port)
        request.extensions = {**request.extensions, "sni_hostname": url.host}
        request.url = url.copy_with(host=str(address))
        return await super().handle_async_request(request)

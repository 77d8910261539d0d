"""Protection against server-side request forgery: outgoing calls never reach internal machines.

A host from outside (for example of a webhook) is resolved and checked, and the connection goes to the checked address.
A name that resolves differently the second time (DNS rebinding) therefore has no effect. Private, loopback, link-local
and metadata addresses are refused unless an operator allows their network, as a city's intranet requires.
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
    """The host has no address that may be called."""


def innermost(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 address (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def may_be_called(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether an address is public, or in a network that an operator allows."""
    inner = innermost(address)
    if any(inner in network or address in network for network in allowed):
        return True
    tunnelled = isinstance(address, IPv6Address) and address.teredo is not None
    return inner.is_global and not inner.is_multicast and not tunnelled


def literal(host: str) -> Address | None:
    """Parse the host of a URL as an address, also in the forms that `inet_aton` accepts; None for a name."""
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
    """Resolves names and chooses an allowed address. A result is cached for half a minute."""

    allowed: Sequence[Network] = ()
    _kept: dict[tuple[str, int], tuple[Address, float]] = field(default_factory=dict)

    async def address_of(self, host: str, port: int) -> Address:
        """Return an allowed address of the host. Raises `AddressForbiddenError`, or OSError if there is no address."""
        direct = literal(host)
        if direct is not None:
            return self._judged([direct])
        address, until = self._kept.get((host, port), (None, 0.0))
        if address is None or time.monotonic() > until:
            results = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            address = self._judged([ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in results])
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[host, port] = (address, time.monotonic() + KEPT_SECONDS)
        return address

    def _judged(self, addresses: Sequence[Address]) -> Address:
        """Return the first address if all are allowed. A name with one internal address is refused completely."""
        if not addresses or not all(may_be_called(address, self.allowed) for address in addresses):
            raise AddressForbiddenError("address_forbidden")
        return addresses[0]


class JudgedTransport(httpx.AsyncHTTPTransport):
    """Connects to exactly the address that was checked. The certificate is still verified against the name."""

    def __init__(self, judge: Judge, tls: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=tls, limits=limits, trust_env=False)
        self._judge = judge

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Its Host header already contains the name."""
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await self._judge.address_of(url.host, port)
        request.extensions = {**request.extensions, "sni_hostname": url.host}
        request.url = url.copy_with(host=str(address))
        return await super().handle_async_request(request)

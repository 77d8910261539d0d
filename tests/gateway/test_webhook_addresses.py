"""G7: webhooks go to no machine of our own, whatever name, form or answer leads there."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.gateway.webhooks.events import client_of, send
from services.gateway.webhooks.rules import AttemptResult
from shared.core.actors import Role
from shared.http.addresses import AddressForbiddenError, Judge, literal, may_be_called
from tests.harness import District

NAME = "hooks.example.cn"
EVENT = ("e/1", "{}")
SECRET = "whsec_" + "A" * 32
LOOPBACK = ip_network("127.0.0.0/8")

OURS = [
    "127.0.0.1",
    "127.9.9.9",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2001:0:7f00:1::",
]


@pytest.mark.parametrize("address", OURS)
def test_no_address_of_ours_is_called(address: str) -> None:
    assert not may_be_called(ip_address(address), [])


@pytest.mark.parametrize("address", ["1.2.4.8", "240e::1", "::ffff:1.2.4.8", "64:ff9b::102:408"])
def test_public_addresses_are(address: str) -> None:
    assert may_be_called(ip_address(address), [])


def test_an_operator_allows_a_network_and_no_more() -> None:
    allowed = [ip_network("10.20.0.0/16")]
    assert may_be_called(ip_address("10.20.3.4"), allowed)
    assert may_be_called(ip_address("::ffff:10.20.3.4"), allowed)
    assert not may_be_called(ip_address("10.21.0.1"), allowed)


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "017700000001", "[::1]", "::1", "fe80::1%eth0"])
def test_odd_ways_to_write_an_address_are_seen_through(host: str) -> None:
    address = literal(host)
    assert address is not None
    assert not may_be_called(address, [])


def test_a_name_is_no_address() -> None:
    assert literal(NAME) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://10.0.0.1/hook",
        "https://[::1]:8001/",
        "http://0xa9fea9fe/",
    ],
)
async def test_an_address_of_ours_is_refused_when_it_is_registered(district: District, url: str) -> None:
    async with district.caller("gateway", Role.COMMAND) as command:
        body = {"url": url, "types": ["registry.region.v1"], "region": "350582005"}
        answer = await command.post("/gateway/v1/webhooks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_address_forbidden")
    assert answer.json()["errors"][0]["pointer"] == "#/url"


def answers_of_dns(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names resolve to these, one answer after the other, the last for ever; what was asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *given: object, **named: object) -> object:
        if host != NAME:
            return real(host, port, *given, **named)  # type: ignore[arg-type]
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize("found", [["127.0.0.1"], ["1.2.4.8", "127.0.0.1"], ["169.254.169.254"], []])
async def test_a_name_that_leads_to_us_is_not_called(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    answers_of_dns(monkeypatch, found)
    async with client_of(ssl.create_default_context(), Judge()) as client:
        outcome = await send(client, f"http://{NAME}/", [SECRET], *EVENT)
    assert (outcome.kind, outcome.error) == (AttemptResult.UNAVAILABLE, "address_forbidden")


@asynccontextmanager
async def listening(
    address: str, tls: ssl.SSLContext | None = None, answer: str = "204 X"
) -> AsyncIterator[tuple[int, list[str]]]:
    """A server at an address, and the Host headers it was asked with."""
    hosts: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        hosts.append(next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: ")))
        writer.write(f"HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, address, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], hosts
    finally:
        server.close()


async def test_a_name_that_resolves_differently_the_second_time_is_no_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers_of_dns(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    judge = Judge([ip_network("127.0.0.2/32")])
    async with listening("127.0.0.2") as (port, hosts), client_of(ssl.create_default_context(), judge) as client:
        outcomes = [await send(client, f"http://{NAME}:{port}/", [SECRET], *EVENT) for _ in range(3)]
        assert [outcome.kind for outcome in outcomes] == [AttemptResult.DELIVERED] * 3
        assert (asked, hosts) == ([NAME], [f"{NAME}:{port}"] * 3)
        judge._kept.clear()
        outcome = await send(client, f"http://{NAME}:{port}/", [SECRET], *EVENT)
    assert (outcome.kind, outcome.error) == (AttemptResult.UNAVAILABLE, "address_forbidden")


async def test_the_name_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers_of_dns(monkeypatch, ["127.0.0.2"])
    judge = Judge([LOOPBACK])
    clock = 1_000.0
    monkeypatch.setattr("shared.http.addresses.time.monotonic", lambda: clock)
    for clock in (1_000.0, 1_029.0, 1_031.0):  # noqa: B007 - the patched clock reads it
        await judge.address_of(NAME, 80)
    assert len(asked) == 2


def certificate(name: str, directory: Path) -> Path:
    """A self-signed certificate for a name, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = directory / f"{name}.pem"
    private = key.private_bytes(kind, form, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(kind))
    return path


@pytest.mark.parametrize(
    ("shown", "kind"), [(NAME, AttemptResult.DELIVERED), ("evil.example.cn", AttemptResult.UNAVAILABLE)]
)
async def test_the_certificate_is_checked_against_the_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: str, kind: AttemptResult
) -> None:
    answers_of_dns(monkeypatch, ["127.0.0.1"])
    pem = certificate(shown, tmp_path)
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(pem)
    async with (
        listening("127.0.0.1", of_server) as (port, _),
        client_of(ssl.create_default_context(cafile=str(pem)), Judge([LOOPBACK])) as client,
    ):
        outcome = await send(client, f"https://{NAME}:{port}/", [SECRET], *EVENT)
    assert outcome.kind is kind


async def test_a_redirect_is_not_followed() -> None:
    elsewhere = "302 X\r\nlocation: http://169.254.169.254/"
    async with (
        listening("127.0.0.1", answer=elsewhere) as (port, _),
        client_of(ssl.create_default_context(), Judge([LOOPBACK])) as client,
    ):
        outcome = await send(client, f"http://127.0.0.1:{port}/", [SECRET], *EVENT)
    assert (outcome.kind, outcome.status) == (AttemptResult.REFUSED, 302)


async def test_what_is_forbidden_is_an_error_of_the_transport() -> None:
    with pytest.raises(AddressForbiddenError):
        await Judge().address_of("127.1", 80)
    assert issubclass(AddressForbiddenError, httpx.TransportError)

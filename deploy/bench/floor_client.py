"""The floor for webhooks: a plain loop of the same HTTP client. `python -m deploy.bench.floor_client URL COUNT BYTES`.

Prints the seconds for COUNT POSTs with a body of BYTES, one after the other over one connection.
"""

import ssl
import sys
import time
from ipaddress import ip_network

import uvloop

from services.gateway.webhooks.events import HEADERS, client_of
from shared.http.addresses import Judge

WARM = 100


async def post_all(url: str, count: int, size: int) -> float:
    """Return the seconds for `count` POSTs."""
    body = b"x" * size
    async with client_of(ssl.create_default_context(), Judge([ip_network("127.0.0.0/8")])) as client:
        for _ in range(WARM):
            await client.post(url, content=body, headers=HEADERS)
        began = time.perf_counter()
        for _ in range(count):
            (await client.post(url, content=body, headers=HEADERS)).raise_for_status()
        return time.perf_counter() - began


if __name__ == "__main__":
    print(uvloop.run(post_all(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))

"""Whether the gateway knows the reverse proxies in front of it, by its own figures. For `fangxian doctor`."""

import http.client
import re

FIGURE = re.compile(r"^fangxian_forwarded_unbelieved_total ([0-9.e+]+)$", re.MULTILINE)
SECONDS = 20.0
"""How long the answer may take: the figures are measured when they are asked for."""
MEND = (
    "set FANGXIAN_PROXY_NETWORKS to the network of your reverse proxy, as in '[\"127.0.0.1/32\"]' for one on this "
    "machine, and start again: until then all clients behind it count as one"
)


def unbelieved(port: int) -> int | None:
    """How many requests came with an X-Forwarded-For that the gateway did not believe, since it started.

    `port` is that of any service behind the gateway, on the loopback; None if it does not tell.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/metrics/gateway")
        found = FIGURE.search(connection.getresponse().read().decode())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return int(float(found[1])) if found else None


def finding(port: int) -> tuple[str, bool, str, str]:
    """What, whether it is well, what was found, and how to mend it."""
    count = unbelieved(port)
    if count is None:
        return "reverse proxy", True, "the gateway does not say", ""
    found = (
        f"{count} requests came from a reverse proxy that FANGXIAN_PROXY_NETWORKS does not name"
        if count
        else "known, or not used"
    )
    return "reverse proxy", not count, found, MEND

"""Whether the gateway knows the reverse proxies in front of it. `fangxian doctor` reads this from its metrics."""

import http.client
import re

FIGURE = re.compile(r"^fangxian_forwarded_unbelieved_total ([0-9.e+]+)$", re.MULTILINE)
SECONDS = 20.0
"""Timeout of the request. It is long because the metrics are measured during the request."""
REMEDY = (
    "set FANGXIAN_PROXY_NETWORKS to the network of your reverse proxy, as in '[\"127.0.0.1/32\"]' for one on this "
    "machine, and restart: until then all clients behind it count as one"
)


def unbelieved(port: int) -> int | None:
    """Count the requests since the start of the gateway whose X-Forwarded-For it did not trust.

    `port` is the port of any service behind the gateway, on the loopback. Returns None if the service does not answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/metrics/gateway")
        match = FIGURE.search(connection.getresponse().read().decode())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return int(float(match[1])) if match else None


def finding(port: int) -> tuple[str, bool, str, str]:
    """Return the values of a `Finding`: name, whether it is ok, result and remedy."""
    count = unbelieved(port)
    if count is None:
        return "reverse proxy", True, "unknown: the metrics of the gateway cannot be read", ""
    result = (
        f"{count} requests came from a reverse proxy that FANGXIAN_PROXY_NETWORKS does not name"
        if count
        else "known, or not used"
    )
    return "reverse proxy", not count, result, REMEDY

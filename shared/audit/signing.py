"""Sign heads with the key of the service."""

import base64
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.audit.canonical import canonical
from shared.crypto.tokens import Signer


def key_of(signer: Signer) -> str:
    """Return the id of the service's signing key."""
    return str(signer.own.kid or signer.service)


def signed(signer: Signer, head: dict[str, Any]) -> dict[str, Any]:
    """Return a head with its signature added."""
    key = cast("Ed25519PrivateKey", signer.own.get_op_key("sign"))
    signature = base64.urlsafe_b64encode(key.sign(canonical(head))).rstrip(b"=").decode()
    return {**head, "signature": signature}

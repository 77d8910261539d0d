"""The signature of a head, by the key of the service whose day it ends."""

import base64
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.audit.canonical import canonical
from shared.tokens import Signer


def key_of(signer: Signer) -> str:
    """The id of the key a service signs with."""
    return str(signer.own.kid or signer.service)


def signed(signer: Signer, head: dict[str, Any]) -> dict[str, Any]:
    """A head with its signature."""
    key = cast("Ed25519PrivateKey", signer.own.get_op_key("sign"))
    signature = base64.urlsafe_b64encode(key.sign(canonical(head))).rstrip(b"=").decode()
    return {**head, "signature": signature}

"""Routes of code tokens: the QR code, and the keys that verify it offline (G3)."""

import io
from collections.abc import Sequence
from importlib import resources

import segno
from fastapi import Request, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as PlainRoute

from services.gateway.accounts.binding import NotBound
from services.gateway.edge.published import published
from services.gateway.tokens.current_code import CurrentCodes, Dependant, person_of, token_of
from services.gateway.tokens.keys import Keys
from shared.core import clock
from shared.core.actors import Role
from shared.http.limits import check_accept
from shared.http.router import Caller, Router
from shared.problems import NotAcceptable, NotFound

WELL_KNOWN = "/.well-known/fangxian-code-keys.json"
HOUR_SECONDS = 3600
VECTORS = "/.well-known/fangxian-code-vectors.json"
HOUR = {"cache-control": f"public, max-age={HOUR_SECONDS}"}


PICTURE = {
    "responses": {"200": {"content": {"image/svg+xml": {"example": '<svg xmlns="http://www.w3.org/2000/svg">…</svg>'}}}}
}


class Svg(Response):
    """A response with an SVG image."""

    media_type = "image/svg+xml"


def picture(codes: CurrentCodes, keys: Keys) -> Router:
    """Return the route that draws the QR code."""
    router = Router(prefix="/gateway/v1/code.svg", tags=["codes"])

    @router.get("", role=Role.RESIDENT, raises=[NotBound, NotFound, NotAcceptable], response_class=Svg, extra=PICTURE)
    async def draw_own_code(request: Request, caller: Caller, resident_id: Dependant = None) -> Svg:
        """Draw the QR code of your own code or of a dependant's code for this minute, as SVG."""
        check_accept(request, ("image/svg+xml",))
        code, _ = await codes.ask(person_of(caller, resident_id))
        return Svg(_drawn(token_of(code, keys.current, clock.now(), caller)))

    return router


def well_known(keys: Keys) -> Sequence[BaseRoute]:
    """Return the routes of the public keys, for devices that verify codes offline, and of test vectors for them.

    A new key is published before it signs.
    """

    async def code_keys(_: Request) -> Response:
        return published({"format": "FX1", "keys": keys.public}, HOUR_SECONDS)

    vectors = resources.files(__package__).joinpath("vectors.json").read_bytes()

    async def code_vectors(_: Request) -> Response:
        return Response(vectors, media_type="application/json", headers=HOUR)

    return [PlainRoute(WELL_KNOWN, code_keys, methods=["GET"]), PlainRoute(VECTORS, code_vectors, methods=["GET"])]


def _drawn(token: str) -> bytes:
    """Draw a QR code with error correction L, or a higher level if the symbol does not become larger."""
    out = io.BytesIO()
    segno.make_qr(token, error="l", boost_error=True).save(out, kind="svg", border=4, scale=4, xmldecl=False)
    return out.getvalue()

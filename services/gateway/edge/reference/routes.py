"""Public routes under `/docs`: the reference, the guides and the problem codes.

A page is rendered on the first request, and again when the document of a service changes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.gateway.edge.documents import Documents
from services.gateway.edge.reference import guides, operations
from services.gateway.edge.reference.frame import POLICY, Frame
from shared.http.limits import check_accept
from shared.http.prepared import Once
from shared.problems import Language, NoSuchPath, Unavailable, language_of

HTML = "text/html; charset=utf-8"
HEADERS = {
    "cache-control": "public, max-age=60",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "vary": "accept-language",
}

Make = Callable[[Mapping[str, Any], Frame], bytes]


class Reference:
    """The pages of one process."""

    def __init__(self, documents: Callable[[Request], Documents]) -> None:
        self.documents = documents
        self.pages: dict[tuple[str, Language], Once] = {}

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [
            Route("/docs", self.index, methods=["GET"]),
            Route("/docs/problems", self.problems, methods=["GET"]),
            Route("/docs/api/{tag}", self.tag, methods=["GET"]),
            Route("/docs/{name}", self.guide, methods=["GET"]),
        ]

    async def index(self, request: Request) -> Response:
        """Show the guides, and one line for each operation."""
        listed = list(guides.guides().values())
        return await self._page(request, lambda document, frame: operations.index(document, listed, frame))

    async def tag(self, request: Request) -> Response:
        """Show the operations of one tag."""
        document = await self.documents(request).openapi()
        tags = {operations.path_of(tag["name"]): tag["name"] for tag in document["tags"]}
        tag = tags.get(f"/docs/api/{request.path_params['tag']}")
        if tag is None:
            # Its service may still be starting.
            raise NoSuchPath() if self.documents(request).is_whole else Unavailable()
        return await self._page(request, lambda document, frame: operations.tag_page(document, tag, frame))

    async def guide(self, request: Request) -> Response:
        """Show one guide of the repository."""
        guide = guides.guides().get(request.path_params["name"])
        if guide is None:
            raise NoSuchPath()

        def make(_: Mapping[str, Any], frame: Frame) -> bytes:
            return frame.page(guide.path, guide.title, ['<article lang="en">', guides.rendered(guide), "</article>"])

        return await self._page(request, make)

    async def problems(self, request: Request) -> Response:
        """Show all problem codes with what to do."""
        documents = self.documents(request)
        problems = await documents.problems(language_of(request.headers.get("accept-language")))
        return await self._page(request, lambda _, frame: operations.problems_page(problems, frame))

    async def _page(self, request: Request, make: Make) -> Response:
        check_accept(request, ["text/html"])
        document = await self.documents(request).openapi()
        language = language_of(request.headers.get("accept-language"))
        frame = Frame(language, guides.entries(), operations.tag_entries(document))
        page = self.pages.setdefault((request.url.path, language), Once())
        made = page.of(document, lambda merged: make(merged, frame), HTML)
        kept = {} if self.documents(request).is_whole else {"cache-control": "no-store"}
        return made.answer(request, {**HEADERS, "content-language": language, **kept})

"""Renders the guides of the repository (`docs/*.md` and the `*.md` beside README) as HTML. Wheels contain them."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from services.gateway.edge.reference.frame import Entry

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

PACKAGED = Path(__file__).parent / "markdown"
"""The directory of the guides in a wheel: `setup.py` copies them there."""

REPOSITORY = Path(__file__).parents[4]

FIRST = ("README", "docs/first-day", "docs/running", "docs/integrating")
"""The first guides in the menu. The others follow in the order of their titles."""


@dataclass(frozen=True)
class Guide:
    """One guide. `source` is its file, relative to the root of the repository."""

    source: str
    title: str
    text: str

    @property
    def path(self) -> str:
        """The URL path of the guide."""
        return f"/docs/{Path(self.source).stem}"


@cache
def guides() -> Mapping[str, Guide]:
    """Return all guides by the last part of their path."""
    root = PACKAGED if PACKAGED.is_dir() else REPOSITORY
    files = [*root.glob("*.md"), *(root / "docs").glob("*.md")]
    loaded = [_guide(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")) for file in files]
    return {Path(guide.source).stem: guide for guide in sorted(loaded, key=_sort_key)}


def entries() -> Sequence[Entry]:
    """Return the menu entries of the guides."""
    return [Entry(guide.path, guide.title) for guide in guides().values()]


def rendered(guide: Guide) -> str:
    """Render a guide as HTML. Links point to the pages served here; a link to a source file becomes plain text."""
    markdown = renderer()
    tokens = markdown.parse(guide.text)
    _number_headings(tokens)
    pages = {other.source: other.path for other in guides().values()}
    for token in tokens:
        if token.children:
            _rewrite_links(token.children, posixpath.dirname(guide.source), pages)
    html = str(markdown.renderer.render(tokens, markdown.options, {}))
    return html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")


@cache
def renderer() -> "MarkdownIt":
    """Return a Markdown renderer without HTML. Imported on first use, because most processes never serve a page."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _guide(source: str, text: str) -> Guide:
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    return Guide(source, heading[1].replace("`", "") if heading else Path(source).stem, text)


def _sort_key(guide: Guide) -> tuple[int, str]:
    name = guide.source.removesuffix(".md")
    return (FIRST.index(name) if name in FIRST else len(FIRST), guide.title.lower())


def _number_headings(tokens: Sequence["Token"]) -> None:
    taken: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            name = anchor("".join(part.content for part in inline.children or ()))
            seen = taken[name] = taken.get(name, -1) + 1
            opening.attrSet("id", f"{name}-{seen}" if seen else name)


def _rewrite_links(tokens: list["Token"], directory: str, pages: Mapping[str, str]) -> None:
    """Let links point to the served pages, and remove links without such a page."""
    dropped = False
    for token in tokens:
        if token.type == "link_open":
            to = _target(str(token.attrGet("href") or ""), directory, pages)
            dropped = to is None
            if to is not None:
                token.attrSet("href", to)
        if dropped and token.type in ("link_open", "link_close"):
            dropped = token.type == "link_open"
            token.type, token.tag, token.nesting, token.content = "text", "", 0, ""


def _target(href: str, directory: str, pages: Mapping[str, str]) -> str | None:
    if re.match(r"[a-z]+:|#|/", href):
        return href
    file, _, fragment = href.partition("#")
    page = pages.get(posixpath.normpath(posixpath.join(directory, file)))
    return page and f"{page}#{fragment}" if fragment else page

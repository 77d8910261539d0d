"""The layout of all pages under `/docs`. They load no files and run no scripts, so they work without a network."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from string import Template

from shared.problems import Language, LocalizedText

STYLE = """
:root { --ink: #1b1f24; --pale: #57606a; --line: #d8dee4; --ground: #f6f8fa; --link: #0b5394; }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; font: 1rem/1.6 system-ui, "Noto Sans CJK SC", sans-serif; color: var(--ink); background: #fff; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
:focus-visible { outline: 3px solid #b45f06; outline-offset: 2px; }
.top { display: flex; gap: .4rem 1.2rem; flex-wrap: wrap; align-items: baseline; padding: .7rem 1.2rem;
       border-bottom: 1px solid var(--line); background: var(--ground); }
.top strong { font-size: 1.1rem; }
.sheet { display: block; padding: 0 1.2rem 4rem; max-width: 84rem; margin: 0 auto; }
.side { display: none; }
.menu { margin: 1rem 0; border: 1px solid var(--line); border-radius: .4rem; padding: .4rem .8rem; }
.menu summary { font-weight: 600; cursor: pointer; }
nav h2 { font-size: .8rem; margin: 1.2rem 0 .3rem; color: var(--pale); letter-spacing: .04em; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li { margin: .15rem 0; }
nav [aria-current] { font-weight: 700; color: var(--ink); }
h1 { font-size: 1.8rem; line-height: 1.25; margin: 1.4rem 0 .6rem; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; line-height: 1.35; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
h4 { font-size: .95rem; margin: 1.2rem 0 .3rem; color: var(--pale); }
main { min-width: 0; overflow-wrap: break-word; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .875em; }
code { background: var(--ground); border-radius: .25rem; padding: .1em .3em; overflow-wrap: anywhere; }
pre { background: var(--ground); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem;
      overflow-x: auto; line-height: 1.45; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
th { color: var(--pale); font-weight: 600; }
td:first-child code { white-space: nowrap; }
td p { margin: 0 0 .3rem; }
.operation { border: 1px solid var(--line); border-radius: .5rem; margin: 1.6rem 0; padding: 0 1.1rem 1rem; }
.operation > h2 { margin: 1rem -1.1rem 1rem; padding: 0 1.1rem 1rem; border-bottom: 1px solid var(--line);
                  font-size: 1.15rem; }
.address { display: block; margin-top: .4rem; font-size: 1rem; font-weight: 400; }
.address code { background: none; padding: 0; }
.verb { display: inline-block; min-width: 4.2rem; text-align: center; padding: .05rem .5rem; margin-right: .5rem;
        border-radius: .3rem; font: 700 .75rem/1.6 ui-monospace, monospace; color: #fff; background: #57606a; }
.get { background: #0b5394; } .post { background: #1a7f37; } .patch, .put { background: #9a6700; }
.delete { background: #b00020; }
.list { list-style: none; padding: 0; }
.list li { margin: .35rem 0; padding-left: 4.9rem; text-indent: -4.9rem; }
.list .verb, .list a, .list code { text-indent: 0; }
.kind { color: var(--pale); font-size: .9em; }
.must { color: #b00020; font-size: .8em; white-space: nowrap; }
.fields { list-style: none; margin: .4rem 0; padding: 0; }
.fields .fields { padding-left: 1rem; border-left: 3px solid var(--line); }
.fields > li { padding: .4rem 0; border-top: 1px solid var(--line); }
.fields > li:first-child { border-top: 0; }
.fields p { margin: .1rem 0; }
details > summary { cursor: pointer; color: var(--link); }
blockquote { margin: 1rem 0; padding: 0 1rem; border-left: .3rem solid var(--line); color: var(--pale); }
@media (min-width: 62rem) {
  .sheet { display: grid; grid-template-columns: 15rem minmax(0, 1fr); gap: 2.5rem; }
  .menu { display: none; }
  .side { display: block; position: sticky; top: 0; max-height: 100vh; overflow-y: auto; padding: .4rem 0 2rem; }
}
@media print { .top, .side, .menu { display: none; } }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)

PAGE = Template("""<!doctype html>
<html lang="$language">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title · 防线 Fangxian</title>
<style>$style</style>
</head>
<body>
<header class="top"><strong><a href="/docs">$name</a></strong><a href="/">$home</a>
<a href="/openapi.json">OpenAPI</a><a href="/asyncapi.json">AsyncAPI</a></header>
<div class="sheet">
<div class="side"><nav aria-label="$contents">$menu</nav></div>
<details class="menu"><summary>$contents</summary><nav>$menu</nav></details>
<main>
$body
</main>
</div>
</body>
</html>
""")

T = LocalizedText
NAME = T(zh="防线接口文档", en="Fangxian documentation")
HOME = T(zh="首页", en="Home")
CONTENTS = T(zh="目录", en="Contents")
GUIDES = T(zh="指南（英文）", en="Guides")
REFERENCE = T(zh="接口", en="Operations")
PROBLEMS = T(zh="问题代码", en="Problem codes")


@dataclass(frozen=True)
class Entry:
    """An entry of the menu."""

    path: str
    words: str


@dataclass(frozen=True)
class Frame:
    """The menu around a page, in one language."""

    language: Language
    guides: Sequence[Entry]
    tags: Sequence[Entry]

    def render(self, what: LocalizedText, **values: object) -> str:
        """Return an escaped text in the language of the page."""
        return escape(what.render(self.language, values))

    def page(self, path: str, title: str, body: Iterable[str]) -> bytes:
        """Return a whole HTML page."""
        return PAGE.substitute(
            language=self.language,
            title=escape(title),
            style=STYLE,
            name=self.render(NAME),
            home=self.render(HOME),
            contents=self.render(CONTENTS),
            menu=self._menu(path),
            body="\n".join(body),
        ).encode()

    def _menu(self, path: str) -> str:
        groups = [
            (GUIDES, self.guides),
            (REFERENCE, [*self.tags, Entry("/docs/problems", PROBLEMS.render(self.language))]),
        ]
        return "".join(
            f"<h2>{self.render(title)}</h2><ul>{''.join(_item(entry, path) for entry in entries)}</ul>"
            for title, entries in groups
            if entries
        )


def _item(entry: Entry, path: str) -> str:
    here = ' aria-current="page"' if entry.path == path else ""
    return f'<li><a href="{escape(entry.path)}"{here}>{escape(entry.words)}</a></li>'

"""Renders the sign-in pages in Chinese and English, without scripts, for keyboard and screen reader.

All values are escaped. The content security policy allows only the style sheet below.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from string import Template

import segno
from starlette.responses import HTMLResponse

from services.gateway.issuer.messages import FAULTS, QR, duration
from shared.problems import Language, LocalizedText

STYLE = """
body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 26rem; margin: 2rem auto; padding: 0 1rem; color: #111;
       background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin-bottom: .4rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 0; }
label, legend { display: block; margin-top: 1rem; font-weight: 600; }
input:not([type=radio]) { width: 100%; box-sizing: border-box; font: inherit; padding: .6rem; border: 2px solid #555;
       border-radius: .3rem; background: #fff; color: #111; }
input[readonly] { background: #eee; border-color: #999; }
input[aria-invalid] { border-color: #b00020; }
.hint { display: block; margin: .2rem 0 .3rem; font-size: .9rem; color: #444; }
button { font: inherit; margin-top: 1.2rem; padding: .7rem 1.4rem; border: 0; border-radius: .3rem;
       background: #0b5394; color: #fff; }
button.plain { background: #fff; color: #0b5394; border: 2px solid #0b5394; }
a { color: #0b5394; }
:focus-visible { outline: 3px solid #b45f06; outline-offset: 2px; }
.fault { border-left: .4rem solid #b00020; padding: .4rem .8rem; background: #fdecee; margin: 1rem 0 0; }
.notice { border-left: .4rem solid #b45f06; padding: .4rem .8rem; background: #fff6e5; }
fieldset { border: 0; padding: 0; margin: 0; }
fieldset label { font-weight: 400; display: flex; gap: .7rem; align-items: baseline; padding: .7rem;
       border: 2px solid #bbb; border-radius: .3rem; margin-top: .7rem; }
fieldset label:has(input:checked) { border-color: #0b5394; background: #eef5fb; }
code, ol li { font-family: ui-monospace, monospace; }
svg { width: 12rem; height: 12rem; }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

PAGE = Template("""<!doctype html>
<html lang="$language">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>$prefix$title · 防线 Fangxian</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$fault
$body
</main>
</body>
</html>
""")


@dataclass(frozen=True)
class Fault:
    """A fault of a posted form. `act` is the form that shows it."""

    code: str
    act: str = ""
    wait: int = 0


@dataclass(frozen=True)
class Pages:
    """The pages in one language."""

    language: Language

    def render(self, what: LocalizedText, **values: object) -> str:
        """Return an escaped text in the language of the page."""
        return escape(what.render(self.language, values))

    def page(
        self,
        title: LocalizedText,
        body: Iterable[str],
        *,
        fault: str = "",
        is_marked: bool = False,
        status: int = 200,
        goes_to: str = "",
    ) -> HTMLResponse:
        """Return a whole page.

        `goes_to` is another origin to which a form may redirect. `is_marked` means that a form shows a fault.
        """
        html = PAGE.substitute(
            language=self.language,
            prefix="⚠ " if fault or is_marked else "",
            title=self.render(title),
            style=STYLE,
            fault=self.fault(Fault(fault)) if fault else "",
            body="\n".join(body),
        )
        return HTMLResponse(html, status, headers(self.language, goes_to))

    def fault(self, fault: Fault, id_: str = "") -> str:
        """Render a fault as an alert, which screen readers read at once."""
        text = FAULTS[fault.code]
        words = self.render(text, wait=duration(fault.wait)) if text.names else self.render(text)
        attribute = f' id="{id_}"' if id_ else ""
        return f'<p class="fault" role="alert"{attribute}>{words}</p>'

    def form(
        self,
        act: str,
        fields: Iterable[str],
        button: LocalizedText,
        token: str,
        *,
        plain: bool = False,
        fault: Fault | None = None,
    ) -> str:
        """Render a form that posts to its own page, with the fault of this act if any."""
        kind = ' class="plain"' if plain else ""
        hidden = f'<input type="hidden" name="token" value="{escape(token)}">' + (
            f'<input type="hidden" name="act" value="{escape(act)}">'
        )
        alert = self.fault(fault) if fault is not None and fault.act == act else ""
        inside = "\n".join(fields)
        return f'<form method="post">{hidden}{alert}\n{inside}\n<button{kind}>{self.render(button)}</button></form>'

    def refusal(self, name: str, value: str, button: LocalizedText, token: str) -> str:
        """Render a form with one button that refuses what another form accepts."""
        return self.form(
            "refuse", [f'<input type="hidden" name="{name}" value="{escape(value)}">'], button, token, plain=True
        )

    def field(
        self,
        name: str,
        label: LocalizedText,
        complete: str,
        kind: str = "text",
        more: str = "",
        *,
        value: str = "",
        hint: LocalizedText | None = None,
        fault: str = "",
    ) -> str:
        """Render a labelled field with its hint, its previous value and its fault."""
        described = [f"{name}-hint"] * (hint is not None) + [f"{name}-fault"] * bool(fault)
        marks = f' aria-describedby="{" ".join(described)}"' if described else ""
        marks += ' aria-invalid="true" autofocus' if fault else ""
        return (
            f'<label for="{name}">{self.render(label)}</label>'
            + (f'<span class="hint" id="{name}-hint">{self.render(hint)}</span>' if hint is not None else "")
            + f'<input id="{name}" name="{name}" type="{kind}" autocomplete="{complete}" required maxlength="200"'
            f' value="{escape(value)}"{marks} {more}>' + (self.fault(Fault(fault), f"{name}-fault") if fault else "")
        )

    def options(self, name: str, label: LocalizedText, options: Sequence[tuple[str, str]]) -> str:
        """Render a choice of one option."""
        rows = "".join(
            f'<label><input type="radio" name="{name}" value="{escape(value)}" required> '
            f"<span>{escape(words)}</span></label>"
            for value, words in options
        )
        return f"<fieldset><legend>{self.render(label)}</legend>{rows}</fieldset>"

    def link(self, words: str, to: str) -> str:
        """Render a link, or plain text if `to` is empty."""
        return f'<a href="{escape(to)}">{escape(words)}</a>' if to else escape(words)

    def picture(self, text: str) -> str:
        """Render a QR code with a label for screen readers."""
        out = io.BytesIO()
        segno.make(text, error="m").save(out, kind="svg", xmldecl=False, svgns=False, scale=4, omitsize=True)
        return f'<div role="img" aria-label="{self.render(QR)}">{out.getvalue().decode()}</div>'


DIGITS_ONLY = 'inputmode="numeric" spellcheck="false"'
NO_CASE = 'autocapitalize="none" spellcheck="false"'
CAPITALS = 'autocapitalize="characters" spellcheck="false"'


def headers(language: Language, goes_to: str = "") -> dict[str, str]:
    """Return the headers of every page."""
    return {
        "content-security-policy": (
            f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self' {goes_to}".rstrip()
            + "; frame-ancestors 'none'; base-uri 'none'"
        ),
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "content-language": language,
        "vary": "accept-language",
        "cache-control": "no-store",
    }

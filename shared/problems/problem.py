"""How a problem is declared, raised and rendered (RFC 9457)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote

from shared.problems.localized_text import Language, LocalizedText, duration, sentences
from shared.problems.names import location_of, name_of

MEDIA_TYPE = "application/problem+json"

MAX_ERRORS = 100
"""Faults listed in one answer. The detail of the problem gives the number of further faults."""

MAX_STEP = 200
"""The longest step of a JSON Pointer, in characters, that an answer repeats."""

_REPEATABLE = re.compile(r"(?!.*[0-9]{8})[\x20-\x7e]*")

_CODE = re.compile(r"[a-z][a-z0-9_]{0,62}")  # PostgreSQL keeps 63 bytes of a name


ParameterLocation = Literal["query", "path", "header", "cookie"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at` is a JSON Pointer (RFC 6901) into the body; otherwise `parameter` names the parameter."""

    code: str
    text: LocalizedText
    values: Mapping[str, object] = field(default_factory=dict)
    at: str | None = None
    parameter: str | None = None
    location: ParameterLocation | None = None

    @property
    def where(self) -> str:
        """The location for programs and logs: `#/items/3/phone`, or `limit`."""
        return fragment(self.at) if self.at is not None else self.parameter or ""

    def named(self, language: Language) -> str:
        """Return the location in words: `phone of item 4`."""
        if self.at is not None:
            return location_of(
                [step.replace("~1", "/").replace("~0", "~") for step in self.at.split("/")[1:]], language
            )
        return name_of(self.parameter, language) if self.parameter is not None else ""

    def sentence(self, language: Language) -> str:
        """Return what is wrong, and where, as a sentence for people."""
        named, text = self.named(language), self.text.render(language, self.values)
        if not named:
            return text
        return f"{named}：{text}" if language == "zh-CN" else f"{named[0].upper()}{named[1:]}: {text}"

    def render(self, language: Language) -> dict[str, Any]:
        """Return this fault as a member of `errors`."""
        if self.at is not None:
            location: dict[str, Any] = {"pointer": self.where}
        elif self.parameter is not None:
            location = {"parameter": self.parameter, "in": self.location}
        else:
            location = {}
        return {**location, "code": self.code, "detail": sentences(language, self.text.render(language, self.values))}


def shown(text: str) -> str:
    """Return a name from a caller if an answer may repeat it; otherwise an empty text."""
    return text if len(text) <= MAX_STEP and _REPEATABLE.fullmatch(text) else ""


def pointer(*steps: str | int) -> str:
    """Build a JSON Pointer from its steps: `pointer("items", 3, "a/b")` is `/items/3/a~1b`.

    The pointer stops before a step that is longer than `MAX_STEP` characters or may be a person's name or number. Keys
    come from the caller, and other systems log and show the answers.
    """
    at = ""
    for step in map(str, steps):
        if step and not shown(step):
            break
        at += "/" + step.replace("~", "~0").replace("/", "~1")
    return at


def fragment(at: str) -> str:
    """Return a JSON Pointer as a URI fragment (RFC 6901, section 6): `#/items/3/phone`."""
    return "#" + quote(at, safe="/~!$&'()*+,;=:@?", errors="replace")


class Invalid(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A fault that a schema validator raises: `raise Invalid("id_check_digit", LocalizedText(zh=…, en=…))`.

    A plain ValueError becomes "not allowed" only, because its message may repeat the value.
    """

    def __init__(self, code: str, text: LocalizedText, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.text = text
        self.values = values


class Problem(Exception):  # noqa: N818 - many are faults of the caller, not errors of the program
    """The reason why a request cannot be carried out, and what to do about it.

    A subclass with a `code` declares `status`, `title` (a constant text) and `fix` (what to do). The optional `what`
    replaces the title in the detail and may contain values. The caller sees the values, so they must not contain
    personal data of other people.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[LocalizedText]
    fix: ClassVar[LocalizedText]
    what: ClassVar[LocalizedText | None] = None
    headers: ClassVar[Mapping[str, str]] = {}
    """Headers of the answer. `{name}` is replaced by the value, as in texts."""
    retry_after: ClassVar[int | None] = None
    """Seconds to wait before retrying. In texts `{retry_after}` stands for them, with a unit."""
    to_residents: ClassVar[LocalizedText | None] = None
    """The whole detail for a resident, where the usual detail is written for staff."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            return
        if not _CODE.fullmatch(cls.code) or not all(hasattr(cls, name) for name in ("status", "title", "fix")):
            raise TypeError(f"{cls.__name__} needs a snake_case code, a status, a title and a fix")
        if cls.title.names:
            raise TypeError(f"the title of {cls.__name__} must not contain values; put them in `what`")
        other = registry.setdefault(cls.code, cls)
        if other is not cls:
            raise TypeError(
                f"{cls.__qualname__} and {other.__module__}.{other.__qualname__} have the same code {cls.code!r}"
            )

    def __init__(
        self, *, at: str | None = None, errors: Iterable[Fault] = (), retry_after: int | None = None, **values: object
    ) -> None:
        names = self.names()
        if names != values.keys():
            raise TypeError(f"{type(self).__name__} takes {sorted(names)}, got {sorted(values)}")
        super().__init__(self.code)
        self.wait = self.retry_after if retry_after is None else retry_after
        self.values = values if self.wait is None else values | {"retry_after": duration(self.wait)}
        self.errors: Sequence[Fault] = tuple(errors)
        if at is not None:
            self.errors = (Fault(self.code, self.what or self.title, values, at=at), *self.errors)

    @classmethod
    def names(cls) -> frozenset[str]:
        """Return the names of the values in its texts and headers, without `retry_after`."""
        in_headers = (LocalizedText(header, header).names for header in cls.headers.values())
        return cls.fix.names.union(cls.what.names if cls.what else (), *in_headers) - {"retry_after"}

    @classmethod
    def unspecified(cls) -> Self:
        """Build the problem without its values, for example from a violated constraint. Texts show an ellipsis."""
        values: dict[str, Any] = dict.fromkeys(cls.names(), "…")
        return cls(**values)

    @classmethod
    def type_uri(cls) -> str:
        """Return the stable `type`, which is also the path of its explanation: `/problems/tube_full`."""
        return f"/problems/{cls.code}"

    def detail(self, language: Language, *, is_resident: bool = False) -> str:
        """Return what is wrong, where, and what to do, in sentences. Only `errors` contains pointers."""
        if is_resident and self.to_residents is not None:
            return sentences(language, *self.to_residents.render(language, self.values).split("\n"))
        what = (self.what or self.title).render(language, self.values)
        return sentences(language, what + _locations(self.errors, language), self.fix.render(language, self.values))

    def body(self, language: Language, *, is_resident: bool = False) -> dict[str, Any]:
        """Return the body without the request id, as in the answer to one item of a batch."""
        members: dict[str, Any] = {
            "type": self.type_uri(),
            "title": self.title.render(language),
            "status": self.status,
            "detail": self.detail(language, is_resident=is_resident),
            "code": self.code,
        }
        if self.errors:
            members["errors"] = [fault.render(language) for fault in self.errors[:MAX_ERRORS]]
        if self.wait is not None:
            members["retry_after"] = self.wait
        return members

    def render(
        self, language: Language, request_id: str, *, is_resident: bool = False
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Return the status, headers and body of the answer."""
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Language": language,
            "Cache-Control": "no-store",
            "Vary": "Accept-Language",
        }
        for name, template in self.headers.items():
            headers[name] = template.format_map(self.values)
        if self.wait is not None:
            headers["Retry-After"] = str(self.wait)
        return self.status, headers, self.body(language, is_resident=is_resident) | {"request_id": request_id}


registry: dict[str, type[Problem]] = {}
"""Every declared problem, by its code."""


def _locations(faults: Sequence[Fault], language: Language) -> str:
    places = list(dict.fromkeys(named for fault in faults if (named := fault.named(language))))
    if not places:
        return ""
    shown = ("、" if language == "zh-CN" else ", ").join(places[:3])
    if language == "zh-CN":
        return f"（{shown}{f' 等 {len(places)} 处' if len(places) > 3 else ''}）"
    return f" ({shown}{f' and {len(places) - 3} more' if len(places) > 3 else ''})"


def for_constraint(name: str) -> type[Problem] | None:
    """Return the problem that a violated constraint stands for.

    On a partition PostgreSQL may use a longer name for the constraint (`visits_20250102_visit_taken`). In this case the
    longest code with status 409 or 422 that the name contains as whole words is the match.
    """
    if name in registry:
        return registry[name]
    inside = (
        code
        for code, problem in registry.items()
        if problem.status in (409, 422) and "_" in code and f"_{code}_" in f"_{name}_"
    )
    longest = max(inside, key=len, default=None)
    return registry[longest] if longest else None

"""How a problem is declared, raised and rendered (RFC 9457)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote

from shared.problems.names import name_of, place_of
from shared.problems.texts import Language, Text, duration, sentences

MEDIA_TYPE = "application/problem+json"

MAX_ERRORS = 100
"""Faults listed in one answer; a batch of thousands is told how many more there are."""

MAX_STEP = 200
"""Characters of one step in a JSON Pointer that are repeated to the caller."""

_REPEATABLE = re.compile(r"(?!.*[0-9]{8})[\x20-\x7e]*")

_CODE = re.compile(r"[a-z][a-z0-9_]{0,62}")  # PostgreSQL keeps 63 bytes of a name


Place = Literal["query", "path", "header", "cookie"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place: `at` a JSON Pointer (RFC 6901) into the body, or in a named parameter."""

    code: str
    text: Text
    values: Mapping[str, object] = field(default_factory=dict)
    at: str | None = None
    parameter: str | None = None
    place: Place | None = None

    @property
    def where(self) -> str:
        """The place as a person would look for it: `#/items/3/phone`, or `limit`."""
        return fragment(self.at) if self.at is not None else self.parameter or ""

    def named(self, language: Language) -> str:
        """The place in words: `phone of item 4`."""
        if self.at is not None:
            return place_of([step.replace("~1", "/").replace("~0", "~") for step in self.at.split("/")[1:]], language)
        return name_of(self.parameter, language) if self.parameter is not None else ""

    def sentence(self, language: Language) -> str:
        """What is wrong, and where, for a person."""
        named, text = self.named(language), self.text.say(language, self.values)
        if not named:
            return text
        return f"{named}：{text}" if language == "zh-CN" else f"{named[0].upper()}{named[1:]}: {text}"

    def render(self, language: Language) -> dict[str, Any]:
        """The member of `errors` that tells of it."""
        if self.at is not None:
            place: dict[str, Any] = {"pointer": self.where}
        elif self.parameter is not None:
            place = {"parameter": self.parameter, "in": self.place}
        else:
            place = {}
        return {**place, "code": self.code, "detail": sentences(language, self.text.say(language, self.values))}


def shown(text: str) -> str:
    """A name that came from a caller, if it may be repeated to others; else an empty text."""
    return text if len(text) <= MAX_STEP and _REPEATABLE.fullmatch(text) else ""


def pointer(*steps: str | int) -> str:
    """A JSON Pointer from its steps: `pointer("items", 3, "a/b")` is `/items/3/a~1b`.

    A step of more than `MAX_STEP` characters, or one that may be a name or a number of a person, ends it early, at what
    holds it: keys come from the caller, and answers are logged and shown by others.
    """
    at = ""
    for step in map(str, steps):
        if step and not shown(step):
            break
        at += "/" + step.replace("~", "~0").replace("/", "~1")
    return at


def fragment(at: str) -> str:
    """A JSON Pointer as a URI fragment (RFC 6901, section 6): `#/items/3/phone`."""
    return "#" + quote(at, safe="/~!$&'()*+,;=:@?", errors="replace")


class Invalid(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """Raised by a validator of a schema: `raise Invalid("id_check_digit", Text(zh=…, en=…))`.

    A plain ValueError is told as "not allowed" only, since its message may repeat the value.
    """

    def __init__(self, code: str, text: Text, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.text = text
        self.values = values


class Problem(Exception):  # noqa: N818 - not all of them are errors of ours
    """Something that keeps a request from being done, with its cause and its remedy.

    A subclass with a `code` says `status`, `title` (never varies) and `fix` (what to do); `what` says the title more
    exactly, with values. Values are shown to the caller: give no personal data of others.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[Text]
    fix: ClassVar[Text]
    what: ClassVar[Text | None] = None
    headers: ClassVar[Mapping[str, str]] = {}
    """Headers of the answer; `{name}` is filled in as in texts."""
    retry_after: ClassVar[int | None] = None
    """Seconds after which trying again makes sense. Texts say them, with their unit, as `{retry_after}`."""
    to_residents: ClassVar[Text | None] = None
    """The whole detail for a resident, where the usual one speaks to staff."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            return
        if not _CODE.fullmatch(cls.code) or not all(hasattr(cls, name) for name in ("status", "title", "fix")):
            raise TypeError(f"{cls.__name__} needs a snake_case code, a status, a title and a fix")
        if cls.title.names:
            raise TypeError(f"the title of {cls.__name__} must not vary; say it in `what`")
        other = registry.setdefault(cls.code, cls)
        if other is not cls:
            raise TypeError(f"{cls.__qualname__} and {other.__module__}.{other.__qualname__} are both {cls.code!r}")

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
        """The values its texts and headers speak of, but for the seconds to wait, which it knows."""
        in_headers = (Text(header, header).names for header in cls.headers.values())
        return cls.fix.names.union(cls.what.names if cls.what else (), *in_headers) - {"retry_after"}

    @classmethod
    def unspecified(cls) -> Self:
        """The problem where only its kind is known, as from a constraint: its values read as an ellipsis."""
        values: dict[str, Any] = dict.fromkeys(cls.names(), "…")
        return cls(**values)

    @classmethod
    def type_uri(cls) -> str:
        """The stable `type`, and where it is explained: `/problems/tube_full`."""
        return f"/problems/{cls.code}"

    def detail(self, language: Language, *, is_resident: bool = False) -> str:
        """What is wrong, where, and what to do, in sentences for a person. Pointers are in `errors` only."""
        if is_resident and self.to_residents is not None:
            return sentences(language, *self.to_residents.say(language, self.values).split("\n"))
        what = (self.what or self.title).say(language, self.values)
        return sentences(language, what + _places(self.errors, language), self.fix.say(language, self.values))

    def body(self, language: Language, *, is_resident: bool = False) -> dict[str, Any]:
        """The problem without its request, as an answer to one item of a batch carries it."""
        members: dict[str, Any] = {
            "type": self.type_uri(),
            "title": self.title.say(language),
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
        """Status, headers and body of the answer."""
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
"""Every problem that has been declared, by its code."""


def _places(faults: Sequence[Fault], language: Language) -> str:
    places = list(dict.fromkeys(named for fault in faults if (named := fault.named(language))))
    if not places:
        return ""
    shown = ("、" if language == "zh-CN" else ", ").join(places[:3])
    if language == "zh-CN":
        return f"（{shown}{f' 等 {len(places)} 处' if len(places) > 3 else ''}）"
    return f" ({shown}{f' and {len(places) - 3} more' if len(places) > 3 else ''})"


def for_constraint(name: str) -> type[Problem] | None:
    """The problem a violated constraint stands for.

    On a partition PostgreSQL may know the constraint by a longer name (`visits_20250102_visit_taken`): then the longest
    code contained in it as whole words, of those that a rule of the data can break.
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

"""Texts in the two supported languages, zh-CN and en, and the choice of a caller's language."""

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

Language = Literal["zh-CN", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True, slots=True)
class LocalizedText:
    """One sentence in both languages, without its full stop. A value of the problem replaces `{name}`."""

    zh: str
    en: str
    names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        zh, en = (frozenset(name for _, name, _, _ in string.Formatter().parse(t) if name is not None) for t in self)
        if zh != en or not all(name.isidentifier() for name in zh):
            raise ValueError(f"both languages need the same plain names: {self.zh!r} and {self.en!r}")
        object.__setattr__(self, "names", zh)

    def __iter__(self) -> Iterator[str]:
        return iter((self.zh, self.en))

    def render(self, language: Language, values: Mapping[str, object] | None = None) -> str:
        """Return the sentence in one language. A name without a value becomes an ellipsis."""
        template = self.zh if language == "zh-CN" else self.en
        return template.format_map({name: _spoken((values or {}).get(name, "…"), language) for name in self.names})


def _spoken(value: object, language: Language) -> object:
    return value.render(language) if isinstance(value, LocalizedText) else value


def duration(seconds: int) -> LocalizedText:
    """Return a number of seconds in seconds, minutes or hours, rounded up."""
    minutes, hours = -(-seconds // 60), -(-seconds // 3600)
    if seconds < 60:
        return LocalizedText(zh=f"{seconds} 秒", en=f"{seconds} second{_s(seconds)}")
    if minutes < 60:
        return LocalizedText(zh=f"{minutes} 分钟", en=f"{minutes} minute{_s(minutes)}")
    return LocalizedText(zh=f"{hours} 小时", en=f"{hours} hour{_s(hours)}")


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def sentences(language: Language, *parts: str) -> str:
    """Join parts as sentences of a language, each with its full stop."""
    if language == "zh-CN":
        return "".join(part.rstrip("。.") + "。" for part in parts)
    return " ".join(part.rstrip(".") + "." for part in parts)


@lru_cache(maxsize=256)
def language_of(accept_language: str | None) -> Language:
    """Choose the supported language that fits Accept-Language best (RFC 9110, 12.5.4). The default is zh-CN."""
    if not accept_language:
        return "zh-CN"
    wishes = _wishes(accept_language)
    ranked = sorted(LANGUAGES, key=lambda language: _wish_for(language, wishes), reverse=True)
    return ranked[0]


def _wishes(accept_language: str) -> list[tuple[str, float]]:
    wishes = []
    for element in accept_language.split(","):
        tag, _, parameter = element.partition(";")
        quality = re.fullmatch(r"\s*(?:q\s*=\s*(0|0?\.\d{1,3}|0\.|1(?:\.0{0,3})?))?\s*", parameter, re.IGNORECASE)
        if quality and re.fullmatch(r"\s*(\*|[A-Za-z0-9-]{1,80})\s*", tag):
            wishes.append((tag.strip().lower(), float(quality[1] or 1)))
    return wishes


def _wish_for(language: Language, wishes: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """Return the quality and position of a language: by its own tag, then a related tag (zh-TW), then `*`."""
    primary = language.partition("-")[0]
    ways: tuple[Callable[[str], bool], ...] = (
        lambda tag: tag == language.lower(),
        lambda tag: tag == primary,
        lambda tag: tag.partition("-")[0] == primary,
        lambda tag: tag == "*",
    )
    for matches in ways:
        ranks = [(quality, -order) for order, (tag, quality) in enumerate(wishes) if matches(tag)]
        if ranks:
            return max(ranks)
    return (0.0, -len(wishes))

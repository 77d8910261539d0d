"""The code policy: a versioned document that says which fact gives which colour, for how long, and what to do next.

The policy is data, because the national protocols changed four times in nineteen months. Reading the document rejects
what no policy may contain: a negative that ends any restriction, a colour without evidence, a colour without an end.
"""

import enum
import string
from datetime import datetime, timedelta
from functools import cached_property
from importlib import resources
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.core.days import SHANGHAI


class Colour(enum.IntEnum):
    """The colour of a code; a higher number is more restricted. The numbers are those of gate vendors."""

    GREEN = 1
    YELLOW = 2
    RED = 3

    @property
    def label(self) -> str:
        """The name in documents, such as `green`."""
        return self.name.lower()


ColourName = Literal["green", "yellow", "red"]
FactKind = Literal["negative", "pool_pending", "positive", "order", "referral", "discharged"]

VARIANTS: dict[FactKind, tuple[str, ...]] = {
    "order": ("central", "home", "monitoring"),
    "referral": ("ruled_out", "admitted", "confirmed"),
}
"""The variants of the kinds of fact that have any."""

ASSERTING: tuple[FactKind, ...] = ("pool_pending", "positive", "order", "referral")
SETTLING: tuple[FactKind, ...] = ("negative", "positive", "referral", "discharged")
RETESTS: tuple[FactKind, ...] = ("negative", "positive")
"""Results of a person's own single tube."""

PLACEHOLDERS = {"since", "until"}

_Text = Annotated[str, Field(min_length=1, max_length=500)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def _shown(instant: datetime) -> str:
    return f"{instant.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


class LocalizedText(_Document):
    """One text in both languages."""

    zh: _Text
    en: _Text

    def fill(self, since: datetime, until: datetime | None, earliest_end: datetime | None = None) -> "LocalizedText":
        """Return the text with its times filled in, in local time (Asia/Shanghai)."""
        end = until or earliest_end
        if end is None:
            zh_until, en_until = "解除通知所载时间", "the time of the release notice"
        else:
            zh_until = en_until = _shown(end)
        if until is None and earliest_end is not None:
            zh_until, en_until = f"最早 {zh_until}", f"not before {en_until}"
        start = _shown(since)
        return LocalizedText(
            zh=self.zh.format(since=start, until=zh_until), en=self.en.format(since=start, until=en_until)
        )

    @property
    def placeholders(self) -> set[str]:
        """The names between braces. Raises ValueError for an unmatched brace."""
        texts = (self.zh, self.en)
        return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name is not None}


class Days(_Document):
    """A colour that ends this many days (of 24 h) after the fact."""

    days: int = Field(ge=1, le=60)


class Ending(_Document):
    """A fact that ends a restricting fact.

    With `answered`, it ends only the fact that it names. With `earlier`, it ends all facts before it. For a negative
    or positive the evaluator always requires more: the person's own single tube, sampled after the result it answers.
    """

    fact: FactKind
    variant: str | None = None
    reach: Literal["answered", "earlier"] = "answered"

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.fact not in SETTLING:
            raise ValueError(f"a fact of kind {self.fact} ends no other fact")
        if self.variant not in VARIANTS.get(self.fact, (None,)):
            raise ValueError(f"{self.fact} has no variant {self.variant}")
        if self.fact in RETESTS and self.reach != "answered":
            raise ValueError(f"a {self.fact} ends only the fact that it answers")
        return self


class Rule(_Document):
    """One kind of evidence, its colour, and the texts for the person: why, how it ends, what to do next."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
    fact: FactKind
    variants: tuple[str, ...] = ()
    colour: ColourName
    lasts: Literal["until_settled", "until_order_ends"] | Days
    ended_by: tuple[Ending, ...] = ()
    priority: int = Field(ge=0, le=1000, description="Order of reasons of the same colour: the lowest comes first.")
    why: LocalizedText
    how_it_ends: LocalizedText
    next_step: LocalizedText
    source: LocalizedText = Field(description="The article or protocol the rule follows, or `local decision`.")

    @cached_property
    def shade(self) -> Colour:
        """The colour as a number."""
        return Colour[self.colour.upper()]

    @cached_property
    def matches(self) -> tuple[tuple[str, str], ...]:
        """The (kind, variant) pairs to which this rule applies."""
        return tuple((self.fact, variant) for variant in self.variants or ("",))

    @cached_property
    def span(self) -> timedelta | None:
        """The longest duration of the colour, counted from the fact."""
        return timedelta(days=self.lasts.days) if isinstance(self.lasts, Days) else None

    @model_validator(mode="after")
    def _fact_makes_sense(self) -> Self:
        if self.fact not in ASSERTING:
            raise ValueError(f"rule {self.code}: a fact of kind {self.fact} gives no colour")
        known = set(VARIANTS.get(self.fact, ()))
        if not set(self.variants) <= known or bool(known) != bool(self.variants):
            raise ValueError(f"rule {self.code}: variants must be from {sorted(known) or 'none'}")
        return self

    @model_validator(mode="after")
    def _end_makes_sense(self) -> Self:
        if self.lasts == "until_order_ends" and self.fact != "order":
            raise ValueError(f"rule {self.code}: `until_order_ends` is only for orders")
        if self.lasts == "until_settled" and not self.ended_by:
            raise ValueError(f"rule {self.code}: `until_settled` needs at least one entry in `ended_by`")
        return self

    @model_validator(mode="after")
    def _texts_make_sense(self) -> Self:
        for words in (self.why, self.how_it_ends, self.next_step):
            if not words.placeholders <= PLACEHOLDERS:
                raise ValueError(f"rule {self.code}: the only placeholders of a text are {sorted(PLACEHOLDERS)}")
        return self


class Number(_Document):
    """A figure that the plan does not give, with its source."""

    value: float = Field(gt=0)
    source: LocalizedText


class Figures(_Document):
    """The figures of a policy, for information: each service point sets its own. Names contain the unit."""

    negative_validity_hours: Number
    """From the *sampling* time. A code does not store it: the service point decides how recent a negative must be."""
    fever_celsius: Number


YellowName = Literal["yellow", "orange"]
YELLOW_NAMES: dict[YellowName, LocalizedText] = {
    "yellow": LocalizedText(zh="黄码", en="Yellow"),
    "orange": LocalizedText(zh="橙码", en="Orange"),
}
"""The name of the colour between green and red: most provinces call it yellow, Fujian calls it orange."""


class Meanings(_Document):
    """What each colour means for the person. `{name}` in the text of yellow is the province's name for it."""

    green: LocalizedText
    yellow: LocalizedText
    red: LocalizedText

    @model_validator(mode="after")
    def _texts_make_sense(self) -> Self:
        if self.green.placeholders or self.red.placeholders or not self.yellow.placeholders <= {"name"}:
            raise ValueError("the only placeholder in the meaning of a colour is {name}, and only for yellow")
        return self

    def meaning(self, colour: ColourName, yellow: YellowName) -> LocalizedText:
        """Return what a colour means, with the province's name for yellow."""
        if colour != "yellow":
            return self.green if colour == "green" else self.red
        name = YELLOW_NAMES[yellow]
        return LocalizedText(zh=self.yellow.zh.format(name=name.zh), en=self.yellow.en.format(name=name.en))


class Policy(_Document):
    """One version of the rules. A published version never changes. A new one is tried on all people first."""

    version: int = Field(ge=1, le=1_000_000)
    title: LocalizedText
    colours: Meanings
    figures: Figures
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _rules_are_distinct(self) -> Self:
        codes = [rule.code for rule in self.rules]
        if len(set(codes)) != len(codes):
            raise ValueError("two rules have the same code")
        matched = [pair for rule in self.rules for pair in rule.matches]
        if len(set(matched)) != len(matched):
            raise ValueError("two rules apply to the same fact")
        return self

    @cached_property
    def by_fact(self) -> dict[tuple[str, str], Rule]:
        """The rule for each (kind, variant) that has one."""
        return {pair: rule for rule in self.rules for pair in rule.matches}

    @cached_property
    def by_code(self) -> dict[str, Rule]:
        """The rule by its code."""
        return {rule.code: rule for rule in self.rules}


def read(document: str | bytes) -> Policy:
    """Parse a policy from JSON. Raises pydantic's ValidationError with each fault."""
    return Policy.model_validate_json(document)


def first() -> Policy:
    """Return version 1, which the migration publishes."""
    return read(resources.files(__package__).joinpath("policy_1.json").read_bytes())

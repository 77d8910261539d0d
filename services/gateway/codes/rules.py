"""Computes a person's colour from their facts and the published policy. Nothing else can set a colour.

The colour depends on the *set* of facts, not on their order or on duplicates. Corrections need no rule of their own,
because reactions.py replaces all facts of a subject when the subject changes.

- A restricting fact counts from the moment it is known. A releasing fact counts from its own time.
- A negative ends only the restriction it answers. It must come from the person's own single tube, sampled after the
  result of the pool. A positive also ends it, because the person is then restricted by the positive instead.
- A drill creates no fact: `facts.py` skips it.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from services.gateway.codes.policy import RETESTS, Colour, Ending, FactKind, LocalizedText, Policy, Rule

NEGATIVE_COUNTS = timedelta(hours=720)
"""Older negatives are ignored, because no service point may ask for more than 720 hours."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One fact that a service asserts about one person, with the record that is its evidence."""

    kind: FactKind
    source_type: str
    source_id: str
    """The record that is the evidence. For a tube result, the tube."""
    at: datetime
    """Since when the fact is true: the time of the result, of the order's opening or of the outcome."""
    until: datetime | None = None
    """When the fact ends by time alone, if the owning service sets that."""
    variant: str = ""
    """For an order: central, home, monitoring. For a referral: ruled_out, admitted, confirmed."""
    answers: str | None = None
    """The source_id of the fact this one settles: the pool that a single tube retests, the positive of a referral."""
    sampled_at: datetime | None = None
    pool_size: int | None = None
    """The larger of the tube's capacity and the people in it; 1 for a single tube."""
    earliest_end: datetime | None = None
    """The earliest time at which the owning service can end it, if known."""


class Reason(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One rule that applies now, with its evidence and its end by time (None: only new evidence ends it).

    `earliest_end` is the earliest time at which evidence can end it, if known.
    """

    rule: str
    colour: Colour
    source_type: str
    source_id: str
    since: datetime
    until: datetime | None
    earliest_end: datetime | None = None


class Decision(msgspec.Struct, frozen=True):
    """A colour, and how it changes by time alone.

    From `until` on the colour is `colour_after`; from `green_from` on it is green. So a reader that uses its own clock
    is correct even if the worker is late. Without restricting facts a person is green.
    """

    colour: Colour
    until: datetime | None
    colour_after: Colour | None
    green_from: datetime | None
    reasons: tuple[Reason, ...]
    last_negative: datetime | None
    """When the latest negative was *sampled*. The service point decides whether it is recent; that is not stored."""


class Explanation(msgspec.Struct, frozen=True):
    """The texts of a reason."""

    why: LocalizedText
    how_it_ends: LocalizedText
    next_step: LocalizedText
    source: LocalizedText


class Timed(Protocol):
    """Has a colour and its changes by time: a decision or a stored code."""

    @property
    def colour(self) -> int: ...
    @property
    def until(self) -> datetime | None: ...
    @property
    def colour_after(self) -> int | None: ...
    @property
    def green_from(self) -> datetime | None: ...


def evaluate(facts: Collection[Fact], policy: Policy, now: datetime) -> Decision:
    """Return the colour by these facts and this policy at this instant, with its reasons and its end."""
    asserted, last_negative = _split(facts)
    if not asserted:
        return Decision(Colour.GREEN, None, None, None, (), last_negative)
    reasons = {
        Reason(rule.code, rule.shade, fact.source_type, fact.source_id, fact.at, end, fact.earliest_end)
        for fact, rule in _applicable(asserted, policy)
        if (end := _end(fact, rule, facts)) is None or end > now
    }
    return _decision(sorted(reasons, key=lambda reason: _rank(reason, policy)), last_negative)


def colour_at(code: Timed, now: datetime) -> Colour:
    """Return the colour at this instant, even if the code was not evaluated again after it ended."""
    if code.green_from is not None and now >= code.green_from:
        return Colour.GREEN
    if code.until is not None and now >= code.until and code.colour_after is not None:
        return Colour(code.colour_after)
    return Colour(code.colour)


def reasons_at(reasons: Iterable[Reason], now: datetime) -> list[Reason]:
    """Return the reasons that have not ended at this instant."""
    return [reason for reason in reasons if reason.until is None or now < reason.until]


def explain(reason: Reason, policy: Policy) -> Explanation:
    """Return the texts of a reason with its times filled in. `policy` must be the one used for the decision."""
    rule = policy.by_code[reason.rule]
    texts = (rule.why, rule.how_it_ends, rule.next_step)
    why, how, step = (text.fill(reason.since, reason.until, reason.earliest_end) for text in texts)
    return Explanation(why, how, step, rule.source)


def _split(facts: Iterable[Fact]) -> tuple[list[Fact], datetime | None]:
    """Return the facts that can restrict and the sampling time of the latest negative.

    Nine of ten people have only negatives.
    """
    asserted: list[Fact] = []
    latest: datetime | None = None
    for fact in facts:
        if fact.kind == "negative":
            sampled = fact.sampled_at
            if sampled is not None and (latest is None or sampled > latest):
                latest = sampled
        else:
            asserted.append(fact)
    return asserted, latest


def _applicable(facts: Iterable[Fact], policy: Policy) -> Iterable[tuple[Fact, Rule]]:
    table = policy.by_fact
    for fact in facts:
        rule = table.get((fact.kind, fact.variant))
        if rule is not None:
            yield fact, rule


def _end(fact: Fact, rule: Rule, facts: Iterable[Fact]) -> datetime | None:
    """Return when a fact ends: the earliest of its own end, the rule's days and what settles it. None: open."""
    ends = [other.at for other in facts if any(_ends(ending, other, fact) for ending in rule.ended_by)]
    if fact.until is not None:
        ends.append(fact.until)
    if rule.span is not None:
        ends.append(fact.at + rule.span)
    return min(ends, default=None)


def _ends(ending: Ending, other: Fact, fact: Fact) -> bool:
    """Whether `other` ends `fact` by this clause of the policy."""
    if other.kind != ending.fact or (ending.variant or "") != other.variant:
        return False
    if ending.reach == "answered" and other.answers != fact.source_id:
        return False
    if other.kind in RETESTS:
        return other.pool_size == 1 and other.sampled_at is not None and other.sampled_at > fact.at
    return other.at >= fact.at


def _rank(reason: Reason, policy: Policy) -> tuple[int, int, datetime, str, str, str]:
    priority = policy.by_code[reason.rule].priority
    return (-reason.colour, priority, reason.since, reason.source_type, reason.source_id, reason.rule)


def _decision(reasons: list[Reason], last_negative: datetime | None) -> Decision:
    """Red until the last red reason ends, then yellow until the last yellow reason ends, then green."""
    colour = reasons[0].colour if reasons else Colour.GREEN
    if colour is Colour.GREEN:
        return Decision(colour, None, None, None, tuple(reasons), last_negative)
    until = _last_end(reasons, colour)
    green_from = _last_end(reasons, Colour.YELLOW)
    after = None if until is None else Colour.GREEN if green_from == until else Colour.YELLOW
    return Decision(colour, until, after, green_from, tuple(reasons), last_negative)


def _last_end(reasons: Iterable[Reason], at_least: Colour) -> datetime | None:
    """Return when the last reason of at least this colour ends by time; None if one of them has no such end."""
    latest: datetime | None = None
    for reason in reasons:
        if reason.colour < at_least:
            continue
        if reason.until is None:
            return None
        latest = reason.until if latest is None else max(latest, reason.until)
    return latest

"""What colour a person has, from the facts known of them and the published policy. Nothing else can set one.

A colour is a function of the *set* of facts: their order and their repetition change nothing. Corrections need no rule
of their own, because whoever keeps the facts replaces all that came from a subject when that subject changes.

- An assertion counts from when it is known; what releases counts from its own time.
- A negative retracts only the assertion it answers: the person's own single tube, taken after the pool's result. So
  does a positive: from then on the person is restricted for that, and not for the pool any more.
- A drill makes no fact: `facts.py` leaves it out.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from services.gateway.codes.policy import RETESTS, Colour, Ending, FactKind, Policy, Rule, Words

NEGATIVE_COUNTS = timedelta(hours=720)
"""A negative swabbed longer ago counts nowhere: no service point may look further back."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One thing an owner asserts about one person, with the record it rests on."""

    kind: FactKind
    source_type: str
    source_id: str
    """The record that is the evidence. For a tube result, the tube."""
    at: datetime
    """When it became so: a result's time, an order's opening, an outcome's time."""
    until: datetime | None = None
    """When it ends by time alone, if its owner says so."""
    variant: str = ""
    """central, home, monitoring of an order; ruled_out, admitted, confirmed of a referral."""
    answers: str | None = None
    """The source_id of the assertion this settles: the pool a single tube retests, the positive a referral is about."""
    sampled_at: datetime | None = None
    pool_size: int | None = None
    """How many people the tube was for, or holds if they are more; 1 is a single tube."""
    earliest_end: datetime | None = None
    """Before when its owner will not end it, if its owner says so."""


class Reason(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One rule that applies now, on which evidence, and when it ends by time alone (None: only evidence ends it).

    `earliest_end`: before when no evidence will, if that is known.
    """

    rule: str
    colour: Colour
    source_type: str
    source_id: str
    since: datetime
    until: datetime | None
    earliest_end: datetime | None = None


class Decision(msgspec.Struct, frozen=True):
    """A colour, and what time alone will make of it.

    `colour_after` holds from `until` on, and green from `green_from` on, so that a reader with its own clock is right
    however late a worker is. Without facts that restrict, a person is green.
    """

    colour: Colour
    until: datetime | None
    colour_after: Colour | None
    green_from: datetime | None
    reasons: tuple[Reason, ...]
    last_negative: datetime | None
    """When the latest negative was *sampled*. Whether that is recent enough is asked at the door, never stored."""


class Explanation(msgspec.Struct, frozen=True):
    """A reason in words."""

    why: Words
    how_it_ends: Words
    next_step: Words
    source: Words


class Timed(Protocol):
    """Whatever holds a colour and what follows it: a decision, a stored code."""

    @property
    def colour(self) -> int: ...
    @property
    def until(self) -> datetime | None: ...
    @property
    def colour_after(self) -> int | None: ...
    @property
    def green_from(self) -> datetime | None: ...


def evaluate(facts: Collection[Fact], policy: Policy, now: datetime) -> Decision:
    """The colour these facts give under this policy at this instant, with its reasons and its end."""
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
    """The colour a reader sees by its own clock, even if nobody has evaluated since it ended."""
    if code.green_from is not None and now >= code.green_from:
        return Colour.GREEN
    if code.until is not None and now >= code.until and code.colour_after is not None:
        return Colour(code.colour_after)
    return Colour(code.colour)


def reasons_at(reasons: Iterable[Reason], now: datetime) -> list[Reason]:
    """The reasons that have not ended by a reader's own clock."""
    return [reason for reason in reasons if reason.until is None or now < reason.until]


def explain(reason: Reason, policy: Policy) -> Explanation:
    """A reason in words, with its times filled in. The policy is the one the decision was made under."""
    rule = policy.by_code[reason.rule]
    texts = (rule.why, rule.how_it_ends, rule.next_step)
    why, how, step = (text.fill(reason.since, reason.until, reason.earliest_end) for text in texts)
    return Explanation(why, how, step, rule.source)


def _split(facts: Iterable[Fact]) -> tuple[list[Fact], datetime | None]:
    """What may restrict, and the sampling time of the latest negative. Nine in ten people have negatives only."""
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
    """When an assertion ends: the earliest of its own end, the rule's days, and what settles it. None: open."""
    ends = [other.at for other in facts if any(_ends(ending, other, fact) for ending in rule.ended_by)]
    if fact.until is not None:
        ends.append(fact.until)
    if rule.span is not None:
        ends.append(fact.at + rule.span)
    return min(ends, default=None)


def _ends(ending: Ending, other: Fact, fact: Fact) -> bool:
    """Whether one fact ends another by this clause of the policy."""
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
    """Red while anything red lasts, then yellow while anything yellow lasts, then green."""
    colour = reasons[0].colour if reasons else Colour.GREEN
    if colour is Colour.GREEN:
        return Decision(colour, None, None, None, tuple(reasons), last_negative)
    until = _last_end(reasons, colour)
    green_from = _last_end(reasons, Colour.YELLOW)
    after = None if until is None else Colour.GREEN if green_from == until else Colour.YELLOW
    return Decision(colour, until, after, green_from, tuple(reasons), last_negative)


def _last_end(reasons: Iterable[Reason], at_least: Colour) -> datetime | None:
    """When the last reason of at least this colour ends by time alone; None if one of them does not."""
    latest: datetime | None = None
    for reason in reasons:
        if reason.colour < at_least:
            continue
        if reason.until is None:
            return None
        latest = reason.until if latest is None else max(latest, reason.until)
    return latest

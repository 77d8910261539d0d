"""Colours are a function of facts, policy and time: published vectors, and what holds for all facts there can be."""

import copy
import json
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.gateway.codes import policy as policies
from services.gateway.codes.policy import VARIANTS, Colour, FactKind, Policy
from services.gateway.codes.rules import Fact, Reason, colour_at, evaluate, explain, reasons_at

VECTORS = json.loads((Path(__file__).parent / "vectors" / "codes.json").read_text("utf-8"))["vectors"]
DOCUMENT = json.loads(resources.files("services.gateway.codes").joinpath("policy_1.json").read_text("utf-8"))
POLICY = policies.first()
POLICIES = {1: POLICY}
NOON = datetime(2021, 2, 1, 4, tzinfo=UTC)


def instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def as_dict(reason: Reason) -> dict[str, Any]:
    """A reason as the vectors write it; texts and instants included."""
    words = explain(reason, POLICY)
    return {
        "rule": reason.rule,
        "colour": reason.colour.label,
        "source_type": reason.source_type,
        "source_id": reason.source_id,
        "since": reason.since,
        "until": reason.until,
        "how_it_ends": words.how_it_ends.model_dump(),
        "next_step": words.next_step.model_dump(),
    }


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["title"] for vector in VECTORS])
def test_published_vectors(vector: dict[str, Any]) -> None:
    facts = msgspec.convert(vector["facts"], list[Fact])
    policy = POLICIES[vector["policy"]]
    decision = evaluate(facts, policy, datetime.fromisoformat(vector["now"]))
    expect = vector["expect"]
    assert decision.colour.label == expect["colour"]
    assert decision.until == instant(expect["until"])
    assert (decision.colour_after and decision.colour_after.label) == expect["colour_after"]
    assert decision.green_from == instant(expect["green_from"])
    assert decision.last_negative == instant(expect["last_negative"])
    reasons = [
        reason | {"since": instant(reason["since"]), "until": instant(reason["until"])} for reason in expect["reasons"]
    ]
    assert [as_dict(reason) for reason in decision.reasons] == reasons
    for then in vector["then"]:
        later = datetime.fromisoformat(then["now"])
        assert colour_at(decision, later).label == then["colour"]
        assert evaluate(facts, policy, later).colour.label == then["colour"]


def test_there_are_enough_vectors_and_every_rule_is_met() -> None:
    assert len(VECTORS) >= 40
    assert len({vector["title"] for vector in VECTORS}) == len(VECTORS)
    met = {reason["rule"] for vector in VECTORS for reason in vector["expect"]["reasons"]}
    assert met == set(POLICY.by_code)


# --- what must hold for all facts

HOURS = st.integers(-40 * 24, 40 * 24)
KINDS = [(kind, variant) for kind in FactKind.__args__ for variant in VARIANTS.get(kind, ("",))]
IDS = st.sampled_from(["a", "b", "c", "d"])  # few, so that answers meet what they answer


@st.composite
def any_fact(draw: st.DrawFn) -> Fact:
    kind, variant = draw(st.sampled_from(KINDS))
    at = NOON + timedelta(hours=draw(HOURS))
    ends = kind == "order" and draw(st.booleans())
    return Fact(
        kind=kind,
        variant=variant,
        source_type="test.source",
        source_id=draw(IDS),
        at=at,
        until=at + timedelta(hours=draw(st.integers(1, 600))) if ends else None,
        answers=draw(st.none() | IDS),
        sampled_at=at - timedelta(hours=draw(st.integers(0, 48))) if kind in ("negative", "positive") else None,
        pool_size=draw(st.sampled_from([1, 5, 10, 20])),
    )


FACTS = st.lists(any_fact(), max_size=8)
NOWS = HOURS.map(lambda hours: NOON + timedelta(hours=hours))


@given(FACTS, NOWS, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(facts: list[Fact], now: datetime, random: Any) -> None:
    again = facts + random.choices(facts, k=3) if facts else []
    random.shuffle(again)
    assert evaluate(again, POLICY, now) == evaluate(facts, POLICY, now)


@given(FACTS, any_fact(), NOWS)
def test_an_assertion_never_makes_anyone_greener(facts: list[Fact], more: Fact, now: datetime) -> None:
    if more.kind in ("negative", "discharged") or more.variant == "ruled_out" or more.kind == "positive":
        return
    before, after = evaluate(facts, POLICY, now), evaluate([*facts, more], POLICY, now)
    assert after.colour >= before.colour
    assert set(before.reasons) <= set(after.reasons)


@given(FACTS, any_fact(), NOWS)
def test_what_settles_never_makes_anyone_redder(facts: list[Fact], more: Fact, now: datetime) -> None:
    if more.kind not in ("negative", "discharged") and more.variant != "ruled_out":
        return
    assert evaluate([*facts, more], POLICY, now).colour <= evaluate(facts, POLICY, now).colour


@given(FACTS, any_fact(), NOWS)
def test_a_negative_retracts_only_the_pool_it_answers(facts: list[Fact], fact: Fact, now: datetime) -> None:
    negative = msgspec.structs.replace(
        fact, kind="negative", variant="", sampled_at=fact.at - timedelta(hours=6), until=None
    )
    kept = set(evaluate(facts, POLICY, now).reasons)
    left = set(evaluate([*facts, negative], POLICY, now).reasons)
    changed = {(reason.rule, reason.source_id) for reason in kept ^ left}
    assert changed <= {("pool_pending", negative.answers)}
    if changed:
        assert negative.pool_size == 1


@given(FACTS, any_fact(), NOWS)
def test_a_positive_takes_the_place_of_the_pool_it_answers_alone(facts: list[Fact], fact: Fact, now: datetime) -> None:
    positive = msgspec.structs.replace(
        fact, kind="positive", variant="", sampled_at=fact.at - timedelta(hours=6), until=None
    )
    kept = {(reason.rule, reason.source_id) for reason in evaluate(facts, POLICY, now).reasons}
    left = {(reason.rule, reason.source_id) for reason in evaluate([*facts, positive], POLICY, now).reasons}
    assert left - kept <= {("positive", positive.source_id)}
    assert kept - left <= {("pool_pending", positive.answers)}
    if kept - left:
        assert positive.pool_size == 1


@given(FACTS, NOWS, st.integers(0, 100 * 24))
def test_a_late_worker_keeps_nobody_restricted(facts: list[Fact], now: datetime, hours: int) -> None:
    """Whatever was decided once, a reader with its own clock sees what a fresh evaluation would say."""
    later = now + timedelta(hours=hours)
    decision, fresh = evaluate(facts, POLICY, now), evaluate(facts, POLICY, later)
    assert colour_at(decision, later) is fresh.colour
    assert tuple(reasons_at(decision.reasons, later)) == fresh.reasons


@given(FACTS, NOWS)
def test_no_evidence_no_restriction(facts: list[Fact], now: datetime) -> None:
    decision = evaluate(facts, POLICY, now)
    sources = {(fact.source_type, fact.source_id, fact.at) for fact in facts}
    assert all((reason.source_type, reason.source_id, reason.since) in sources for reason in decision.reasons)
    assert decision.colour is max((reason.colour for reason in decision.reasons), default=Colour.GREEN)


@given(FACTS, NOWS)
def test_the_end_is_whole(facts: list[Fact], now: datetime) -> None:
    decision = evaluate(facts, POLICY, now)
    assert (decision.until is None) == (decision.colour_after is None)
    if decision.until is not None:
        assert decision.colour_after is not None
        assert now < decision.until
        assert decision.colour_after < decision.colour
    if decision.green_from is not None:
        assert decision.until is not None
        assert decision.green_from >= decision.until


# --- the document

BAD: dict[str, Any] = {
    "unknown fact kind": lambda d: d["rules"][0].update(fact="rumour"),
    "a fact that asserts nothing": lambda d: d["rules"][0].update(fact="negative"),
    "two rules of one code": lambda d: d["rules"][1].update(code="positive"),
    "two rules about one fact": lambda d: d["rules"].append(d["rules"][0] | {"code": "positive_again"}),
    "no rules": lambda d: d.update(rules=[]),
    "a missing text": lambda d: d["rules"][0].pop("next_step"),
    "an empty text": lambda d: d["rules"][0]["why"].update(zh=" "),
    "no source": lambda d: d["rules"][0].update(source=""),
    "an unknown variant": lambda d: d["rules"][2].update(variants=["hotel"]),
    "an order of no kind": lambda d: d["rules"][2].update(variants=[]),
    "a variant where there is none": lambda d: d["rules"][0].update(variants=["central"]),
    "an unknown colour": lambda d: d["rules"][0].update(colour="purple"),
    "settled by nothing": lambda d: d["rules"][0].update(ended_by=[]),
    "a positive until an order ends": lambda d: d["rules"][0].update(lasts="until_order_ends"),
    "zero days": lambda d: d["rules"][0].update(lasts={"days": 0}),
    "any negative frees": lambda d: d["rules"][3]["ended_by"][0].update(reach="earlier"),
    "ended by what asserts": lambda d: d["rules"][3]["ended_by"][0].update(fact="pool_pending"),
    "a referral outcome nobody knows": lambda d: d["rules"][0]["ended_by"][0].update(variant="vanished"),
    "a referral of no outcome": lambda d: d["rules"][0]["ended_by"][0].pop("variant"),
    "an unknown placeholder": lambda d: d["rules"][0]["why"].update(en="Call {phone}."),
    "a placeholder that reaches inside": lambda d: d["rules"][0]["why"].update(en="{since.__class__}"),
    "a brace that cannot be read": lambda d: d["rules"][0]["why"].update(en="{since"),
    "a figure that cannot be": lambda d: d["figures"]["fever_celsius"].update(value=0),
    "a misspelt field": lambda d: d.update(rulez=[]),
    "version zero": lambda d: d.update(version=0),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD.keys())
def test_a_policy_that_makes_no_sense_is_refused(spoil: Any) -> None:
    document = copy.deepcopy(DOCUMENT)
    Policy.model_validate(document)
    spoil(document)
    with pytest.raises(ValidationError):
        Policy.model_validate(document)


def test_a_rule_can_end_after_days() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["rules"][3]["lasts"] = {"days": 3}
    policy = Policy.model_validate(document)
    fact = Fact(kind="pool_pending", source_type="testing.tube", source_id="pool", at=NOON, pool_size=10)
    assert evaluate([fact], policy, NOON).until == NOON + timedelta(days=3)
    assert evaluate([fact], policy, NOON + timedelta(days=3)).colour is Colour.GREEN


def test_figures_are_data_with_a_source() -> None:
    assert POLICY.figures.negative_validity_hours.value == 168
    assert POLICY.figures.fever_celsius.value == 37.3
    assert POLICY.version == 1


def test_a_policy_has_a_json_schema() -> None:
    schema = Policy.model_json_schema()
    assert {"version", "rules", "figures", "colours"} <= set(schema["required"])

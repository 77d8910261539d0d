"""From another service's resource to facts about people. Pure: a state in, rows out."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from shared.contracts.observation import Order, Referral
from shared.contracts.resource import Resource
from shared.contracts.testing import Tube

FactValues = dict[str, Any]


def of_tube(tube: Tube) -> Iterator[FactValues]:
    """A result is a fact about everybody in the tube, whatever was odd about their sample. A drill is about nobody.

    A negative of a tube that is held says nothing yet; a positive or inconclusive one is in force for those known.
    An inconclusive single tube leaves its person pending, as a pool does: the grey zone is no positive. A tube for
    one person that holds several is a pool: testing says so.
    """
    result = tube.result
    if result is None or tube.drill or tube.state == "discarded" or result.outcome == "invalid":
        return
    single = tube.people == "single"
    size = 1 if single else max(tube.capacity, len({sample.resident_id for sample in tube.samples}), 2)
    said = _row(tube, result.reported_at) | {"pool_size": size}
    for sample in tube.samples:
        row = said | {"resident_id": sample.resident_id, "sampled_at": sample.sampled_at}
        if result.outcome == "positive" and single:
            for answers in tube.answers or (None,):
                yield row | {"kind": "positive", "answers": answers}
        elif result.outcome in ("positive", "inconclusive"):
            yield row | {"kind": "pool_pending"}
        elif not tube.held:
            for answers in tube.answers or (None,):
                yield row | {"kind": "negative", "answers": answers}


def of_order(order: Order) -> Iterator[FactValues]:
    """An open order, until its days are complete and its tests are negative: which only its owner can say.

    The end of its days is told all the same, as the earliest end.
    """
    if order.state == "open":
        yield _row(order, order.opened_at) | {
            "resident_id": order.resident_id,
            "kind": "order",
            "variant": order.kind,
            "earliest_end": order.ends_at,
        }


def of_referral(referral: Referral) -> Iterator[FactValues]:
    """What the hospital says of a person who was brought to it, about the record for which they were brought."""
    if referral.state in ("ruled_out", "admitted", "confirmed"):
        at = referral.closed_at or referral.handed_over_at or referral.reported_at
        yield _row(referral, at) | {
            "resident_id": referral.resident_id,
            "kind": "referral",
            "variant": referral.state,
            "answers": referral.evidence_id,
        }


def decides(fact: FactValues) -> bool:
    """Whether a fact can give or take a colour, as `tables.DECIDING` says it to PostgreSQL."""
    return bool(fact["kind"] != "negative" or fact["answers"] is not None)


def _row(source: Resource, at: datetime) -> FactValues:
    return {
        "subject": source.id,
        "region": source.region,
        "source_type": source.type,
        "at": at,
        "variant": "",
        "answers": None,
        "sampled_at": None,
        "pool_size": None,
        "earliest_end": None,
    }

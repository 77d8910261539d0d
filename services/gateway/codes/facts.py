"""Derives facts about people from resources of other services. Pure functions."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from shared.contracts.observation import Order, Referral
from shared.contracts.resource import Resource
from shared.contracts.testing import Tube

FactValues = dict[str, Any]


def of_tube(tube: Tube) -> Iterator[FactValues]:
    """Yield the facts of a tube's result: one for each sample, whatever is wrong with the sample. None for a drill.

    While a tube is held, a negative gives no fact; a positive or inconclusive result gives facts for the known people.
    An inconclusive single tube gives `pool_pending`, because the grey zone is not a positive. The testing service
    reports a single tube that holds several people as a pool.
    """
    result = tube.result
    if result is None or tube.drill or tube.state == "discarded" or result.outcome == "invalid":
        return
    single = tube.people == "single"
    size = 1 if single else max(tube.capacity, len({sample.resident_id for sample in tube.samples}), 2)
    common = _row(tube, result.reported_at) | {"pool_size": size}
    for sample in tube.samples:
        row = common | {"resident_id": sample.resident_id, "sampled_at": sample.sampled_at}
        if result.outcome == "positive" and single:
            for answers in tube.answers or (None,):
                yield row | {"kind": "positive", "answers": answers}
        elif result.outcome in ("positive", "inconclusive"):
            yield row | {"kind": "pool_pending"}
        elif not tube.held:
            for answers in tube.answers or (None,):
                yield row | {"kind": "negative", "answers": answers}


def of_order(order: Order) -> Iterator[FactValues]:
    """Yield the fact of an open order. It ends when the observation service closes the order.

    The service closes it when the days are complete and the tests are negative. The last day is the earliest end.
    """
    if order.state == "open":
        yield _row(order, order.opened_at) | {
            "resident_id": order.resident_id,
            "kind": "order",
            "variant": order.kind,
            "earliest_end": order.ends_at,
        }


def of_referral(referral: Referral) -> Iterator[FactValues]:
    """Yield the hospital's outcome for a referred person. It answers the record that led to the referral."""
    if referral.state in ("ruled_out", "admitted", "confirmed"):
        at = referral.closed_at or referral.handed_over_at or referral.reported_at
        yield _row(referral, at) | {
            "resident_id": referral.resident_id,
            "kind": "referral",
            "variant": referral.state,
            "answers": referral.evidence_id,
        }


def decides(fact: FactValues) -> bool:
    """Whether a fact can change a colour. `tables.DECIDING` is the same condition in SQL."""
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

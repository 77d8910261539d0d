"""Pure rules of tubes: their numbers, their transitions, the decision on a swab, and what a person reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import msgspec

from shared.contracts.testing import CampaignState, Outcome, SampleException, TubePeople, TubeState
from shared.crypto.code_tokens import Fault, Genuine

TubeMove = Literal["seal", "depart", "receive", "report", "discard", "give_up"]

TUBE_MOVES: dict[tuple[TubeState, TubeMove], TubeState] = {
    ("open", "seal"): "sealed",
    ("open", "discard"): "discarded",
    ("sealed", "depart"): "in_transit",
    ("sealed", "receive"): "received",
    ("sealed", "discard"): "discarded",
    ("in_transit", "receive"): "received",
    ("in_transit", "discard"): "discarded",
    ("received", "report"): "resulted",
    ("received", "discard"): "discarded",
    ("resulted", "report"): "resulted",
    ("resulted", "give_up"): "discarded",
}
"""All allowed moves; every other pair is forbidden. Statements take their states from here.

A tube can be received although its departure was not scanned. A second report is a correction. A tube with a result
cannot be discarded, but a held one can be given up (`discard_move`).
"""


def move(state: TubeState, by: TubeMove) -> TubeState | None:
    """Return the state after a move, or None if the move is forbidden."""
    return TUBE_MOVES.get((state, by))


def states_before(by: TubeMove) -> list[TubeState]:
    """Return the states in which a move is allowed, for statements that move many tubes."""
    return [state for state, move in TUBE_MOVES if move == by]


def discard_move(outcome: Outcome | None, *, missing: int) -> TubeMove:
    """Return the move by which a tube with this outcome is discarded.

    A negative or invalid result is held, and in force for nobody, while records are missing. If they never arrive, the
    tube must be given up: otherwise its people would wait for ever and never be swabbed again. A positive or
    inconclusive result is in force at once, so such a tube stays.
    """
    return "give_up" if missing > 0 and outcome in ("negative", "invalid") else "discard"


# Numbers ------------------------------------------------------------------------------------------------------------

SERIAL_DIGITS = 11
TUBE_NUMBER = r"^[0-9A-Za-z-]{1,40}$"
"""The characters of a tube number. Only a roll decides whether the number was issued."""


def number_of(serial: int) -> str:
    """Return the number on a tube: eleven digits and a GS1 check digit, so that a typing error is noticed."""
    digits = f"{serial:0{SERIAL_DIGITS}d}"
    return digits + check_digit(digits)


def check_digit(digits: str) -> str:
    """Return the GS1 check digit: with weights 3 and 1 from the right, the sum is a multiple of ten."""
    total = sum(int(digit) * (3, 1)[index % 2] for index, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def serial_of(number: str) -> int | None:
    """Return the serial of a tube number, or None if the system cannot have issued it."""
    if len(number) != SERIAL_DIGITS + 1 or not (number.isascii() and number.isdigit()):
        return None
    return int(number[:-1]) if check_digit(number[:-1]) == number[-1] else None


# Swabs --------------------------------------------------------------------------------------------------------------

Refused = Literal[
    "clock_ahead",
    "tube_unknown",
    "tube_of_other_round",
    "resident_unknown",
    "tube_discarded",
    "tube_sealed",
    "not_in_manifest",
    "campaign_not_open",
    "sampled_before_round",
    "twice_in_round",
    "single_only",
    "sampled_before_call",
    "tube_full",
    "code_malformed",
    "code_forged",
    "code_not_yet",
    "code_expired",
]
"""The codes of the problems with which a swab can be refused."""


NOBODY = UUID(int=0)
"""The resident id of a swab whose code is not genuine."""

MOST_OF_A_CODE = 1_000
"""Most characters of a scanned text. A longer text makes the whole batch invalid."""

REFUSED_CODES: Mapping[Fault, Refused] = {
    "malformed": "code_malformed",
    "unknown_key": "code_forged",
    "forged": "code_forged",
    "not_yet": "code_not_yet",
    "expired": "code_expired",
}


class SentSwab(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One record as a device sends it. It has either a resident's id or the text of a scanned code."""

    id: UUID
    campaign_id: UUID
    tube_number: Annotated[str, msgspec.Meta(pattern=TUBE_NUMBER)]
    sampled_at: Annotated[datetime, msgspec.Meta(tz=True)]
    offline: bool
    resident_id: UUID | None = None
    token: Annotated[str, msgspec.Meta(max_length=MOST_OF_A_CODE)] | None = None


class Swab(msgspec.Struct, frozen=True, gc=False):
    """One record of a device. `offline`: the swab was already taken; otherwise the device asks first.

    `scanned`: the person was read from a code. `fault`: what is wrong with that code. A genuine code of another time
    still identifies its person. With any other fault the person is `NOBODY`.
    """

    id: UUID
    campaign_id: UUID
    tube_number: str
    resident_id: UUID
    sampled_at: datetime
    offline: bool
    scanned: bool = False
    fault: Fault | None = None

    def is_same(self, other: "Swab") -> bool:
        """Return whether both record the same swab. The person may be given by id or by code."""
        return self.of == other.of

    @property
    def of(self) -> tuple[UUID, UUID, str, UUID, datetime, bool]:
        """The recorded values."""
        return self.id, self.campaign_id, self.tube_number, self.resident_id, self.sampled_at, self.offline


def of_code(sent: SentSwab, read: Genuine | Fault, now: datetime, leeway: timedelta) -> Swab:
    """Return the swab of a person whose code was scanned.

    The code must be valid at the time of the swab. That time is `now` if the device asks first. Otherwise it is
    `sampled_at` by the device's own clock, which may be wrong by `leeway`.
    """
    person, fault = NOBODY, None if isinstance(read, Genuine) else read
    if isinstance(read, Genuine):
        person = read.resident_id
        fault = read.fault_at(sent.sampled_at, leeway) if sent.offline else read.fault_at(now)
    return Swab(sent.id, sent.campaign_id, sent.tube_number, person, sent.sampled_at, sent.offline, True, fault)


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """The facts of the round of a tube."""

    id: UUID
    state: CampaignState
    opens_at: datetime
    closes_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None

    def starts(self) -> datetime:
        """Return when swabs of the round may begin: at its window, or when it was opened if that was earlier."""
        return self.opens_at if self.opened_at is None else min(self.opens_at, self.opened_at)

    def ends(self) -> datetime:
        """Return when the round ends: with its window, or when it was closed or cancelled if that was earlier."""
        return self.closes_at if self.ended_at is None else min(self.closes_at, self.ended_at)


@dataclass(slots=True)
class TubeFacts:
    """The facts of the tube of a swab. `people` grows while a batch is decided."""

    id: UUID
    state: TubeState
    capacity: int
    people: int
    manifest: frozenset[UUID] | None
    round: RoundFacts


class PersonFacts(msgspec.Struct, gc=False):
    """The facts of a person in one round. `tubes` are those that already hold a sample of the person."""

    known: bool
    active: bool = True
    counted: bool = False
    single_only: bool = False
    tubes: tuple[UUID, ...] = ()
    called_by: Mapping[UUID, datetime] = {}
    """The pools of the person's open retests, and when each was reported."""


class Decision(NamedTuple):
    """The decision on a swab: refused, kept, kept with an exception, or kept as a retest of pools."""

    refused: Refused | None = None
    exception: SampleException | None = None
    answers: tuple[UUID, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether the swab counts as the person's one swab of the round."""
        return self.refused is None and self.exception is None and not self.answers


REGULAR = Decision()


def decide(swab: Swab, tube: TubeFacts | None, person: PersonFacts, now: datetime, ahead: timedelta) -> Decision:
    """Decide one swab.

    If the device asks before the swab, everything that is not allowed is refused. A swab that was already taken,
    offline or listed in the manifest of a sealed tube, is kept with an exception, so that the trace of a positive tube
    is complete.
    """
    if swab.sampled_at > now + ahead:
        return Decision("clock_ahead")
    if tube is None:
        return Decision("tube_unknown")
    if tube.round.id != swab.campaign_id:
        return Decision("tube_of_other_round")
    listed = tube.manifest is not None and swab.id in tube.manifest
    happened = swab.offline or listed
    refused = (
        _person_refuses(swab, person, happened) or _tube_refuses(swab, tube, listed) or _round_refuses(swab, tube.round)
    )
    if refused:
        return Decision(refused)
    # With a code of another time it is not certain who was swabbed, so the swab must not answer a retest.
    answers = () if swab.fault else _answers(swab, tube, person)
    # A swab already taken has its own time. A swab asked for happens now, even if the device's clock is slow.
    taken = swab.sampled_at if happened else max(swab.sampled_at, now)
    exception = None if answers else _exception(tube, person, taken)
    if exception is None and tube.people >= tube.capacity:
        exception = "over_capacity"
    if exception is None and swab.fault:
        exception = "stale_code"
    if exception is None and not answers:
        return REGULAR
    if exception is None or happened:
        return Decision(exception=exception, answers=() if exception else answers)
    return Decision(_refused(exception, tube, person))


ONLINE: dict[SampleException, Refused] = {
    "over_capacity": "tube_full",
    "twice_in_round": "twice_in_round",
    "single_only": "single_only",
    "after_close": "campaign_not_open",
    "stale_code": "code_expired",
}
"""The refusal, before the swab, for each exception that a swab already taken would get."""


def _refused(exception: SampleException, tube: TubeFacts, person: PersonFacts) -> Refused:
    """Return why a swab is refused. A person called to a retest must not read that no swab is needed."""
    if exception == "twice_in_round" and person.called_by:
        return "single_only" if tube.capacity > 1 else "sampled_before_call"
    return ONLINE[exception]


def _person_refuses(swab: Swab, person: PersonFacts, happened: bool) -> Refused | None:
    """Refuse a code that is not genuine. Before the swab, refuse also a code of another time."""
    if swab.fault and (swab.resident_id == NOBODY or not happened):
        return REFUSED_CODES[swab.fault]
    return None if person.known and (person.active or happened) else "resident_unknown"


def _tube_refuses(swab: Swab, tube: TubeFacts, listed: bool) -> Refused | None:
    if tube.state == "discarded":
        return "tube_discarded"
    if tube.manifest is not None and not listed:
        return "not_in_manifest" if swab.offline else "tube_sealed"
    return None


def _round_refuses(swab: Swab, of: RoundFacts) -> Refused | None:
    if of.opened_at is None:
        return "campaign_not_open"
    return "sampled_before_round" if swab.sampled_at < of.starts() else None


def _answers(swab: Swab, tube: TubeFacts, person: PersonFacts) -> tuple[UUID, ...]:
    """Return the pools that a swab answers: only in a single tube, and only if taken after the pool's result."""
    if tube.capacity != 1:
        return ()
    return tuple(sorted(pool for pool, reported in person.called_by.items() if reported < swab.sampled_at))


def _exception(tube: TubeFacts, person: PersonFacts, taken: datetime) -> SampleException | None:
    if person.counted or tube.id in person.tubes:
        return "twice_in_round"
    if person.single_only and tube.capacity > 1:
        return "single_only"
    return "after_close" if taken > tube.round.ends() else None


# What a person reads ------------------------------------------------------------------------------------------------

OwnStage = Literal["open", "sealed", "in_transit", "received", "under_retest", "retested", "resulted", "discarded"]
OwnOutcome = Literal["negative", "positive", "invalid", "retest"]


def own_result(
    state: TubeState, outcome: Outcome | None, people: TubePeople, *, held: bool, drill: bool, retested: bool
) -> tuple[OwnStage, OwnOutcome | None]:
    """Return the stage and the outcome of a tube that a person in it reads.

    A positive pool, or the grey zone of any tube, does not say who is infected. Its people read `retest` until their
    own single swab has a result (`retested`). Only a single tube is positive for its person. A negative pool is
    negative for all its people once all of them are known (not `held`). The result of a drill is shown to nobody.
    """
    if state != "resulted" or outcome is None or drill:
        return state, None
    if outcome == "inconclusive" or (outcome == "positive" and people == "pool"):
        return ("retested", None) if retested else ("under_retest", "retest")
    if held and outcome != "positive":
        return "received", None
    return "resulted", outcome


def after_move(exception: SampleException | None, *, target_capacity: int) -> SampleException | None:
    """Return the exception that a sample keeps after a move to a tube with room. Capacity exceptions end there."""
    if exception == "over_capacity" or (exception == "single_only" and target_capacity == 1):
        return None
    return exception

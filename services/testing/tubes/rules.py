"""Tubes: their numbers, which step may follow which, and what becomes of a swab. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import msgspec

from shared.code_tokens import Fault, Genuine
from shared.contracts.testing import CampaignState, Outcome, SampleException, TubePeople, TubeState

TubeMove = Literal["seal", "depart", "receive", "report", "discard"]

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
}
"""Every pair that is not here is forbidden. A tube may reach the laboratory although nobody scanned its departure; a
second report is a correction."""


def move(state: TubeState, by: TubeMove) -> TubeState | None:
    """The state after a step, or None if the step is forbidden."""
    return TUBE_MOVES.get((state, by))


# Numbers ------------------------------------------------------------------------------------------------------------

SERIAL_DIGITS = 11
TUBE_NUMBER = r"^[0-9A-Za-z-]{1,40}$"
"""What a tube may be called; only its roll says whether it is one of ours."""


def number_of(serial: int) -> str:
    """The number on a tube: eleven digits and a check digit (GS1), so that a typing slip is noticed."""
    digits = f"{serial:0{SERIAL_DIGITS}d}"
    return digits + check_digit(digits)


def check_digit(digits: str) -> str:
    """The GS1 check digit: with weights 3 and 1 from the right, everything adds up to a multiple of ten."""
    total = sum(int(digit) * (3, 1)[place % 2] for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def serial_of(number: str) -> int | None:
    """The serial of a tube number, or None if it cannot be one of ours."""
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
"""The codes of the problems a swab can be refused with."""


NOBODY = UUID(int=0)
"""Who a code names that is not genuine."""

MOST_OF_A_CODE = 1_000
"""Characters of a scanned text that are read. A longer text keeps its whole batch out."""

REFUSED_CODES: Mapping[Fault, Refused] = {
    "malformed": "code_malformed",
    "unknown_key": "code_forged",
    "forged": "code_forged",
    "not_yet": "code_not_yet",
    "expired": "code_expired",
}


class SentSwab(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One record as a device sends it: of exactly one of a resident's id and the text of a scanned code."""

    id: UUID
    campaign_id: UUID
    tube_number: Annotated[str, msgspec.Meta(pattern=TUBE_NUMBER)]
    sampled_at: Annotated[datetime, msgspec.Meta(tz=True)]
    offline: bool
    resident_id: UUID | None = None
    token: Annotated[str, msgspec.Meta(max_length=MOST_OF_A_CODE)] | None = None


class Swab(msgspec.Struct, frozen=True, gc=False):
    """One record of a device. `offline`: the swab has been taken already; else the device asks first.

    `scanned`: the person was read from a code. `fault`: what is wrong with that code. A genuine code of another time
    still names its person; any other names `NOBODY`.
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
        """Whether both say the same of the same swab, however each names the person."""
        return self.of == other.of

    @property
    def of(self) -> tuple[UUID, UUID, str, UUID, datetime, bool]:
        """What is recorded of it."""
        return self.id, self.campaign_id, self.tube_number, self.resident_id, self.sampled_at, self.offline


def of_code(sent: SentSwab, read: Genuine | Fault, now: datetime, leeway: timedelta) -> Swab:
    """A swab of a person whose code was scanned.

    The code must be of the time of the swab: of now if the device asks first, else of `sampled_at` by the device's own
    clock, which may be wrong by `leeway`.
    """
    person, fault = NOBODY, None if isinstance(read, Genuine) else read
    if isinstance(read, Genuine):
        person = read.resident_id
        fault = read.fault_at(sent.sampled_at, leeway) if sent.offline else read.fault_at(now)
    return Swab(sent.id, sent.campaign_id, sent.tube_number, person, sent.sampled_at, sent.offline, True, fault)


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """What is known of the round a tube belongs to."""

    id: UUID
    state: CampaignState
    opens_at: datetime
    closes_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None

    def starts(self) -> datetime:
        """From when on swabs may belong to the round: its window, or when it was opened if that was earlier."""
        return self.opens_at if self.opened_at is None else min(self.opens_at, self.opened_at)

    def ends(self) -> datetime:
        """Until when swabs belong to the round."""
        return self.closes_at if self.ended_at is None else min(self.closes_at, self.ended_at)


@dataclass(slots=True)
class TubeFacts:
    """What is known of the tube a swab goes into. `people` grows while a batch is decided."""

    id: UUID
    state: TubeState
    capacity: int
    people: int
    manifest: frozenset[UUID] | None
    round: RoundFacts


class PersonFacts(msgspec.Struct, gc=False):
    """What is known of a person in one round. `tubes` are those that hold a sample of the person already."""

    known: bool
    active: bool = True
    counted: bool = False
    single_only: bool = False
    tubes: tuple[UUID, ...] = ()
    called_by: Mapping[UUID, datetime] = {}
    """Pools because of which the person is called to a retest, and when each was reported."""


class Decision(NamedTuple):
    """What becomes of a swab: refused, or kept, perhaps with an exception, perhaps as a retest of pools."""

    refused: Refused | None = None
    exception: SampleException | None = None
    answers: tuple[UUID, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether the swab takes the person's one place in the round."""
        return self.refused is None and self.exception is None and not self.answers


REGULAR = Decision()


def decide(swab: Swab, tube: TubeFacts | None, person: PersonFacts, now: datetime, ahead: timedelta) -> Decision:
    """What becomes of one swab.

    Before the swab everything is refused that must not be. What has happened already, offline or in the manifest of a
    sealed tube, is kept as a member with an exception, so that a positive's trace is whole.
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
    # Who was swabbed is not sure enough to set anybody free when the code was of another time.
    answers = () if swab.fault else _answers(swab, tube, person)
    # What has happened says when; what is asked for happens now, whatever the device's clock says.
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
"""What would be an exception afterwards is refused beforehand."""


def _refused(exception: SampleException, tube: TubeFacts, person: PersonFacts) -> Refused:
    """Why a swab is not taken. Who is called to a retest is not told that no swab is needed."""
    if exception == "twice_in_round" and person.called_by:
        return "single_only" if tube.capacity > 1 else "sampled_before_call"
    return ONLINE[exception]


def _person_refuses(swab: Swab, person: PersonFacts, happened: bool) -> Refused | None:
    """A code that is not genuine names nobody; one of another time is asked for again, if there is time to ask."""
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
    """The pools a swab answers: only a tube of one's own, and only a swab taken after the pool's result."""
    if tube.capacity != 1:
        return ()
    return tuple(sorted(pool for pool, reported in person.called_by.items() if reported < swab.sampled_at))


def _exception(tube: TubeFacts, person: PersonFacts, taken: datetime) -> SampleException | None:
    if person.counted or tube.id in person.tubes:
        return "twice_in_round"
    if person.single_only and tube.capacity > 1:
        return "single_only"
    return "after_close" if taken > tube.round.ends() else None


# What a person is told ------------------------------------------------------------------------------------------------

OwnStage = Literal["open", "sealed", "in_transit", "received", "under_retest", "retested", "resulted", "discarded"]
OwnOutcome = Literal["negative", "positive", "invalid", "retest"]


def told(
    state: TubeState, outcome: Outcome | None, people: TubePeople, *, held: bool, drill: bool, retested: bool
) -> tuple[OwnStage, OwnOutcome | None]:
    """The stage and the outcome that a person in a tube reads of it.

    A positive pool, or the grey zone of any tube, says of nobody that they are infected: its people read `retest` until
    a single swab of their own has a result (`retested`). Only a tube with nobody else in it is positive of a person; a
    negative pool is negative of all its people, once all of them are known (not `held`). A drill's result is nobody's.
    """
    if state != "resulted" or outcome is None or drill:
        return state, None
    if outcome == "inconclusive" or (outcome == "positive" and people == "pool"):
        return ("retested", None) if retested else ("under_retest", "retest")
    if held and outcome != "positive":
        return "received", None
    return "resulted", outcome


def after_move(exception: SampleException | None, *, target_capacity: int) -> SampleException | None:
    """What is left of a sample's exception in another tube that has room: too many there is not too many here."""
    if exception == "over_capacity" or (exception == "single_only" and target_capacity == 1):
        return None
    return exception

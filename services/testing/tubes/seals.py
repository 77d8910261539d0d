"""Seals: the manifest of a seal fixes the people of a tube.

A listed record may arrive after the seal. An unlisted record that is in the tube is set aside, and one that arrives
later is refused. So the outcome does not depend on the order of arrival.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from services.testing.answers import refusal
from services.testing.laboratories.use_cases import LaboratoryUnknown, known_laboratories, some_laboratories
from services.testing.limits import CLOCK_AHEAD
from services.testing.problems import ManifestWrong, SealDiffers, TubeDiscarded, TubeUnknown
from services.testing.retests import use_cases as retests
from services.testing.tubes import lookup
from services.testing.tubes.corrections import RECOUNT_TUBES
from services.testing.tubes.lookup import Named
from services.testing.tubes.rules import states_before
from services.testing.tubes.schemas import Seal, SealAnswer
from services.testing.tubes.serialization import publish_tubes
from shared.database.unit_of_work import UnitOfWork
from shared.problems import ClockAhead, Language, Problem

# Listed samples that can never be in this tube, because they were undone or recorded in another tube.
SELECT_STRAY_SAMPLES = text("""
    SELECT listed.tube_id, count(*) AS samples
    FROM unnest(CAST(:tubes AS uuid[]), CAST(:samples AS uuid[])) AS listed (tube_id, sample_id)
    JOIN samples ON samples.id = listed.sample_id
    WHERE samples.tube_id <> listed.tube_id OR samples.undone_at IS NOT NULL
    GROUP BY listed.tube_id
""")

SET_ASIDE_SAMPLES = text("""
    WITH aside AS (
        DELETE FROM samples USING tubes
        WHERE tubes.id = samples.tube_id AND tubes.id = ANY(CAST(:tubes AS uuid[])) AND undone_at IS NULL
          AND NOT EXISTS (
              SELECT FROM unnest(CAST(:tubes_listed AS uuid[]), CAST(:samples_listed AS uuid[]))
                  AS listed (tube_id, sample_id)
              WHERE listed.tube_id = samples.tube_id AND listed.sample_id = samples.id)
        RETURNING samples.*, tubes.number
    ), kept AS (
        INSERT INTO refused_samples
            (id, region, sample_id, campaign_id, tube_number, resident_id, sampled_at, reason)
        SELECT uuidv7(), region, id, campaign_id, number, resident_id, sampled_at, 'not_in_manifest' FROM aside
        ORDER BY id
        ON CONFLICT (sample_id, reason) DO UPDATE SET resolved_at = NULL, version = refused_samples.version + 1
    )
    SELECT id, tube_id FROM aside ORDER BY id
""")

SEAL_TUBES = text("""
    UPDATE tubes SET state = 'sealed', sealed_at = seal.sealed_at, manifest = CAST(seal.manifest AS uuid[]),
        laboratory = coalesce(seal.laboratory, tubes.laboratory),
        people = coalesce(held.regular, 0),
        missing = cardinality(CAST(seal.manifest AS uuid[])) - coalesce(held.samples, 0),
        version = version + 1, updated_at = :now
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:sealed AS timestamptz[]), CAST(:manifests AS text[]), CAST(:laboratories AS text[])
    ) AS seal (id, sealed_at, manifest, laboratory)
    LEFT JOIN (
        SELECT tube_id, count(*) AS samples, count(*) FILTER (WHERE exception IS NULL) AS regular
        FROM samples WHERE tube_id = ANY(CAST(:ids AS uuid[])) AND undone_at IS NULL GROUP BY tube_id
    ) AS held ON held.tube_id = seal.id
    WHERE tubes.id = seal.id AND tubes.state = ANY(CAST(:states AS text[]))
    RETURNING tubes.id, tubes.missing
""")


@dataclass
class Batch:
    """One batch of seals while it is decided. The answers are kept by the index of the seal."""

    seals: Sequence[Seal]
    language: Language
    answers: dict[int, SealAnswer] = field(default_factory=dict)

    def refuse(self, position: int, problem: type[Problem], at: str, **values: object) -> None:
        """Answer a seal with a problem."""
        shown: dict[str, Any] = dict(values)
        refused = refusal(problem(at=f"/items/{position}/{at}", **shown), self.language)
        self.answers[position] = SealAnswer(
            tube_number=self.seals[position].tube_number, status="refused", problem=refused
        )


async def seal_tubes(uow: UnitOfWork, seals: Sequence[Seal], language: Language) -> list[SealAnswer]:
    """Seal a batch of tubes. Returns one answer for each seal, in order."""
    batch = Batch(seals, language)
    named = await lookup.find_tubes(uow, (seal.tube_number for seal in seals))
    known = await known_laboratories(uow, (seal.laboratory for seal in seals if seal.laboratory))
    async with uow.unscoped():
        tubes = await lookup.create_and_lock(uow, list(named.values()))
        wanted = _decide(uow, batch, named, tubes)
        await _refuse_unknown(uow, batch, wanted, known)
        for id_, count in (await _stray(uow, batch, wanted)).items():
            batch.refuse(wanted.pop(id_), ManifestWrong, "manifest", count=count)
        if wanted:
            await _seal(uow, batch, wanted)
    _answer_twins(batch)
    return [batch.answers[position] for position in range(len(seals))]


def _decide(
    uow: UnitOfWork, batch: Batch, named: Mapping[str, Named], tubes: Mapping[UUID, RowMapping]
) -> dict[UUID, int]:
    """Answer the seals that need no statement. Returns the others: the index of the seal for each tube to seal."""
    wanted: dict[UUID, int] = {}
    for position, seal in enumerate(batch.seals):
        tube = tubes.get(named[seal.tube_number].id) if seal.tube_number in named else None
        if tube is None:
            batch.refuse(position, TubeUnknown, "tube_number")
        elif tube["state"] == "discarded":
            batch.refuse(position, TubeDiscarded, "tube_number")
        elif tube["manifest"] is not None:
            _answer_sealed(batch, position, frozenset(tube["manifest"]), tube["missing"])
        elif seal.sealed_at > uow.now + CLOCK_AHEAD:
            batch.refuse(position, ClockAhead, "sealed_at")
        else:
            wanted.setdefault(tube["id"], position)
    return wanted


async def _refuse_unknown(uow: UnitOfWork, batch: Batch, wanted: dict[UUID, int], known: Set[str]) -> None:
    """Refuse seals for unregistered laboratories. The tube stays open and can be sealed for another laboratory."""
    unknown = {id_: name for id_, at in wanted.items() if (name := batch.seals[at].laboratory) and name not in known}
    some = await some_laboratories(uow) if unknown else ""
    for id_, name in unknown.items():
        batch.refuse(wanted.pop(id_), LaboratoryUnknown, "laboratory", laboratory=name, known=some)


def _answer_sealed(batch: Batch, position: int, manifest: frozenset[UUID], missing: int) -> None:
    seal = batch.seals[position]
    if manifest == frozenset(seal.manifest):
        batch.answers[position] = SealAnswer(tube_number=seal.tube_number, status="already", missing=missing)
    else:
        batch.refuse(position, SealDiffers, "manifest")


def _answer_twins(batch: Batch) -> None:
    """Answer a second seal of the same tube in the batch."""
    first = {
        batch.seals[position].tube_number: (batch.seals[position], answer)
        for position, answer in sorted(batch.answers.items())
    }
    for position, seal in enumerate(batch.seals):
        if position not in batch.answers:
            other, answer = first[seal.tube_number]
            if answer.status == "refused":
                batch.answers[position] = answer
            else:
                _answer_sealed(batch, position, frozenset(other.manifest), answer.missing)


def _listed(batch: Batch, wanted: Mapping[UUID, int]) -> tuple[list[UUID], list[UUID]]:
    pairs = [(id_, sample) for id_, position in wanted.items() for sample in batch.seals[position].manifest]
    return [tube for tube, _ in pairs], [sample for _, sample in pairs]


async def _stray(uow: UnitOfWork, batch: Batch, wanted: Mapping[UUID, int]) -> dict[UUID, int]:
    tubes, samples = _listed(batch, wanted)
    rows = await uow.rows(SELECT_STRAY_SAMPLES, tubes=tubes, samples=samples)
    return {row["tube_id"]: row["samples"] for row in rows}


async def _seal(uow: UnitOfWork, batch: Batch, wanted: Mapping[UUID, int]) -> None:
    tubes, samples = _listed(batch, wanted)
    aside: dict[UUID, list[UUID]] = {}
    for row in await uow.rows(SET_ASIDE_SAMPLES, tubes=list(wanted), tubes_listed=tubes, samples_listed=samples):
        aside.setdefault(row["tube_id"], []).append(row["id"])
    if aside:
        await retests.recall(uow, aside)
        await uow.run(RECOUNT_TUBES, ids=list(aside))
    seals = [batch.seals[position] for position in wanted.values()]
    sealed = await uow.rows(
        SEAL_TUBES,
        ids=list(wanted),
        sealed=[seal.sealed_at for seal in seals],
        manifests=["{" + ",".join(str(id_) for id_ in sorted(seal.manifest)) + "}" for seal in seals],
        laboratories=[seal.laboratory for seal in seals],
        states=states_before("seal"),
        now=uow.now,
    )
    for row in sealed:
        position = wanted[row["id"]]
        batch.answers[position] = SealAnswer(
            tube_number=batch.seals[position].tube_number,
            status="sealed",
            missing=row["missing"],
            set_aside=aside.get(row["id"], []),
        )
    await publish_tubes(uow, wanted, change="sealed")

"""Batches: one answer for each item. A refused item carries its problem in the caller's language."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from fastapi import Depends, Header, Response
from pydantic import BaseModel, ConfigDict, Field

from shared.problems import Language, Problem, ProblemError, language_of


class Refusal(BaseModel):
    """Why one item of a batch was refused: an RFC 9457 problem without the request's own fields."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(examples=["/problems/tube_full"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable name of the problem, for programs.", examples=["tube_full"])
    errors: list[ProblemError] | None = None


class Answers(Response):
    """One answer for each item, encoded by msgspec. The Pydantic models only declare the response."""

    media_type = "application/json"

    def __init__(self, items: Sequence[msgspec.Struct]) -> None:
        super().__init__(msgspec.json.encode({"items": items}))


def refusal(problem: Problem, language: Language) -> Refusal:
    """Convert a problem to the answer for one item."""
    body: dict[str, Any] = problem.body(language)
    return Refusal.model_validate(body)


async def _language(accept_language: Annotated[str | None, Header(include_in_schema=False)] = None) -> Language:
    return language_of(accept_language)


LanguageAsked: TypeAlias = Annotated[Language, Depends(_language)]
"""The language in which refused items are explained."""

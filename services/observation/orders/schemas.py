"""Requests of orders, and the plan of an order."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from services.observation.people.rules import EndReason
from shared.contracts.observation import OrderKind, OrderState
from shared.contracts.resource import Schema


class Conversion(Schema):
    """Another kind of observation for the rest of the days."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "home", "reason": "需每周三次血液透析，家中有单独房间", "own_room": True}]
        }
    )

    kind: Literal["central", "home"]
    reason: str = Field(min_length=2, max_length=500)
    own_room: bool = Field(default=False, description="Whether staff have seen a separate room.")


class Extension(Schema):
    """Days to add to those of the protocol."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"days": 7, "reason": "同住人员期间出现症状"}]})

    days: int = Field(ge=1, le=30, description="Days to add.")
    reason: str = Field(min_length=2, max_length=500)


class EarlyEnd(Schema):
    """The reason to end an observation before its days or tests are complete."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "户籍登记有误，该人员并未与阳性人员同住"}]})

    reason: str = Field(min_length=2, max_length=500)


class EarlyEndOf(EarlyEnd):
    """The early end of one order for the listed exposures. A later exposure is not covered."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "reason": "户籍登记有误，该人员并未与阳性人员同住",
                    "order_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d51",
                    "day_0": "2021-01-20",
                    "exposures": ["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d61"],
                }
            ]
        }
    )

    order_id: UUID
    day_0: date
    exposures: list[UUID]


class ConversionOf(Conversion):
    """The conversion of one order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "home",
                    "reason": "需每周三次血液透析，家中有单独房间",
                    "own_room": True,
                    "order_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d51",
                }
            ]
        }
    )

    order_id: UUID


class ExtensionOf(Extension):
    """The extension of one order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"days": 7, "reason": "同住人员期间出现症状", "order_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d51"}
            ]
        }
    )

    order_id: UUID


class TestDay(Schema):
    """A test required by the protocol."""

    day: int
    date: date
    done: bool = Field(description="Whether the person has a negative single-tube result for it.")


class OrderPlan(Schema):
    """The days and tests of an order, and what is missing before it can end."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "order_id": "018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d51",
                    "state": "open",
                    "kind": "home",
                    "protocol": 1,
                    "day_0": "2021-01-21",
                    "day": 3,
                    "days": 14,
                    "ends_at": "2021-02-05T00:00:00+08:00",
                    "tests": [{"day": 1, "date": "2021-01-22", "done": True}],
                    "visits_a_day": 1,
                    "temperatures_a_day": 2,
                    "may_end": False,
                    "end_reason": None,
                    "kind_reason": None,
                    "extra_reason": None,
                }
            ]
        }
    )

    order_id: UUID
    state: OrderState
    kind: OrderKind
    protocol: int
    day_0: date
    day: int = Field(description="The number of today. Day 0 is the day of last exposure (Asia/Shanghai).")
    days: int = Field(description="Days to complete, including extensions.")
    ends_at: datetime
    tests: list[TestDay]
    visits_a_day: int
    temperatures_a_day: int
    may_end: bool
    end_reason: EndReason | None
    kind_reason: str | None = Field(description="Why staff chose a kind other than the protocol's.")
    extra_reason: str | None = Field(description="Why staff added days.")

"""Settings: what production does not take."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.core.settings import Settings

SOUND: dict[str, Any] = {
    "service": "gateway",
    "database_url": "postgresql://",
    "redis_url": "redis://",
    "keys": "/keys",
    "production": True,
    "development_issuer": False,
    "public_url": "https://fangxian.example",
}


def test_production_takes_what_is_sound() -> None:
    assert Settings(**SOUND).production


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("development_issuer", True),
        ("demonstration_ids", True),
        ("public_url", "http://fangxian.example"),
        ("publish", False),
        ("wake_subscribers", False),
        ("key_waits", 0.3),
    ],
)
def test_production_refuses_what_is_for_tests_and_demonstrations(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=f"FANGXIAN_{name.upper()}"):
        Settings(**SOUND | {name: value})

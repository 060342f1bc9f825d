"""docs/console.md tells every field of the status document, and its picture is there."""

import re
from pathlib import Path
from typing import Any

import pytest

from sidecar.console import Console
from sidecar.console.token import FILE_VARIABLE, VARIABLE
from sidecar.model import BreakerState, Outcome, Phase
from sidecar.telemetry import Telemetry
from tests.console.test_status import fill

PAGE = Path(__file__).parents[2] / "docs" / "console.md"
TEXT = PAGE.read_text()


def fields(value: Any) -> set[str]:
    """Collect the field names of a document, but for words of the closed sets."""
    if isinstance(value, list | tuple):
        return set[str]().union(*(fields(each) for each in value))
    if isinstance(value, dict):
        return set(value).union(*(fields(each) for each in value.values()))
    return set()


def test_every_field_is_documented() -> None:
    telemetry = Telemetry()
    console = Console(telemetry, mode="client")
    fill(telemetry)
    words = {*Outcome, *Phase, *BreakerState}
    documented = set(re.findall(r"`(\w+)`", TEXT))
    assert {name for name in fields(console.status()) if name not in words} - documented == set()


@pytest.mark.parametrize("name", [VARIABLE, FILE_VARIABLE])
def test_every_variable_is_documented(name: str) -> None:
    assert f"| `{name}` |" in TEXT


def test_the_picture_is_there_and_small() -> None:
    (picture,) = re.findall(r"!\[.+\]\((.+)\)", TEXT)
    assert 10_000 < (PAGE.parent / picture).stat().st_size < 300_000

"""docs/policies.md leaves out no setting and no profile."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sidecar.model import Outcome
from sidecar.policy import PROFILES, BreakerConfig, BudgetConfig, Retry

PAGE = (Path(__file__).parents[2] / "docs/policies.md").read_text()


@pytest.mark.parametrize("part", [BreakerConfig, Retry, BudgetConfig])
def test_it_names_every_setting(part: type[Any]) -> None:
    assert [field.name for field in fields(part) if not re.search(rf"\b{field.name}\b", PAGE)] == []


def test_it_tells_every_default_of_the_breaker() -> None:
    for field in fields(BreakerConfig):
        default = "`None`" if field.default is None else f"{field.default:g}"
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{field.name}` |"))
        assert row.split("|")[2].strip().removesuffix(".0") == default


def test_it_tells_every_timeout_of_every_profile() -> None:
    for profile, timeouts in PROFILES.items():
        row = next(line for line in PAGE.splitlines() if re.match(rf"\| `{profile}`.*\|.*\|.*\|.*\|.*\|.*\|", line))
        told = [cell.strip() for cell in row.split("|")[2:8]]
        limits = [getattr(timeouts, field.name) for field in fields(timeouts)]
        assert told == ["none" if limit is None else f"{limit:g}" for limit in limits]


def test_it_tells_what_every_outcome_counts_as() -> None:
    counted = PAGE[PAGE.index("| outcome | ratio |") :].partition("\n\n")[0]
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in counted] == []

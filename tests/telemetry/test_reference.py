"""The documentation names what there is."""

from pathlib import Path

import pytest

from sidecar.telemetry.families import FAMILIES
from sidecar.telemetry.reference import table, updated

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_table_has_a_row_for_every_family() -> None:
    rows = table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [family.name for family in FAMILIES]
    assert {row.replace(r"\|", "").count("|") for row in rows} == {7}


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="put them where the table belongs"):
        updated("# Metrics\n")

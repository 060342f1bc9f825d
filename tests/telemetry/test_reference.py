"""The documentation names what there is, and its examples run."""

import re
from pathlib import Path

import pytest

from sidecar.telemetry.families import FAMILIES
from sidecar.telemetry.reference import table, updated

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_table_has_a_row_for_every_family() -> None:
    rows = table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [family.name for family in FAMILIES]
    assert {row.replace(r"\|", "").count("|") for row in rows} == {7}


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="put them where the table belongs"):
        updated("# Metrics\n")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_run(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = example.replace("serve_metrics(9464)", "serve_metrics(0)")
    # Each reader begins with a process of their own; here they share one.
    monkeypatch.setattr("sidecar.telemetry.telemetry._default", None)
    exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102  # our own page


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4

"""docs/long-answers.md names everything there is."""

from dataclasses import fields
from pathlib import Path

import pytest

from sidecar.client.long.results import Completed, Ending, Limit
from sidecar.client.long.resume import MAX_TURNS

DOCS = (Path(__file__).parents[2] / "docs" / "long-answers.md").read_text()


@pytest.mark.parametrize(
    "name",
    [*(field.name for field in fields(Completed)), "text", "resumed", "finished", *Ending, *Limit],
)
def test_it_names_everything_an_answer_tells(name: str) -> None:
    assert f"`{name}`" in DOCS


def test_it_tells_how_many_turns_there_are() -> None:
    assert f"| `max_turns` | {MAX_TURNS} |" in DOCS

"""docs/long-answers.md: its examples run, and it names everything there is."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from sidecar.chaos import Chaos
from sidecar.client.long.course import MAX_TURNS
from sidecar.client.long.results import Completed, Ending, Limit

DOCS = (Path(__file__).parents[2] / "docs" / "long-answers.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_its_examples_run(example: str, chaos: Chaos, tmp_path: Path) -> None:
    chaos.enqueue("truncate;after=5;tokens=100;continue,ok;tokens=100;continue")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "ANTHROPIC_BASE_URL": chaos.url, "ANTHROPIC_API_KEY": "k"},
    )
    assert done.returncode == 0, done.stderr
    assert "Waiting is what a user feels first" in done.stdout


def test_it_has_examples() -> None:
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize(
    "name",
    [*(field.name for field in fields(Completed)), "text", "resumed", "finished", *Ending, *Limit],
)
def test_it_names_everything_an_answer_tells(name: str) -> None:
    assert f"`{name}`" in DOCS


def test_it_tells_how_many_turns_there_are() -> None:
    assert f"| `max_turns` | {MAX_TURNS} |" in DOCS

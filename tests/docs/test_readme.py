"""The README's examples run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.chaos import chaos_server

EXAMPLES = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example: str, tmp_path: Path) -> None:
    with chaos_server() as chaos:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example.replace("9464)", "0)")],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "ANTHROPIC_BASE_URL": chaos.url, "ANTHROPIC_API_KEY": "k"},
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 2

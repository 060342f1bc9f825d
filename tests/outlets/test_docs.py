"""Proves that the Python in our pages runs, and that they name every event, attribute and reason there is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.telemetry import semconv

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SNIPPETS = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in (ROOT / "docs" / name for name in ("socket.md", "traces.md", "testing.md"))
    for number, code in enumerate(BLOCK.findall(page.read_text()))
]


def test_the_pages_have_examples() -> None:
    assert len(SNIPPETS) == 7


@pytest.mark.parametrize("code", SNIPPETS)
def test_an_example_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SIDECAR_SOCKET": os.path.relpath(tmp_path / "s.sock")},
    )
    assert done.returncode == 0, done.stderr


def test_every_event_and_every_attribute_of_ours_is_documented() -> None:
    page = (ROOT / "docs" / "traces.md").read_text()
    events = {value for name, value in vars(semconv).items() if name.startswith("EVENT_")}
    metrics = {value for name, value in vars(semconv).items() if name.startswith("METRIC_")}
    assert {name for name in events | metrics if f"`{name}`" not in page} == set()


def test_every_reason_for_a_drop_is_documented() -> None:
    page = (ROOT / "docs" / "socket.md").read_text()
    sources = "".join(file.read_text() for file in (ROOT / "sidecar" / "telemetry" / "socket").glob("*.py"))
    told = set(re.findall(r'dropped\("(\w+)"', sources))
    told |= {f"socket_{reason}" for reason in re.findall(r'MalformedError\("(\w+)"', sources)}
    assert len(told) >= 6
    assert {reason for reason in told if f"`{reason}`" not in page} == set()

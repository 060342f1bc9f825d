"""Our pages name every event, attribute and reason there is."""

import re
from pathlib import Path

from sidecar.telemetry import semconv

ROOT = Path(__file__).parents[2]


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

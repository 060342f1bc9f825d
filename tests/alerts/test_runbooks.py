"""Runbooks: one for each alert, with the same five parts, and queries that could be answered."""

import re
import subprocess
from pathlib import Path

import pytest

from sidecar.alerts import ALERT_NAMES, load_values, recording_groups
from sidecar.alerts.export import Layout, bundle, default_slos
from sidecar.rules import Recording, as_prometheus
from sidecar.rules.histograms import Buckets
from sidecar.rules.model import Group
from sidecar.slo import generate, load
from tests.alerts.contract import METRICS, labels_of, metrics_in, recorded_in

PARTS = ["What it means", "Confirm it", "Likely causes, in order", "First actions", "Stand down when"]
SLOS, _ = load(default_slos())
FILES = bundle(load_values(), SLOS, Layout())
RUNBOOKS = {Path(name).stem: text for name, text in FILES.items() if name.startswith("runbooks/")}
ALL = (*recording_groups(Buckets.CLASSIC, load_values()), *generate(SLOS, Buckets.CLASSIC))
RECORDED = {rule.record for group in ALL for rule in group.rules if isinstance(rule, Recording)}


def queries(text: str) -> list[str]:
    return re.findall(r"```promql\n(.*?)```", text, re.DOTALL)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert set(RUNBOOKS) == {*ALERT_NAMES, "ClaudeErrorBudgetBurn"}


@pytest.mark.parametrize("name", RUNBOOKS)
def test_every_runbook_has_the_same_five_parts_and_two_queries(name: str) -> None:
    text = RUNBOOKS[name]
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS
    assert len(queries(text)) == 2


@pytest.mark.parametrize("name", RUNBOOKS)
def test_every_metric_label_and_alert_a_runbook_names_exists(name: str) -> None:
    text = RUNBOOKS[name]
    for metric, labels in metrics_in(text):
        assert metric in METRICS, f"{name} names {metric}"
        assert labels <= labels_of(metric)
    assert recorded_in(text) <= RECORDED
    assert set(re.findall(r"\bClaude[A-Z]\w+", text)) <= set(RUNBOOKS)


def test_promtool_can_read_every_query(tmp_path: Path) -> None:
    rules = tuple(
        Recording(record="q:q:q", expr=query.strip(), labels={"n": f"{name}{number}"})
        for name, text in RUNBOOKS.items()
        for number, query in enumerate(queries(text))
    )
    file = tmp_path / "queries.yaml"
    file.write_text(as_prometheus([Group(name="queries", rules=rules)]))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

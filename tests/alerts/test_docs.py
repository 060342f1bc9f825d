"""docs/alerts.md and docs/slo.md name what there is."""

import re
from pathlib import Path

from click.testing import CliRunner

from sidecar.alerts import ALERT_NAMES, alert_groups, load_values, recording_groups
from sidecar.alerts.export import default_slos
from sidecar.cli import main
from sidecar.rules import Recording
from sidecar.rules.histograms import Buckets
from sidecar.slo import generate, load
from tests.alerts.contract import recorded_in

DOCS = Path(__file__).parents[2] / "docs"
ALERTS, SLO = ((DOCS / name).read_text() for name in ("alerts.md", "slo.md"))


def test_every_alert_is_listed_with_its_severity() -> None:
    rows = dict(re.findall(r"^\| `(Claude\w+)` \| ([a-z, ]+) \|", ALERTS, re.MULTILINE))
    assert set(rows) == {*ALERT_NAMES, "ClaudeErrorBudgetBurn"}
    for name, values in load_values().alerts.items():
        assert rows[name] == values.given["severity"]


def test_every_recorded_series_the_pages_name_exists() -> None:
    slos, _ = load(default_slos())
    values = load_values()
    groups = (*recording_groups(Buckets.NATIVE, values), *alert_groups(values), *generate(slos, Buckets.NATIVE))
    there = {rule.record for group in groups for rule in group.rules if isinstance(rule, Recording)}
    named = recorded_in(re.sub(r"_W\b", "_5m", ALERTS + SLO))
    assert len(named) > 25
    assert named <= there


def test_the_examples_are_accepted(tmp_path: Path) -> None:
    (values,) = re.findall(r"```yaml\n# mine.yaml\n(.*?)```", ALERTS, re.DOTALL)
    load_values(values, ("ClaudeRetryStorm.attempts_per_call=2.5",))
    (slo,) = re.findall(r"```yaml\n(version.*?)```", SLO, re.DOTALL)
    for command in ("validate", "explain", "generate"):
        done = CliRunner().invoke(main, ["slo", command, "-"], input=slo)
        assert done.exit_code == 0, done.output

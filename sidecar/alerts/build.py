"""The alert rules: each symptom with its thresholds, labels and links."""

from collections.abc import Iterator
from typing import Final

from sidecar.alerts.message import annotations
from sidecar.alerts.symptoms import SYMPTOMS, Pace
from sidecar.alerts.values import Values
from sidecar.rules import Alert, Group, Rule

ALERT_NAMES: Final = tuple(SYMPTOMS)


def alert_groups(values: Values) -> tuple[Group, ...]:
    """Build the alerts that are enabled; they read counters and recorded series only, so they fit both histograms."""
    paces = {Pace.FAST: values.fast, Pace.SLOW: values.slow}
    return tuple(
        Group(name=f"claude-alerts-{pace.value}", interval=interval, rules=rules)
        for pace, interval in paces.items()
        if (rules := tuple(_rules(values, pace)))
    )


def _rules(values: Values, pace: Pace) -> Iterator[Rule]:
    """List the alerts, and before them what they read: in the same group, so that none hears of anything later."""
    built = {name: build(values.alerts[name]) for name, build in SYMPTOMS.items() if values.alerts[name].enabled}
    wanted = {name: symptom for name, symptom in built.items() if symptom.pace is pace}
    yield from {rule.record: rule for symptom in wanted.values() for rule in symptom.reads}.values()
    for name, symptom in wanted.items():
        given = values.alerts[name]
        yield Alert(
            name=name,
            expr=symptom.expr,
            hold=given["for"],
            keep=given["keep"],
            labels={"severity": values.severities[given["severity"]], **values.labels},
            annotations=annotations(values, name, symptom.summary, symptom.description, symptom.dashboard),
        )

"""Reads metrics and labels out of expressions; what there is to ask for, the families themselves say."""

import re

from sidecar.telemetry.families import FAMILIES

METRICS = {family.name: set(family.labels) for family in FAMILIES}
TARGET = {"cluster", "namespace", "job", "instance"}

WORKING = re.compile(r":(?:buckets|restarted)_5m$|:counted$|_seconds:sampled_5m$")
"""What only one of the two ways of storing histograms has recorded, for its own rules."""

_METRIC = re.compile(r"\b((?:claude|sidecar)_[a-z0-9_]+?)(_bucket|_count|_sum)?\b(?!\s*=)(?:\{([^}]*)\})?")
_RECORDED = re.compile(r"\b(?:claude|slo):[a-z0-9_:]+")
_MATCHED = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")


def metrics_in(expr: str) -> list[tuple[str, set[str]]]:
    """List metrics and the labels asked of them."""
    found = []
    for name, suffix, matchers in _METRIC.findall(expr):
        full = name if name in METRICS or not suffix else name + suffix
        found.append((full, set(_MATCHED.findall(matchers))))
    return found


def recorded_in(expr: str) -> set[str]:
    """List recorded series."""
    return set(_RECORDED.findall(expr))


def labels_of(metric: str) -> set[str]:
    """Return every label a metric may be asked for."""
    return METRICS[metric] | TARGET | {"le"}

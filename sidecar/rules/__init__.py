"""Prometheus rules as plain data: what a rule is, how windows are spelled, how rules are written down as YAML.

It knows neither our metrics nor objectives: `slo` and `alerts` build rules with it.
"""

from sidecar.rules.durations import duration, seconds
from sidecar.rules.located import Document, Fault, Node, Severity, parse_documents
from sidecar.rules.model import Alert, Group, Recording, Rule
from sidecar.rules.render import as_operator, as_prometheus

__all__ = [
    "Alert",
    "Document",
    "Fault",
    "Group",
    "Node",
    "Recording",
    "Rule",
    "Severity",
    "as_operator",
    "as_prometheus",
    "duration",
    "parse_documents",
    "seconds",
]

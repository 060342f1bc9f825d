"""Prometheus rules: what a rule is, the expressions ours are made of, and how rules are written down as YAML.

It knows the labels our metrics carry, and how histograms are read, but no threshold and no objective: `slo` and
`alerts` build rules with it.
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

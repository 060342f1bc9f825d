"""What a recording rule, an alert and a group of them are."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording rule: the result of ``expr``, stored under a name."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alerting rule."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    hold: str = "0s"
    """How long the expression must hold before the alert fires (``for``)."""
    keep: str = "0s"
    """How long the alert stays after the expression stopped holding (``keep_firing_for``)."""


Rule = Recording | Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules evaluated one after the other, at the same moment and pace."""

    name: str
    rules: tuple[Rule, ...]
    interval: str | None = None
    """None leaves the pace to Prometheus' own configuration."""

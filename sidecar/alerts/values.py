"""The thresholds table: read from ``data/values.yaml``, overridden by a team's own file and the command line.

An override must name something that exists and have its type; every fault is told with its place.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from sidecar.rules import Document, Fault, Node, parse_documents, seconds
from sidecar.slo.own import labels_in

_DURATIONS: Final = frozenset(
    {"for", "keep", "window", "baseline", "baseline_offset", "ahead", "seen", "fast", "slow", "samples"}
)
_SEVERITIES: Final = ("page", "ticket", "info")
_SHARES: Final = frozenset({"ratio", "near", "share", "left", "usual", "answers"})
_LINKS: Final = frozenset({"runbooks", "dashboards"})
_FREE: Final = frozenset({"labels"})
"""Mappings in which a team may put keys of its own."""
_LOOKBACK: Final = 300.0
"""Prometheus' default look-back: a series recorded less often has holes."""
_SAMPLED: Final = 300.0
"""What one sample covers, in seconds: taken less often, some calls would be in none."""


class ValuesError(ValueError):
    """The values do not make sense; ``faults`` lists everything wrong with them."""

    def __init__(self, faults: Iterable[Fault], where: str) -> None:
        self.faults: Final = tuple(faults)
        super().__init__("\n".join(f"{where}: {fault}" for fault in self.faults))


@dataclass(frozen=True, slots=True)
class AlertValues:
    """The settings of one alert."""

    name: str
    given: Mapping[str, Any]

    def __getitem__(self, key: str) -> str:
        """Spell a setting as PromQL has it."""
        value = self.given[key]
        return value if isinstance(value, str) else f"{value:g}"

    @property
    def enabled(self) -> bool:
        """Whether the alert is wanted."""
        return bool(self.given["enabled"])

    def by_profile(self, key: str) -> Mapping[str, float]:
        """Return a threshold that differs by profile."""
        found: Mapping[str, float] = self.given[key]
        return found


@dataclass(frozen=True, slots=True)
class Values:
    """Everything two teams may want differently."""

    alerts: Mapping[str, AlertValues]
    fast: str
    slow: str
    samples: str
    runbooks: str
    dashboards: str
    labels: Mapping[str, str]
    severities: Mapping[str, str]


def default_text() -> str:
    """Return the commented default file."""
    return (files("sidecar.alerts") / "data" / "values.yaml").read_text(encoding="utf-8")


def load_values(text: str | None = None, settings: Iterable[str] = (), *, where: str = "values") -> Values:
    """Take the defaults, then a values file's ``text``, then ``KEY=VALUE`` settings such as ``labels.team=ai``."""
    defaults, _ = parse_documents(default_text())
    merged: dict[str, Any] = defaults[0].root.plain()  # type: ignore[assignment]  # our own file
    if text is not None:
        _merge(merged, _documents(text, where), where)
    for setting in settings:
        _merge(merged, _documents(_as_yaml(setting), setting), setting)
    return _build(merged)


def _build(merged: dict[str, Any]) -> Values:
    return Values(
        alerts={name: AlertValues(name, given) for name, given in merged["alerts"].items()},
        fast=merged["intervals"]["fast"],
        slow=merged["intervals"]["slow"],
        samples=merged["intervals"]["samples"],
        runbooks=merged["links"]["runbooks"].rstrip("/"),
        dashboards=merged["links"]["dashboards"].rstrip("/"),
        labels=merged["labels"] or {},
        severities=merged["severities"],
    )


def _documents(text: str, where: str) -> list[Document]:
    documents, faults = parse_documents(text)
    if faults:
        raise ValuesError(faults, where)
    return documents


def _as_yaml(setting: str) -> str:
    """Turn ``a.b.c=1`` into the nested mapping it stands for."""
    path, equals, value = setting.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise ValuesError([Fault(1, "a setting is KEY=VALUE, such as ClaudeTimeoutSpike.ratio=0.1")], setting)
    if keys[0].startswith("Claude"):
        keys.insert(0, "alerts")
    if keys[0] in _FREE:
        value = json.dumps(value)  # a label's value is a text, whatever it looks like
    return "".join("{" + f"{key}: " for key in keys) + value + "}" * len(keys)


def _merge(into: dict[str, Any], documents: list[Document], where: str) -> None:
    for document in documents:
        _overlay(document, into, document.root, "the file")
        if document.faults:
            raise ValuesError(sorted(document.faults), where)


def _overlay(document: Document, into: dict[str, Any], node: Node, what: str) -> None:
    given = document.mapping(node, what)
    document.known(given, tuple(into), what)
    for key, child in given.items():
        if key not in into:
            continue
        if key in _FREE:
            into[key] = {**into[key], **_labels(document, child, key)}
        elif isinstance(into[key], dict):
            into[key] = dict(into[key])
            _overlay(document, into[key], child, key)
        else:
            value = _checked(document, key, into[key], child)
            into[key] = into[key] if value is None else value


def _labels(document: Document, node: Node, what: str) -> dict[str, str]:
    labels = labels_in(document, node, what)
    if "severity" in labels:
        document.error(node.line, "'severity' is set by each alert: change severities, or the alert's")
    return labels


def _checked(document: Document, key: str, default: object, node: Node) -> object:
    """Read a value of the same type as the default it replaces."""
    if isinstance(default, bool):
        return document.flag(node, key)
    if isinstance(default, int | float):
        number = document.number(node, key)
        if number is not None and (number < 0 or (key in _SHARES and number >= 1)):
            kind = "a share from 0 to below 1" if key in _SHARES else "0 or more"
            document.error(node.line, f"{key} must be {kind}, not {number:g}")
        return number
    text = document.text(node, key)
    if text is None:
        return None
    if key in _LINKS and text != default and "://" not in text:
        document.error(node.line, f"{key} must be a URL, as https://host/path, not {text!r}")
    if key in _DURATIONS:
        _check_duration(document, key, text, node.line)
    if key == "severity" and text not in _SEVERITIES:
        document.error(node.line, f"severity must be one of {', '.join(_SEVERITIES)}, not {text!r}")
    return text


def _check_duration(document: Document, key: str, text: str, line: int) -> None:
    try:
        length = seconds(text)
    except ValueError as error:
        document.error(line, f"{key}: {error}")
        return
    if key == "slow" and not 0 < length < _LOOKBACK:
        document.error(line, f"slow must be above 0 and below 5m, not {text}: less often, and Prometheus sees holes")
    elif key == "samples" and not 0 < length <= _SAMPLED:
        document.error(line, f"samples must be above 0 and at most 5m, not {text}: one covers five minutes of calls")
    elif length == 0 and key not in {"for", "keep", "baseline_offset"}:
        document.error(line, f"{key} must be longer than {text}")

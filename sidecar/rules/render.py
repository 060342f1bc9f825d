"""Rules written down: as a file for Prometheus, or as a ``PrometheusRule`` resource for its operator."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from sidecar.rules.model import Alert, Group, Rule

_WIDTH: Final = 10_000  # never fold: a folded expression or sentence is hard to read and to search


def as_prometheus(groups: Iterable[Group], header: str = "") -> str:
    """Render a rule file."""
    return _comment(header) + _dump({"groups": [_group(group) for group in groups]})


def as_operator(groups: Iterable[Group], *, name: str, labels: Mapping[str, str], header: str = "") -> str:
    """Render a ``monitoring.coreos.com/v1`` PrometheusRule."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, **({"labels": dict(labels)} if labels else {})},
        "spec": {"groups": [_group(group) for group in groups]},
    }
    return _comment(header) + _dump(resource)


def _comment(header: str) -> str:
    return "".join(f"# {line}\n" for line in header.splitlines())


def _group(group: Group) -> dict[str, Any]:
    written: dict[str, Any] = {"name": group.name}
    if group.interval:
        written["interval"] = group.interval
    written["rules"] = [_rule(rule) for rule in group.rules]
    return written


def _rule(rule: Rule) -> dict[str, Any]:
    if not isinstance(rule, Alert):
        written: dict[str, Any] = {"record": rule.record, "expr": _Text(rule.expr)}
        if rule.labels:
            written["labels"] = {name: _Text(value) for name, value in rule.labels.items()}
        return written
    written = {"alert": rule.name, "expr": _Text(rule.expr)}
    # `0s` is what Prometheus assumes; leaving it out keeps the files short.
    if rule.hold != "0s":
        written["for"] = rule.hold
    if rule.keep != "0s":
        written["keep_firing_for"] = rule.keep
    if rule.labels:
        written["labels"] = {name: _Text(value) for name, value in rule.labels.items()}
    if rule.annotations:
        written["annotations"] = {name: _Text(value) for name, value in rule.annotations.items()}
    return written


class _Text(str):
    """A string that is written as a block when it has several lines."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # PyYAML's signature
        super().increase_indent(flow, False)  # noqa: FBT003  # lists indented under their key, as rule files have it


def _text(dumper: yaml.SafeDumper, text: _Text) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|" if "\n" in text else None)


_Dumper.add_representer(_Text, _text)


def _dump(data: object) -> str:
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True))

"""Everything a team loads, as files: rules, objectives, runbooks, an Alertmanager example.

`bundle` decides what stands in which file; `write` puts it on disk and never overwrites what a team edits.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from sidecar.alerts.build import alert_groups
from sidecar.alerts.recording import recording_groups
from sidecar.alerts.values import Values
from sidecar.rules import Group, as_operator, as_prometheus
from sidecar.rules.histograms import Buckets
from sidecar.slo import Links, Slo, generate

EDITED: Final = ("slo.yaml", "values.yaml")
"""Files that are meant to be changed by hand once they are there."""
_ROUTES: Final = "alertmanager/alertmanager.example.yaml"
_SEVERITY: Final = re.compile(r'severity="(\w+)"')
_HEADER: Final = "Made by `sidecar export alerts`; change the values or the objectives instead, and export again."


class Format(StrEnum):
    """Who loads the rules."""

    PROMETHEUS = "prometheus"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How rule files are written."""

    buckets: Buckets = Buckets.CLASSIC
    form: Format = Format.PROMETHEUS
    resource_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the PrometheusRule resources, by which an operator finds them."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one file."""

    path: Path
    kept: bool
    """It was there already, differs, and was left alone."""


def default_slos() -> str:
    """Return the objectives a team starts with."""
    return (_data() / "slo.yaml").read_text(encoding="utf-8")


def links(values: Values) -> Links:
    """Take what objectives' rules need from the values."""
    return Links(
        runbooks=values.runbooks,
        dashboards=values.dashboards,
        severities=values.severities,
        labels=values.labels,
        fast=values.fast,
        slow=values.slow,
        samples=values.samples,
    )


def bundle(values: Values, slos: list[Slo], layout: Layout) -> dict[str, str]:
    """Build every file, by its path below the folder."""
    rules = {
        f"recording-{layout.buckets}": recording_groups(layout.buckets, values),
        "alerts": alert_groups(values),
        f"slo-{layout.buckets}": generate(slos, layout.buckets, links(values)),
    }
    copied = dict(_copied(_data(), ""))
    copied[_ROUTES] = _SEVERITY.sub(lambda match: f'severity="{values.severities[match[1]]}"', copied[_ROUTES])
    return {
        **{f"rules/{name}.yaml": _render(name, groups, layout) for name, groups in rules.items() if groups},
        **copied,
    }


def write(folder: Path, built: Mapping[str, str], *, force: bool = False) -> list[Written]:
    """Write the files; those meant for editing stay as they are unless ``force`` is given."""
    done: list[Written] = []
    for name, text in built.items():
        path = folder / name
        kept = name in EDITED and not force and path.exists() and path.read_text(encoding="utf-8") != text
        if not kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        done.append(Written(path, kept))
    return done


def _render(name: str, groups: tuple[Group, ...], layout: Layout) -> str:
    if layout.form is Format.PROMETHEUS:
        return as_prometheus(groups, _HEADER)
    return as_operator(groups, name=f"claude-sidecar-{name}", labels=layout.resource_labels, header=_HEADER)


def _data() -> Traversable:
    return files("sidecar.alerts") / "data"


def _copied(folder: Traversable, below: str) -> Iterator[tuple[str, str]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _copied(item, f"{below}{item.name}/")
        else:
            yield f"{below}{item.name}", item.read_text(encoding="utf-8")

"""Asks the families for numbers by name and labels, as the console and tests do."""

from collections.abc import Callable, Iterable, Mapping

from sidecar.telemetry.families import BY_NAME
from sidecar.telemetry.histogram import HistogramSnapshot, SparseHistogram
from sidecar.telemetry.view import FamilyView

_Collect = Callable[[], Iterable[FamilyView]]


def values(collect: _Collect, name: str, labels: Mapping[str, str]) -> list[tuple[dict[str, str], float]]:
    """Return each matching series of a counter or gauge with its labels."""
    view = _view(collect, name, labels)
    named = ((dict(zip(view.family.labels, series, strict=True)), value) for series, value in view.values)
    return [(series, value) for series, value in named if labels.items() <= series.items()]


def histogram(collect: _Collect, name: str, labels: Mapping[str, str]) -> HistogramSnapshot:
    """Return the matching series of a histogram merged into one."""
    view = _view(collect, name, labels)
    whole = SparseHistogram()
    for series, snapshot in view.histograms:
        if labels.items() <= dict(zip(view.family.labels, series, strict=True)).items():
            whole.merge(snapshot)
    return whole.snapshot()


def _view(collect: _Collect, name: str, labels: Mapping[str, str]) -> FamilyView:
    family = BY_NAME.get(name)
    if family is None:
        raise KeyError(f"there is no family {name!r}; there are {', '.join(BY_NAME)}")
    unknown = labels.keys() - set(family.labels)
    if unknown:
        raise KeyError(f"{name} has no label {', '.join(sorted(unknown))}; it has {', '.join(family.labels)}")
    return next(view for view in collect() if view.family is family)

"""The two text formats: Prometheus text 0.0.4 and OpenMetrics 1.0, which adds exemplars and units.

A histogram's lines are one template per family, into which a series' labels and numbers are put: rendering thousands
of lines costs a few string operations per series.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from sidecar.telemetry.exposition.classic import bounds, place_exemplars
from sidecar.telemetry.families import Family, Kind
from sidecar.telemetry.histogram import Exemplar
from sidecar.telemetry.view import FamilyView, Labels

_LABELS_HERE: Final = "\0"


class TextRenderer:
    """Renders views as text. It keeps the text of labels it has seen; the label guard bounds those."""

    def __init__(self, *, openmetrics: bool) -> None:
        self._openmetrics: Final = openmetrics
        self._templates: Final[dict[str, str]] = {}
        self._heads: Final[dict[str, dict[Labels, str]]] = {}

    def pieces(self, views: Iterable[FamilyView]) -> Iterator[bytes]:
        """Render the page piece by piece, of one series each."""
        for view in views:
            lines = self._histograms(view) if view.family.kind is Kind.HISTOGRAM else self._values(view)
            about = self._about(view.family)
            for line in lines:
                yield (about + line).encode()
                about = ""
            yield b""
        if self._openmetrics:
            yield b"# EOF\n"

    def _about(self, family: Family) -> str:
        name = family.name.removesuffix("_total") if self._openmetrics else family.name
        text = family.help.replace("\\", r"\\").replace("\n", r"\n")
        if self._openmetrics:
            text = text.replace('"', r"\"")
        unit = f"# UNIT {name} {family.unit}\n" if self._openmetrics and name.endswith(f"_{family.unit}") else ""
        return f"# HELP {name} {text}\n# TYPE {name} {family.kind.value}\n{unit}"

    def _values(self, view: FamilyView) -> Iterable[str]:
        family = view.family
        heads = self._heads.setdefault(family.name, {})
        for labels, value in view.values:
            head = heads.get(labels)
            if head is None:
                text = label_text(family.labels, labels)
                head = heads[labels] = f"{family.name}{{{text}}} " if text else f"{family.name} "
            yield f"{head}{number(value)}\n"

    def _histograms(self, view: FamilyView) -> Iterable[str]:
        family = view.family
        octaves = family.buckets
        assert octaves is not None  # noqa: S101  # every histogram of the table has them
        template = self._templates.get(family.name)
        if template is None:
            template = self._templates[family.name] = _template(family)
        heads = self._heads.setdefault(family.name, {})
        low, high = octaves.low * 2, octaves.high * 2
        for labels, snapshot in view.histograms:
            head = heads.get(labels)
            if head is None:
                head = heads[labels] = label_text(family.labels, labels).replace("%", "%%")
            counts: list[int | str] = [*snapshot.cumulative(low, high)]
            total = counts[-1]
            if self._openmetrics and snapshot.exemplars:
                for position, exemplar in place_exemplars(snapshot.exemplars, octaves).items():
                    counts[position] = f"{counts[position]}{_exemplar(exemplar)}"
            yield template.replace(_LABELS_HERE, head) % (*counts, repr(snapshot.sum), total)


def label_text(names: Iterable[str], values: Iterable[str]) -> str:
    """Render label pairs as they stand between the braces."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def number(value: float) -> str:
    """Render a number as Go does: bounds are label values, and have to read the same from every format."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    text = repr(value)
    whole, point, fraction = text.partition(".")
    if point and "e" not in text and len(whole) > _GO_DIGITS:
        digits = (whole + fraction).rstrip("0")
        mantissa = f"{digits[0]}.{digits[1:]}".removesuffix(".")
        return f"{mantissa}e+{len(whole) - 1:02d}"
    return text


_GO_DIGITS: Final = 6


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _template(family: Family) -> str:
    assert family.buckets is not None  # noqa: S101  # every histogram of the table has them
    name, labels = family.name, _LABELS_HERE
    lines = [f'{name}_bucket{{{labels},le="{number(bound)}"}} %s\n' for bound in bounds(family.buckets)]
    lines.append(f'{name}_bucket{{{labels},le="+Inf"}} %s\n')
    return "".join([*lines, f"{name}_sum{{{labels}}} %s\n", f"{name}_count{{{labels}}} %s\n"])


def _exemplar(exemplar: Exemplar) -> str:
    return f' # {{trace_id="{exemplar.trace_id}"}} {number(float(exemplar.value))} {exemplar.at:.3f}'

"""Tables: one row for each set of labels, the values of several queries beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.src.panels.parts import NO_CALLS, Panel, Query, Steps, targets, titled, words

_WORD = 150
"""Pixels that the longest of our coloured words takes; wider, they would be all that is seen."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a label's, or the value of a query."""

    name: str
    """What Grafana calls it: the label, or ``Value #A``, ``Value #B``, ..."""
    title: str
    unit: str = ""
    steps: Steps = ()
    width: int | None = None
    gauge: float | None = None
    """Draw the number as a bar that is full at this value."""
    words: Mapping[str, str] | None = None
    decimals: int | None = None
    colors: Mapping[str, str] | None = None


def table(
    title: str,
    description: str,
    queries: Sequence[Query],
    columns: Sequence[Column],
    *,
    sort: str = "",
    descending: bool = True,
    empty: str = NO_CALLS,
) -> Panel:
    """Show one row for each set of labels that the queries share, with their values beside each other."""
    panel = titled(tables.Panel(), title, description, empty)
    panel.targets(targets(queries, instant=True, kind=PromQueryFormat.TABLE))
    panel.filterable(filterable=False).cell_height(look.TableCellHeight.SM)
    if len(queries) > 1:
        panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    order = {column.name: number for number, column in enumerate(columns)}
    shown = [column.name for column in columns]
    panel.with_transformation(
        model.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": shown}})
    )
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "indexByName": order,
                "renameByName": {column.name: column.title for column in columns},
                "excludeByName": {},
            },
        )
    )
    for column in columns:
        panel.override_by_name(column.title, list(_column(column)))
    if sort:
        panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(desc=descending)])
    return panel


def _column(column: Column) -> Iterator[model.DynamicConfigValue]:
    yield _setting("noValue", "–")
    if column.unit:
        yield _setting("unit", column.unit)
    if column.decimals is not None:
        yield _setting("decimals", column.decimals)
    if column.width is not None or column.colors:
        yield _setting("custom.width", column.width or _WORD)
    yield from _cell(column)


def _cell(column: Column) -> Iterator[model.DynamicConfigValue]:
    if column.words:
        yield _setting("mappings", [words(column.words)])
    if column.colors:
        options = {
            value: {"text": value, "color": color, "index": number}
            for number, (value, color) in enumerate(column.colors.items())
        }
        yield _setting("mappings", [{"type": "value", "options": options}])
    if column.steps:
        yield _setting("thresholds", {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in column.steps]})
        yield _setting("color", {"mode": "thresholds"})
    if column.gauge is not None:
        yield _setting("custom.cellOptions", {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})
        yield _setting("min", 0)
        yield _setting("max", column.gauge)
    elif column.colors:
        # Behind the word, where Grafana sees to the contrast: as text, half of the colours are hard to read.
        yield _setting("custom.cellOptions", {"type": "color-background", "mode": "basic"})
    elif column.steps:
        yield _setting("custom.cellOptions", {"type": "color-text"})


def _setting(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)

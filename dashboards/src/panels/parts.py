"""What all kinds of panel share: queries, units, thresholds, and what an empty one says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.src.variables import DATASOURCE

Panel = Builder[model.Panel]
Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from which value on, which colour. The first has no value; it also colours "nothing to show"."""

NO_CALLS: Final = "no calls yet"

SHARE: Final = "percentunit"
SECONDS: Final = "suffix: s"
"""Always seconds, as timeouts are set: an axis in 1.25 mins is hard to compare with a setting of 60 s."""
CALLS_PER_SECOND: Final = "suffix: /s"
COUNT: Final = "short"
EXACT: Final = "locale"
"""Whole numbers in full: 1,780 rather than 1.78 K."""

AnyPanel = TypeVar(
    "AnyPanel", timeseries.Panel, stat.Panel, table.Panel, bargauge.Panel, statetimeline.Panel, heatmap.Panel
)


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression of a panel, and what its lines are called."""

    expr: str
    legend: str = ""
    exemplar: bool = False


def thresholds(steps: Steps) -> build.ThresholdsConfig:
    """Build absolute thresholds."""
    return (
        build.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=color) for value, color in steps])
    )


def titled(panel: AnyPanel, title: str, description: str, empty: str) -> AnyPanel:
    """Give a panel its words, its data source, and what it says while it has nothing to show."""
    return panel.title(title).description(description).datasource(DATASOURCE).no_value(empty)


def targets(queries: Iterable[Query], *, instant: bool = False, kind: PromQueryFormat) -> list[Builder[Any]]:
    """Build the queries, lettered A, B, ... in their order."""
    built: list[Builder[Any]] = []
    for number, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + number)).format(kind)
        target = target.legend_format(query.legend or "__auto").datasource(DATASOURCE)
        target = target.instant() if instant else target.range()
        built.append(target.exemplar(exemplar=True) if query.exemplar else target)
    return built


def fixed(color: str) -> model.DynamicConfigValue:
    """Fix the colour."""
    return model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})


def without_host() -> model.DataTransformerConfig:
    """Shorten ``host/model``: the API's own host says nothing, while any other one is worth its space."""
    return model.DataTransformerConfig(
        id_val="renameByRegex", options={"regex": r"^api\.anthropic\.com/(.*)$", "renamePattern": "$1"}
    )


def words(texts: Mapping[str, str]) -> model.ValueMapping:
    """Show words instead of values."""
    options = {value: model.ValueMappingResult(text=text) for value, text in texts.items()}
    return model.ValueMap(options=options)

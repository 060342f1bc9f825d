"""Lines, areas and bars over time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.src.panels.parts import NO_CALLS, Panel, Query, Steps, fixed, targets, thresholds, titled, without_host


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What the vertical axis spans, where that is not left to the data."""

    minimum: float | None = 0
    maximum: float | None = None
    floor: float | None = None
    """Shown down to here even when the data stays above."""
    ceiling: float | None = None
    """Shown up to here even when the data stays below."""
    logarithmic: bool = False


LOGARITHMIC: Final = Axis(minimum=None, logarithmic=True)
_FROM_ZERO: Final = Axis()


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    colors: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    stacked: bool = False,
    bars: bool = False,
    axis: Axis = _FROM_ZERO,
    steps: Steps | None = None,
    last: str = "",
    every: str = "",
    points: int | None = None,
    hosts: bool = False,
    empty: str = NO_CALLS,
) -> Panel:
    """Draw lines over time.

    ``colors`` gives names their colours; names it lacks are coloured in turn. ``limits`` are names that stand for
    something set on purpose, such as a timeout: dashed. ``steps`` draws thresholds, dashed too. ``last`` is a range of
    the panel's own, such as ``30d``; ``every`` the least time between two points, ``points`` the most there are of
    them, where each is dear to work out; ``hosts`` says that names begin with an upstream's host.
    """
    panel = titled(timeseries.Panel(), title, description, empty).unit(unit)
    panel.targets(targets(queries, kind=PromQueryFormat.TIME_SERIES))
    panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
    _draw(panel, stacked=stacked, bars=bars)
    _span(panel, axis)
    if last:
        panel.time_from(last)
    if every:
        panel.interval(every)
    if points is not None:
        panel.max_data_points(points)
    if hosts:
        panel.with_transformation(without_host())
    if steps:
        panel.thresholds(thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(look.GraphThresholdsStyleMode.DASHED)
        )
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [fixed(color)])
    for name, color in (limits or {}).items():
        panel.override_by_name(name, [fixed(color), *_DASHED])
    return panel


_DASHED: Final = (
    model.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}),
    model.DynamicConfigValue(id_val="custom.lineWidth", value=1),
    model.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
)


def _draw(panel: timeseries.Panel, *, stacked: bool, bars: bool) -> None:
    panel.line_width(1 if stacked else 2).fill_opacity(55 if stacked else 6)
    panel.line_interpolation(look.LineInterpolation.LINEAR).show_points(look.VisibilityMode.NEVER)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .placement(look.LegendPlacement.BOTTOM)
        .display_mode(look.LegendDisplayMode.LIST)
    )
    panel.tooltip(common.VizTooltipOptions().mode(look.TooltipDisplayMode.MULTI).sort(look.SortOrder.DESCENDING))
    if bars:
        panel.draw_style(look.GraphDrawStyle.BARS).line_width(0).fill_opacity(80)
    if stacked:
        panel.stacking(common.StackingConfig().mode(look.StackingMode.NORMAL).group("A"))


def _span(panel: timeseries.Panel, axis: Axis) -> None:
    if axis.minimum is not None:
        panel.min(axis.minimum)
    if axis.maximum is not None:
        panel.max(axis.maximum)
    if axis.floor is not None:
        panel.axis_soft_min(axis.floor)
    if axis.ceiling is not None:
        panel.axis_soft_max(axis.ceiling)
    if axis.logarithmic:
        panel.scale_distribution(common.ScaleDistributionConfig().type(look.ScaleDistribution.LOG).log(10))
        panel.fill_opacity(0)

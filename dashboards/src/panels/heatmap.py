"""Distributions over time."""

from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import heatmap as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.src import palette
from dashboards.src.panels.parts import NO_CALLS, Panel, Query, targets, titled


def heatmap(title: str, description: str, *queries: Query, unit: str) -> Panel:
    """Draw a distribution over time; exemplars open their trace."""
    panel = titled(heatmaps.Panel(), title, description, NO_CALLS)
    panel.targets(targets(queries, kind=PromQueryFormat.HEATMAP))
    # A hundred columns are as many as the eye tells apart, and a tenth of the work for Prometheus.
    panel.max_data_points(100)
    panel.calculate(calculate=False).cell_gap(1).show_legend().show_value(look.VisibilityMode.NEVER)
    panel.color(
        heatmaps.HeatmapColorOptions()
        .mode(model.HeatmapColorMode.SCHEME)
        .scheme("Cividis")
        .scale(model.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
        .fill(palette.BAD)
    )
    panel.y_axis(heatmaps.YAxisConfig().unit(unit).axis_placement(look.AxisPlacement.LEFT))
    panel.rows_frame(heatmaps.RowsHeatmapOptions().layout(look.HeatmapCellLayout.AUTO))
    panel.cell_values(heatmaps.CellValues().unit("cps"))
    panel.exemplars_color(palette.SEVERITIES["ticket"])
    panel.filter_values(heatmaps.FilterValueRange().le(1e-9))
    panel.mode(look.TooltipDisplayMode.SINGLE)
    return panel

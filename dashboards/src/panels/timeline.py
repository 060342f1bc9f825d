"""States over time, one row a thing."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import common, statetimeline
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.src import palette
from dashboards.src.panels.parts import Panel, Query, targets, thresholds, titled, without_host


def timeline(
    title: str,
    description: str,
    *queries: Query,
    states: Mapping[str, tuple[int, str]],
    empty: str,
) -> Panel:
    """Draw one row a thing, coloured and worded by its state over time."""
    panel = titled(statetimeline.Panel(), title, description, empty)
    panel.targets(targets(queries, kind=PromQueryFormat.TIME_SERIES))
    options = {
        str(value): model.ValueMappingResult(text=state.replace("_", " "), color=color, index=value)
        for state, (value, color) in states.items()
    }
    panel.mappings([model.ValueMap(options=options)])
    panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    panel.thresholds(thresholds([(None, palette.QUIET)]))
    panel.with_transformation(without_host())
    # Joining the states is dear; finer than this no one sees.
    panel.max_data_points(300)
    panel.merge_values(merge_values=True).show_value(look.VisibilityMode.AUTO).row_height(0.8)
    panel.line_width(0).fill_opacity(85).align_value(look.TimelineValueAlignment.LEFT)
    return panel.legend(common.VizLegendOptions().show_legend(show_legend=False))

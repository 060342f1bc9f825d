"""Few numbers, large: a tile for one, bars for some."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import bargauge, common, stat
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.src import palette
from dashboards.src.panels.parts import EXACT, NO_CALLS, Panel, Query, Steps, fixed, targets, thresholds, titled

_BAR = 60
"""Pixels that a bar with its name takes at most."""


def tile(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    steps: Steps,
    empty: str = NO_CALLS,
    decimals: int | None = None,
    sparkline: bool = True,
) -> Panel:
    """Show one number, large, on the threshold's colour."""
    panel = titled(stat.Panel(), title, description, empty).unit(unit).thresholds(thresholds(steps))
    panel.targets(targets([query], instant=not sparkline, kind=PromQueryFormat.TIME_SERIES))
    panel.color_mode(look.BigValueColorMode.BACKGROUND_SOLID)
    panel.graph_mode(look.BigValueGraphMode.AREA if sparkline else look.BigValueGraphMode.NONE)
    # One size for numbers and for words: "no calls yet" must not be the loudest thing on the screen.
    panel.text(common.VizTextDisplayOptions().value_size(28))
    panel.text_mode(look.BigValueTextMode.VALUE).justify_mode(look.BigValueJustifyMode.AUTO)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def bars(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    colors: Mapping[str, str],
    empty: str = NO_CALLS,
) -> Panel:
    """Compare a few numbers as horizontal bars."""
    panel = titled(bargauge.Panel(), title, description, empty).unit(unit).min(0)
    panel.targets(targets(queries, instant=True, kind=PromQueryFormat.TIME_SERIES))
    panel.orientation(look.VizOrientation.HORIZONTAL).display_mode(look.BarGaugeDisplayMode.BASIC)
    # Left to itself Grafana drops the name of a single bar, and lets it fill the panel.
    panel.display_name("${__series.name}").sizing(look.BarGaugeSizing.MANUAL).max_viz_height(_BAR)
    panel.value_mode(look.BarGaugeValueMode.TEXT).show_unfilled(show_unfilled=True)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    panel.thresholds(thresholds([(None, palette.PERCENTILES["p95"])]))
    panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    if unit == EXACT:
        panel.decimals(0)
    for name, color in colors.items():
        panel.override_by_name(name, [fixed(color)])
    return panel

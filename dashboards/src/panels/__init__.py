"""The kinds of panel there are, each with the project's looks.

They know nothing of metrics; a dashboard's module brings queries, words and meaning.
"""

from dashboards.src.panels.graph import LOGARITHMIC, Axis, graph
from dashboards.src.panels.heatmap import heatmap
from dashboards.src.panels.parts import CALLS_PER_SECOND, COUNT, EXACT, SECONDS, SHARE, Panel, Query, Steps
from dashboards.src.panels.table import Column, table
from dashboards.src.panels.tile import bars, tile
from dashboards.src.panels.timeline import timeline

__all__ = [
    "CALLS_PER_SECOND",
    "COUNT",
    "EXACT",
    "LOGARITHMIC",
    "SECONDS",
    "SHARE",
    "Axis",
    "Column",
    "Panel",
    "Query",
    "Steps",
    "bars",
    "graph",
    "heatmap",
    "table",
    "tile",
    "timeline",
]

"""The variables every dashboard is filtered by: the same names and order everywhere, so that links keep them."""

from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

DATASOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
INPUT: Final = "DS_PROMETHEUS"
"""What Grafana's import dialog asks for; it fills in the variable's first value."""

ANY: Final = ".*"
"""Everything, also where a label is missing."""
PRESENT: Final = ".+"

# Variable -> (its name on the screen, the metric its values are read from, what All stands for).
_LABELS: Final = {
    "cluster": ("Cluster", "sidecar_build_info", ANY),
    "namespace": ("Namespace", "sidecar_build_info", ANY),
    "job": ("Job", "sidecar_build_info", PRESENT),
    "instance": ("Instance", "sidecar_build_info", PRESENT),
    "source": ("Seen by", "claude_calls_total", ANY),
    "endpoint": ("Endpoint", "claude_calls_total", ANY),
    "model": ("Model", "claude_calls_total", ANY),
    "profile": ("Profile", "claude_calls_total", ANY),
    "slo": ("Objective", "slo:objective:ratio", PRESENT),
}
_LABEL_OF: Final = {"slo": "sloth_id"}
"""The label a variable takes its values from, where it is not called the same; alerts link to ``var-slo``."""
_NARROWED_BY: Final = ("cluster", "namespace", "job")
"""What the values of the later variables are narrowed by; more would make a page load slowly."""


def datasource() -> build.DatasourceVariable:
    """Offer the Prometheus data sources."""
    chosen = f"${{{INPUT}}}"
    return (
        build.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(model.VariableOption(selected=True, text=chosen, value=chosen))
    )


def label(name: str) -> build.QueryVariable:
    """Offer the values of a label, several at once, and all of them to begin with."""
    title, metric, everything = _LABELS[name]
    narrowed = _NARROWED_BY[: _NARROWED_BY.index(name)] if name in _NARROWED_BY else _NARROWED_BY
    if metric.startswith("slo:"):
        narrowed = ()
    # An objective's own series belong to no job.
    matchers = ", ".join(f'{each}=~"${each}"' for each in narrowed)
    selector = f"{metric}{{{matchers}}}" if matchers else metric
    return (
        build.QueryVariable(name)
        .label(title)
        .datasource(DATASOURCE)
        .query({"query": f"label_values({selector}, {_LABEL_OF.get(name, name)})", "refId": name, "qryType": 1})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(everything)
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )

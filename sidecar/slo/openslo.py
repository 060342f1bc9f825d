"""OpenSLO v1 documents: SLOs over ratio metrics in Prometheus, counted by occurrences over a rolling window."""

import re
from typing import Final

from sidecar.rules import Document, Node
from sidecar.slo.own import duration_in, labels_in, name_in, percent_in
from sidecar.slo.sloth import query_in
from sidecar.slo.spec import Events, Ratio, Slo, lines_of

VERSION: Final = "openslo/v1"
_ASIDE: Final = ("Service", "DataSource", "SLI")
_ALERTS: Final = ("AlertPolicy", "AlertCondition", "AlertNotificationTarget")
_ROOT: Final = ("apiVersion", "kind", "metadata", "spec")
_METADATA: Final = ("name", "displayName", "labels", "annotations")
_SPEC: Final = (
    *("description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod", "objectives"),
    "alertPolicies",
)
_OBJECTIVE: Final = ("displayName", "target", "targetPercent", "op", "value")
_RATIO: Final = ("counter", "good", "bad", "total", "raw", "rawType")
_SELECTOR: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[^{}]*\})?"
_BARE: Final = re.compile(rf"\s*(?:sum\s*\(\s*({_SELECTOR})\s*\)|({_SELECTOR}))\s*")


def read_openslo(document: Document, indicators: dict[str, Node]) -> list[Slo]:
    """Read one OpenSLO document; ``indicators`` are the SLI documents of the same file, by name."""
    root = document.mapping(document.root, "the document")
    document.known(root, _ROOT, "the document")
    kind = document.text(root.get("kind"), "kind")
    line = root["kind"].line if "kind" in root else document.root.line
    if kind in _ASIDE:
        return []
    if kind in _ALERTS:
        document.warn(line, f"{kind} is left aside: alerts are made from burn rates here")
        return []
    if kind != "SLO":
        document.error(line, f"kind must be SLO, not {kind!r}")
        return []
    return _read(document, root, indicators)


def indicator_of(document: Document) -> tuple[str, Node] | None:
    """Return name and spec of an SLI document, None for any other."""
    root = document.root.value
    if not isinstance(root, dict) or "kind" not in root or root["kind"].value != "SLI" or "spec" not in root:
        return None
    metadata = document.mapping(root.get("metadata"), "metadata")
    return (name, root["spec"]) if (name := document.text(metadata.get("name"), "metadata.name")) else None


def _read(document: Document, root: dict[str, Node], indicators: dict[str, Node]) -> list[Slo]:
    metadata = document.mapping(root.get("metadata"), "metadata")
    document.known(metadata, _METADATA, "metadata")
    spec = document.mapping(root.get("spec"), "spec")
    document.known(spec, _SPEC, "spec")
    line = document.root.line
    name = name_in(document, metadata.get("name"), "metadata.name", line)
    service = name_in(document, spec.get("service"), "spec.service", line)
    method = document.text(spec.get("budgetingMethod"), "budgetingMethod")
    if method not in {None, "Occurrences"}:
        document.error(spec["budgetingMethod"].line, f"budgetingMethod must be Occurrences, not {method!r}")
    if "alertPolicies" in spec:
        document.warn(spec["alertPolicies"].line, "alertPolicies are left aside: alerts are made from burn rates here")
    indicator = _indicator(document, spec, indicators, line)
    period = _period(document, spec.get("timeWindow"))
    objectives = document.items(spec.get("objectives"), "objectives")
    if not objectives:
        document.error(line, "objectives is missing or empty: there is nothing to generate")
    targets = [(node, target) for node in objectives if (target := _target(document, node)) is not None]
    description = document.text(spec.get("description"), "description") or ""
    labels = labels_in(document, metadata.get("labels"))
    if name is None or service is None or indicator is None:
        return []
    return [
        Slo(
            service=service,
            name=name if len(targets) == 1 else f"{name}-{number}",
            objective=target,
            indicator=indicator,
            period=period,
            description=description,
            labels=labels,
            origin=VERSION,
            line=node.line,
            places={**lines_of(spec), "objective": node.line},
        )
        for number, (node, target) in enumerate(targets)
    ]


def _target(document: Document, node: Node) -> float | None:
    found = document.mapping(node, "an objective")
    document.known(found, _OBJECTIVE, "an objective")
    if ("target" in found) == ("targetPercent" in found):
        document.error(node.line, "an objective needs either target or targetPercent")
        return None
    if "targetPercent" in found:
        return percent_in(document, found["targetPercent"], node.line)
    target = document.number(found["target"], "target")
    if target is None:
        return None
    if not 0 < target < 1:
        document.error(found["target"].line, f"target must lie between 0 and 1, both excluded, not {target:g}")
        return None
    return float(f"{target * 100:.10g}")


def _period(document: Document, node: Node | None) -> str:
    windows = document.items(node, "timeWindow")
    if node is None or not windows:
        return "30d"
    if len(windows) > 1:
        document.error(node.line, "timeWindow must have one entry")
    found = document.mapping(windows[0], "timeWindow")
    document.known(found, ("duration", "isRolling", "calendar"), "timeWindow")
    if "calendar" in found or document.flag(found.get("isRolling"), "isRolling") is False:
        document.error(windows[0].line, "only rolling windows are supported (isRolling: true), not calendar ones")
        return "30d"
    if "duration" not in found or duration_in(document, found["duration"], "duration") is None:
        return "30d"
    return str(found["duration"].value)


def _indicator(
    document: Document, spec: dict[str, Node], indicators: dict[str, Node], line: int
) -> Events | Ratio | None:
    if ("indicator" in spec) == ("indicatorRef" in spec):
        document.error(line, "spec needs either indicator or indicatorRef")
        return None
    if "indicatorRef" in spec:
        name = document.text(spec["indicatorRef"], "indicatorRef")
        if name not in indicators:
            document.error(spec["indicatorRef"].line, f"no SLI named {name!r} stands in this file")
            return None
        inner = indicators[name]
    else:
        found = document.mapping(spec["indicator"], "indicator")
        document.known(found, ("metadata", "spec"), "indicator")
        inner = found.get("spec", spec["indicator"])
    metrics = document.mapping(inner, "the indicator's spec")
    document.known(metrics, ("description", "ratioMetric", "thresholdMetric"), "the indicator's spec")
    if "ratioMetric" not in metrics:
        document.error(inner.line, "the indicator must be a ratioMetric: a thresholdMetric counts no events")
        return None
    return _ratio(document, metrics["ratioMetric"])


def _ratio(document: Document, node: Node) -> Events | Ratio | None:
    found = document.mapping(node, "ratioMetric")
    document.known(found, _RATIO, "ratioMetric")
    if "raw" in found:
        query = _query(document, found["raw"], "raw", counter=False)
        kind = document.text(found.get("rawType"), "rawType")
        if kind not in {"success", "failure"}:
            document.error(node.line, f"rawType must be success or failure, not {kind!r}")
            return None
        if query is None:
            return None
        return Ratio(query=query if kind == "failure" else f"1 - ({query})")
    if ("good" in found) == ("bad" in found) or "total" not in found:
        document.error(node.line, "ratioMetric needs total, and either good or bad")
        return None
    counter = document.flag(found.get("counter"), "counter") is not False
    part = "good" if "good" in found else "bad"
    error = _query(document, found[part], part, counter=counter)
    total = _query(document, found["total"], "total", counter=counter)
    return Events(error=error, total=total, good=part == "good") if error and total else None


def _query(document: Document, node: Node, what: str, *, counter: bool) -> str | None:
    source = document.mapping(document.mapping(node, what).get("metricSource"), f"{what}.metricSource")
    kind = document.text(source.get("type"), f"{what}.metricSource.type") or "Prometheus"
    if kind.lower() != "prometheus":
        document.error(node.line, f"{what} must come from Prometheus, not {kind!r}")
        return None
    found = document.mapping(source.get("spec"), f"{what}.metricSource.spec")
    written = found["query"].value if "query" in found else None
    # The standard knows no window; a bare counter can only mean its increase over one.
    if counter and isinstance(written, str) and (bare := _BARE.fullmatch(written)):
        return f"sum(increase({bare[1] or bare[2]}[{{{{.window}}}}]))"
    return query_in(document, found, "query", node.line)

"""Sloth's ``prometheus/v1`` documents. What Sloth does and we cannot, such as plugins, is refused, never dropped."""

from typing import Final

from sidecar.rules import Document, Node
from sidecar.slo.own import duration_in, labels_in, name_in, percent_in, slos_in
from sidecar.slo.spec import Events, Notice, Ratio, Slo, lines_of

VERSION: Final = "prometheus/v1"
_KEYS: Final = ("name", "description", "objective", "labels", "sli", "alerting")
_ALERTING: Final = ("name", "labels", "annotations", "page_alert", "ticket_alert")
_NOTICE: Final = ("disable", "for", "labels", "annotations")


def read_sloth(document: Document) -> list[Slo]:
    """Read a Sloth document; faults go into the document."""
    return slos_in(document, "", _read)


def _read(document: Document, node: Node, service: str, labels: dict[str, str]) -> Slo | None:
    found = document.mapping(node, "an objective")
    document.known(found, _KEYS, "an objective")
    name = name_in(document, found.get("name"), "name", node.line)
    objective = percent_in(document, found.get("objective"), node.line)
    indicator = _indicator(document, found.get("sli"), node.line)
    alerting = document.mapping(found.get("alerting"), "alerting")
    document.known(alerting, _ALERTING, "alerting")
    page, ticket = (_notice(document, alerting, key) for key in ("page_alert", "ticket_alert"))
    alert = document.text(alerting.get("name"), "alerting.name")
    if alert is None and (page or ticket):
        document.error(node.line, "alerting.name is missing: the alerts would have no name")
    description = document.text(found.get("description"), "description") or ""
    labels = {**labels, **labels_in(document, found.get("labels"))}
    if name is None or objective is None or indicator is None:
        return None
    return Slo(
        service=service,
        name=name,
        objective=objective,
        indicator=indicator,
        description=description,
        labels=labels,
        alert=alert or "",
        page=page,
        ticket=ticket,
        origin=VERSION,
        line=node.line,
        places=lines_of(found),
    )


def _indicator(document: Document, node: Node | None, line: int) -> Events | Ratio | None:
    sli = document.mapping(node, "sli")
    document.known(sli, ("events", "raw"), "sli")
    if len(sli) != 1:
        document.error(node.line if node else line, "sli must have either events or raw")
        return None
    if "raw" in sli:
        raw = document.mapping(sli["raw"], "raw")
        document.known(raw, ("error_ratio_query",), "raw")
        query = query_in(document, raw, "error_ratio_query", sli["raw"].line)
        return Ratio(query=query) if query else None
    events = document.mapping(sli.get("events"), "events")
    document.known(events, ("error_query", "total_query"), "events")
    at = next(iter(sli.values())).line
    error, total = (query_in(document, events, key, at) for key in ("error_query", "total_query"))
    return Events(error=error, total=total) if error and total else None


def query_in(document: Document, found: dict[str, Node], key: str, line: int) -> str | None:
    """Read a query over ``{{.window}}``."""
    node = found.get(key)
    if node is None:
        document.error(line, f"{key} is missing")
        return None
    query = document.text(node, key)
    if query is not None and "{{.window}}" not in query.replace(" ", ""):
        document.error(node.line, f"{key} must contain {{{{.window}}}}, which stands for 5m, 1h and so on")
        return None
    return query


def _notice(document: Document, alerting: dict[str, Node], key: str) -> Notice | None:
    found = document.mapping(alerting.get(key), key)
    document.known(found, _NOTICE, key)
    if document.flag(found.get("disable"), f"{key}.disable"):
        return None
    hold = found.get("for")
    if hold is not None and duration_in(document, hold, f"{key}.for") is None:
        hold = None
    return Notice(
        hold=str(hold.value) if hold else "0s",
        labels={**labels_in(document, alerting.get("labels")), **labels_in(document, found.get("labels"))},
        annotations={
            **document.texts(alerting.get("annotations"), "annotation"),
            **document.texts(found.get("annotations"), "annotation"),
        },
    )

"""Our own short form: objectives about the calls themselves, without a query."""

import re
from collections.abc import Callable
from typing import Final

from sidecar.model import ENDPOINTS, Profile, Source
from sidecar.rules import Document, Node, seconds
from sidecar.slo.spec import Calls, Kind, Notice, Slo, lines_of

VERSION: Final = "sidecar/v1"
_ROOT: Final = ("version", "service", "labels", "slos")
_KEYS: Final = (
    *("name", "description", "kind", "objective", "window", "threshold", "selector", "count_rate_limited"),
    *("page", "ticket", "minimum_calls", "minimum_failures", "labels"),
)
_SELECTOR: Final = ("profile", "model", "endpoint", "source", "job", "namespace", "cluster")
_CLOSED: Final = {"profile": tuple(Profile), "source": tuple(Source), "endpoint": ENDPOINTS}
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MINIMUM_CALLS: Final = 50.0
_MINIMUM_FAILURES: Final = 5.0


def read_own(document: Document) -> list[Slo]:
    """Read a ``sidecar/v1`` document; faults go into the document."""
    return slos_in(document, "claude", _read)


def _read(document: Document, node: Node, service: str, labels: dict[str, str]) -> Slo | None:
    found = document.mapping(node, "an objective")
    document.known(found, _KEYS, "an objective")
    name = name_in(document, found.get("name"), "name", node.line)
    objective = percent_in(document, found.get("objective"), node.line)
    indicator = _calls(document, found, node.line)
    period = period_in(document, found.get("window"), "window")
    description = document.text(found.get("description"), "description") or ""
    labels = {**labels, **labels_in(document, found.get("labels"))}
    page, ticket = (_notice(document, found.get(what), what) for what in ("page", "ticket"))
    minimum_calls = _minimum(document, found.get("minimum_calls"), "minimum_calls", _MINIMUM_CALLS)
    minimum_failures = _minimum(document, found.get("minimum_failures"), "minimum_failures", _MINIMUM_FAILURES)
    # Only now, so that one fault hides no other.
    if name is None or objective is None or indicator is None:
        return None
    return Slo(
        service=service,
        name=name,
        objective=objective,
        indicator=indicator,
        period=period,
        description=description,
        labels=labels,
        page=page,
        ticket=ticket,
        minimum_calls=minimum_calls,
        minimum_failures=minimum_failures,
        line=node.line,
        places=lines_of(found),
    )


def _calls(document: Document, found: dict[str, Node], line: int) -> Calls | None:
    text = document.text(found.get("kind"), "kind")
    if "kind" not in found:
        document.error(line, f"kind is missing; it is one of {', '.join(Kind)}")
    if text is None:
        return None
    if text not in tuple(Kind):
        document.error(found["kind"].line, f"kind must be one of {', '.join(Kind)}, not {text!r}")
        return None
    kind = Kind(text)
    threshold = _threshold(document, found.get("threshold"), kind, found["kind"].line)
    if kind.timed and threshold is None:
        return None
    counted = document.flag(found.get("count_rate_limited"), "count_rate_limited")
    return Calls(
        kind=kind,
        selector=_selector(document, found.get("selector")),
        threshold=threshold,
        count_rate_limited=counted is not False,
    )


def _threshold(document: Document, node: Node | None, kind: Kind, line: int) -> float | None:
    if not kind.timed:
        if node is not None:
            document.error(node.line, f"kind {kind} has no threshold: every call either is one or is not")
        return None
    if node is None:
        document.error(line, f"kind {kind} needs a threshold, such as 2s or 500ms")
        return None
    value = duration_in(document, node, "threshold")
    if value is not None and value <= 0:
        document.error(node.line, "threshold must be longer than 0s")
        return None
    return value


def _selector(document: Document, node: Node | None) -> dict[str, tuple[str, ...]]:
    found = document.mapping(node, "selector")
    document.known(found, _SELECTOR, "selector")
    selected: dict[str, tuple[str, ...]] = {}
    for label, child in found.items():
        many = child.value if isinstance(child.value, list) else [child]
        values = tuple(value for item in many if (value := document.text(item, f"selector {label}")) is not None)
        for value in values:
            if label in _CLOSED and value not in _CLOSED[label]:
                document.error(child.line, f"there is no {label} {value!r}; it is one of {', '.join(_CLOSED[label])}")
        if values:
            selected[label] = values
    return selected


def _notice(document: Document, node: Node | None, what: str) -> Notice | None:
    """Read true, false, or the severity under which the alert is routed."""
    if node is None or node.value is True:
        return Notice()
    if node.value is False:
        return None
    severity = document.text(node, f"{what} (true, false, or a severity)")
    return Notice(severity=severity)


def _minimum(document: Document, node: Node | None, what: str, default: float) -> float:
    value = document.number(node, what)
    if node is None or value is None:
        return default
    if value < 0:
        document.error(node.line, f"{what} must be 0 or more, not {value:g}")
    return value


def name_in(document: Document, node: Node | None, what: str, line: int) -> str | None:
    """Read a name that may become part of a rule's name."""
    if node is None:
        document.error(line, f"{what} is missing")
        return None
    text = document.text(node, what)
    if text is not None and not _NAME.fullmatch(text):
        document.error(node.line, f"{what} must be lower-case letters, digits, - and _, not {text!r}")
        return None
    return text


def slos_in(
    document: Document, default_service: str, read: Callable[[Document, Node, str, dict[str, str]], Slo | None]
) -> list[Slo]:
    """Read the root of a document, which Sloth's and ours share; ``read`` takes one objective."""
    root = document.mapping(document.root, "the document")
    document.known(root, _ROOT, "the document")
    service = name_in(document, root.get("service"), "service", document.root.line)
    labels = labels_in(document, root.get("labels"))
    slos = document.items(root.get("slos"), "slos")
    if not slos:
        document.error(document.root.line, "slos is missing or empty: there is nothing to generate")
    return [slo for node in slos if (slo := read(document, node, service or default_service, labels)) is not None]


def labels_in(document: Document, node: Node | None, what: str = "label") -> dict[str, str]:
    """Read labels for rules."""
    labels = document.texts(node, what)
    for name in labels:
        if not _LABEL.fullmatch(name) or name.startswith(("__", "sloth_")):
            assert node is not None  # noqa: S101  # there are labels, so there is a node
            document.error(node.line, f"{name!r} cannot be a label's name (sloth_ and __ are taken)")
    return labels


def percent_in(document: Document, node: Node | None, line: int) -> float | None:
    """Read an objective in percent."""
    if node is None:
        document.error(line, "objective is missing; it is a percentage such as 99.5")
        return None
    value = document.number(node, "objective")
    if value is not None and not 0 < value < 100:  # noqa: PLR2004  # percent
        document.error(node.line, f"objective must lie between 0 and 100 percent, both excluded, not {value:g}")
        return None
    if value is not None and value < 1:
        document.warn(node.line, f"objective {value:g} is in percent: did you mean {value * 100:g}?")
    return value


def period_in(document: Document, node: Node | None, what: str) -> str:
    """Read the period of an objective."""
    if node is None or duration_in(document, node, what) is None:
        return "30d"
    return str(node.value)


def duration_in(document: Document, node: Node, what: str) -> float | None:
    """Read a duration, in seconds."""
    text = document.text(node, what)
    if text is None:
        return None
    try:
        return seconds(text)
    except ValueError as error:
        document.error(node.line, f"{what}: {error}")
        return None

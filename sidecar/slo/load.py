"""Reads objectives from a file, whichever of the three formats each of its documents is in."""

from collections.abc import Callable

from sidecar.rules import Document, Fault, Node, Severity, parse_documents
from sidecar.slo import openslo, own, sloth
from sidecar.slo.spec import Slo


def load(text: str) -> tuple[list[Slo], list[Fault]]:
    """Read every objective in a file, and every fault."""
    documents, faults = parse_documents(text)
    indicators = dict(found for document in documents if (found := openslo.indicator_of(document)) is not None)
    slos: list[Slo] = []
    for document in documents:
        slos += _reader(document, indicators)(document)
        faults += document.faults
    if not documents and not faults:
        faults.append(Fault(1, "the file is empty"))
    return slos, sorted(faults)


def errors(faults: list[Fault]) -> list[Fault]:
    """Return the faults that forbid generation."""
    return [fault for fault in faults if fault.severity is Severity.ERROR]


def _reader(document: Document, indicators: dict[str, Node]) -> Callable[[Document], list[Slo]]:
    root = document.mapping(document.root, "the document")
    given = {key: root[key] for key in ("version", "apiVersion") if key in root}
    version = next((node.value for node in given.values()), None)
    readers: dict[object, Callable[[Document], list[Slo]]] = {
        own.VERSION: own.read_own,
        sloth.VERSION: sloth.read_sloth,
        openslo.VERSION: lambda found: openslo.read_openslo(found, indicators),
    }
    if version in readers:
        return readers[version]
    line = next((node.line for node in given.values()), document.root.line)
    document.error(
        line,
        f"version must be {own.VERSION}, {sloth.VERSION} (Sloth) or apiVersion {openslo.VERSION} (OpenSLO),"
        f" not {version!r}",
    )
    return lambda _: []

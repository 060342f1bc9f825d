"""YAML that remembers its lines, and the faults found in it.

Hostile input is met here once: size and nesting are bounded, aliases and duplicate keys refused.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

import yaml

_MAX_BYTES: Final = 1_000_000
_MAX_DEPTH: Final = 30


class Severity(StrEnum):
    """What a fault means: an error stops generation, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something wrong at a line of a file."""

    line: int
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        return f"line {self.line}: {self.severity}: {self.message}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line it stands on; of a mapping or a list, the values in it are nodes again."""

    value: "str | int | float | bool | dict[str, Node] | list[Node] | None"
    line: int

    def plain(self) -> object:
        """Return the value without its lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass(slots=True)
class Document:
    """One YAML document being read: its root, and the faults found so far.

    The getters report what is wrong and return None, so that a reader goes on and finds every fault.
    """

    root: Node
    faults: list[Fault] = field(default_factory=list)

    def error(self, line: int, message: str) -> None:
        """Note an error."""
        self.faults.append(Fault(line, message))

    def warn(self, line: int, message: str) -> None:
        """Note a warning."""
        self.faults.append(Fault(line, message, Severity.WARNING))

    def mapping(self, node: Node | None, what: str) -> dict[str, Node]:
        """Read a mapping; what is none counts as empty."""
        if node is None or node.value is None:
            return {}
        if isinstance(node.value, dict):
            return node.value
        self.error(node.line, f"{what} must be a mapping, not {_kind(node)}")
        return {}

    def items(self, node: Node | None, what: str) -> list[Node]:
        """Read a list; what is none counts as empty."""
        if node is None or node.value is None:
            return []
        if isinstance(node.value, list):
            return node.value
        self.error(node.line, f"{what} must be a list, not {_kind(node)}")
        return []

    def text(self, node: Node | None, what: str) -> str | None:
        """Read a non-empty text."""
        if node is None:
            return None
        if isinstance(node.value, str) and node.value.strip():
            return node.value
        self.error(node.line, f"{what} must be a text, not {_kind(node)}")
        return None

    def number(self, node: Node | None, what: str) -> float | None:
        """Read a finite number."""
        if node is None:
            return None
        if isinstance(node.value, int | float) and not isinstance(node.value, bool) and _finite(node.value):
            return float(node.value)
        self.error(node.line, f"{what} must be a number, not {_kind(node)}")
        return None

    def flag(self, node: Node | None, what: str) -> bool | None:
        """Read true or false."""
        if node is None:
            return None
        if isinstance(node.value, bool):
            return node.value
        self.error(node.line, f"{what} must be true or false, not {_kind(node)}")
        return None

    def texts(self, node: Node | None, what: str) -> dict[str, str]:
        """Read a mapping of texts, such as labels; numbers are taken as written."""
        found: dict[str, str] = {}
        for key, value in self.mapping(node, what).items():
            if isinstance(value.value, str | int | float) and not isinstance(value.value, bool):
                found[key] = str(value.value)
            else:
                self.error(value.line, f"{what} {key!r} must be a text, not {_kind(value)}")
        return found

    def known(self, found: dict[str, Node], allowed: tuple[str, ...], what: str) -> None:
        """Refuse the keys that mean nothing here."""
        for key, node in found.items():
            if key not in allowed:
                self.error(node.line, f"{what} has no key {key!r}; {_hint(key, allowed)}")


def parse_documents(text: str) -> tuple[list[Document], list[Fault]]:
    """Read every YAML document in ``text``; what is not YAML at all comes back as a fault."""
    if len(text) > _MAX_BYTES:
        return [], [Fault(1, f"the file is larger than {_MAX_BYTES} characters")]
    try:
        nodes = list(_compose(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be read"
        return [], [Fault(mark.line + 1 if mark else 1, f"this is not YAML: {problem}")]
    except RecursionError:
        return [], [Fault(1, f"the file is nested more than {_MAX_DEPTH} levels deep")]
    faults: list[Fault] = []
    documents = [Document(_convert(node, faults.append)) for node in nodes if node is not None]
    return documents, faults


def _compose(text: str) -> Iterator[yaml.Node | None]:
    # Aliases are refused before anything is built of them: ten lines of them can stand for a billion nodes.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not accepted", problem_mark=event.start_mark)  # type: ignore[arg-type]  # the stubs lack the C parser's marks
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested more than {_MAX_DEPTH} levels deep",
                problem_mark=event.start_mark,  # type: ignore[arg-type]  # as above
            )
    yield from yaml.compose_all(text, Loader=yaml.SafeLoader)


def _convert(node: yaml.Node, report: Callable[[Fault], None]) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name:
                report(Fault(key.start_mark.line + 1, "a key must be a text"))
            elif name in found:
                report(Fault(key.start_mark.line + 1, f"key {name!r} stands here a second time"))
            else:
                child = _convert(value, report)
                # A fault about a mapping belongs to the line of its key, not to the first line inside it.
                found[name] = Node(child.value, key.start_mark.line + 1)
        return Node(found, line)
    if isinstance(node, yaml.SequenceNode):
        return Node([_convert(item, report) for item in node.value], line)
    return Node(_scalar(node, report), line)


def _scalar(node: yaml.Node, report: Callable[[Fault], None]) -> str | int | float | bool | None:
    tag = node.tag.removeprefix("tag:yaml.org,2002:")
    text = str(node.value)
    try:
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() in {"true", "yes", "on"}
        if tag == "int":
            return int(text.replace("_", ""), 0)
        if tag == "float":
            return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text  # `010` or `1:30`: a text, and whoever wanted a number says so
    if tag not in {"str", "timestamp"}:
        report(Fault(node.start_mark.line + 1, f"the tag {node.tag!r} is not accepted"))
    return text


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of a thousand digits
        return False


def _kind(node: Node) -> str:
    if node.value is None or node.value == "":
        return "empty"
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    return repr(node.value)[:60]


def _hint(key: str, allowed: tuple[str, ...]) -> str:
    close = get_close_matches(key, allowed, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it may have {', '.join(allowed)}"

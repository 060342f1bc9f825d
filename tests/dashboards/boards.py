"""Reading the shipped dashboards: their panels, queries and variables, and queries as Grafana would send them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "dashboards"

BOARDS: Final[dict[str, dict[str, Any]]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}

_VARIABLE: Final = re.compile(r"\$(\w+)|\$\{(\w+)(?::\w+)?\}")
_SELECTOR: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
_MATCHER: Final = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")
_GROUPING: Final = re.compile(r"\b(?:by|on|ignoring|group_left)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel or annotation."""

    board: str
    panel: str
    ref: str
    expr: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.board} / {self.panel} / {self.ref}"


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that are not headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Yield every query of every panel."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Query(name, panel["title"], target["refId"], target["expr"], target.get("instant", False))


def annotations() -> Iterator[Query]:
    """Yield every annotation that asks Prometheus."""
    for name, board in BOARDS.items():
        for annotation in board["annotations"]["list"]:
            if "expr" in annotation:
                yield Query(name, "annotations", annotation["name"], annotation["expr"], instant=False)


def variables(board: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the variables by name."""
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def used_variables(text: str) -> set[str]:
    """Name the variables in a text, Grafana's own left out."""
    return {one or two for one, two in _VARIABLE.findall(text) if not (one or two).startswith("__")}


def selectors(expr: str) -> list[tuple[str, set[str]]]:
    """List the metrics of a query, each with the labels it is matched by."""
    return [(metric, set(_MATCHER.findall(matchers))) for metric, matchers in _SELECTOR.findall(expr)]


def grouped_by(expr: str) -> set[str]:
    """Name the labels that a query groups and joins by."""
    return {label.strip() for labels in _GROUPING.findall(expr) for label in labels.split(",")} - {""}


def filled(board: Mapping[str, Any], expr: str, chosen: Mapping[str, str], *, step: float, span: float) -> str:
    """Put values for the variables; those that are not chosen stand at All."""
    values = {
        "__rate_interval": f"{max(60, int(step) + 15)}s",
        "__range": f"{int(span)}s",
        "__interval": f"{int(step)}s",
        **{name: variable.get("allValue", "") for name, variable in variables(board).items()},
        **{name: re.escape(value).replace("\\", "\\\\") for name, value in chosen.items()},
    }
    text = _VARIABLE.sub(lambda found: values[found[1] or found[2]], expr)
    assert "$" not in text, text
    return text

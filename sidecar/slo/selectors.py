"""Reads just enough of a foreign PromQL query to see which series it selects. It judges nothing."""

import re
from dataclasses import dataclass
from typing import Final

_SELECTOR: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{((?:[^{}\"]|\"(?:[^\"\\]|\\.)*\")*)\}|(?=\[))")
_MATCHER: Final = re.compile(r"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*\"((?:[^\"\\]|\\.)*)\"")
_SUFFIX: Final = re.compile(r"_(?:bucket|count|sum)$")
_WINDOW: Final = re.compile(r"\{\{\s*\.window\s*\}\}")


@dataclass(frozen=True, slots=True)
class Selection:
    """One selector of a query: a family, and what narrows it."""

    family: str
    """The metric's name, without the suffixes that a histogram's parts have."""
    matchers: frozenset[tuple[str, str, str]]


def in_window(query: str, window: str) -> str:
    """Put a window into a query."""
    return _WINDOW.sub(window, query)


def selections(query: str) -> list[Selection]:
    """List the selectors of a query."""
    return [
        Selection(_SUFFIX.sub("", found[1]), frozenset(_MATCHER.findall(found[2] or "")))
        for found in _SELECTOR.finditer(in_window(query, "5m"))
    ]

"""Colours mean the same on every dashboard, and stay apart for the colour-blind."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

import pytest

from dashboards.src import palette
from tests.dashboards.boards import BOARDS, panels

# How each colour blindness changes linear RGB, in full strength (Machado, Oliveira and Fernandes, 2009).
VISION: Final = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
APART: Final = 10.0
"""Difference in CIELAB; 2.3 can just be told apart side by side."""

SETS: Final[Mapping[str, Mapping[str, str]]] = {
    "percentiles": palette.PERCENTILES,
    "outcomes": palette.OUTCOMES,
    "phases": palette.PHASES,
    "results": palette.RESULTS,
    "tokens": palette.TOKENS,
    "limits": palette.LIMITS,
    "profiles": palette.PROFILES,
    "severities": palette.SEVERITIES,
    "breaker states": {state: color for state, (_, color) in palette.BREAKER_STATES.items()},
    "thresholds": {"good": palette.GOOD, "notice": palette.NOTICE, "bad": palette.BAD},
}


def seen(color: str, vision: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """Return what is left of a colour, in CIELAB."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    red, green, blue = (
        min(1.0, max(0.0, sum(weight * part for weight, part in zip(row, linear, strict=True)))) for row in vision
    )
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("name", SETS)
def test_colours_of_one_set_stay_apart(name: str, vision: str) -> None:
    for (one, first), (two, second) in combinations(SETS[name].items(), 2):
        a, b = seen(first, VISION[vision]), seen(second, VISION[vision])
        distance = sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5
        assert distance > APART, (one, two, distance)


def colours_of(panel: dict[str, Any]) -> dict[str, str]:
    found = {}
    for override in panel["fieldConfig"]["overrides"]:
        for setting in override["properties"]:
            if setting["id"] == "color" and setting["value"]["mode"] == "fixed":
                found[override["matcher"]["options"]] = setting["value"]["fixedColor"]
            if setting["id"] == "mappings":
                for mapping in setting["value"]:
                    found |= {text: each["color"] for text, each in mapping["options"].items() if "color" in each}
    return found


def test_a_name_has_one_colour_everywhere() -> None:
    colours: dict[str, set[str]] = {}
    for board in BOARDS.values():
        for panel in panels(board):
            for name, color in colours_of(panel).items():
                colours.setdefault(name.removeprefix("timeout: "), set()).add(color)
    assert {name: found for name, found in colours.items() if len(found) > 1} == {}
    assert {"ok", "timeout", "first_byte", "stall", "p50", "p95", "p99", "recovered", "open"} <= set(colours)

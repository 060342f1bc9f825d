"""docs/chaos.md tells all there is, and its scenario is one."""

import re
import tomllib
from pathlib import Path

import pytest

from sidecar.chaos import builtin_names, load_scenario, parse_scenario
from sidecar.chaos.faults import FAULTS, PARAMETERS
from sidecar.chaos.scenario import DISTRIBUTIONS
from sidecar.chaos.truth import End

_TEXT = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _TEXT, re.DOTALL)


@pytest.mark.parametrize("name", [*FAULTS, *PARAMETERS, *DISTRIBUTIONS, *(end.value for end in End)])
def test_every_name_is_documented(name: str) -> None:
    assert f"`{name}" in _TEXT


@pytest.mark.parametrize("name", builtin_names())
def test_every_scenario_is_documented_in_its_own_words(name: str) -> None:
    assert f"| `{name}` | {load_scenario(name).summary} |" in _TEXT


def test_the_scenario_example_is_one() -> None:
    (example,) = _blocks("toml")
    assert [phase.name for phase in parse_scenario(tomllib.loads(example), "docs").phases] == ["calm", "bad", "gone"]

"""Scenarios as files, TOML or YAML: reading them and refusing bad ones whole, with every fault listed at once."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from dataclasses import field as dataclass_field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.chaos.faults import FaultError, parse_fault
from sidecar.chaos.scenario import DISTRIBUTIONS, AtEnd, Constant, Distribution, Limits, Mix, Phase, Scenario

__all__ = ["ScenarioError", "builtin_names", "load_scenario", "parse_scenario"]

_MAX_BYTES: Final = 1_000_000
_SUFFIXES: Final = (".toml", ".yaml", ".yml")


class ScenarioError(ValueError):
    """A scenario that cannot be used; ``problems`` holds every fault found, one sentence each."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__("\n".join([f"scenario {source}: {len(problems)} fault(s)", *(f"  {p}" for p in problems)]))
        self.source = source
        self.problems = tuple(problems)


def builtin_names() -> tuple[str, ...]:
    """Name the scenarios that come with the package."""
    folder = files("sidecar.chaos") / "scenarios"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_scenario(name_or_path: str | Path) -> Scenario:
    """Load a built-in scenario by its name, or one from a file."""
    text = str(name_or_path)
    if text in builtin_names():
        source = files("sidecar.chaos") / "scenarios" / f"{text}.toml"
        return parse_scenario(tomllib.loads(source.read_text("utf-8")), text)
    path = Path(text)
    if not path.is_file():
        allowed = f"{', '.join(builtin_names())}, or the path of a {', '.join(_SUFFIXES)} file"
        raise ScenarioError(repr(text), [f"found no built-in scenario and no file of this name: allowed are {allowed}"])
    return parse_scenario(_read(path), path.stem, source=text)


def parse_scenario(data: object, name: str, *, source: str | None = None) -> Scenario:
    """Make a scenario of decoded TOML or YAML; ``name`` is used where the data holds none."""
    reader = _Reader()
    scenario = _scenario(reader, data, name)
    if reader.problems or scenario is None:
        raise ScenarioError(source or name, reader.problems)
    return scenario


def _read(path: Path) -> object:
    source = str(path)
    if path.suffix not in _SUFFIXES:
        raise ScenarioError(source, [f"found the suffix {path.suffix!r}: allowed are {', '.join(_SUFFIXES)}"])
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ScenarioError(source, [f"found {path.stat().st_size} bytes: allowed are {_MAX_BYTES}"])
        text = path.read_text("utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError, RecursionError) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ScenarioError(source, [f"cannot be read as {path.suffix[1:].upper()}: {detail}"]) from None


@dataclass(slots=True)
class _Reader:
    """Collects what is wrong, so that one run tells all of it."""

    problems: list[str] = dataclass_field(default_factory=list)

    def wrong(self, key: str, found: object, allowed: str) -> None:
        shown = repr(found)
        self.problems.append(f"{key}: found {shown if len(shown) <= 80 else shown[:80] + '…'}: allowed is {allowed}")  # noqa: PLR2004  # a line's worth

    def table(self, key: str, value: object, allowed: Mapping[str, object]) -> dict[str, Any]:
        """Take a table, naming the keys it must not have."""
        if not isinstance(value, dict):
            self.wrong(key or "the file", value, "a table")
            return {}
        prefix = f"{key}." if key else ""
        for name in value:
            if name not in allowed:
                self.problems.append(f"{prefix}{name}: unknown key: allowed are {', '.join(allowed)}")
        return {str(name): item for name, item in value.items() if name in allowed}

    def number(self, key: str, value: object, low: float, high: float) -> float | None:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if good and math.isfinite(value) and low <= value <= high:  # type: ignore[arg-type,operator]
            return float(value)  # type: ignore[arg-type]
        self.wrong(key, value, f"a number from {low:g} to {high:g}")
        return None

    def integer(self, key: str, value: object, low: int, high: int) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.wrong(key, value, f"a whole number from {low} to {high}")
        return None

    def text(self, key: str, value: object) -> str | None:
        if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable():  # noqa: PLR2004  # as told
            return value
        self.wrong(key, value, "a line of text, 1 to 200 characters")
        return None


def _distribution(reader: _Reader, key: str, value: object, low: float, high: float) -> Distribution | None:
    """Take a number, or a table with ``kind`` and that kind's parameters."""
    if not isinstance(value, dict):
        number = reader.number(key, value, low, high)
        return None if number is None else Constant(number)
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in DISTRIBUTIONS:
        reader.wrong(f"{key}.kind", kind, ", ".join(DISTRIBUTIONS))
        return None
    names = [field.name for field in fields(DISTRIBUTIONS[kind])]
    given = reader.table(key, value, dict.fromkeys(["kind", *names]))
    numbers: dict[str, float] = {}
    for name in names:
        if name not in given:
            reader.problems.append(f"{key}.{name}: missing: a {kind} distribution needs {', '.join(names)}")
            continue
        # A share is a share whatever the distribution is of; its own check tells its range.
        bounds = (0.0, 1.0) if name == "high_share" else (low, high)
        number = reader.number(f"{key}.{name}", given[name], *bounds)
        if number is not None:
            numbers[name] = number
    if len(numbers) != len(names):
        return None
    try:
        return DISTRIBUTIONS[kind](**numbers)
    except ValueError as error:
        reader.problems.append(f"{key}: {error}")
        return None


def _mix(reader: _Reader, key: str, value: object) -> Mix | None:
    if not isinstance(value, dict) or not value:
        reader.wrong(key, value, 'a table of faults and their weights, such as { ok = 98, "529" = 2 }')
        return None
    faults, weights = [], []
    for text, weight in value.items():
        try:
            spec = parse_fault(str(text))
        except FaultError as error:
            reader.problems.append(f"{key}: {error}")
            continue
        number = reader.number(f"{key}.{text}", weight, 0, 1e9)
        if number is not None:
            faults.append(spec)
            weights.append(number)
    if len(faults) < len(value):
        return None
    if not sum(weights):
        reader.problems.append(f"{key}: all weights are 0: allowed is at least one above 0")
        return None
    return Mix(tuple(faults), tuple(weights))


def _boolean(reader: _Reader, key: str, value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    reader.wrong(key, value, "true or false")
    return None


_Rule = Callable[[_Reader, str, object], Any]

_PHASE: Final[dict[str, _Rule]] = {
    "name": _Reader.text,
    "duration": lambda reader, key, value: reader.number(key, value, 0.001, 1e7),
    "latency": lambda reader, key, value: _distribution(reader, key, value, 0, 86_400),
    "tokens_per_second": lambda reader, key, value: _distribution(reader, key, value, 0.001, 1e9),
    "output_tokens": lambda reader, key, value: _distribution(reader, key, value, 1, 1_000_000),
    "prompt_tokens": lambda reader, key, value: _distribution(reader, key, value, 1, 10_000_000),
    "tokens_per_event": lambda reader, key, value: reader.integer(key, value, 1, 1_000),
    "drift": lambda reader, key, value: reader.number(key, value, 0.01, 1_000),
    "mix": _mix,
    "refuse": _boolean,
}
_DEFAULTS: Final = {key: rule for key, rule in _PHASE.items() if key not in {"name", "duration"}}
_SCENARIO: Final = dict.fromkeys(
    ("name", "summary", "at_end", "batch_seconds", "models", "limits", "defaults", "phases")
)


def _phases(reader: _Reader, value: object, defaults: Mapping[str, Any]) -> list[Phase]:
    if not isinstance(value, list) or not value:
        reader.wrong("phases", value, "a list of at least one phase ([[phases]])")
        return []
    phases = []
    for index, item in enumerate(value):
        key = f"phases[{index}]"
        before = len(reader.problems)
        given = reader.table(key, item, _PHASE)
        values = {name: _PHASE[name](reader, f"{key}.{name}", found) for name, found in given.items()}
        if isinstance(item, dict):
            for name in ("name", "duration"):
                if name not in given:
                    reader.problems.append(f"{key}.{name}: missing: every phase needs a name and a duration in seconds")
        if len(reader.problems) == before:
            phases.append(Phase(**{**defaults, **values}))
    return phases


def _scenario(reader: _Reader, data: object, name: str) -> Scenario | None:
    given = reader.table("", data, _SCENARIO)
    if not given and reader.problems:
        return None
    values: dict[str, Any] = {
        "name": reader.text("name", given.get("name", name)),
        "summary": reader.text("summary", given.get("summary", "(no summary)")),
    }
    if "at_end" in given:
        if given["at_end"] in ("loop", "hold"):
            values["at_end"] = AtEnd(given["at_end"])
        else:
            reader.wrong("at_end", given["at_end"], "loop or hold")
    if "batch_seconds" in given:
        values["batch_seconds"] = reader.number("batch_seconds", given["batch_seconds"], 0, 1e6)
    if "models" in given:
        models = given["models"]
        if not isinstance(models, list):
            reader.wrong("models", models, "a list of model names")
        else:
            values["models"] = tuple(reader.text(f"models[{i}]", model) for i, model in enumerate(models))
    if "limits" in given:
        limits = reader.table("limits", given["limits"], {field.name: None for field in fields(Limits)})
        found = {key: reader.integer(f"limits.{key}", value, 1, 10**12) for key, value in limits.items()}
        if None not in found.values():
            values["limits"] = Limits(**{key: value for key, value in found.items() if value is not None})
    table = reader.table("defaults", given.get("defaults", {}), _DEFAULTS)
    defaults = {key: _DEFAULTS[key](reader, f"defaults.{key}", value) for key, value in table.items()}
    phases = _phases(reader, given.get("phases"), defaults)
    return None if reader.problems else Scenario(**values, phases=tuple(phases))

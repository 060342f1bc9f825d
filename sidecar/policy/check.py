"""Checks parameters and gathers every fault, so that a user mends a configuration once, not one line at a time."""

import math
from collections.abc import Collection, Iterable
from random import Random
from typing import Final, NamedTuple

_SHOWN: Final = 80


class Fault(NamedTuple):
    """One parameter, and what is wrong with it."""

    name: str
    problem: str


class Faults:
    """The faults found so far; ``stop_if_any`` turns them into one ``ValueError``."""

    __slots__ = ("_subject", "found")

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.found: list[Fault] = []

    def add(self, name: str, value: object, wanted: str) -> None:
        """Note that ``name`` was given ``value`` where ``wanted`` was."""
        self.note(name, f"must be {wanted}, got {_show(value)}")

    def note(self, name: str, problem: str) -> None:
        """Note what is wrong with ``name``, once."""
        fault = Fault(name, problem)
        if fault not in self.found:
            self.found.append(fault)

    def number(
        self,
        name: str,
        value: object,
        *,
        above: float | None = None,
        least: float | None = None,
        most: float = math.inf,
        optional: bool = False,
    ) -> bool:
        """Say whether ``value`` is a finite number above ``above``, of at least ``least`` and at most ``most``."""
        if value is None and optional:
            return True
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (above is None or value > above)
            and (least is None or value >= least)
            and value <= most
        ):
            return True
        self.add(name, value, _range("a finite number", above, least, most, optional=optional))
        return False

    def whole(self, name: str, value: object, *, least: int, most: int, optional: bool = False) -> bool:
        """Say whether ``value`` is an ``int`` between ``least`` and ``most``."""
        if value is None and optional:
            return True
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return True
        self.add(name, value, _range("a whole number", None, least, most, optional=optional))
        return False

    def whole_seconds(self, name: str, value: object, *, most: int) -> bool:
        """Say whether ``value`` is a whole number of seconds, as ``int`` or ``float``, between 1 and ``most``."""
        if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= most and value % 1 == 0:
            return True
        self.add(name, value, _range("a whole number of seconds", None, 1, most))
        return False

    def choice(self, name: str, value: object, choices: Collection[str]) -> bool:
        """Say whether ``value`` is one of ``choices``."""
        if isinstance(value, str) and value in choices:
            return True
        self.add(name, value, "one of " + ", ".join(choices))
        return False

    def text(self, name: str, value: object) -> bool:
        """Say whether ``value`` is a string that is not empty."""
        if isinstance(value, str) and value:
            return True
        self.add(name, value, "a string that is not empty")
        return False

    def sources(self, clock: object, rng: object) -> None:
        """Check what time and chance come from."""
        if not callable(clock):
            self.add("clock", clock, "a callable that returns seconds")
        if not isinstance(rng, Random):
            self.add("rng", rng, "a random.Random")

    def take(self, error: "SettingsError") -> None:
        """Take over the faults somebody else has found."""
        self.found.extend(error.faults)

    def stop_if_any(self) -> None:
        """Raise one ``ValueError`` that lists every fault."""
        if self.found:
            raise SettingsError(self._subject, self.found)


class SettingsError(ValueError):
    """Bad parameters, every one of them named with its value and its range."""

    def __init__(self, subject: str, faults: Iterable[Fault]) -> None:
        self.subject = subject
        self.faults = tuple(faults)
        super().__init__(subject, self.faults)

    def __str__(self) -> str:
        return f"{self.subject}: " + "; ".join(f"{name} {problem}" for name, problem in self.faults)


def _range(kind: str, above: float | None, least: float | None, most: float, *, optional: bool = False) -> str:
    parts = []
    if above is not None:
        parts.append(f"above {above:g}")
    if least is not None:
        parts.append(f"at least {least:g}")
    if most != math.inf:
        parts.append(f"at most {most:g}")
    wanted = " ".join([kind, " and ".join(parts)]).rstrip()
    return f"{wanted}, or None" if optional else wanted


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

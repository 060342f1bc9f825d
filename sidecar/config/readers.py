"""How single values are read: each reader takes a TOML value or a variable's text, and gives a plain value or refuses.

A reader refuses with ValueError or KeyError (the loader then says what is allowed), or, of something with parts, with a
`ConfigError` that names each part that is wrong.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, Final

from sidecar.config.errors import ConfigError

PORTS: Final = 65_535
_SHOWN: Final = 60
_USER: Final = re.compile(r"://[^/@'\"]*@")
_SWITCH: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}

Reader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a section. ``read`` takes a TOML value or an environment variable's text, or raises ValueError."""

    read: Reader
    allowed: str
    help: str
    default: Any = None


def port(value: Any) -> int:
    """Read a port; 0 is any free one."""
    number = _digits(value)
    if type(number) is not int or not 0 <= number <= PORTS:
        raise ValueError(value)
    return number


def text(value: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(value)
    return value


def switch(value: Any) -> bool:
    """Read true or false; a variable may also say 1, yes, on and their opposites."""
    if isinstance(value, str):
        return _SWITCH[value.lower()]
    if not isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004  # every refusal of a value is the same kind
    return value


def is_switch(value: str) -> bool:
    """Tell whether a text would be read as true or false."""
    return value.lower() in _SWITCH


def whole(*, least: int) -> Reader:
    """Make a reader of whole numbers."""

    def read(value: Any) -> int:
        number = _digits(value)
        if type(number) is not int or number < least:
            raise ValueError(value)
        return number

    return read


def number(*, least: float = 0.0, above: bool = False) -> Reader:
    """Make a reader of numbers; ``above``: the least itself is not allowed."""

    def read(value: Any) -> float:
        found = float(value) if isinstance(value, str) else value
        if type(found) not in {int, float} or not isfinite(found) or found < least or (above and found == least):
            raise ValueError(value)
        return float(found)

    return read


def choice(words: type[StrEnum]) -> Reader:
    """Make a reader of the words of a closed set."""
    return lambda value: words(value).value


def table(settings: Mapping[str, Setting], *, needed: tuple[str, ...] = ()) -> Reader:
    """Make a reader of a table of settings, which gives each its value or default; ``needed`` must be given."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(value)  # noqa: TRY004  # as above
        faults = [f"{name} is missing; it must be {settings[name].allowed}" for name in needed if name not in value]
        found = {name: setting.default for name, setting in settings.items()}
        take(found, settings, "", value, faults)
        if faults:
            raise ConfigError(faults)
        return found

    return read


def tables(settings: Mapping[str, Setting], *, needed: tuple[str, ...] = ()) -> Reader:
    """Make a reader of a list of such tables (``[[...]]``)."""
    one = table(settings, needed=needed)

    def read(value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise ValueError(value)  # noqa: TRY004  # as above
        return [found for _, found in _each(((str(at + 1), item) for at, item in enumerate(value)), one)]

    return read


def named(name: Reader, settings: Mapping[str, Setting], *, needed: tuple[str, ...] = ()) -> Reader:
    """Make a reader of such tables under names (``[....NAME]``); ``name`` reads the name."""
    one = table(settings, needed=needed)

    def read(value: Any) -> dict[str, dict[str, Any]]:
        if not isinstance(value, dict):
            raise ValueError(value)  # noqa: TRY004  # as above
        for key in value:
            name(key)
        return dict(_each(value.items(), one))

    return read


def take(
    found: dict[str, Any],
    settings: Mapping[str, Setting],
    place: str,
    values: Mapping[str, Any],
    faults: list[str],
    *,
    upper: bool = False,
) -> None:
    """Read values into ``found``; what is wrong with them is added to the faults, with its place."""
    for name, value in values.items():
        where = f"{place}{name.upper() if upper else name}"
        setting = settings.get(name)
        if setting is None:
            faults.append(f"{where}: there is no such setting; there are {', '.join(settings)}")
            continue
        try:
            found[name] = setting.read(value)
        except ConfigError as error:
            faults.extend(f"{where}.{fault}" for fault in error.faults)
        except (ValueError, KeyError):
            faults.append(f"{where} is {shown(value)}; it must be {setting.allowed}")


def shown(value: object) -> str:
    """Show a value in a fault: shortened, and without the password that a URL may hold."""
    shape = _USER.sub("://…@", repr(value))
    return shape if len(shape) <= _SHOWN else shape[:_SHOWN] + "…"


def _digits(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _each(items: Any, one: Reader) -> list[tuple[str, Any]]:
    faults: list[str] = []
    found = []
    for key, item in items:
        try:
            found.append((key, one(item)))
        except ConfigError as error:
            faults.extend(f"{key}.{fault}" for fault in error.faults)
        except ValueError:
            faults.append(f"{key} is {shown(item)}; it must be a table of settings")
    if faults:
        raise ConfigError(faults)
    return found

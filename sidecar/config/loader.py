"""Reads a section's settings from three places: code before environment before file; and refuses all faults at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.config.errors import ConfigError
from sidecar.config.readers import Setting, shown, take

FILE: Final = "sidecar.toml"
"""Read from the working directory when nobody names a file."""
FILE_VARIABLE: Final = "SIDECAR_CONFIG"
"""Names the file."""

POLICY_SECTIONS: Final = ("timeouts", "retry", "retry_budget", "breaker", "stream_underneath", "profiles")
"""Sections that say what policies are; the part that knows policies checks what they hold."""
_OTHER_SECTIONS: Final = frozenset({*POLICY_SECTIONS, "client", "proxy"})
"""Sections that other parts read."""


def load(
    section: str,
    table: Mapping[str, Setting],
    given: Mapping[str, Any] | None = None,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Give the settings of ``[section]``: what code gave, else ``SIDECAR_NAME``, else the file's, else the default.

    A setting nobody gave and that has no default is None. Raises `ConfigError` with every fault.
    """
    environ = os.environ if environ is None else environ
    faults: list[str] = []
    found = {name: setting.default for name, setting in table.items()}
    path, sections = _read_file(file, environ, faults)
    take(found, table, f"{path}: [{section}] ", _table_of(sections, section, path, faults), faults)
    take(found, table, "SIDECAR_", _variables(table, environ), faults, upper=True)
    take(found, table, "", {name: value for name, value in (given or {}).items() if value is not None}, faults)
    if faults:
        raise ConfigError(faults)
    return found


def policy_tables(
    *, file: str | Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Path, dict[str, Any]]:
    """Give the sections about policies as they stand in the file, and the file's path. Raises `ConfigError`."""
    faults: list[str] = []
    path, sections = _read_file(file, os.environ if environ is None else environ, faults)
    if faults:
        raise ConfigError(faults)
    return path, {name: sections[name] for name in POLICY_SECTIONS if name in sections}


def _read_file(
    file: str | Path | None, environ: Mapping[str, str], faults: list[str]
) -> tuple[Path, Mapping[str, Any]]:
    named = file or environ.get(FILE_VARIABLE)
    path = Path(named or FILE)
    try:
        return path, _parsed(path.read_bytes().decode())
    except FileNotFoundError:
        if named:
            faults.append(f"{path}: there is no such file; name one that is there, or none")
    except OSError as error:
        if named or os.path.isfile(path):  # noqa: PTH113  # Path's own raises where the folder may not be looked into
            faults.append(f"{path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        faults.append(f"{path} is not UTF-8 text")
    except ValueError as error:
        faults.append(f"{path} is not TOML: {error}")
    return path, {}


def _parsed(text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415  # most processes have no file, and none has to load what reads it

    return tomllib.loads(text)


def _table_of(sections: Mapping[str, Any], section: str, path: Path, faults: list[str]) -> Mapping[str, Any]:
    for name in sections:
        if name != section and name not in _OTHER_SECTIONS:
            known = ", ".join(sorted(_OTHER_SECTIONS | {section}))
            faults.append(f"{path}: there is no section [{name}]; there are {known}")
    table = sections.get(section, {})
    if not isinstance(table, dict):
        faults.append(f"{path}: {section} is {shown(table)}; it must be a section: [{section}]")
        return {}
    return table


def _variables(table: Mapping[str, Setting], environ: Mapping[str, str]) -> dict[str, str]:
    given = {name: environ.get(f"SIDECAR_{name.upper()}", "") for name in table}
    return {name: value for name, value in given.items() if value}

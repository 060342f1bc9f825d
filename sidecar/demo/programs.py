"""Finds the servers' programs on PATH, and says how to get them where they are not. Installs nothing."""

import shutil
from pathlib import Path
from typing import Final

__all__ = ["MissingProgramError", "find"]

_PROGRAMS: Final = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    # Debian and its children call it by its package; everyone else by its name.
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "amtool": ("amtool",),
}
_HELP: Final = """\
  Debian, Ubuntu:  apt-get install prometheus prometheus-alertmanager
  macOS:           brew install prometheus alertmanager
  Fedora:          dnf install golang-github-prometheus golang-github-prometheus-alertmanager
  a checkout:      PATH="$(scripts/servers)$PATH" finds them, and on Debian and Ubuntu fetches them without root"""


class MissingProgramError(RuntimeError):
    """A server's program is not on PATH."""


def find(name: str) -> Path:
    """Return where ``prometheus``, ``promtool``, ``alertmanager`` or ``amtool`` is."""
    for program in _PROGRAMS[name]:
        found = shutil.which(program)
        if found is not None:
            return Path(found)
    raise MissingProgramError(f"{' or '.join(_PROGRAMS[name])} is not on PATH; install it first:\n{_HELP}")

"""Observes a program that does not know of it: called by ``claude_sidecar.pth`` when ``SIDECAR_RUN`` is set.

Python reads ``.pth`` files before the program begins, also with ``-E`` and ``-I``, and next to any ``sitecustomize``.
Until the program imports anthropic this costs an import of three small modules.
"""

import os
import sys
from typing import Final

from sidecar.client.patches import OnImport

VARIABLE: Final = "SIDECAR_RUN"
"""Asks for it. Children of the program inherit it."""

_BASE: Final = "anthropic._base_client"


def begin() -> None:
    """Wait for the program to import anthropic, and observe every client from then on. Never raises.

    In a virtual environment Python reads ``.pth`` files twice: the second time nothing is left to do.
    """
    if os.environ.get(VARIABLE) == "0":
        return
    _ON_IMPORT.begin()


def _observe() -> None:
    from sidecar.client.configure import configure  # noqa: PLC0415  # loads when it is used
    from sidecar.client.install import install  # noqa: PLC0415

    try:
        configure()
    except Exception as error:  # noqa: BLE001  # the program goes on, and is observed as far as it can be
        print(f"claude-sidecar: {error}", file=sys.stderr)  # noqa: T201  # before any logging is set up
    install()


_ON_IMPORT: Final = OnImport(_BASE, _observe)

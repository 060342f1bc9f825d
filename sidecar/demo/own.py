"""Our own commands, as other processes run them: by this Python, whatever is on PATH."""

import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["OWN", "export"]

OWN: Final = (sys.executable, "-c", "from sidecar.cli import main; main()")


def export(what: str, folder: Path, *options: str) -> None:
    """Run ``sidecar export``."""
    subprocess.run(  # noqa: S603  # our own words
        [*OWN, "export", what, str(folder), *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

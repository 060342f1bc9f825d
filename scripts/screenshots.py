"""Draws the README's picture of the Overview in the middle of a timeout spike.

A simulated service is scraped into a real Prometheus, and a renderer draws the dashboard against it. Which renderer is
up to you: RENDER names a program that is called as docs/dashboards.md says.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.filled import fill  # noqa: E402  # the checkout's root is put on the path first
from tests.support.history import Span, opened  # noqa: E402
from tests.support.traffic import SCENARIOS, Fleet  # noqa: E402

PICTURES: Final = {ROOT / "docs" / "images" / "overview-spike.png": ("claude-overview", "timeout-spike")}
LARGEST: Final = 400_000
HISTORY: Final = 3 * 3600.0
SHOWN: Final = 1.75 * 3600.0


def main() -> None:
    """Draw every picture, and fail when one is missing or too large."""
    renderer = shlex.split(os.environ.get("RENDER", ""))
    if not renderer:
        sys.exit(
            "screenshots: say which program draws a dashboard: make screenshots RENDER=/path/to/program\n"
            "  docs/dashboards.md, under Pictures, says how it is called"
        )
    # The end is now, so that what is told relative to now (limits, alerts) is told rightly.
    end = time.time() // 60 * 60
    for picture, (board, scenario) in PICTURES.items():
        with tempfile.TemporaryDirectory(prefix="sidecar-screenshots-") as scratch:
            fill(Path(scratch), SCENARIOS[scenario], Fleet(), Span(end - HISTORY, end, 15.0))
            with opened(Path(scratch)) as server:
                picture.parent.mkdir(parents=True, exist_ok=True)
                command = [*renderer, str(ROOT / "dashboards" / f"{board}.json"), "--prometheus", server.url]
                command += ["--from", _moment(end - SHOWN), "--to", _moment(end)]
                command += ["--width", "1920", "--out", str(picture)]
                subprocess.run(command, check=True)
        size = picture.stat().st_size
        if size > LARGEST:
            sys.exit(f"screenshots: {picture} has {size} bytes, more than {LARGEST}; shorten what is shown")
        print(f"{picture.relative_to(ROOT)}: {size} bytes")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()

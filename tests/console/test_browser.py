"""The page in a real browser: it shows what the document says, lives, survives, and can be used by anybody."""

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anthropic
import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

import sidecar
from sidecar.chaos import Attempt, chaos_server
from sidecar.console import Console, Token
from sidecar.model import BreakerState, LimitKind, Outcome, Phase, Profile, RateLimit, Source
from sidecar.telemetry import Telemetry
from sidecar.telemetry.socket import SocketSender
from tests.console.browser import Tab, browsing
from tests.console.simulated import served, simulated
from tests.outlets import samples
from tests.support.traffic import Fleet

expect.set_options(timeout=30_000)

SIZES = {"phone": (390, 844), "tablet": (820, 1180), "wide": (1600, 1000)}
HOSTILE = '<img src=x onerror="document.title=1">"\'&amp;'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running:
        yield running


@pytest.fixture(scope="module")
def spike() -> Iterator[str]:
    """Serve an hour that ends in a timeout spike."""
    console, traffic = simulated("timeout-spike", time.time(), hours=0.3, fleet=Fleet(calls_per_second=2))
    breaker = traffic.telemetry.breaker("api.anthropic.com/claude-opus-5")
    breaker.state(BreakerState.OPEN)
    breaker.opened("failure_ratio", 3000.0)
    with served(console, traffic.telemetry) as url:
        yield url


def status(url: str, query: str = "") -> Any:
    with urlopen(f"{url}/api/v1/status{query}", timeout=60) as answer:  # noqa: S310  # our own, on loopback
        return json.load(answer)


def number(text: str) -> float:
    """Read the first number of a text."""
    return float(re.sub(r"[\u202f,]", "", (re.search(r"[\d.,\u202f]+", text) or [""])[0]))


def call_a_misbehaving_api(telemetry: Telemetry) -> list[Attempt]:
    """Make 13 calls with the SDK, some of which fail; return what the server knows of them."""
    message: dict[str, Any] = {
        "model": "claude-sonnet-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "a secret prompt"}],
    }
    with (
        chaos_server() as chaos,
        anthropic.Anthropic(base_url=chaos.url, api_key="sk-secret", timeout=1.0) as client,
    ):
        sidecar.instrument(client, telemetry=telemetry)
        for fault in (*["ok"] * 9, "529,ok", "stall", "stall", "400"):
            fails = fault in {"stall", "400"}
            with (
                pytest.raises((httpx2.ReadTimeout, anthropic.BadRequestError)) if fails else nullcontext(),
                client.messages.stream(**message, extra_headers={"x-chaos": fault}) as stream,
            ):
                stream.until_done()
        return list(chaos.settled())


def test_the_page_and_the_document_tell_the_truth_of_real_calls(browser: Browser) -> None:
    telemetry = Telemetry()
    with sidecar.serve_metrics(0, telemetry=telemetry) as server, ThreadPoolExecutor(1) as elsewhere:
        url = server.url.removesuffix("/metrics")
        tab = Tab(browser).live(url)
        assert "No calls yet" in tab.text("#verdicts")
        assert tab.page.locator("#empty").is_visible()
        # The browser's driver has this thread's event loop.
        truth = elsewhere.submit(call_a_misbehaving_api, telemetry).result(120)
        expect(tab.page.locator('[data-tile="Calls"] .value')).to_have_text("13")
        expect(tab.page.locator("#empty")).to_be_hidden()
        document = status(url)
        assert document["calls"]["total"] == sum(not each.retry_count for each in truth) == 13
        by_outcome = {name: count for name, count in document["calls"]["by_outcome"].items() if count}
        assert by_outcome == {"ok": 10, "timeout": 2, "client_error": 1}
        assert sum(each.status == 529 for each in truth) == document["retries"]["recovered"] == 1
        assert document["retries"]["attempts_per_call"] == pytest.approx(len(truth) / 13, abs=0.001)
        assert {call["request_id"] for call in document["failed"]} <= {each.request_id for each in truth}
        agree(tab, document)
        assert tab.tile("Timing out") == ("15 %", "2 of 13 calls")
        assert [row[2] for row in tab.rows("failed")] == ["client error", "timeout: stall", "timeout: stall"]
        assert "secret" not in tab.page.content() + json.dumps(document)
        assert tab.asked == {f"127.0.0.1:{server.port}"}
        tab.close()


def agree(tab: Tab, document: Any) -> None:
    """Hold what is shown against the document, number by number."""
    calls, retries = document["calls"], document["retries"]
    assert number(tab.tile("Calls")[0]) == calls["total"]
    assert number(tab.tile("Timing out")[0]) == pytest.approx(100 * calls["timeout_ratio"], abs=0.5)
    assert number(tab.tile("Failing")[0]) == pytest.approx(100 * calls["failure_ratio"], abs=0.5)
    assert tab.tile("p95 of calls")[0] == in_words(document["duration_seconds"]["p95"])
    assert tab.tile("p95 to first token")[0] == in_words(document["first_token_seconds"]["p95"])
    assert number(tab.tile("Retries that saved")[0]) == pytest.approx(100 * retries["success_ratio"], abs=0.5)
    verdicts = tab.page.locator("#verdicts .text").all_inner_texts()
    assert verdicts == [verdict["text"] for verdict in document["verdicts"]]
    legends = {}
    for item in tab.page.locator("#graphs .legend li").all():
        name = item.locator("span").nth(1).inner_text() if item.is_visible() else ""
        if name:
            legends[name.replace(" ", "_")] = number(item.locator(".value").inner_text())
    for name, count in (calls["by_outcome"] | calls["timeouts_by_phase"]).items():
        assert legends.get(name, 0) == count, name
    assert legends["recovered"] == retries["recovered"]
    assert [row[0] for row in tab.rows("models")] == [model["model"] for model in document["models"]]
    assert [number(row[2]) for row in tab.rows("models")] == [model["total"] for model in document["models"]]
    assert [row[2] for row in tab.rows("slo")] != []
    expired = sorted((row["expired"] for row in document["timeouts"]), reverse=True)
    assert [number(row[3]) for row in tab.rows("timeouts") if len(row) > 3] == expired


def in_words(value: float) -> str:
    if value >= 10:
        return f"{value:.0f} s"
    return f"{float(f'{value:.1f}'):g} s" if value >= 1 else f"{max(1, round(1000 * value))} ms"


def test_a_bad_hour_is_shown_as_the_document_tells_it(browser: Browser, spike: str) -> None:
    tab = Tab(browser).live(spike)
    document = status(spike)
    agree(tab, document)
    (opened, *closed) = tab.rows("breakers")
    assert opened[:4] == ["api.anthropic.com/claude-opus-5", "open", "too large a share of failures", opened[3]]
    assert re.fullmatch(r"in \d+ min", opened[4])
    assert {row[1] for row in closed} == {"closed"}
    limits = {row[0]: row for row in tab.rows("limits")}
    for limit in document["rate_limits"]:
        shown = limits[limit["kind"].replace("_", " ")]
        assert number(shown[1]) == pytest.approx(100 * limit["left_ratio"], abs=0.5)
    slo = {row[0]: row for row in tab.rows("slo")}
    for objective in document["slo"]:
        assert number(slo[objective["name"].removeprefix("claude-")][3]) == pytest.approx(
            objective["burn_rate"], rel=0.1
        )
    tab.page.get_by_label("1 h").check()
    longer = status(spike, "?window=3600")
    assert longer["calls"]["total"] > document["calls"]["total"]
    expect(tab.page.locator('[data-tile="Calls"] .value')).to_have_text(
        f"{longer['calls']['total']:,}".replace(",", "\u202f")
    )
    tab.close()


def test_the_views_of_clients_and_proxy_are_chosen_between(browser: Browser) -> None:
    telemetry = Telemetry()
    console = Console(telemetry, mode="proxy")
    with served(console, telemetry) as url:
        telemetry.call(samples.call())
        tab = Tab(browser).live(url)
        assert tab.page.locator("#sources").is_hidden()
        for _ in range(3):
            telemetry.call(samples.call(source=Source.PROXY))
        expect(tab.page.locator('[data-tile="Calls"] .value')).to_have_text("3")
        tab.page.get_by_label("Clients").check()
        expect(tab.page.locator('[data-tile="Calls"] .value')).to_have_text("1")
        tab.close()


def test_hostile_names_are_only_text(browser: Browser) -> None:
    telemetry = Telemetry()
    console = Console(telemetry, mode="collect")
    with served(console, telemetry) as url:
        for outcome in (Outcome.OK, Outcome.TIMEOUT):
            phase = Phase.STALL if outcome is Outcome.TIMEOUT else None
            telemetry.call(samples.call(model=HOSTILE, endpoint=HOSTILE, outcome=outcome, phase=phase))
        telemetry.breaker(HOSTILE).state(BreakerState.OPEN)
        telemetry.breaker(HOSTILE).opened(HOSTILE, 60.0)
        tab = Tab(browser).live(url)
        assert tab.rows("models")[0][:2] == [HOSTILE, HOSTILE]
        assert tab.rows("breakers")[0][0] == HOSTILE
        assert HOSTILE in tab.text("#verdicts")
        assert tab.page.locator("main img").count() == 0
        assert tab.page.title().endswith("claude-sidecar")
        tab.close()


@contextmanager
def collector(port: int, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the real command."""
    command = [str(Path(sys.executable).with_name("sidecar")), "collect"]
    command += ["--admin", f"127.0.0.1:{port}", "--socket", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert "metrics at" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def test_a_dead_sidecar_shows_as_such_and_a_new_one_is_found(browser: Browser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    application = Telemetry()
    with tempfile.TemporaryDirectory(prefix="sc-") as folder:
        path = Path(folder) / "s.sock"
        sender = SocketSender(application, path)
        application.add_sink(sender)
        tab = Tab(browser)
        calls = tab.page.locator('[data-tile="Calls"] .value')
        with collector(port, path) as first:
            for _ in range(5):
                application.call(samples.call())
            tab.live(f"http://127.0.0.1:{port}")
            expect(calls).to_have_text("5")
            application.call(samples.call())
            expect(calls).to_have_text("6")  # without anybody asking again
            first.send_signal(signal.SIGKILL)
            expect(tab.page.get_by_role("alert")).to_contain_text("The sidecar does not answer: last seen")
            assert tab.text("#link-text") == "No answer"
            assert "grayscale" in tab.page.locator("main").evaluate("each => getComputedStyle(each).filter")
        with collector(port, path):
            expect(tab.page.locator("#link-text")).to_have_text("Live", timeout=30_000)
            assert tab.page.locator("#banner").is_hidden()
            application.call(samples.call())
            expect(calls).to_have_text("1")  # it remembers nothing, and the page does not pretend
        sender.close(20)
        tab.close(but="net::ERR_")


def test_who_has_the_token_gets_in_and_stays_in(browser: Browser) -> None:
    telemetry, secret = Telemetry(), "correct-horse-battery"
    console = Console(telemetry, mode="collect", remote=True, token=Token(secret))
    with served(console, telemetry) as url:
        tab = Tab(browser)
        tab.page.goto(url)
        tab.page.get_by_label("Token").fill("wrong")
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url("**/?token=wrong")
        tab.page.get_by_label("Token").fill(secret)
        tab.page.get_by_role("button", name="Show the console").click()
        tab.page.wait_for_selector("body[data-link=live]")
        assert tab.page.url == f"{url}/"
        assert tab.page.evaluate("document.cookie") == ""
        tab.page.reload()
        tab.page.wait_for_selector("body[data-link=live]")
        tab.close(but="status of 401")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_fault(browser: Browser, spike: str, theme: Any) -> None:
    faults(browser, spike, "[data-link=live]", theme)


@pytest.mark.parametrize("page", ["#empty:visible", "#token"])
def test_axe_finds_no_fault_before_the_first_call_and_in_the_form(browser: Browser, page: str) -> None:
    telemetry = Telemetry()
    console = Console(telemetry, mode="client", token=Token("x" * 16) if page == "#token" else None)
    with served(console, telemetry) as url:
        faults(browser, url, page, "light")


def faults(browser: Browser, url: str, ready: str, theme: Any) -> None:
    """Let axe-core look at a page."""
    tab = Tab(browser, color_scheme=theme)
    tab.page.goto(url)
    tab.page.wait_for_selector(ready)
    found = Axe().run(tab.page).response["violations"]
    assert [(each["id"], each["impact"], [node["target"] for node in each["nodes"]]) for each in found] == []
    tab.context.close()


@pytest.mark.parametrize("size", SIZES)
def test_no_width_needs_to_be_scrolled_sideways(browser: Browser, spike: str, size: str) -> None:
    width, height = SIZES[size]
    tab = Tab(browser, viewport={"width": width, "height": height})
    tab.live(spike)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    texts = ".tile p, .tile h3, h2:not(.hidden), .verdicts .text"
    cut = "(main, texts) => [...main.querySelectorAll(texts)].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert tab.page.locator("main").evaluate(cut, texts) == 0
    assert tab.page.locator("#graphs canvas").count() == 5
    tab.close()


def test_all_of_it_is_reached_by_keyboard(browser: Browser, spike: str) -> None:
    tab = Tab(browser).live(spike)
    keyboard = tab.page.keyboard
    focused = "document.activeElement.id || document.activeElement.name || document.activeElement.textContent"

    def press(key: str) -> str:
        keyboard.press(key)
        return str(tab.page.evaluate(focused))

    assert press("Tab") == "Skip to the numbers"
    assert press("Tab") == "window"
    keyboard.press("ArrowLeft")
    expect(tab.page.get_by_label("5 min", exact=True)).to_be_checked()
    assert press("Tab") == "theme"
    keyboard.press("Enter")
    assert tab.page.evaluate("document.documentElement.dataset.theme") == "light"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert tab.page.evaluate(outline) != "none"
    stops = {press("Tab") for _ in range(10)}
    assert "These numbers as JSON" in stops
    tab.page.reload()
    tab.page.wait_for_selector("body[data-link=live]")
    assert tab.page.evaluate("document.documentElement.dataset.theme") == "light"
    expect(tab.page.get_by_label("5 min", exact=True)).to_be_checked()
    keyboard.press("Tab")
    keyboard.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "main"
    tab.close()


def test_a_verdict_is_said_aloud_when_the_story_changes_only(browser: Browser) -> None:
    telemetry = Telemetry()
    console = Console(telemetry, mode="collect")
    with served(console, telemetry) as url:
        telemetry.call(samples.call())
        tab = Tab(browser).live(url)
        said = tab.page.get_by_role("status")
        expect(said).to_contain_text("1 call ended")
        telemetry.call(samples.call())
        expect(tab.page.locator("#verdicts")).to_contain_text("2 calls ended")
        expect(said).to_contain_text("1 call ended")
        limits = (RateLimit(kind=LimitKind.REQUESTS, limit=100, remaining=1),)
        telemetry.attempt(samples.attempt(limits=limits, profile=Profile.AGENTIC))
        expect(said).to_contain_text("Notice: Only 1 % of the rate limit for requests is left")
        tab.close()

import os
import threading
from collections.abc import Callable

import pytest

from sidecar.telemetry import Telemetry
from sidecar.telemetry.exposition import Format, Renderer
from tests.telemetry.records import attempt, call


@pytest.mark.usefixtures("eager_threads")
def test_threads_lose_no_record_while_others_scrape() -> None:
    telemetry = Telemetry()
    renderer = Renderer()
    workers, each = 4, 500
    start = threading.Barrier(workers + 1)
    faults: list[BaseException] = []

    def work() -> None:
        start.wait()
        for n in range(each):
            ticket = telemetry.in_flight.begin("messages", f"model-{n % 3}")
            telemetry.attempt(attempt(model=f"model-{n % 3}", duration=0.001 * n + 0.01))
            telemetry.call(call(model=f"model-{n % 3}", duration=0.001 * n + 0.01))
            ticket.end()

    def scrape() -> None:
        start.wait()
        try:
            while any(thread.is_alive() for thread in threads):
                for form in Format:
                    renderer.render(telemetry.collect(), form)
                telemetry.snapshot()
        except BaseException as error:  # noqa: BLE001  # told to the main thread
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    scraper = threading.Thread(target=scrape)
    for thread in (*threads, scraper):
        thread.start()
    for thread in (*threads, scraper):
        thread.join()
    assert faults == []
    assert telemetry.value("claude_calls_total") == telemetry.value("claude_attempts_total") == workers * each
    assert telemetry.histogram("claude_call_duration_seconds").total == workers * each
    assert telemetry.value("claude_tokens_total", kind="output") == workers * each * 400
    assert telemetry.value("claude_in_flight") == 0


def in_child(work: Callable[[], None]) -> int:
    """Run something in a forked child, and return its exit status."""
    child = os.fork()
    if child == 0:  # pragma: no cover  # the child leaves without telling coverage
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # the exit status tells it
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Python warns of what these tests are about: a fork while there are threads.
fork_beside_threads = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@fork_beside_threads
def test_a_forked_child_begins_anew() -> None:
    telemetry = Telemetry()
    ticket = telemetry.in_flight.begin("messages", "claude")
    telemetry.dropped("ring_full", 3)
    parent = telemetry.snapshot()

    def child() -> None:
        telemetry.dropped("ring_full")
        mine = telemetry.snapshot()
        assert mine.process != parent.process
        assert {sample.value for sample in mine.gauges} <= {0.0}
        (losses,) = (sample.value for sample in mine.counters if sample.labels == ("ring_full",))
        assert losses == 1

    assert in_child(child) == 0
    assert telemetry.value("claude_in_flight") == 1
    assert telemetry.snapshot().process == parent.process
    ticket.end()


@fork_beside_threads
def test_a_fork_waits_for_whoever_is_inside() -> None:
    """Without that the child would inherit a lock whose holder does not exist in it, and hang at its first record."""
    telemetry = Telemetry()
    inside, leave = threading.Event(), threading.Event()

    class Slow:
        """A model name that takes its time while it is looked up."""

        def __hash__(self) -> int:
            inside.set()
            leave.wait(60)
            return 1

    thread = threading.Thread(target=lambda: telemetry.call(call(model=Slow())))
    thread.start()
    assert inside.wait(60)
    threading.Timer(0.05, leave.set).start()
    assert in_child(lambda: telemetry.call(call())) == 0
    thread.join()


def test_a_scrape_holds_nobody_up_between_its_copies() -> None:
    telemetry = Telemetry()
    for model in ("one", "two"):
        telemetry.call(call(model=model))
    for view in telemetry.collect():
        for _ in view.histograms:  # as a renderer does, with work to do between one series and the next
            thread = threading.Thread(target=lambda: telemetry.call(call()))
            thread.start()
            thread.join(60)
            assert not thread.is_alive()
    assert telemetry.value("claude_calls_total") > 2

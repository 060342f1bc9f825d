"""Proves that users can assert on records: fed by hand, through a telemetry, in a block and as a fixture."""

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sidecar.model import ATTEMPT_OUTCOMES, Outcome, Phase
from sidecar.telemetry import Telemetry, default_telemetry
from sidecar.testing import Recorder, Records, recording
from tests.outlets import samples

PROPERTIES = {
    Outcome.OK: "ok",
    Outcome.TIMEOUT: "timeouts",
    Outcome.RATE_LIMITED: "rate_limited",
    Outcome.OVERLOADED: "overloaded",
    Outcome.SERVER_ERROR: "server_errors",
    Outcome.CONNECTION_ERROR: "connection_errors",
    Outcome.CLIENT_ERROR: "client_errors",
    Outcome.TRUNCATED: "truncated",
    Outcome.CANCELLED: "cancelled",
    Outcome.REJECTED: "rejected",
}


def _phase(outcome: Outcome) -> Phase | None:
    return Phase.STALL if outcome is Outcome.TIMEOUT else None


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_count(outcome: Outcome) -> None:
    recorder = Recorder()
    recorder.telemetry.call(samples.call(outcome=outcome, phase=_phase(outcome)))
    counted = {name: getattr(recorder.calls, name) for name in PROPERTIES.values()}
    assert counted == dict.fromkeys(PROPERTIES.values(), 0) | {PROPERTIES[outcome]: 1}
    assert recorder.calls.failed == (outcome is not Outcome.OK)


def test_calls_and_attempts_are_kept_apart_in_order() -> None:
    recorder = Recorder()
    for number, outcome in enumerate(ATTEMPT_OUTCOMES):
        recorder.telemetry.attempt(samples.attempt(number=number, outcome=outcome, phase=_phase(outcome)))
    last = samples.call(outcome=Outcome.TIMEOUT, phase=Phase.STALL)
    recorder.telemetry.call(last)
    assert [attempt.number for attempt in recorder.attempts] == list(range(len(ATTEMPT_OUTCOMES)))
    assert list(recorder.calls) == [last]
    assert recorder.calls[-1].phase is Phase.STALL
    assert recorder.attempts[:2].outcomes == {"ok": 1, "timeout": 1}
    assert repr(recorder.calls) == "<1 records: 1 timeout>"
    recorder.clear()
    assert (len(recorder.calls), len(recorder.attempts), repr(recorder.calls)) == (0, 0, "<0 records: none>")


def test_what_was_taken_does_not_change_under_the_assertion() -> None:
    recorder = Recorder()
    before = recorder.calls
    recorder.telemetry.call(samples.call())
    assert (len(before), len(recorder.calls)) == (0, 1)


def test_records_are_narrowed_down_by_their_fields() -> None:
    records = Records([samples.call(), samples.call(model="claude-haiku-5-5"), samples.call(stream=False)])
    assert len(records.where(model="claude-sonnet-5-5")) == 2
    assert len(records.where(model="claude-sonnet-5-5", stream=True)) == 1
    with pytest.raises(AttributeError, match="modell"):
        records.where(modell="claude-sonnet-5-5")


def test_in_a_block_the_shared_telemetry_is_watched_and_then_no_more() -> None:
    with recording() as seen:
        default_telemetry().call(samples.call())
    default_telemetry().call(samples.call())
    assert len(seen.calls) == 1


def test_blocks_may_be_nested_and_end_with_an_exception() -> None:
    telemetry = Telemetry()
    with recording(telemetry) as outer:
        telemetry.call(samples.call())
        with contextlib.suppress(RuntimeError), recording(telemetry) as inner:
            telemetry.call(samples.call())
            raise RuntimeError
        telemetry.call(samples.call())
    assert (len(outer.calls), len(inner.calls)) == (3, 1)


def test_records_of_other_threads_are_seen() -> None:
    telemetry = Telemetry()
    with recording(telemetry) as seen:
        threads = [threading.Thread(target=telemetry.call, args=(samples.call(),)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen.calls.ok == 20


TEST_OF_A_USER = """
from sidecar.model import Outcome, Phase
from sidecar.telemetry import default_telemetry
from tests.outlets import samples

def test_one(sidecar_recorder):
    default_telemetry().call(samples.call(outcome=Outcome.TIMEOUT, phase=Phase.STALL))
    default_telemetry().call(samples.call())
    assert sidecar_recorder.calls.timeouts == 1

def test_two(sidecar_recorder):
    assert len(sidecar_recorder.calls) == 0
    default_telemetry().attempt(samples.attempt())
    assert sidecar_recorder.attempts.ok == 1
"""


def test_pytest_finds_the_fixture_by_itself(tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text(TEST_OF_A_USER)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr

"""Log lines: what each holds, that nobody can forge one, that they are bounded, and that no secret is in any."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.chaos import chaos_server
from sidecar.model import AttemptRecord, CallRecord, Outcome, Phase, Profile, Source, TraceRef
from sidecar.proxy import logs
from sidecar.proxy.logs import WARNINGS_A_SECOND, LogFormat, LogLevel, RequestLog
from tests.proxy.clock import ClockLoop
from tests.proxy.processes import QUESTION, sidecar


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("sidecar", "opentelemetry")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate


def attempt(outcome: Outcome = Outcome.OK, **more: Any) -> AttemptRecord:
    fields: dict[str, Any] = {
        "source": Source.PROXY,
        "endpoint": "messages",
        "model": "m",
        "profile": Profile.DEFAULT,
        "stream": True,
        "number": 0,
        "started_at": 0.0,
        "duration": 1.23456,
        "outcome": outcome,
    }
    return AttemptRecord(**(fields | more))


def refused(outcome: Outcome, attempts: int = 0) -> CallRecord:
    return CallRecord(
        source=Source.PROXY,
        endpoint="messages",
        model="",
        profile=Profile.DEFAULT,
        stream=False,
        started_at=0.0,
        duration=0.0,
        outcome=outcome,
        attempts=attempts,
        error_type="too_many_requests",
    )


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_failure_is_a_warning_with_what_helps_to_find_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(LogFormat.TEXT, LogLevel.INFO)
    RequestLog(access=False).attempt(
        attempt(
            Outcome.TIMEOUT,
            phase=Phase.STALL,
            status=200,
            request_id="req_1",
            number=2,
            first_byte=0.5,
            trace=TraceRef(trace_id="ab" * 16, span_id="cd" * 8),
        )
    )
    [line] = lines(capsys)
    moment, level, rest = line.split(None, 2)
    assert (moment[10], moment[-1], level) == ("T", "Z", "warning")
    assert rest == (
        "request failed outcome=timeout phase=stall endpoint=messages model=m profile=default stream=true "
        f"seconds=1.2346 request_id=req_1 trace_id={'ab' * 16} status=200 retry=2 first_byte=0.5"
    )


def test_in_json_each_line_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(LogFormat.JSON, LogLevel.INFO, worker=3)
    RequestLog(access=False).attempt(attempt(Outcome.OVERLOADED, status=529))
    [line] = lines(capsys)
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning",
        "logger": "sidecar.proxy.requests",
        "message": "request failed",
        "worker": 3,
        "outcome": "overloaded",
        "endpoint": "messages",
        "model": "m",
        "profile": "default",
        "stream": True,
        "seconds": 1.2346,
        "status": 529,
    }


@pytest.mark.parametrize(("access", "level", "count"), [(False, "info", 0), (False, "debug", 3), (True, "info", 3)])
def test_what_went_well_has_a_line_only_where_that_was_asked_for(
    access: bool, level: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up(LogFormat.TEXT, LogLevel(level))
    log = RequestLog(access=access)
    log.attempt(attempt())
    log.attempt(attempt(Outcome.CANCELLED))
    log.call(refused(Outcome.CLIENT_ERROR))
    log.call(refused(Outcome.OK, attempts=1))  # its attempt had a line
    assert len(lines(capsys)) == count


def test_what_is_turned_away_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(LogFormat.TEXT, LogLevel.INFO)
    RequestLog(access=False).call(refused(Outcome.REJECTED))
    assert "warning request rejected outcome=rejected error_type=too_many_requests" in lines(capsys)[0]


def test_when_everything_fails_the_log_stays_small_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(LogFormat.TEXT, LogLevel.INFO)
    clock = ClockLoop()
    log = RequestLog(access=False, clock=clock.time)
    for _ in range(100):
        log.attempt(attempt(Outcome.OVERLOADED))
    assert len(lines(capsys)) == WARNINGS_A_SECOND
    clock.now += 1.0
    log.attempt(attempt(Outcome.OVERLOADED))
    told = lines(capsys)
    assert told[0].endswith(f"failures are many not_shown={100 - WARNINGS_A_SECOND}")
    assert len(told) == 2


@pytest.mark.parametrize("form", LogFormat)
def test_nobody_can_forge_a_line(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(form, LogLevel.INFO)
    forged = 'x\n2026-01-01T00:00:00.000Z error "all lost"\u2028\x1b[31m=y'
    RequestLog(access=False).attempt(attempt(Outcome.OVERLOADED, model=forged, request_id=forged))
    [line] = lines(capsys)
    assert line.isascii()
    assert line.isprintable()


def test_what_the_exporter_of_traces_says_is_a_line_like_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = logging.getLogger("opentelemetry.exporter.otlp")
    for form in LogFormat:
        logs.set_up(form, LogLevel.INFO)
        exporter.warning("Transient error %s", "refused\nretrying in 1 s")
    text, line = lines(capsys)
    assert text.endswith(
        r'warning a library speaks logger=opentelemetry.exporter.otlp said="Transient error refused\nretrying in 1 s"'
    )
    assert json.loads(line)["said"] == "Transient error refused\nretrying in 1 s"


def test_an_exception_is_told_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(LogFormat.TEXT, LogLevel.INFO)
    loop = asyncio.new_event_loop()
    try:
        int("sk-ant-canary")
    except ValueError as error:
        logs.log_loop_errors(loop, {"exception": error, "message": "sk-ant-canary", "data": b"sk-ant-canary"})
    logs.log_loop_errors(loop, {"message": "sk-ant-canary"})
    loop.close()
    first, second = lines(capsys)
    assert "an error that nobody handled error=ValueError at=" in first
    assert "test_logs.py:" in first
    assert second.endswith("an error that nobody handled")
    assert "canary" not in first + second


def test_no_content_and_no_key_is_in_any_line() -> None:
    """Everything is logged that can be, of calls that go well, fail, break off, and are malformed."""
    with chaos_server() as chaos:
        with sidecar(
            chaos.url, "--access-log", environ={"SIDECAR_LOG_LEVEL": "debug", "SIDECAR_LOG_FORMAT": "json"}
        ) as proxy:
            for fault in ("ok", "529", "400", "truncate", "reset", "malformed-json"):
                connection = proxy.client()
                body = json.dumps({**QUESTION, "messages": [{"role": "user", "content": "canary-x"}]})
                sent = {
                    "x-api-key": "canary-key",
                    "authorization": "Bearer canary-b",
                    "x-chaos": fault,
                    "anthropic-version": "2023-06-01",
                }
                connection.request("POST", "/v1/messages?key=canary-query", body, sent)
                try:
                    answer = connection.getresponse()
                    answer.read()
                except Exception:  # noqa: BLE001, S110  # some break off, as they should
                    pass
                connection.close()
            broken = proxy.client()
            broken.connect()
            broken.sock.sendall(b"GET /canary-path HTTP/1.1\r\ncanary header\r\n\r\n")
            broken.sock.recv(1000)
            broken.close()
            proxy.until(lambda: proxy.metric("claude_attempts_total") == 6)
            assert proxy.stop() == 0
        told = "".join(proxy.lines)
    assert told.count('"request failed"') >= 3
    assert told.count('"request ended"') >= 2
    assert "canary" not in told

"""Whatever happens, in whatever order: every protected request ends in one call, and nothing is left behind."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import Outcome
from tests.proxy.kit import answer, chunks
from tests.proxy.protected import BODY, JSON, MESSAGE, OVERLOADED, SDK, STREAM, Protected, ask, protection
from tests.proxy.test_protect_upgrade import HEAD, WHOLE, error_event

LARGE = BODY[:-1] + b',"metadata":{"user_id":"' + b"x" * 300 + b'"}}'
REQUESTS = (
    ask(),
    ask(STREAM),
    ask(LARGE),
    ask(headers=SDK % 1),
    ask(headers=b"x-sidecar-deadline-ms: 2500\r\n"),
    ask(BODY.replace(b"sonnet", b"haiku"), headers=b"user-agent: claude-cli/1\r\n"),
    b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(BODY[:20], BODY[20:]),
)
ANSWERS = (
    answer(MESSAGE, JSON),
    answer(OVERLOADED, JSON, status=b"529 Overloaded"),
    answer(OVERLOADED, JSON, b"Retry-After: 1", status=b"429 Too Many Requests"),
    answer(b"{}", JSON, status=b"400 Bad Request"),
    HEAD + chunks(WHOLE[:200], WHOLE[200:]),
    HEAD + chunks(WHOLE[:200]),
    HEAD + chunks(error_event()),
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"no HTTP\r\n\r\n",
)
parts = st.floats(0.0, 1.0)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from(REQUESTS), parts),
        st.tuples(st.just("reply"), st.sampled_from(ANSWERS), parts),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 2.0, 3.5])),
        st.tuples(st.sampled_from(["rest", "rest", "break_off", "hang_up", "leave", "slow", "fast"])),
    ),
    max_size=25,
)
shapes = st.fixed_dictionaries(
    {
        "upgrade": st.booleans(),
        "keep_alive_seconds": st.sampled_from([None, 0.5]),
        "concurrency": st.sampled_from([0, 1]),
        "spool_bytes": st.sampled_from([150, 4096]),
        "clients_retry": st.booleans(),
    }
)
POLICY = {
    "timeouts": {"connect": 1.0, "write": 1.0, "first_byte": 3.0, "stall": 2.0, "total": 8.0},
    "breaker": {"consecutive": 4, "open_for": 3},
    "retry_budget": {"ratio": 0.5, "min_per_second": 0.2},
}


def play(talk: Protected, script: list[tuple[Any, ...]]) -> int:
    """Play a script; returns how many requests had begun."""
    heads, saying, replying = 0, b"", b""
    for step in script:
        match step:
            case ("say", whole, part):
                if not talk.pipe.is_closing():
                    heads += 1
                    talk.say(saying)
                    cut = max(int(part * len(whole)), whole.index(b"\r\n\r\n") + 4)
                    talk.say(whole[:cut])
                    saying = whole[cut:]
            case ("reply", whole, part):
                talk.reply(replying)
                cut = int(part * len(whole))
                talk.reply(whole[:cut])
                replying = whole[cut:]
            case ("wait", seconds):
                talk.wait(seconds)
            case ("rest",):
                talk.say(saying)
                talk.reply(replying)
                saying = replying = b""
            case ("slow",):
                talk.client.pause_writing()
            case ("fast",):
                talk.client.resume_writing()
            case (name,):
                getattr(talk, name)()
                replying = b""
    return heads


@settings(deadline=None, max_examples=100)
@given(steps, shapes)
def test_every_request_ends_in_one_call_and_nothing_is_left(
    script: list[tuple[Any, ...]], shape: dict[str, Any]
) -> None:
    talk = Protected(protection(POLICY, **shape))
    try:
        begun = play(talk, script)
    finally:
        talk.__exit__()
    records = talk.records
    assert talk.telemetry.value("sidecar_internal_errors_total") == 0
    assert talk.telemetry.value("sidecar_dropped_records_total") == 0
    assert talk.telemetry.value("claude_in_flight") == 0
    assert talk.proxy.in_flight == 0
    assert talk.shield.room.used == 0
    assert talk.shield.gate is None or not talk.shield.gate.lanes
    assert sum(call.attempts for call in records.calls) >= len(records.attempts)
    assert len(records.calls) <= begun  # several requests can be one call
    assert (len(records.calls) > 0) == (begun > 0)
    for call in records.calls:
        assert (call.outcome is Outcome.TIMEOUT) <= (call.phase is not None)
        assert call.duration >= 0

"""The closed table of faults and the grammar of ``x-chaos``."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.chaos.faults import (
    FAULTS,
    OVERRIDES,
    PARAMETERS,
    Fault,
    FaultError,
    FaultSpec,
    parse_fault,
    parse_sequence,
)
from sidecar.model import ERROR_STATUS

_VALUES = {
    "after": "3",
    "s": "0.5",
    "retry-after": "2",
    "retry-after-ms": "1500",
    "should-retry": "false",
    "spend": "",
    "when": "after-headers",
    "type": "api_error",
    "bytes": "7",
    "mb": "1",
    "latency": "0.25",
    "tokens": "12",
    "tps": "50",
    "input-tokens": "900",
    "stop": "max_tokens",
    "gzip-sse": "",
    "continue": "",
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_takes_every_parameter_its_row_names(name: str) -> None:
    row = FAULTS[name]
    for key in (*row.parameters, *OVERRIDES):
        value = _VALUES[key]
        spec = parse_fault(f"{name};{key}={value}" if value else f"{name};{key}")
        default = getattr(row.base, PARAMETERS[key].field)
        assert getattr(spec, PARAMETERS[key].field) != default or key in {"after", "mb"}


def test_every_status_of_the_api_can_be_asked_for() -> None:
    assert {parse_fault(str(status)).status for status in ERROR_STATUS.values()} == set(ERROR_STATUS.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("529", {"fault": Fault.STATUS, "status": 529}),
        ("429;retry-after=2", {"fault": Fault.STATUS, "status": 429, "retry_after": 2.0}),
        ("429; spend", {"status": 429, "spend": True}),
        ("stall;after=3", {"fault": Fault.STALL, "after": 3, "seconds": None}),
        (" stall ; after = 0 ; s=1.5 ", {"fault": Fault.STALL, "after": 0, "seconds": 1.5}),
        ("slow-headers", {"fault": Fault.SLOW_HEADERS, "seconds": 2.0}),
        ("reset", {"fault": Fault.RESET, "after_headers": False}),
        ("reset;when=after-headers", {"fault": Fault.RESET, "after_headers": True, "after": 0}),
        ("reset;after=4", {"fault": Fault.RESET, "after_headers": True, "after": 4}),
        ("error-event;type=api_error;after=1", {"fault": Fault.ERROR_EVENT, "error_type": "api_error", "after": 1}),
        ("drip;bytes=1;s=0.1", {"fault": Fault.DRIP, "bytes": 1, "seconds": 0.1}),
        ("ok;tokens=8;tps=100;latency=0", {"fault": Fault.OK, "tokens": 8, "tokens_per_second": 100.0, "latency": 0.0}),
    ],
)
def test_a_fault_is_read_with_its_parameters(text: str, expected: dict[str, object]) -> None:
    spec = parse_fault(text)
    assert {name: getattr(spec, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["unknown fault ''", "529", "stall"]),
        ("530", ["unknown fault '530'", "529"]),
        ("refused", ["refuse = true"]),
        ("stall;before=3", ["stall", "'before'", "after, s, latency"]),
        ("529;after=3", ["529", "'after'", "retry-after"]),
        ("stall;after=x", ["after is 'x'", "whole number"]),
        ("stall;after=-1", ["after is '-1'", "0 to 1000000"]),
        ("stall;after", ["after is ''", "whole number"]),
        ("hang;s=nan", ["s is 'nan'", "seconds"]),
        ("hang;s=inf", ["s is 'inf'", "seconds"]),
        ("hang;s=1e999", ["s is '1e999'"]),
        ("stall;after=1;after=2", ["'after' is given twice"]),
        ("error-event;type=oops", ["type is 'oops'", "overloaded_error"]),
        ("reset;when=never", ["when is 'never'", "before-headers or after-headers"]),
        ("ok;stop=now", ["stop is 'now'", "max_tokens"]),
        ("ok;tps=0", ["tps is '0'"]),
        ("huge;mb=65", ["mb is '65'", "1 to 64"]),
        ("x" * 100, ["…"]),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_what_was_found_and_what_is_allowed(text: str, names: list[str]) -> None:
    with pytest.raises(FaultError) as raised:
        parse_fault(text)
    assert [name for name in names if name not in str(raised.value)] == []


@pytest.mark.parametrize(
    ("text", "attempts"),
    [
        ("529", ["529"]),
        ("529,529,ok", ["529", "529", "ok"]),
        ("529 x2", ["529", "529", "ok"]),
        ("429;retry-after=1 x1, hang", ["429;retry-after=1", "hang"]),
        ("500, stall;after=2 x2", ["500", "stall;after=2", "stall;after=2", "ok"]),
    ],
)
def test_a_sequence_gives_each_attempt_its_fault(text: str, attempts: list[str]) -> None:
    assert [spec.text for spec in parse_sequence(text)] == attempts


@pytest.mark.parametrize("text", ["529 x0", "529 x101", ",".join(["ok"] * 101), "529,,ok", "ok" * 4000, "529 xtwo"])
def test_a_sequence_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(FaultError):
        parse_sequence(text)


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_text_is_either_a_sequence_or_refused(text: str) -> None:
    try:
        faults = parse_sequence(text)
    except FaultError:
        return
    assert all(isinstance(fault, FaultSpec) for fault in faults)


@given(st.sampled_from(sorted(FAULTS)), st.sampled_from(sorted(PARAMETERS)), st.text("0123456789.e-x", max_size=6))
@settings(deadline=None, max_examples=200)
def test_what_is_read_can_be_written_and_read_again(name: str, key: str, value: str) -> None:
    try:
        spec = parse_fault(f"{name};{key}={value}")
    except FaultError:
        return
    assert parse_fault(spec.text) == spec

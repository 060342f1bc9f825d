"""When the alerts about timeouts must fire, and when they must not."""

from tests.alerts.promtool import APP, MODEL, SERIES, Case, Line, counter, gauge

OK = f'claude_calls_total{{{SERIES},stream="true",outcome="ok"}}'
TIMEOUT = f'claude_calls_total{{{SERIES},stream="true",outcome="timeout"}}'
OTHER_OK = OK.replace("claude-a", "claude-b")
OTHER_TIMEOUT = TIMEOUT.replace("claude-a", "claude-b")
SILENT = f'claude_in_flight_silent_seconds{{{MODEL},endpoint="messages"}}'
IN_FLIGHT = f'claude_in_flight{{{MODEL},endpoint="messages"}}'
USUAL_SILENCE = f'claude:in_flight_silent_seconds:p95_1d{{{MODEL},endpoint="messages"}}'
USE = f'{APP},profile="interactive"'
ATTEMPTS = f'claude_attempts_total{{{SERIES},outcome="ok",status="200"}}'
BROKEN = f'claude_attempts_total{{{SERIES},outcome="connection_error",status="none"}}'

SPIKE = (
    Case(
        alert="ClaudeTimeoutSpike",
        sentence="at 5 calls/s a jump from 0.5 % to 20 % is told 30 s after it began, and untold 10 m after it ended",
        series={
            OK: counter(("10m", 298.5), ("10m", 240), ("20m", 298.5)),
            TIMEOUT: counter(("10m", 1.5), ("10m", 60), ("20m", 1.5)),
        },
        fires={"10m": 0, "10m15s": 0, "10m30s": 1, "20m": 1, "31m30s": 1, "31m45s": 0},
    ),
    Case(
        alert="ClaudeTimeoutSpike",
        sentence="three slow calls at night are no spike, though they are all there was",
        series={OK: counter(("30m", 0)), TIMEOUT: counter(("10m", 0), ("1m", 3), ("19m", 0))},
        fires={"11m": 0, "12m": 0, "13m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeTimeoutSpike",
        sentence="a share of exactly the threshold does not fire",
        series={OK: counter(("30m", 285)), TIMEOUT: counter(("30m", 15))},
        fires={"5m": 0, "15m": 0, "30m": 0},
    ),
    Case(
        alert="ClaudeTimeoutSpike",
        sentence="a service that always loses 10 % is not woken for 12 %, but is for 40 %",
        series={
            OK: counter(("3h", 270), ("30m", 264), ("10m", 180)),
            TIMEOUT: counter(("3h", 30), ("30m", 36), ("10m", 120)),
        },
        settings=("ClaudeTimeoutSpike.keep=0s",),
        every="30s",
        fires={"2h": 0, "3h20m": 0, "3h29m": 0, "3h33m": 1},
    ),
    Case(
        alert="ClaudeTimeoutSpike",
        sentence="a deploy that restarts the counters is no spike, even where the new ones begin high",
        series={
            OK: counter(("10m", 300), start=50000).restarts().rises("15m", 300),
            TIMEOUT: counter(("10m", 1.5), start=900).restarts().rises("15m", 1.5),
        },
        fires={"10m": 0, "10m30s": 0, "11m": 0, "12m": 0, "25m": 0},
    ),
    Case(
        alert="ClaudeTimeoutSpike",
        sentence="one model that times out is told, the one that does not is not",
        series={
            OK: counter(("10m", 60), ("10m", 0)),
            TIMEOUT: counter(("10m", 0), ("10m", 60)),
            OTHER_OK: counter(("20m", 300)),
            OTHER_TIMEOUT: counter(("20m", 0)),
        },
        fires={"10m": 0, "12m": 1, "20m": 1},
    ),
    Case(
        alert="ClaudeTimeoutSpike",
        sentence="calls without any series of timeouts are no spike",
        series={OK: counter(("20m", 300))},
        fires={"5m": 0, "20m": 0},
    ),
)

RATE_HIGH = (
    Case(
        alert="ClaudeTimeoutRateHigh",
        sentence="one call in twenty, for 10 m after it shows in half an hour, and until it stopped showing",
        series={
            OK: counter(("1h", 20), ("40m", 19), ("90m", 20)),
            TIMEOUT: counter(("1h", 0), ("40m", 1), ("90m", 0)),
        },
        every="1m",
        # 2 % of 30 m (600 calls) is 12 timeouts, so it is above from the 13th on.
        fires={"1h22m": 0, "1h23m": 1, "1h40m": 1, "2h5m": 1, "2h9m": 0},
    ),
    Case(
        alert="ClaudeTimeoutRateHigh",
        sentence="exactly 2 % does not fire",
        # Numbers whose quotient is 0.02 to the last digit, also after increase() has extrapolated both.
        series={OK: counter(("2h", 147)), TIMEOUT: counter(("2h", 3))},
        every="1m",
        fires={"30m": 0, "1h": 0, "2h": 0},
    ),
    Case(
        alert="ClaudeTimeoutRateHigh",
        sentence="few calls, of which a few time out, do not fire",
        series={OK: counter(("2h", 0.2)), TIMEOUT: counter(("2h", 0.2))},
        every="1m",
        fires={"40m": 0, "2h": 0},
    ),
)

HANGING = (
    Case(
        alert="ClaudeCallsHanging",
        sentence="all upstream silent: told when the silence passes 45 s, untold 2 m after answers come again",
        series={
            OK: counter(("30m", 300), ("5m", 0), ("10m", 300)),
            SILENT: Line().stays("30m", 10).moves("5m", 300).stays("10m", 8),
            IN_FLIGHT: gauge(("30m", 20), ("5m", 100), ("10m", 20)),
            USUAL_SILENCE: gauge(("50m", 14)),
        },
        fires={"30m30s": 0, "30m45s": 1, "34m45s": 1, "36m45s": 1, "37m15s": 0},
    ),
    Case(
        alert="ClaudeCallsHanging",
        sentence="one stuck call among many that succeed is not an upstream that is silent",
        series={
            OK: counter(("50m", 300)),
            SILENT: Line().stays("30m", 10).moves("10m", 600).stays("10m", 8),
            IN_FLIGHT: gauge(("50m", 20)),
            USUAL_SILENCE: gauge(("50m", 14)),
        },
        fires={"31m": 0, "35m": 0, "40m": 0},
    ),
    Case(
        alert="ClaudeCallsHanging",
        sentence="two calls at night that hang are too few",
        series={
            OK: counter(("30m", 0.1), ("20m", 0)),
            SILENT: Line().stays("30m", 0).moves("20m", 1200),
            IN_FLIGHT: gauge(("30m", 0), ("20m", 2)),
            USUAL_SILENCE: gauge(("50m", 14)),
        },
        fires={"32m": 0, "40m": 0, "50m": 0},
    ),
    Case(
        alert="ClaudeCallsHanging",
        sentence="a nightly batch whose calls always take minutes is used to silence",
        series={
            OK: counter(("50m", 0)),
            SILENT: Line().stays("30m", 0).moves("4m", 240).stays("16m", 0),
            IN_FLIGHT: gauge(("30m", 0), ("4m", 20), ("16m", 0)),
            USUAL_SILENCE: gauge(("50m", 200)),
        },
        fires={"31m": 0, "33m": 0, "34m": 0},
    ),
    Case(
        alert="ClaudeCallsHanging",
        sentence="without a day of history it waits for 5 m of silence",
        series={
            OK: counter(("5m", 300), ("10m", 0)),
            SILENT: Line().stays("5m", 10).moves("10m", 610),
            IN_FLIGHT: gauge(("15m", 20)),
        },
        # The gauge rises from 10 s at 5 m, so it passes 300 s just before 10 m.
        fires={"6m": 0, "9m30s": 0, "10m": 1},
    ),
)


def tight(p95: float, timeouts: tuple[tuple[str, float], ...], *, calls: float = 0.5) -> dict[str, Line]:
    return {
        f'claude:ok_call_duration_seconds:p95_1h{{{USE},stream="false"}}': gauge(("4h", p95)),
        f'claude_timeout_setting_seconds{{{USE},phase="first_byte"}}': gauge(("4h", 60)),
        f'claude:timeouts_by_phase:rate_1h{{{SERIES},phase="first_byte"}}': gauge(*timeouts),
        f"claude:calls:rate_1h{{{SERIES}}}": gauge(("4h", calls)),
    }


TOO_TIGHT = (
    Case(
        alert="ClaudeTimeoutTooTight",
        sentence="successes need 50 s of 60 s while timeouts occur, and no longer when none occur",
        series=tight(50, (("1h", 0), ("1h", 0.01), ("2h", 0))),
        every="2m",
        fires={"1h": 0, "1h14m": 0, "1h18m": 1, "1h58m": 1, "2h": 0},
    ),
    Case(
        alert="ClaudeTimeoutTooTight",
        sentence="no timeouts, so nothing is cut off",
        series=tight(50, (("4h", 0),)),
        every="2m",
        fires={"1h": 0, "4h": 0},
    ),
    Case(
        alert="ClaudeTimeoutTooTight",
        sentence="successes of exactly 0.8 of the setting are not near it",
        series=tight(48, (("4h", 0.01),)),
        every="2m",
        fires={"1h": 0, "4h": 0},
    ),
    Case(
        alert="ClaudeTimeoutTooTight",
        sentence="successes beyond the setting come from retries, which says nothing of the setting",
        series=tight(75, (("4h", 0.01),)),
        every="2m",
        fires={"1h": 0, "4h": 0},
    ),
    Case(
        alert="ClaudeTimeoutTooTight",
        sentence="twenty calls an hour are too few to know",
        series=tight(50, (("4h", 0.002),), calls=20 / 3600),
        every="2m",
        fires={"1h": 0, "4h": 0},
    ),
)


def loose(p99: float, timeouts: tuple[tuple[str, float], ...]) -> dict[str, Line]:
    return {
        f'claude:ok_call_duration_seconds:p99_1h{{{USE},stream="false"}}': gauge(("6h", p99)),
        f'claude_timeout_setting_seconds{{{USE},phase="first_byte"}}': gauge(("6h", 600)),
        f'claude:timeouts_by_phase:rate_1d{{{USE},phase="first_byte"}}': gauge(*timeouts),
        f"claude:calls:rate_1h{{{SERIES}}}": gauge(("6h", 0.5)),
    }


TOO_LOOSE = (
    Case(
        alert="ClaudeTimeoutTooLoose",
        sentence="some calls wait 600 s where 99 % need 12 s, until a day has passed without one",
        series=loose(12, (("1h", 0), ("3h", 0.0001), ("2h", 0))),
        every="2m",
        fires={"1h": 0, "1h58m": 0, "2h2m": 1, "3h58m": 1, "4h": 0},
    ),
    Case(
        alert="ClaudeTimeoutTooLoose",
        sentence="the default of 600 s that nobody ever meets is left in peace",
        series=loose(12, (("6h", 0),)),
        every="2m",
        fires={"2h": 0, "6h": 0},
    ),
    Case(
        alert="ClaudeTimeoutTooLoose",
        sentence="exactly ten times what is needed is not too loose",
        series=loose(60, (("6h", 0.0001),)),
        every="2m",
        fires={"2h": 0, "6h": 0},
    ),
)

CONNECT = (
    Case(
        alert="ClaudeConnectFailures",
        sentence="a tenth of all connections is refused: told after 1 m above the threshold, untold 5 m after",
        series={
            ATTEMPTS: counter(("10m", 300), ("10m", 270), ("20m", 300)),
            BROKEN: counter(("10m", 0), ("10m", 30), ("20m", 0)),
        },
        # More than 5 % of 1,500 attempts in 5 m: 75 failures come in 2 m 30 s, one more scrape passes it.
        fires={"13m30s": 0, "13m45s": 1, "20m": 1, "27m15s": 1, "27m45s": 0},
    ),
    Case(
        alert="ClaudeConnectFailures",
        sentence="timeouts while connecting count as well, where no connection broke",
        series={
            ATTEMPTS: counter(("20m", 270)),
            f'claude_attempts_total{{{SERIES},outcome="timeout",status="none"}}': counter(("20m", 30)),
            f'claude_timeouts_total{{{SERIES},phase="connect"}}': counter(("20m", 30)),
        },
        fires={"10m": 1},
    ),
    Case(
        alert="ClaudeConnectFailures",
        sentence="timeouts after the request was sent are another matter",
        series={
            ATTEMPTS: counter(("20m", 270)),
            f'claude_attempts_total{{{SERIES},outcome="timeout",status="none"}}': counter(("20m", 30)),
            f'claude_timeouts_total{{{SERIES},phase="first_byte"}}': counter(("20m", 30)),
        },
        fires={"5m": 0, "10m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeConnectFailures",
        sentence="exactly 5 % does not fire",
        series={ATTEMPTS: counter(("20m", 285)), BROKEN: counter(("20m", 15))},
        fires={"5m": 0, "10m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeConnectFailures",
        sentence="a handful of broken connections while a deploy restarts everything does not fire",
        series={
            ATTEMPTS: counter(("10m", 30), start=9000).restarts().rises("15m", 30),
            BROKEN: counter(("10m", 0), start=70).restarts().rises("1m", 8).rises("14m", 0),
        },
        fires={"10m30s": 0, "12m": 0, "14m": 0},
    ),
)

CASES = (*SPIKE, *RATE_HIGH, *HANGING, *TOO_TIGHT, *TOO_LOOSE, *CONNECT)

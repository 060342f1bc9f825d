"""When the alerts about latency, errors, retries, breakers and limits must fire, and when they must not."""

from tests.alerts.promtool import APP, MODEL, SERIES, Case, Line, counter, gauge


def calls(outcome: str, *, stream: str = "true") -> str:
    return f'claude_calls_total{{{SERIES},stream="{stream}",outcome="{outcome}"}}'


def attempts(outcome: str, status: str, endpoint: str = "messages") -> str:
    labels = SERIES.replace('"messages"', f'"{endpoint}"')
    return f'claude_attempts_total{{{labels},outcome="{outcome}",status="{status}"}}'


def retried(result: str) -> str:
    return f'claude_retried_calls_total{{{MODEL},endpoint="messages",result="{result}"}}'


def p95(what: str, profile: str = "interactive") -> str:
    return f"claude:{what}_seconds:p95_5m{{{SERIES.replace('interactive', profile)}}}"


def calls_rate(profile: str = "interactive") -> str:
    return f"claude:calls:rate_5m{{{SERIES.replace('interactive', profile)}}}"


FIRST_TOKENS = f"claude:first_tokens:rate_5m{{{SERIES}}}"

LATENCY = (
    Case(
        alert="ClaudeLatencyP95High",
        sentence="a p95 of 70 s is told after 10 m, and untold 5 m after it fell",
        series={p95("call_duration"): gauge(("10m", 20), ("20m", 70), ("20m", 20)), calls_rate(): gauge(("50m", 5))},
        fires={"19m45s": 0, "20m": 1, "34m30s": 1, "35m": 0},
    ),
    Case(
        alert="ClaudeLatencyP95High",
        sentence="a p95 of exactly 60 s is not above it",
        series={p95("call_duration"): gauge(("40m", 60)), calls_rate(): gauge(("40m", 5))},
        fires={"20m": 0, "40m": 0},
    ),
    Case(
        alert="ClaudeLatencyP95High",
        sentence="three slow calls at night make no p95",
        series={p95("call_duration"): gauge(("40m", 300)), calls_rate(): gauge(("40m", 0.01))},
        fires={"20m": 0, "40m": 0},
    ),
    Case(
        alert="ClaudeLatencyP95High",
        sentence="background work may take what a chat may not",
        series={
            p95("call_duration", "background"): gauge(("40m", 200)),
            calls_rate("background"): gauge(("40m", 5)),
        },
        fires={"20m": 0, "40m": 0},
    ),
    Case(
        alert="ClaudeFirstTokenSlow",
        sentence="a first token after 12 s is told after 10 m, and untold 5 m after it fell",
        series={p95("first_token"): gauge(("10m", 2), ("20m", 12), ("20m", 2)), FIRST_TOKENS: gauge(("50m", 5))},
        fires={"19m45s": 0, "20m": 1, "34m30s": 1, "35m": 0},
    ),
    Case(
        alert="ClaudeFirstTokenSlow",
        sentence="exactly 8 s is not above it",
        series={p95("first_token"): gauge(("40m", 8)), FIRST_TOKENS: gauge(("40m", 5))},
        fires={"20m": 0, "40m": 0},
    ),
    Case(
        alert="ClaudeFirstTokenSlow",
        sentence="a few streams make no p95",
        series={p95("first_token"): gauge(("40m", 100)), FIRST_TOKENS: gauge(("40m", 0.05))},
        fires={"20m": 0, "40m": 0},
    ),
    Case(
        alert="ClaudeFirstTokenSlow",
        sentence="a minute of slowness is not ten",
        series={p95("first_token"): gauge(("10m", 2), ("5m", 30), ("20m", 2)), FIRST_TOKENS: gauge(("35m", 5))},
        fires={"14m": 0, "20m": 0, "35m": 0},
    ),
)

REFUSED = (
    Case(
        alert="ClaudeCallsRefused",
        sentence="a revoked key is told after a minute above a fifth of 5 m, and untold 5 m after it stopped showing",
        series={
            attempts("ok", "200"): counter(("10m", 60), ("10m", 0), ("20m", 60)),
            attempts("client_error", "401"): counter(("10m", 0), ("10m", 60), ("20m", 0)),
        },
        # Above 20 % once more than 60 of the 300 attempts in 5 m are refused: after 1 m 15 s.
        fires={"12m": 0, "12m15s": 1, "20m": 1, "28m30s": 1, "29m15s": 0},
    ),
    Case(
        alert="ClaudeCallsRefused",
        sentence="a spend limit is told, though its 429 is no rate limit",
        series={
            attempts("ok", "200"): counter(("10m", 60), ("10m", 0)),
            attempts("client_error", "429"): counter(("10m", 0), ("10m", 60)),
        },
        fires={"11m": 0, "15m": 1},
    ),
    Case(
        alert="ClaudeCallsRefused",
        sentence="one call a minute that is always refused is enough",
        series={attempts("client_error", "404"): counter(("5m", 0), ("20m", 1.2))},
        settings=("ClaudeCallsRefused.window=10m",),
        fires={"7m": 0, "15m": 1},
    ),
    Case(
        alert="ClaudeCallsRefused",
        sentence="rate limits are another matter",
        series={attempts("ok", "200"): counter(("20m", 10)), attempts("rate_limited", "429"): counter(("20m", 60))},
        fires={"10m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeCallsRefused",
        sentence="bad requests are the application's own and common while developing",
        series={attempts("ok", "200"): counter(("20m", 10)), attempts("client_error", "400"): counter(("20m", 60))},
        fires={"10m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeCallsRefused",
        sentence="files that are gone answer 404 in good health",
        series={
            attempts("ok", "200"): counter(("20m", 10)),
            attempts("client_error", "404", "files"): counter(("20m", 60)),
        },
        fires={"10m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeCallsRefused",
        sentence="exactly a fifth does not fire",
        series={attempts("ok", "200"): counter(("20m", 48)), attempts("client_error", "401"): counter(("20m", 12))},
        fires={"10m": 0, "20m": 0},
    ),
)

ERRORS = (
    Case(
        alert="ClaudeServerErrors",
        sentence="a tenth of the calls fails: told after a minute above 5 %, untold 5 m after it stopped showing",
        series={
            calls("ok"): counter(("10m", 300), ("10m", 270), ("20m", 300)),
            calls("server_error"): counter(("10m", 0), ("10m", 30), ("20m", 0)),
        },
        fires={"13m30s": 0, "13m45s": 1, "20m": 1, "27m15s": 1, "27m45s": 0},
    ),
    Case(
        alert="ClaudeServerErrors",
        sentence="exactly 5 % does not fire",
        series={calls("ok"): counter(("20m", 285)), calls("server_error"): counter(("20m", 15))},
        fires={"10m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeServerErrors",
        sentence="two errors among three calls an hour do not fire",
        series={calls("ok"): counter(("20m", 0.1)), calls("server_error"): counter(("5m", 0), ("1m", 2), ("14m", 0))},
        fires={"6m": 0, "8m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeServerErrors",
        sentence="a restarted counter that was high before is not an error",
        series={
            calls("ok"): counter(("10m", 60), start=7000).restarts().rises("10m", 60),
            calls("server_error"): counter(("10m", 0), start=500).restarts().rises("10m", 0),
        },
        fires={"10m15s": 0, "12m": 0, "20m": 0},
    ),
)

STREAMS = (
    Case(
        alert="ClaudeStreamsStalling",
        sentence="one answer in twenty stalls: told after 5 m above 2 %, untold 5 m after it stopped showing",
        series={
            attempts("ok", "200"): counter(("20m", 60), ("20m", 57), ("30m", 60)),
            attempts("timeout", "200"): counter(("20m", 0), ("20m", 3), ("30m", 0)),
            f'claude_timeouts_total{{{SERIES},phase="stall"}}': counter(("20m", 0), ("20m", 3), ("30m", 0)),
        },
        # 2 % of the 600 attempts in 10 m is 12, which 3 a minute pass after 4 m.
        fires={"29m": 0, "29m15s": 1, "40m": 1, "50m45s": 1, "51m15s": 0},
    ),
    Case(
        alert="ClaudeStreamsStalling",
        sentence="requests that get no answer at all are not stalls",
        series={
            attempts("ok", "200"): counter(("30m", 57)),
            attempts("timeout", "none"): counter(("30m", 3)),
            f'claude_timeouts_total{{{SERIES},phase="first_byte"}}': counter(("30m", 3)),
        },
        fires={"10m": 0, "20m": 0, "30m": 0},
    ),
    Case(
        alert="ClaudeStreamsStalling",
        sentence="exactly 2 % does not fire",
        series={
            attempts("ok", "200"): counter(("40m", 147)),
            f'claude_timeouts_total{{{SERIES},phase="stall"}}': counter(("40m", 3)),
            attempts("timeout", "200"): counter(("40m", 3)),
        },
        fires={"20m": 0, "40m": 0},
    ),
    Case(
        alert="ClaudeTruncatedStreams",
        sentence="one stream in fifty is cut: told after 5 m above 1 %, untold 5 m after it stopped showing",
        series={
            calls("ok"): counter(("20m", 49), ("30m", 49), ("40m", 50)),
            calls("truncated"): counter(("20m", 0), ("30m", 1), ("40m", 0)),
        },
        # 1 % of the 750 streams in 15 m is 7.5.
        fires={"32m": 0, "33m": 1, "50m": 1, "1h2m": 1, "1h4m": 0},
    ),
    Case(
        alert="ClaudeTruncatedStreams",
        sentence="exactly 1 % does not fire",
        series={calls("ok"): counter(("1h", 99)), calls("truncated"): counter(("1h", 1))},
        fires={"30m": 0, "1h": 0},
    ),
    Case(
        alert="ClaudeTruncatedStreams",
        sentence="one cut stream of a service with few of them does not fire",
        series={calls("ok"): counter(("1h", 0.5)), calls("truncated"): counter(("20m", 0), ("1m", 1), ("39m", 0))},
        fires={"21m": 0, "30m": 0, "1h": 0},
    ),
)

RETRIES = (
    Case(
        alert="ClaudeRetriesFailing",
        sentence="of the retried calls only a fifth is saved: told after 5 m, untold 5 m after half are saved again",
        series={
            retried("recovered"): counter(("40m", 8), ("40m", 2), ("1h", 10)),
            retried("exhausted"): counter(("40m", 2), ("40m", 8), ("1h", 0)),
        },
        # Below a half once 8 + 6 m > 5 m ... after 15 of the 30 minutes.
        every="1m",
        fires={"1h": 0, "1h1m": 1, "1h20m": 1, "1h35m": 1, "1h40m": 0},
    ),
    Case(
        alert="ClaudeRetriesFailing",
        sentence="exactly a half does not fire",
        series={retried("recovered"): counter(("2h", 5)), retried("exhausted"): counter(("2h", 5))},
        every="1m",
        fires={"1h": 0, "2h": 0},
    ),
    Case(
        alert="ClaudeRetriesFailing",
        sentence="a few lost calls say nothing of retries",
        series={
            retried("recovered"): counter(("2h", 0)),
            retried("exhausted"): counter(("1h", 0), ("5m", 1), ("55m", 0)),
        },
        every="1m",
        fires={"1h5m": 0, "1h20m": 0, "2h": 0},
    ),
    Case(
        alert="ClaudeRetriesFailing",
        sentence="calls that were given up on are on neither side",
        series={
            retried("recovered"): counter(("2h", 2)),
            retried("exhausted"): counter(("2h", 1)),
            retried("abandoned"): counter(("2h", 20)),
        },
        every="1m",
        fires={"1h": 0, "2h": 0},
    ),
    Case(
        alert="ClaudeRetryStorm",
        sentence="three requests a call: told after 5 m above 1.8, untold 5 m after it fell below",
        series={
            calls("ok"): counter(("20m", 60), ("20m", 0), ("20m", 60)),
            calls("overloaded"): counter(("20m", 0), ("20m", 60), ("20m", 0)),
            attempts("ok", "200"): counter(("20m", 60), ("20m", 0), ("20m", 60)),
            attempts("overloaded", "529"): counter(("20m", 0), ("20m", 180), ("20m", 0)),
        },
        # (300 + 120 t) / 300 passes 1.8 after 2 m.
        fires={"27m": 0, "27m15s": 1, "40m": 1, "47m30s": 1, "48m15s": 0},
    ),
    Case(
        alert="ClaudeRetryStorm",
        sentence="exactly 1.8 requests a call do not fire",
        series={calls("ok"): counter(("30m", 50)), attempts("ok", "200"): counter(("30m", 90))},
        fires={"15m": 0, "30m": 0},
    ),
    Case(
        alert="ClaudeRetryStorm",
        sentence="five calls an hour with three requests each are no storm",
        series={calls("ok"): counter(("30m", 0.1)), attempts("ok", "200"): counter(("30m", 0.3))},
        fires={"15m": 0, "30m": 0},
    ),
    Case(
        alert="ClaudeRetryStorm",
        sentence="calls that the breaker refuses do not hide it, and alone they are none",
        series={calls("rejected"): counter(("30m", 300)), attempts("ok", "200"): counter(("30m", 0))},
        fires={"15m": 0, "30m": 0},
    ),
)


def state(name: str, instance: str = "a") -> str:
    return f'claude_breaker_state{{{APP},instance="{instance}",breaker="api.anthropic.com/claude-a",state="{name}"}}'


OPENINGS = f'claude_breaker_transitions_total{{{APP},breaker="api.anthropic.com/claude-a",from="closed",to="open"}}'

BREAKERS = (
    Case(
        alert="ClaudeBreakerOpen",
        sentence="open, probing and open again is told after a minute, and untold 2 m after it closed",
        series={
            state("closed"): gauge(("10m", 1), ("5m", 0), ("10m", 1)),
            state("open"): gauge(("10m", 0), ("30s", 1), ("15s", 0), ("4m15s", 1), ("10m", 0)),
            state("half_open"): gauge(("10m30s", 0), ("15s", 1), ("14m15s", 0)),
        },
        fires={"10m45s": 0, "11m": 1, "16m45s": 1, "17m": 0},
    ),
    Case(
        alert="ClaudeBreakerOpen",
        sentence="a breaker that closes within the minute does not fire",
        series={
            state("closed"): gauge(("10m", 1), ("45s", 0), ("10m", 1)),
            state("open"): gauge(("10m", 0), ("45s", 1), ("10m", 0)),
        },
        fires={"10m30s": 0, "11m": 0, "12m": 0},
    ),
    Case(
        alert="ClaudeBreakerOpen",
        sentence="one process of four is exactly a quarter and does not fire",
        series={
            state("open", "a"): gauge(("20m", 1)),
            state("closed", "a"): gauge(("20m", 0)),
            **{state("closed", name): gauge(("20m", 1)) for name in ("b", "c", "d")},
            **{state("open", name): gauge(("20m", 0)) for name in ("b", "c", "d")},
        },
        fires={"5m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeBreakerOpen",
        sentence="a breaker that only watches rejects nothing",
        series={state("observe_only"): gauge(("20m", 1)), state("open"): gauge(("20m", 0))},
        fires={"5m": 0, "20m": 0},
    ),
    Case(
        alert="ClaudeBreakerFlapping",
        sentence="five openings in half an hour are told at once, and untold 15 m after the fifth is half an hour ago",
        series={
            OPENINGS: counter(("10m", 0), ("25m", 0.2), ("2h", 0)),
            state("closed"): gauge(("155m", 1)),
        },
        every="1m",
        # Four openings by minute 30 are not more than four; of the five, one has left the window by minute 45.
        fires={"30m": 0, "35m": 1, "55m": 1, "1h30m": 0},
    ),
    Case(
        alert="ClaudeBreakerFlapping",
        sentence="forty processes that open once each are an incident, not flapping",
        series={
            OPENINGS: counter(("10m", 0), ("2m", 20), ("48m", 0)),
            **{state("closed", f"p{number}"): gauge(("1h", 1)) for number in range(40)},
        },
        every="1m",
        fires={"15m": 0, "40m": 0, "1h": 0},
    ),
    Case(
        alert="ClaudeBreakerFlapping",
        sentence="a restart of a process that flapped yesterday does not fire",
        series={
            OPENINGS: counter(("20m", 0), start=90).restarts().rises("30m", 0),
            state("closed"): gauge(("55m", 1)),
        },
        every="1m",
        fires={"21m": 0, "30m": 0, "50m": 0},
    ),
)

LEFT = f'claude_ratelimit_remaining{{{APP},kind="input_tokens"}}'
LIMIT = f'claude_ratelimit_limit{{{APP},kind="input_tokens"}}'

ANSWERED = tuple(
    case
    for alert, outcome, status, rate, edge, fires in (
        # 10 % of the 1,500 attempts in 5 m is 150: 60 a minute pass it after 2 m 30 s, plus 2 m.
        ("ClaudeOverloaded", "overloaded", "529", 60, 30, {"14m30s": 0, "14m45s": 1, "27m15s": 1, "28m": 0}),
        # 5 % is 75: passed after 1 m 15 s, plus 2 m.
        ("ClaudeRateLimited", "rate_limited", "429", 60, 15, {"13m15s": 0, "13m30s": 1, "28m30s": 1, "29m15s": 0}),
    )
    for case in (
        Case(
            alert=alert,
            sentence=f"a fifth of the requests gets {status}: told after 2 m above the threshold, untold 5 m after",
            series={
                attempts("ok", "200"): counter(("10m", 300), ("10m", 300 - rate), ("20m", 300)),
                attempts(outcome, status): counter(("10m", 0), ("10m", rate), ("20m", 0)),
            },
            fires=fires,
        ),
        Case(
            alert=alert,
            sentence="exactly at the threshold it does not fire",
            series={
                attempts("ok", "200"): counter(("20m", 300 - edge)),
                attempts(outcome, status): counter(("20m", edge)),
            },
            fires={"10m": 0, "20m": 0},
        ),
        Case(
            alert=alert,
            sentence="one such answer to one of two requests does not fire",
            series={
                attempts("ok", "200"): counter(("20m", 0.1)),
                attempts(outcome, status): counter(("5m", 0), ("1m", 1), ("14m", 0)),
            },
            fires={"6m": 0, "9m": 0, "20m": 0},
        ),
    )
)

RUNNING_OUT = (
    Case(
        alert="ClaudeRateLimitRunningOut",
        sentence="what is left falls to nothing: told 2 m after it is below 40 % and foreseen, untold when it is full",
        series={
            LIMIT: gauge(("50m", 100000)),
            LEFT: Line().stays("10m", 90000).moves("10m", 10000).stays("10m", 10000).stays("20m", 100000),
        },
        # Below 40,000 after 16 m 15 s.
        fires={"18m": 0, "18m30s": 1, "20m": 1, "35m30s": 0},
    ),
    Case(
        alert="ClaudeRateLimitRunningOut",
        sentence="a limit that is low and stays so is not running out",
        series={LIMIT: gauge(("50m", 100000)), LEFT: gauge(("50m", 20000))},
        fires={"20m": 0, "50m": 0},
    ),
    Case(
        alert="ClaudeRateLimitRunningOut",
        sentence="a fall that leaves more than 40 % is no reason yet",
        series={
            LIMIT: gauge(("50m", 100000)),
            LEFT: Line().stays("10m", 100000).moves("10m", 41000).stays("30m", 41000),
        },
        fires={"15m": 0, "20m": 0, "30m": 0},
    ),
    Case(
        alert="ClaudeRateLimitRunningOut",
        sentence="no headers, no limit",
        series={attempts("ok", "200"): counter(("20m", 300))},
        fires={"10m": 0, "20m": 0},
    ),
)

CASES = (*LATENCY, *REFUSED, *ERRORS, *STREAMS, *RETRIES, *BREAKERS, *ANSWERED, *RUNNING_OUT)

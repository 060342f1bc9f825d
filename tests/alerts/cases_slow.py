"""When the slow alerts, and those about the sidecar itself, must fire, and when they must not."""

from tests.alerts.promtool import APP, MODEL, SERIES, Case, Line, counter, gauge

TOKENS = f"claude:prompt_tokens:sampled_5m{{{MODEL}}}"
PROMPTS = f"claude:prompts:sampled_5m{{{MODEL}}}"

PROMPT_GROWTH = (
    Case(
        alert="ClaudePromptsGrowing",
        sentence="prompts that double from one week to the next are told when the mean of 7 d has passed 1.3, until the"
        " week before has grown as well",
        series={
            TOKENS: gauge(("8d", 1000), ("7d", 2000), ("10d", 2000)),
            PROMPTS: gauge(("25d", 1)),
        },
        every="1h",
        # The mean passes 1.3 after 0.3 of 7 d; later the comparison falls below 1.3 again.
        fires={"10d": 0, "10d6h": 1, "15d": 1, "21d": 0},
    ),
    Case(
        alert="ClaudePromptsGrowing",
        sentence="a service of one week has no week to compare with",
        series={TOKENS: Line().moves("7d", 5000), PROMPTS: gauge(("7d", 1))},
        every="1h",
        fires={"3d": 0, "6d": 0, "7d": 0},
    ),
    Case(
        alert="ClaudePromptsGrowing",
        sentence="a few long prompts are not a trend",
        series={TOKENS: gauge(("8d", 0.01), ("8d", 0.1)), PROMPTS: gauge(("16d", 0.00001))},
        every="1h",
        fires={"12d": 0, "16d": 0},
    ),
    Case(
        alert="ClaudePromptsGrowing",
        sentence="twice the traffic with the same prompts is not growth",
        series={TOKENS: gauge(("8d", 1000), ("8d", 2000)), PROMPTS: gauge(("8d", 1), ("8d", 2))},
        every="1h",
        fires={"12d": 0, "16d": 0},
    ),
)


def stops(reason: str) -> str:
    return f'claude_stops_total{{{MODEL},reason="{reason}"}}'


CUT_SHORT = (
    Case(
        alert="ClaudeAnswersCutShort",
        sentence="a third of the answers stops at max_tokens: told 15 m after an hour shows a tenth, until it does not",
        series={
            stops("end_turn"): counter(("4h", 6), ("2h", 4), ("4h", 6)),
            stops("max_tokens"): counter(("4h", 0), ("2h", 2), ("4h", 0)),
        },
        every="1m",
        # A tenth of the 360 answers in an hour is 36, and more than that come in 18 m 30 s.
        fires={"4h33m": 0, "4h34m": 1, "6h": 1, "6h45m": 0},
    ),
    Case(
        alert="ClaudeAnswersCutShort",
        sentence="a use that always stops at max_tokens wants it so",
        series={stops("end_turn"): counter(("8h", 1)), stops("max_tokens"): counter(("8h", 20))},
        every="1m",
        settings=("ClaudeAnswersCutShort.for=90m",),
        fires={"2h": 0, "4h": 0, "8h": 0},
    ),
    Case(
        alert="ClaudeAnswersCutShort",
        sentence="three answers an hour are too few to know",
        series={
            stops("end_turn"): counter(("4h", 0)),
            stops("max_tokens"): counter(("2h", 0), ("1h", 0.05), ("1h", 0)),
        },
        every="1m",
        fires={"3h": 0, "4h": 0},
    ),
    Case(
        alert="ClaudeAnswersCutShort",
        sentence="exactly a tenth does not fire",
        series={stops("end_turn"): counter(("4h", 9)), stops("max_tokens"): counter(("4h", 1))},
        every="1m",
        fires={"2h": 0, "4h": 0},
    ),
)


def tokens(kind: str) -> str:
    return f'claude_tokens_total{{{MODEL},kind="{kind}"}}'


CACHE = (
    Case(
        alert="ClaudeCacheCollapse",
        sentence="a cache that gave four fifths gives nothing: told 15 m after the hour shows less than half of it",
        series={
            tokens("input"): counter(("4h", 2000), ("2h", 10000), ("4h", 2000)),
            tokens("cache_read"): counter(("4h", 8000), ("2h", 0), ("4h", 8000)),
        },
        every="1m",
        fires={"4h30m": 0, "4h50m": 1, "6h": 1, "6h45m": 0},
    ),
    Case(
        alert="ClaudeCacheCollapse",
        sentence="who never used the cache loses nothing",
        series={tokens("input"): counter(("8h", 10000)), tokens("cache_read"): counter(("8h", 0))},
        every="1m",
        fires={"4h": 0, "8h": 0},
    ),
    Case(
        alert="ClaudeCacheCollapse",
        sentence="a quiet hour says nothing of the cache",
        series={
            tokens("input"): counter(("4h", 2000), ("4h", 10)),
            tokens("cache_read"): counter(("4h", 8000), ("4h", 0)),
        },
        every="1m",
        # As long as the busy time lies within the hour, most of its tokens were read from the cache.
        fires={"4h30m": 0, "5h30m": 0, "8h": 0},
    ),
)

DROPPED = 'sidecar_dropped_records_total{job="app",reason="lost"}'
OVERFLOW = 'sidecar_label_overflows_total{job="app",label="model"}'

HEALTH = (
    Case(
        alert="ClaudeTelemetryDropping",
        sentence="records that keep getting lost are told after 5 m, and untold 5 m after the last are 10 m ago",
        series={DROPPED: counter(("10m", 0), ("20m", 60), ("30m", 0))},
        fires={"15m": 0, "15m30s": 1, "30m": 1, "44m": 1, "45m15s": 0},
    ),
    Case(
        alert="ClaudeTelemetryDropping",
        sentence="ten records are not more than ten",
        series={DROPPED: counter(("10m", 0), ("20m", 1), ("30m", 0))},
        fires={"20m": 0, "30m": 0},
    ),
    Case(
        alert="ClaudeTelemetryDropping",
        sentence="a collector that starts anew forgets its count, which drops nothing",
        series={DROPPED: counter(("20m", 0), start=4000).restarts().rises("20m", 0)},
        fires={"21m": 0, "30m": 0},
    ),
    Case(
        alert="ClaudeLabelOverflow",
        sentence="values that no longer fit are told after 5 m, until none came for an hour",
        series={OVERFLOW: counter(("1h", 0), ("1h", 2), ("2h", 0))},
        every="1m",
        fires={"1h5m": 0, "1h12m": 1, "2h": 1, "2h50m": 1, "3h": 0},
    ),
    Case(
        alert="ClaudeLabelOverflow",
        sentence="a few odd names in a day do not fire",
        series={OVERFLOW: counter(("1h", 0), ("3h", 0.05))},
        every="1m",
        fires={"2h": 0, "4h": 0},
    ),
    Case(
        alert="ClaudeLabelOverflow",
        sentence="a full label that meets no more new values does not fire",
        series={OVERFLOW: counter(("4h", 0), start=700)},
        every="1m",
        fires={"2h": 0, "4h": 0},
    ),
)

UP = 'up{job="app",instance="a:9464"}'
INFO = 'sidecar_build_info{job="app",instance="a:9464",version="1"}'

DOWN = (
    Case(
        alert="ClaudeSidecarDown",
        sentence="a killed sidecar is told after a minute, and untold when it is back",
        series={
            UP: gauge(("10m", 1), ("5m", 0), ("5m", 1)),
            INFO: Line().stays("10m", 1).misses("5m").stays("5m", 1),
        },
        fires={"10m45s": 0, "11m": 1, "14m45s": 1, "15m": 0},
    ),
    Case(
        alert="ClaudeSidecarDown",
        sentence="a restart that misses three scrapes does not fire",
        series={
            UP: gauge(("10m", 1), ("45s", 0), ("10m", 1)),
            INFO: Line().stays("10m", 1).misses("45s").stays("10m", 1),
        },
        fires={"10m30s": 0, "11m": 0, "12m": 0},
    ),
    Case(
        alert="ClaudeSidecarDown",
        sentence="targets that were never ours are none of our business",
        series={'up{job="node",instance="n:9100"}': gauge(("10m", 1), ("20m", 0))},
        fires={"12m": 0, "30m": 0},
    ),
    Case(
        alert="ClaudeSidecarDown",
        sentence="a replica taken away on purpose has no target any more, and is not down",
        series={
            UP: Line().stays("10m", 1).misses("20m"),
            INFO: Line().stays("10m", 1).misses("20m"),
        },
        fires={"12m": 0, "30m": 0},
    ),
)

HOURLY = f"claude:job_calls:rate_1h{{{APP}}}"
DAILY = f"claude:job_calls:rate_1d{{{APP}}}"
COUNTED = f'claude_calls_total{{{SERIES},stream="true",outcome="ok"}}'

NO_TRAFFIC = (
    Case(
        alert="ClaudeNoTraffic",
        sentence="not a call for 15 m, where last week at this hour there were 180: told 15 m later, until one comes",
        series={
            HOURLY: gauge(("8d", 0.05)),
            DAILY: gauge(("8d", 0.05)),
            COUNTED: counter(("170h", 3), ("2h", 0), ("20h", 3)),
        },
        every="5m",
        fires={"169h": 0, "170h15m": 0, "170h30m": 1, "172h": 1, "172h10m": 0},
    ),
    Case(
        alert="ClaudeNoTraffic",
        sentence="a series that is gone altogether is no traffic as well",
        series={
            HOURLY: gauge(("8d", 0.05)),
            DAILY: gauge(("8d", 0.05)),
            COUNTED: counter(("170h", 3)).misses("20h"),
        },
        every="5m",
        fires={"170h": 0, "171h": 1},
    ),
    Case(
        alert="ClaudeNoTraffic",
        sentence="a quiet hour that was quiet last week too",
        series={HOURLY: gauge(("8d", 0.005)), DAILY: gauge(("8d", 0.05)), COUNTED: counter(("8d", 0))},
        every="5m",
        fires={"170h": 0, "180h": 0},
    ),
    Case(
        alert="ClaudeNoTraffic",
        sentence="a job that was shut down days ago is known to be gone",
        series={HOURLY: gauge(("8d", 0.05)), DAILY: gauge(("7d", 0.05), ("1d", 0)), COUNTED: counter(("8d", 0))},
        every="5m",
        fires={"170h": 0, "180h": 0},
    ),
)

CASES = (*PROMPT_GROWTH, *CUT_SHORT, *CACHE, *HEALTH, *DOWN, *NO_TRAFFIC)

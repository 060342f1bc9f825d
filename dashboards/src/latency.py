"""Latency: how slow, for whom, since when, and how near to the timeout in force."""

from typing import Final

from dashboards.src import palette
from dashboards.src.page import Line, Page, Section
from dashboards.src.panels import CALLS_PER_SECOND, LOGARITHMIC, SECONDS, Column, Query, Steps, graph, heatmap, table
from dashboards.src.query import (
    ENDPOINT,
    RATE,
    SERIES,
    USE,
    aggregate,
    quantile,
    select,
    top_recorded,
    total,
    worst,
    worst_busy,
)

_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_MEASURED: Final = 'outcome!~"client_error|cancelled|rejected"'
_SETTING: Final = "max by (phase) ({})".format(
    select("claude_timeout_setting_seconds", USE, 'phase=~"first_byte|stall|deadline"')
)
_PLAIN: Final[Steps] = [(None, palette.PLAIN)]


def _buckets(metric: str, level: tuple[str, ...], *matchers: str) -> list[Query]:
    """Ask for a distribution both ways; only what is stored answers."""
    native = aggregate("sum", f"rate({select(metric, level, *matchers, window=RATE)})")
    classic = aggregate("sum", f"rate({select(metric + '_bucket', level, *matchers, window=RATE)})", "le")
    return [Query(classic, "{{le}}", exemplar=True), Query(native, "", exemplar=True)]


def _percentiles(metric: str, level: tuple[str, ...], *matchers: str) -> list[Query]:
    return [
        Query(quantile(q, metric, level, *matchers), stat, exemplar=stat == "p99") for stat, q in _QUANTILES.items()
    ]


def _recorded(name: str) -> list[Query]:
    return [Query(worst_busy(f"claude:{name}:{stat}_5m"), stat) for stat in _QUANTILES]


_LIMITS: Final = {f"timeout: {phase}": palette.PHASES[phase] for phase in ("first_byte", "stall", "deadline")}


def _calls() -> Section:
    return Section(
        "Calls, with retries and waits",
        [
            Line(
                9,
                [
                    (
                        12,
                        graph(
                            "Percentiles of everything selected, against the timeouts in force",
                            "p50, p95 and p99 over all selected calls together; dashed, the longest timeout set for"
                            " each phase. Good: p99 well below the dashed lines. p99 on a line means that calls are cut"
                            " off by it. The scale is logarithmic. Points are single calls: click one to open its"
                            " trace.",
                            *_percentiles("claude_call_duration_seconds", SERIES, _MEASURED),
                            Query(_SETTING, "timeout: {{phase}}"),
                            unit=SECONDS,
                            colors=palette.PERCENTILES,
                            limits=_LIMITS,
                            points=150,
                            axis=LOGARITHMIC,
                        ),
                    ),
                    (
                        12,
                        heatmap(
                            "Distribution",
                            "How many calls took how long. Good: one bright band that stays where it is. Two bands are"
                            " two kinds of calls; a thin line far above is a timeout that calls run into.",
                            *_buckets("claude_call_duration_seconds", SERIES, _MEASURED),
                            unit=SECONDS,
                        ),
                    ),
                ],
            ),
            Line(
                8,
                [
                    (
                        8,
                        graph(
                            f"p95 by {name}",
                            f"p95 of calls of the slowest combination for each {name}; of many, the six that are"
                            " slowest over the whole range. Good: lines that lie together and stay flat.",
                            Query(
                                top_recorded("claude:call_duration_seconds:p95_5m", SERIES, name),
                                "{{" + name + "}}",
                            ),
                            unit=SECONDS,
                            colors=palette.PROFILES if name == "profile" else None,
                        ),
                    )
                    for name in ("model", "endpoint", "profile")
                ],
            ),
        ],
    )


def _who() -> Section:
    def now(name: str) -> str:
        return worst(name, SERIES, by="endpoint, model, profile")

    return Section(
        "Who",
        [
            Line(
                9,
                [
                    (
                        24,
                        table(
                            "Slowest now",
                            "The last five minutes of each combination of endpoint, model and profile, the slowest"
                            " first. Good: p95 and p99 within a small factor of p50, and none far from the others.",
                            [
                                Query(now("claude:call_duration_seconds:p95_5m")),
                                Query(now("claude:call_duration_seconds:p50_5m")),
                                Query(now("claude:call_duration_seconds:p99_5m")),
                                Query(now("claude:first_token_seconds:p95_5m")),
                                Query(now("claude:attempt_duration_seconds:p95_5m")),
                                Query(total("claude:calls:rate_5m", SERIES, by="endpoint, model, profile")),
                            ],
                            [
                                Column("model", "Model"),
                                Column("endpoint", "Endpoint"),
                                Column("profile", "Profile"),
                                Column("Value #F", "Calls", unit=CALLS_PER_SECOND, decimals=2),
                                Column("Value #B", "p50", unit=SECONDS, decimals=1),
                                Column("Value #A", "p95", unit=SECONDS, decimals=1),
                                Column("Value #C", "p99", unit=SECONDS, decimals=1),
                                Column("Value #D", "First token p95", unit=SECONDS, decimals=1),
                                Column("Value #E", "Attempt p95", unit=SECONDS, decimals=1),
                            ],
                            sort="p95",
                        ),
                    )
                ],
            )
        ],
    )


def _streams() -> Section:
    stall = "max ({})".format(select("claude_timeout_setting_seconds", USE, 'phase="stall"'))
    return Section(
        "Streams and attempts",
        [
            Line(
                8,
                [
                    (
                        8,
                        graph(
                            "First token",
                            "From the start of the call, retries and waits included, to the first token: what users"
                            " feel. The slowest selected combination. Good: flat, and below your objective.",
                            *_recorded("first_token_seconds"),
                            unit=SECONDS,
                            colors=palette.PERCENTILES,
                            empty="no streams yet",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Longest silence within a stream",
                            "The longest gap of each stream, against the stall timeout in force (dashed, the longest of"
                            " the selected). Good: p99 below half the timeout; else good streams are about to be cut.",
                            *_percentiles("claude_stream_max_gap_seconds", ENDPOINT),
                            Query(stall, "timeout: stall"),
                            unit=SECONDS,
                            colors=palette.PERCENTILES,
                            limits=_LIMITS,
                            points=150,
                            axis=LOGARITHMIC,
                            empty="no streams yet",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Single attempts",
                            "How long one HTTP request takes, without retries and waits, in the slowest selected"
                            " combination. Good: near the calls above; calls far slower than attempts spend their time"
                            " on retries.",
                            *_recorded("attempt_duration_seconds"),
                            unit=SECONDS,
                            colors=palette.PERCENTILES,
                        ),
                    ),
                ],
            ),
            Line(
                8,
                [
                    (
                        12,
                        heatmap(
                            "First token, distribution",
                            "How many streams gave their first token after how long. Good: one bright band, low.",
                            *_buckets("claude_first_token_seconds", SERIES),
                            unit=SECONDS,
                        ),
                    ),
                    (
                        12,
                        heatmap(
                            "Attempts that succeeded or timed out, distribution",
                            "How many HTTP requests took how long. Good: one bright band that stays. A bright line at"
                            " a round number is a timeout, perhaps of something between you and the API.",
                            *_buckets("claude_attempt_duration_seconds", SERIES, 'outcome=~"ok|timeout"'),
                            unit=SECONDS,
                        ),
                    ),
                ],
            ),
        ],
    )


PAGE: Final = Page(
    uid="claude-latency",
    description="How slow calls are, for which endpoint, model and profile, and how near to the timeouts in force.",
    variables=SERIES,
    sections=[_calls(), _who(), _streams()],
)

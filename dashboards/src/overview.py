"""Overview: one screen that says in five seconds whether something is wrong, and where to look next."""

from typing import Final

from dashboards.src import palette
from dashboards.src.breaker_states import breaker_timeline
from dashboards.src.page import Line, Page, Section
from dashboards.src.panels import (
    CALLS_PER_SECOND,
    SECONDS,
    SHARE,
    Axis,
    Column,
    Query,
    Steps,
    graph,
    table,
    tile,
)
from dashboards.src.query import ENDPOINT, JOB, PROCESS, SERIES, ratio, select, total, worst, worst_busy

FAILING: Final[Steps] = [(None, palette.HIDDEN), (0.01, palette.NOTICE), (0.05, palette.BAD)]
# The lowest step is also the colour of "nothing to show", so it is never a bad one.
SAVING: Final[Steps] = [(None, palette.HIDDEN), (0.0, palette.BAD), (0.5, palette.NOTICE), (0.8, palette.HIDDEN)]
BUDGET: Final[Steps] = [(None, palette.HIDDEN), (-1e6, palette.BAD), (0.0, palette.NOTICE), (0.25, palette.HIDDEN)]
NONE: Final[Steps] = [(None, palette.HIDDEN)]

_CALLS: Final = total("claude:calls:rate_5m", SERIES)
_TIMED_OUT: Final = ratio(total("claude:timed_out_calls:rate_5m", SERIES), _CALLS)
_FAILED: Final = ratio(total("claude:failed_calls:rate_5m", SERIES), total("claude:counted_calls:rate_5m", SERIES))
_RETRIED: Final = ratio(
    total("claude:retried_calls:rate_30m", ENDPOINT, 'result="recovered"'),
    total("claude:retried_calls:rate_30m", ENDPOINT, 'result=~"recovered|exhausted"'),
)
_NOT_CLOSED: Final = select("claude_breaker_state", JOB, 'state=~"open|half_open|forced_open"')
_BUDGET_LEFT: Final = select("slo:period_error_budget_remaining:ratio", JOB)

_FEW: Final = Axis(ceiling=0.05)
"""A handful of timeouts on a calm day must not fill the graph."""


def _now() -> Line:
    """Eight numbers, which light up when they are bad and are quiet otherwise."""
    return Line(
        3,
        [
            (
                3,
                tile(
                    "Calls",
                    "Calls that ended, a second, as the applications made them. Good: follows its usual daily shape."
                    " An app seen by the client and by the proxy counts twice: choose one under Seen by.",
                    Query(_CALLS),
                    unit=CALLS_PER_SECOND,
                    steps=NONE,
                    decimals=1,
                ),
            ),
            (
                3,
                tile(
                    "Failing",
                    "Calls that the application saw fail for want of the service, all retries spent, as a share of the"
                    " calls that count (its own mistakes and cancellations do not). Good: below 1 %.",
                    Query(_FAILED),
                    unit=SHARE,
                    steps=FAILING,
                    decimals=1,
                ),
            ),
            (
                3,
                tile(
                    "Timing out",
                    "Calls that ended in a timeout, as a share of all. Good: below 1 %. The graph below says in which"
                    " phase they waited.",
                    Query(_TIMED_OUT),
                    unit=SHARE,
                    steps=FAILING,
                    decimals=1,
                ),
            ),
            (
                3,
                tile(
                    "p95 of calls",
                    "95 % of calls take no longer, in the slowest of the selected combinations of endpoint, model and"
                    " profile (of those with at least 1 % of the calls). Good: near what it was yesterday; what is too"
                    " slow depends on the use.",
                    Query(worst_busy("claude:call_duration_seconds:p95_5m")),
                    unit=SECONDS,
                    steps=NONE,
                ),
            ),
            (
                3,
                tile(
                    "Longest silence now",
                    "The longest that any call under way has been waiting for its next byte. Good: below the usual"
                    " first token. A silent upstream shows here minutes before the first timeout.",
                    Query(worst("claude:in_flight_silent_seconds:max", ENDPOINT)),
                    unit=SECONDS,
                    steps=[(None, palette.HIDDEN), (60, palette.NOTICE), (180, palette.BAD)],
                    empty="no calls now",
                ),
            ),
            (
                3,
                tile(
                    "Retries that saved the call",
                    "Of the retried calls that came to an end in the last 30 minutes, the share that ended well. Good:"
                    " above 80 %. Low means that retries only add load.",
                    Query(_RETRIED),
                    unit=SHARE,
                    steps=SAVING,
                    empty="no retries",
                    decimals=0,
                ),
            ),
            (
                3,
                tile(
                    "Error budget left",
                    "What is left of the objective that has the least left, over its whole window. Good: above 25 %;"
                    " below 0 the objective is missed.",
                    Query(f"min ({_BUDGET_LEFT})"),
                    unit=SHARE,
                    steps=BUDGET,
                    empty="no objectives",
                    decimals=0,
                ),
            ),
            (
                3,
                tile(
                    "Breakers not closed",
                    "Breakers that are open, forced open, or trying out whether they may close. Good: 0. While one is"
                    " open, its calls fail at once without being sent.",
                    Query(
                        f"count (max by (breaker) ({_NOT_CLOSED}) > 0) or 0 * count (max by (breaker) ({_NOT_CLOSED}))"
                    ),
                    unit="short",
                    steps=[(None, palette.HIDDEN), (1, palette.BAD)],
                    empty="no breakers",
                    decimals=0,
                ),
            ),
        ],
    )


def _why() -> Line:
    outcomes = "claude:calls_by_outcome:rate_5m"
    attempts = f"scalar({total('claude:attempts:rate_5m', SERIES)} > 0)"
    phases = f"{total('claude:timeouts_by_phase:rate_5m', SERIES, by='phase')} / {attempts}"
    return Line(
        6,
        [
            (
                8,
                graph(
                    "Calls by outcome",
                    "How calls ended, a second. Good: green nearly all the way up. The hue says whose: blue is your own"
                    " side, orange and red the API's, grey does not count.",
                    Query(total(outcomes, SERIES, 'outcome="ok"', by="outcome"), "{{outcome}}"),
                    Query(total(outcomes, SERIES, 'outcome!="ok"', by="outcome") + " > 0", "{{outcome}}"),
                    unit=CALLS_PER_SECOND,
                    colors=palette.OUTCOMES,
                    stacked=True,
                ),
            ),
            (
                8,
                graph(
                    "Timeouts by phase",
                    "Attempts that timed out, as a share of all attempts, by what they waited for. Good: empty. Blue"
                    " phases are before the API (pool, connect, write), orange ones the API's (first byte, stall),"
                    " pink is your own deadline.",
                    Query(f"{phases} > 0", "{{phase}}"),
                    unit=SHARE,
                    colors=palette.PHASES,
                    stacked=True,
                    axis=_FEW,
                    empty="no timeouts",
                ),
            ),
            (
                8,
                graph(
                    "How long calls take",
                    "p50, p95 and p99 of the slowest of the selected combinations of endpoint, model and profile that"
                    " have at least 1 % of the calls (percentiles cannot be added up). Good: flat. All three rising is"
                    " slowness, p99 alone a few calls that hang.",
                    *(
                        Query(worst_busy(f"claude:call_duration_seconds:{stat}_5m"), stat)
                        for stat in palette.PERCENTILES
                    ),
                    unit=SECONDS,
                    colors=palette.PERCENTILES,
                ),
            ),
        ],
    )


def _told() -> Line:
    ours = 'alertname=~"Claude.*"'
    firing = select("ALERTS", PROCESS, ours, 'alertstate="firing"')

    def those(*severity: str) -> str:
        since = select("ALERTS_FOR_STATE", PROCESS, ours, *severity)
        return f"sort_desc((time() - {since}) and ignoring (alertstate) {firing})"

    # The table keeps this order: what pages comes first.
    urgent_first = " or ".join((those('severity="page"'), those('severity="ticket"'), those()))
    return Line(
        6,
        [
            (
                10,
                table(
                    "What alerts fire now",
                    "Alerts of claude-sidecar that fire in this Prometheus, the most urgent first. Good: none. An"
                    " alert's message holds the numbers and the most likely cause, its runbook what to do.",
                    [Query(urgent_first)],
                    [
                        Column("severity", "Severity", width=90, colors=palette.SEVERITIES),
                        Column("alertname", "Alert"),
                        Column("job", "Job"),
                        Column("model", "Model"),
                        Column("Value", "For", unit="dtdurations", width=120, decimals=0),
                    ],
                    empty="no alert fires",
                ),
            ),
            (
                14,
                breaker_timeline("Breakers", 8),
            ),
        ],
    )


def _trend() -> Line:
    return Line(
        5,
        [
            (
                8,
                graph(
                    "Error budget left",
                    "How much of each objective's error budget is left over its window. Good: above 25 % and flat. A"
                    " steep fall is what pages.",
                    Query(f"min by (sloth_slo) ({_BUDGET_LEFT})", "{{sloth_slo}}"),
                    unit=SHARE,
                    empty="no objectives",
                    # Missed by far is as bad as missed, and must not flatten the others.
                    axis=Axis(minimum=-0.5, maximum=1),
                    steps=[(None, palette.BAD), (0.0, palette.HIDDEN)],
                ),
            ),
            (
                8,
                graph(
                    "Retried calls",
                    "How calls that were retried came out, a second. Good: few, and nearly all recovered. Many"
                    " exhausted: the retries only add load, and a breaker should open.",
                    Query(
                        total("claude:retried_calls:rate_5m", ENDPOINT, by="result"),
                        "{{result}}",
                    ),
                    unit=CALLS_PER_SECOND,
                    colors=palette.RESULTS,
                    stacked=True,
                    empty="no retries",
                ),
            ),
            (
                8,
                graph(
                    "First token",
                    "From the start of the call, retries and waits included, to the first token: what users feel. p50,"
                    " p95 and p99 of the slowest of the selected combinations. Good: flat, and below your objective.",
                    *(Query(worst_busy(f"claude:first_token_seconds:{stat}_5m"), stat) for stat in palette.PERCENTILES),
                    unit=SECONDS,
                    colors=palette.PERCENTILES,
                    empty="no streams yet",
                ),
            ),
        ],
    )


PAGE: Final = Page(
    uid="claude-overview",
    description="Is something wrong with the calls to the Claude API? The top line lights up; the rest says where.",
    variables=SERIES,
    sections=[Section("", [_now(), _why(), _told(), _trend()])],
)

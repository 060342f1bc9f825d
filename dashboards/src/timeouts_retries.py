"""Timeouts and retries: what calls waited for in vain, and whether trying again helps or hurts."""

from typing import Final

from dashboards.src import palette
from dashboards.src.page import Line, Page, Section
from dashboards.src.panels import (
    CALLS_PER_SECOND,
    EXACT,
    SECONDS,
    SHARE,
    Axis,
    Column,
    Panel,
    Query,
    Steps,
    bars,
    graph,
    table,
)
from dashboards.src.query import (
    ENDPOINT,
    JOB,
    SERIES,
    USE,
    count,
    quantile,
    rate,
    ratio,
    select,
    top_recorded,
    total,
    worst,
)

_PHASES: Final = palette.PHASES
_HEADROOM: Final[Steps] = [(None, palette.GOOD), (0.7, palette.NOTICE), (0.9, palette.BAD)]

_FEW: Final = Axis(ceiling=0.05)
"""A handful of timeouts on a calm day must not fill the graph."""


def _timeouts() -> Section:
    attempts = f"scalar({total('claude:attempts:rate_5m', SERIES)} > 0)"
    return Section(
        "Timeouts",
        [
            Line(
                8,
                [
                    (
                        10,
                        graph(
                            "Timeouts by phase",
                            "Attempts that timed out, as a share of all attempts, by what they waited for. Good: empty."
                            " Blue (pool, connect, write): look at your own network and pool. Orange (first byte,"
                            " stall): the API, or something in between. Pink: your own deadline.",
                            Query(
                                f"{total('claude:timeouts_by_phase:rate_5m', SERIES, by='phase')} / {attempts} > 0",
                                "{{phase}}",
                            ),
                            unit=SHARE,
                            colors=_PHASES,
                            stacked=True,
                            axis=_FEW,
                            empty="no timeouts",
                        ),
                    ),
                    (
                        6,
                        bars(
                            "Timeouts in this range",
                            "How many attempts timed out in the time shown, by phase. Good: none. One phase far ahead"
                            " of the others names the cause.",
                            Query(
                                f"sort_desc({count('claude_timeouts_total', SERIES, by='phase')} > 0.5)", "{{phase}}"
                            ),
                            unit=EXACT,
                            colors=_PHASES,
                            empty="no timeouts",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Calls timing out, by model",
                            "Calls that ended in a timeout, as a share of the model's calls, of the worst combination;"
                            " of many models the six with most. Good: below 1 %. One model alone points to the API, all"
                            " of them to your side.",
                            Query(top_recorded("claude:timeouts:ratio_5m", SERIES, "model"), "{{model}}"),
                            unit=SHARE,
                            axis=_FEW,
                        ),
                    ),
                ],
            ),
            Line(8, [(14, _settings()), (10, _waiting())]),
        ],
    )


def _settings() -> Panel:
    setting = worst("claude_timeout_setting_seconds", USE, by="profile, phase")
    needed = _needed()
    return table(
        "Timeouts in force, and what is seen",
        "Each timeout that is set, how often it struck in the time shown, and how long 99 % of the successful calls of"
        " its profile take (for first_byte, where they stream: to their first token). Good: no strikes, and p99 below"
        " 70 % of the setting. Near 100 %: it cuts off calls that would have succeeded; far below, with many strikes:"
        " users wait in vain, and it could be shorter.",
        [
            Query(setting),
            Query(count("claude_timeouts_total", SERIES, by="profile, phase")),
            Query(needed),
            Query(f"({needed}) / {setting}"),
        ],
        [
            Column("profile", "Profile"),
            Column("phase", "Phase", colors=_PHASES),
            Column("Value #A", "Setting", unit=SECONDS),
            Column("Value #B", "Timeouts", unit=EXACT, decimals=0),
            Column("Value #C", "p99 of successes", unit=SECONDS, decimals=1),
            Column("Value #D", "p99 / setting", unit=SHARE, decimals=0, steps=_HEADROOM, gauge=1),
        ],
        sort="Timeouts",
    )


def _needed() -> str:
    """Spell how long successes take of what a phase's timeout can cut off; of the other phases nothing is known."""
    whole = worst("claude:ok_call_duration_seconds:p99_1h", USE, by="profile")
    waited = worst("claude:ok_call_duration_seconds:p99_1h", USE, 'stream="false"', by="profile")
    streamed = worst("claude:first_token_seconds:p99_5m", SERIES, by="profile")
    return (
        f'label_replace({whole}, "phase", "deadline", "", "")'
        f' or label_replace({streamed} or {waited}, "phase", "first_byte", "", "")'
    )


def _waiting() -> Panel:
    return graph(
        "Waiting now",
        "The age of the oldest call under way, and the longest current wait for a next byte. Good: both well below the"
        " timeouts. A silence that grows second by second is an upstream that has stopped answering: it shows here"
        " before any timeout has struck.",
        Query(worst("claude_in_flight_oldest_seconds", ENDPOINT), "oldest call"),
        Query(worst("claude:in_flight_silent_seconds:max", ENDPOINT), "longest silence"),
        unit=SECONDS,
        colors={"oldest call": palette.PERCENTILES["p50"], "longest silence": palette.PHASES["stall"]},
        empty="nothing under way",
    )


def _retries() -> Section:
    retried = "claude:retried_calls:rate_5m"
    long = "claude:retried_calls:rate_30m"
    saved = ratio(total(long, ENDPOINT, 'result="recovered"'), total(long, ENDPOINT, 'result=~"recovered|exhausted"'))
    sent = total("claude:sent_calls:rate_5m", SERIES)
    return Section(
        "Retries",
        [
            Line(
                8,
                [
                    (
                        8,
                        graph(
                            "Retried calls",
                            "How calls that were retried came out, a second: recovered, exhausted (the last attempt"
                            " failed too), or abandoned (cancelled, or stopped by a deadline or the retry budget)."
                            " Good: few, and nearly all recovered.",
                            Query(total(retried, ENDPOINT, by="result"), "{{result}}"),
                            unit=CALLS_PER_SECOND,
                            colors=palette.RESULTS,
                            stacked=True,
                            empty="no retries",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Retries that saved the call",
                            "Recovered calls as a share of recovered and exhausted ones, over 30 minutes. Good: above"
                            " 80 %. Below 50 % retries mostly add load and waiting.",
                            Query(saved, "saved"),
                            unit=SHARE,
                            colors={"saved": palette.GOOD},
                            axis=Axis(maximum=1),
                            steps=[(None, palette.BAD), (0.5, palette.HIDDEN)],
                            empty="no retries",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Attempts per call",
                            "HTTP requests sent for each call that was sent: by how much retries multiply the load."
                            " Good: below 1.1. Towards 3, the retries are a good part of an overload.",
                            Query(ratio(total("claude:attempts:rate_5m", SERIES), sent), "attempts per call"),
                            unit="suffix: x",
                            colors={"attempts per call": "#3E8EDE"},
                            axis=Axis(minimum=None, ceiling=1.6),
                            steps=[(None, palette.HIDDEN), (1.5, palette.BAD)],
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
                            "Why attempts were made again",
                            "Retries a second, by the outcome that led to them. Good: few. Overloaded and rate limited:"
                            " load; timeout: see above; connection errors: your network.",
                            Query(rate("claude_retries_total", ENDPOINT, by="reason") + " > 0", "{{reason}}"),
                            unit=CALLS_PER_SECOND,
                            colors=palette.OUTCOMES,
                            stacked=True,
                            empty="no retries",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Waits before a retry",
                            "How long calls waited before they were tried again. Good: seconds. Waits that add up to"
                            " the deadline leave no time for the attempt itself.",
                            *(
                                Query(quantile(q, "claude_retry_wait_seconds", JOB), stat)
                                for stat, q in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()
                            ),
                            unit=SECONDS,
                            colors=palette.PERCENTILES,
                            empty="no retries",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Retry budget left",
                            "How full the retry budgets are; of several processes the emptiest. Good: near 100 %. At 0"
                            " calls are no longer retried, so that retries cannot multiply an outage.",
                            Query(
                                "bottomk(6, min by (scope) ({}))".format(select("claude_retry_budget_ratio", JOB)),
                                "{{scope}}",
                            ),
                            unit=SHARE,
                            axis=Axis(maximum=1),
                            steps=[(None, palette.BAD), (0.1, palette.HIDDEN)],
                            empty="no retry budget",
                        ),
                    ),
                ],
            ),
        ],
    )


def _attempts() -> Section:
    return Section(
        "Every HTTP request",
        [
            Line(
                8,
                [
                    (
                        12,
                        graph(
                            "Attempts that did not succeed, by outcome",
                            "HTTP requests that did not end well, a second, whether or not a retry saved the call."
                            " Good: hardly any. Truncated: a stream ended without its end, which an SDK may take for"
                            " success.",
                            Query(
                                rate("claude_attempts_total", SERIES, 'outcome!="ok"', by="outcome") + " > 0",
                                "{{outcome}}",
                            ),
                            unit=CALLS_PER_SECOND,
                            colors=palette.OUTCOMES,
                            stacked=True,
                            empty="nothing failed",
                        ),
                    ),
                    (
                        12,
                        table(
                            "What was answered",
                            "Attempts in the time shown by outcome and HTTP status. Good: nearly all ok. 401, 403 and"
                            " 404 are a key or a model's name; 429 with client_error is a spend limit.",
                            [Query(count("claude_attempts_total", SERIES, by="outcome, status") + " >= 0.5")],
                            [
                                Column("outcome", "Outcome", colors=palette.OUTCOMES),
                                Column("status", "HTTP status"),
                                Column("Value", "Attempts", unit=EXACT, decimals=0),
                            ],
                            sort="Attempts",
                        ),
                    ),
                ],
            ),
        ],
    )


PAGE: Final = Page(
    uid="claude-timeouts-retries",
    description="What calls waited for in vain, whether the timeouts fit, and whether retries help or hurt.",
    variables=SERIES,
    sections=[_timeouts(), _retries(), _attempts()],
)

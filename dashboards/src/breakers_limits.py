"""Breakers and limits: who is kept from calling, by us or by the API, and when that ends."""

from typing import Final

from dashboards.src import palette
from dashboards.src.breaker_states import breaker_timeline
from dashboards.src.page import Line, Page, Section
from dashboards.src.panels import CALLS_PER_SECOND, COUNT, SHARE, Axis, Column, Panel, Query, Steps, graph, table
from dashboards.src.query import ENDPOINT, JOB, SERIES, aggregate, rate, select, top_recorded

_STATES: Final = {state: color for state, (_, color) in palette.BREAKER_STATES.items()}
_LEFT: Final[Steps] = [(None, palette.BAD), (0.1, palette.NOTICE), (0.3, palette.GOOD)]
_KINDS: Final = palette.LIMITS


def _breakers() -> Section:
    return Section(
        "Breakers",
        [
            Line(9, [(24, breaker_timeline("State of each breaker", 20))]),
            Line(
                8,
                [
                    (
                        8,
                        graph(
                            "Changes of state",
                            "How often breakers changed their state, by the new state. Good: none. Open and half open"
                            " in turns is a breaker that cannot make up its mind: its threshold lies near the usual"
                            " failure ratio, or only part of the calls fail.",
                            Query(
                                aggregate(
                                    "sum",
                                    "increase({})".format(
                                        select("claude_breaker_transitions_total", JOB, window="$__rate_interval")
                                    ),
                                    "to",
                                )
                                + " > 0",
                                "{{to}}",
                            ),
                            unit=COUNT,
                            colors=_STATES,
                            every="2m",
                            bars=True,
                            stacked=True,
                            empty="no changes",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Calls refused by a breaker",
                            "Calls that failed at once because a breaker was open, a second; of many breakers the six"
                            " that refused most. Good: none.",
                            Query(
                                top_recorded("claude:breaker_rejections:rate_5m", JOB, "breaker", "sum"), "{{breaker}}"
                            ),
                            unit=CALLS_PER_SECOND,
                            axis=Axis(ceiling=1),
                            hosts=True,
                            empty="no breakers",
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Failure ratio in the breakers' windows",
                            "The share of failures each breaker sees, over all processes the worst; of many breakers"
                            " the six with most. Good: near 0. At 50 %, the default, a breaker opens.",
                            Query(
                                top_recorded("claude_breaker_failure_ratio", JOB, "breaker"),
                                "{{breaker}}",
                            ),
                            unit=SHARE,
                            axis=Axis(maximum=1),
                            hosts=True,
                            steps=[(None, palette.HIDDEN), (0.5, palette.BAD)],
                            empty="no breakers",
                        ),
                    ),
                ],
            ),
        ],
    )


def _headroom() -> Panel:
    remaining = select("claude_ratelimit_remaining", JOB)
    limit = select("claude_ratelimit_limit", JOB)
    falling = "-deriv({}) > 0".format(select("claude_ratelimit_remaining", JOB, window="10m"))
    return table(
        "Rate limits now",
        "What the API allows, what is left of it, and when it is full again, as the newest answers said. Good: more"
        " than 30 % left. Runs out in: at the pace of the last ten minutes; a dash when it does not.",
        [
            Query(f"min by (kind) ({remaining} / ({limit} > 0))"),
            Query(f"min by (kind) ({limit})"),
            Query(f"min by (kind) ({remaining})"),
            Query(f"clamp_min(max by (kind) ({select('claude_ratelimit_reset_timestamp_seconds', JOB)}) - time(), 0)"),
            Query(f"min by (kind) ({remaining} / ({falling})) < 86400"),
        ],
        [
            Column("kind", "Limit on", colors=_KINDS),
            Column("Value #A", "Left", unit=SHARE, decimals=0, steps=_LEFT, gauge=1),
            Column("Value #C", "Remaining", unit=COUNT),
            Column("Value #B", "Allowed", unit=COUNT),
            Column("Value #D", "Full again in", unit="dtdurations", decimals=0),
            Column("Value #E", "Runs out in", unit="dtdurations", decimals=0),
        ],
        empty="no limits told yet",
    )


def _limits() -> Section:
    left = "min by (kind) ({} / ({} > 0))".format(
        select("claude_ratelimit_remaining", JOB), select("claude_ratelimit_limit", JOB)
    )
    return Section(
        "Rate limits and load",
        [
            Line(
                8,
                [
                    (12, _headroom()),
                    (
                        12,
                        graph(
                            "Headroom",
                            "What is left of each rate limit, as a share; of several jobs the least. Good: above 30 %."
                            " A line that touches 0 is answered with 429.",
                            Query(left, "{{kind}}"),
                            unit=SHARE,
                            colors=_KINDS,
                            axis=Axis(maximum=1),
                            steps=[(None, palette.BAD), (0.1, palette.HIDDEN)],
                            empty="no limits told yet",
                        ),
                    ),
                ],
            ),
            Line(
                8,
                [
                    (
                        12,
                        graph(
                            "Attempts turned away by the API",
                            "Answers 429 (your limit) and 529 (its own load), a second. Good: none. 429: spread the"
                            " load or raise the limit. 529: wait; retries make it worse.",
                            Query(
                                rate(
                                    "claude_attempts_total",
                                    SERIES,
                                    'outcome=~"rate_limited|overloaded"',
                                    by="outcome",
                                ),
                                "{{outcome}}",
                            ),
                            unit=CALLS_PER_SECOND,
                            colors=palette.OUTCOMES,
                            stacked=True,
                        ),
                    ),
                    (
                        12,
                        graph(
                            "Calls under way",
                            "Calls that have begun and not ended; of many models the six with most. Good: follows the"
                            " traffic. Rising with level traffic: calls take longer, or hang.",
                            Query(top_recorded("claude_in_flight", ENDPOINT, "model", "sum"), "{{model}}"),
                            unit=COUNT,
                            stacked=True,
                            empty="nothing under way",
                        ),
                    ),
                ],
            ),
        ],
    )


PAGE: Final = Page(
    uid="claude-breakers-limits",
    description="Which breakers keep calls back, how much the API still allows, and when either ends.",
    variables=SERIES,
    sections=[_breakers(), _limits()],
)

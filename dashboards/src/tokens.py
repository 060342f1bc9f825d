"""Tokens and prompts: what is asked and answered, how it changes over weeks, and what the cache saves."""

from typing import Final

from dashboards.src import palette
from dashboards.src.page import Line, Page, Section
from dashboards.src.panels import COUNT, SHARE, Axis, Column, Panel, Query, Steps, graph, table
from dashboards.src.query import ENDPOINT, MODEL, RANGE, TOP, quantile, rate, ratio, select, top_recorded, total

_KINDS: Final = palette.TOKENS
_PROMPT: Final = 'kind=~"input|cache_read|cache_write"'
_GROWTH: Final[Steps] = [(None, palette.PLAIN), (1.25, palette.NOTICE), (1.5, palette.BAD)]
_TOKENS: Final = "claude:tokens:rate_5m"
_STOPS: Final = {
    "end_turn": palette.GOOD,
    "tool_use": "#4F9BD9",
    "stop_sequence": "#9ECBFF",
    "max_tokens": palette.BAD,
    "pause_turn": "#F0E442",
    "refusal": "#CC79A7",
    "model_context_window_exceeded": "#F2A65A",
}


def _flow() -> Section:
    cached = ratio(total(_TOKENS, MODEL, 'kind="cache_read"', by="model"), total(_TOKENS, MODEL, _PROMPT, by="model"))
    busy = f"sum by (model) (avg_over_time({select(_TOKENS, MODEL, window=RANGE)} @ end()))"
    return Section(
        "Tokens",
        [
            Line(
                8,
                [
                    (
                        8,
                        graph(
                            "Tokens a second",
                            "Tokens a second, as the API counted them. Good: follows the traffic; green (read from the"
                            " cache) is cheap and quick.",
                            Query(total(_TOKENS, MODEL, by="kind"), "{{kind}}"),
                            unit=COUNT,
                            colors=_KINDS,
                            stacked=True,
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Prompt tokens read from the cache",
                            "The share of prompt tokens that came from the cache, by model; of many the six with most"
                            " tokens. Good: flat, and high where prompts begin alike. A sudden fall: something at the"
                            " beginning of the prompt changes with every call.",
                            Query(f"{cached} and on (model) topk({TOP}, {busy})", "{{model}}"),
                            unit=SHARE,
                            axis=Axis(maximum=1),
                        ),
                    ),
                    (
                        8,
                        graph(
                            "Speed of answers, tokens a second",
                            "Output tokens a second within one answer, from the first token to the end, over all"
                            " selected models. Good: flat; a fall is load at the API.",
                            Query(quantile(0.5, "claude_output_tokens_per_second", MODEL), "p50"),
                            Query(quantile(0.05, "claude_output_tokens_per_second", MODEL), "slowest 5 %"),
                            Query(quantile(0.01, "claude_output_tokens_per_second", MODEL), "slowest 1 %"),
                            unit=COUNT,
                            colors={
                                "p50": palette.PERCENTILES["p50"],
                                "slowest 5 %": palette.PERCENTILES["p95"],
                                "slowest 1 %": palette.PERCENTILES["p99"],
                            },
                            empty="no streams yet",
                        ),
                    ),
                ],
            )
        ],
    )


def _growth() -> Panel:
    week = "claude:prompt_tokens:mean_7d"

    def of(metric: str, offset: str = "") -> str:
        return f"max by (job, model) ({select(metric, MODEL)}{offset})"

    return table(
        "Prompts, week over week",
        "The mean prompt of each job and model: the last hour, the last seven days, and the seven days before. Good:"
        " near 1. A slow rise is a conversation that is never cut, more retrieved documents, or a growing system"
        " prompt; it makes the first token slower, week by week, until timeouts strike.",
        [
            Query(of("claude:prompt_tokens:mean_1h")),
            Query(of(week)),
            Query(of(week, " offset 7d")),
            Query(f"{of(week)} / {of(week, ' offset 7d')}"),
        ],
        [
            Column("job", "Job"),
            Column("model", "Model"),
            Column("Value #A", "Last hour", unit=COUNT, decimals=1),
            Column("Value #B", "Last 7 days", unit=COUNT, decimals=1),
            Column("Value #C", "7 days before", unit=COUNT, decimals=1),
            Column("Value #D", "Growth", unit="suffix: x", decimals=2, steps=_GROWTH),
        ],
        sort="Last 7 days",
        empty="no prompts yet",
    )


def _prompts() -> Section:
    return Section(
        "Prompts and answers",
        [
            Line(
                8,
                [
                    (12, _growth()),
                    (
                        12,
                        graph(
                            "Mean prompt, over the last hour",
                            "Tokens of the mean prompt, whether or not from the cache; of many models the six with the"
                            " longest. Good: flat. Look at it over weeks.",
                            Query(top_recorded("claude:prompt_tokens:mean_1h", MODEL, "model"), "{{model}}"),
                            unit=COUNT,
                            empty="no prompts yet",
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
                            "Length of prompts",
                            "p50, p95 and p99 of prompt tokens over all selected calls. Good: p99 well below the"
                            " model's context window, and flat.",
                            *(
                                Query(quantile(q, "claude_prompt_tokens", ENDPOINT), stat)
                                for stat, q in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()
                            ),
                            unit=COUNT,
                            colors=palette.PERCENTILES,
                            empty="no prompts yet",
                        ),
                    ),
                    (
                        12,
                        graph(
                            "Why answers stopped",
                            "Answers a second by stop reason. Good: hardly any max_tokens: those were cut off by their"
                            " own limit, and users see half a sentence or broken JSON.",
                            Query(rate("claude_stops_total", MODEL, by="reason") + " > 0", "{{reason}}"),
                            unit="suffix: /s",
                            colors=_STOPS,
                            stacked=True,
                        ),
                    ),
                ],
            ),
        ],
    )


PAGE: Final = Page(
    uid="claude-tokens",
    description="What is asked and answered, how prompts grow over the weeks, and what the prompt cache saves.",
    variables=ENDPOINT,
    sections=[_flow(), _prompts()],
    since="now-24h",
)

"""SLO: what is left of each error budget, how fast it burns, and what spent it."""

from typing import Final

from dashboards.src import palette
from dashboards.src.page import Line, Page, Section
from dashboards.src.panels import EXACT, SHARE, Axis, Column, Panel, Query, Steps, bars, graph, table
from dashboards.src.query import JOB, count, select
from sidecar.model import AVAILABILITY_FAILURES, Outcome

_MINE: Final = 'sloth_id=~"$slo"'
_EACH: Final = "sloth_id, job, source"
_LEFT: Final[Steps] = [(None, palette.BAD), (0, palette.NOTICE), (0.25, palette.GOOD)]
_BURN: Final[Steps] = [(None, palette.PLAIN), (1, palette.NOTICE), (6, palette.BAD)]
_FAILURES: Final = "|".join(outcome for outcome in Outcome if outcome in AVAILABILITY_FAILURES)


def _series(record: str) -> str:
    return select(f"slo:{record}", JOB, _MINE)


def _each(record: str) -> str:
    return f"max by ({_EACH}) ({_series(record)})"


def _burned(window: str) -> str:
    """Say how many times as fast as allowed the budget burned over a window."""
    errors = f"max by ({_EACH}) ({_series(f'sli_error:ratio_rate{window}')})"
    return f"{errors} / on (sloth_id) group_left () max by (sloth_id) (slo:error_budget:ratio{{{_MINE}}})"


def _objectives() -> Panel:
    left = _each("period_error_budget_remaining:ratio")
    return table(
        "Objectives",
        "Each objective by job: what it asks, what is left of its error budget, and how many times as fast as allowed"
        " the budget burns. Good: more than 25 % left, and every burn rate below 1. Above 14.4 over an hour, or 6 over"
        " six, somebody is paged. A dash under Used up in: not at the pace of the last six hours.",
        [
            Query(left),
            Query(f"{left} * 0 + on (sloth_id) group_left () max by (sloth_id) (slo:objective:ratio{{{_MINE}}})"),
            Query(_each("current_burn_rate:ratio")),
            Query(_burned("1h")),
            Query(_burned("6h")),
            Query(_burned("3d")),
            Query(f"{_each('error_budget_exhaustion:timestamp_seconds')} - time()"),
        ],
        [
            Column("sloth_id", "Objective"),
            Column("job", "Job"),
            Column("source", "Seen by", width=90),
            Column("Value #B", "Asks for", unit=SHARE, decimals=2, width=100),
            Column("Value #A", "Budget left", unit=SHARE, decimals=1, steps=_LEFT, gauge=1),
            Column("Value #C", "Burn, 5 m", unit="suffix: x", decimals=1, steps=_BURN, width=110),
            Column("Value #D", "Burn, 1 h", unit="suffix: x", decimals=1, steps=_BURN, width=110),
            Column("Value #E", "Burn, 6 h", unit="suffix: x", decimals=1, steps=_BURN, width=110),
            Column("Value #F", "Burn, 3 d", unit="suffix: x", decimals=1, steps=_BURN, width=110),
            Column("Value #G", "Used up in", unit="dtdurations", decimals=0),
        ],
        sort="Budget left",
        descending=False,
        empty="no objectives",
    )


def _burn_down() -> Panel:
    return graph(
        "Error budget left over 30 days",
        "How the budget of each objective went down over the usual window, whatever range the page shows. Good: above"
        " 25 %, with gentle slopes. A cliff is an incident; a steady slope is a fault that nobody was told of.",
        Query(
            f"min by (sloth_id) ({_series('period_error_budget_remaining:ratio')})",
            "{{sloth_id}}",
        ),
        unit=SHARE,
        axis=Axis(minimum=None, floor=0, ceiling=1),
        last="30d",
        steps=[(None, palette.BAD), (0, palette.HIDDEN)],
        empty="no objectives",
    )


def _burn_rates(window: str, pages_at: float) -> Panel:
    return graph(
        f"Burn rate over {window}",
        f"How many times as fast as allowed each budget burned over {window}; of several jobs the fastest. Good: below"
        f" 1. Above {pages_at:g} (dashed) it pages, when the shorter window agrees.",
        Query(f"max by (sloth_id) ({_burned(window)})", "{{sloth_id}}"),
        unit="suffix: x",
        axis=Axis(ceiling=1),
        steps=[(None, palette.HIDDEN), (pages_at, palette.BAD)],
        empty="no objectives",
    )


def _spent() -> list[tuple[int, Panel]]:
    failed = f'outcome=~"{_FAILURES}"'
    by_use = count("claude_calls_total", JOB, failed, by="model, endpoint, profile, outcome")
    return [
        (
            8,
            bars(
                "What spent it, by outcome",
                "Calls in the time shown that failed for want of the service, by outcome. Good: few. The longest bar"
                " names what to mend first. Objectives on latency also spend on slow calls, which are not here.",
                Query(f"sort_desc({count('claude_calls_total', JOB, failed, by='outcome')} > 0.5)", "{{outcome}}"),
                unit=EXACT,
                colors=palette.OUTCOMES,
                empty="nothing failed",
            ),
        ),
        (
            16,
            table(
                "What spent it, by use",
                "The same calls by model, profile and outcome, those with most first. Good: no single use far ahead.",
                [Query(f"topk(20, {by_use} > 0.5)")],
                [
                    Column("model", "Model"),
                    Column("endpoint", "Endpoint"),
                    Column("profile", "Profile"),
                    Column("outcome", "Outcome", colors=palette.OUTCOMES),
                    Column("Value", "Failed calls", unit=EXACT, decimals=0),
                ],
                sort="Failed calls",
                empty="nothing failed",
            ),
        ),
    ]


PAGE: Final = Page(
    uid="claude-slo",
    description="What is left of each error budget, how fast it burns, and what spent it.",
    variables=(*JOB, "slo"),
    sections=[
        Section(
            "",
            [
                Line(8, [(24, _objectives())]),
                Line(8, [(8, _burn_down()), (8, _burn_rates("1h", 14.4)), (8, _burn_rates("6h", 6))]),
                Line(9, _spent()),
            ],
        )
    ],
    since="now-24h",
)

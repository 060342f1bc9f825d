"""The breaker state timeline, which two dashboards show."""

from dashboards.src import palette
from dashboards.src.panels import Panel, Query, timeline
from dashboards.src.query import JOB, RANGE, select


def breaker_timeline(title: str, most: int) -> Panel:
    """Draw the worst state of each breaker over all processes; where there are many, of those that were open most."""
    by_state = {
        code: select("claude_breaker_state", JOB, f'state="{state}"')
        for state, (code, _) in palette.BREAKER_STATES.items()
    }
    codes = " or ".join(f"({series} > bool 0) * {code}" for code, series in by_state.items())
    away = select("claude_breaker_state", JOB, 'state=~"open|forced_open|half_open"', window=RANGE)
    most_open = f"topk({most}, sum by (breaker) (avg_over_time({away} @ end())))"
    return timeline(
        title,
        "The state of each breaker, over all processes the worst. Good: closed all along. Open: its calls fail at once"
        " and are not sent; half open: a few try whether the upstream is back. Where there are many breakers, those"
        " that were away longest are shown.",
        Query(f"max by (breaker) ({codes}) and on (breaker) {most_open}", "{{breaker}}"),
        states=palette.BREAKER_STATES,
        empty="no breakers",
    )

"""Slow changes in what is asked and answered: never urgent, always a cause of something later."""

from sidecar.alerts.message import PERCENT, number, selecting, sentences, value_of
from sidecar.alerts.symptoms.symptom import Pace, Symptom, share_of_many
from sidecar.alerts.values import AlertValues
from sidecar.rules.promql import MODEL, by, count, nested, ratio

_DASHBOARD = "claude-tokens"
_CUT = 'reason="max_tokens"'
_PROMPT = 'kind=~"input|cache_read|cache_write"'
_READ = 'kind="cache_read"'


def prompts_growing(t: AlertValues) -> Symptom:
    """Compare seven days with the seven before, both recorded: eight days of retention are enough."""
    mean, calls = "claude:prompt_tokens:mean_7d", "claude:prompts:count_7d"
    now, before = value_of(f"{mean}{{%s}}"), value_of(f"{mean}{{%s}} offset 7d")
    return Symptom(
        expr=f"{ratio(mean, f'{mean} offset 7d')} > {t['times']}\n"
        f"and\n{calls} > {t['calls']}\nand\n{calls} offset 7d > {t['calls']}",
        summary="Prompts of {{ $labels.job }} to {{ $labels.model }} have grown to"
        ' {{ $value | printf "%.1f" }} times last week\'s',
        description=sentences(
            selecting(MODEL),
            f"The mean prompt of the last seven days has {now} tokens; of the seven days before, {before}.",
            " Longer prompts cost more, take longer to the first token and use up token limits.",
            " Usual causes: conversations that are never cut, more retrieved documents, a longer system prompt.",
        ),
        dashboard=_DASHBOARD,
        pace=Pace.SLOW,
    )


def answers_cut_short(t: AlertValues) -> Symptom:
    """Compare with their own yesterday: some uses are cut short on purpose."""
    window = t["window"]
    cut = count(MODEL, "claude_stops_total", window, _CUT)
    stops = count(MODEL, "claude_stops_total", window)
    usual = ratio(
        by(MODEL, f"claude:stops:rate_1d{{{_CUT}}} offset {window}"),
        by(MODEL, f"claude:stops:rate_1d offset {window}"),
    )
    return Symptom(
        expr=f"{share_of_many(t, cut, stops)}\nunless\n{ratio(cut, stops)}\n<= {t['times_usual']} * {nested(usual)}",
        summary="{{ $value | humanizePercentage }} of the answers of {{ $labels.model }} to {{ $labels.job }}"
        " stop at max_tokens",
        description=sentences(
            selecting(MODEL),
            f"{number('claude_stops_total', window, _CUT)} answers in {window} were cut off by their own limit; users"
            " see half a sentence, or broken JSON.",
            " Most likely max_tokens is too low for what is asked now, or a change of prompt or model makes answers"
            " longer.",
        ),
        dashboard=_DASHBOARD,
        pace=Pace.SLOW,
    )


def cache_collapse(t: AlertValues) -> Symptom:
    """Compare with their own day before, where there was a cache to lose."""
    window = t["window"]
    prompt = count(MODEL, "claude_tokens_total", window, _PROMPT)
    read = count(MODEL, "claude_tokens_total", window, _READ)
    usual = ratio(
        by(MODEL, f"claude:tokens:rate_1d{{{_READ}}} offset {window}"),
        by(MODEL, f"claude:tokens:rate_1d{{{_PROMPT}}} offset {window}"),
    )
    worth_having = nested(f"{nested(usual)} > {t['usual']}")
    usually = value_of(
        f"sum(claude:tokens:rate_1d{{%[1]s,{_READ}}} offset {window})"
        f" / (sum(claude:tokens:rate_1d{{%[1]s,{_PROMPT}}} offset {window}) > 0)",
        PERCENT,
    )
    return Symptom(
        expr=f"{read}\n/\n({prompt} > {t['tokens']})\n< {t['times_usual']} * {worth_having}",
        summary="The prompt cache of {{ $labels.job }} for {{ $labels.model }} hardly hits any more:"
        " {{ $value | humanizePercentage }} of the prompt tokens",
        description=sentences(
            selecting(MODEL),
            f"Usual is {usually}. Tokens that are not read from the cache cost more and make the first token slower.",
            " Most likely something at the beginning of the prompt changes with every call now (a date, an id, the"
            " order of tools), or calls come further apart than the cache lives.",
        ),
        dashboard=_DASHBOARD,
        pace=Pace.SLOW,
    )

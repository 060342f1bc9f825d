"""Says in plain words what an objective allows, when its alerts come, and what is measured."""

from collections.abc import Iterator

from sidecar.rules import duration, seconds
from sidecar.rules.histograms import Buckets
from sidecar.slo.buckets import classic_bound, native_bound
from sidecar.slo.burn import PAGE, TICKET, Pair, budget, possible
from sidecar.slo.spec import Calls, Kind, Ratio, Slo

_GOOD = {
    Kind.AVAILABILITY: "calls that ended well",
    Kind.LATENCY: "calls that ended well within {within}",
    Kind.FIRST_TOKEN: "streams that ended well and began within {within}",
    Kind.TIMEOUT: "calls that did not time out",
}


def explain(slos: list[Slo], buckets: Buckets) -> str:
    """Explain objectives to a person."""
    return "\n\n".join("\n".join(_lines(slo, buckets)) for slo in slos) + "\n"


def _lines(slo: Slo, buckets: Buckets) -> Iterator[str]:
    yield f"{slo.id}: {slo.objective:g} % over {slo.period}"
    if slo.description:
        yield f"  {slo.description}"
    yield f"  good    {_good(slo, buckets)}"
    if isinstance(slo.indicator, Calls):
        yield f"  total   {_total(slo.indicator)}"
        if slo.indicator.selector:
            yield "  of      " + "; ".join(
                f"{label} {' or '.join(values)}" for label, values in slo.indicator.selector.items()
            )
    allowed = budget(slo.objective)
    yield (
        f"  budget  {float(allowed) * 100:.4g} %: {float(allowed) * 100000:.4g} of 100,000 may fail, or all of them for"
        f" {_spoken(float(allowed) * seconds(slo.period))}"
    )
    for what, notice, pairs in (("page", slo.page, PAGE), ("ticket", slo.ticket, TICKET)):
        if notice is None:
            yield f"  {what:7} off"
            continue
        for pair in pairs:
            yield f"  {what:7} {_when(slo, pair)}"
    if slo.minimum_calls or slo.minimum_failures:
        yield (
            f"  silent  while no more than {slo.minimum_calls:g} calls came, or {slo.minimum_failures:g} failed, in an"
            " alert's long window"
        )


def _good(slo: Slo, buckets: Buckets) -> str:
    if not isinstance(slo.indicator, Calls):
        return "what the queries say" if not isinstance(slo.indicator, Ratio) else "what the ratio query says"
    threshold = slo.indicator.threshold
    within = ""
    if threshold is not None:
        bound = native_bound(threshold) if buckets is Buckets.NATIVE else classic_bound(threshold)
        within = f"{bound:.6g} s" if bound is not None else duration(threshold)
    return _GOOD[slo.indicator.kind].format(within=within)


def _total(calls: Calls) -> str:
    streams = "streams" if calls.kind is Kind.FIRST_TOKEN else "calls"
    limited = "" if calls.count_rate_limited else ", rate-limited ones"
    return f"all {streams} but cancelled ones{limited} and those whose fault was the caller's"


def _when(slo: Slo, pair: Pair) -> str:
    if not possible(pair, slo.objective, slo.period):
        return f"over {pair.long}: impossible, left out"
    factor, allowed = pair.factor(slo.period), budget(slo.objective)
    share = float(factor * allowed)
    return (
        f"above {share * 100:.4g} % failing over {pair.long} and over {pair.short} ({factor.normalize():f} times the"
        f" budget's pace); with everything failing, after {_spoken(share * seconds(pair.long))}"
    )


def _spoken(length: float) -> str:
    minutes, rest = divmod(round(length), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")) if count]
    return " ".join(parts[:2]) or "0 s"

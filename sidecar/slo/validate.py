"""What is wrong with objectives that could be read: those that cannot be kept, measured or told apart."""

from collections.abc import Iterator

from sidecar.rules import Fault, Severity, duration, seconds
from sidecar.rules.histograms import Buckets
from sidecar.slo.buckets import CLASSIC_OCTAVES, classic_bound, is_bound, native_bound
from sidecar.slo.burn import PAGE, PERIODS, TICKET, Pair, budget, possible
from sidecar.slo.selectors import selections
from sidecar.slo.spec import Calls, Events, Slo


def validate(slos: list[Slo], buckets: Buckets) -> list[Fault]:
    """Find every fault in objectives, for one way of storing histograms."""
    faults: list[Fault] = []
    seen: dict[str, int] = {}
    for slo in slos:
        if slo.id in seen:
            faults.append(Fault(slo.at("name"), f"{slo.id} is already defined at line {seen[slo.id]}"))
        seen.setdefault(slo.id, slo.at("name"))
        faults += _period(slo)
        faults += _alerts(slo)
        if isinstance(slo.indicator, Calls):
            faults += _threshold(slo, slo.indicator, buckets)
        elif isinstance(slo.indicator, Events):
            faults += _events(slo, slo.indicator)
    return sorted(faults)


def _warning(line: int, message: str) -> Fault:
    return Fault(line, message, Severity.WARNING)


def _period(slo: Slo) -> Iterator[Fault]:
    length = seconds(slo.period)
    if not PERIODS[0] <= length <= PERIODS[1] or length % 86400:
        yield Fault(slo.at("window"), f"window must be whole days from 7d to 90d, not {slo.period}")


def _alerts(slo: Slo) -> Iterator[Fault]:
    for what, notice, pairs in (("page", slo.page, PAGE), ("ticket", slo.ticket, TICKET)):
        if notice is None or seconds(slo.period) == 0:
            continue
        never = [pair for pair in pairs if not possible(pair, slo.objective, slo.period)]
        if len(never) == len(pairs):
            yield Fault(
                slo.at("objective"),
                f"a {what} is impossible: {_why(never[-1], slo)}. Set {what}: false, or a higher objective",
            )
        elif never:
            yield _warning(
                slo.at("objective"),
                f"the {what} over {never[0].long} is left out: {_why(never[0], slo)}; the one over"
                f" {pairs[-1].long} remains",
            )


def _why(pair: Pair, slo: Slo) -> str:
    allowed, factor = float(budget(slo.objective)), float(pair.factor(slo.period))
    return (
        f"with {slo.objective:g} % it would need {allowed * 100:.4g} % x {factor:.4g} = {allowed * factor * 100:.4g} %"
        f" of all events to fail within {pair.long}"
    )


def _threshold(slo: Slo, calls: Calls, buckets: Buckets) -> Iterator[Fault]:
    if calls.threshold is None:
        return
    line = slo.at("threshold")
    bound = native_bound(calls.threshold) if buckets is Buckets.NATIVE else classic_bound(calls.threshold)
    asked = duration(calls.threshold)
    if bound is None:
        low, high = (f"{2.0**octave:g} s" for octave in CLASSIC_OCTAVES)
        yield Fault(line, f"no classic bucket can tell {asked}: they reach from {low} to {high}")
    elif not is_bound(calls.threshold, bound):
        yield _warning(
            line,
            f"{asked} is no bound of a {buckets} histogram; {bound:.6g} s is taken, the next one below, so that no call"
            " slower than asked for counts as good",
        )


def _events(slo: Slo, events: Events) -> Iterator[Fault]:
    part, total = selections(events.error), selections(events.total)
    line = slo.at("sli") if "sli" in slo.places else slo.at("indicator")
    if events.error.split() == events.total.split():
        meaning = "no event could ever fail" if events.good else "every event would be an error"
        yield Fault(line, f"both queries are the same, so {meaning}")
    elif len(part) == len(total) == 1 and part[0].family == total[0].family and part[0].matchers < total[0].matchers:
        extra = ", ".join(
            f"{name}{operator}{value!r}" for name, operator, value in total[0].matchers - part[0].matchers
        )
        what = "good" if events.good else "error"
        yield Fault(
            line, f"the total counts fewer events than the {what} query: it alone has {extra}. Are the two swapped?"
        )

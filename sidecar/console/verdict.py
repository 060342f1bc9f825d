"""What the numbers mean, in plain words: what is wrong, why, and what to do about it. Pure: facts in, sentences out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.model import BreakerState, Outcome, Phase, Profile

ENOUGH: Final = 5
"""Fewer events than this prove nothing."""
NICE: Final = (1, 2, 3, 5, 8, 10, 15, 20, 30, 45, 60, 90, 120, 150, 180, 240, 300, 420, 600, 900, 1200, 1800, 3600)
"""Timeouts that people choose, in seconds."""
CLOSE: Final = 0.5
"""When answers need more than this share of a timeout, others need more than all of it."""
_MOST: Final = 0.6
"""A share of the timeouts that makes them one story."""


class Severity(StrEnum):
    """How a verdict is meant."""

    BAD = "bad"
    NOTICE = "notice"
    GOOD = "good"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement."""

    id: str
    """Stays the same while only the numbers in the text change."""
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Waits that ran out: of one phase, profile and model."""

    phase: Phase
    profile: Profile
    model: str
    stream: bool
    count: int
    setting: float | None = None
    """The timeout in force, or where none is told, the time after which they did run out."""
    longest_good: float | None = None
    """The longest that a success waited in the same phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is judged: a stretch of time, and this moment."""

    span: str
    """The stretch in words, such as ``15 minutes``."""
    ever: bool = True
    """Whether there was ever a call."""
    outcomes: dict[Outcome, int]
    p95: float | None = None
    timed_out: int = 0
    expired: Sequence[Expired] = ()
    recovered: int = 0
    exhausted: int = 0
    breakers: Sequence[tuple[str, BreakerState, str | None]] = ()
    """Name, state and reason."""
    silent: float = 0.0
    """The longest current wait for a byte."""
    waiting: int = 0
    """Calls under way."""
    usual_wait: float | None = None
    """p99 of the time to the first token, or of whole calls where there are no streams."""
    limits: Sequence[tuple[str, float, float | None]] = ()
    """Kind, share left, and the seconds until it is full again."""
    burning: Sequence[tuple[str, float]] = ()
    """Objectives, and how many times too fast their budgets are spent."""
    dropped: int = 0


def judge(facts: Facts) -> list[Verdict]:
    """Say what matters, the worst first; when nothing does, say that all is well."""
    calls = sum(facts.outcomes.values())
    found = [verdict for rule in _RULES for verdict in rule(facts, calls)]
    found.sort(key=lambda verdict: list(Severity).index(verdict.severity))
    return found or [_calm(facts, calls)]


def _calm(facts: Facts, calls: int) -> Verdict:
    if not facts.ever:
        return Verdict("no-calls-yet", Severity.QUIET, "No calls yet: nothing has been reported to this sidecar.")
    if not calls:
        return Verdict("no-calls", Severity.QUIET, f"No call ended in the last {facts.span}.")
    good = f"{percent(facts.outcomes.get(Outcome.OK, 0) / calls)} of them well"
    pace = f", 95 of 100 within {seconds(facts.p95)}" if facts.p95 is not None else ""
    ended = "1 call ended" if calls == 1 else f"{calls:,} calls ended".replace(",", " ")
    return Verdict("calm", Severity.GOOD, f"All is well: {ended} in the last {facts.span}, {good}{pace}.")


_Rule = Callable[[Facts, int], Iterator[Verdict]]


def _open_breakers(facts: Facts, _calls: int) -> Iterator[Verdict]:
    for name, state, reason in facts.breakers:
        if state is BreakerState.OPEN:
            why = f" ({REASONS.get(reason, reason)})" if reason else ""
            text = f"The breaker of {name} is open{why}: its calls fail at once, without being sent."
            yield Verdict(f"breaker-open:{name}", Severity.BAD, text)
        elif state is BreakerState.FORCED_OPEN:
            text = f"The breaker of {name} was forced open: its calls fail at once until somebody resets it."
            yield Verdict(f"breaker-forced:{name}", Severity.BAD, text)
        elif state is BreakerState.HALF_OPEN:
            text = f"The breaker of {name} is trying out whether it may close."
            yield Verdict(f"breaker-half-open:{name}", Severity.NOTICE, text)


REASONS: Final[dict[str | None, str]] = {
    "consecutive": "too many failures in a row",
    "failure_ratio": "too large a share of failures",
    "slow_ratio": "too many slow calls",
    "probes_failed": "its trial calls failed",
    "probes_slow": "its trial calls were slow",
    "probe_wait": "a trial call did not come back",
    "forced": "forced by hand",
}
"""Why a breaker opened, in words."""


def _timeouts(facts: Facts, calls: int) -> Iterator[Verdict]:
    total = sum(each.count for each in facts.expired)
    calls -= facts.outcomes.get(Outcome.REJECTED, 0)  # what was never sent could not time out
    if total < ENOUGH or (facts.timed_out < 0.01 * calls and total < 0.02 * calls):
        return
    phases: dict[Phase, int] = {}
    for each in facts.expired:
        phases[each.phase] = phases.get(each.phase, 0) + each.count
    phase = max(phases, key=lambda each: phases[each])
    if phases[phase] < _MOST * total:
        most = sorted(phases, key=lambda each: -phases[each])[:3]
        parts = ", ".join(f"{percent(phases[each] / total)} {_WHAT[each]}" for each in most)
        rate = percent(facts.timed_out / calls) if calls > 0 else "Many"
        text = f"{rate} of calls time out, in several ways at once: {parts}. Look at the path to the API as a whole."
        yield Verdict("timeouts:mixed", Severity.BAD, text)
        return
    where = [each for each in facts.expired if each.phase is phase]
    models: dict[str, int] = {}
    for each in where:
        models[each.model] = models.get(each.model, 0) + each.count
    model = max(models, key=lambda each: models[each])
    narrow = models[model] >= _MOST * phases[phase] and model not in {"other", "none"}
    chosen = [each for each in where if each.model == model] if narrow else where
    share = sum(each.count for each in chosen) / total
    subject = f"{_WHAT[phase]} on {model}" if narrow else _WHAT[phase]
    severity = Severity.BAD if facts.timed_out >= 0.05 * calls else Severity.NOTICE
    text = f"{percent(share)} of timeouts are {subject}; {_advice(max(chosen, key=lambda each: each.count))}."
    yield Verdict(f"timeouts:{phase}:{model if narrow else ''}", severity, text)


_WHAT: Final = {
    Phase.POOL: "waits for a free connection",
    Phase.CONNECT: "waits to connect",
    Phase.WRITE: "waits to send",
    Phase.FIRST_BYTE: "waits for the first byte",
    Phase.STALL: "stalls",
    Phase.DEADLINE: "deadlines",
    Phase.GATEWAY: "gateway timeouts",
    Phase.CLIENT: "callers hanging up",
}


def _advice(waits: Expired) -> str:
    simple = _ADVICE.get(waits.phase)
    if simple is not None:
        return simple
    name, stream = ("total" if waits.phase is Phase.DEADLINE else str(waits.phase)), not waits.stream
    setting, longest = waits.setting, waits.longest_good
    instead = ", or switch to streaming" if stream or waits.phase is Phase.STALL else ""
    if setting is None:
        return f"raise {name}{instead}"
    near = longest is None or longest >= CLOSE * setting
    if not stream and waits.phase is Phase.FIRST_BYTE and longest is not None and not near:
        return _sooner(name, setting, longest)
    if not near and longest is not None and waits.phase is Phase.STALL:
        return _sooner(name, setting, longest)
    raised = nice(2 * max(setting, longest or 0.0))
    if waits.phase is Phase.FIRST_BYTE and stream:
        return (
            "an answer that is not streamed stays silent until it is complete:"
            f" switch to streaming, or raise {name} from {seconds(setting)} to {seconds(raised)}"
        )
    return f"raise {name} from {seconds(setting)} to {seconds(raised)}{instead}"


def _sooner(name: str, setting: float, longest: float) -> str:
    lowered = nice(3 * longest)
    lower = f", and lower {name} from {seconds(setting)} to {seconds(lowered)}" if lowered < setting else ""
    return (
        f"the answers that do come need at most {seconds(longest)}, so a longer wait would not have saved them:"
        f" retry{lower}"
    )


_ADVICE: Final = {
    Phase.POOL: "let fewer calls run at once, or allow more connections",
    Phase.CONNECT: "nothing of the API was reached: look at DNS, the network and proxies on your own side",
    Phase.WRITE: "requests leave too slowly: look at the network on your own side, and at how large prompts are",
    Phase.GATEWAY: "something between here and the API gives up first: give that more time, or switch to streaming",
    Phase.CLIENT: "the applications give up before the API answers: raise their timeout, or switch to streaming",
}


def _hanging(facts: Facts, _calls: int) -> Iterator[Verdict]:
    usual = facts.usual_wait
    unusual = max(45.0, 3 * usual if usual is not None else 0.0)
    if facts.silent > unusual:
        waits = "A call has" if facts.waiting == 1 else f"Of {facts.waiting} calls under way, one has"
        text = f"{waits} been waiting for {seconds(facts.silent)} without a byte"
        text += f"; the first token usually comes within {seconds(usual)}." if usual is not None else "."
        yield Verdict("hanging", Severity.BAD if facts.silent > 2 * unusual else Severity.NOTICE, text)


def _failures(facts: Facts, calls: int) -> Iterator[Verdict]:
    calls -= facts.outcomes.get(Outcome.REJECTED, 0)
    for outcome, text in _FAILING.items():
        count = facts.outcomes.get(outcome, 0)
        if count >= ENOUGH and count >= 0.05 * calls:
            yield Verdict(f"failing:{outcome}", Severity.BAD, f"{percent(count / calls)} of calls {text}.")


_FAILING: Final = {
    Outcome.OVERLOADED: "end because the API is overloaded (529): send less, retry later, or use another model",
    Outcome.RATE_LIMITED: "run into a rate limit (429): spread them out, or ask for a higher limit",
    Outcome.SERVER_ERROR: "end in an error of the API (5xx): retries help if it is brief; see the API's status page",
    Outcome.CONNECTION_ERROR: "lose their connection: look at the network and proxies on your own side",
    Outcome.TRUNCATED: "end half-way through their stream: look for a proxy that cuts long answers",
    Outcome.CLIENT_ERROR: "are refused as they are (4xx): look at the key, the model's name and the request",
}


def _retries(facts: Facts, _calls: int) -> Iterator[Verdict]:
    ended = facts.recovered + facts.exhausted
    if facts.exhausted >= ENOUGH and facts.exhausted > ended / 2:
        text = f"Retries do not help: {facts.exhausted} of {ended} retried calls failed all the same."
        yield Verdict("retries-failing", Severity.NOTICE, text)


def _limits(facts: Facts, _calls: int) -> Iterator[Verdict]:
    for kind, left, full_in in facts.limits:
        if left < 0.1:  # noqa: PLR2004  # a tenth
            again = f"; it is full again in {seconds(full_in)}" if full_in else ""
            text = f"Only {percent(left)} of the rate limit for {kind.replace('_', ' ')} is left{again}."
            yield Verdict(f"limit:{kind}", Severity.NOTICE, text)


def _budgets(facts: Facts, calls: int) -> Iterator[Verdict]:
    name, rate = max(facts.burning, key=lambda each: each[1], default=("", 0.0))
    if rate >= 2 and calls >= 10 * ENOUGH:  # noqa: PLR2004  # twice as fast as allowed
        text = f"The error budget of {name} is being spent {rate:.0f} times faster than its objective allows."
        yield Verdict(f"burning:{name}", Severity.NOTICE, text)


def _losses(facts: Facts, _calls: int) -> Iterator[Verdict]:
    if facts.dropped:
        text = f"{facts.dropped} records were lost or made no sense, so these numbers are too low."
        yield Verdict("dropped", Severity.NOTICE, text)


_RULES: Final[tuple[_Rule, ...]] = (
    _open_breakers,
    _timeouts,
    _hanging,
    _failures,
    _retries,
    _limits,
    _budgets,
    _losses,
)


def nice(at_least: float) -> float:
    """Round a timeout up to one that people choose; what was measured may be a little too high."""
    return next((float(step) for step in NICE if step >= 0.97 * at_least), at_least)


def percent(ratio: float) -> str:
    """Write a share so that neither all nor nothing is said where it is not so."""
    value = 100 * ratio
    if 99 < value < 100:  # noqa: PLR2004
        value = min(value, 99.9)
        return f"{value:.1f} %"
    if 0 < value < 1:
        return f"{max(value, 0.1):.1f} %"
    return f"{value:.0f} %"


def seconds(value: float) -> str:
    """Write a duration."""
    if value >= 600:  # noqa: PLR2004  # from here on people think in minutes
        return f"{value / 60:.0f} min"
    if value >= 10 or value == int(value):  # noqa: PLR2004
        return f"{value:.0f} s"
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"

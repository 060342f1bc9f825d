"""The status document: everything the page shows, as plain data with stable names. docs/console.md describes it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sidecar.console.gauges import Now
from sidecar.console.tally import Key, Tally, merged, needed, ran_out
from sidecar.console.verdict import REASONS, Expired, Facts, judge
from sidecar.console.view import QUANTILES, Listed, Point
from sidecar.model import AVAILABILITY_FAILURES, NEVER_COUNTED, BreakerState, Outcome, Phase, Profile, RetryResult

if TYPE_CHECKING:
    from sidecar.console.objectives import Standing

VERSION: Final = 1
"""Of the document: it changes when a field changes its meaning or goes; new fields may come at any time."""
_TIGHT: Final = 0.8
"""Answers that need more of a timeout than this come close to being cut off."""
_LOOSE: Final = 10
"""A timeout so many times longer than answers need only makes failures slow."""
_MODELS: Final = 20
_TIMED: Final = (Phase.FIRST_BYTE, Phase.STALL, Phase.DEADLINE)
"""Phases in which it is known what successes need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one view showed at one moment."""

    now: float
    since: float
    """When the history began."""
    window: int
    tallies: Mapping[Key, Tally]
    slowest: Sequence[Listed]
    failed: Sequence[Listed]
    points: Sequence[Point]
    ever: bool
    gauges: Now
    standings: "Sequence[Standing]"
    dropped: int
    errors: int


def document(look: Look) -> dict[str, Any]:
    """Put together what depends on the view; who serves it adds its own name."""
    whole = merged(list(look.tallies.values()))
    # The minutes of the window, whole ones and the one under way, as far as there has been a history.
    began = look.now // 60 * 60 - look.window
    elapsed = max(look.now - max(began, look.since), 1.0)
    settings = look.gauges.settings or {}
    facts = _facts(look, whole, settings)
    return {
        "verdicts": [{"id": each.id, "severity": each.severity, "text": each.text} for each in judge(facts)],
        "calls": {
            **_calls(whole),
            "per_second": _round(whole.calls / elapsed),
            "by_outcome": {outcome: whole.outcomes[outcome] for outcome in Outcome},
            "timeouts_by_phase": {phase: whole.timed_out[phase] for phase in Phase},
        },
        "duration_seconds": _quantiles(whole, Tally.CALL),
        "first_token_seconds": _quantiles(whole, Tally.FIRST_TOKEN),
        "retries": _retries(whole),
        "timeouts": _timeouts(look.tallies, settings),
        "models": _models(look.tallies),
        "slo": [_standing(each) for each in look.standings],
        "slowest": [_listed(each) for each in look.slowest],
        "failed": [_listed(each) for each in look.failed],
        **_gauges(look.gauges),
        "health": {
            "dropped_records": look.dropped,
            "internal_errors": look.errors,
            "event_loop_lag_seconds": _round(look.gauges.lag),
        },
        "series": [_point(each) for each in look.points],
    }


def _calls(tally: Tally) -> dict[str, Any]:
    counted = sum(count for outcome, count in tally.outcomes.items() if outcome not in NEVER_COUNTED)
    failed = sum(count for outcome, count in tally.outcomes.items() if outcome in AVAILABILITY_FAILURES)
    return {
        "total": tally.calls,
        "ok_ratio": _ratio(tally.outcomes[Outcome.OK], tally.calls),
        "timeout_ratio": _ratio(tally.outcomes[Outcome.TIMEOUT], tally.calls),
        "failure_ratio": _ratio(failed, counted),
    }


def _retries(whole: Tally) -> dict[str, Any]:
    recovered, exhausted = whole.results[RetryResult.RECOVERED], whole.results[RetryResult.EXHAUSTED]
    return {
        "recovered": recovered,
        "exhausted": exhausted,
        "abandoned": whole.results[RetryResult.ABANDONED],
        "success_ratio": _ratio(recovered, recovered + exhausted),
        "attempts_per_call": _ratio(whole.attempts, whole.calls - whole.outcomes[Outcome.REJECTED]),  # of those sent
    }


def _timeouts(tallies: Mapping[Key, Tally], settings: Mapping[tuple[Profile, Phase], float]) -> list[dict[str, Any]]:
    rows = []
    for profile in Profile:
        own = merged([tally for key, tally in tallies.items() if key.profile == profile])
        for phase in Phase:
            setting, expired = settings.get((profile, phase)), own.expired[phase]
            times = own.times.get(needed(phase))
            snapshot = times.snapshot() if times and phase in _TIMED else None
            # Without a setting, what successes need says nothing until something runs out.
            if setting is None and not expired:
                continue
            if not own.calls and not expired:
                continue
            p99 = snapshot.quantile(0.99) if snapshot and snapshot.total else None
            rows.append(
                {
                    "profile": profile,
                    "phase": phase,
                    "setting_seconds": _round(setting),
                    "expired": expired,
                    "expired_after_seconds": _round(_median(own, ran_out(phase))),
                    "observed": {
                        "count": snapshot.total if snapshot else 0,
                        "p50": _round(snapshot.quantile(0.5)) if p99 is not None and snapshot else None,
                        "p99": _round(p99),
                        "max": _round(snapshot.quantile(1.0)) if p99 is not None and snapshot else None,
                    },
                    "fit": _fit(setting, p99),
                }
            )
    return rows


def _fit(setting: float | None, p99: float | None) -> str | None:
    if setting is None or p99 is None:
        return None
    if p99 >= _TIGHT * setting:
        return "tight"
    return "loose" if setting >= _LOOSE * p99 else "fits"


def _models(tallies: Mapping[Key, Tally]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, str], list[Tally]] = {}
    for key, tally in tallies.items():
        kinds.setdefault((key.model, key.endpoint), []).append(tally)
    rows = [(model, endpoint, merged(own)) for (model, endpoint), own in kinds.items()]
    rows = sorted((row for row in rows if row[2].calls), key=lambda row: -row[2].calls)[:_MODELS]
    return [
        {
            "model": model,
            "endpoint": endpoint,
            **_calls(tally),
            "duration_seconds": _quantiles(tally, Tally.CALL),
            "first_token_seconds": _quantiles(tally, Tally.FIRST_TOKEN),
        }
        for model, endpoint, tally in rows
    ]


def _standing(standing: "Standing") -> dict[str, Any]:
    return {
        "name": standing.name,
        "description": standing.description,
        "objective_percent": standing.objective,
        "period": standing.period,
        "counted": standing.counted,
        "bad": _round(standing.bad),
        "good_ratio": _round(standing.good_ratio),
        "burn_rate": _round(standing.burn_rate),
    }


def _listed(call: Listed) -> dict[str, Any]:
    return {
        "ended_at": round(call.ended_at, 1),
        "endpoint": call.key.endpoint,
        "model": call.key.model,
        "profile": call.key.profile,
        "stream": call.key.stream,
        "outcome": call.outcome,
        "phase": call.phase,
        "duration_seconds": _round(call.duration),
        "first_token_seconds": _round(call.first_token),
        "attempts": call.attempts,
        "request_id": call.request_id,
    }


def _gauges(now: Now) -> dict[str, Any]:
    return {
        "breakers": [
            {
                "name": each.name,
                "state": each.state,
                "processes": {state: each.processes.get(state, 0) for state in BreakerState},
                "reason": each.reason,
                "reason_text": REASONS.get(each.reason, each.reason),
                "reopens_at": _round_time(each.reopens_at),
                "failure_ratio": _round(each.failure_ratio),
            }
            for each in now.breakers
        ],
        "in_flight": {
            "calls": sum(load.calls for load in now.loads),
            "oldest_seconds": _round(max((load.oldest for load in now.loads), default=0.0)),
            "silent_seconds": _round(max((load.silent for load in now.loads), default=0.0)),
            "by_model": [
                {
                    "endpoint": load.endpoint,
                    "model": load.model,
                    "calls": load.calls,
                    "oldest_seconds": _round(load.oldest),
                    "silent_seconds": _round(load.silent),
                }
                for load in now.loads
            ],
        },
        "rate_limits": [
            {
                "kind": each.kind,
                "limit": each.limit,
                "remaining": each.remaining,
                "left_ratio": _round(each.left),
                "resets_at": _round_time(each.reset_at),
            }
            for each in now.limits
        ],
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "at": point.at,
        "outcomes": point.outcomes,
        "timeouts": point.timed_out,
        "retried": point.results,
        "duration": None if point.duration is None else [_round(value) for value in point.duration],
        "first_token": None if point.first_token is None else [_round(value) for value in point.first_token],
    }


def _facts(look: Look, whole: Tally, settings: Mapping[tuple[Profile, Phase], float]) -> Facts:
    usual = _quantile(whole, Tally.FIRST_TOKEN, 0.99) or _quantile(whole, Tally.CALL, 0.99)
    minutes = look.window // 60
    return Facts(
        span="hour" if minutes == 60 else f"{minutes} minutes",  # noqa: PLR2004  # minutes of an hour
        ever=look.ever,
        outcomes=dict(whole.outcomes),
        p95=_quantile(whole, Tally.CALL, 0.95),
        timed_out=whole.outcomes[Outcome.TIMEOUT],
        expired=tuple(_expired(look.tallies, settings)),
        recovered=whole.results[RetryResult.RECOVERED],
        exhausted=whole.results[RetryResult.EXHAUSTED],
        breakers=[(each.name, each.state, each.reason) for each in look.gauges.breakers],
        silent=max((load.silent for load in look.gauges.loads), default=0.0),
        waiting=sum(load.calls for load in look.gauges.loads),
        usual_wait=usual,
        limits=[
            (each.kind, each.left, max(0.0, each.reset_at - look.now) if each.reset_at else None)
            for each in look.gauges.limits
            # What was full again since then says nothing any more.
            if each.left is not None and not (each.reset_at and each.reset_at < look.now)
        ],
        burning=[(each.name, each.burn_rate) for each in look.standings if each.burn_rate is not None],
        dropped=look.dropped,
    )


def _expired(tallies: Mapping[Key, Tally], settings: Mapping[tuple[Profile, Phase], float]) -> Iterable[Expired]:
    kinds: dict[tuple[Profile, str, bool], list[Tally]] = {}
    for key, tally in tallies.items():
        kinds.setdefault((key.profile, key.model, key.stream), []).append(tally)
    for (profile, model, stream), own in kinds.items():
        tally = merged(own)
        for phase, count in tally.expired.items():
            yield Expired(
                phase=phase,
                profile=profile,
                model=model,
                stream=stream,
                count=count,
                setting=settings.get((profile, phase), _median(tally, ran_out(phase))),
                longest_good=_quantile(tally, needed(phase), 1.0) if phase in _TIMED else None,
            )


def _quantiles(tally: Tally, name: str) -> dict[str, Any]:
    times = tally.times.get(name)
    snapshot = times.snapshot() if times else None
    count = snapshot.total if snapshot else 0
    values = {f"p{round(q * 100)}": _round(snapshot.quantile(q)) if snapshot and count else None for q in QUANTILES}
    return {"count": count, **values}


def _quantile(tally: Tally, name: str, q: float) -> float | None:
    times = tally.times.get(name)
    value = times.snapshot().quantile(q) if times else math.nan
    return None if math.isnan(value) else value


def _median(tally: Tally, name: str) -> float | None:
    return _quantile(tally, name, 0.5)


def _ratio(part: float, whole: float) -> float | None:
    return _round(part / whole) if whole else None


def _round(value: float | None) -> float | None:
    """Keep four digits: more would only be longer."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _round_time(value: float | None) -> float | None:
    return None if value is None else round(value, 1)

"""The story of the demo: its steps, and what must have been seen for each. Pure: no clock, no server, no screen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.demo.pages import Numbers
from sidecar.demo.webhook import Notice

__all__ = ["ALERT", "Scene", "Step", "Story"]

ALERT: Final = "ClaudeTimeoutSpike"
_CALM: Final = 15
_MANY: Final = 5


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything seen up to a moment."""

    numbers: Numbers = field(default_factory=Numbers)
    notices: Sequence[Notice] = ()

    @property
    def spikes(self) -> list[Notice]:
        """The messages about the spike, each model's newest."""
        newest = {tuple(sorted(each.labels.items())): each for each in self.notices if each.name == ALERT}
        return list(newest.values())


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, and what shows that it has happened, in words; None until then."""

    name: str
    title: str
    seen: Callable[[Scene], str | None]
    needs_alerts: bool = False
    """It takes Prometheus and Alertmanager."""


def _calm(scene: Scene) -> str | None:
    numbers = scene.numbers
    if numbers.outcomes.get("ok", 0) < _CALM:
        return None
    p95 = "" if numbers.p95 is None else f", p95 {numbers.p95:.1f} s"
    return f"{numbers.outcomes['ok']} calls answered{p95}"


def _spike(scene: Scene) -> str | None:
    phases = scene.numbers.phases
    if sum(phases.values()) < _MANY:
        return None
    told = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()) if count)
    return f"requests time out: {told}"


def _opened(scene: Scene) -> str | None:
    rejected = scene.numbers.outcomes.get("rejected", 0)
    if not scene.numbers.opened or not rejected:
        return None
    return f"{rejected} calls failed at once instead of waiting for a timeout"


def _recovered(scene: Scene) -> str | None:
    recovered = scene.numbers.retried.get("recovered", 0)
    return f"{recovered} calls were saved by a retry" if recovered else None


def _alerted(scene: Scene) -> str | None:
    notice = next((each for each in scene.spikes if each.firing), None)
    return None if notice is None else notice.annotations.get("summary", notice.name)


def _closed(scene: Scene) -> str | None:
    states = scene.numbers.breakers.values()
    if not scene.numbers.opened or any(state != "closed" for state in states):
        return None
    return "probes were answered: calls go through again"


def _resolved(scene: Scene) -> str | None:
    if not scene.spikes or any(each.firing for each in scene.spikes):
        return None
    return f"{ALERT} is over, for every model it was told of"


_STEPS: Final = (
    Step("calm", "A calm API", _calm),
    Step("spike", "A timeout spike", _spike),
    Step("alert", "The alert arrives", _alerted, needs_alerts=True),
    Step("breaker", "The breaker opens", _opened),
    Step("retries", "Retries recover", _recovered),
    Step("closed", "The breaker closes", _closed),
    Step("resolved", "The alert resolves", _resolved, needs_alerts=True),
)


class Story:
    """How far the story has come. A step stays as it was first seen; steps may come in any order."""

    def __init__(self, *, alerts: bool = True) -> None:
        self.steps: Final = tuple(step for step in _STEPS if alerts or not step.needs_alerts)
        self.told: Final[dict[str, str]] = {}
        """Name of a step -> what showed it."""

    def see(self, scene: Scene) -> list[Step]:
        """Return the steps that this scene is the first to show."""
        new = []
        for step in self.steps:
            # What comes after the trouble cannot have been seen before there was any.
            if step.name not in self.told and (step.name == "calm" or "spike" in self.told or step.name == "spike"):
                shown = step.seen(scene)
                if shown is not None:
                    self.told[step.name] = shown
                    new.append(step)
        return new

    @property
    def missing(self) -> list[Step]:
        """The steps nobody has seen yet."""
        return [step for step in self.steps if step.name not in self.told]

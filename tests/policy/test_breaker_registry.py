import inspect
import threading
import time
from collections.abc import Callable
from random import Random

import pytest

from sidecar.policy import BreakerConfig, BreakerOpen, BreakerRegistry, CircuitBreaker


def names(registry: BreakerRegistry) -> list[str]:
    return [breaker.name for breaker in registry.all()]


def test_there_is_one_breaker_for_each_host_and_model() -> None:
    registry = BreakerRegistry()
    breaker = registry.get("api.anthropic.com", "opus")
    assert breaker.name == "api.anthropic.com/opus"
    assert registry.get("api.anthropic.com", "opus") is breaker
    assert registry.get("api.anthropic.com", "haiku") is not breaker
    assert registry.get("proxy.internal", "opus") is not breaker
    assert len(registry.all()) == 3


def test_a_slash_in_a_name_does_not_make_two_breakers_one() -> None:
    registry = BreakerRegistry()
    assert registry.get("a", "b/c") is not registry.get("a/b", "c")


def test_its_breakers_have_its_numbers_its_clock_and_its_chance() -> None:
    now = [0.0]
    rng = Random(1)
    registry = BreakerRegistry(BreakerConfig(consecutive=1, open_for=7.0), clock=lambda: now[0], rng=rng)
    breaker = registry.get("h", "m")
    assert breaker.config == registry.config == BreakerConfig(consecutive=1, open_for=7.0)
    assert breaker._rng is rng
    breaker.acquire().failure("timeout", 1.0)
    assert breaker.state == "open"
    now[0] = 7.0
    assert breaker.state == "half_open"


def test_without_numbers_it_has_the_defaults() -> None:
    assert BreakerRegistry().config == BreakerConfig()
    parameters = inspect.signature(BreakerRegistry).parameters
    assert parameters["clock"].default is time.monotonic
    assert parameters["max_breakers"].default == 100
    crowded = BreakerRegistry()
    for number in range(102):
        crowded.get("h", f"m{number}")
    assert len(crowded.all()) == 100
    assert isinstance(BreakerRegistry().get("h", "m")._rng, Random)


@pytest.mark.parametrize("bad", [0, -1, 10_001, 1.5])
def test_its_size_is_checked(bad: int) -> None:
    with pytest.raises(ValueError, match=r"breaker registry: max_breakers must be .* at least 1 and at most 10000"):
        BreakerRegistry(max_breakers=bad)


@pytest.mark.parametrize("good", [1, 10_000])
def test_the_ends_of_its_range_are_good(good: int) -> None:
    assert BreakerRegistry(max_breakers=good).all() == ()


def test_invented_models_never_make_it_grow() -> None:
    registry = BreakerRegistry(max_breakers=10)
    for i in range(200):
        registry.get("h", f"invented-{i}").acquire().failure("client_error", 1.0)
        assert len(registry.all()) <= 10


def test_the_least_recently_used_goes_first() -> None:
    registry = BreakerRegistry(max_breakers=3)
    for model in ("a", "b", "c"):
        registry.get("h", model)
    registry.get("h", "a")
    registry.get("h", "d")
    assert names(registry) == ["h/c", "h/a", "h/d"]


def open_it(breaker: CircuitBreaker) -> None:
    breaker.acquire().failure("timeout", 1.0)


def use_it(breaker: CircuitBreaker) -> None:
    breaker.acquire().success(1.0)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (use_it, lambda _: None),
        (open_it, lambda _: None),
        (open_it, use_it),
        (CircuitBreaker.force_open, use_it),
        (CircuitBreaker.force_open, open_it),
        (CircuitBreaker.disable, open_it),
        (CircuitBreaker.observe_only, open_it),
    ],
)
def test_the_one_with_least_to_lose_goes_though_it_was_used_last(
    older: Callable[[CircuitBreaker], None], newer: Callable[[CircuitBreaker], None]
) -> None:
    registry = BreakerRegistry(BreakerConfig(consecutive=1), max_breakers=2)
    older(registry.get("h", "older"))
    newer(registry.get("h", "newer"))
    registry.get("h", "newcomer")
    assert names(registry) == ["h/older", "h/newcomer"]


def test_when_all_have_much_to_lose_one_still_goes() -> None:
    registry = BreakerRegistry(max_breakers=2)
    registry.get("h", "a").force_open()
    registry.get("h", "b").disable()
    registry.get("h", "c")
    assert names(registry) == ["h/b", "h/c"]


def test_one_place_is_enough() -> None:
    registry = BreakerRegistry(max_breakers=1)
    registry.get("h", "a")
    registry.get("h", "b")
    assert names(registry) == ["h/b"]


def test_the_permit_of_a_breaker_that_had_to_go_ends_without_harm() -> None:
    registry = BreakerRegistry(max_breakers=1)
    permit = registry.get("h", "a").acquire()
    registry.get("h", "b")
    permit.success(1.0)
    assert registry.get("h", "b").snapshot().counts.calls == 0


def test_transitions_are_told_with_the_breaker_s_name() -> None:
    heard: list[tuple[str, ...]] = []
    registry = BreakerRegistry(
        BreakerConfig(consecutive=1), on_transition=lambda *event: heard.append(tuple(map(str, event)))
    )
    open_it(registry.get("h", "a"))
    registry.get("h", "b").force_open()
    assert heard == [("h/a", "closed", "open", "consecutive"), ("h/b", "closed", "forced_open", "forced")]


def test_a_callback_may_use_the_registry_while_a_newcomer_is_let_in() -> None:
    now = [0.0]
    registry = BreakerRegistry(
        BreakerConfig(consecutive=1),
        max_breakers=1,
        clock=lambda: now[0],
        on_transition=lambda *_: seen.append(len(registry.all())),
    )
    seen: list[int] = []
    open_it(registry.get("h", "a"))
    now[0] = 60.0
    registry.get("h", "b")  # asks "a" for its state, which has become half-open by now
    assert seen == [1, 1]


def registry_that_lets_in(newcomer: str, *, size: int) -> tuple[BreakerRegistry, list[CircuitBreaker]]:
    """Make a full registry that gets ``newcomer`` in a callback, in the middle of letting somebody else in."""
    now = [0.0]
    made: list[CircuitBreaker] = []

    def let_in(_name: str, _before: str, after: str, _why: str) -> None:
        if after == "half_open":
            made.append(registry.get("h", newcomer))

    registry = BreakerRegistry(
        BreakerConfig(consecutive=1), max_breakers=size, clock=lambda: now[0], on_transition=let_in
    )
    for number in range(size):
        open_it(registry.get("h", f"old-{number}"))
    now[0] = 60.0
    return registry, made


def test_a_breaker_made_meanwhile_is_the_one_that_is_used() -> None:
    registry, made = registry_that_lets_in("b", size=1)
    assert registry.get("h", "b") is made[0]
    assert names(registry) == ["h/b"]


def test_when_the_one_that_was_to_go_has_gone_meanwhile_another_goes() -> None:
    registry, made = registry_that_lets_in("b", size=1)
    breaker = registry.get("h", "c")
    assert [one.name for one in made] == ["h/b"]
    assert registry.all() == (breaker,)
    assert breaker.name == "h/c"


def test_many_threads_get_the_same_breaker() -> None:
    registry = BreakerRegistry(max_breakers=4)
    start = threading.Barrier(8)
    got: list[CircuitBreaker] = []

    def work() -> None:
        start.wait(30)
        got.append(registry.get("h", "m"))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(got) == 8
    assert set(got) == {registry.get("h", "m")}


def test_an_open_breaker_of_one_model_leaves_the_other_models_alone() -> None:
    registry = BreakerRegistry(BreakerConfig(consecutive=1))
    open_it(registry.get("h", "a"))
    with pytest.raises(BreakerOpen):
        registry.get("h", "a").acquire()
    registry.get("h", "b").acquire().success(1.0)

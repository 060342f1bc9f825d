"""A clock that moves when it is told to, and chance that answers what it was told."""

from random import Random

import pytest


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Chance(Random):
    """A random source whose every answer is ``value``."""

    value = 0.0

    def random(self) -> float:
        return self.value


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chance() -> Chance:
    return Chance()

"""What a fork means to objects with a lock: nobody else may be inside while it happens.

A fork while another thread holds a lock would leave the child a lock that nobody ever gives back.
"""

import os
from typing import Final, Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """An object to take along into a forked child."""

    def before_fork(self) -> None:
        """Take the lock."""

    def after_fork(self, *, child: bool) -> None:
        """Give it back; in the child, begin anew."""


_watched: Final[WeakSet[Forkable]] = WeakSet()
_held: Final[list[Forkable]] = []


def survive_forks(thing: Forkable) -> None:
    """Take ``thing`` along into every child this process forks, for as long as it lives."""
    _watched.add(thing)


def _before() -> None:
    _held.extend(_watched)
    for thing in _held:
        thing.before_fork()


def _after(*, child: bool) -> None:
    while _held:
        _held.pop().after_fork(child=child)


os.register_at_fork(
    before=_before, after_in_parent=lambda: _after(child=False), after_in_child=lambda: _after(child=True)
)

"""A clock that a test moves on by hand."""


class Clock:
    """Tells the time it was given."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

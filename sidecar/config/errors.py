"""`ConfigError`: every fault of a configuration at once."""

from collections.abc import Sequence


class ConfigError(ValueError):
    """The configuration cannot be used. Each fault says where it is, what was found, and what is allowed."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(faults))

"""How an exchange can end: the words between those who move bytes and those who look at them."""

from enum import Enum


class Ending(Enum):
    """How an exchange ended, seen from the proxy."""

    COMPLETE = "complete"
    """The whole answer was passed on."""
    REFUSED = "refused"
    """The proxy answered itself; nothing was sent upstream."""
    FAILED = "failed"
    """The upstream failed before its answer had begun; the proxy said so."""
    BROKEN = "broken"
    """The upstream broke off in the middle of its answer, and so did the proxy."""
    LEFT = "left"
    """The client went away, or broke the rules in the middle of its request."""

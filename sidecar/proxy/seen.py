"""What was seen of one request while it went by: measurements and names, for its records to be made of."""

from typing import TYPE_CHECKING

from sidecar.model import Profile
from sidecar.proxy.request_scan import NOTHING_ASKED

if TYPE_CHECKING:
    from sidecar.proxy.caller import Caller
    from sidecar.proxy.headers import RequestHead, ResponseHead
    from sidecar.proxy.reading import Reading


class Seen:
    """One request. Times are the loop's clock, but for ``started_at``."""

    __slots__ = (
        "asked",
        "began",
        "caller",
        "first_byte",
        "first_token",
        "head",
        "last",
        "max_gap",
        "max_gap_at",
        "profile",
        "reading",
        "reply",
        "started_at",
        "trace",
    )

    def __init__(self, head: "RequestHead", caller: "Caller", began: float, started_at: float) -> None:
        self.head = head
        self.caller = caller
        self.trace = caller.trace
        """The span its attempt stands under."""
        self.began = began
        self.started_at = started_at
        self.asked = NOTHING_ASKED
        self.profile = Profile.DEFAULT
        self.last = began
        """When the wait for the next byte began."""
        self.reply: ResponseHead | None = None
        self.reading: Reading | None = None
        self.first_byte: float | None = None
        """From the beginning, as the next three."""
        self.first_token: float | None = None
        self.max_gap = 0.0
        self.max_gap_at = 0.0

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.reading is not None and self.reading.scanner is not None

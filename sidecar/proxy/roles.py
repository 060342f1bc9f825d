"""What those who move bytes ask of one another, where there is more than one way to serve a request."""

from typing import Protocol

from sidecar.proxy.ending import Ending
from sidecar.proxy.errors import Fault
from sidecar.proxy.headers import RequestHead, ResponseHead
from sidecar.proxy.pool import Pool
from sidecar.proxy.upstream import Upstream


class Served(Protocol):
    """A request, as the client's connection sees it."""

    admitted: bool
    fault: Fault | None
    head: RequestHead
    ending: Ending | None

    @property
    def request_is_over(self) -> bool:
        """Whether all of the request has been read."""

    def start(self, pool: Pool) -> None:
        """Begin: its turn has come."""

    def request_whole(self, body: bytes) -> None:
        """Take all of the request's body, which may be empty, and its end."""

    def request_piece(self, piece: bytes) -> None:
        """Take a piece of the request's body."""

    def request_over(self, trailers: list[bytes]) -> None:
        """Take the end of the request."""

    def client_left(self) -> None:
        """Cancel."""

    def refuse(self, fault: Fault) -> None:
        """Answer with this, or break the answer off."""

    def download_paused(self) -> None:
        """Write less: the client reads too slowly."""

    def download_resumed(self) -> None:
        """Write on."""


class Asking(Protocol):
    """A request, as the connection to the upstream sees it."""

    @property
    def to_head(self) -> bool:
        """Whether its method is HEAD, whose answers have no body."""

    def interim(self, head: ResponseHead) -> None:
        """Take a 1xx."""

    def answer_head(self, head: ResponseHead) -> None:
        """Take the answer's head."""

    def answer_whole(self, head: ResponseHead, body: bytes) -> bool:
        """Take the answer's head and all of its body, but not its end; say whether it is wanted to the end."""

    def answer(self, data: bytes) -> None:
        """Take a part of its body, which may be empty."""

    def answer_chunks(self, data: bytes, pieces: list[bytes]) -> None:
        """Take chunks of its body: as they came, and the content in them."""

    def answer_over(self, upstream: Upstream, *, reusable: bool) -> None:
        """Take its end."""

    def upstream_lost(self, fault: Fault | None) -> None:
        """Take note that the connection is gone."""

    def upload_paused(self) -> None:
        """Send less."""

    def upload_resumed(self) -> None:
        """Send on."""

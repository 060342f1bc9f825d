"""Rendering views of the families in each format a scraper may ask for. Knows no HTTP and no clock."""

from collections.abc import Iterable, Iterator
from typing import Final

from sidecar.telemetry.exposition.formats import Format, accepts_gzip, negotiate
from sidecar.telemetry.exposition.protobuf import ProtobufRenderer
from sidecar.telemetry.exposition.text import TextRenderer
from sidecar.telemetry.view import FamilyView

__all__ = ["Format", "Renderer", "accepts_gzip", "negotiate"]


class Renderer:
    """Renders in every format, keeping what does not change from one scrape to the next."""

    def __init__(self) -> None:
        self._renderers: Final[dict[Format, TextRenderer | ProtobufRenderer]] = {
            Format.TEXT: TextRenderer(openmetrics=False),
            Format.OPENMETRICS: TextRenderer(openmetrics=True),
            Format.PROTOBUF: ProtobufRenderer(),
        }

    def render(self, views: Iterable[FamilyView], form: Format = Format.TEXT) -> bytes:
        """Render a page."""
        return b"".join(self.pieces(views, form))

    def pieces(self, views: Iterable[FamilyView], form: Format) -> Iterator[bytes]:
        """Render a page piece by piece, so that others can work in between; a piece may be empty."""
        return self._renderers[form].pieces(views)

"""The formats metrics can be had in, and the choice between them by a request's Accept header (RFC 9110)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Format(Enum):
    """A format, with the content type that announces it."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


@dataclass(frozen=True, slots=True)
class _Offer:
    format: Format
    type: str
    parameters: Mapping[str, frozenset[str]]
    """What a parameter may say when it is given; others (charset, escaping) do not matter to us."""


# Of equally wanted ones the first is taken: the more it can carry, the better.
_OFFERS: Final = (
    _Offer(
        Format.PROTOBUF,
        "application/vnd.google.protobuf",
        {"proto": frozenset({"io.prometheus.client.metricfamily"}), "encoding": frozenset({"delimited"})},
    ),
    # 0.0.1 is the draft that 1.0.0 became without a change to what we write.
    _Offer(Format.OPENMETRICS, "application/openmetrics-text", {"version": frozenset({"1.0.0", "0.0.1"})}),
    _Offer(Format.TEXT, "text/plain", {"version": frozenset({"0.0.4", "1.0.0"})}),
)
_MAX_LENGTH: Final = 4096


@dataclass(frozen=True, slots=True)
class _Range:
    """One element of an Accept header."""

    type: str
    parameters: Mapping[str, str]
    q: float

    def specificity(self) -> int:
        """Rank it among those that fit the same offer: the closest speaks for it."""
        if self.type == "*/*":
            return 0
        return 1 if self.type.endswith("/*") else 2 + len(self.parameters)

    def fits(self, offer: _Offer) -> bool:
        """Whether the offer is one of those it names."""
        if self.type == "*/*":
            return True
        if self.type.endswith("/*"):
            return offer.type.startswith(self.type[:-1])
        return self.type == offer.type and all(
            self.parameters.get(name, "") in values or name not in self.parameters
            for name, values in offer.parameters.items()
        )


def negotiate(accept: str) -> Format:
    """Choose the format an Accept header wants most; plain text when it wants nothing we have.

    Protobuf and OpenMetrics are only for those who name them: a wildcard is a browser or curl.
    """
    ranges = list(_parse(accept[:_MAX_LENGTH]))
    best, chosen = 0.0, Format.TEXT
    for offer in _OFFERS:
        fitting = [each for each in ranges if each.fits(offer)]
        named = [each for each in fitting if each.type == offer.type]
        if not named and offer.format is not Format.TEXT:
            continue
        # Several may name it: OpenMetrics 1.0.0 at 0.6 and 0.0.1 at 0.5. We can give the better one.
        top = max((each.specificity() for each in fitting), default=0)
        q = max((each.q for each in fitting if each.specificity() == top), default=0.0)
        if q > best:
            best, chosen = q, offer.format
    return chosen


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    answer = 0.0
    for element in _parse(accept_encoding[:_MAX_LENGTH]):
        if element.type in {"gzip", "x-gzip"}:
            return element.q > 0
        if element.type == "*":
            answer = element.q
    return answer > 0


def _parse(header: str) -> Iterator[_Range]:
    for element in header.split(","):
        kind, *rest = (part.strip() for part in element.split(";"))
        if not kind:
            continue
        parameters = {}
        for parameter in rest:
            name, _, value = parameter.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"').lower()
        yield _Range(kind.lower(), parameters, _quality(parameters.pop("q", "1")))


def _quality(text: str) -> float:
    try:
        q = float(text)
    except ValueError:
        return 0.0
    return q if 0.0 <= q <= 1.0 else 0.0

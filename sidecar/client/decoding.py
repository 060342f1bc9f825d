"""Stands in for the decoder of a response's body, which does the work: its error is told in our words. Knows httpx2."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2

_MAKE: Final = "_get_content_decoder"
_MADE: Final = "_decoder"
"""A response has no other place to learn of its decoder, nor a body of what became of it once it was handed on."""


class _Telling:
    """A decoder."""

    __slots__ = ("_decoder", "_undecodable")

    def __init__(self, decoder: Any, undecodable: Callable[[Exception], bool]) -> None:
        self._decoder = decoder
        self._undecodable = undecodable

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Give what a chunk holds."""
        return self._told(lambda decoder: decoder.decode(data))

    def flush(self) -> Iterator[bytes]:
        """Give what is left at the end."""
        return self._told(lambda decoder: decoder.flush())

    def _told(self, pieces: Callable[[Any], Iterator[bytes]]) -> Iterator[bytes]:
        try:
            yield from pieces(self._decoder)
        except httpx2.DecodingError as error:
            if self._undecodable(error):
                raise


class _Refusing:
    """A decoder that cannot be made."""

    def __init__(self, why: str) -> None:
        self._why = why

    def decode(self, _: bytes) -> Iterator[bytes]:
        """Say why."""
        raise httpx2.DecodingError(self._why)


def tell_of_damage(response: httpx2.Response, undecodable: Callable[[Exception], bool]) -> None:
    """Have ``undecodable`` told where the body cannot be decoded: it raises, or says whether the error is to be."""
    make = getattr(response, _MAKE, None)
    if make is None:
        return
    try:
        decoder = make()
    except httpx2.DecodingError as error:  # encodings within encodings, and more than it undoes
        decoder = _Refusing(str(error))
    setattr(response, _MADE, _Telling(decoder, undecodable))

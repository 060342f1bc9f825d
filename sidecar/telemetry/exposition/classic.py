"""Classic buckets: the fixed bounds two an octave that every histogram of a family shows."""

from collections.abc import Mapping

from sidecar.telemetry.families import Octaves
from sidecar.telemetry.histogram import Exemplar, half_octave


def bounds(octaves: Octaves) -> list[float]:
    """Return the finite bounds, from the lowest."""
    return [2.0 ** (n / 2) for n in range(octaves.low * 2, octaves.high * 2 + 1)]


def place_exemplars(exemplars: Mapping[int, Exemplar], octaves: Octaves) -> dict[int, Exemplar]:
    """Give each exemplar to the classic bucket it lies in, counted from 0; of several in one the latest stays."""
    last = (octaves.high - octaves.low) * 2 + 1
    placed: dict[int, Exemplar] = {}
    for exemplar in exemplars.values():
        position = min(max(0, half_octave(exemplar.value) - octaves.low * 2), last)
        known = placed.get(position)
        if known is None or exemplar.at >= known.at:
            placed[position] = exemplar
    return placed

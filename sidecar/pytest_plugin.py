"""Fixtures for whoever tests an application against the sidecar. Loads nothing until a fixture is used."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.chaos import Chaos
    from sidecar.testing import Recorder


@pytest.fixture
def sidecar_chaos() -> "Iterator[Chaos]":
    """Run a fake Claude API for one test; faults come by the header ``x-chaos``."""
    from sidecar.chaos import chaos_server  # noqa: PLC0415  # a plugin must cost nothing until it is used

    with chaos_server() as chaos:
        yield chaos


@pytest.fixture
def sidecar_recorder() -> "Iterator[Recorder]":
    """Record the calls and attempts of every instrumented client: ``sidecar_recorder.calls.timeouts``."""
    from sidecar.testing import recording  # noqa: PLC0415  # the same

    with recording() as recorder:
        yield recorder

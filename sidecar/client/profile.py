"""Which profile a call has: by its own header, else by the block it is made in, else by its client."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from sidecar.model import Profile

HEADER: Final = "x-sidecar-profile"
"""Names the profile of one call (``extra_headers={"x-sidecar-profile": "interactive"}``); it is never sent."""

_DEFAULT: Final = Profile.DEFAULT  # looking up a member in an enum is a call
_BLOCK: Final[ContextVar[Profile | None]] = ContextVar("sidecar_profile", default=None)


@contextmanager
def profile(name: Profile | str) -> Iterator[None]:
    """Give the calls made in a ``with`` block their profile, also in the tasks and copied contexts begun inside."""
    token = _BLOCK.set(parse_profile(name))
    try:
        yield
    finally:
        _BLOCK.reset(token)


def parse_profile(name: Profile | str) -> Profile:
    """Read the name of a profile."""
    try:
        return Profile(name)
    except ValueError:
        known = ", ".join(Profile)
        raise ValueError(f"there is no profile {name!r}; the profiles are {known}") from None


def profile_of(headers: Mapping[str, Any], default: Profile | None) -> tuple[Profile, Mapping[str, Any]]:
    """Choose a call's profile, and give its headers without the one that names it.

    A header that names no profile is taken off too, and otherwise as if it were not there: it must not fail a call.
    """
    if HEADER in map(str.lower, headers):  # most calls do not name it
        named = next(value for name, value in headers.items() if name.lower() == HEADER)
        headers = {name: value for name, value in headers.items() if name.lower() != HEADER}
        if isinstance(named, str):
            try:
                return Profile(named.strip().lower()), headers
            except ValueError:
                pass
    return _BLOCK.get() or default or _DEFAULT, headers

"""A policy as data, and how it is read from TOML: the whole table is checked, and every fault is listed at once.

A decoded table looks like this; everything in it may be left out, and ``false`` switches a thing off:

    profile = "interactive"                 # what `Policy.from_toml` answers with
    stream_underneath = true
    [timeouts]                              # for every profile
    first_byte = 20
    [retry]
    max_attempts = 2
    [retry_budget]                          # or: retry_budget = false
    ratio = 0.1
    [breaker]                               # or: breaker = false
    consecutive = false
    [profiles.realtime.timeouts]            # for one profile, over what stands above
    total = 20
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, get_args

from sidecar.model import Profile
from sidecar.policy.breaker_config import BreakerConfig
from sidecar.policy.budget import BudgetConfig
from sidecar.policy.check import Fault, Faults, SettingsError
from sidecar.policy.retry import Retry
from sidecar.policy.timeouts import PROFILES, Timeouts

_PARTS = ("timeouts", "retry", "retry_budget", "breaker")
_FLAGS = ("stream_underneath",)
_Part = TypeVar("_Part", Timeouts, Retry, BudgetConfig, BreakerConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the calls of one profile are timed, retried and broken off."""

    profile: Profile = Profile.DEFAULT
    timeouts: Timeouts = PROFILES[Profile.DEFAULT]
    retry: Retry = field(default_factory=Retry)
    retry_budget: BudgetConfig | None = field(default_factory=BudgetConfig)
    """None: retries are not budgeted."""
    breaker: BreakerConfig | None = field(default_factory=BreakerConfig)
    """None: there is no breaker."""
    stream_underneath: bool = False
    """Whole answers are streamed to us, and handed over whole: no connection is idle for as long as they take."""

    @classmethod
    def for_profile(cls, profile: Profile | str) -> "Policy":
        """Make the policy a profile has without any configuration."""
        return cls.from_table({"profile": profile})

    @classmethod
    def from_toml(cls, text: str) -> "Policy":
        """Read the policy of the profile that ``profile`` names; one ``ValueError`` lists every fault."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError("policy", [Fault("text", f"is not TOML: {error}")]) from error
        return cls.from_table(table)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> "Policy":
        """Do the same with a table that is decoded already."""
        faults = Faults("policy")
        name = table.get("profile", Profile.DEFAULT)
        faults.choice("profile", name, list(Profile))
        found = _read({key: value for key, value in table.items() if key != "profile"}, faults)
        faults.stop_if_any()
        return found[Profile(name)]


def policies(table: Mapping[str, Any]) -> dict[Profile, Policy]:
    """Read the policies of all profiles from a decoded table; one ``ValueError`` lists every fault."""
    faults = Faults("policy")
    found = _read(table, faults)
    faults.stop_if_any()
    return found


def _read(table: Mapping[str, Any], faults: Faults) -> dict[Profile, Policy]:
    special = _table(table, "profiles", "", faults)
    _refuse_unknown(table, [*_PARTS, *_FLAGS, "profiles"], "", faults)
    _refuse_unknown(special, list(Profile), "profiles.", faults)
    found = {}
    for profile in Profile:
        own = _table(special, profile, "profiles.", faults)
        _refuse_unknown(own, [*_PARTS, *_FLAGS], f"profiles.{profile}.", faults)
        layers = {"": table, f"profiles.{profile}.": own}
        found[profile] = Policy(
            profile=profile,
            timeouts=_part("timeouts", PROFILES[profile], layers, faults),
            retry=_part("retry", Retry(), layers, faults),
            retry_budget=_part_or_off("retry_budget", BudgetConfig(), layers, faults),
            breaker=_part_or_off("breaker", BreakerConfig(), layers, faults),
            stream_underneath=_flag("stream_underneath", layers, faults),
        )
    return found


def _flag(name: str, layers: Mapping[str, Mapping[str, Any]], faults: Faults) -> bool:
    """Read what is true or false; the later layer counts."""
    flag = False
    for prefix, layer in layers.items():
        value = layer.get(name, flag)
        if isinstance(value, bool):
            flag = value
        else:
            faults.add(f"{prefix}{name}", value, "true or false")
    return flag


def _part_or_off(name: str, base: _Part, layers: Mapping[str, Mapping[str, Any]], faults: Faults) -> _Part | None:
    """Read a part that ``false`` switches off, and a table in a later layer on again."""
    kept: dict[str, Mapping[str, Any]] = {}
    off = False
    for prefix, layer in layers.items():
        if name in layer:
            off = layer[name] is False
        kept[prefix] = {} if layer.get(name) is False else layer
    part = _part(name, base, kept, faults)
    return None if off else part


def _part(name: str, base: _Part, layers: Mapping[str, Mapping[str, Any]], faults: Faults) -> _Part:
    """Lay the tables over ``base``, the later over the earlier."""
    optional = {field.name: type(None) in get_args(field.type) for field in fields(base)}
    values: dict[str, Any] = {}
    paths: dict[str, str] = {}
    for prefix, layer in layers.items():
        table = _table(layer, name, prefix, faults)
        _refuse_unknown(table, list(optional), f"{prefix}{name}.", faults)
        for key, value in table.items():
            if key in optional:
                values[key] = None if value is False and optional[key] else value
                paths[key] = f"{prefix}{name}.{key}"
    try:
        return replace(base, **values)
    except SettingsError as error:
        for fault in error.faults:
            faults.note(paths.get(fault.name, f"{name}.{fault.name}"), fault.problem)
        return base


def _table(parent: Mapping[str, Any], name: str, prefix: str, faults: Faults) -> Mapping[str, Any]:
    table = parent.get(name, {})
    if isinstance(table, Mapping):
        return table
    faults.add(f"{prefix}{name}", table, "a table")
    return {}


def _refuse_unknown(table: Mapping[str, Any], known: Sequence[str], prefix: str, faults: Faults) -> None:
    for name in table:
        if name not in known:
            faults.note(f"{prefix}{name}", f"is not known; known are {', '.join(known)}")

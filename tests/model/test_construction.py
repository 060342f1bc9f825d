"""Records are built by another constructor than `dataclass` writes; nothing else of them is to differ."""

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from sidecar.model import AttemptRecord, CallRecord, Outcome, Profile, RateLimit, Source, TraceRef, Usage, Wait
from sidecar.model.construction import cheaply_built


@cheaply_built
@dataclass(frozen=True, slots=True)
class Ours:
    """Cheaply built."""

    name: str
    count: int = 3
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Theirs:
    """As `dataclass` alone makes it."""

    name: str
    count: int = 3
    parts: tuple[str, ...] = ()


CALL = CallRecord(
    source=Source.CLIENT,
    endpoint="messages",
    model="claude-sonnet-5-5",
    profile=Profile.AGENTIC,
    stream=True,
    started_at=1_790_000_000.0,
    duration=2.0,
    outcome=Outcome.OK,
    usage=Usage(input=5),
    waits=(Wait(reason=Outcome.OVERLOADED, at=1.0, seconds=0.5),),
    trace=TraceRef(trace_id="a" * 32, span_id="b" * 16),
)


def test_fields_and_defaults_come_out_as_they_went_in() -> None:
    for given in ({"name": "a"}, {"name": "a", "count": 4}, {"parts": ("b",), "name": "a"}):
        ours, theirs = Ours(**given), Theirs(**given)
        assert [getattr(ours, field.name) for field in fields(ours)] == [
            getattr(theirs, field.name) for field in fields(theirs)
        ]
        assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
        assert hash(ours) == hash(theirs)
    assert Ours("a", 4, ("b",)) == Ours(name="a", count=4, parts=("b",))


def test_a_missing_and_an_unknown_argument_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"Ours\.__new__\(\) missing 1 required positional argument: 'name'"):
        Ours()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        Ours(name="a", size=1)  # type: ignore[call-arg]


def test_what_is_built_cannot_be_changed_and_carries_no_dict() -> None:
    ours = Ours(name="a")
    with pytest.raises(FrozenInstanceError):
        ours.name = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del ours.name
    assert type(ours) is Ours
    assert not hasattr(ours, "__dict__")


def test_records_are_compared_copied_replaced_and_pickled_by_their_fields() -> None:
    for again in (copy.copy(CALL), copy.deepcopy(CALL), pickle.loads(pickle.dumps(CALL)), replace(CALL)):  # noqa: S301
        assert again == CALL
        assert again is not CALL
        assert type(again) is CallRecord
    other = replace(CALL, usage=Usage(input=6))
    assert other != CALL
    assert replace(other, usage=CALL.usage) == CALL


@pytest.mark.parametrize("record", [AttemptRecord, CallRecord, RateLimit, TraceRef, Usage, Wait])
def test_every_record_is_built_that_way(record: type) -> None:
    assert "__init__" not in vars(record)
    assert vars(record)["__new__"].__module__ == record.__module__

"""`cheaply_built`: makes instances of a frozen dataclass cost what those of an open one do. Knows no class of ours.

The constructor that `dataclass` writes for a frozen class goes through ``object.__setattr__`` for each field. For a
record of twenty fields that costs more than everything that is done with it afterwards.
"""

from dataclasses import MISSING, fields
from typing import Any, TypeVar

_T = TypeVar("_T")


def cheaply_built(cls: type[_T]) -> type[_T]:
    """Give a frozen dataclass, with slots and plain defaults, another constructor; all else of it stays.

    It fills in an object of a twin class, which has the same slots and is not frozen, and has it change its class.
    """
    declared = fields(cls)  # type: ignore[arg-type]  # a dataclass, or this raises at once
    names = tuple(field.name for field in declared)
    scope: dict[str, Any] = {
        "_new": object.__new__,
        "_Twin": type(cls.__name__, (), {"__slots__": names}),
        **{f"_{field.name}": field.default for field in declared},
    }
    parameters = (field.name if field.default is MISSING else f"{field.name}=_{field.name}" for field in declared)
    lines = (
        f"def __new__(_cls, {', '.join(parameters)}):",
        "    self = _new(_Twin)",
        *(f"    self.{name} = {name}" for name in names),
        "    self.__class__ = _cls",
        "    return self",
    )
    exec("\n".join(lines), scope)  # noqa: S102  # as `dataclass` itself does: of nothing but the names in our source
    made = scope["__new__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__new__", cls.__module__
    made.__annotations__ = dict(cls.__init__.__annotations__)
    del cls.__init__
    setattr(cls, "__new__", made)  # noqa: B010  # mypy lets nobody assign it
    setattr(cls, "__reduce__", _reduce)  # noqa: B010  # the same
    return cls


def _reduce(self: Any) -> tuple[Any, ...]:
    # Copying and unpickling begin with an empty object by default, which the constructor does not make.
    return _again, (type(self), {field.name: getattr(self, field.name) for field in fields(self)})


def _again(cls: type[_T], values: dict[str, Any]) -> _T:
    return cls(**values)

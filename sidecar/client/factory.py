"""`Anthropic` and `AsyncAnthropic`: the SDK's own clients, observed from the start.

They stand in for the SDK's classes wherever those are called, asked about or named in annotations, and return real
clients of exactly those classes, since the SDK treats subclasses of its clients differently.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from sidecar.client.install import instrument
from sidecar.client.observer import Reporter
from sidecar.client.policies import PolicyLike
from sidecar.model import Profile

if TYPE_CHECKING:
    import anthropic

    class Anthropic(anthropic.Anthropic):
        """The SDK's client, observed."""

        def __init__(
            self,
            *,
            telemetry: Reporter | None = None,
            profile: Profile | str | None = None,
            policy: PolicyLike | None = None,
            **options: Any,
        ) -> None: ...

    class AsyncAnthropic(anthropic.AsyncAnthropic):
        """The SDK's async client, observed."""

        def __init__(
            self,
            *,
            telemetry: Reporter | None = None,
            profile: Profile | str | None = None,
            policy: PolicyLike | None = None,
            **options: Any,
        ) -> None: ...

else:

    class _Factory:
        """Makes clients of one of the SDK's classes, and is taken for that class."""

        def __init__(self, name: str) -> None:
            self.__name__ = self.__qualname__ = name
            self.__module__ = "sidecar"
            self.__doc__ = f"Make an anthropic.{name}, observed. Takes what it takes, `telemetry`, `profile`, `policy`."

        def __call__(
            self,
            *args: Any,
            telemetry: Reporter | None = None,
            profile: Profile | str | None = None,
            policy: PolicyLike | None = None,
            **options: Any,
        ) -> Any:
            real = self._real
            if "timeout" in options:
                from sidecar.client.limits import converted  # noqa: PLC0415  # needs httpx2, which the SDK has loaded

                options["timeout"] = converted(options["timeout"])
            return instrument(real(*args, **options), telemetry=telemetry, profile=profile, policy=policy)

        @property
        def _real(self) -> Any:
            return getattr(import_module("anthropic"), self.__name__)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def __instancecheck__(self, instance: object) -> bool:
            return isinstance(instance, self._real)

        def __subclasscheck__(self, subclass: type) -> bool:
            return issubclass(subclass, self._real)

        def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
            raise TypeError(
                f"sidecar.{self.__name__} cannot be subclassed: subclass anthropic.{self.__name__}, and hand its "
                "instances to sidecar.instrument()"
            )

        def __or__(self, other: Any) -> Any:
            return self._real | other

        def __ror__(self, other: Any) -> Any:
            return other | self._real

        def __repr__(self) -> str:
            return f"<sidecar.{self.__name__}>"

    Anthropic = _Factory("Anthropic")
    AsyncAnthropic = _Factory("AsyncAnthropic")

"""Replaces functions on classes and puts them back, now or as soon as their module is imported."""

import logging
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

_LOG: Final = logging.getLogger("sidecar.client")
_NOTHING: Final = object()


class Patches:
    """Functions that were replaced."""

    def __init__(self) -> None:
        self._done: list[tuple[type, str, Any, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._done)

    def replace(self, owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
        """Replace a function of a class by a wrapper of it."""
        original = owner.__dict__[name]
        wrapper = wrap(original)
        setattr(owner, name, wrapper)
        self._done.append((owner, name, original, wrapper))

    def add(self, owner: type, name: str, value: Any) -> None:
        """Give a class an attribute it has not."""
        setattr(owner, name, value)
        self._done.append((owner, name, _NOTHING, owner.__dict__[name]))

    def has(self, owner: type, name: str) -> bool:
        """Whether the function is replaced already."""
        return any(patch[:2] == (owner, name) for patch in self._done)

    def undo(self) -> None:
        """Put everything back. Where somebody has wrapped our wrapper since, it stays: it is inert."""
        for owner, name, original, wrapper in reversed(self._done):
            if owner.__dict__.get(name) is not wrapper:
                continue
            if original is _NOTHING:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        self._done.clear()


class OnImport:
    """A finder that calls ``then`` once a module has been imported, and is no finder of anything itself."""

    def __init__(self, module: str, then: Callable[[], None]) -> None:
        self._module = module
        self._then = then
        self._asking = False

    def begin(self) -> None:
        """Wait for the import."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Let the others find the module, and have its loader call us when it is done."""
        if name != self._module or self._asking:
            return None
        self._asking = True  # another finder of this kind asks us in turn
        try:
            for finder in sys.meta_path:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    self._follow(spec)
                    return spec
        finally:
            self._asking = False
        return None

    def _follow(self, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ != self._module:
                return
            loader.__dict__.pop("exec_module", None)
            self.end()
            try:
                self._then()
            except Exception:  # noqa: BLE001  # whatever it is, the import must not suffer
                _LOG.exception("could not observe %s; it works as if claude-sidecar were not there", self._module)

        try:
            loader.exec_module = exec_module
        except AttributeError:  # a loader without a __dict__
            _LOG.warning("cannot tell when %s has been imported; call sidecar.install() after it", self._module)

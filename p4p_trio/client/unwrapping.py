"""From received structures to the Python objects that users want, and back for a put.

Which class does it is told by the structure's normative type id. There is one helper object per channel, never one
per context: what a helper remembers (the choices of an enum) belongs to that PV alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from p4p_trio.data import Value
from p4p_trio.nt import NTScalar

__all__ = ["Helper", "Unwrapper", "helpers", "register"]


class Helper(Protocol):
    """What a class of `p4p_trio.nt` does for a client."""

    def unwrap(self, value: Value) -> Any:
        """The Python object for a received structure."""

    def assign(self, V: Value, py: Any) -> None:
        """Put *py* into the structure *V*, which is about to be sent."""


Classes = Mapping[str, Callable[[], Any]]

_classes: Final[dict[str, Callable[[], Any]]] = {
    "epics:nt/NTScalar:1.0": NTScalar,
    "epics:nt/NTScalarArray:1.0": NTScalar,
}


def register(id: str, make: Callable[[], Any]) -> None:
    """Let contexts that are made from now on unwrap structures of this type id.

    Args:
        id: e.g. "epics:nt/NTEnum:1.0".
        make: a class, or what else gives a `Helper` when called without arguments.
    """
    _classes[id] = make


def helpers(nt: Classes | bool | None = None) -> Classes:
    """The classes by type id that a context uses, for its argument *nt*.

    Raises:
        TypeError: *nt* is no such map, or has something in it that cannot be called.
    """
    if nt is False:
        return {}
    found = dict(_classes)
    if nt is None or nt is True:
        return found
    for id, make in dict(nt).items():
        if not callable(make):
            raise TypeError(f"nt[{id!r}] must be a class (or anything that makes a helper when called), not {make!r}")
        found[id] = make
    return found


class Unwrapper:
    """What one channel unwraps with; it makes its helper anew when the PV's type changes."""

    __slots__ = ("_classes", "_helper", "_id")

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._id: str | None = None
        self._helper: Helper | None = None

    def unwrap(self, value: Any) -> Any:
        """The Python object for *value*; a structure that nobody is registered for stays what it is."""
        if not isinstance(value, Value):
            return value
        helper = self._for(value)
        return value if helper is None else helper.unwrap(value)

    def assign(self, target: Value, py: Any) -> None:
        """Put *py* into *target*: a Value by its marked fields, a dict by paths, anything else as the type has it."""
        if isinstance(py, Value):
            target[None] = py
        elif isinstance(py, dict):
            for path, item in py.items():
                target[path] = item
        else:
            helper = self._for(target)
            if helper is None:
                target["value"] = py
            else:
                helper.assign(target, py)

    def _for(self, value: Value) -> Helper | None:
        id = value._type._field.id
        if id != self._id:
            self._id = id
            make = self._classes.get(id)
            self._helper = None if make is None else make()
        return self._helper

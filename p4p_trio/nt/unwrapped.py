"""Plain Python objects with the rest of the structure attached: what unwrapping gives."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from p4p_trio.data import Value

__all__ = ["Unwrapped", "ntbool", "ntfloat", "ntint", "ntnumericarray", "ntstr", "ntstringarray"]


class Unwrapped:
    """Adds alarm, time and the complete structure to a number, text or array.

    Results of arithmetic are plain; slices of an array keep the class and have the defaults below.

    Attributes:
        raw: the complete `Value`, or None for an object that did not come from one.
        timestamp: seconds since 1970 UTC, or None.
        raw_stamp: (seconds, nanoseconds), exact.
        severity: 0 none, 1 minor, 2 major, 3 invalid.
        status: where the alarm comes from (0 nowhere, 1 device, 2 driver, 3 record, 4 database, …).
        message: the alarm's text.
    """

    raw: Value | None = None
    timestamp: float | None = None
    raw_stamp: tuple[int, int] = (0, 0)
    severity: int = 0
    status: int = 0
    message: str = ""

    def _store(self, value: Value) -> Any:
        """Takes the attributes from *value*; returns itself."""
        self.raw = value
        self.severity = value.get("alarm.severity", 0)
        self.status = value.get("alarm.status", 0)
        self.message = value.get("alarm.message", "")
        seconds = value.get("timeStamp.secondsPastEpoch", 0)
        nanoseconds = value.get("timeStamp.nanoseconds", 0)
        self.raw_stamp = seconds, nanoseconds
        self.timestamp = seconds + nanoseconds * 1e-9
        return self

    def __str__(self) -> str:
        return f"{time.ctime(self.timestamp)} {self!r}"

    tostr = __str__


class ntfloat(Unwrapped, float):
    """A float with `.severity`, `.timestamp` and the others of `Unwrapped`."""


class ntint(Unwrapped, int):
    """An int with `.severity`, `.timestamp` and the others of `Unwrapped`."""


class ntbool(Unwrapped, int):
    """A truth value with `.severity`, `.timestamp` and the others of `Unwrapped`; as text "true" or "false".

    Python's bool cannot be subclassed, so this is an int that is 0 or 1.
    """

    def __new__(cls, value: object = False) -> ntbool:
        return int.__new__(cls, bool(value))

    def __repr__(self) -> str:
        return "true" if self else "false"


class ntstr(Unwrapped, str):
    """A str with `.severity`, `.timestamp` and the others of `Unwrapped`."""


class ntnumericarray(Unwrapped, np.ndarray[Any, np.dtype[Any]]):
    """A 1-d numpy array with `.severity`, `.timestamp` and the others of `Unwrapped`; read-only as received."""

    @classmethod
    def build(cls, array: npt.NDArray[Any]) -> ntnumericarray:
        """A view of *array*, which it does not copy."""
        if array.ndim != 1:
            raise ValueError(f"arrays of PVs are 1-d, this one is {array.ndim}-d")
        return array.view(cls)

    def __reduce__(self) -> Any:
        return _rebuilt, (np.array(self), self.raw)

    def __deepcopy__(self, memo: object) -> ntnumericarray:
        return _rebuilt(np.array(self), None if self.raw is None else self.raw._detached())


class ntstringarray(Unwrapped, list[str]):
    """A list of str with `.severity`, `.timestamp` and the others of `Unwrapped`."""


def _rebuilt(array: npt.NDArray[Any], raw: Value | None) -> ntnumericarray:
    made = array.view(ntnumericarray)
    if raw is not None:
        made._store(raw)
    return made

"""NTScalar and NTScalarArray: one value, or an array of them, with alarm, time and display information."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from p4p_trio.data import Type, Value
from p4p_trio.nt.common import Timestamp, alarm, annotate, timeStamp
from p4p_trio.nt.unwrapped import Unwrapped, ntbool, ntfloat, ntint, ntnumericarray, ntstr, ntstringarray

__all__ = ["NTScalar"]


class NTScalar:
    """A scalar or an array of scalars with its metadata, as nearly every PV is one.

        >>> temperature = NTScalar("d", display=True)
        >>> value = temperature.wrap({"value": 21.5, "display.units": "°C"}, severity=1)
        >>> temperature.unwrap(value) + 0.5
        22.0

    Args:
        valtype: type code of the value: "d", "s", "ai" …
        extra: `(name, type)` tuples for members beyond the standard.
        display: with limits, description, format and units, which tell clients how to show it.
        control: with limits and minimum step for those who write it.
        valueAlarm: with alarm and warning limits, their severities and a hysteresis.
        form: `display` has precision and form in place of the deprecated format.

    For bool and str, `display` is description and units, `control` and `valueAlarm` are left out.

    Attributes:
        type: the structure.
        type_class: class of the types that it makes.
        typeMap: what `unwrap` makes of each kind of Python object.
    """

    type_class: ClassVar[type[Type]] = Type

    typeMap: ClassVar[dict[type, Callable[[Any], Any]]] = {
        bool: ntbool,
        int: ntint,
        float: ntfloat,
        str: ntstr,
        np.ndarray: ntnumericarray.build,
        list: ntstringarray,
    }

    type: Type

    def __init__(
        self,
        valtype: str = "d",
        *,
        extra: Iterable[tuple[str, Any]] = (),
        display: bool = False,
        control: bool = False,
        valueAlarm: bool = False,
        form: bool = False,
    ) -> None:
        self.type = self.buildType(valtype, extra, display, control, valueAlarm, form)

    @classmethod
    def buildType(
        cls,
        valtype: str,
        extra: Iterable[tuple[str, Any]] = (),
        display: bool = False,
        control: bool = False,
        valueAlarm: bool = False,
        form: bool = False,
    ) -> Type:
        """The structure alone; arguments as for the class."""
        key = cls.type_class, valtype, bool(display), bool(control), bool(valueAlarm), bool(form)
        made = _standards.get(key)
        if made is None:
            made = _standards[key] = _standard(*key)
        extra = list(extra)
        return cls.type_class(extra, base=made) if extra else made

    def wrap(
        self,
        value: Any,
        *,
        timestamp: Timestamp | None = None,
        severity: int | None = None,
        message: str | None = None,
    ) -> Value:
        """A complete structure for *value*.

        Args:
            value: goes into the field "value"; a dict names fields itself. A Value, and what `unwrap` gave
                for one, is that Value, to which only the other arguments are applied.
            timestamp: seconds since 1970, a datetime, or (seconds, nanoseconds).
            severity: 0 none, 1 minor, 2 major, 3 invalid.
            message: the alarm's text.

        What is not given is neither set nor marked as changed: the time too, which posting fills in.
        """
        if isinstance(value, Unwrapped):
            if value.raw is not None:
                return annotate(value.raw, timestamp, severity, message)
            if timestamp is None:
                timestamp = value.timestamp
        elif isinstance(value, Value):
            return annotate(value, timestamp, severity, message)
        made = Value(self.type, value if isinstance(value, dict) else {"value": value})
        if timestamp is None and severity is None and message is None:
            return made
        return annotate(made, timestamp, severity, message)

    @classmethod
    def unwrap(cls, value: Value) -> Any:
        """The field "value" as a number, str, array or list that carries the rest as attributes; see `Unwrapped`.

        Raises:
            ValueError: if that field holds something else: a structure, or nothing.
        """
        if not isinstance(value, Value):
            raise TypeError(f"unwrap() takes a Value, not {value.__class__.__name__}")
        held = value.value
        make = cls.typeMap.get(held.__class__)
        if make is None:
            raise ValueError(f"Can't unwrap value of type {held.__class__.__name__}")
        return make(held)._store(value)

    def assign(self, V: Value, py: Any) -> None:
        """Puts *py* into the field "value" of *V*: what a client's put does."""
        V["value"] = py


# A hundred thousand PVs share a handful of types. Only valid arguments get here, so this stays small.
_standards: dict[tuple[type[Type], str, bool, bool, bool, bool], Type] = {}


def _standard(type_class: type[Type], valtype: str, display: bool, control: bool, valueAlarm: bool, form: bool) -> Type:
    members: list[tuple[str, Any]] = [("value", valtype), ("alarm", alarm), ("timeStamp", timeStamp)]
    element = valtype[-1:]
    numeric = element not in ("?", "s")
    if display:
        members.append(("display", ("S", None, _display(element, form) if numeric else _TEXT_DISPLAY)))
    if control and numeric:
        members.append(("control", ("S", None, [(name, element) for name in ("limitLow", "limitHigh", "minStep")])))
    if valueAlarm and numeric:
        members.append(("valueAlarm", ("S", None, _value_alarm(element))))
    kind = "NTScalarArray" if valtype.startswith("a") else "NTScalar"
    return type_class(members, id=f"epics:nt/{kind}:1.0")


_TEXT_DISPLAY = [("description", "s"), ("units", "s")]
_FORM = ("S", "enum_t", [("index", "i"), ("choices", "as")])


def _display(element: str, form: bool) -> list[tuple[str, Any]]:
    shown: list[tuple[str, Any]] = [("precision", "i"), ("form", _FORM)] if form else [("format", "s")]
    return [("limitLow", element), ("limitHigh", element), ("description", "s"), *shown, ("units", "s")]


def _value_alarm(element: str) -> list[tuple[str, Any]]:
    limits = ("lowAlarmLimit", "lowWarningLimit", "highWarningLimit", "highAlarmLimit")
    severities = ("lowAlarmSeverity", "lowWarningSeverity", "highWarningSeverity", "highAlarmSeverity")
    return [
        ("active", "?"),
        *((name, element) for name in limits),
        *((name, "i") for name in severities),
        ("hysteresis", "d"),
    ]

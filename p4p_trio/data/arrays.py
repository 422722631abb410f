"""What an array field makes of a Python object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from p4p_trio.data.field import DTYPES, scalar
from p4p_trio.data.mistakes import InvalidType, InvalidValue, OutOfRange, at
from p4p_trio.data.scalars import C_NAMES, text

__all__ = ["ARRAY_TABLE", "code_for", "lasting", "numeric", "strings"]

EMPTY: Final[dict[str, npt.NDArray[Any]]] = {code: scalar(code).default for code in DTYPES}
"""The arrays of fields to which nothing was assigned; an empty array is always this one."""

_KNOWN_CODES: Final = {dtype.str[1:]: code for code, dtype in DTYPES.items()}


def numeric(code: str, value: Any, strict: bool, path: str) -> npt.NDArray[Any]:
    """A read-only array of the field's dtype.

    *value* is copied, unless it is an array of that dtype which nobody can change (see `lasting`).
    """
    dtype = DTYPES[code]
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            raise _not_flat(code, value, path)
        plain = np.asarray(value)
        if plain.dtype == dtype:
            if lasting(plain):
                return plain
            return _frozen(np.array(plain, dtype)) if plain.size else EMPTY[code]
        if strict:
            _check(plain, dtype, path)
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            array = np.array(value, dtype)
    except OverflowError as exc:
        raise OutOfRange(f"{at(path)}{exc}") from None
    except (TypeError, ValueError) as exc:
        kind = TypeError if isinstance(exc, TypeError) else ValueError
        raise kind(f"{at(path)}{exc}") from None
    if array.ndim != 1:
        raise _not_flat(code, value, path)
    if strict and not isinstance(value, np.ndarray) and dtype.kind in "iu":
        _check(np.asarray(value), dtype, path)
    return _frozen(array) if array.size else EMPTY[code]


def strings(code: str, value: Any, strict: bool, path: str) -> tuple[str, ...]:
    """A tuple of str; elements are str or bytes."""
    if not isinstance(value, Sequence | np.ndarray) or (isinstance(value, np.ndarray) and value.ndim == 0):
        raise InvalidType(f"{at(path)}Must assign sequence to string array, not {type(value).__name__}")
    found: list[str] = []
    for n, element in enumerate(value):
        if not isinstance(element, str | bytes):
            kind = type(element).__name__
            raise InvalidType(f"{at(f'{path}[{n}]')}Assign StringA from sequence of str|bytes, not {kind}")
        found.append(text(element, path))
    return tuple(found)


def lasting(array: npt.NDArray[Any]) -> bool:
    """Whether *array* can be shared instead of copied: nobody can change what it shows.

    That is a contiguous read-only array which owns its data, or is a view of one, or of bytes.
    """
    if not array.flags.c_contiguous:
        return False
    link: Any = array
    while isinstance(link, np.ndarray):
        if link.flags.writeable:
            return False
        if link.flags.owndata:
            return True
        link = link.base
    return isinstance(link, bytes)


def code_for(dtype: np.dtype[Any]) -> str | None:
    """The array code whose elements *dtype* describes, in whatever byte order; None if there is none."""
    if dtype.kind in "SU":
        return "as"
    if dtype.kind == "f" and dtype.itemsize == 2:
        return "af"
    return _KNOWN_CODES.get(dtype.str[1:])


def _check(array: npt.NDArray[Any], dtype: np.dtype[Any], path: str) -> None:
    """Refuses elements that integers of *dtype* cannot hold exactly."""
    if dtype.kind not in "iu" or not array.size or np.can_cast(array.dtype, dtype):
        return
    limits = np.iinfo(dtype)
    name = _name(_KNOWN_CODES[dtype.str[1:]])[:-2]
    if array.dtype.kind in "iu":
        bad = (array < limits.min) | (array > limits.max)
        why = f"is out of range of {name}"
    elif array.dtype.kind == "f":
        array = array.astype(np.float64) if array.dtype.itemsize < 8 else array
        # 2.0**63 is the float above every int64; comparing with limits.max would round up to it.
        inside = (array >= float(limits.min)) & (array < float(limits.max) + (dtype.itemsize < 8))
        bad = ~inside | (np.trunc(array) != array)
        why = f"is not an integer that {name} can hold"
    else:
        return
    if bad.any():
        first = int(np.argmax(bad))
        raise OutOfRange(f"{at(f'{path}[{first}]')}{array[first]} {why}")


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _not_flat(code: str, value: Any, path: str) -> InvalidValue:
    what = f"{value.ndim}-d array" if isinstance(value, np.ndarray) else type(value).__name__
    return InvalidValue(f"{at(path)}Only 1-d array can be assigned to {_name(code)}, not {what}")


def _name(code: str) -> str:
    return f"{C_NAMES[code[1:]]}[]"


ARRAY_TABLE: Final[dict[str, Callable[[str, Any, bool, str], Any]]] = {**dict.fromkeys(DTYPES, numeric), "as": strings}

"""What a scalar field makes of a Python object.

Each function takes (code, object, strict, path) and returns an item, or raises an error that names the field.
Strictly, an integer that does not fit and a float with a fraction are refused by integer fields; otherwise
they wrap and truncate as C does, which is what p4p does.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from p4p_trio.data.field import INTEGERS
from p4p_trio.data.mistakes import OutOfRange, at

__all__ = ["C_NAMES", "INT64_MAX", "RANGES", "SCALAR_TABLE", "text"]

C_NAMES: Final = {
    "?": "bool",
    "b": "int8_t",
    "h": "int16_t",
    "i": "int32_t",
    "l": "int64_t",
    "B": "uint8_t",
    "H": "uint16_t",
    "I": "uint32_t",
    "L": "uint64_t",
    "f": "float",
    "d": "double",
    "s": "string",
    "v": "any",
    "S": "struct",
    "U": "union",
}
"""How texts call the codes, as p4p and pvxs do; an array adds "[]"."""

_BITS: Final = {"b": 8, "h": 16, "i": 32, "l": 64}
RANGES: Final = {
    **{code: (-(1 << n - 1), (1 << n - 1) - 1) for code, n in _BITS.items()},
    **{code.upper(): (0, (1 << n) - 1) for code, n in _BITS.items()},
}
"""Least and greatest integer, by code."""
_LOWEST: Final = -(1 << 63)
_HIGHEST: Final = (1 << 64) - 1
INT64_MAX: Final = (1 << 63) - 1

_INTEGER: Final = re.compile(r"\s*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))\s*", re.ASCII)
_HEX_FLOAT: Final = re.compile(r"\s*[+-]?0[xX]", re.ASCII)
_FLOAT32: Final = struct.Struct("<f")


def _bool(code: str, value: Any, strict: bool, path: str) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return _bounded(int(value), path) != 0
    if isinstance(value, float | np.floating):
        raise ValueError(f"{at(path)}Unable to assign bool with Real {value!r}")
    if isinstance(value, str | bytes):
        text = _decoded(value)
        if text in ("true", "false"):
            return text == "true"
        raise ValueError(f'{at(path)}Unable to assign bool with String "{text}"; it takes "true" or "false"')
    raise _unfit(code, value, path)


def _integer(code: str, value: Any, strict: bool, path: str) -> int:
    low, high = RANGES[code]
    if value.__class__ is int:
        number = value
    elif isinstance(value, int | np.integer | np.bool_):
        number = int(value)
    elif isinstance(value, float | np.floating):
        return _from_float(code, float(value), strict, path)
    elif isinstance(value, str | bytes):
        number = _parse_integer(_decoded(value), path)
        if low < 0 and number > INT64_MAX:
            raise OutOfRange(f"{at(path)}{number} is out of range of {C_NAMES[code]} ({low} to {high})")
    else:
        raise _unfit(code, value, path)
    if low <= number <= high:
        return number
    if strict:
        raise OutOfRange(f"{at(path)}{number} is out of range of {C_NAMES[code]} ({low} to {high})")
    return _wrapped(_bounded(number, path), low, high)


def _from_float(code: str, value: float, strict: bool, path: str) -> int:
    low, high = RANGES[code]
    number = int(value) if math.isfinite(value) else None
    if strict and number != value:
        raise ValueError(f"{at(path)}{value!r} is no integer, so {C_NAMES[code]} cannot hold it")
    if number is not None and low <= number <= high:
        return number
    if strict:
        raise OutOfRange(f"{at(path)}{value!r} is out of range of {C_NAMES[code]} ({low} to {high})")
    # C leaves open what becomes of floats beyond 64 bits; this is what x86-64 makes of them.
    if low == 0 and value > _HIGHEST:
        number = 0
    elif number is None or not _LOWEST <= number <= (INT64_MAX if low else _HIGHEST):
        number = _LOWEST
    return _wrapped(number, low, high)


def _float32(code: str, value: Any, strict: bool, path: str) -> float:
    return rounded(_float64(code, value, strict, path))


def rounded(value: float) -> float:
    """The float32 nearest to *value*, as a float."""
    try:
        return _FLOAT32.unpack(_FLOAT32.pack(value))[0]  # type: ignore[no-any-return]  # "<f" is one float
    except OverflowError:
        return math.copysign(math.inf, value)


def _float64(code: str, value: Any, strict: bool, path: str) -> float:
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, int | np.integer | np.bool_):
        return float(_bounded(int(value), path))
    if isinstance(value, str | bytes):
        return _parse_float(_decoded(value), path)
    raise _unfit(code, value, path)


def _string(code: str, value: Any, strict: bool, path: str) -> str:
    if isinstance(value, str | bytes):
        return text(value, path)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(_bounded(int(value), path))
    if isinstance(value, float):
        # All digits: what is read back is the same number. (numpy's float64 is a float, but its repr is not.)
        return repr(float(value))
    if isinstance(value, np.floating):
        return str(value)
    raise _unfit(code, value, path)


def text(value: str | bytes, path: str) -> str:
    """An exact str that can be encoded; bytes that are not UTF-8 are kept by surrogateescape.

    Raises:
        ValueError: for a str with surrogates that stand for no byte.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if value.__class__ is not str:
        value = str.__str__(value)
    if not value.isascii():
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as exc:
            raise ValueError(f"{at(path)}{value!r} cannot be encoded: {exc.reason}") from None
    return value


def _decoded(value: str | bytes) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str.__str__(value)


def _parse_integer(source: str, path: str) -> int:
    found = _INTEGER.fullmatch(source)
    if found is None:
        raise ValueError(f'{at(path)}Invalid input : "{source}" is no integer')
    sign, hexadecimal, octal, decimal = found.groups()
    # As C's strtol with base 0: 0x is hexadecimal, a leading 0 octal.
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    return _bounded(-number if sign == "-" else number, path)


def _parse_float(source: str, path: str) -> float:
    try:
        if "_" in source:
            raise ValueError
        number = float.fromhex(source) if _HEX_FLOAT.match(source) else float(source)
    except ValueError:
        raise ValueError(f'{at(path)}Invalid input : "{source}" is no number') from None
    except OverflowError:
        number = math.inf
    if math.isinf(number) and "inf" not in source.lower():
        raise OutOfRange(f'{at(path)}Out of range : "{source}"')
    return number


def _bounded(number: int, path: str) -> int:
    """*number*, unless no 64 bits can hold it."""
    if number > _HIGHEST:
        raise OutOfRange(f"{at(path)}{number} is beyond 64 bits: int too big to convert")
    if number < _LOWEST:
        raise OutOfRange(f"{at(path)}{number} is beyond 64 bits: long out of range low")
    return number


def _wrapped(number: int, low: int, high: int) -> int:
    span = high - low
    number &= span
    return number - span - 1 if number > high else number


def _unfit(code: str, value: object, path: str) -> TypeError:
    return TypeError(f"{at(path)}Can't assign {C_NAMES[code]} (scalar) field with {type(value).__name__}")


SCALAR_TABLE: Final[dict[str, Callable[[str, Any, bool, str], Any]]] = {
    "?": _bool,
    **dict.fromkeys(INTEGERS, _integer),
    "f": _float32,
    "d": _float64,
    "s": _string,
}

"""How single things are spelled on a terminal: numbers, texts, times, and what strangers say.

Numbers are printed with all their digits, and only those: 5, 123.456, 1e+22. (pvxget cuts them after six.)
Letters of any language are printed as they are; everything that a terminal could obey is escaped as in C.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

__all__ = ["clock", "escaped", "joined", "number", "plain", "quoted", "scalar", "stamp"]

_ESCAPES: Final = {ord(char): f"\\{letter}" for char, letter in zip("\a\b\f\n\r\t\v\\", "abfnrtv\\", strict=True)}
_QUOTED: Final = _ESCAPES | {ord('"'): '\\"'}


def number(value: float, code: str = "d") -> str:
    """A number, as short as it can be written without loss.

    Args:
        value: the number.
        code: its type code, bare or of an array: "f" needs fewer digits than "d".
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    text = str(np.float32(value)) if code.endswith("f") else repr(float(value))
    return text.removesuffix(".0")


def scalar(code: str, value: Any) -> str:
    """A bool, a number, or a text in quotes."""
    if isinstance(value, str):
        return quoted(value)
    return number(value, code)


def quoted(text: str) -> str:
    """A text in double quotes."""
    return f'"{_escape(text, _QUOTED)}"'


def escaped(text: object) -> str:
    """What a stranger wrote (a PV's name, an error's text), on one line and harmless to a terminal."""
    return _escape(str(text), _ESCAPES)


def plain(text: object) -> str:
    """As `escaped`, several lines staying several lines."""
    return "\n".join(map(escaped, str(text).splitlines()))


def _escape(text: str, table: dict[int, str]) -> str:
    if text.isascii() and text.isprintable() and not table.keys() & set(map(ord, text)):
        return text
    return "".join(_shown(char, table) for char in text)


def _shown(char: str, table: dict[int, str]) -> str:
    known = table.get(ord(char))
    if known is not None:
        return known
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def stamp(seconds: int, nanoseconds: int, digits: int = 9) -> str:
    """A time stamp as local time; "<undefined>" where there is none."""
    if not seconds and not nanoseconds:
        return "<undefined>"
    try:
        local = time.localtime(seconds)
    except (OverflowError, ValueError, OSError):
        return f"<{seconds} s>"
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', local)}.{nanoseconds:09d}"[: 20 + digits]


def clock() -> str:
    """The present time, as `stamp`."""
    return stamp(*divmod(time.time_ns(), 1_000_000_000))


def joined(words: Iterable[object]) -> str:
    """Words as a list in a sentence."""
    return ", ".join(map(escaped, words))

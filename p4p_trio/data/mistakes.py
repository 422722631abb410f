"""Exceptions for mistakes of the calling program that programs already catch under two names.

A wrong value is a ValueError or a TypeError, as everywhere in Python. p4p raises RuntimeError or
OverflowError in some of these places and programs written for it catch that, so these are both.
"""

from __future__ import annotations

__all__ = ["InvalidType", "InvalidValue", "OutOfRange", "at"]


class InvalidValue(ValueError, RuntimeError):
    """A value, specification or request that cannot be used."""


class InvalidType(TypeError, RuntimeError):
    """An object of a kind that cannot be used here."""


class OutOfRange(ValueError, OverflowError):
    """A number that the field cannot hold."""


def at(path: str) -> str:
    """How an error text begins: the field that it is about."""
    return f"field {path!r}: " if path else ""

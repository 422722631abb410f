"""How programs may spell the path of a field."""

from __future__ import annotations

from typing import Any

__all__ = ["spelled"]


def spelled(path: Any) -> str:
    """*path* as an exact str: str, bytes as p4p takes them, or None, which is the structure itself.

    Raises:
        TypeError: for anything else.
    """
    if path.__class__ is str:
        return path
    if path is None:
        return ""
    if isinstance(path, bytes):
        return path.decode("utf-8", "surrogateescape")
    if isinstance(path, str):
        return str.__str__(path)
    raise TypeError(f"a field name must be str, not {path.__class__.__name__}")

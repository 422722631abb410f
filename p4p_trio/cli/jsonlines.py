"""Values as JSON, one object a line, that every parser accepts.

What JSON has no word for follows these rules:

* NaN and the infinities are the texts "NaN", "Infinity" and "-Infinity". `float()` of Python and `Number()` of
  JavaScript make numbers of them again, and so does `p4p-trio put`.
* Integers keep all their digits, also beyond 2**53, where some parsers lose the last ones.
* A union is an object with one member, named as the one that is selected; null where none is.
* An any is what it holds.
* Characters beyond ASCII are escaped, so the encoding of the terminal or file does not matter. Bytes that are not
  UTF-8 are lone surrogates, as Python's surrogateescape has them.
* Where a pvRequest selects fields, only these are there: nobody knows the others.
* Arrays that `-#` has cut are listed under "cut" with their true lengths.
"""

from __future__ import annotations

import json
import math
from collections.abc import Set
from typing import Any

import numpy as np

from p4p_trio.cli.shape import Spec, below, element, held, kind, spec_at
from p4p_trio.data import Value

__all__ = ["content", "dumps"]


def dumps(record: dict[str, Any]) -> str:
    """One line."""
    return json.dumps(record, allow_nan=False, separators=(", ", ": "))


def content(value: Any, limit: int = 0, only: Set[str] | None = None) -> tuple[Any, dict[str, int]]:
    """A value as what `json` can write, and the true lengths of the arrays that were cut.

    Args:
        value: a Value, or what else a call has answered.
        limit: elements of each array that are kept; 0: all.
        only: the leaves of the structure that are wanted; None: all.
    """
    cut: dict[str, int] = {}
    if isinstance(value, Value):
        spec = spec_at(value, "")
        return _any(value, "", spec if only is None else _thinned(spec, "", only), limit, cut), cut
    if isinstance(value, np.ndarray | list | tuple):
        return _array(value, "d", "", limit, cut), cut
    return _scalar(value, "d"), cut


def _thinned(spec: Spec, path: str, only: Set[str]) -> Spec:
    """The structure without the leaves that are not wanted, and without structures of which nothing is left."""
    kept = []
    for name, member in spec[2]:
        inside = below(path, name)
        if kind(member) == "S":
            member = _thinned(member, inside, only)
            if member[2]:
                kept.append((name, member))
        elif inside in only:
            kept.append((name, member))
    return (*spec[:2], kept)


def _any(value: Value, path: str, spec: Spec, limit: int, cut: dict[str, int]) -> Any:
    code = kind(spec)
    if code == "S":
        return {name: _any(value, below(path, name), member, limit, cut) for name, member in spec[2]}
    if code in ("U", "v"):
        inside = held(value, path, spec)
        if inside is None:
            return None
        made = _any(value, inside[1], inside[2], limit, cut)
        return {inside[0]: made} if code == "U" else made
    if code in ("aS", "aU", "av"):
        made = []
        for n, item in enumerate(_kept(value[path], path, limit, cut)):
            at = element(path, n)
            made.append(None if item is None else _any(value, at, spec_at(value, at), limit, cut))
        return made
    item = value[path]
    return _array(item, code, path, limit, cut) if code.startswith("a") else _scalar(item, code)


def _array(items: Any, code: str, path: str, limit: int, cut: dict[str, int]) -> list[Any]:
    kept = _kept(items, path, limit, cut)
    if isinstance(kept, np.ndarray) and kept.dtype.kind in "iub":
        plain: list[Any] = kept.tolist()
        return plain
    if isinstance(kept, np.ndarray) and kept.dtype == np.float64 and np.isfinite(kept).all():
        return list(kept.tolist())
    return [_scalar(item, code) for item in kept]


def _kept(items: Any, path: str, limit: int, cut: dict[str, int]) -> Any:
    if limit and len(items) > limit:
        cut[path] = len(items)
        return items[:limit]
    return items


def _scalar(item: Any, code: str) -> Any:
    if isinstance(item, np.generic):
        item = float(str(item)) if isinstance(item, np.float32) else item.item()
    if isinstance(item, float):
        if math.isnan(item):
            return "NaN"
        if math.isinf(item):
            return "Infinity" if item > 0 else "-Infinity"
        # The shortest number that is this float32, in place of the digits of its float64.
        return float(str(np.float32(item))) if code.endswith("f") else item
    return item

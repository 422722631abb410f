"""Values as pvxget and pvxmonitor print them: what changed, a line for each field, or the whole as a tree.

    value double = 5                            struct "epics:nt/NTScalar:1.0" {
    alarm.severity int32_t = 0                      double value = 5

Fields are named by the paths that `Value` understands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from p4p_trio.cli.shape import Spec, below, changed_leaves, element, held, kind, leaves, name_of, spec_at
from p4p_trio.cli.spelling import scalar
from p4p_trio.data import Value

__all__ = ["array", "delta", "tree"]

INDENT: Final = "    "
_COMPOUND_ARRAYS: Final = ("aS", "aU", "av")


def array(code: str, items: Any, limit: int) -> str:
    """A scalar array: `{5}[1, 2, ...]`.

    Args:
        code: its type code.
        items: what it holds.
        limit: elements that are shown; 0: all.
    """
    shown = items[:limit] if limit else items
    words = [scalar(code, item) for item in shown]
    if len(shown) < len(items):
        words.append("...")
    return f"{{{len(items)}}}[{', '.join(words)}]"


def delta(value: Any, limit: int = 0) -> Iterator[str]:
    """A line for each field that is marked as changed.

    Args:
        value: a Value, or what else a call has answered.
        limit: elements of each array that are shown; 0: all.
    """
    if not isinstance(value, Value):
        yield bare(value, limit)
        return
    for path, spec in changed_leaves(value):
        yield from _delta(value, path, spec, limit)


def bare(value: Any, limit: int) -> str:
    """A reply that is no structure: nothing, a scalar or an array."""
    if value is None:
        return "null"
    if isinstance(value, str | bool | int | float):
        return scalar("d", value)
    return array("d", value, limit)


def _delta(value: Value, path: str, spec: Spec, limit: int) -> Iterator[str]:
    code = kind(spec)
    line = f"{path} {name_of(spec, id=code == 'S')}"
    if code in ("U", "v"):
        yield line
        inside = held(value, path, spec)
        if inside is None:
            yield f"{path}-> null"
        else:
            yield from _delta(value, inside[1], inside[2], limit)
    elif code in _COMPOUND_ARRAYS:
        items = value[path]
        yield line
        shown = min(limit, len(items)) if limit else len(items)
        for n in range(shown):
            if items[n] is None:
                yield f"{element(path, n)} null"
            else:
                yield from _delta(value, element(path, n), spec_at(value, element(path, n)), limit)
        if shown < len(items):
            yield f"{path}[{shown}] ... {len(items) - shown} more"
    elif code == "S":
        yield line
        for leaf, inner in leaves(spec, path):
            yield from _delta(value, leaf, inner, limit)
    else:
        yield f"{line} = {_plain(value, path, code, limit)}"


def _plain(value: Value, path: str, code: str, limit: int) -> str:
    item = value[path]
    return array(code, item, limit) if code.startswith("a") else scalar(code, item)


def tree(value: Any, limit: int = 0) -> Iterator[str]:
    """The whole value over several lines; arguments as for `delta`."""
    if not isinstance(value, Value):
        yield bare(value, limit)
    else:
        yield from _tree(value, "", spec_at(value, ""), "", "", "", limit)


# *lead* is what comes before a field on its first line, indentation included; *name* is the member's name.


def _tree(value: Value, path: str, spec: Spec, lead: str, name: str, indent: str, limit: int) -> Iterator[str]:
    code = kind(spec)
    after = f" {name}" if name else ""
    if code == "S":
        if not spec[2]:
            yield f"{lead}{name_of(spec)} {{}}{after}"
            return
        yield f"{lead}{name_of(spec)} {{"
        deeper = indent + INDENT
        for member, inner in spec[2]:
            yield from _tree(value, below(path, member), inner, deeper, member, deeper, limit)
        yield f"{indent}}}{after}"
    elif code in ("U", "v"):
        inside = held(value, path, spec)
        if inside is None:
            yield f"{lead}{name_of(spec)}{after} null"
        else:
            dot = f".{inside[0]}" if inside[0] else ""
            yield from _tree(value, inside[1], inside[2], f"{lead}{name_of(spec)}{after}{dot} ", "", indent, limit)
    elif code in _COMPOUND_ARRAYS:
        yield from _elements(value, path, spec, f"{lead}{name_of(spec, id=False)}{after} = ", indent, limit)
    else:
        yield f"{lead}{name_of(spec)}{after} = {_plain(value, path, code, limit)}"


def _elements(value: Value, path: str, spec: Spec, lead: str, indent: str, limit: int) -> Iterator[str]:
    items = value[path]
    if not items:
        yield f"{lead}{{0}}[]"
        return
    yield f"{lead}{{{len(items)}}}["
    deeper = indent + INDENT
    for n, item in enumerate(items):
        if limit and n == limit:
            yield f"{deeper}..."
            break
        inside = element(path, n)
        if item is None:
            yield f"{deeper}null"
        elif kind(spec) == "av":  # an element of an any array is shown as what it holds, without the word any
            yield from _tree(value, f"{inside}->", spec_at(value, f"{inside}->"), deeper, "", deeper, limit)
        else:
            yield from _tree(value, inside, spec_at(value, inside), deeper, "", deeper, limit)
    yield f"{indent}]"

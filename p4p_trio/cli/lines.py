"""Values as people read them: one line for each PV, as pvget prints normative types.

    demo:ai   2026-11-22 20:00:22.036  123.456
    demo:mode 2026-11-22 20:00:22.036  (1) Standby
    demo:hot  2026-11-22 20:00:22.036  97 MAJOR DEVICE too hot

A table follows its line; what is no normative type is printed as a tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from p4p_trio.cli.shape import held, kind, spec_at
from p4p_trio.cli.spelling import escaped, number, stamp
from p4p_trio.cli.text import bare, tree
from p4p_trio.data import Value

__all__ = ["WIDTH", "line"]

WIDTH: Final = 23
"""Characters of a time stamp with milliseconds."""
_SEVERITIES: Final = ("", "MINOR", "MAJOR", "INVALID", "UNDEFINED")
_SOURCES: Final = ("", "DEVICE", "DRIVER", "RECORD", "DB", "CONF", "UNDEFINED", "CLIENT")


def line(name: str, value: Any, limit: int = 0, width: int = 0) -> Iterator[str]:
    """The line of one PV, and what follows it.

    Args:
        name: the PV.
        value: a Value, or what else a call has answered.
        limit: elements of each array, and rows of a table, that are shown; 0: all.
        width: pad the name to so many characters.
    """
    head = escaped(name).ljust(width)
    if not isinstance(value, Value):
        yield f"{head} {bare(value, limit)}"
        return
    when = stamp(value.get("timeStamp.secondsPastEpoch", 0), value.get("timeStamp.nanoseconds", 0), 3)
    shown = _shown(value, limit)
    if _is_table(value):
        yield f"{head} {when}"
        yield from _table(value, limit)
    elif shown is None:
        yield f"{head} {when}".rstrip() if when != "<undefined>" else head.rstrip()
        yield from tree(value, limit)
    else:
        yield " ".join(filter(None, [head, when.ljust(WIDTH), shown, *_alarm(value)])).rstrip()


def _alarm(value: Value) -> list[str]:
    severity = value.get("alarm.severity", 0)
    if not severity:
        return []
    status = value.get("alarm.status", 0)
    return [_word(_SEVERITIES, severity), _word(_SOURCES, status), escaped(value.get("alarm.message", ""))]


def _word(words: Sequence[str], n: int) -> str:
    return words[n] if 0 <= n < len(words) else str(n)


def _shown(value: Value, limit: int) -> str | None:
    """The field "value" on one line; None if that cannot be done."""
    if not value.has("value"):
        return None
    path, spec = "value", spec_at(value, "value")
    if kind(spec) in ("U", "v"):
        inside = held(value, path, spec)
        if inside is None:
            return "null"
        _, path, spec = inside
    if kind(spec) == "S":
        return _enum(value) if {"index", "choices"} <= {name for name, _ in spec[2]} else None
    if not isinstance(spec, str) or spec == "av":
        return None
    item = value[path]
    if not spec.startswith("a"):
        return _cell(item, spec)
    cells = [_cell(each, spec) for each in (item[:limit] if limit else item)]
    if len(cells) < len(item):
        cells.append("...")
    return f"[{','.join(cells)}]"


def _cell(item: Any, spec: str) -> str:
    return escaped(item) if isinstance(item, str) else number(item, spec)


def _enum(value: Value) -> str:
    index, choices = value["value.index"], value["value.choices"]
    return f"({index}) {escaped(choices[index])}" if 0 <= index < len(choices) else f"({index})"


def _is_table(value: Value) -> bool:
    return value.getID().startswith("epics:nt/NTTable:")


def _table(value: Value, limit: int) -> Iterator[str]:
    """The columns of a table, right-aligned under their labels."""
    columns = []
    labels = value.get("labels", [])
    for n, name in enumerate(value["value"].keys()):
        spec = spec_at(value, f"value.{name}")
        items = value[f"value.{name}"]
        cells = [_cell(item, spec) if isinstance(spec, str) else "?" for item in (items[:limit] if limit else items)]
        if len(cells) < len(items):
            cells.append("...")
        columns.append([escaped(labels[n]) if n < len(labels) else name, *cells])
    rows = max(map(len, columns), default=0)
    widths = [max(map(len, column)) for column in columns]
    for n in range(rows):
        cells = [column[n] if n < len(column) else "" for column in columns]
        yield " ".join(cell.rjust(size) for cell, size in zip(cells, widths, strict=True)).rstrip()

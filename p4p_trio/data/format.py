"""Types and values as text, in the one form that EPICS users know from p4p and pvxs.

struct "my:id" {
    int32_t i = 5
    union "uid" u.x int32_t = 0
    any v struct {
        int32_t x = 5
    }
    struct[] as_ = {2}[
        struct {
            int32_t e = 1
        }
        null
    ]
    double[] ad = {?}[]
} name
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from p4p_trio.data.field import Field, scalar
from p4p_trio.data.scalars import C_NAMES

if TYPE_CHECKING:
    from p4p_trio.data.value import Value

__all__ = ["type_text", "value_text"]

_INDENT: Final = "    "
_ANY: Final = scalar("v")
_ESCAPES: Final = {
    **{n: f"\\x{n:02x}" for n in (*range(32), *range(127, 256))},
    **{ord(char): f"\\{letter}" for char, letter in zip("\a\b\f\n\r\t\v\\'\"", "abfnrtv\\'\"", strict=True)},
}


def type_text(field: Field, limit: int = 0) -> str:
    """*field* over several lines, without values; *limit* as `value_text`."""
    lines: list[str] = []
    _type_lines(field, "", "", lines)
    return _cut(lines, limit)


def value_text(value: Value, limit: int = 0) -> str:
    """*value* over several lines.

    Args:
        limit: cut after so many characters and append "..."; 0 or less: do not cut.
    """
    lines: list[str] = []
    _structure(value._type._field, value._slots, value._offset, "", "", "", lines)
    return _cut(lines, limit)


def _cut(lines: list[str], limit: int) -> str:
    text = "\n".join(lines) + "\n"
    return f"{text[:limit]}..." if 0 < limit < len(text) else text


def _kind(field: Field) -> str:
    """How a field's type is called: `double[]`, `struct "alarm_t"`."""
    name = f"{C_NAMES[field.code[1:]]}[]" if field.code.startswith("a") else C_NAMES[field.code]
    return f'{name} "{field.id}"' if field.id else name


def _type_lines(field: Field, name: str, indent: str, lines: list[str]) -> None:
    described = field if field.element is None else field.element
    after = f" {name}" if name else ""
    if described.code not in ("S", "U"):
        lines.append(f"{indent}{_kind(field)}{after}")
    elif not described.names:
        lines.append(f"{indent}{_kind(field)} {{}}{after}")
    else:
        lines.append(f"{indent}{_kind(field)} {{")
        for member_name, member in zip(described.names, described.members, strict=True):
            _type_lines(member, member_name, indent + _INDENT, lines)
        lines.append(f"{indent}}}{after}")


# Everything below appends to *lines* what stands at one place: *lead* is what has to come before it on its
# first line, indentation included, *name* the member's name ("" for elements and what unions and anys hold).


def _structure(
    field: Field, slots: list[Any], position: int, lead: str, name: str, indent: str, lines: list[str]
) -> int:
    after = f" {name}" if name else ""
    if not field.names:
        lines.append(f"{lead}{_kind(field)} {{}}{after}")
        return position + 1
    lines.append(f"{lead}{_kind(field)} {{")
    inside = indent + _INDENT
    position += 1
    for member_name, member in zip(field.names, field.members, strict=True):
        if member.code == "S":
            position = _structure(member, slots, position, inside, member_name, inside, lines)
        else:
            _item(member, slots[position], inside, member_name, inside, lines)
            position += 1
    lines.append(f"{indent}}}{after}")
    return position


def _item(field: Field, item: Any, lead: str, name: str, indent: str, lines: list[str]) -> None:
    code = field.code
    spaced = f" {name}" if name else ""
    if code == "S":
        _structure(field, item._slots, item._offset, lead, name, indent, lines)
    elif code == "U":
        if item is None or item.index < 0:
            lines.append(f"{lead}{_kind(field)}{spaced} null")
        else:
            chosen = f"{lead}{_kind(field)}{spaced}.{field.names[item.index]} "
            _item(field.members[item.index], item.item, chosen, "", indent, lines)
    elif code == "v":
        if item is None or item.field is None:
            lines.append(f"{lead}any{spaced} null")
        else:
            _item(item.field, item.item, f"{lead}any{spaced} ", "", indent, lines)
    elif code in ("aS", "aU", "av"):
        _elements(field, item, f"{lead}{_kind(field)}{spaced} = ", indent, lines)
    else:
        lines.append(f"{lead}{_kind(field)}{spaced} = {_plain(field, item)}")


def _elements(field: Field, item: tuple[Any, ...], lead: str, indent: str, lines: list[str]) -> None:
    if not item:
        lines.append(f"{lead}{{0}}[]")
        return
    lines.append(f"{lead}{{{len(item)}}}[")
    inside = indent + _INDENT
    for each in item:
        if each is None or (field.code == "av" and each.field is None):
            lines.append(f"{inside}null")
        elif field.code == "av":
            # An element of an any array is shown as what it holds, without the word any.
            _item(each.field, each.item, inside, "", inside, lines)
        else:
            _item(field.element or _ANY, each, inside, "", inside, lines)
    lines.append(f"{indent}]")


def _plain(field: Field, item: Any) -> str:
    """A scalar, a string, or an array of them."""
    if field.code == "as":
        return f"{{{len(item)}}}[{', '.join(map(_quoted, item))}]" if item else "{?}[]"
    if isinstance(item, np.ndarray):
        if not item.size:
            # Nothing was ever assigned, or an empty array was.
            return "{?}[]" if item is field.default else "{0}[]"
        number = "{:d}".format if item.dtype.kind in "iub" else "{:g}".format
        return f"{{{len(item)}}}[{', '.join(map(number, item.tolist()))}]"
    if field.code == "s":
        return _quoted(item)
    if field.code == "?":
        return "true" if item else "false"
    return f"{item:g}" if field.code in "fd" else str(item)


def _quoted(text: str) -> str:
    """As a C string literal of its UTF-8 bytes."""
    return f'"{text.encode("utf-8", "surrogateescape").decode("latin-1").translate(_ESCAPES)}"'

"""What a field makes of a Python object: the door, and what structures, unions, anys and arrays of them do.

Strictly, an integer that does not fit and a float with a fraction are refused by integer fields; otherwise
they wrap and truncate as C does, which is what p4p does.

`coerce`, `path`, `type` and `value` need each other and are imported as modules, so that it does not matter
which of them comes first.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from p4p_trio.data import type as _type
from p4p_trio.data import value as _value
from p4p_trio.data.arrays import ARRAY_TABLE, code_for
from p4p_trio.data.convert import expose
from p4p_trio.data.field import DTYPES, SCALARS, Field, Selected, Variant, bits, scalar
from p4p_trio.data.mistakes import InvalidType, InvalidValue, at
from p4p_trio.data.scalars import C_NAMES, INT64_MAX, SCALAR_TABLE, text
from p4p_trio.data.snapshot import freeze

if TYPE_CHECKING:
    from p4p_trio.data.type import Type
    from p4p_trio.data.value import Value

__all__ = ["ANY", "TABLE", "assign", "blank", "coerce", "plain_field"]

TABLE: Final = SCALAR_TABLE | ARRAY_TABLE
"""By code: (code, object, strict, path) -> item, for everything that is not compound."""

ANY: Final = scalar("v")

_TYPED: Final = frozenset({*SCALARS, *DTYPES, "as"})
# What a union tries next when one of its members does not take an object.
_REFUSALS: Final = (TypeError, ValueError, LookupError, OverflowError)


def coerce(field: Field, value: Any, strict: bool, path: str, current: Any = None, like: Type | None = None) -> Any:
    """The item that a field makes of *value*.

    Args:
        strict: refuse what integer fields cannot hold exactly, instead of wrapping and truncating.
        path: the field's dotted name, for error texts.
        current: the item that the field holds: a union converts for the member that is selected.
        like: a Type whose class and strictness the Values inside get.

    Raises:
        TypeError: for a kind of object that the field cannot take.
        ValueError: for a value that it cannot take.
        KeyError: for a member that a structure or union does not have.
        OverflowError: not strictly, for integers beyond 64 bits.
    """
    convert = TABLE.get(field.code)
    if convert is not None:
        if isinstance(value, _value.Value):
            # p4p says ValueError here, and TypeError to every other object.
            raise ValueError(f"{at(path)}Unable to assign {_name(field)} with a structure")
        return convert(field.code, value, strict, path)
    if like is None:
        like = _type.Type._of(field, strict)
    if field.code == "v":
        return _variant(value, strict, path)
    if field.code == "U":
        return _union(field, value, strict, path, current, like)
    if field.code == "S":
        return _structure(field, value, path, current, like)
    return _array(field, value, strict, path, like)


def blank(field: Field, like: Type) -> Any:
    """The item of a field to which nothing was assigned; for a structure a new Value."""
    return _value.Value(like._child(field)) if field.code == "S" else field.default


def plain_field(code: Any, path: str) -> Field:
    """The field of a scalar or array code, for an any."""
    if code not in _TYPED:
        raise InvalidValue(f'{at(path)}Invalid Any type spec "{code}"')
    return scalar(code)


# -- structures -------------------------------------------------------------------------------------------


def assign(target: Value, value: Any, prefix: str) -> None:
    """Assigns to the members of *target* what *value* says.

    Args:
        value: a dict or `(path, value)` tuples; a Value, whose marked fields are copied by name; for a
            structure with the id "enum_t" also a choice or an index.
        prefix: goes before member names in error texts.
    """
    if isinstance(value, dict):
        pairs: Iterable[Any] = value.items()
    elif isinstance(value, _value.Value):
        _assign_value(target, value, prefix)
        return
    elif target._type._field.id == "enum_t" and target._type._position.keys() >= {"index", "choices"}:
        _assign_choice(target, value, prefix)
        return
    elif isinstance(value, str | bytes):
        what = "a structure takes a dict, (name, value) tuples or a Value"
        raise TypeError(f"{at(prefix[:-1])}{what}, not {value!r:.80}")
    else:
        try:
            pairs = iter(value)
        except TypeError:
            kind = type(value).__name__
            raise TypeError(f"{at(prefix[:-1])}'{kind}' object is not iterable, so no structure can take it") from None
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"{at(prefix[:-1])}expect list of ('name', value) tuples, got {pair!r:.80}")
        target._put(pair[0], pair[1], True, prefix)


def _assign_choice(target: Value, value: Any, prefix: str) -> None:
    if isinstance(value, str | bytes):
        choices = target["choices"]
        if not choices:
            warnings.warn("enum_t assignment with empty choices", stacklevel=7)
        label = text(value, prefix)
        if label in choices:
            value = choices.index(label)
    target._put("index", value, False, prefix)


def _assign_value(target: Value, source: Value, prefix: str) -> None:
    """Copies the marked fields of *source*; it may be *target*."""
    layout = source._type._layout
    offset = source._offset
    above = source._outer[0] if source._outer is not None else 0
    mask = layout.all if source._slots[0] & above else source._slots[0] >> offset & layout.all
    same = source._type._field is target._type._field
    for n in bits(layout.expand(mask)):
        field, item = layout.fields[n], source._slots[offset + n]
        path = layout.paths[n]
        at_target = n if same else target._type._position.get(path)
        if at_target is None:
            raise InvalidValue(f"{at(prefix + path)}No such field in the structure that is assigned to")
        wanted = target._type._fields[at_target]
        if wanted.code == "S":
            held = expose(field, item, target._type, None)
            if isinstance(held, _value.Value):
                target._put(path, held, True, prefix)
                continue
            raise ValueError(f"{at(prefix + path)}Unable to assign struct with {_name(field)}")
        position = target._offset + at_target
        target._slots[position] = _converted(wanted, field, item, target._type, prefix + path)
        target._touch(1 << position)


def _converted(wanted: Field, field: Field, item: Any, like: Type, path: str) -> Any:
    """The item that *wanted* makes of the *item* of another field."""
    if wanted is field:
        return freeze(field, item)
    if field.code == "U" and wanted.code in ("U", "v"):
        if item is None or item.index < 0:
            return None
        member, name = field.members[item.index], field.names[item.index]
        if wanted.code == "v":
            return Variant(member, freeze(member, item.item))
        if name in wanted.names:
            chosen = wanted.names.index(name)
            name = f"{path}->{name}"
            return Selected(chosen, _converted(wanted.members[chosen], member, item.item, like, name))
    if wanted.code == "v":
        return Variant(field, freeze(field, item))
    if wanted.code == field.code == "aU":
        assert wanted.element is not None
        assert field.element is not None
        inside, source = wanted.element, field.element
        return tuple(
            None if each is None else _converted(inside, source, each, like, f"{path}[{n}]")
            for n, each in enumerate(item)
        )
    if wanted.code == "as" and field.code in DTYPES:
        return tuple(TABLE["s"]("s", each, like.strict, path) for each in item)
    return coerce(wanted, expose(field, item, like, None), like.strict, path, None, like)


def _structure(field: Field, value: Any, path: str, current: Any, like: Type) -> Value:
    """A structure inside another item: the one that is there, with *value* assigned to it, or a new one."""
    if isinstance(value, _value.Value) and value._type._field is field:
        return _copy_of(value, like)
    kept = isinstance(current, _value.Value) and current._type._field is field
    made = current._detached() if kept else _value.Value(like._child(field))
    made._assign(value, f"{path}." if path else "")
    return made


def _copy_of(value: Value, like: Type) -> Value:
    """A copy of *value* as a part of a value of type *like*."""
    return _value.Value._make(like._child(value._type._field), value._copied())


# -- unions -----------------------------------------------------------------------------------------------


def _union(field: Field, value: Any, strict: bool, path: str, current: Any, like: Type) -> Selected | None:
    if value is None:
        return None
    held = current if isinstance(current, Selected) and current.index >= 0 else None
    if isinstance(value, tuple):
        if len(value) != 2 or not isinstance(value[0], str):
            raise TypeError(f"{at(path)}Assign Union w/ (str, val).")
        name, content = value
        if name not in field.names:
            raise KeyError(f"no such member field {path + '->' + name!r}")
        return _choose(field, field.names.index(name), content, strict, path, held, like)
    if held is not None:
        return _choose(field, held.index, value, strict, path, held, like)
    order: Iterable[int] = range(len(field.members))
    if isinstance(value, _value.Value):
        if value._type._field not in field.members:
            raise InvalidValue(f"{at(path)}Unsupported assignment to unselected union: no member has this type")
        order = (field.members.index(value._type._field),)
    for index in order:
        try:
            return _choose(field, index, value, strict, path, None, like)
        except _REFUSALS:
            continue
    raise InvalidValue(f"{at(path)}Unable to infer Union field to assign a {type(value).__name__}")


def _choose(
    field: Field, index: int, value: Any, strict: bool, path: str, held: Selected | None, like: Type
) -> Selected:
    current = held.item if held is not None and held.index == index else None
    name = f"{path}->{field.names[index]}"
    return Selected(index, coerce(field.members[index], value, strict, name, current, like))


# -- any --------------------------------------------------------------------------------------------------


def _variant(value: Any, strict: bool, path: str) -> Variant | None:
    """What an any stores, by the kind of *value*; a Value is copied."""
    if value is None:
        return None
    if isinstance(value, _value.Value):
        return Variant(value._type._field, value._detached())
    if isinstance(value, tuple):
        if len(value) != 2 or not isinstance(value[0], str):
            raise TypeError(f"{at(path)}Assign Any w/ (code, val).")
        field = plain_field(value[0], path)
        return Variant(field, coerce(field, value[1], strict, path))
    code = _inferred(value, strict, path)
    if code is None:
        kind = type(value).__name__
        raise InvalidType(f"{at(path)}Unable to infer TypeCode for {kind}; assign a (code, value) tuple")
    return Variant(scalar(code), TABLE[code](code, value, strict, path))


def _inferred(value: Any, strict: bool, path: str) -> str | None:
    if isinstance(value, bool | np.bool_):
        return "?"
    if isinstance(value, int):
        return "L" if strict and value > INT64_MAX else "l"
    if isinstance(value, float):
        return "d"
    if isinstance(value, str | bytes):
        return "s"
    if isinstance(value, np.generic):
        code = code_for(value.dtype)
        return code[1:] if code is not None else None
    if isinstance(value, np.ndarray):
        return code_for(value.dtype)
    if isinstance(value, list):
        return _inferred_list(value)
    return None


def _inferred_list(value: list[Any]) -> str:
    """p4p takes every list for strings; we look, and still take the empty one for strings."""
    if value and all(isinstance(element, bool | np.bool_) for element in value):
        return "a?"
    if value and all(isinstance(element, int | np.integer) for element in value):
        return "al"
    if value and all(isinstance(element, int | float | np.integer | np.floating) for element in value):
        return "ad"
    return "as"


# -- arrays of compounds ----------------------------------------------------------------------------------


def _array(field: Field, value: Any, strict: bool, path: str, like: Type) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | np.ndarray):
        kind = type(value).__name__
        raise InvalidType(f"{at(path)}Must assign sequence to {C_NAMES[field.code[1:]]} array, not {kind}")
    element = ANY if field.element is None else field.element
    return tuple(
        None if item is None else coerce(element, item, strict, f"{path}[{n}]", None, like)
        for n, item in enumerate(value)
    )


def _name(field: Field) -> str:
    return f"{C_NAMES[field.code[1:]]}[]" if field.code.startswith("a") else C_NAMES[field.code]

"""Specifications: the lists of `(name, type)` tuples that programs write, to and from `Field`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from p4p_trio.data.field import DTYPES, SCALARS, Field, scalar
from p4p_trio.data.mistakes import InvalidValue

if TYPE_CHECKING:
    from p4p_trio.data.type import Type

__all__ = ["MAX_DEPTH", "Element", "extend", "members", "parse", "spec_of"]

Element: TypeAlias = "str | tuple[str, str | None, Iterable[tuple[str, Any]]] | Type"
"""One type in a specification: a code ("d"), a tuple ("S", id, spec), or a Type."""

MAX_DEPTH: Final = 100
"""Levels of structures and unions in one type. Peers accept about 20; this one only keeps recursion finite."""

_PLAIN: Final = frozenset({*SCALARS, *DTYPES, "as", "v", "av"})
_COMPLEX: Final = {"S": "S", "s": "S", "U": "U", "u": "U", "aS": "aS", "as": "aS", "aU": "aU", "au": "aU"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def parse(spec: Iterable[tuple[str, Any]], id: str | None = None, *, strict: bool = True, path: str = "") -> Field:
    """The structure that *spec* describes.

    Args:
        spec: `(name, type)` tuples.
        id: the structure's type id.
        strict: refuse what p4p lets pass: trailing characters after a code, an empty name, a name twice
            (there the last one wins).
        path: dotted name of this structure inside a larger one, for error texts.

    Raises:
        ValueError: for an unknown code, a bad or repeated name, or more than `MAX_DEPTH` levels.
        TypeError: for anything that is not made of such tuples.
    """
    return _made("S", id, members(spec, strict=strict, path=path), path)


def members(spec: Iterable[tuple[str, Any]], *, strict: bool, path: str = "", level: int = 1) -> dict[str, Field]:
    """The members that *spec* lists, in order; arguments and errors as `parse`."""
    where = f" of {path!r}" if path else ""
    if level > MAX_DEPTH:
        raise InvalidValue(f"types are nested more than {MAX_DEPTH} levels deep")
    if isinstance(spec, str | bytes | dict):
        raise TypeError(f"the specification{where} must be a list of (name, type) tuples, not {_kind(spec)}")
    found: dict[str, Field] = {}
    for entry in spec:
        if not isinstance(entry, tuple) or len(entry) != 2:
            raise TypeError(f"the specification{where} must list (name, type) tuples; got {_kind(entry)} {entry!r:.80}")
        name, element = entry
        if not isinstance(name, str):
            raise TypeError(f"a field name{where} must be str, not {_kind(name)}")
        if not _NAME.fullmatch(name) and (strict or name):
            raise InvalidValue(f'invalid field name "{name}"{where}: letters, digits and _ only, no digit first')
        if strict and name in found:
            raise InvalidValue(f"duplicate field name {name!r}{where}")
        found[name] = _element(element, strict, f"{path}.{name}" if path else name, level)
    return found


def extend(base: Field, added: dict[str, Field], path: str = "", id: str = "") -> Field:
    """*base* with *added* appended: members of the same name are merged if both are structures, both unions or
    both arrays of them, otherwise replaced in place."""
    found = dict(zip(base.names, base.members, strict=True))
    for name, field in added.items():
        old = found.get(name)
        where = f"{path}.{name}" if path else name
        if old is None or old.code != field.code or old.code not in ("S", "U", "aS", "aU"):
            found[name] = field
        elif old.element is not None and field.element is not None:
            found[name] = Field.make(old.code, element=_merged(old.element, field.element, where))
        else:
            found[name] = _merged(old, field, where)
    return _made(base.code, id or base.id, found, path)


def _merged(old: Field, new: Field, path: str) -> Field:
    return extend(old, dict(zip(new.names, new.members, strict=True)), path, new.id)


def spec_of(field: Field) -> Any:
    """The specification element of *field*: the inverse of parsing; a missing id reads "structure"."""
    if field.code in ("S", "U"):
        inside = [(name, spec_of(member)) for name, member in zip(field.names, field.members, strict=True)]
        return field.code, field.id or "structure", inside
    if field.element is not None:
        _, id, inside = spec_of(field.element)
        return field.code, id, inside
    return field.code


def _element(element: Any, strict: bool, path: str, level: int) -> Field:
    if isinstance(element, str):
        if element in _PLAIN:
            return scalar(element)
        code = element[:2] if element.startswith("a") else element[:1]
        if strict or code not in _PLAIN:
            raise InvalidValue(f'field {path!r}: Invalid plain type spec "{element}"')
        return scalar(code)
    ready = getattr(element, "_field", None)
    if isinstance(ready, Field):
        _check_depth(ready, path, level)
        return ready
    if not isinstance(element, tuple) or len(element) != 3:
        what = "a type is a code, a tuple (code, id, spec) or a Type"
        raise TypeError(f"field {path!r}: {what}; got {_kind(element)} {element!r:.80}")
    code, id, spec = element
    if not isinstance(code, str):
        raise TypeError(f"field {path!r}: a type code must be str, not {_kind(code)}")
    if code not in _COMPLEX:
        raise InvalidValue(f'field {path!r}: Invalid complex type spec "{code}"')
    code = _COMPLEX[code]
    inside = members(spec, strict=strict, path=path, level=level + 1)
    if code in ("S", "U"):
        return _made(code, id, inside, path)
    return Field.make(code, element=_made(code[1:], id, inside, path))


def _made(code: str, id: str | None, inside: dict[str, Field], path: str) -> Field:
    if id is not None and not isinstance(id, str):
        raise TypeError(f"{f'field {path!r}: ' if path else ''}a type id must be str, not {_kind(id)}")
    if id is None or id == "structure" or (code == "U" and id == "union"):
        id = ""
    made = Field.make(code, id, tuple(inside), tuple(inside.values()))
    _check_depth(made, path, 0)
    return made


def _check_depth(field: Field, path: str, level: int) -> None:
    if field.depth + level > MAX_DEPTH + 1:
        where = f"field {path!r}: " if path else ""
        raise InvalidValue(f"{where}types are nested more than {MAX_DEPTH} levels deep")


def _kind(thing: object) -> str:
    return type(thing).__name__

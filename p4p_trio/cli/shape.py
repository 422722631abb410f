"""Walking through a value: what stands at each path, and which type it has.

A `Value` answers every question about its fields by path, so nothing more is needed than its public methods:
`type(path)`, `value[path]`, and "->" for what a union or an any holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from p4p_trio.data import Value
from p4p_trio.data.scalars import C_NAMES

__all__ = ["Spec", "below", "changed_leaves", "element", "held", "id_of", "kind", "leaves", "name_of", "spec_at"]

Spec: TypeAlias = Any
"""What `Type.aspy` gives: a code, or a tuple (code, id, [(name, spec), ...])."""


def spec_at(value: Value, path: str) -> Spec:
    """What stands at *path*; "" for the value itself."""
    return value.type(path or None).aspy()


def kind(spec: Spec) -> str:
    """The type code."""
    return spec if isinstance(spec, str) else str(spec[0])


def id_of(spec: Spec) -> str:
    """The type id, "" where there is none."""
    if isinstance(spec, str) or spec[1] in (None, "structure", "union"):
        return ""
    return str(spec[1])


def name_of(spec: Spec, *, id: bool = True) -> str:
    """How the type is called: `double[]`, `struct "alarm_t"`."""
    code = kind(spec)
    name = f"{C_NAMES[code[1:]]}[]" if code.startswith("a") else C_NAMES[code]
    return f'{name} "{id_of(spec)}"' if id and id_of(spec) else name


def below(path: str, name: str) -> str:
    """The path of a member."""
    return f"{path}.{name}" if path and not path.endswith("->") else f"{path}{name}"


def element(path: str, index: int) -> str:
    """The path of an element of an array of structures, unions or anys."""
    return f"{path}[{index}]"


def held(value: Value, path: str, spec: Spec) -> tuple[str, str, Spec] | None:
    """What the union or any at *path* holds: (member's name or "", path, spec); None: nothing."""
    if kind(spec) == "v":
        try:
            return "", f"{path}->", spec_at(value, f"{path}->")
        except KeyError:
            return None
    for name, member in spec[2]:
        inside = f"{path}->{name}"
        try:
            value[inside]
        except KeyError:
            continue
        return name, inside, member
    return None


def leaves(spec: Spec, path: str = "") -> Iterator[tuple[str, Spec]]:
    """Everything in a structure that holds data: (path, spec), in the order of declaration."""
    for name, member in spec[2]:
        inside = below(path, name)
        if kind(member) == "S":
            yield from leaves(member, inside)
        else:
            yield inside, member


def changed_leaves(value: Value) -> list[tuple[str, Spec]]:
    """Those leaves that are marked as changed."""
    changed = value.changedSet()
    if value.changed() and not changed:
        changed = {path for path, _ in leaves(spec_at(value, ""))}  # the mark is on the whole
    return [leaf for leaf in leaves(spec_at(value, "")) if leaf[0] in changed]

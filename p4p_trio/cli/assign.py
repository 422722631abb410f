"""Putting what users wrote into a value, as its fields want it; errors say where, and what would do."""

from __future__ import annotations

from typing import Any, Final

from p4p_trio.cli.shape import Spec, kind, name_of
from p4p_trio.cli.spelling import joined
from p4p_trio.cli.words import Plain
from p4p_trio.data import Value

__all__ = ["AssignError", "assign"]

_SHOWN: Final = 12
_NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")


class AssignError(ValueError):
    """A value that a field cannot take; the text names the field."""


def assign(value: Value, path: str, content: Any) -> None:
    """Assign to the field at *path*; "" is the whole.

    Args:
        value: what holds it. An enum's choices are looked up in it.
        content: a `Plain` text, or what JSON gave. NaN and infinities may be texts, a union is an object with
            one member.

    Raises:
        AssignError: there is no such field, or it does not take that.
    """
    try:
        spec = value.type(path or None).aspy()
    except KeyError:
        raise AssignError(_missing(value, path)) from None
    choice = _is_enum(spec) and not isinstance(content, dict)
    if kind(spec) == "S" and not choice:
        if not isinstance(content, dict):
            what = f"{path or 'the PV'} is a {name_of(spec)}"
            example = f"{path}.{spec[2][0][0]}=..." if path and spec[2] else 'field=value or {"field": value}'
            raise AssignError(f"{what}: write {example}; its fields are {_names(spec)}")
        for name, item in content.items():
            assign(value, f"{path}.{name}" if path else name, item)
        return
    try:
        value[path] = _enum(value, path, content) if choice else _content(spec, content, path)
    except AssignError:
        raise
    except (ValueError, TypeError, LookupError, OverflowError) as exc:
        text = str(exc.args[0] if isinstance(exc, KeyError) and exc.args else exc).removeprefix(f"field {path!r}: ")
        raise AssignError(f"cannot assign {content!r:.60} to {path} ({name_of(spec)}): {text}") from exc


def _is_enum(spec: Spec) -> bool:
    return kind(spec) == "S" and {"index", "choices"} <= {name for name, _ in spec[2]}


def _names(spec: Spec) -> str:
    names = [name for name, _ in spec[2]]
    return joined(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _missing(value: Value, path: str) -> str:
    """What is there in the place of a field that is not."""
    above, dot, _ = path.rpartition(".")
    try:
        spec = value.type(above or None).aspy()
    except KeyError:
        return _missing(value, above) if dot else f"there is no field {path!r}"
    if kind(spec) == "S":
        return f"there is no field {path!r}; {above or 'the PV'} has {_names(spec)}"
    return f"there is no field {path!r}: {above} is a {name_of(spec)}"


def _enum(value: Value, path: str, content: Any) -> Any:
    """An enum takes one of its choices, or an index."""
    choices = list(value.get(f"{path}.choices", ()))
    if isinstance(content, str):
        if content in choices:
            return {"index": choices.index(content)}
        try:
            content = int(content, 0)
        except ValueError:
            known = f"the choices are {joined(choices)}" if choices else "it has no choices, so write an index"
            raise AssignError(f"{path} has no choice {str(content)!r}; {known}") from None
    if isinstance(content, bool) or not isinstance(content, int):
        raise AssignError(f"{path} is an enum: write a choice or its index, not {content!r:.60}")
    return {"index": content}


def _content(spec: Spec, content: Any, path: str) -> Any:
    """What to assign to a field of this type."""
    code = kind(spec)
    if code == "U" and isinstance(content, dict):
        members = dict(spec[2])
        if len(content) != 1 or next(iter(content)) not in members:
            raise AssignError(f'{path} is a union: write {{"member": value}} with one of {_names(spec)}')
        (name, inside), *_ = content.items()
        return name, _content(members[name], inside, f"{path}->{name}")
    if code == "S" and isinstance(content, dict):
        members = dict(spec[2])
        return {
            name: _content(members[name], inside, f"{path}.{name}") if name in members else inside
            for name, inside in content.items()
        }
    if code in ("aS", "aU") and isinstance(content, list):
        element = (code[1:], *spec[1:])
        return [
            None if inside is None else _content(element, inside, f"{path}[{n}]") for n, inside in enumerate(content)
        ]
    if code.startswith("a") and not isinstance(content, list):
        raise AssignError(f"{path} is an array ({name_of(spec)}): write JSON, such as '[{_example(code)}]'")
    if code in ("af", "ad"):
        return [float(item) if item in _NO_NUMBERS else item for item in content]
    if code == "v" and isinstance(content, list) and _numbers(content):
        return "ad", [float(item) for item in content]
    if code == "?" and isinstance(content, Plain) and content in ("0", "1"):
        return content == "1"
    if code == "v" and isinstance(content, Plain):
        return str(content)
    return content


def _numbers(content: list[Any]) -> bool:
    """Whether a list has numbers, and some that are spelled out."""
    kinds = {type(item) for item in content}
    return kinds == {float, str} and all(item in _NO_NUMBERS for item in content if isinstance(item, str))


def _example(code: str) -> str:
    if code == "as":
        return '"one", "two"'
    return "true, false" if code == "a?" else "..." if code in ("aS", "aU", "av") else "1, 2, 3"

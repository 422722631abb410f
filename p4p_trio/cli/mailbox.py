"""Mailbox PVs from words: `temperature=double=21.5`, `mode=enum:Off,On=On`, `wave=double[]=[1,2,3]`."""

from __future__ import annotations

from typing import Any, Final

from p4p_trio.cli.assign import AssignError, assign
from p4p_trio.cli.options import UsageError
from p4p_trio.cli.words import split, type_code, value_of
from p4p_trio.data import Type, Value
from p4p_trio.errors import RemoteError
from p4p_trio.nt import NTScalar, alarm, timeStamp
from p4p_trio.server import ServerOperation, SharedPV

__all__ = ["mailboxes"]

_WHAT: Final = "NAME=TYPE or NAME=TYPE=INITIAL"
_ENUM: Final = Type(
    [
        ("value", ("S", "enum_t", [("index", "i"), ("choices", "as")])),
        ("alarm", alarm),
        ("timeStamp", timeStamp),
    ],
    id="epics:nt/NTEnum:1.0",
)


def mailboxes(words: list[str]) -> dict[str, SharedPV]:
    """A PV for each word, by name.

    Raises:
        UsageError: a word cannot be understood, or a name is given twice.
    """
    made: dict[str, SharedPV] = {}
    for word in words:
        name, rest = split(word, _WHAT)
        if name in made:
            raise UsageError(f"{name!r} is given twice")
        kind, sign, initial = rest.partition("=")
        made[name] = _mailbox(name, kind, initial if sign else None)
    return made


def _mailbox(name: str, kind: str, initial: str | None) -> SharedPV:
    word, colon, choices = kind.partition(":")
    if word == "enum":
        first = Value(_ENUM)
        if colon:
            first["value.choices"] = _choices(name, choices)
    elif colon:
        raise UsageError(f"{name}: only an enum has choices, so write {name}={word}")
    else:
        first = Value(NTScalar(type_code(word, name)).type)
    if initial is not None:
        content = value_of(initial, name)
        try:
            assign(first, "" if isinstance(content, dict) else "value", content)
        except AssignError as exc:
            raise UsageError(f"{name}: {exc}") from None
        if _unknown_choice(first):
            raise UsageError(f"{name}: {_unknown_choice(first)}")
    pv = SharedPV(initial=first)
    pv.put(_store)
    return pv


def _choices(name: str, text: str) -> list[str]:
    found = [choice.strip() for choice in text.split(",")]
    if not all(found) or len(set(found)) < len(found):
        raise UsageError(f"{name}: the choices of an enum are different words with commas between: enum:Off,On")
    return found


def _unknown_choice(value: Value) -> str:
    """What is wrong with an enum's index, or ""."""
    index, choices = value.get("value.index"), value.get("value.choices")
    if index is None or not choices or 0 <= index < len(choices):
        return ""
    return f"there is no choice {index}: there are {len(choices)}, counted from 0"


def _store(pv: SharedPV, op: ServerOperation) -> None:
    """Keep what a client has put, unless it is a choice that the enum does not have."""
    new: Any = op.value()
    if new.changed("value") and new.has("value.index"):
        merged = pv.current()
        merged[None] = new
        if _unknown_choice(merged):
            raise RemoteError(_unknown_choice(merged))
    pv.post(new)

"""pvRequest: which fields a client asks for, and with which options."""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn, TypeAlias

from p4p_trio.data.field import Field, scalar, struct
from p4p_trio.data.mistakes import InvalidValue
from p4p_trio.data.spec import MAX_DEPTH
from p4p_trio.data.type import Type
from p4p_trio.data.value import Value

__all__ = ["parse_request", "request_options", "select_fields"]

Tree: TypeAlias = "dict[str, Tree]"

_BLANKS: Final = re.compile(r"\s*")
_OPEN: Final = re.compile(r"(field)\s*\(|(record)\s*\[")
_NAME: Final = re.compile(r"[A-Za-z0-9_.]+", re.ASCII)
_SEPARATORS: Final = re.compile(r"[\s,]*")
_OPTION: Final = re.compile(r"([A-Za-z0-9_.]+)\s*=\s*([^\s,\[\]]+)", re.ASCII)
_PART: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_STRING: Final = scalar("s")


def parse_request(text: str) -> Value:
    """The pvRequest structure that *text* describes.

        "value"  "field(value,alarm.severity)"  "record[pipeline=true,queueSize=4]field(value)"

    Entries stand in any order, with blanks between them: `field(` names `)`, `record[` name=value, … `]`, or a
    bare name, which is the same as `field(name)`. Everything named is asked for; nothing named is everything.
    Options are strings, sorted by name as pvxs sends them.

    Raises:
        ValueError: where the text is wrong; it names the position.

    Source: the grammar of pvxs' `PVRParser`; it refuses option values with other characters than names have,
    without which neither `ackAny=50%` nor `DBE=VALUE|ALARM` could be asked for.
    """
    if not isinstance(text, str):
        raise TypeError(f"a pvRequest must be str, not {type(text).__name__}")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.fields: Tree = {}
        self.options: dict[str, str] = {}

    def parse(self) -> Value:
        self.skip(_BLANKS)
        while self.pos < len(self.text):
            opened = _OPEN.match(self.text, self.pos)
            if opened is None:
                self.name(False)
            elif opened[1]:
                self.pos = opened.end()
                self.names(opened.start())
            else:
                self.pos = opened.end()
                self.records(opened.start())
            self.skip(_BLANKS)
        return self.made()

    def names(self, start: int) -> None:
        while True:
            self.skip(_SEPARATORS)
            if self.text.startswith(")", self.pos):
                self.pos += 1
                return
            if self.pos == len(self.text):
                self.fail("expected ) to close field(", start)
            self.name(True)

    def records(self, start: int) -> None:
        while True:
            self.skip(_SEPARATORS)
            if self.text.startswith("]", self.pos):
                self.pos += 1
                return
            if self.pos == len(self.text):
                self.fail("expected ] to close record[", start)
            found = _OPTION.match(self.text, self.pos)
            if found is None:
                self.fail("expected name=value", self.pos)
            self.options[found[1]] = found[2]
            self.pos = found.end()
            self.skip(_BLANKS)
            if self.text[self.pos : self.pos + 1] not in ("", ",", "]"):
                self.fail("expected , or ]", self.pos)

    def name(self, inside: bool) -> None:
        found = _NAME.match(self.text, self.pos)
        if found is None:
            self.fail("expected field(...), record[...] or a field name", self.pos)
        parts = [part for part in found[0].split(".") if part]
        if len(parts) > MAX_DEPTH - 2:
            self.fail(f"more than {MAX_DEPTH - 2} levels", self.pos)
        if not inside and found[0] in ("field", "record"):
            self.fail(f"expected {'field(' if found[0] == 'field' else 'record['}", self.pos)
        branch = self.fields
        for part in parts:
            if not _PART.fullmatch(part):
                self.fail(f'invalid field name "{part}"', self.pos)
            branch = branch.setdefault(part, {})
        self.pos = found.end()

    def skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.pos)
        if found is not None:
            self.pos = found.end()

    def fail(self, why: str, pos: int) -> NoReturn:
        raise InvalidValue(f"pvRequest {self.text!r}: {why} at position {pos}")

    def made(self) -> Value:
        members = {"field": _structure(self.fields)}
        if not self.options:
            return Value(Type._of(struct(members)))
        names = sorted(self.options)
        members["record"] = struct({"_options": struct(dict.fromkeys(names, _STRING))})
        request = Value(Type._of(struct(members)))
        options = request["record._options"]
        for name in names:
            options[name] = self.options[name]
        return request


def _structure(tree: Tree) -> Field:
    return struct({name: _structure(branch) for name, branch in tree.items()})


def select_fields(field: Field, request: Value | None) -> int:
    """Which positions of a served structure a client asks for.

    Args:
        field: the structure that is served.
        request: the client's pvRequest; None, one without `field`, or an empty `field` asks for everything.

    Returns:
        A mask of leaves, and of those structures of which nothing is left out.

    Raises:
        ValueError: if fields are named and none of them exists.

    Source: pvxs `request2mask`: unknown names are ignored while one is known; what is no structure is no name.
    """
    layout = field.layout
    asked = None if request is None else _named(request._type._field, "field")
    if asked is None or not asked.names:
        return layout.all
    mask = _selected(field, 0, asked)
    if not mask:
        raise InvalidValue("pvRequest must select at least one field")
    whole = 0
    for n, each in enumerate(layout.fields):
        inside = layout.subtree[n] & layout.leaves
        if each.code == "S" and inside and inside & mask == inside:
            whole |= 1 << n
    return mask | whole


def request_options(request: Value | None) -> dict[str, Any]:
    """The options of a pvRequest by name, as sent: str from a text, anything scalar from a program."""
    if request is None:
        return {}
    options = request.get("record._options")
    return dict(options.items()) if isinstance(options, Value) else {}


def _named(field: Field, name: str) -> Field | None:
    """The structure that a pvRequest has under *name*, or None."""
    if name not in field.names:
        return None
    member = field.member(name)
    return member if member.code == "S" else None


def _selected(field: Field, position: int, asked: Field) -> int:
    """What *asked* selects below the structure *field* at *position*."""
    mask = 0
    position += 1
    for name, member in zip(field.names, field.members, strict=True):
        size = len(member.layout) if member.code == "S" else 1
        wanted = _named(asked, name)
        if wanted is None:
            pass
        elif member.code == "S" and wanted.names:
            mask |= _selected(member, position, wanted)
        else:
            mask |= (1 << size) - 1 << position
        position += size
    return mask

"""Generated codecs: source text for one structure, one byte order and one set of leaves.

A walk over the type costs more than the packing itself, so for types that are used often the walk is
done once and written down as Python source. Neighbouring fields of fixed size become one
`struct.Struct`, together with the size byte of the string or array behind them:

    def write(out, s):
        ...
        t += p0(s[1], s[3], s[4], n)    # value, alarm.severity, alarm.status, size of alarm.message
        t += b5                         # alarm.message

The source contains slot indices only, never a name that a peer has sent. What does not go fast (short
data, long strings, unions and the like) is left to the interpreting codec, at the leaf where it occurs,
so that errors are the same to the letter. Filenames are registered in `linecache`, for tracebacks.

Rejected: closures per type (only 15 % faster than the walk), one function per field (call overhead).
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from itertools import count
from struct import Struct
from typing import Any, Final

import numpy as np

from p4p_trio.data.field import DTYPES, Field
from p4p_trio.wire.buffers import ATTACH, Buffers
from p4p_trio.wire.interpret import read_leaf, read_leaves, write_item
from p4p_trio.wire.order import FORMATS, Order
from p4p_trio.wire.reader import Reader
from p4p_trio.wire.text import encode

__all__ = ["Read", "ReadInto", "Write", "discard", "reader_into", "reader_of", "writer_of"]

Write = Callable[[Buffers, list[Any]], None]
Read = Callable[[Reader], list[Any]]
ReadInto = Callable[[Reader, list[Any]], None]

_serial: Final = count()


def writer_of(field: Field, order: Order, leaves: Sequence[int], prefix: bytes = b"") -> Write:
    """A function `write(out, slots)` that appends *prefix* and then the leaves at these positions."""
    made: Write = _Writer(field, order).function(leaves, prefix)
    return made


def reader_of(field: Field, order: Order) -> Read:
    """A function `read(reader)` that returns the fresh slots of a whole structure."""
    layout = field.layout
    leaves = [n for n, leaf in enumerate(layout.fields) if leaf.code != "S"]
    made: Read = _Reader(field, order).function(leaves, fresh=True)
    return made


def reader_into(field: Field, order: Order, leaves: Sequence[int]) -> ReadInto:
    """A function `read(reader, slots)` that reads the leaves at these positions."""
    made: ReadInto = _Reader(field, order).function(leaves, fresh=False)
    return made


def discard(function: Callable[..., Any]) -> None:
    """Forget the source of a generated function that is no longer used."""
    linecache.cache.pop(function.__code__.co_filename, None)


class _Source:
    """Lines of one function, and the objects that its names stand for."""

    def __init__(self, field: Field, order: Order) -> None:
        self.order = order
        self.fields = field.layout.fields
        self.layout = field.layout
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"__builtins__": {"len": len, "memoryview": memoryview}}
        # The run of fixed-size fields that is being collected: struct letters, and what each stands for.
        self.letters = ""
        self.terms: list[str] = []

    def name(self, stem: str, thing: Any) -> str:
        """A name for *thing* in the source."""
        name = f"{stem}{len(self.names)}"
        self.names[name] = thing
        return name

    def mostly_empty(self, leaves: Sequence[int]) -> list[int]:
        """The strings, if there are so few that they may well be all empty, and nothing else of variable size.

        Then there is a shortcut: the whole is one Struct, with a pad byte for the size of each string.
        Alarm messages are empty as long as nothing is wrong.
        """
        codes = [self.fields[n].code for n in leaves]
        if not 1 <= codes.count("s") <= 2 or not all(code in FORMATS or code == "s" for code in codes):
            return []
        return [n for n in leaves if self.fields[n].code == "s"]

    def flat(self, leaves: Sequence[int]) -> str:
        """The struct letters of *leaves* if all their strings are empty."""
        return "".join(FORMATS.get(self.fields[n].code, "x") for n in leaves)

    def numbers(self, leaves: Sequence[int]) -> list[str]:
        """The slots of *leaves* that are no strings."""
        return [f"s[{n}]" for n in leaves if self.fields[n].code != "s"]

    def emit(self, *lines: str) -> None:
        """Add lines to the body."""
        self.lines += lines

    def compiled(self, arguments: str) -> Any:
        """The function."""
        filename = f"<p4p_trio codec {next(_serial)}>"
        source = f"def codec({arguments}):\n" + "".join(f"    {line}\n" for line in self.lines or ["pass"])
        exec(compile(source, filename, "exec"), self.names)
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        return self.names["codec"]


class _Writer(_Source):
    def function(self, leaves: Sequence[int], prefix: bytes) -> Any:
        if prefix:
            self.letters = f"{len(prefix)}s"
            self.terms = [self.name("c", prefix)]
        self.shortcut(leaves)
        self.encode_strings(leaves)
        self.emit("t = out.tail")
        for n in leaves:
            code = self.fields[n].code
            if code in FORMATS:
                self.letters += FORMATS[code]
                self.terms.append(f"s[{n}]")
            elif code == "s":
                self.size(f"b{n}")
                self.emit(f"t += b{n}")
            elif code in DTYPES:
                self.array(n, code)
            else:
                self.run()
                self.emit(f"item(out, order, {self.name('f', self.fields[n])}, s[{n}])", "t = out.tail")
        self.run()
        self.names |= {
            "item": write_item,
            "order": self.order,
            "encode": encode,
            "UnicodeEncodeError": UnicodeEncodeError,
        }
        return self.compiled("out, s")

    def shortcut(self, leaves: Sequence[int]) -> None:
        strings = self.mostly_empty(leaves)
        if strings:
            pack = self.name("p", Struct(self.order.prefix + self.letters + self.flat(leaves)).pack)
            terms = ", ".join(self.terms + self.numbers(leaves))
            self.emit(f"if not ({' or '.join(f's[{n}]' for n in strings)}):")
            self.emit(f"    out.tail += {pack}({terms})", "    return")

    def encode_strings(self, leaves: Sequence[int]) -> None:
        """All strings first, so that nothing was written yet when one of them is no valid Unicode."""
        strings = [n for n in leaves if self.fields[n].code == "s"]
        if strings:
            self.emit("try:")
            self.emit(*(f"    b{n} = s[{n}].encode()" for n in strings))
            self.emit("except UnicodeEncodeError:")
            self.emit(*(f"    b{n} = encode(s[{n}])" for n in strings))

    def run(self) -> None:
        """Write the collected run."""
        if self.letters:
            pack = self.name("p", Struct(self.order.prefix + self.letters).pack)
            self.emit(f"t += {pack}({', '.join(self.terms)})")
        self.letters, self.terms = "", []

    def size(self, term: str) -> None:
        """Write the collected run and the length of *term*, which is left in `n`."""
        short = self.name("p", Struct(self.order.prefix + self.letters + "B").pack)
        long = self.name("p", Struct(self.order.prefix + self.letters + "BI").pack)
        terms = "".join(f"{term}, " for term in self.terms)
        self.emit(f"n = len({term})", f"t += {short}({terms}n) if n < 254 else {long}({terms}254, n)")
        self.letters, self.terms = "", []

    def array(self, n: int, code: str) -> None:
        width = DTYPES[code].itemsize
        swap = ".byteswap()" if self.order.swapped and width > 1 else ""
        self.emit(f"a = s[{n}]")
        self.size("a")
        self.emit(
            f"if n < {ATTACH // width}:",
            f"    t += a{swap}.tobytes()",
            "else:",
            f"    out.attach(memoryview(a{swap}).cast('B'))",
            "    t = out.tail",
        )


class _Reader(_Source):
    """Each run ends at a string, an array or a compound leaf; `p` is the position behind what was read."""

    def function(self, leaves: Sequence[int], *, fresh: bool) -> Any:
        # Where the run that is being collected begins, as an index into *leaves*.
        self.first = 0
        self.leaves = leaves
        self.fresh = fresh
        if fresh:
            self.emit("s = defaults()")
        # The buffer of a large message is no bytes object; and a walk is nothing compared with its size.
        self.emit("if r.owned:", f"    {self.give_up(0, 'r.pos')}")
        self.emit("buf = r.buf", "p = r.pos", "end = r.end")
        self.shortcut(leaves)
        for at, n in enumerate(leaves):
            code = self.fields[n].code
            if code in FORMATS:
                self.letters += FORMATS[code]
                self.terms.append(f"s[{n}]")
            elif code == "s":
                self.size()
                self.sized(n, at, 1, f"s[{n}] = buf[p:q].decode('utf-8', 'surrogateescape') if n else ''")
            elif code in DTYPES and code != "a?" and not (self.order.swapped and DTYPES[code].itemsize > 1):
                self.size()
                dtype, empty = self.name("d", DTYPES[code]), self.name("e", self.fields[n].default)
                value = f"frombuffer(buf[p:q], {dtype}) if n else {empty}"
                self.sized(n, at, DTYPES[code].itemsize, f"s[{n}] = {value}")
            else:
                self.run()
                self.leaf(n, "")
            if code not in FORMATS:
                self.first = at + 1
        self.run()
        self.emit("r.pos = p")
        if fresh:
            self.emit("return s")
        self.names |= {
            "defaults": self.layout.defaults.copy,
            "leaf": read_leaf,
            "rest": read_leaves,
            "layout": self.layout,
            "frombuffer": np.frombuffer,
        }
        return self.compiled("r" if fresh else "r, s")

    def shortcut(self, leaves: Sequence[int]) -> None:
        strings = self.mostly_empty(leaves)
        if not strings:
            return
        prefix, flat = self.order.prefix, self.flat(leaves)
        sizes = [f"buf[p + {Struct(prefix + flat[: leaves.index(n)]).size}]" for n in strings]
        layout = Struct(prefix + flat)
        self.emit(f"q = p + {layout.size}", f"if q <= end and not ({' or '.join(sizes)}):")
        numbers = self.numbers(leaves)
        if numbers:
            comma = "," if len(numbers) == 1 else ""
            self.emit(f"    {', '.join(numbers)}{comma} = {self.name('u', layout.unpack_from)}(buf, p)")
        if not self.fresh:
            self.emit(*(f"    s[{n}] = ''" for n in strings))
        self.emit("    r.pos = q", f"    return{' s' if self.fresh else ''}")

    def give_up(self, first: int, position: str) -> str:
        """Leave everything from the leaf with index *first* on to the interpreting codec, which finds the error."""
        rest = self.name("l", self.leaves[first:])
        result = " s" if self.fresh else ""
        return f"r.pos = {position}; rest(r, layout, s, {rest}); return{result}"

    def run(self) -> None:
        """Read the collected run."""
        if self.letters:
            layout = Struct(self.order.prefix + self.letters)
            unpack = self.name("u", layout.unpack_from)
            comma = "," if len(self.terms) == 1 else ""
            self.emit(f"q = p + {layout.size}", "if q > end:", f"    {self.give_up(self.first, 'p')}")
            self.emit(f"{', '.join(self.terms)}{comma} = {unpack}(buf, p)", "p = q")
        self.letters, self.terms = "", []

    def size(self) -> None:
        """Read the collected run and a size byte, into `n`."""
        if not self.letters:
            self.emit("if p >= end:", f"    {self.give_up(self.first, 'p')}", "n = buf[p]", "p += 1")
            return
        self.letters += "B"
        self.terms.append("n")
        self.run()

    def sized(self, n: int, at: int, width: int, assignment: str) -> None:
        """Read the *n* elements behind a size byte."""
        self.emit("if n < 254:")
        self.emit(f"    q = p + n{f' * {width}' if width > 1 else ''}")
        self.emit("    if q > end:", f"        {self.give_up(at, 'p - 1')}")
        self.emit(f"    {assignment}", "    p = q", "else:", "    p -= 1")
        self.leaf(n, "    ")

    def leaf(self, n: int, indent: str) -> None:
        self.emit(f"{indent}r.pos = p", f"{indent}s[{n}] = leaf(r, layout, {n})", f"{indent}p = r.pos")

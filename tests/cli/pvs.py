"""The PVs that the golden files show: one of each kind that users meet, and the odd ones."""

from __future__ import annotations

import math
from typing import Any

from p4p_trio import RemoteError, ServerOperation, SharedPV, Type, Value
from p4p_trio.nt import NTScalar, alarm, timeStamp

__all__ = ["enum", "everything", "served", "table"]

STAMP = ("timeStamp", timeStamp)
ALARM = ("alarm", alarm)


def enum(index: int = 1) -> Value:
    """An NTEnum."""
    made = Type([("value", ("S", "enum_t", [("index", "i"), ("choices", "as")])), ALARM, STAMP], "epics:nt/NTEnum:1.0")
    return Value(made, {"value.index": index, "value.choices": ["Off", "Standby", "On"]})


def table() -> Value:
    """An NTTable."""
    columns = ("S", None, [("name", "as"), ("val", "ad"), ("n", "ai")])
    made = Type([("labels", "as"), ("value", columns), ("descriptor", "s"), ALARM, STAMP], "epics:nt/NTTable:1.0")
    contents = {"labels": ["name", "value", "count"], "value.name": ["a", "bb"], "value.val": [1, 2.5]}
    return Value(made, contents | {"value.n": [10]})


def everything() -> Value:
    """Every type that there is, in one structure, with values that are hard to print."""
    scalars = [(f"scalar_{n}", code) for n, code in enumerate("?bhilBHILfds")]
    arrays = [(f"array_{n}", f"a{code}") for n, code in enumerate("?bhilBHILfds")]
    inside = Type([("n", "i"), ("text", "s")], id="inside_t")
    made = Type(
        [
            *scalars,
            *arrays,
            ("struct_", inside),
            ("union_", ("U", "choice_t", [("number", "d"), ("inside", inside), ("list", "ai")])),
            ("nothing", ("U", None, [("number", "d")])),
            ("any_number", "v"),
            ("any_array", "v"),
            ("any_struct", "v"),
            ("any_nothing", "v"),
            ("structs", ("aS", "inside_t", [("n", "i"), ("text", "s")])),
            ("unions", ("aU", None, [("number", "d"), ("text", "s")])),
            ("anys", "av"),
            ("empty", ("S", None, [])),
        ],
        id="everything_t",
    )
    least = [True, -128, -32768, -(1 << 31), -(1 << 63)]
    most = [255, 65535, (1 << 32) - 1, (1 << 64) - 1]
    limits: dict[str, Any] = {f"scalar_{n}": value for n, value in enumerate([*least, *most, 0.1, math.nan, 'a"b\n°'])}
    lists: dict[str, Any] = {
        f"array_{n}": [value] * 3
        for n, value in enumerate([False, 1, 2, 3, (1 << 62), 5, 6, 7, (1 << 63), 0.3, math.inf, "x y"])
    }
    lists["array_10"] = [0.5, -math.inf, math.nan]
    return Value(
        made,
        limits
        | lists
        | {
            "struct_.n": 5,
            "union_": ("inside", {"n": 7, "text": "chosen"}),
            "any_number": ("i", 42),
            "any_array": ("ad", [1.5, math.nan]),
            "any_struct": Value(inside, {"n": 9, "text": "held"}),
            "structs": [{"n": 1, "text": "one"}, None, {"n": 3, "text": "three"}],
            "unions": [("number", 1.5), None, ("text", "two")],
            "anys": [1, "two", None, Value(inside, {"n": 3, "text": "three"})],
        },
    )


def served() -> dict[str, SharedPV]:
    """Fresh PVs, which keep what is put."""
    hot = NTScalar("d", display=True)
    values = {
        "demo:ai": hot.wrap({"value": 123.456, "display.units": "°C", "display.description": "of the room"}),
        "demo:hot": hot.wrap({"value": 97}, severity=2, message="too hot"),
        "demo:count": NTScalar("l").wrap(5),
        "demo:flag": NTScalar("?").wrap(True),
        "demo:text": NTScalar("s").wrap("two words"),
        "demo:wave": NTScalar("ad").wrap([0.5 * n for n in range(30)]),
        "demo:mode": enum(),
        "demo:table": table(),
        "demo:everything": everything(),
    }
    values["demo:hot"]["alarm.status"] = 1
    pvs = {name: SharedPV(initial=value) for name, value in values.items()}
    for pv in pvs.values():
        pv.put(lambda pv, op: pv.post(op.value()))
    read_only = SharedPV(nt=NTScalar("d"), initial=1)
    adder = SharedPV(nt=NTScalar("d"), initial=0)

    @adder.rpc
    def add(pv: SharedPV, op: ServerOperation) -> Value:
        query = op.value().query
        try:
            return NTScalar("d").wrap(float(query.lhs) + float(query.rhs))
        except (AttributeError, ValueError):
            raise RemoteError("two numbers, lhs and rhs, are needed") from None

    return pvs | {"demo:fixed": read_only, "demo:add": adder}

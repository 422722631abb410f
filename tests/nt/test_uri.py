"""NTURI."""

from __future__ import annotations

from typing import Any

import pytest

from p4p_trio import Type
from p4p_trio.nt import NTURI, NTScalar


def test_the_type_has_all_arguments() -> None:
    uri = NTURI([("lhs", "d"), ("rhs", "d")])
    assert uri.type.getID() == "epics:nt/NTURI:1.0"
    assert uri.type.aspy()[2] == [
        ("scheme", "s"),
        ("authority", "s"),
        ("path", "s"),
        ("query", ("S", "structure", [("lhs", "d"), ("rhs", "d")])),
    ]


def test_arguments_may_come_from_a_generator() -> None:
    uri = NTURI((name, "d") for name in ("a", "b"))
    assert uri.type["query"].keys() == ["a", "b"]
    assert uri.wrap("pv", [1, 2]).query.todict() == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("args", "kws", "query"),
    [
        ((), None, {}),
        ((1, 2.5), None, {"a": 1, "b": 2.5}),
        ((1,), {"c": "text"}, {"a": 1, "c": "text"}),
        ((), {"b": 2, "c": None}, {"b": 2}),
        ((1, 2, "c", "too many"), None, {"a": 1, "b": 2, "c": "c"}),
    ],
)
def test_only_what_is_given_is_in_the_query(args: Any, kws: Any, query: dict[str, Any]) -> None:
    made = NTURI([("a", "i"), ("b", "d"), ("c", "s")]).wrap("pv:name", args, kws, scheme="pva", authority="host")
    assert made.todict() == {"scheme": "pva", "authority": "host", "path": "pv:name", "query": query}
    assert made.changedSet() >= {"scheme", "authority", "path"}


def test_arguments_may_be_structures() -> None:
    made = NTURI([("value", NTScalar("d").type)]).wrap("pv", [NTScalar("d").wrap(4.5)])
    assert made.query.value.value == 4.5
    assert made.query.value.getID() == "epics:nt/NTScalar:1.0"


@pytest.mark.parametrize(
    ("args", "kws", "told"),
    [
        ((), {"d": 1}, "there is no argument 'd'"),
        (("one",), None, "query.a"),
        ((None,), None, "query.a"),
        ((), {"a": 1 << 40}, "out of range"),
    ],
)
def test_mistakes(args: Any, kws: Any, told: str) -> None:
    with pytest.raises(ValueError, match=r"^Unable to initialize NTURI 'pv': ") as caught:
        NTURI([("a", "i"), ("b", "d")]).wrap("pv", args, kws)
    assert told in str(caught.value)


def test_bad_types() -> None:
    with pytest.raises(ValueError, match="query"):
        NTURI([("a", "nonsense")])


def test_compat_makes_its_own_types() -> None:
    class Lenient(Type):
        strict = False

    class Mine(NTURI):
        type_class = Lenient

    made = Mine([("a", "i")]).wrap("pv", [1.5])
    assert isinstance(made.type(), Lenient)
    assert made.query.a == 1

"""Structures, unions, anys and arrays of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from p4p_trio.data import Selected, Type, Value, Variant, scalar
from p4p_trio.data.coerce import coerce

MEMBER = Type([("a", "i"), ("b", "d")])
UNION = (
    "U",
    None,
    [("x", "i"), ("y", "s"), ("st", MEMBER), ("arr", "ad"), ("any", "v"), ("un", ("U", None, [("p", "i")]))],
)
T = Type(
    [
        ("u", UNION),
        ("v", "v"),
        ("as_", ("aS", None, [("e", "i")])),
        ("au", ("aU", None, [("p", "i"), ("q", "s"), ("st", ("S", None, [("a", "i")]))])),
        ("av", "av"),
        ("en", ("S", "enum_t", [("index", "i"), ("choices", "as")])),
    ]
)
LENIENT = Type([], base=T, strict=False)


def shown(value: Value, name: str) -> str:
    """How the text of *value* shows one field."""
    text = next(line for line in value.tostr().splitlines() if f" {name}" in line)
    return text.strip()


class TestUnion:
    @pytest.mark.parametrize(
        ("given", "held"),
        [
            (("x", 3), "union u.x int32_t = 3"),
            (("x", "3"), "union u.x int32_t = 3"),
            (("any", 3), "union u.any any int64_t = 3"),
            (("un", ("p", 3)), "union u.un union.p int32_t = 3"),
            (("un", 3), "union u.un union.p int32_t = 3"),
            (("un", None), "union u.un union null"),
            (None, "union u null"),
            # Nothing selected: the first member that takes it.
            ("5", "union u.x int32_t = 5"),
            ("abc", 'union u.y string = "abc"'),
            (True, "union u.x int32_t = 1"),
            (5.7, 'union u.y string = "5.7"'),
            ([1, 2], "union u.arr double[] = {2}[1, 2]"),
            (np.arange(2), "union u.arr double[] = {2}[0, 1]"),
            ({"a": 3}, "union u.st struct {"),
            ([("a", 3)], "union u.st struct {"),
            (MEMBER({"a": 3}), "union u.st struct {"),
        ],
    )
    def test_choosing(self, given: Any, held: str) -> None:
        value = T({"u": given})
        assert shown(value, "u") == held
        assert value.changedSet() == {"u"}

    def test_a_fraction_takes_the_integer_only_where_that_is_allowed(self) -> None:
        assert shown(LENIENT({"u": 5.7}), "u") == "union u.x int32_t = 5"

    def test_with_a_member_selected_it_is_that_one(self) -> None:
        value = T({"u": ("y", "text")})
        value.u = 128
        assert value.u == "128"
        value.u = ("x", 1)
        with pytest.raises(ValueError, match="field 'u->x': Invalid input"):
            value.u = "text"
        assert value.u == 1

    def test_a_selected_structure_keeps_its_other_members(self) -> None:
        value = T({"u": ("st", {"a": 1, "b": 2})})
        value.u = {"a": 5}
        assert value.u.todict() == {"a": 5, "b": 2.0}
        value.u = ("st", {"a": 7})
        assert value.u.todict() == {"a": 7, "b": 2.0}
        value.u = MEMBER({"b": 1})
        assert value.u.todict() == {"a": 0, "b": 1.0}

    @pytest.mark.parametrize(
        ("given", "error", "text"),
        [
            (("zz", 1), KeyError, "u->zz"),
            (("x", 1, 2), TypeError, "field 'u': Assign Union"),
            ((1, 2), TypeError, "field 'u': Assign Union"),
            (object(), ValueError, "field 'u': Unable to infer Union field to assign a object"),
            (object(), RuntimeError, "field 'u'"),
            (Type([("other", "i")])(), ValueError, "field 'u': Unsupported assignment to unselected union"),
            (("st", {"zz": 1}), KeyError, r"u->st\.zz"),
            (("x", "text"), ValueError, "field 'u->x'"),
        ],
    )
    def test_refusals(self, given: Any, error: type[Exception], text: str) -> None:
        value = T()
        with pytest.raises(error, match=text):
            value.u = given
        assert not value.changed()


class TestAny:
    @pytest.mark.parametrize(
        ("given", "held"),
        [
            (None, "any v null"),
            (True, "any v bool = true"),
            (5, "any v int64_t = 5"),
            (5.5, "any v double = 5.5"),
            ("x", 'any v string = "x"'),
            (b"x", 'any v string = "x"'),
            ([], "any v string[] = {?}[]"),
            (["a"], 'any v string[] = {1}["a"]'),
            ([1, 2], "any v int64_t[] = {2}[1, 2]"),
            ([1, 2.5], "any v double[] = {2}[1, 2.5]"),
            ([True], "any v bool[] = {1}[1]"),
            (("B", 3), "any v uint8_t = 3"),
            (("ad", [1]), "any v double[] = {1}[1]"),
            (("as", ["a"]), 'any v string[] = {1}["a"]'),
            (np.arange(2), "any v int64_t[] = {2}[0, 1]"),
            (np.arange(2, dtype=">u2"), "any v uint16_t[] = {2}[0, 1]"),
            (np.zeros(1, "f2"), "any v float[] = {1}[0]"),
            (np.array([1], np.longlong), "any v int64_t[] = {1}[1]"),
            (np.array(["a"]), 'any v string[] = {1}["a"]'),
            (np.int32(3), "any v int32_t = 3"),
            (np.float32(0.5), "any v float = 0.5"),
            (np.float16(0.5), "any v float = 0.5"),
            (np.bool_(True), "any v bool = true"),
            (np.str_("x"), 'any v string = "x"'),
            (MEMBER(), "any v struct {"),
        ],
    )
    def test_inference(self, given: Any, held: str) -> None:
        value = T({"v": given})
        assert shown(value, "v") == held
        assert value.changedSet() == {"v"}

    def test_large_integers(self) -> None:
        assert T({"v": (1 << 64) - 1}).v == (1 << 64) - 1
        assert LENIENT({"v": 1 << 63}).v == -(1 << 63)
        assert LENIENT({"v": ("B", 0xFFFF)}).v == 0xFF
        for kind in (T, LENIENT):
            for number in (1 << 64, -(1 << 63) - 1):
                with pytest.raises(OverflowError, match="field 'v'"):
                    kind({"v": number})

    def test_what_was_held_does_not_matter(self) -> None:
        value = T({"v": ("i", 3)})
        value.v = "x"
        assert value.v == "x"

    @pytest.mark.parametrize(
        ("given", "error", "text"),
        [
            ({"a": 1}, TypeError, "field 'v': Unable to infer TypeCode for dict"),
            ({"a": 1}, RuntimeError, "field 'v'"),
            (object(), TypeError, "Unable to infer TypeCode for object"),
            (MEMBER, TypeError, "Unable to infer TypeCode for Type"),
            (np.array([object()]), TypeError, "Unable to infer TypeCode for ndarray"),
            (np.datetime64("2020-01-01"), TypeError, "Unable to infer TypeCode for datetime64"),
            (("zz", 1), ValueError, 'Invalid Any type spec "zz"'),
            (("S", 1), ValueError, 'Invalid Any type spec "S"'),
            (("v", 1), ValueError, 'Invalid Any type spec "v"'),
            (("av", []), ValueError, 'Invalid Any type spec "av"'),
            ((1, 2), TypeError, r"Assign Any w/ \(code, val\)"),
            (("i", 1, 2), TypeError, r"Assign Any w/ \(code, val\)"),
            (("i", "abc"), ValueError, "field 'v': Invalid input"),
            ([1, "x"], TypeError, r"field 'v\[0\]'"),
            (np.zeros((2, 2)), ValueError, "Only 1-d"),
        ],
    )
    def test_refusals(self, given: Any, error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            T({"v": given})


class TestArrays:
    def test_structures(self) -> None:
        value = T({"as_": [{"e": 1}, None, [("e", 2)], Type([("e", "s")])({"e": "3"})]})
        assert [each and each.e for each in value.as_] == [1, None, 2, 3]
        value.as_ = (value.as_[0],)
        assert value.as_[0].e == 1
        value.as_ = np.array([{"e": 5}])
        assert value.as_[0].e == 5

    def test_a_structure_of_the_same_type_is_copied_whole(self) -> None:
        element = Type([("e", "i")])({"e": 7})
        element.unmark()
        value = T({"as_": [element]})
        element.e = 8
        assert value.as_[0].e == 7

    def test_unions_choose_afresh(self) -> None:
        value = T({"au": [("p", 1), "text", None, ("st", {"a": 4})]})
        assert value.todict("au") == [1, "text", None, {"a": 4}]
        value.au = [2, "bar", 5.0]
        assert value.au == [2, "bar", 5]
        assert isinstance(T({"au": [{"a": 1}]}).au[0], Value)

    def test_anys(self) -> None:
        value = T({"av": [1, "x", 2.5, None, ("ai", [1])]})
        assert value.av[:4] == [1, "x", 2.5, None]
        assert value.av[4].dtype == np.int32
        value.av = range(2)
        assert value.av == [0, 1]

    @pytest.mark.parametrize("name", ["as_", "au", "av"])
    @pytest.mark.parametrize("thing", [3, None, "ab", b"ab", {"e": 1}, {1}, (x for x in ())])
    def test_only_sequences(self, name: str, thing: Any) -> None:
        with pytest.raises(TypeError, match=f"field '{name}': Must assign sequence to (struct|union|any) array"):
            T({name: thing})
        with pytest.raises(RuntimeError):
            T({name: thing})

    def test_elements_are_named(self) -> None:
        with pytest.raises(TypeError, match=r"field 'as_\[1\]'"):
            T({"as_": [{}, 3]})
        with pytest.raises(ValueError, match=r"field 'au\[0\]': Unable to infer"):
            T({"au": [object()]})
        with pytest.raises(KeyError, match=r"au\[0\]->zz"):
            T({"au": [("zz", 1)]})
        with pytest.raises(TypeError, match=r"field 'av\[1\]'"):
            T({"av": [1, object()]})


class TestEnum:
    def value(self) -> Value:
        made = T({"en": {"choices": ["off", "on", "7"]}})
        made.unmark()
        return made

    @pytest.mark.parametrize(
        ("given", "index"), [("on", 1), (b"on", 1), ("7", 2), ("2", 2), (1, 1), (99, 99), (True, 1), (np.int16(2), 2)]
    )
    def test_labels_and_indices(self, given: Any, index: int) -> None:
        value = self.value()
        value.en = given
        assert value.en.index == index
        assert value.changedSet() == {"en.index"}

    def test_structures_still_work(self) -> None:
        value = self.value()
        value.en = {"index": 2}
        assert value.en.index == 2
        value.en = T({"en": {"index": 1}}).en
        assert value.en.index == 1

    @pytest.mark.parametrize(("given", "error"), [("zz", ValueError), (None, TypeError), ([("index", 5)], TypeError)])
    def test_refusals(self, given: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match=r"field 'en\.index': "):
            self.value().en = given

    def test_no_choices_warn_where_the_assignment_stands(self) -> None:
        value = T()
        with pytest.warns(UserWarning, match="enum_t assignment with empty choices") as caught:
            value.en = "2"
        assert caught[0].filename == __file__
        assert value.en.index == 2

    def test_other_shapes_are_plain_structures(self) -> None:
        with pytest.raises(TypeError, match="takes a dict"):
            Type([("en", ("S", "enum_t", [("index", "i")]))])({"en": "on"})


def _convert(source: Any, given: Any, target: Any) -> str:
    made = Type([("x", target)])()
    made[None] = Type([("x", source)])({"x": given})
    return made.tostr().split("\n", 1)[1].removesuffix("\n}\n").strip()


U1 = ("U", None, [("x", "i"), ("y", "s")])
U2 = ("U", None, [("y", "s"), ("x", "d"), ("z", "d")])
SA = ("S", None, [("a", "i")])


@pytest.mark.parametrize(
    ("source", "given", "target", "held"),
    [
        ("i", 3, "s", 'string x = "3"'),
        ("i", 3, "v", "any x int32_t = 3"),
        ("ai", [1, 2], "ad", "double[] x = {2}[1, 2]"),
        ("ai", [1, 2], "as", 'string[] x = {2}["1", "2"]'),
        ("ad", [0.1], "as", 'string[] x = {1}["0.1"]'),
        ("as", ["1", "2"], "ai", "int32_t[] x = {2}[1, 2]"),
        (U1, ("x", 3), U1, "union x.x int32_t = 3"),
        (U1, ("x", 3), U2, "union x.x double = 3"),
        (U1, None, U2, "union x null"),
        (U1, ("x", 3), "v", "any x int32_t = 3"),
        (U1, None, "v", "any x null"),
        (U1, ("x", 3), "i", "int32_t x = 3"),
        (U1, ("x", 3), ("U", None, [("other", "d")]), "union x.other double = 3"),
        ("i", 3, U1, "union x.x int32_t = 3"),
        ("v", 3, "i", "int32_t x = 3"),
        ("v", 3, U1, "union x.x int32_t = 3"),
        ("v", Type(SA[2])({"a": 4}), SA, "struct {\n        int32_t a = 4\n    } x"),
        (
            ("aU", None, U1[2]),
            [("x", 3), None],
            ("aU", None, U2[2]),
            "union[] x = {2}[\n        union.x double = 3\n        null\n    ]",
        ),
        (
            ("aS", None, SA[2]),
            [{"a": 1}, None],
            ("aS", None, [("a", "d")]),
            "struct[] x = {2}[\n        struct {\n            double a = 1\n        }\n        null\n    ]",
        ),
        ("ai", [1], "av", "any[] x = {1}[\n        int32_t = 1\n    ]"),
    ],
)
def test_between_fields_of_different_kinds(source: Any, given: Any, target: Any, held: str) -> None:
    assert _convert(source, given, target) == held


def test_the_door_by_field() -> None:
    """What other rooms call."""
    union = T._field.member("u")
    assert coerce(scalar("d"), 3, True, "x") == 3.0
    assert coerce(union, ("x", 3), True, "x") == Selected(0, 3)
    assert coerce(scalar("v"), 3, True, "x") == Variant(scalar("l"), 3)
    made = coerce(MEMBER._field, {"a": 300}, False, "x")
    assert isinstance(made, Value)
    assert made.type() == MEMBER
    assert not made.type().strict
    assert coerce(T._field.member("as_"), [{"e": 1}], True, "x")[0].e == 1
    with pytest.raises(KeyError, match=r"x\.zz"):
        coerce(MEMBER._field, {"zz": 1}, True, "x")

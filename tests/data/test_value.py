"""Reading, writing, paths and handles."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from p4p_trio.data import Type, Value

T = Type(
    [
        ("value", "d"),
        ("i", "i"),
        ("s", ("S", "foo_t", [("b", "d"), ("c", "as"), ("deep", ("S", None, [("x", "i")]))])),
        ("u", ("U", "uid", [("x", "i"), ("y", "s"), ("st", ("S", None, [("a", "i"), ("b", "d")]))])),
        ("v", "v"),
        ("array", ("aS", None, [("e", "i"), ("k", ("S", None, [("m", "i")]))])),
        ("choices", ("aU", None, [("p", "i"), ("q", "s"), ("st", ("S", None, [("a", "i")]))])),
        ("any_array", "av"),
        ("ai", "ai"),
        ("empty", ("S", None, [])),
    ],
    id="my:id",
)


class TestConstruction:
    def test_defaults(self) -> None:
        value = T()
        assert value.value == 0.0
        assert value.s.c == []
        assert value.u is None
        assert value.v is None
        assert value.array == value.choices == value.any_array == []
        assert value.ai.dtype == np.int32

    @pytest.mark.parametrize(
        "initial",
        [
            {"i": 3, "s": {"b": 1.5, "deep": {"x": 4}}},
            OrderedDict([("i", 3), ("s.b", 1.5), ("s.deep.x", 4)]),
            [("i", 3), ("s", [("b", 1.5), ("deep.x", 4)])],
            {"i": 3, "s": {"b": 1.5, "deep.x": 4}},
            {b"i": 3, "s": {b"b": 1.5, "deep": [("x", 4)]}},
            T({"i": 3, "s.b": 1.5, "s.deep.x": 4}),
            {None: {"i": 3}, "": [("s", {None: {"b": 1.5}, "deep.x": 4})]},
        ],
    )
    def test_spellings_of_the_same(self, initial: Any) -> None:
        for value in (Value(T, initial), T(initial), Value(type=T, value=initial)):
            assert (value.i, value["s.b"], value["s.deep.x"]) == (3, 1.5, 4)
            assert value.changedSet() == {"i", "s.b", "s.deep.x"}

    def test_clone(self) -> None:
        value = T({"i": 3})
        twin = Value(clone=value)
        twin.i = 4
        assert value.i == 3
        assert twin.changedSet() == {"i"}
        assert Value(clone=value, value={"s.b": 2.0}).changedSet() == {"i", "s.b"}

    def test_refusals(self) -> None:
        with pytest.raises(ValueError, match="type= or clone= required"):
            Value()
        with pytest.raises(TypeError, match="type= must be a Type, not str"):
            Value("i")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="clone= must be a Value"):
            Value(clone=T)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a Value is a structure"):
            T().type("i")()
        with pytest.raises(KeyError, match="zz"):
            T({"zz": 1})
        with pytest.raises(KeyError, match=r"s\.zz"):
            T({"s": {"zz": 1}})

    @pytest.mark.parametrize(
        ("thing", "text"),
        [
            (3, "'int' object is not iterable"),
            ("ab", "takes a dict"),
            (b"ab", "takes a dict"),
            ([3], "expect list of"),
            ([("b", 1, 2)], "expect list of"),
            ([["b", 1]], "expect list of"),
        ],
    )
    def test_what_is_no_structure(self, thing: Any, text: str) -> None:
        with pytest.raises(TypeError, match=text):
            T(thing)
        with pytest.raises(TypeError, match=f"field 's': .*{text}"):
            T({"s": thing})
        with pytest.raises(TypeError, match=f"field 's.deep': .*{text}"):
            T({"s": {"deep": thing}})
        with pytest.raises(TypeError, match="None"):
            T({"s": None})


class TestAccess:
    def test_attributes_and_items(self) -> None:
        value = T()
        value.value = 1.5
        value.s.b = 2.5
        value["s.deep.x"] = 7
        value["i"] = 8
        assert (value.value, value["value"], value["s"]["b"], value.s["deep"].x, value.i) == (1.5, 1.5, 2.5, 7, 8)
        assert value[b"i"] == 8

    def test_paths_may_be_any_kind_of_str(self) -> None:
        value = T({np.str_("s.b"): 1.5})
        assert value[np.str_("s.b")] == 1.5
        assert T({np.str_("u->x"): 3})[np.str_("u->x")] == 3

    def test_unknown_names(self) -> None:
        value = T()
        with pytest.raises(AttributeError, match="zz"):
            _ = value.zz
        with pytest.raises(AttributeError, match="zz"):
            value.zz = 1
        with pytest.raises(KeyError, match="no such member field 'zz'"):
            value["zz"]
        with pytest.raises(KeyError, match=r"no such member field 's\.zz'"):
            value["s.zz"] = 1
        with pytest.raises(AttributeError):
            _ = value.s.value
        assert not hasattr(value, "severity")
        assert value.get("zz") is None
        assert value.get("zz", 4) == 4
        assert value.get("i", 4) == 0

    def test_names_are_str(self) -> None:
        for name in (5, ["i"], 1.5):
            with pytest.raises(TypeError, match="field name must be str"):
                T()[name]  # type: ignore[index]
            with pytest.raises(TypeError, match="field name must be str"):
                T()[name] = 1  # type: ignore[index]
        for other in (None, 5, b"i"):
            with pytest.raises(TypeError, match="field name must be str"):
                T().has(other)  # type: ignore[arg-type]

    def test_methods_win_over_fields_of_their_name(self) -> None:
        value = Type([("type", "s"), ("keys", "i")])({"type": "text"})
        assert value.type().keys() == ["type", "keys"]
        assert value["type"] == "text"
        value.type = "other"  # type: ignore[method-assign,assignment]
        assert value["type"] == "other"

    def test_nothing_but_fields(self) -> None:
        value = T()
        with pytest.raises(AttributeError):
            del value.i
        with pytest.raises(AttributeError):
            del value["i"]  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            len(value)  # type: ignore[arg-type]
        assert bool(Type([])())
        assert value != T()
        assert value == value
        assert len({value, value.s}) == 2

    def test_internal_names_are_no_recursion(self) -> None:
        with pytest.raises(AttributeError):
            _ = object.__new__(Value).anything

    def test_handles_share(self) -> None:
        value = T()
        handle = value.s
        assert handle is not value.s
        handle.b = 3.0
        handle["deep.x"] = 4
        assert (value["s.b"], value["s.deep.x"]) == (3.0, 4)
        assert value.changedSet() == {"s.b", "s.deep.x"}
        for same in (value[None], value[""]):
            same.i = 9
            assert value.i == 9
        value[""] = {"i": 10}
        assert value.i == 10

    def test_keys_items_and_mappings(self) -> None:
        value = T({"i": 3})
        assert value.keys() == list(value) == T.keys()
        assert dict(value)["i"] == 3
        assert "s.b" in value
        assert "zz" not in value

    def test_weak_references(self) -> None:
        value = T()
        assert weakref.ref(value)() is value

    @pytest.mark.parametrize(
        "path", ["", "i", "s", "s.b", "u->x", "u->st.a", "array[0]", "array[0].k.m", "v->", "v->i"]
    )
    def test_has(self, path: str) -> None:
        value = T({"array": [{"e": 1}], "v": T({"i": 3})})
        assert value.has(path)
        assert path in value
        assert not value.changed("u"), "asking changes nothing"

    @pytest.mark.parametrize(
        "path",
        [
            "zz",
            "s.zz",
            "s.b.c",
            "u.x",
            "u->zz",
            "u->",
            "u->st.zz",
            "i->x",
            "array[0]",
            "array[",
            "v->x",
            "v->",
            "i[0]",
            "[0]",
            "s.",
        ],
    )
    def test_has_not(self, path: str) -> None:
        assert not T().has(path)


class TestConversion:
    def value(self) -> Value:
        return T(
            {
                "i": 3,
                "s.c": ["x"],
                "u": ("st", {"a": 1}),
                "v": Type([("n", "i")])({"n": 5}),
                "array": [{"e": 1}, None],
                "choices": [("p", 1), ("st", {"a": 4})],
                "any_array": [1, Type([("n", "i")])({"n": 5})],
                "ai": [1, 2],
            }
        )

    def test_todict(self) -> None:
        found = self.value().todict()
        assert found.pop("ai").tolist() == [1, 2]
        assert found == {
            "value": 0.0,
            "i": 3,
            "s": {"b": 0.0, "c": ["x"], "deep": {"x": 0}},
            "u": {"a": 1, "b": 0.0},
            "v": {"n": 5},
            "array": [{"e": 1, "k": {"m": 0}}, None],
            "choices": [1, {"a": 4}],
            "any_array": [1, {"n": 5}],
            "empty": {},
        }

    def test_parts(self) -> None:
        value = self.value()
        assert value.todict("s.deep") == {"x": 0}
        assert value.todict("i") == value.tolist("i") == 3
        assert value.todict("u->st") == {"a": 1, "b": 0.0}
        assert value.s.todict() == value.todict("s")
        assert value.todict("array[0]") == {"e": 1, "k": {"m": 0}}
        assert isinstance(value.todict(None, OrderedDict)["s"]["deep"], OrderedDict)
        with pytest.raises(AttributeError, match="zz"):
            value.todict("zz")

    def test_tolist(self) -> None:
        assert self.value().tolist("s") == [("b", 0.0), ("c", ["x"]), ("deep", [("x", 0)])]
        assert self.value().tolist("any_array") == [1, [("n", 5)]]

    def test_items(self) -> None:
        value = self.value()
        found = dict(value.items())
        assert isinstance(found["s"], Value)
        assert found["array"] == [[("e", 1), ("k", [("m", 0)])], None]
        assert found["u"] == [("a", 1), ("b", 0.0)]
        assert value.items("s")[0] == ("b", 0.0)
        assert value.items("i") == 3
        assert value.items("array")[0].e == 1
        with pytest.raises(KeyError):
            value.items("zz")

    def test_type(self) -> None:
        value = self.value()
        assert value.type() == T
        assert value.type("s") == T["s"]
        assert value.type("u").aspy()[0] == "U"
        assert value.type("u->st") == T["u->st"]
        assert value.type("v->").keys() == ["n"]
        assert value.type("i").aspy() == "i"
        assert value.type("array[0].k").keys() == ["m"]
        for path in ("zz", "u->x", "array[1].e"):
            with pytest.raises(KeyError):
                value.type(path)

    def test_ids(self) -> None:
        assert T().getID() == "my:id"
        assert T().s.getID() == "foo_t"
        assert T().empty.getID() == "structure"


class TestCopies:
    def test_a_copy_of_a_part_stands_alone(self) -> None:
        value = T({"s.b": 1.0, "i": 2})
        twin = copy.copy(value.s)
        assert twin.todict() == value.todict("s")
        assert twin.changedSet() == {"b"}
        twin.b = 5.0
        assert value.s.b == 1.0
        assert len(twin._slots) == 5

    def test_nested_values_are_copied(self) -> None:
        value = T({"array": [{"e": 1}], "v": T({"i": 1}), "u": ("st", {"a": 1})})
        twin = copy.deepcopy(value)
        twin.array[0].e = 2
        twin.v.i = 2
        twin.u.a = 2
        assert (value.array[0].e, value.v.i, value.u.a) == (1, 1, 1)

    def test_any_holds_a_copy(self) -> None:
        source = T({"i": 1})
        value = T({"v": source})
        source.i = 2
        assert value.v.i == 1
        value.any_array = [source]
        source.i = 3
        assert value.any_array[0].i == 2

    def test_pickle(self) -> None:
        value = T({"array": [{"e": 1}], "ai": [1], "v": T({"ai": [2]})})
        twin = pickle.loads(pickle.dumps(value))
        assert twin.tostr() == value.tostr()
        assert twin.changedSet() == value.changedSet()
        with pytest.raises(ValueError, match="read-only"):
            twin.v.ai[0] = 1
        assert pickle.loads(pickle.dumps(value.s)).todict() == value.s.todict()


class TestStructuresFromStructures:
    def test_marked_fields_are_copied_by_name(self) -> None:
        source = Type([("b", "s"), ("other", "i"), ("deep", ("S", "x", [("x", "d")]))])({"b": "42", "deep.x": 3.0})
        value = T()
        value.s = source
        assert (value.s.b, value.s.deep.x) == (42.0, 3)
        assert value.changedSet() == {"s.b", "s.deep.x"}

    def test_unmarked_ones_are_left_alone(self) -> None:
        value = T({"s.b": 1.0})
        value.unmark()
        value.s = Type([("b", "d"), ("not_there", "i")])()
        assert value.s.b == 1.0
        assert not value.changed()

    def test_a_mark_on_a_structure_means_all_of_it(self) -> None:
        source, value = T({"s.b": 1.0, "s.deep.x": 2}), T()
        source.unmark()
        source.mark("s")
        value[None] = source
        assert (value.s.b, value.s.deep.x) == (1.0, 2)
        assert value.changedSet() == {"s.b", "s.c", "s.deep.x"}
        source.unmark()
        source.mark()
        other = T()
        other.s = source.s
        assert other.s.b == 1.0

    def test_errors_name_the_field(self) -> None:
        value = T()
        with pytest.raises(ValueError, match=r"field 's\.q': No such field"):
            value.s = Type([("q", "i")])({"q": 1})
        with pytest.raises(ValueError, match=r"field 's\.b': Invalid input"):
            value.s = Type([("b", "s")])({"b": "text"})
        with pytest.raises(ValueError, match=r"field 's.deep': Unable to assign struct with int32_t\[\]"):
            value.s = Type([("deep", "ai")])({"deep": [1]})

    def test_a_structure_may_be_assigned_to_itself(self) -> None:
        value = T({"s.b": 1.0, "array": [{"e": 1}]})
        value[None] = value
        value.s = value.s
        assert value.s.b == 1.0
        assert value.array[0].e == 1


def test_repr() -> None:
    assert repr(T({"value": 1.5})) == "Value(id:my:id, 1.5)"
    assert repr(T({"s.b": 2.0}).s) == "Value(id:foo_t, 2.0)"
    assert repr(Type([("a", ("S", None, [("b", "i")]))])()) == "Value(Value(0))"
    assert repr(Type([])()) == "Value()"
    assert repr(Type([], id="x")()) == "Value(id:x)"

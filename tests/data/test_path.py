"""Paths through unions, anys and elements, and selecting what they hold."""

from __future__ import annotations

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


class TestPaths:
    def value(self) -> Value:
        return T(
            {
                "u": ("st", {"a": 1}),
                "v": T({"i": 3, "array": [{"e": 5}]}),
                "array": [{"e": 1}, None, {"k.m": 4}],
                "choices": [("p", 1), ("q", "text"), None, ("st", {"a": 4})],
                "any_array": [1, "x", T({"i": 8})],
            }
        )

    @pytest.mark.parametrize(
        ("path", "held"),
        [
            ("u->st.a", 1),
            ("u->st.b", 0.0),
            ("v->i", 3),
            ("v->array[0].e", 5),
            ("v->s.deep.x", 0),
            ("array[0].e", 1),
            ("array[2].k.m", 4),
            ("array[1]", None),
            ("choices[0]", 1),
            ("choices[1]->q", "text"),
            ("choices[0]->", 1),
            ("choices[2]", None),
            ("choices[3]->st.a", 4),
            ("any_array[1]", "x"),
            ("any_array[2]->i", 8),
            ("any_array[2]->s.b", 0.0),
        ],
    )
    def test_reading(self, path: str, held: Any) -> None:
        assert self.value()[path] == held
        assert self.value().get(path, "default") == held

    @pytest.mark.parametrize(
        "path",
        [
            "u->x", "u->zz", "u->x.a", "v->zz", "v->i.x", "i->x", "value[0]", "array[3]", "array[1].e", "array[a]",
            "array[-1]", "array[0]x", "array[0]->e", "array.e", "choices[0]->q", "choices[2]->p", "choices[4]",
            "choices[0].p", "any_array[0]->i", "any_array[0].i", "s..b", ".i", "i.", "s->b", "u.st", "[0]", "a b", "->",
        ],
    )  # fmt: skip
    def test_what_is_not_there(self, path: str) -> None:
        value = self.value()
        before = value.tostr()
        with pytest.raises(KeyError, match=r"'"):
            value[path]
        with pytest.raises(KeyError):
            value[path] = 1
        assert value.get(path, "default") == "default"
        assert value.tostr() == before

    @pytest.mark.parametrize(
        ("path", "given", "held"),
        [
            ("u->st.a", 9, 9),
            ("v->i", 9, 9),
            ("v->array[0].e", 9, 9),
            ("v->array[0]", {"e": 9}, {"e": 9, "k": {"m": 0}}),
            ("array[0]", {"k": {"m": 9}}, {"e": 1, "k": {"m": 9}}),
            ("array[1]", {"e": 9}, {"e": 9, "k": {"m": 0}}),
            ("array[2].k", {"m": 9}, {"m": 9}),
            ("choices[0]", 9, 9),
            ("choices[0]", ("q", "other"), "other"),
            ("choices[2]", 9, 9),
            ("choices[1]->q", 9, "9"),
            ("choices[3]->st.a", 9, 9),
            ("choices[3]->st", {"a": 9}, {"a": 9}),
            ("any_array[0]", "text", "text"),
            ("any_array[2]->i", 9, 9),
            ("any_array[2]", None, None),
        ],
    )
    def test_writing(self, path: str, given: Any, held: Any) -> None:
        value = self.value()
        value.unmark()
        value[path] = given
        assert value.todict(path) == held
        assert value.changedSet() == {path.split("[")[0].split("-")[0]}

    def test_what_an_any_holds_keeps_its_type(self) -> None:
        value = T({"v": ("i", 3)})
        value["v->"] = "5"
        assert value.v == 5
        value.v = None
        with pytest.raises(KeyError, match="nothing is held"):
            value["v->"] = 5

    def test_keys_of_a_dict_select_what_items_do_not(self) -> None:
        value = T()
        with pytest.raises(KeyError, match=r"select\(\)"):
            value["u->x"] = 3
        assert value.u is None
        value[None] = {"u->x": 3, "s": {"b": 1}}
        assert value.u == 3
        assert T({"u->st.a": 4})["u->st.a"] == 4
        assert T([("u->st", {"b": 4})])["u->st.b"] == 4

    def test_errors_name_the_whole_path(self) -> None:
        for path in ("array[0].e", "v->array[0].k.m", "u->st.a", "s.deep.x"):
            with pytest.raises(ValueError, match=f"field '{path}': ".replace("[", r"\[")):
                self.value()[path] = "text"
        with pytest.raises(ValueError, match=r"field 'v->s.deep.x': "):
            self.value()["v->s"] = {"deep": {"x": "text"}}
        with pytest.raises(ValueError, match=r"field 's.deep.x': "):
            T({"s": {"deep": [("x", "text")]}})
        with pytest.raises(ValueError, match=r"field 'array\[1\].k.m': "):
            T({"array": [{}, {"k": {"m": "text"}}]})
        with pytest.raises(ValueError, match=r"field 's.u->st.x': "):
            Type([("s", ("S", None, [("u", ("U", None, [("st", ("S", None, [("x", "i")]))]))]))])(
                {"s": {"u->st.x": "t"}}
            )


class TestSelect:
    def test_unions(self) -> None:
        value = T()
        value.select("u", "x")
        assert value.u == 0
        assert value.changedSet() == {"u"}
        value["u->x"] = 3
        value.select("u", "x")
        assert value.u == 3, "what is selected already keeps its contents"
        value.select("u", "st")
        value["u->st.a"] = 4
        value.unmark()
        value.select("u", "st")
        assert value["u->st.a"] == 4
        assert value.changedSet() == {"u"}
        value.select("u")
        assert value.u is None

    def test_any(self) -> None:
        value = T()
        value.select("v", "ai")
        assert value.v.dtype == np.int32
        value.select("v", T["s"])
        value["v->b"] = 2.0
        assert value.v.b == 2.0
        value.select("v", None)
        assert value.v is None

    def test_elements(self) -> None:
        value = T({"choices": [None, ("p", 1)]})
        value.select("choices[0]", "q")
        assert value.choices == ["", 1]

    def test_refusals(self) -> None:
        with pytest.raises(TypeError, match="field 'i': only a union or an any"):
            T().select("i", "x")
        with pytest.raises(KeyError, match="zz"):
            T().select("u", "zz")
        with pytest.raises(KeyError, match="zz"):
            T().select("zz", "x")
        with pytest.raises(ValueError, match="field 'v': Invalid Any type spec"):
            T().select("v", "S")

"""Specifications, and the handle on them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from p4p_trio.data import Type, Value
from p4p_trio.data.spec import MAX_DEPTH
from p4p_trio.data.type import Struct, StructArray, Union, UnionArray

T = Type(
    [
        ("i", "i"),
        ("s", ("S", "foo_t", [("b", "d"), ("c", "as")])),
        ("u", ("U", "uid", [("x", "i"), ("st", ("S", None, [("a", "i")]))])),
        ("as_", ("aS", None, [("e", "i")])),
        ("au", ("aU", None, [("q", "s")])),
        ("v", "v"),
        ("av", "av"),
    ],
    id="my:id",
)


class Lenient(Type):
    __slots__ = ()
    strict = False


class TestSpecifications:
    @pytest.mark.parametrize("code", [*"?bBhHiIlLfdsv", *(f"a{code}" for code in "?bBhHiIlLfdsv")])
    def test_every_plain_code(self, code: str) -> None:
        assert Type([("x", code)]).aspy() == ("S", "structure", [("x", code)])

    @pytest.mark.parametrize(("code", "kept"), [("s", "S"), ("u", "U"), ("as", "aS"), ("au", "aU"), ("S", "S")])
    def test_compounds_in_either_case(self, code: str, kept: str) -> None:
        made = Type([("x", (code, "id", [("a", "i")]))])
        assert made["x"] if kept == "S" else made["x"] == (kept, "id", [("a", "i")])
        assert made.aspy("x") == (kept, "id", [("a", "i")])

    def test_helpers_make_the_tuples(self) -> None:
        spec = [("a", "i")]
        assert Struct(spec, "x") == ("S", "x", spec)
        assert Union(spec) == ("U", None, spec)
        assert StructArray(spec) == ("aS", None, spec)
        assert UnionArray(spec=spec, id="y") == ("aU", "y", spec)

    def test_a_type_as_member_keeps_its_id(self) -> None:
        assert Type([("x", T)]).aspy("x.s") == ("S", "foo_t", [("b", "d"), ("c", "as")])
        assert Type([("x", T)])["x"] == T

    def test_a_generator_will_do(self) -> None:
        assert Type((name, "i") for name in "abc").keys() == ["a", "b", "c"]

    def test_no_id_has_three_spellings(self) -> None:
        assert Type([], id="") == Type([], id=None) == Type([], id="structure") == Type([])

    @pytest.mark.parametrize(
        ("spec", "error", "text"),
        [
            ([("x", "z")], ValueError, "field 'x': Invalid plain type spec \"z\""),
            ([("x", "")], ValueError, "field 'x': Invalid plain type spec"),
            ([("x", "ax")], ValueError, "Invalid plain type spec"),
            ([("x", "S")], ValueError, "Invalid plain type spec"),
            ([("x", "aai")], ValueError, "Invalid plain type spec"),
            ([("x", ("i", None, []))], ValueError, "field 'x': Invalid complex type spec \"i\""),
            ([("s", ("S", None, [("x", "z")]))], ValueError, "field 's.x'"),
            ([("x", ("S", []))], TypeError, "field 'x'"),
            ([("x", (5, None, []))], TypeError, "field 'x': a type code must be str"),
            ([("x", ("S", b"id", []))], TypeError, "field 'x': a type id must be str"),
            ([("x", ["S", None, []])], TypeError, "field 'x'"),
            ([("x", b"i")], TypeError, "field 'x'"),
            ([["x", "i"]], TypeError, "must list"),
            ([(b"x", "i")], TypeError, "field name must be str"),
            ([(5, "i")], TypeError, "field name must be str"),
            ({"x": "i"}, TypeError, "must be a list"),
            ("xi", TypeError, "must be a list"),
            (None, TypeError, "not iterable"),
            ([("s", ("S", None, {"x": "i"}))], TypeError, "of 's' must be a list"),
            ([("a b", "i")], ValueError, 'invalid field name "a b"'),
            ([("1a", "i")], ValueError, "invalid field name"),
            ([("é", "i")], ValueError, "invalid field name"),
            ([("a.b", "i")], ValueError, "invalid field name"),
        ],
    )
    def test_refusals(self, spec: Any, error: type[Exception], text: str) -> None:
        for kind in (Type, Lenient):
            with pytest.raises(error, match=text):
                kind(spec)

    @pytest.mark.parametrize("spec", [[("x", "z")], [("a b", "i")], [("x", ("i", None, []))]])
    def test_what_p4p_refuses_with_a_runtime_error_is_one_too(self, spec: Any) -> None:
        with pytest.raises(RuntimeError):
            Type(spec)

    def test_what_only_p4p_lets_pass(self) -> None:
        assert Lenient([("x", "ii")]).aspy("x") == "i"
        assert Lenient([("x", "i"), ("x", "d")]).aspy("x") == "d"
        assert Lenient([("", "i")]).keys() == [""]
        for spec in ([("x", "ii")], [("x", "i"), ("x", "d")], [("", "i")]):
            with pytest.raises(ValueError, match=r"Invalid|duplicate|invalid"):
                Type(spec)

    def test_nesting_is_bounded(self) -> None:
        def nested(levels: int) -> list[Any]:
            spec: list[Any] = [("x", "i")]
            for _ in range(levels):
                spec = [("a", ("S", None, spec))]
            return spec

        deepest = Type(nested(MAX_DEPTH - 1))
        assert deepest().tostr().count("{") == MAX_DEPTH
        for levels in (MAX_DEPTH, MAX_DEPTH + 1, 10_000):
            with pytest.raises(ValueError, match="levels deep"):
                Type(nested(levels))
        with pytest.raises(ValueError, match="levels deep"):
            Type([("one_more", deepest)])
        with pytest.raises(ValueError, match="levels deep"):
            Type([("one_more", ("aS", None, nested(MAX_DEPTH - 1)))])


class TestBase:
    BASE = Type([("a", "i"), ("b", ("S", "orig", [("y", "i")])), ("u", ("U", "u", [("x", "i")])), ("c", "i")], id="x")

    def test_new_members_come_last_and_old_ones_keep_their_place(self) -> None:
        assert Type([("d", "s"), ("a", "d")], base=self.BASE).aspy()[2][0] == ("a", "d")
        assert Type([("d", "s"), ("a", "d")], base=self.BASE).keys() == ["a", "b", "u", "c", "d"]
        assert Type([], base=self.BASE) == self.BASE
        assert Type([("d", "s")], base=self.BASE).getID() == "x"

    def test_structures_unions_and_arrays_of_them_are_merged(self) -> None:
        made = Type([("b", ("S", None, [("z", "s")])), ("u", ("U", "new", [("y", "s"), ("x", "d")]))], base=self.BASE)
        assert made.aspy("b") == ("S", "orig", [("y", "i"), ("z", "s")])
        assert made.aspy("u") == ("U", "new", [("x", "d"), ("y", "s")])
        first = Type([("a", ("aS", None, [("x", "i")]))])
        assert Type([("a", ("aS", None, [("y", "i")]))], base=first).aspy("a") == (
            "aS",
            "structure",
            [("x", "i"), ("y", "i")],
        )

    def test_other_kinds_replace(self) -> None:
        assert Type([("b", "i")], base=self.BASE).aspy("b") == "i"
        assert Type([("b", ("S", "deep", [("y", ("S", None, []))]))], base=self.BASE).aspy("b.y") == (
            "S",
            "structure",
            [],
        )

    def test_refusals(self) -> None:
        with pytest.raises(ValueError, match="only pass one of id= or base="):
            Type([], id="x", base=self.BASE)
        with pytest.raises(TypeError, match="base= must be a Type, not list"):
            Type([], base=[])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="base= must be a structure"):
            Type([], base=T().type("i"))


class TestReading:
    def test_members(self) -> None:
        assert T.keys() == list(T) == ["i", "s", "u", "as_", "au", "v", "av"]
        assert len(T) == 7
        assert T.values()[0] == "i"
        assert isinstance(T.values()[1], Type)
        assert T.items()[2] == ("u", ("U", "uid", [("x", "i"), ("st", ("S", "structure", [("a", "i")]))]))
        assert T.getID() == "my:id"
        assert Type([]).getID() == "structure"

    @pytest.mark.parametrize("path", ["", "i", "s", "s.b", "u->x", "u->st", "u->st.a", "as_"])
    def test_has(self, path: str) -> None:
        assert T.has(path)
        assert path in T

    @pytest.mark.parametrize(
        "path",
        ["zz", "s.zz", "s.b.c", "u.x", "u->zz", "i->x", "as_[0]", "as_[].e", ".i", "i.", "[0]", "u->", "v->x", "a b"],
    )
    def test_has_not(self, path: str) -> None:
        assert not T.has(path)
        with pytest.raises(KeyError):
            T[path]

    @pytest.mark.parametrize("path", [None, 5, b"i"])
    def test_names_are_str(self, path: Any) -> None:
        with pytest.raises(TypeError, match="must be str"):
            T.has(path)
        with pytest.raises(TypeError, match="must be str"):
            T[path]

    def test_items(self) -> None:
        assert T["s.b"] == "d"
        assert T["u->x"] == "i"
        assert T["u->st"].aspy() == ("S", "structure", [("a", "i")])
        assert T["as_"] == ("aS", "structure", [("e", "i")])
        assert T[""] == T
        assert T.aspy("u->st.a") == "i"

    def test_repr_and_text(self) -> None:
        assert repr(T["s"]) == str(T["s"]) == "Type([('b', 'd'), ('c', 'as')], id=\"foo_t\")"
        assert eval(repr(T)) == T
        assert repr(T().type("i")) == "<Type 'i'>"
        assert T.tostr(10) == 'struct "my...'

    def test_calling_makes_a_value(self) -> None:
        assert T().type() == T
        assert T({"i": 3}).i == 3


class TestIdentity:
    def test_equality_and_hash_are_structural(self) -> None:
        one, two = Type([("a", "i")], id="x"), Type([("a", "i")], id="x")
        assert one == two
        assert hash(one) == hash(two)
        assert one != Type([("a", "d")], id="x")
        assert one != Type([("a", "i")])
        assert one == Lenient([("a", "i")], id="x")
        assert one != "x"
        assert bool(Type([]))

    def test_copies(self) -> None:
        assert copy.copy(T) is copy.deepcopy(T) is T
        for kind in (T, Lenient([("a", "i")]), Type([("a", "i")], strict=False), T._twin(from_client=True)):
            twin = pickle.loads(pickle.dumps(kind))
            assert twin == kind
            assert (type(twin), twin.strict, twin.from_client) == (type(kind), kind.strict, kind.from_client)

    def test_types_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            T.strict = False
        with pytest.raises(AttributeError):
            T.anything = 1  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            del T.strict

    def test_children_keep_class_and_strictness(self) -> None:
        lenient = Lenient([("s", ("S", None, [("b", "b")])), ("as_", ("aS", None, [("b", "b")]))])
        value = lenient({"as_": [{"b": 300}], "s": {"b": 300}})
        assert value.s.b == value.as_[0].b == 44
        for child in (value.s.type(), value.as_[0].type(), lenient["s"], value.type("as_")):
            assert type(child) is Lenient
        value.as_[0].b = 301
        assert value.as_[0].b == 45
        strict = Lenient([("b", "b")], strict=True)
        assert strict.strict
        with pytest.raises(ValueError, match="out of range"):
            strict({"b": 300})
        assert not Type([("b", "b")], strict=False).strict

    def test_types_of_what_clients_sent(self) -> None:
        sent = T._twin(from_client=True)
        assert sent == T
        assert sent.from_client
        assert Value(sent).s.type().from_client
        assert not sent._twin(from_client=False).from_client

"""Which fields have changed."""

from __future__ import annotations

import pytest

from p4p_trio.data import Type, Value

T = Type(
    [
        ("x", "i"),
        ("z", ("S", None, [("a", "i"), ("b", "i"), ("q", ("S", None, [("m", "i")]))])),
        ("u", ("U", None, [("n", "i"), ("st", ("S", None, [("a", "i")]))])),
        ("v", "v"),
        ("array", ("aS", None, [("e", "i"), ("k", ("S", None, [("m", "i")]))])),
    ]
)


def test_nothing_is_marked_at_first() -> None:
    assert not T().changed()
    assert T().changedSet() == set()


def test_assignment_marks_even_where_nothing_changes() -> None:
    value = T({"z.a": 0})
    assert value.changedSet() == value.asSet() == {"z.a"}
    assert value.changed()
    assert value.changed("z")
    assert value.changed("z.a")
    assert not value.changed("z.b")
    assert not value.changed("x")
    assert value.changed("x", "z.a")
    assert value.changedSet(parents=True) == {"z", "z.a"}


def test_a_marked_structure_contributes_all_of_itself() -> None:
    value = T()
    value.mark("z")
    for expand in (False, True):
        assert value.changedSet(expand) == {"z", "z.a", "z.b", "z.q", "z.q.m"}
    assert value.changed("z.q.m")
    assert value.z.changed()
    assert value.z.q.changed("m")
    assert value.z.changedSet() == set()


def test_a_mark_on_the_whole_has_no_name() -> None:
    value = T()
    value.mark()
    assert value.changed()
    assert value.changed("x")
    assert value.changedSet() == value.changedSet(parents=True) == set()
    value.x = 1
    assert value.changedSet() == {"x"}
    value.clear()
    assert value.changedSet() == {"x"}


def test_mark_touches_one_node() -> None:
    value = T({"z.a": 1})
    value.mark("z")
    value.mark("z", False)
    assert value.changedSet() == {"z.a"}
    value.z.mark("a", False)
    value.z.mark("b")
    assert value.changedSet() == {"z.b"}
    value.z.clear()
    assert value.changedSet() == {"z.b"}


def test_unmark_clears_below_and_above() -> None:
    value = T({"z.a": 1, "x": 2})
    value.mark()
    value.mark("z")
    value.z.q.unmark()
    assert value.changedSet() == {"z.a", "x"}
    assert value._slots[0] & 1 == 0
    value.unmark()
    assert not value.changed()


@pytest.mark.parametrize("path", ["zz", "z.zz", "u->n", "array[0]", "v->x"])
def test_unknown_fields(path: str) -> None:
    with pytest.raises(KeyError):
        T().changed(path)
    with pytest.raises(KeyError):
        T().mark(path)


class TestInsideItems:
    """What lies in unions, anys and arrays has marks of its own, and marks the field that holds it."""

    def value(self) -> Value:
        made = T({"u": ("st", {"a": 1}), "v": Type([("i", "i")])({"i": 3}), "array": [{"e": 1}, None, {"k.m": 4}]})
        assert made.changedSet() == {"u", "v", "array"}
        made.unmark()
        return made

    @pytest.mark.parametrize(
        ("path", "field"), [("u->st.a", "u"), ("v->i", "v"), ("array[0].e", "array"), ("array[2].k.m", "array")]
    )
    def test_assigning_by_path(self, path: str, field: str) -> None:
        value = self.value()
        value[path] = 77
        assert value[path] == 77
        assert value.changedSet() == {field}
        assert value.changed(path)

    @pytest.mark.parametrize(("path", "field"), [("u->st", "u"), ("v->", "v"), ("array[2].k", "array")])
    def test_assigning_through_a_handle(self, path: str, field: str) -> None:
        value = self.value()
        handle = value[path]
        setattr(handle, handle.keys()[0], 78)
        assert value[path].todict() == {handle.keys()[0]: 78}
        assert value.changedSet() == {field}

    def test_reading_attributes_gives_such_handles(self) -> None:
        value = self.value()
        value.array[2].k.m = 5
        assert value.array[2].k.m == 5
        assert value.changedSet() == {"array"}
        value.unmark()
        value.u.a = 6
        value.v.i = 7
        assert value.changedSet() == {"u", "v"}
        assert (value["u->st.a"], value["v->i"]) == (6, 7)

    def test_marks_can_be_set_there(self) -> None:
        value = self.value()
        value.mark("array[0].e")
        assert value.changedSet() == {"array"}
        assert value["array[0]"].changedSet() == {"e"}
        value.mark("array[0].e", False)
        assert value["array[0]"].changedSet() == set()
        value.unmark()
        value.mark("u->st")
        assert value.changedSet() == {"u"}
        value.mark("u->st", False)
        assert value.changed("u->st")

    def test_marks_of_scalars_are_those_of_the_field(self) -> None:
        value = T({"u": ("n", 1), "v": 5})
        value.unmark()
        value.mark("u->n")
        assert value.changedSet() == {"u"}
        assert value.changed("u->n")
        value.mark("u->n", False)
        assert not value.changed()
        value.mark("v->")
        assert value.changed("v->")

    def test_a_marked_holder_means_changed(self) -> None:
        value = self.value()
        element = value.array[0]
        element.unmark()
        assert not element.changed()
        value.mark("array")
        assert element.changed("e")
        assert value.changed("array[0].e")

    def test_items_in_items(self) -> None:
        inner = Type([("list", ("aS", None, [("n", "i")]))])
        value = Type([("z", ("S", None, [("v", "v")]))])({"z.v": inner({"list": [{"n": 1}]})})
        value.unmark()
        value.z.v.list[0].n = 9
        assert value["z.v->list[0].n"] == 9
        assert value.changedSet() == {"z.v"}
        assert value["z.v->"].changedSet() == {"list"}
        assert value["z.v->list[0]"].changed()

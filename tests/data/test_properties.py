"""What holds for every structure and every value."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p4p_trio.data import Field, Type, Value, bits, freeze
from p4p_trio.data.coerce import coerce
from p4p_trio.data.path import resolve
from p4p_trio.data.spec import spec_of
from tests.strategies import fields, items, leaf_fields, same_item, same_value, values

# Whole values are slow to draw; a third of the profile's examples find what there is to find.
few = settings(max_examples=settings().max_examples // 3)


@few
@given(fields())
def test_a_type_is_what_its_specification_says(field: Field) -> None:
    _, id, spec = spec_of(field)
    if field.id in ("structure", "union") or _unspeakable(field):
        return
    assert Type(spec, id)._field is field


def _unspeakable(field: Field) -> bool:
    """Ids that mean "no id" when they are read back."""
    below = (*field.members, *([field.element] if field.element else []))
    return field.id in ("structure", "union") or any(map(_unspeakable, below))


@few
@given(fields())
def test_numbering_is_depth_first_and_subtrees_are_contiguous(field: Field) -> None:
    layout = field.layout
    assert layout.all == (1 << len(layout)) - 1
    for n, each in enumerate(layout.fields):
        assert layout.position[layout.paths[n]] == n
        inside = list(bits(layout.subtree[n]))
        assert inside == list(range(n, n + len(inside)))
        if each.code == "S":
            assert len(inside) == len(each.layout)
            assert layout.fields[n : n + len(inside)] == each.layout.fields
        for above in bits(layout.parents[n]):
            assert layout.subtree[above] >> n & 1


@few
@given(values())
def test_a_copy_is_equal_and_shares_nothing(value: Value) -> None:
    for twin in (copy.copy(value), copy.deepcopy(value), Value(clone=value), pickle.loads(pickle.dumps(value))):
        assert same_value(value, twin)
        for mine, other in zip(_parts(value), _parts(twin), strict=True):
            assert mine._slots is not other._slots


def _parts(value: Value) -> list[Value]:
    """The value and all values inside it."""
    found = [value]

    def look(field: Field, item: Any) -> None:
        if item is None:
            return
        if field.code == "S":
            found.extend(_parts(item))
        elif field.code == "U":
            if item.index >= 0:
                look(field.members[item.index], item.item)
        elif field.code == "v":
            if item.field is not None:
                look(item.field, item.item)
        elif field.code in ("aS", "aU", "av"):
            element = field.element
            for each in item:
                if element is not None:
                    look(element, each)
                elif each is not None and each.field is not None:
                    look(each.field, each.item)

    layout = value._type._field.layout
    for n in layout.compound:
        look(layout.fields[n], value._slots[n])
    return found


@few
@given(values())
def test_arrays_stay_read_only_through_pickling(value: Value) -> None:
    twin = pickle.loads(pickle.dumps(value))
    for part in _parts(twin):
        for item in part._slots:
            assert not isinstance(item, np.ndarray) or not item.flags.writeable


@few
@given(fields().flatmap(lambda field: st.tuples(st.just(field), items(field))))
def test_freezing_changes_nothing(pair: tuple[Field, Any]) -> None:
    field, item = pair
    assert same_item(field, item, freeze(field, item))


@few
@given(values())
def test_reading_by_path_and_walking_agree(value: Value) -> None:
    """The dictionary look-up and the walk, which is its slow twin."""
    layout = value._type._field.layout
    for path in layout.paths[1:]:
        quick, place = value[path], resolve(value, path)
        if place.handle is not None:
            assert isinstance(quick, Value)
            assert quick._slots is place.handle._slots
            assert quick._offset == place.handle._offset == layout.position[path]
        else:
            assert place.item is value._slots[layout.position[path]]


@few
@given(values())
def test_marks_follow_the_bits(value: Value) -> None:
    layout, mask = value._type._field.layout, value._slots[0]
    for n, path in enumerate(layout.paths):
        related = layout.subtree[n] | layout.parents[n]
        assert value.changed(path) is bool(mask & related)
    expected = {
        layout.paths[n]
        for n in range(1, len(layout))
        if mask >> n & 1 or any(mask >> above & 1 for above in bits(layout.parents[n] & ~1))
    }
    assert value.changedSet() == expected


@few
@given(values())
def test_a_handle_sees_the_same_marks(value: Value) -> None:
    for n, field in enumerate(value._type._field.layout.fields):
        if n and field.code == "S":
            path = value._type._field.layout.paths[n]
            handle = value[path]
            assert handle.changed() is value.changed(path)
            inside = {f"{path}.{name}" for name in handle.changedSet()}
            whole = {name for name in value.changedSet() if name.startswith(f"{path}.")}
            assert inside <= whole


@few
@given(values())
def test_text_has_a_line_per_leaf_and_survives_any_limit(value: Value) -> None:
    text = value.tostr()
    assert text.endswith("\n")
    assert text.isascii() or any(not id.isascii() for id in _ids(value))
    assert str(value) == value.tostr(0) == value.tostr(-1) == value.tostr(len(text))
    assert value.tostr(1) == f"{text[0]}..."


def _ids(value: Value) -> list[str]:
    return [id for part in _parts(value) for id in _field_ids(part._type._field)]


def _field_ids(field: Field) -> list[str]:
    below = (*field.members, *([field.element] if field.element else []))
    return [field.id, *(id for each in below for id in _field_ids(each))]


@few
@given(values())
def test_todict_and_tolist_hold_every_member(value: Value) -> None:
    assert list(value.todict()) == [name for name, _ in value.tolist()] == value.keys() == list(value)


@few
@given(fields(2), st.booleans())
def test_assigning_a_whole_value_copies_its_marked_leaves(field: Field, strict: bool) -> None:
    value = Value(Type._of(field, strict))
    value.mark()
    twin = Value(Type._of(field))
    twin[None] = value
    assert twin._slots[0] == field.layout.leaves
    assert same_value(value, twin, marks=False)


@few
@given(values())
def test_assigning_what_was_read_changes_nothing(value: Value) -> None:
    """For everything that reads back without losing its type: unions and anys inside arrays do not."""
    twin = value._detached()
    for n, field in enumerate(value._type._field.layout.fields):
        if field.code not in ("S", "U", "v", "aS", "aU", "av"):
            path = value._type._field.layout.paths[n]
            twin[path] = value[path]
            assert same_item(field, value._slots[n], twin._slots[n])


_OBJECTS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 65), 1 << 65),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.lists(st.integers(-300, 300) | st.floats() | st.text(max_size=2), max_size=3),
    st.tuples(st.sampled_from(["d", "x", "a"]), st.integers(-300, 300)),
    st.dictionaries(st.sampled_from(["a", "x", "s.b", ""]), st.integers(), max_size=2),
    st.sampled_from([np.int8(3), np.uint64(1 << 63), np.float32(0.1), np.bool_(True), np.arange(3), np.zeros((2, 2))]),
    st.just(object()),
)


@pytest.mark.filterwarnings("ignore:enum_t")
@given(leaf_fields() | fields(2), _OBJECTS, st.booleans())
def test_coercion_gives_an_item_or_an_error_that_names_the_field(field: Field, thing: Any, strict: bool) -> None:
    try:
        item = coerce(field, thing, strict, "the.field")
    except (TypeError, ValueError, OverflowError, KeyError) as exc:
        assert "the.field" in str(exc)  # noqa: PT017 - that there is an error depends on the example
        return
    again = coerce(field, item, strict, "the.field") if field.code not in ("U", "v", "aU", "av", "aS") else item
    assert same_item(field, item, again)

"""pvRequests: their grammar, what they select, their options."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p4p_trio.data import Field, Type, Value, bits, parse_request, request_options, select_fields
from tests.strategies import fields, requests

T = Type(
    [
        ("value", "d"),
        ("alarm", ("S", "alarm_t", [("severity", "i"), ("status", "i"), ("message", "s")])),
        ("timeStamp", ("S", "time_t", [("secondsPastEpoch", "l"), ("nanoseconds", "i")])),
        ("array", ("aS", None, [("x", "i")])),
        ("empty", ("S", None, [])),
    ]
)
# 0 all, 1 value, 2 alarm (3 4 5), 6 timeStamp (7 8), 9 array, 10 empty
ALL = (1 << 11) - 1


class TestGrammar:
    @pytest.mark.parametrize(
        ("text", "meaning"),
        [
            ("", {"field": {}}),
            ("  ", {"field": {}}),
            ("field()", {"field": {}}),
            ("value", {"field": {"value": {}}}),
            (" value\n", {"field": {"value": {}}}),
            ("field(value)", {"field": {"value": {}}}),
            ("field (value)", {"field": {"value": {}}}),
            ("field( value )", {"field": {"value": {}}}),
            ("field(value,)", {"field": {"value": {}}}),
            ("field(,value)", {"field": {"value": {}}}),
            ("field(a b)", {"field": {"a": {}, "b": {}}}),
            ("a.b", {"field": {"a": {"b": {}}}}),
            ("field.x", {"field": {"field": {"x": {}}}}),
            ("field(a.b,a.c)", {"field": {"a": {"b": {}, "c": {}}}}),
            ("field(a..b)", {"field": {"a": {"b": {}}}}),
            ("field(a)field(a.b)", {"field": {"a": {"b": {}}}}),
            ("field(a.b)field(a)", {"field": {"a": {"b": {}}}}),
            ("x y", {"field": {"x": {}, "y": {}}}),
            ("field(value)field(alarm)", {"field": {"value": {}, "alarm": {}}}),
            ("field(value)junk", {"field": {"value": {}, "junk": {}}}),
            ("record[]", {"field": {}}),
            ("record[a=b]", {"field": {}, "record": {"_options": {"a": "b"}}}),
            ("record[ a = b , ]", {"field": {}, "record": {"_options": {"a": "b"}}}),
            ("x record[a=b] y", {"field": {"x": {}, "y": {}}, "record": {"_options": {"a": "b"}}}),
            ("record[a=1]record[b=2]", {"field": {}, "record": {"_options": {"a": "1", "b": "2"}}}),
            ("record[q=5,q=6]", {"field": {}, "record": {"_options": {"q": "6"}}}),
            ("record[ackAny=50%]", {"field": {}, "record": {"_options": {"ackAny": "50%"}}}),
            ("record[DBE=VALUE|ALARM]", {"field": {}, "record": {"_options": {"DBE": "VALUE|ALARM"}}}),
            ("record[x=-1.5]", {"field": {}, "record": {"_options": {"x": "-1.5"}}}),
        ],
    )
    def test_meanings(self, text: str, meaning: dict[str, Any]) -> None:
        assert parse_request(text).todict() == meaning

    def test_options_are_sorted_marked_strings_after_the_fields(self) -> None:
        request = parse_request("record[queueSize=5,pipeline=true]field(value)")
        options = [("pipeline", "s"), ("queueSize", "s")]
        assert request.type().aspy() == (
            "S",
            "structure",
            [
                ("field", ("S", "structure", [("value", ("S", "structure", []))])),
                ("record", ("S", "structure", [("_options", ("S", "structure", options))])),
            ],
        )  # fmt: skip
        assert request.changedSet() == {"record._options.pipeline", "record._options.queueSize"}

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("value,alarm", "expected .* at position 5"),
            ("field(a{b,c})", "at position 7"),
            ("value[x=y]", "at position 5"),
            ("field(value[x=y])", "at position 11"),
            ("putField(value)", "at position 8"),
            ("field(value", r"expected \) to close field\( at position 0"),
            ("x record[a=b", r"expected \] to close record\[ at position 2"),
            ("record[a]", "expected name=value at position 7"),
            ("record[a=]", "expected name=value at position 7"),
            ("record[=b]", "expected name=value at position 7"),
            ("record[a=b c]", r"expected , or \] at position 11"),
            ("field", r"expected field\( at position 0"),
            ("a record", r"expected record\[ at position 2"),
            ("1a", 'invalid field name "1a" at position 0'),
            ("x a.1", 'invalid field name "1" at position 2'),
            ("é", "at position 0"),
            ("field(value))", "at position 12"),
            (".".join("a" * 200), "levels at position 0"),
        ],
    )
    def test_errors_name_the_position(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            parse_request(text)
        with pytest.raises(RuntimeError):
            parse_request(text)

    def test_only_text(self) -> None:
        with pytest.raises(TypeError, match="must be str, not NoneType"):
            parse_request(None)  # type: ignore[arg-type]

    @given(st.text("field(recod[]=,.ab1 )", max_size=30) | st.text(max_size=20))
    def test_any_text_parses_or_is_a_value_error(self, text: str) -> None:
        with suppress(ValueError):
            assert isinstance(parse_request(text), Value)


class TestSelection:
    @pytest.mark.parametrize(
        ("text", "mask"),
        [
            ("", ALL),
            ("field()", ALL),
            ("value", 1 << 1),
            ("alarm", 0b111100),
            ("alarm.severity", 1 << 3),
            ("alarm.severity alarm.status alarm.message", 0b111100),
            ("value timeStamp.nanoseconds", 1 << 1 | 1 << 8),
            ("array", 1 << 9),
            ("array.x", 1 << 9),
            ("value.deeper", 1 << 1),
            ("empty", 1 << 10),
            ("value zz alarm.zz", 1 << 1),
            ("value alarm timeStamp array", ALL & ~(1 << 10)),
        ],
    )
    def test_masks(self, text: str, mask: int) -> None:
        assert select_fields(T._field, parse_request(text)) == mask

    @pytest.mark.parametrize("text", ["zz", "alarm.zz", "zz.value", "empty.x"])
    def test_nothing_selected(self, text: str) -> None:
        with pytest.raises(ValueError, match="pvRequest must select at least one field"):
            select_fields(T._field, parse_request(text))

    @pytest.mark.parametrize(
        "spec",
        [
            [],
            [("record", ("S", None, []))],
            [("field", "s")],
            [("field", ("S", None, []))],
        ],
    )
    def test_requests_that_name_nothing_select_everything(self, spec: Any) -> None:
        assert select_fields(T._field, Type(spec)()) == ALL
        assert select_fields(T._field, None) == ALL

    def test_what_is_no_structure_names_nothing(self) -> None:
        request = Type([("field", ("S", None, [("value", "s"), ("alarm", ("S", None, []))]))])()
        assert select_fields(T._field, request) == 0b111100
        with pytest.raises(ValueError, match="at least one field"):
            select_fields(T._field, Type([("field", ("S", None, [("value", "s")]))])())

    @settings(max_examples=settings().max_examples // 3)
    @given(fields().flatmap(lambda field: st.tuples(st.just(field), requests(field))))
    def test_a_structure_is_selected_if_all_of_it_is(self, pair: tuple[Field, str]) -> None:
        field, text = pair
        layout = field.layout
        try:
            mask = select_fields(field, parse_request(text))
        except ValueError:
            return
        assert mask & ~layout.all == 0
        for n in bits(mask & ~layout.leaves):
            assert layout.subtree[n] & layout.leaves & ~mask == 0
        for n, each in enumerate(layout.fields):
            leaves = layout.subtree[n] & layout.leaves
            if each.code == "S" and leaves and leaves & ~mask == 0:
                assert mask >> n & 1


class TestOptions:
    def test_from_text(self) -> None:
        assert request_options(parse_request("record[queueSize=5,pipeline=true]")) == {
            "queueSize": "5",
            "pipeline": "true",
        }

    def test_from_a_program(self) -> None:
        request = Type([("record", ("S", None, [("_options", ("S", None, [("queueSize", "i"), ("pipeline", "?")]))]))])
        options = request({"record._options": {"queueSize": 4, "pipeline": True}})
        assert request_options(options) == {"queueSize": 4, "pipeline": True}

    @pytest.mark.parametrize("spec", [[], [("record", "i")], [("record", ("S", None, [("_options", "s")]))]])
    def test_none(self, spec: Any) -> None:
        assert request_options(Type(spec)()) == {}
        assert request_options(None) == {}
        assert request_options(parse_request("value")) == {}

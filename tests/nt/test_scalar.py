"""NTScalar and NTScalarArray."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import numpy as np
import pytest

from p4p_trio.data import Type, Value
from p4p_trio.nt import NTScalar, Unwrapped, ntbool, ntfloat, ntint, ntnumericarray, ntstr, ntstringarray

CODES = "?bBhHiIlLfds"


class TestTypes:
    @pytest.mark.parametrize("code", [*CODES, *(f"a{code}" for code in CODES), "v"])
    def test_the_least(self, code: str) -> None:
        made = NTScalar(code).type
        assert made.keys() == ["value", "alarm", "timeStamp"]
        assert made["value"] == code
        assert made.getID() == ("epics:nt/NTScalarArray:1.0" if code[0] == "a" else "epics:nt/NTScalar:1.0")
        assert made["alarm"].getID() == "alarm_t"
        assert made["timeStamp"].getID() == "time_t"

    @pytest.mark.parametrize("code", ["i", "d", "B", "ai", "ad", "v"])
    def test_all_of_it_for_numbers(self, code: str) -> None:
        e = code[-1]
        made = NTScalar.buildType(code, display=True, control=True, valueAlarm=True)
        assert made.keys() == ["value", "alarm", "timeStamp", "display", "control", "valueAlarm"]
        assert made.aspy("display")[2] == [
            ("limitLow", e), ("limitHigh", e), ("description", "s"), ("format", "s"), ("units", "s"),
        ]  # fmt: skip
        assert made.aspy("control")[2] == [("limitLow", e), ("limitHigh", e), ("minStep", e)]
        assert made.aspy("valueAlarm")[2] == [
            ("active", "?"), ("lowAlarmLimit", e), ("lowWarningLimit", e), ("highWarningLimit", e),
            ("highAlarmLimit", e), ("lowAlarmSeverity", "i"), ("lowWarningSeverity", "i"),
            ("highWarningSeverity", "i"), ("highAlarmSeverity", "i"), ("hysteresis", "d"),
        ]  # fmt: skip

    def test_form(self) -> None:
        made = NTScalar.buildType("d", display=True, form=True)
        assert made.aspy("display") == (
            "S",
            "structure",
            [
                ("limitLow", "d"), ("limitHigh", "d"), ("description", "s"), ("precision", "i"),
                ("form", ("S", "enum_t", [("index", "i"), ("choices", "as")])), ("units", "s"),
            ],
        )  # fmt: skip
        assert NTScalar.buildType("d", form=True) == NTScalar.buildType("d")

    @pytest.mark.parametrize("code", ["?", "s", "a?", "as"])
    def test_all_of_it_for_others(self, code: str) -> None:
        made = NTScalar.buildType(code, display=True, control=True, valueAlarm=True, form=True)
        assert made.keys() == ["value", "alarm", "timeStamp", "display"]
        assert made.aspy("display")[2] == [("description", "s"), ("units", "s")]

    def test_extra_members_come_last(self) -> None:
        made = NTScalar("d", extra=[("more", "i"), ("other", ("S", None, [("x", "d")]))], control=True).type
        assert made.keys() == ["value", "alarm", "timeStamp", "control", "more", "other"]
        assert made.getID() == "epics:nt/NTScalar:1.0"

    def test_positional_as_in_p4p(self) -> None:
        assert NTScalar.buildType("d", [], True, True) == NTScalar.buildType("d", display=True, control=True)
        with pytest.raises(TypeError):
            NTScalar("d", [])  # type: ignore[misc]

    def test_equal_ones_share_a_type(self) -> None:
        assert NTScalar("d", display=True).type is NTScalar("d", display=True).type

    def test_wrong_codes(self) -> None:
        for code in ("x", "", "S"):
            with pytest.raises(ValueError, match="field 'value': Invalid plain type spec"):
                NTScalar(code)

    def test_strictness_is_the_class_of_the_type(self) -> None:
        class LenientType(Type):
            __slots__ = ()
            strict = False

        class Lenient(NTScalar):
            type_class = LenientType

        assert Lenient("b").wrap(300).value == 44
        assert Lenient("b", extra=[("x", "b")]).wrap({"x": 300})["x"] == 44
        for given in (300, 1.5):
            with pytest.raises(ValueError, match="field 'value'"):
                NTScalar("b").wrap(given)


class TestWrap:
    @pytest.mark.parametrize(
        ("code", "given"),
        [("d", 4.2), ("i", 5), ("?", True), ("s", "text"), ("ad", [1.5, 2.5]), ("ai", range(3)), ("as", ["a", "b"])],
    )
    def test_plain_objects_go_into_value(self, code: str, given: Any) -> None:
        value = NTScalar(code).wrap(given)
        assert list(value.value) == list(given) if code[0] == "a" else value.value == given
        assert value.changedSet() == {"value"}

    def test_a_dict_names_fields(self) -> None:
        value = NTScalar("d", display=True).wrap({"value": 1.5, "display": {"units": "mm"}, "alarm.severity": 1})
        assert (value.value, value["display.units"], value.alarm.severity) == (1.5, "mm", 1)

    def test_annotations(self) -> None:
        value = NTScalar("d").wrap(1.5, timestamp=(5, 6), severity=2, message="high")
        assert value.changedSet() == {
            "value", "timeStamp.secondsPastEpoch", "timeStamp.nanoseconds", "alarm.severity", "alarm.message",
        }  # fmt: skip
        assert value.timeStamp.tolist() == [("secondsPastEpoch", 5), ("nanoseconds", 6), ("userTag", 0)]
        with pytest.raises(TypeError):
            NTScalar("d").wrap(1.5, status=2)  # type: ignore[call-arg]

    def test_a_value_is_used_as_it_is(self) -> None:
        helper = NTScalar("d")
        value = Value(helper.type, {"value": 1.5})
        assert helper.wrap(value, severity=1) is value
        assert value.alarm.severity == 1

    def test_what_was_unwrapped_is_its_value_untouched(self) -> None:
        helper = NTScalar("d")
        value = helper.wrap(1.5, timestamp=(1_700_000_000, 123_456_789))
        value.unmark()
        assert helper.wrap(helper.unwrap(value)) is value
        assert not value.changed()
        assert value.timeStamp.nanoseconds == 123_456_789
        helper.wrap(helper.unwrap(value), timestamp=5)
        assert value.timeStamp.secondsPastEpoch == 5

    def test_what_never_was_wrapped_is_a_plain_object(self) -> None:
        array = NTScalar("ad").unwrap(NTScalar("ad").wrap([1.0, 2.0]))
        assert NTScalar("ad").wrap(array[1:] * 2).value.tolist() == [4.0]
        bare = ntfloat(5)
        assert NTScalar("d").wrap(bare).changedSet() == {"value"}
        bare.timestamp = 7.5
        assert NTScalar("d").wrap(bare).timeStamp.nanoseconds == 500_000_000
        assert NTScalar("s").wrap(ntstr("text")).value == "text"

    def test_fields_that_are_not_there(self) -> None:
        with pytest.raises(KeyError, match="zz"):
            NTScalar("d").wrap({"zz": 1})
        with pytest.raises(TypeError, match="field 'value'"):
            NTScalar("d").wrap(None)


class TestUnwrap:
    @pytest.mark.parametrize(
        ("code", "given", "kind", "base"),
        [
            ("?", True, ntbool, int),
            ("i", 5, ntint, int),
            ("L", 5, ntint, int),
            ("f", 0.5, ntfloat, float),
            ("d", 4.2, ntfloat, float),
            ("s", "text", ntstr, str),
            ("ad", [1.5], ntnumericarray, np.ndarray),
            ("a?", [True], ntnumericarray, np.ndarray),
            ("ad", [], ntnumericarray, np.ndarray),
            ("as", ["a"], ntstringarray, list),
            ("as", [], ntstringarray, list),
            ("v", 5, ntint, int),
        ],
    )
    def test_kinds(self, code: str, given: Any, kind: type, base: type) -> None:
        value = NTScalar(code).wrap(given, timestamp=(100, 250_000_000), severity=2, message="high")
        value["alarm.status"] = 3
        found = NTScalar.unwrap(value)
        assert type(found) is kind
        assert isinstance(found, base)
        assert isinstance(found, Unwrapped)
        assert list(found) == given if isinstance(given, list) else found == given
        assert found.raw is value
        assert (found.severity, found.status, found.message) == (2, 3, "high")
        assert found.raw_stamp == (100, 250_000_000)
        assert found.timestamp == 100.25

    def test_never_assigned_arrays(self) -> None:
        assert NTScalar.unwrap(NTScalar("ad").type()).shape == (0,)

    def test_arrays_are_views(self) -> None:
        value = NTScalar("ad").wrap([1.0, 2.0])
        found = NTScalar.unwrap(value)
        assert np.shares_memory(found, value.value)
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 5

    def test_structures_without_alarm_or_time(self) -> None:
        found = NTScalar.unwrap(Type([("value", "d")])({"value": 1.0}))
        assert (found.severity, found.status, found.message, found.raw_stamp) == (0, 0, "", (0, 0))

    def test_refusals(self) -> None:
        with pytest.raises(ValueError, match="Can't unwrap value of type NoneType"):
            NTScalar.unwrap(NTScalar("v").type())
        with pytest.raises(ValueError, match="Can't unwrap value of type Value"):
            NTScalar.unwrap(Type([("value", ("S", None, []))])())
        with pytest.raises(AttributeError, match="value"):
            NTScalar.unwrap(Type([("other", "d")])())
        with pytest.raises(TypeError, match="takes a Value, not float"):
            NTScalar.unwrap(1.5)  # type: ignore[arg-type]

    def test_text(self) -> None:
        found = NTScalar.unwrap(NTScalar("d").wrap(4.5, timestamp=100))
        assert str(found) == found.tostr() == f"{found}" == f"{time.ctime(100)} 4.5"
        assert f"{found:.1f}" == "4.5" if type(found).__format__ is float.__format__ else True
        assert repr(found) == "4.5"
        assert [repr(ntbool(flag)) for flag in (0, 5)] == ["false", "true"]
        assert str(ntfloat(5)).endswith(" 5.0")

    def test_arithmetic_is_plain(self) -> None:
        found = NTScalar.unwrap(NTScalar("d").wrap(4.5, severity=1))
        assert type(found + 1) is float
        array = NTScalar.unwrap(NTScalar("ad").wrap([1.0, 2.0], severity=1))
        doubled = array * 2
        assert type(doubled) is ntnumericarray
        assert (doubled.raw, doubled.timestamp, doubled.severity) == (None, None, 0)

    @pytest.mark.parametrize(
        ("code", "given"), [("d", 1.5), ("i", 5), ("?", True), ("s", "x"), ("ad", [1.5]), ("as", ["a"])]
    )
    def test_copies_keep_everything(self, code: str, given: Any) -> None:
        found = NTScalar.unwrap(NTScalar(code).wrap(given, severity=1, timestamp=5))
        for twin in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
            assert type(twin) is type(found)
            assert np.all(twin == found)
            assert (twin.severity, twin.timestamp) == (1, 5.0)
            assert twin.raw is not found.raw
            assert twin.raw.tostr() == found.raw.tostr()

    def test_copies_of_slices(self) -> None:
        part = NTScalar.unwrap(NTScalar("ad").wrap([1.5, 2.5]))[1:]
        for twin in (pickle.loads(pickle.dumps(part)), copy.deepcopy(part)):
            assert twin.tolist() == [2.5]
            assert twin.raw is None

    def test_only_flat_arrays(self) -> None:
        with pytest.raises(ValueError, match="1-d"):
            ntnumericarray.build(np.zeros((2, 2)))


class TestAssign:
    def test_value_only(self) -> None:
        helper = NTScalar("i")
        value = helper.type()
        helper.assign(value, "5")
        assert value.value == 5
        assert value.changedSet() == {"value"}
        helper.assign(value, helper.unwrap(helper.wrap(7)))
        assert value.value == 7

    def test_refusals(self) -> None:
        helper = NTScalar("i")
        with pytest.raises(TypeError, match="field 'value'"):
            helper.assign(helper.type(), {"value": 5})
        with pytest.raises(ValueError, match="field 'value'"):
            helper.assign(helper.type(), helper.wrap(5))
        with pytest.raises(ValueError, match='"not_an_integer"'):
            helper.assign(helper.type(), "not_an_integer")

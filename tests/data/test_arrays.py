"""Arrays of scalars and of strings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from p4p_trio.data import Type, Value
from p4p_trio.data.arrays import code_for, lasting
from p4p_trio.data.field import DTYPES

CODES = "?bBhHiIlLfd"


def name(code: str) -> str:
    """The field with arrays of *code*: "ad", "ai", and "abool"."""
    return "abool" if code == "?" else f"a{code}"


SPEC = [(name(code), f"a{code}") for code in CODES] + [("as_", "as")]
T = Type(SPEC)
LENIENT = Type(SPEC, strict=False)


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("code", CODES)
class TestEveryNumericArray:
    def test_fresh_ones_are_empty(self, code: str) -> None:
        array = T()[name(code)]
        assert array.dtype == DTYPES[f"a{code}"]
        assert array.shape == (0,)

    @pytest.mark.parametrize(
        "source",
        [
            [0, 1],
            (0, 1),
            range(2),
            np.arange(2),
            np.arange(2, dtype=">i4"),
            np.arange(4)[::2] // 2,
            np.array([0.0, 1.0]),
        ],
        ids=lambda source: f"{type(source).__name__}{getattr(source, 'dtype', '')}",
    )
    def test_what_reads_back(self, code: str, source: Any) -> None:
        array = T({name(code): source})[name(code)]
        assert array.tolist() == [0, 1]
        assert array.dtype == DTYPES[f"a{code}"]
        assert array.dtype.isnative
        assert array.flags.c_contiguous
        assert array.ndim == 1

    def test_nobody_can_write_to_what_was_read(self, code: str) -> None:
        value = T({name(code): [0, 1]})
        array = value[name(code)]
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)
        array.shape = (1, 2)
        assert value[name(code)].shape == (2,)

    def test_an_array_taken_earlier_stays(self, code: str) -> None:
        value = T({name(code): [0, 1]})
        earlier = value[name(code)]
        value[name(code)] = [1]
        assert earlier.tolist() == [0, 1]

    @pytest.mark.parametrize("empty", [[], (), np.empty(0), np.empty(0, "i8")])
    def test_empty(self, code: str, empty: Any) -> None:
        value = T({name(code): [1]})
        value[name(code)] = empty
        assert value[name(code)].size == 0
        assert value[name(code)].dtype == DTYPES[f"a{code}"]
        assert value.changed(name(code))

    @pytest.mark.parametrize(
        "thing",
        [
            3,
            0.5,
            1e30,
            np.array(3),
            np.zeros((2, 2)),
            [[1]],
            "abc",
            b"abc",
            {1},
            {1: 2},
            (x for x in ()),
            None,
            object(),
        ],
    )
    def test_only_flat_sequences(self, code: str, thing: Any) -> None:
        for kind in (T, LENIENT):
            with pytest.raises((TypeError, ValueError), match=f"field '{name(code)}': "):
                kind({name(code): thing})

    def test_a_structure_is_none(self, code: str) -> None:
        with pytest.raises(ValueError, match=r"Unable to assign \w+\[\] with a structure"):
            T({name(code): Type([])()})


class TestStrictness:
    @pytest.mark.parametrize(
        ("code", "source", "text"),
        [
            ("b", [300], r"300 out of bounds"),
            ("b", np.array([1, 300]), r"field 'ab\[1\]': 300 is out of range of int8_t"),
            ("B", np.array([-1]), r"field 'aB\[0\]': -1 is out of range of uint8_t"),
            ("i", [1, 1.5], r"field 'ai\[1\]': 1.5 is not an integer that int32_t can hold"),
            ("i", np.array([1.5]), r"field 'ai\[0\]': 1.5"),
            ("i", np.array([3e10]), r"field 'ai\[0\]'"),
            ("i", np.array([2.0**31]), r"field 'ai\[0\]'"),
            ("i", np.array([np.nan], np.float32), r"field 'ai\[0\]': nan"),
            ("l", np.array([2.0**63]), r"field 'al\[0\]'"),
            ("l", np.array([1 << 63], np.uint64), r"field 'al\[0\]'"),
            ("L", np.array([2.0**64]), r"field 'aL\[0\]'"),
            ("L", [-1], r"field 'aL'"),
            ("h", np.array([np.inf], np.float16), r"field 'ah\[0\]'"),
            ("b", [np.int64(300)], r"^field 'ab(\[0\])?': (?!field)"),
        ],
    )
    def test_what_integers_cannot_hold(self, code: str, source: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            T({name(code): source})

    @pytest.mark.parametrize(
        ("code", "source"),
        [
            ("i", np.array([-(2.0**31), 2.0**31 - 1])),
            ("l", np.array([-(2.0**63)])),
            ("B", np.array([255.0], np.float16)),
            ("L", [(1 << 64) - 1]),
            ("b", np.array([True])),
            ("i", ["5", " 6 "]),
            ("i", np.array([b"5"])),
        ],
    )
    def test_what_they_can(self, code: str, source: Any) -> None:
        assert T({name(code): source})[name(code)].tolist() == [int(each) for each in source]

    @pytest.mark.parametrize(
        ("code", "source", "held"),
        [
            ("i", [1.5, 2], [1, 2]),
            ("i", [-1.5], [-1]),
            ("i", np.array([1 << 32], "u8"), [0]),
            ("b", np.array([300]), [44]),
            ("?", ["a", ""], [True, False]),
            ("?", [None], [False]),
        ],
    )
    def test_casts_without_it(self, code: str, source: Any, held: list[Any]) -> None:
        assert LENIENT({name(code): source})[name(code)].tolist() == held

    def test_lists_of_integers_are_always_checked(self) -> None:
        with pytest.raises(OverflowError, match="out of bounds for int8"):
            LENIENT({"ab": [300]})
        with pytest.raises(ValueError, match="field 'ab'"):
            LENIENT({"ab": ["a"]})
        with pytest.raises(TypeError, match="field 'ab'"):
            LENIENT({"ab": [None]})


class TestSharing:
    def test_a_writable_array_is_copied(self) -> None:
        source = np.arange(3.0)
        value = T({"ad": source})
        source[0] = 9
        assert value.ad.tolist() == [0, 1, 2]

    def test_a_read_only_array_of_its_own_is_kept(self) -> None:
        source = read_only(np.arange(3.0))
        assert np.shares_memory(T({"ad": source}).ad, source)
        assert np.shares_memory(T({"ad": source[1:]}).ad, source)
        assert np.shares_memory(T({"ad": np.frombuffer(bytes(16))}).ad, np.frombuffer(bytes(16))) is False

    def test_what_was_read_is_kept(self) -> None:
        value = T({"ad": [1.0, 2.0]})
        assert np.shares_memory(T({"ad": value.ad}).ad, value.ad)

    def test_a_read_only_view_of_a_writable_array_is_copied(self) -> None:
        source = np.arange(3.0)
        view = read_only(source.view())
        value = T({"ad": view})
        source[0] = 9
        assert value.ad.tolist() == [0, 1, 2]

    def test_views_of_read_only_views_are_kept(self) -> None:
        source = read_only(np.arange(3.0))
        assert np.shares_memory(T({"ad": source[:].view()[1:]}).ad, source)

    def test_subclasses_are_stored_as_plain_arrays(self) -> None:
        class Special(np.ndarray[Any, np.dtype[Any]]):
            pass

        kept = T({"ad": read_only(np.arange(2.0)).view(Special)})._slots[11]
        assert type(kept) is np.ndarray

    def test_lasting(self) -> None:
        assert lasting(np.frombuffer(b"abcdefgh"))
        assert not lasting(np.frombuffer(bytearray(8)))
        assert not lasting(read_only(np.arange(6))[::2])
        assert not lasting(read_only(np.frombuffer(bytearray(8))))


class TestStrings:
    @pytest.mark.parametrize(
        ("source", "held"),
        [
            (["a", b"b"], ["a", "b"]),
            (("x",), ["x"]),
            (np.array(["x", "yy"]), ["x", "yy"]),
            (np.array([b"x"]), ["x"]),
            ("abc", ["a", "b", "c"]),
            ([], []),
            ([b"\xff"], ["\udcff"]),
        ],
    )
    def test_what_reads_back(self, source: Any, held: list[str]) -> None:
        value = T({"as_": source})
        assert value.as_ == held
        assert all(type(each) is str for each in value._slots[12])
        value.as_.append("the list is the reader's own")
        assert value.as_ == held

    @pytest.mark.parametrize(
        ("thing", "text"),
        [
            ([1], r"field 'as_\[0\]': Assign StringA from sequence of str\|bytes, not int"),
            (["x", None], r"field 'as_\[1\]'"),
            ([["x"]], "not list"),
            (b"abc", "not int"),
            (None, "field 'as_': Must assign sequence to string array, not NoneType"),
            ({"x"}, "not set"),
            ({"x": 1}, "not dict"),
            ((x for x in "x"), "not generator"),
            (np.array("x"), "not ndarray"),
            (np.zeros((2, 2)), "not ndarray"),
        ],
    )
    def test_refusals(self, thing: Any, text: str) -> None:
        with pytest.raises(TypeError, match=text):
            T({"as_": thing})
        with pytest.raises(RuntimeError):
            T({"as_": thing})

    def test_a_structure_is_none(self) -> None:
        with pytest.raises(ValueError, match=r"Unable to assign string\[\] with a structure"):
            T({"as_": Value(T)})


def test_codes_of_dtypes() -> None:
    for code, dtype in DTYPES.items():
        assert code_for(dtype) == code_for(dtype.newbyteorder()) == code
    assert code_for(np.dtype(np.longlong)) == "al"
    assert code_for(np.dtype(np.float16)) == "af"
    assert code_for(np.dtype("U4")) == code_for(np.dtype("S4")) == "as"
    assert code_for(np.dtype(object)) is None
    assert code_for(np.dtype("M8[ns]")) is None

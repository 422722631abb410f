"""p4p's client against our server: every type code, empty, one and many; structures, unions, any; partial puts."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from tests.interop.processes import Child

DTYPES = {
    "?": "bool",
    "b": "int8",
    "B": "uint8",
    "h": "int16",
    "H": "uint16",
    "i": "int32",
    "I": "uint32",
    "l": "int64",
    "L": "uint64",
    "f": "float32",
    "d": "float64",
}
EXTREMES: dict[str, list[Any]] = {
    "?": [True, False],
    "b": [-128, 127],
    "B": [0, 255],
    "h": [-(2**15), 2**15 - 1],
    "H": [0, 2**16 - 1],
    "i": [-(2**31), 2**31 - 1],
    "I": [0, 2**32 - 1],
    "l": [-(2**63), 2**63 - 1],
    "L": [0, 2**64 - 1],
    "f": [-0.5, 3.0, math.inf],
    "d": [-0.1, 1e300, -math.inf],
    "s": ["", "plain", "grüße ±10 µm ☃", "x" * 300],
}


def given(code: str, items: list[Any]) -> Any:
    """An array as the driver takes it and gives it back."""
    return items if code == "s" else {"dtype": DTYPES[code], "data": items}


@pytest.mark.parametrize("code", EXTREMES)
def test_scalar(p4p_client: Child, code: str) -> None:
    name = f"t:{code}"
    assert p4p_client.call("type", name=name)["spec"][0] == ["value", code]
    for item in EXTREMES[code]:
        p4p_client.call("put", name=name, value=item)
        got = p4p_client.call("get", name=name)
        assert got["type"] == "epics:nt/NTScalar:1.0"
        assert got["value"]["value"] == item
        assert type(got["value"]["value"]) is type(item)
        assert "value" in got["changed"]


@pytest.mark.parametrize("code", EXTREMES)
@pytest.mark.parametrize("size", ["empty", "one", "few", "many"])
def test_array(p4p_client: Child, code: str, size: str) -> None:
    name = f"t:a{code}"
    items = {"empty": [], "one": EXTREMES[code][:1], "few": EXTREMES[code], "many": EXTREMES[code] * 5000}[size]
    assert p4p_client.call("type", name=name)["spec"][0] == ["value", f"a{code}"]
    p4p_client.call("put", name=name, value=given(code, items))
    got = p4p_client.call("get", name=name)
    assert got["type"] == "epics:nt/NTScalarArray:1.0"
    assert got["value"]["value"] == given(code, items)


def test_nan_survives(p4p_client: Child) -> None:
    p4p_client.call("put", name="t:d", value=math.nan)
    assert math.isnan(p4p_client.call("get", name="t:d")["value"]["value"])


def test_array_of_eight_megabytes(p4p_client: Child) -> None:
    items = [float(number) for number in range(1_000_000)]
    p4p_client.call("put", name="t:ad", value=given("d", items), wait_at_most=40)
    assert p4p_client.call("get", name="t:ad", wait_at_most=40)["value"]["value"]["data"] == items


def test_a_put_is_stamped_and_the_stamp_is_now(p4p_client: Child) -> None:
    p4p_client.call("put", name="mailbox", value=1.0)
    stamp = p4p_client.call("get", name="mailbox")["value"]["timeStamp"]
    assert stamp["secondsPastEpoch"] + stamp["nanoseconds"] / 1e9 == pytest.approx(time.time(), abs=5)


def test_structure_type(p4p_client: Child) -> None:
    told = p4p_client.call("type", name="structure")
    assert told["id"] == "interop:structure:1.0"
    assert told["spec"] == [
        ["inner", ["S", "inner_t", [["x", "d"], ["names", "as"]]]],
        ["choice", ["U", "choice_t", [["number", "i"], ["text", "s"], ["list", "ad"]]]],
        ["anything", "v"],
        ["points", ["aS", "point_t", [["x", "i"], ["y", "i"]]]],
        ["choices", ["aU", "choices_t", [["number", "i"], ["text", "s"]]]],
        ["anythings", "av"],
    ]


@pytest.mark.parametrize(
    ("field", "sent", "expected"),
    [
        ("inner", {"x": 1.5, "names": ["a", ""]}, None),
        ("choice", {"select": "number", "value": 5}, 5),
        ("choice", {"select": "text", "value": "five"}, "five"),
        ("choice", {"select": "list", "value": given("d", [1.0, 2.0])}, given("d", [1.0, 2.0])),
        ("anything", 5, None),
        ("anything", "text", None),
        ("anything", 2.5, None),
        ("anything", True, None),
        ("anything", given("i", [1, 2, 3]), None),
        ("points", [], None),
        ("points", [{"x": 1, "y": 2}], None),
        ("points", [{"x": n, "y": -n} for n in range(300)], None),
        ("choices", [], None),
        ("choices", [{"select": "number", "value": 4}, {"select": "text", "value": "four"}], [4, "four"]),
        ("anythings", [], None),
        ("anythings", [1, "two", 3.5, given("d", [4.0])], None),
    ],
)
def test_structure_member(p4p_client: Child, field: str, sent: Any, expected: Any) -> None:
    p4p_client.call("put", name="structure", value={field: sent})
    got = p4p_client.call("get", name="structure")
    assert got["value"][field] == (sent if expected is None else expected)


def test_put_beside_null_members(p4p_client: Child) -> None:
    """pvxs's client, which reads before it writes, drops the connection if it then reads a null union by name."""
    assert p4p_client.call("get", name="nulls")["value"]["choice"] is None
    p4p_client.call("put", name="nulls", value={"inner": {"x": 2.5}}, timeout=3)
    got = p4p_client.call("get", name="nulls")["value"]
    assert got["inner"]["x"] == 2.5
    assert (got["choice"], got["anything"], got["points"]) == (None, None, [])


def test_partial_put_marks_only_what_was_sent(server: Child, p4p_client: Child) -> None:
    mark = server.mark()
    p4p_client.call("put", name="partial", value={"a": 10}, request="field(a)", get=False)
    assert server.event("partial", since=mark)["changed"] == ["a"]
    mark = server.mark()
    p4p_client.call("put", name="partial", value={"sub": {"d": "text"}}, request="field(sub)", get=False)
    assert server.event("partial", since=mark)["changed"] == ["sub.d"]
    assert p4p_client.call("get", name="partial")["value"] == {"a": 10, "b": 2, "sub": {"c": 3, "d": "text"}}


def test_partial_put_reads_only_what_was_asked(server: Child, p4p_client: Child) -> None:
    mark = server.mark()
    p4p_client.call("put", name="partial", value={"b": 20}, request="field(b)", get=True)
    assert server.event("partial", since=mark)["changed"] == ["b"]


@pytest.mark.parametrize(
    ("request_text", "changed"),
    [
        ("field(a)", ["a"]),
        ("field(sub.c)", ["sub.c"]),
        ("field(sub)", ["sub.c", "sub.d"]),
        ("field(a,sub.d,nosuch)", ["a", "sub.d"]),
    ],
)
def test_get_carries_the_requested_fields(p4p_client: Child, request_text: str, changed: list[str]) -> None:
    assert p4p_client.call("get", name="partial", request=request_text)["changed"] == changed


def test_get_of_no_field_is_refused(p4p_client: Child) -> None:
    with pytest.raises(Exception, match="must select at least one field"):
        p4p_client.call("get", name="partial", request="field(nosuch)")

"""The output of each tool in each format, as files: `golden/`."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest
import trio

from tests.cli.conftest import Serve
from tests.cli.tool import Printed, Tools, golden

NAMES = "demo:ai demo:hot demo:count demo:flag demo:text demo:wave demo:mode demo:table demo:fixed"


def strictly(line: str) -> Any:
    """What a parser without Python's liberties makes of JSON."""

    def refuse(word: str) -> NoReturn:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(line, parse_constant=refuse)


def shown(printed: Printed) -> str:
    return printed.out + (f"--- stderr\n{printed.err}" if printed.err else "") + f"--- exit code {printed.code}\n"


@pytest.mark.parametrize("form", ["delta", "tree", "nt", "json"])
async def test_get(virtual_time: object, tools: Tools, serve: Serve, form: str) -> None:
    async with serve():
        golden(f"get-{form}.txt", shown(await tools(f"get -F {form} {NAMES} demo:everything")))


@pytest.mark.parametrize("form", ["delta", "tree", "nt", "json"])
async def test_get_with_cut_arrays(virtual_time: object, tools: Tools, serve: Serve, form: str) -> None:
    async with serve():
        line = f"get -# 2 -F {form} demo:wave demo:table demo:everything"
        golden(f"get-cut-{form}.txt", shown(await tools(line)))


async def test_get_with_request(virtual_time: object, tools: Tools, serve: Serve) -> None:
    async with serve():
        forms = ("delta", "nt", "json")
        lines = [f"get -F {form} -r 'field(value,alarm.severity)' demo:hot" for form in forms]
        lines.append("get -F json -r 'record[process=true]' demo:count")
        text = "".join([f"$ p4p-trio {line}\n{shown(await tools(line))}" for line in lines])
        golden("get-request.txt", text)


@pytest.mark.parametrize("form", ["delta", "json"])
async def test_info(virtual_time: object, tools: Tools, serve: Serve, form: str) -> None:
    async with serve():
        golden(f"info-{form}.txt", shown(await tools(f"info -F {form} demo:ai demo:everything")))


@pytest.mark.parametrize("form", ["tree", "delta", "nt", "json"])
async def test_call(virtual_time: object, tools: Tools, serve: Serve, form: str) -> None:
    async with serve():
        golden(f"call-{form}.txt", shown(await tools(f"call -F {form} demo:add lhs=1 rhs:double=2.5")))


@pytest.mark.parametrize("form", ["delta", "nt", "json"])
async def test_put_and_monitor(virtual_time: object, tools: Tools, serve: Serve, form: str) -> None:
    """Connects, values, changes, a disconnect and a connect, as one story."""
    monitor = tools.start(f"monitor -w 2 -F {form} demo:mode demo:none")
    async with trio.open_nursery() as nursery:
        async with serve():
            nursery.start_soon(monitor)
            await monitor.until("demo:none")
            await trio.sleep(3)
            assert shown(await tools("put demo:mode On")) == "--- exit code 0\n"
            await trio.sleep(1)
        await trio.sleep(1)
        async with serve():
            await trio.sleep(10)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    text = f"{monitor.stdout.getvalue()}--- stderr\n{monitor.stderr.getvalue()}"
    golden(f"monitor-{form}.txt", text)
    if form == "json":
        events = [strictly(line) for line in monitor.stdout.getvalue().splitlines()]
        assert [event["event"] for event in events if event["name"] == "demo:mode"] == [
            "connected",
            "update",
            "update",
            "disconnected",
            "connected",
            "update",
            "disconnected",
        ]


async def test_list(virtual_time: object, tools: Tools, serve: Serve) -> None:
    async with serve():
        lines = ("list -w 1", "list -w 1 -F json", "list -w 1 -v", "list 127.0.0.1:5075", "list -F json 127.0.0.1")
        text = "".join([f"$ p4p-trio {line}\n{shown(await tools(line))}" for line in lines])
    golden("list.txt", text)


async def test_put(virtual_time: object, tools: Tools, serve: Serve) -> None:
    async with serve():
        lines = (
            "put demo:count=6 demo:mode=Off",
            "put -v -F nt demo:text 'other words'",
            """put -F json demo:wave '[1, 2.5, "NaN"]'""",
            "put demo:mode Nonsense",
            "put demo:mode 7",
            "put demo:count 1.5",
            "put demo:count alarm.message=odd valeu=3",
            "put demo:wave 5",
            "put demo:fixed 5",
            "put -w 2 demo:none=5 demo:count=8",
            "get -F nt demo:count demo:text demo:wave demo:mode",
        )
        text = "".join([f"$ p4p-trio {line}\n{shown(await tools(line))}" for line in lines])
    golden("put.txt", text)


async def test_errors(virtual_time: object, tools: Tools, serve: Serve) -> None:
    async with serve():
        lines = (
            "get -w 2 demo:none demo:count -F nt",
            "call demo:add lhs=one rhs=2",
            "call demo:count",
            "list 127.0.0.1:1",
            "get -r 'field(nonsense)' demo:count",
        )
        text = "".join([f"$ p4p-trio {line}\n{shown(await tools(line))}" for line in lines])
    golden("errors.txt", text)


async def test_every_line_of_json_is_json(virtual_time: object, tools: Tools, serve: Serve) -> None:
    async with serve():
        printed = await tools(f"get --format json {NAMES} demo:everything")
    records = [strictly(line) for line in printed.out.splitlines()]
    assert [record["name"] for record in records] == [*NAMES.split(), "demo:everything"]
    everything = records[-1]["value"]
    assert everything["scalar_4"] == -(1 << 63)
    assert everything["scalar_8"] == (1 << 64) - 1
    assert everything["scalar_9"] == 0.1
    assert everything["scalar_10"] == "NaN"
    assert everything["array_10"] == [0.5, "-Infinity", "NaN"]
    assert everything["union_"] == {"inside": {"n": 7, "text": "chosen"}}
    assert everything["unions"] == [{"number": 1.5}, None, {"text": "two"}]
    assert everything["any_struct"] == {"n": 9, "text": "held"}


async def test_what_get_prints_as_json_can_be_put(virtual_time: object, tools: Tools, serve: Serve) -> None:
    """All of it, but for the structures that an any holds: JSON does not say which types they have."""
    async with serve():
        value = strictly((await tools("get -F json demo:everything")).out)["value"]
        for name in ("any_struct", "anys"):
            del value[name]
        printed = await tools(f"put demo:everything '{json.dumps(value)}'")
        assert printed == Printed(0, "", "")
        again = strictly((await tools("get -F json demo:everything")).out)["value"]
    assert {name: again[name] for name in value} == value

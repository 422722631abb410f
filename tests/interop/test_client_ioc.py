"""Our client against an IOC (softIocPVX): records, their limits and alarms, put completion, and a group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import trio

from p4p_trio import RemoteError
from p4p_trio.client import Context
from tests.interop.servers import Served, start_ioc

pytestmark = pytest.mark.interop

LONG = "a text that is longer than the forty bytes which a string of Channel Access may have"


@pytest.fixture(scope="module")
def ioc() -> Iterator[Served]:
    running = start_ioc()
    yield running
    running.child.close()


@pytest.fixture
def client(ioc: Served) -> Callable[..., Context]:
    return partial(Context, conf=ioc.conf, useenv=False)


async def test_every_record(client):
    async with client() as context:
        with context.fail_after(10):
            names = ["ioc:ai", "ioc:ao", "ioc:stringin", "ioc:lsi", "ioc:waveform"]
            analog, out, text, long, wave = await context.get(names)
    assert (analog, out, text, long) == (1.5, 2.5, "hello", "a long string")
    np.testing.assert_array_equal(wave, [0.0, 1.0, 2.0])


async def test_the_choices_of_each_record_are_its_own(client):
    async with client(nt=False) as context:
        with context.fail_after(10):
            values = [value["value"] for value in await context.get(["ioc:bo", "ioc:mbbo"])]
    assert [(each.index, list(each.choices)) for each in values] == [
        (1, ["Off", "On"]),
        (0, ["Idle", "Moving", "Fault"]),
    ]


async def test_limits_and_alarms(client):
    async with client(nt=False) as context:
        with context.fail_after(10):
            value = await context.get("ioc:ai")
            assert value.display.todict() == {
                "limitLow": -100.0,
                "limitHigh": 100.0,
                "description": "a reading",
                "units": "mm",
                "precision": 3,
                "form": value.display.form.todict(),
            }
            limits = value.valueAlarm
            assert (limits.lowAlarmLimit, limits.lowWarningLimit) == (-9.0, -8.0)
            assert (limits.highWarningLimit, limits.highAlarmLimit) == (8.0, 9.0)
            for put, severity, message in ((8.5, 1, "HIGH"), (9.5, 2, "HIHI"), (-9.5, 2, "LOLO"), (1.5, 0, "")):
                await context.put("ioc:ai", put)
                alarm = (await context.get("ioc:ai")).alarm
                assert (alarm.severity, alarm.message) == (severity, message)


async def test_an_alarm_comes_by_monitor(client):
    async with client() as context, context.monitor("ioc:ai") as updates:
        with context.fail_after(10):
            assert (await anext(updates)).severity == 0
            await context.put("ioc:ai", 9.5)
            alarmed = await anext(updates)
            assert (float(alarmed), alarmed.severity, alarmed.message) == (9.5, 2, "HIHI")
            assert alarmed.raw.display.units == "mm"
            await context.put("ioc:ai", 1.5)
            assert (await anext(updates)).severity == 0


async def test_a_drive_limit(client):
    """The record writes something else than it is told."""
    async with client() as context:
        with context.fail_after(10):
            await context.put("ioc:ao", 1000.0)
            assert await context.get("ioc:ao") == 100.0
            await context.put("ioc:ao", 2.5)


async def test_fields_of_a_record(client):
    async with client() as context:
        with context.fail_after(10):
            assert await context.get(["ioc:ai.DESC", "ioc:ai.HIHI", "ioc:ai.EGU"]) == ["a reading", 9.0, "mm"]
            await context.put("ioc:ai.DESC", "another reading")
            assert await context.get("ioc:ai.DESC") == "another reading"
            await context.put("ioc:ai.DESC", "a reading")


async def test_a_long_string(client):
    async with client() as context:
        with context.fail_after(10):
            await context.put("ioc:lsi", LONG)
            assert await context.get("ioc:lsi") == LONG


async def test_a_waveform_that_grows(client):
    async with client() as context:
        with context.fail_after(10):
            for length in (1000, 0, 3):
                await context.put("ioc:waveform", np.arange(float(length)))
                np.testing.assert_array_equal(await context.get("ioc:waveform"), np.arange(float(length)))


async def test_group(client):
    async with client(nt=False) as context:
        with context.fail_after(10):
            assert (await context.info("ioc:group")).getID() == "interop:group:1.0"
            await context.put("ioc:group", {"reading": 3.0, "setpoint.value": 4.0})
            group = await context.get("ioc:group")
            assert (group.reading, group.setpoint.value, group.setpoint.display.units) == (3.0, 4.0, "V")
            assert group.setpoint.getID() == "epics:nt/NTScalar:1.0"
            async with context.monitor("ioc:group") as updates:
                await anext(updates)
                await context.put("ioc:ao", 5.0)  # triggers its own member only
                update = await anext(updates)
                assert {"setpoint.value"} <= update.changedSet()
                assert "reading" not in update.changedSet()
                assert (update.reading, update.setpoint.value) == (3.0, 5.0)
            await context.put(["ioc:ai", "ioc:ao"], [1.5, 2.5])


async def test_put_completion(client):
    """With `record[block=true]` the answer comes when all processing is over, else at once."""
    async with client() as context:
        with context.fail_after(10):
            for n, waits in enumerate(
                ({"request": "record[block=true,process=true]"}, {"wait": True, "process": True})
            ):
                begun = trio.current_time()
                await context.put("ioc:slow.A", 10 + n, **waits)
                assert trio.current_time() - begun >= 0.25
                assert await context.get("ioc:done") == 11 + n
            begun = trio.current_time()
            await context.put("ioc:slow.A", 20, process=True)
            assert trio.current_time() - begun < 0.25
            assert await context.get("ioc:done") == 12


async def test_a_put_without_processing(client):
    async with client() as context:
        with context.fail_after(10):
            before = await context.get("ioc:slow")
            await context.put("ioc:slow.A", before + 100, process=False)
            assert await context.get(["ioc:slow.A", "ioc:slow"]) == [before + 100, before]


async def test_what_an_ioc_refuses(client):
    async with client() as context:
        with context.fail_after(10):
            with pytest.raises(RemoteError, match=r"put to 'ioc:readonly': .*S_db_putDisabled"):
                await context.put("ioc:readonly", 5)
            with pytest.raises(RemoteError, match="rpc to 'ioc:group': RPC Not Implemented"):
                await context.rpc("ioc:group")


async def test_a_record_that_changes_by_itself(client):
    async with client() as context, context.monitor("ioc:count", "record[pipeline=true,queueSize=3]") as updates:
        with context.fail_after(10):
            seen = [await anext(updates) for _ in range(8)]
    assert seen == [seen[0] + n for n in range(8)]

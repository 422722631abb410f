"""The inlet: ordered, from any thread, one wake-up for many calls."""

import gc
import threading

import pytest
import trio
import trio.lowlevel

from p4p_trio.net.inlet import Inlet


class CountingToken:
    """A token that counts how often it was rung and keeps the calls for the test."""

    def __init__(self):
        self.rung = []

    def run_sync_soon(self, call):
        self.rung.append(call)


async def test_order_and_thread():
    inlet = Inlet()
    seen, where = [], set()

    def note(value):
        seen.append(value)
        where.add(threading.get_ident())

    def produce():
        for value in range(5000):
            inlet.put(note, value)

    with trio.fail_after(10):
        await trio.to_thread.run_sync(produce)
        while len(seen) < 5000:
            await trio.lowlevel.checkpoint()
    assert seen == list(range(5000))
    assert where == {threading.get_ident()}


async def test_order_of_each_of_many_threads():
    inlet = Inlet()
    seen = []

    def produce(thread):
        for value in range(2000):
            inlet.put(seen.append, (thread, value))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for thread in range(4):
                nursery.start_soon(trio.to_thread.run_sync, produce, thread)
        while len(seen) < 8000:
            await trio.lowlevel.checkpoint()
    for thread in range(4):
        assert [value for who, value in seen if who == thread] == list(range(2000))


def test_one_wake_up_per_batch():
    token = CountingToken()
    inlet = Inlet(token)
    seen = []
    for value in range(10):
        inlet.put(seen.append, value)
    (drain,) = token.rung
    drain()
    assert seen == list(range(10))
    inlet.put(seen.append, 10)
    assert len(token.rung) == 2


def test_a_long_batch_leaves_turns_to_others():
    token = CountingToken()
    inlet = Inlet(token)
    seen = []
    for value in range(1000):
        inlet.put(seen.append, value)
    token.rung.pop()()
    assert 0 < len(seen) < 1000
    while token.rung:
        token.rung.pop()()
    assert seen == list(range(1000))


def test_calls_put_by_calls_come_after():
    token = CountingToken()
    inlet = Inlet(token)
    seen = []
    inlet.put(lambda: inlet.put(seen.append, "later"))
    inlet.put(seen.append, "sooner")
    while token.rung:
        token.rung.pop()()
    assert seen == ["sooner", "later"]


async def test_an_error_is_logged_and_the_rest_goes_on(caplog):
    inlet = Inlet.current()
    seen = []
    inlet.put(lambda: 1 / 0)
    inlet.put(seen.append, 1)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [1]
    assert "ZeroDivisionError" in caplog.text


async def test_one_per_run():
    assert Inlet.current() is Inlet.current()


def test_after_the_run():
    inlets = []

    async def main():
        inlets.append(Inlet.current())

    for _ in range(2):
        trio.run(main)
    first, second = inlets
    assert first is not second
    for _ in range(2):
        with pytest.raises(trio.RunFinishedError):
            first.put(print)
    assert not first._calls


async def test_from_a_finaliser():
    inlet = Inlet()
    seen = []

    class Dying:
        def __del__(self):
            inlet.put(seen.append, "gone")

    dying = Dying()
    del dying
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["gone"]

"""Output goes out at once where it can; a writer lives only while the transport is full."""

from __future__ import annotations

import trio

from p4p_trio.net.sender import Sender
from p4p_trio.protocol.output import Output
from p4p_trio.testing import MemoryNetwork


async def joined(network):
    """Both sides of a connection."""
    listener = network.listen("127.0.0.1", 0)
    one = await network.connect(*listener.address)
    other = await listener.accept()
    listener.close()
    return one, other


async def read(transport, size):
    data = b""
    while len(data) < size:
        data += await transport.receive()
    return data


async def test_without_a_writer(autojump_clock):
    one, other = await joined(MemoryNetwork())
    async with trio.open_nursery() as nursery:
        sender = Sender(one, Output(), nursery, failed=lambda: None)
        sender.send()
        sender.output.buffers.tail += b"hello"
        sender.send()
        assert not sender.writing
        assert await read(other, 5) == b"hello"
        await sender.emptied()


async def test_with_a_writer(autojump_clock):
    one, other = await joined(MemoryNetwork(capacity=10))
    async with trio.open_nursery() as nursery:
        sender = Sender(one, Output(), nursery, failed=lambda: None)
        for n in range(10):
            sender.output.buffers.tail += b"%09d" % n
            sender.send()
        assert sender.writing
        assert await read(other, 90) == b"".join(b"%09d" % n for n in range(10))
        await sender.emptied()
        assert not sender.writing


async def test_a_peer_that_reads_nothing_is_noticed(autojump_clock):
    one, other = await joined(MemoryNetwork(capacity=10))
    async with trio.open_nursery() as nursery:
        sender = Sender(one, Output(), nursery, failed=lambda: None)
        sender.output.buffers.tail += bytes(100)
        sender.send()
        stuck = []
        for _ in range(7):
            await trio.sleep(1)
            stuck.append(sender.stuck(trio.current_time(), 5.0))
            if len(stuck) == 3:
                await read(other, 10)
        assert stuck == [False] * 7
        await trio.sleep(5)
        assert sender.stuck(trio.current_time(), 5.0)
        assert not sender.stuck(trio.current_time(), None)
        nursery.cancel_scope.cancel()


async def test_a_failure_is_told(autojump_clock):
    for capacity in (None, 10):
        failures = []
        one, other = await joined(MemoryNetwork(capacity=capacity))
        async with trio.open_nursery() as nursery:
            sender = Sender(one, Output(), nursery, failed=lambda failures=failures: failures.append(True))
            if capacity is None:
                other.abort()
            sender.output.buffers.tail += bytes(100)
            sender.send()
            if capacity is not None:
                await trio.testing.wait_all_tasks_blocked()
                other.abort()
            await trio.testing.wait_all_tasks_blocked()
        assert failures
        assert not sender.writing


async def test_output_that_is_dropped_while_it_is_sent(autojump_clock):
    one, other = await joined(MemoryNetwork(capacity=10))
    async with trio.open_nursery() as nursery:
        sender = Sender(one, Output(), nursery, failed=lambda: None)
        sender.output.buffers.tail += bytes(100)
        sender.send()
        await trio.testing.wait_all_tasks_blocked()
        sender.output.clear()
        await read(other, 100)
        await sender.emptied()

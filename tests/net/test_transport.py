"""Both transports, and the memory network's, keep the promises of the protocol."""

import contextlib
import socket

import pytest
import trio

from p4p_trio.net.network import SystemNetwork
from p4p_trio.net.transport import StreamTransport, plain_address, remainder
from p4p_trio.testing.memory import MemoryNetwork


@contextlib.asynccontextmanager
async def joined(kind):
    """Two connected transports."""
    if kind == "stream":
        one, other = map(StreamTransport, trio.testing.memory_stream_pair())
    else:
        network = {
            "socket": SystemNetwork,
            "memory": MemoryNetwork,
            "bytewise": lambda: MemoryNetwork(chunk=1, capacity=100),
            "waiting": lambda: MemoryNetwork(send_now_limit=0),
        }[kind]()
        listener = network.listen("127.0.0.1", 0)
        async with trio.open_nursery() as nursery:
            accepted = []
            nursery.start_soon(lambda: take(listener, accepted))
            one = await network.connect(*listener.address)
        (other,) = accepted
        listener.close()
    try:
        yield one, other
    finally:
        one.abort()
        other.abort()
        await trio.testing.wait_all_tasks_blocked()


async def take(listener, accepted):
    accepted.append(await listener.accept())


async def receive_exactly(transport, count):
    data = bytearray()
    while len(data) < count:
        view = await transport.receive()
        assert len(view), "ended early"
        data += view
    return bytes(data)


every_kind = pytest.mark.parametrize("kind", ["socket", "stream", "memory", "bytewise", "waiting"])


@every_kind
async def test_bytes_arrive_in_order(kind):
    async with joined(kind) as (one, other):
        payload = bytes(range(256)) * 40
        buffers = [payload[:10], memoryview(payload)[10:300], bytearray(payload[300:])]
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                async def send():
                    count = one.send_now(buffers)
                    await one.send_rest(remainder(buffers, count))

                nursery.start_soon(send)
                assert await receive_exactly(other, len(payload)) == payload
        assert one.sent == other.received == len(payload)
        assert one.error is None


@every_kind
async def test_large_transfer_passes_back_pressure(kind):
    size = 20_000 if kind == "bytewise" else 8_000_000
    payload = memoryview(b"x" * size)
    async with joined(kind) as (one, other):
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.send_rest, [b"head", payload])
                await trio.testing.wait_all_tasks_blocked()
                assert one.sent < size or kind == "stream"  # whose pair has no bound
                assert len(await receive_exactly(other, size + 4)) == size + 4


@every_kind
async def test_end_of_stream(kind):
    async with joined(kind) as (one, other):
        await one.send_rest([b"bye"])
        one.abort()
        with trio.fail_after(5):
            assert await receive_exactly(other, 3) == b"bye"
            assert len(await other.receive()) == 0
            assert len(await other.receive()) == 0


@every_kind
async def test_receive_into_a_buffer_of_ones_own(kind):
    async with joined(kind) as (one, other):
        buffer = memoryview(bytearray(4))
        await one.send_rest([b"abcdef"])
        with trio.fail_after(5):
            view = await other.receive(buffer)
            got = bytes(view)
            assert bytes(buffer[: len(view)]) == got
            while len(got) < 6:
                got += bytes(await other.receive(buffer))
        assert got == b"abcdef"


@every_kind
async def test_abort_wakes_and_closes(kind):
    async with joined(kind) as (one, _):

        async def waits():
            with pytest.raises(trio.ClosedResourceError):
                await one.receive()

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                await trio.testing.wait_all_tasks_blocked()
                one.abort()
                one.abort()
        assert isinstance(one.error, trio.ClosedResourceError)
        assert one.send_now([b"x"]) == 0
        with pytest.raises(trio.ClosedResourceError):
            await one.send_rest([b"x"])
        with pytest.raises(trio.ClosedResourceError):
            await one.receive()
        with pytest.raises(trio.ClosedResourceError):
            one.receive_nowait()


# Not "stream": an unbounded memory stream never waits.
@pytest.mark.parametrize("kind", ["socket", "memory", "bytewise", "waiting"])
async def test_abort_wakes_a_writer(kind):
    async with joined(kind) as (one, _):

        async def waits():
            with pytest.raises(trio.ClosedResourceError):
                await one.send_rest([b"x" * 30_000_000])

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                await trio.testing.wait_all_tasks_blocked(0.01)
                one.abort()


@every_kind
async def test_the_peer_went_away(kind):
    async with joined(kind) as (one, other):
        other.abort()
        await trio.testing.wait_all_tasks_blocked()

        async def send_on():
            while True:  # a socket's first send only provokes the reset
                await one.send_rest([b"x"])
                await trio.sleep(0.01)

        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await send_on()
        assert one.error is not None
        assert not isinstance(one.error, trio.ClosedResourceError)
        assert one.send_now([b"x"]) == 0


@every_kind
async def test_cancelled_receive_loses_nothing(kind):
    async with joined(kind) as (one, other):
        with trio.move_on_after(0):
            await other.receive()
        await one.send_rest([b"kept"])
        with trio.fail_after(5):
            assert await receive_exactly(other, 4) == b"kept"


@every_kind
async def test_receive_nowait(kind):
    async with joined(kind) as (one, other):
        assert other.receive_nowait() is None
        await one.send_rest([b"abc"])
        if kind == "stream":
            assert other.receive_nowait() is None
        else:
            await trio.testing.wait_all_tasks_blocked(0.01)
            view = other.receive_nowait()
            assert bytes(view) == (b"a" if kind == "bytewise" else b"abc")


@every_kind
async def test_sending_nothing(kind):
    async with joined(kind) as (one, _):
        assert one.send_now([]) == 0
        await one.send_rest([])
        assert one.error is None


@every_kind
async def test_send_rest_is_a_checkpoint(kind):
    async with joined(kind) as (one, _):
        with trio.testing.assert_checkpoints():
            await one.send_rest([b"x"])
        with trio.testing.assert_checkpoints():
            await one.send_rest([])


async def test_socket_receives_without_waiting():
    async with joined("socket") as (one, other):
        one.send_now([b"x"])
        await trio.sleep(0.01)
        with trio.testing.assert_no_checkpoints():
            view = await other.receive()
        assert bytes(view) == b"x"


async def test_socket_sends_now_what_fits():
    async with joined("socket") as (one, other):
        assert one.send_now([b"abc", memoryview(b"def")]) == 6
        assert await receive_exactly(other, 6) == b"abcdef"
        assert 0 < one.send_now([b"x" * 50_000_000]) < 50_000_000
        while one.send_now([b"x" * 1_000_000]):
            pass
        assert one.error is None  # full is not dead


async def test_socket_with_more_buffers_than_one_call_takes():
    async with joined("socket") as (one, other):
        buffers = [bytes([index & 255]) for index in range(5000)]
        count = one.send_now(buffers)
        assert 0 < count < 5000
        await one.send_rest(remainder(buffers, count))
        assert await receive_exactly(other, 5000) == b"".join(buffers)


async def test_socket_reset():
    async with joined("socket") as (one, other):
        linger = b"\x01\0\0\0\0\0\0\0"
        one._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        one.abort()
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await other.receive()


async def test_addresses():
    for kind in ("socket", "memory"):
        async with joined(kind) as (one, other):
            assert one.peer == other.local
            assert other.peer == one.local
            assert one.peer[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ((), ("", 0)),
        (("10.0.0.1", 5), ("10.0.0.1", 5)),
        (("::ffff:10.0.0.1", 5, 0, 0), ("10.0.0.1", 5)),
        (("::1", 5, 0, 0), ("::1", 5)),
        (("fe80::1", 5, 0, 3), ("fe80::1%3", 5)),
    ],
)
def test_plain_address(name, address):
    assert plain_address(name) == address


def test_remainder():
    wide = memoryview(b"12345678").cast("i")
    buffers = [b"abc", bytearray(b"de"), wide]
    for sent in range(14):
        assert b"".join(bytes(rest) for rest in remainder(buffers, sent)) == b"abcde12345678"[sent:]
    assert remainder(buffers, 0) == buffers
    assert remainder([], 0) == []

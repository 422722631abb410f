"""Messages cut from a stream, however it is chopped up."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio.errors import ProtocolError
from p4p_trio.wire import BIG, LITTLE, Framer, Order, split_datagram
from p4p_trio.wire.frame import SMALL
from tests.wire.replay import STREAMS, lines

Got = list[tuple[Any, ...]]


def message(payload: bytes, command: int = 10, order: Order = LITTLE, flags: int = 0, version: int = 2) -> bytes:
    return order.header.pack(0xCA, version, order.flag | flags, command, len(payload)) + payload


def control(value: int, command: int = 3, order: Order = LITTLE) -> bytes:
    return order.header.pack(0xCA, 2, order.flag | 1, command, value)


class Sink:
    """A framer that remembers what it handed on."""

    def __init__(self, max_message: int | None = None, from_server: bool = False) -> None:
        self.got: Got = []

        def handler(command: int) -> Any:
            def handle(buf: Any, start: int, end: int, order: Order) -> None:
                self.got.append((command, bytes(buf[start:end]), order))

            return handle

        self.framer = Framer(
            from_server=from_server,
            max_message=max_message,
            dispatch=[handler(n) if n != 99 else None for n in range(256)],
            control=lambda command, value, order: self.got.append(("control", command, value, order)),
        )

    def feed(self, data: bytes, budget: int = 1000) -> bool:
        return self.framer.feed(memoryview(data), budget)


def test_several_messages_at_once() -> None:
    sink = Sink()
    assert not sink.feed(message(b"abc") + message(b"", 11) + message(b"x", 99) + message(b"de", 12))
    assert sink.got == [(10, b"abc", LITTLE), (11, b"", LITTLE), (12, b"de", LITTLE)]
    assert not sink.framer.partial


def test_orders_may_be_mixed() -> None:
    sink = Sink()
    sink.feed(
        message(b"a") + message(b"b", order=BIG) + message(b"c", order=BIG) + control(7, order=BIG) + message(b"d")
    )
    assert sink.got == [
        (10, b"a", LITTLE),
        (10, b"b", BIG),
        (10, b"c", BIG),
        ("control", 3, 7, BIG),
        (10, b"d", LITTLE),
    ]


def test_budget() -> None:
    sink = Sink()
    data = b"".join(message(bytes([n])) for n in range(5)) + message(b"half")[:-2]
    assert sink.feed(data, 2)
    assert len(sink.got) == 2
    assert sink.framer.feed(b"", 2)
    assert len(sink.got) == 4
    assert sink.feed(b"lf", 1)
    assert len(sink.got) == 5
    assert not sink.framer.feed(b"", 1)
    assert [payload for _, payload, _ in sink.got] == [b"\0", b"\1", b"\2", b"\3", b"\4", b"half"]
    assert not sink.framer.partial


def test_budget_of_a_busy_connection() -> None:
    sink = Sink()
    data = b"".join(message(n.to_bytes(2, "big") * 10) for n in range(1000))
    waits = sink.feed(data, 64)
    while waits:
        waits = sink.framer.feed(b"", 64)
    assert len(sink.got) == 1000


def test_unused_flags_are_ignored() -> None:
    sink = Sink()
    sink.feed(message(b"a", flags=0x0E) + message(b"b"))
    assert [got[1] for got in sink.got] == [b"a", b"b"]


@pytest.mark.parametrize("version", [1, 3, 255])
def test_any_version_from_1_on(version: int) -> None:
    sink = Sink()
    sink.feed(message(b"a", version=version))
    assert len(sink.got) == 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xcb\x02\x00\x0a\0\0\0\0", "0xCB"),
        (message(b"", version=0), "version 0"),
        (message(b"", flags=0x40), "from a server"),
        (control(0)[:2] + b"\x41" + control(0)[3:], "from a server"),
        (message(b"", flags=0x30), "continues no message"),
        (message(b"", flags=0x20), "continues no message"),
        (message(b"", flags=0x10) + message(b""), "inside"),
        (message(b"", flags=0x10) + message(b"", flags=0x10), "inside"),
        (message(b"", flags=0x10) + message(b"", 11, flags=0x20), "another message"),
        (message(b"", flags=0x10) + message(b"", flags=0x20, order=BIG), "another message"),
        (message(bytes(101)), "101 bytes; max_message is 100"),
        (message(bytes(101), order=BIG), "101 bytes; max_message is 100"),
        (message(bytes(60), flags=0x10) + message(bytes(60), flags=0x20), "120 bytes; max_message is 100"),
        (message(bytes(101))[:8], "max_message"),
        (message(bytes(101), flags=0x10)[:8], "max_message"),
    ],
)
def test_refused(data: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        Sink(max_message=100).feed(data)


def test_clients_refuse_messages_of_clients() -> None:
    sink = Sink(from_server=True)
    sink.feed(message(b"a", flags=0x40))
    with pytest.raises(ProtocolError, match="from a client"):
        sink.feed(message(b"b"))


def test_the_limit_may_rise_in_the_middle() -> None:
    sink = Sink(max_message=10)
    assert sink.framer.max_message == 10

    def login(buf: Any, start: int, end: int, order: Order) -> None:
        sink.framer.max_message = None

    sink.framer._dispatch[1] = login  # type: ignore[index]
    sink.feed(message(b"", 1) + message(bytes(1000)))
    assert sink.framer.max_message is None
    assert len(sink.got) == 1


def test_segments_with_control_messages_between() -> None:
    sink = Sink()
    data = message(b"ab", flags=0x10) + control(1) + message(b"", flags=0x30) + message(b"cd", flags=0x30)
    sink.feed(data + control(2))
    assert sink.framer.partial
    assert [got[0] for got in sink.got] == ["control", "control"]
    sink.feed(message(b"e", flags=0x20) + message(b"next"))
    assert sink.got[2:] == [(10, b"abcde", LITTLE), (10, b"next", LITTLE)]
    assert not sink.framer.partial


def test_a_segmented_message_without_handler() -> None:
    sink = Sink()
    sink.feed(message(b"ab", 99, flags=0x10) + message(b"ab", 99, flags=0x20) + message(b"x"))
    assert sink.got == [(10, b"x", LITTLE)]


def test_what_is_fed_is_copied() -> None:
    sink = Sink()
    scratch = bytearray(message(b"abc")[:-1])
    sink.framer.feed(scratch, 10)
    scratch[:] = bytes(len(scratch))
    sink.feed(b"c")
    assert sink.got == [(10, b"abc", LITTLE)]


def test_a_handler_may_have_enough() -> None:
    sink = Sink()

    def slow(buf: Any, start: int, end: int, order: Order) -> None:
        sink.framer.enough = True

    sink.framer._dispatch[20] = slow  # type: ignore[index]
    assert sink.feed(message(b"a") + message(b"", 20) + message(b"b"))
    assert [got[1] for got in sink.got] == [b"a"]
    assert not sink.framer.feed(b"", 10)
    assert [got[1] for got in sink.got] == [b"a", b"b"]


def test_finished_tells_one_unfinished_message_from_the_next() -> None:
    sink = Sink()
    sink.feed(message(b"abc")[:5])
    before = sink.framer.finished
    sink.feed(message(b"abc")[5:9])
    assert sink.framer.finished == before
    sink.feed(message(b"abc")[9:] + b"\xca")
    assert sink.framer.finished > before
    for first in (message(b"a", flags=0x10), message(b"", flags=0x30)):
        before = sink.framer.finished
        sink.feed(first if sink.framer._run is not None else first[1:])
        assert sink.framer.finished == before
    sink.feed(message(b"", flags=0x20))
    assert sink.framer.finished > before


def test_closed() -> None:
    sink = Sink()
    for data in (b"\xca", message(b"a", flags=0x10), message(bytes(100_000))[:1000]):
        sink.feed(data)
        assert sink.framer.partial
        sink.framer.close()
        assert not sink.framer.partial
        sink = Sink()


# Large messages have a buffer of their own


def receive(sink: Sink, data: bytes, piece: int) -> None:
    """As a transport does: into the target if there is one, else through a scratch buffer."""
    at = 0
    while at < len(data):
        target = sink.framer.target()
        if target is None:
            step = min(piece, len(data) - at)
            sink.feed(data[at : at + step])
        else:
            step = min(len(target), piece, len(data) - at)
            target[:step] = data[at : at + step]
            sink.framer.received(step, 1000)
        at += step


@pytest.mark.parametrize("piece", [1000, 65536, 70_000, 1 << 20])
@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_large_messages(piece: int, order: Order) -> None:
    big = bytes(range(256)) * 4000
    data = message(b"a") + message(big, order=order) + message(b"b") + message(big[:SMALL]) + message(big[: SMALL + 1])
    expected = [(10, b"a", LITTLE), (10, big, order), (10, b"b", LITTLE), (10, big[:SMALL], LITTLE)]
    expected.append((10, big[: SMALL + 1], LITTLE))
    for take in (receive, lambda sink, data, n: [sink.feed(data[at : at + n]) for at in range(0, len(data), n)]):
        sink = Sink()
        take(sink, data, piece)
        assert sink.got == expected
        assert not sink.framer.partial


def test_a_large_message_is_never_reserved_from_its_header() -> None:
    sink = Sink()
    sink.feed(message(b"")[:4] + (1 << 30).to_bytes(4, "little") + bytes(10))
    sizes, views = [], []  # who still holds a view does no harm
    for _ in range(3):
        target = sink.framer.target()
        assert target is not None
        views.append(target)
        sizes.append(len(target))
        sink.framer.received(len(target), 1)
    arrived = 18
    for size in sizes:
        assert arrived + size <= max(SMALL, 4 * arrived)
        arrived += size
    assert sink.framer.partial


def test_who_has_sent_a_large_message_is_believed() -> None:
    sink = Sink()
    receive(sink, message(bytes(5_000_000)), 1 << 20)
    sink.feed(message(b"")[:4] + (50_000_000).to_bytes(4, "little"))
    target = sink.framer.target()
    assert target is not None
    assert len(target) == 5_000_000


def test_the_buffer_of_a_large_message_is_its_own() -> None:
    sink = Sink()
    owned: list[bool] = []
    kept: list[Any] = []

    def keep(buf: Any, start: int, end: int, order: Order) -> None:
        owned.append(sink.framer.owned)
        kept.append(buf[start:end])

    sink.framer._dispatch[20] = keep  # type: ignore[index]
    receive(sink, message(b"x" * 100_000, 20) + message(b"y" * 100_000, 20) + message(b"z", 20), 4096)
    assert owned == [True, True, False]
    assert bytes(kept[0]) == b"x" * 100_000
    assert bytes(kept[1]) == b"y" * 100_000
    assert not sink.framer.owned


def test_large_segments() -> None:
    big = bytes(range(256)) * 1000
    data = message(big, flags=0x10) + control(1) + message(big, flags=0x30) + message(big, flags=0x20) + message(b"x")
    for piece in (5000, 1 << 20):
        sink = Sink()
        receive(sink, data, piece)
        assert sink.got == [("control", 3, 1, LITTLE), (10, 3 * big, LITTLE), (10, b"x", LITTLE)]
    with pytest.raises(ProtocolError, match="inside"):
        receive(Sink(), message(big, flags=0x10) + message(big), 5000)


def test_large_message_without_handler() -> None:
    sink = Sink()
    receive(sink, message(bytes(100_000), 99) + message(b"x"), 5000)
    assert sink.got == [(10, b"x", LITTLE)]


# Any chopping


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, Got]:
    """A stream, and what has to come out of it."""
    data, expected = b"", []
    for _ in range(draw(st.integers(0, 6))):
        order = draw(st.sampled_from([LITTLE, BIG]))
        kind = draw(st.sampled_from(["whole", "whole", "control", "segments"]))
        command = draw(st.sampled_from([0, 10, 255]))
        payload = draw(st.binary(max_size=20))
        if kind == "whole":
            data += message(payload, command, order)
        elif kind == "control":
            data += control(len(payload), 3, order)
            expected.append(("control", 3, len(payload), order))
            continue
        else:
            cuts = sorted(draw(st.lists(st.integers(0, len(payload)), min_size=1, max_size=3)))
            edges = [0, *cuts, len(payload)]
            for n in range(len(edges) - 1):
                flags = 0x10 if n == 0 else 0x20 if n == len(edges) - 2 else 0x30
                data += message(payload[edges[n] : edges[n + 1]], command, order, flags)
                if draw(st.booleans()) and flags != 0x20:
                    data += control(5)
                    expected.append(("control", 3, 5, LITTLE))
        expected.append((command, payload, order))
    return data, expected


@given(stream=streams(), cuts=st.lists(st.integers(0, 300)), budget=st.integers(1, 5))
def test_any_chopping(stream: tuple[bytes, Got], cuts: list[int], budget: int) -> None:
    data, expected = stream
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    sink = Sink()
    for start, end in pairwise(edges):
        waits = sink.feed(data[start:end], budget)
        while waits:
            waits = sink.framer.feed(b"", budget)
    assert sink.got == expected
    assert not sink.framer.partial


@given(stream=streams())
def test_one_byte_at_a_time(stream: tuple[bytes, Got]) -> None:
    data, expected = stream
    sink = Sink()
    for n in range(len(data)):
        assert not sink.framer.feed(data[n : n + 1], 1)
    assert sink.got == expected


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    for prefix in (b"", b"\xca\x02", b"\xca\x02\x00\x0a\x04\0\0\0"):
        stream = prefix + data
        edges = [0, *sorted(cuts), len(stream)]
        try:
            sink = Sink(max_message=1 << 16)
            for start, end in pairwise(edges):
                sink.feed(stream[start:end])
        except ProtocolError:
            pass


# Datagrams


def test_datagram() -> None:
    data = message(b"tag", 22, BIG) + message(b"search", 3)
    found = [(flags, command, data[start:end], order) for flags, command, start, end, order in split_datagram(data)]
    assert found == [(0x80, 22, b"tag", BIG), (0, 3, b"search", LITTLE)]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xca\x02",
        b"\xcb\x02\0\3\0\0\0\0",
        message(b"", version=0),
        control(1),
        message(b"", flags=0x10),
        message(b"abc")[:-1],
    ],
)
def test_the_rest_of_a_datagram_is_ignored(bad: bytes) -> None:
    assert len(list(split_datagram(message(b"ok") + bad))) == 1


def test_mutated_captures() -> None:
    """Captured streams with a few bytes changed: messages or one error."""
    dice = random.Random(2)
    streams: dict[tuple[str, str, str, str], bytes] = {}
    for path in STREAMS:
        for line in lines(path):
            if line["transport"] == "tcp":
                key = (path.stem, line["session"], line["conn"], line["dir"])
                streams[key] = streams.get(key, b"") + bytes.fromhex(line["hex"])[:2000]
    for key, stream in streams.items():
        for _ in range(10):
            data = bytearray(stream[:20_000])
            for _ in range(dice.randint(0, 3)):
                if data:
                    data[dice.randrange(len(data))] = dice.randrange(256)
            sink = Sink(max_message=1 << 20, from_server=key[3] == "s2c")
            try:
                at = 0
                while at < len(data):
                    step = dice.choice((1, 7, 100, 5000))
                    if sink.feed(bytes(data[at : at + step]), 3):
                        while sink.framer.feed(b"", 3):
                            pass
                    at += step
            except ProtocolError:
                pass

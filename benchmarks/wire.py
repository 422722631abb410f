"""What wire/ costs, in this process and without sockets: `python benchmarks/wire.py`. Times in ns."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

from p4p_trio.config import Limits
from p4p_trio.data import Field, scalar, struct
from p4p_trio.wire import BIG, LITTLE, Buffers, Command, Framer, Reader, codec_for, interpret, messages, type_bytes

ALARM = struct({"severity": scalar("i"), "status": scalar("i"), "message": scalar("s")}, "alarm_t")
STAMP = struct({"secondsPastEpoch": scalar("l"), "nanoseconds": scalar("i"), "userTag": scalar("i")}, "time_t")
LIMITS = Limits()


def nt(value: str) -> Field:
    """NTScalar or NTScalarArray."""
    return struct({"value": scalar(value), "alarm": ALARM, "timeStamp": STAMP}, "epics:nt/NTScalar:1.0")


def best(function: Callable[[], Any], number: int = 20_000) -> float:
    """The shortest time of one call."""
    return min(timeit.repeat(function, number=number, repeat=9)) / number * 1e9


def report(what: str, *times: float) -> None:
    print(f"{what:52}" + "".join(f"{time:12,.0f}" for time in times))


def codecs() -> None:
    print(f"{'':52}{'little':>12}{'big':>12}")
    field = nt("d")
    for name, text in (("no alarm message", ""), ("alarm message of 5", "HIHI!")):
        slots = [0, 1.5, None, 2, 1, text, None, 1_700_000_000, 5, 0]
        mask = 1 << 1 | 1 << 5 | 1 << 7 | 1 << 8
        columns: dict[str, list[float]] = {}
        for order in (LITTLE, BIG):
            codec = codec_for(field, order, trusted=True)
            out = Buffers()

            def write(function: Callable[..., Any], *arguments: Any, out: Buffers = out) -> float:
                def call() -> None:
                    out.tail = bytearray()
                    function(*arguments)

                def empty() -> None:
                    out.tail = bytearray()

                return best(call) - best(empty)

            def read(data: bytes, function: Callable[..., Any], *more: Any, order: Any = order) -> float:
                reader = Reader(data, 0, len(data), order, LIMITS)

                def call() -> None:
                    reader.pos = 0
                    function(reader, *more)

                return best(call)

            for _ in range(100):  # until the mask has a function of its own
                out.clear()
                codec.write_partial(out, slots, mask)
            part = out.freeze()[0]
            target = field.layout.defaults.copy()
            for _ in range(100):
                codec.read_partial(Reader(part, 0, len(part), order, LIMITS), target)
            out.clear()
            codec.write_slots(out, slots)
            whole = out.freeze()[0]
            for what, time in (
                ("encode", write(codec.write_slots, out, slots)),
                ("decode", read(whole, codec.read_slots)),
                ("encode, interpreted", write(interpret.write_slots, out, order, field, slots)),
                ("decode, interpreted", read(whole, interpret.read_slots, field)),
                ("encode 4 of 7 leaves", write(codec.write_partial, out, slots, mask)),
                ("decode 4 of 7 leaves", read(part, codec.read_partial, target)),
                ("write_update, 4 leaves", write(messages.write_update, out, order, 7, codec, slots, mask, 0)),
            ):
                columns.setdefault(what, []).append(time)
        for what, times in columns.items():
            report(f"NTScalar double, {name}: {what}", *times)

    image = struct({"value": scalar("ad")})
    array = np.arange(1e6)
    array.flags.writeable = False
    times = []
    for order in (LITTLE, BIG):
        out, codec = Buffers(), codec_for(image, order, trusted=True)

        def encode(out: Buffers = out, codec: Any = codec) -> None:
            out.clear()
            codec.write_slots(out, [0, array])

        times.append(best(encode, 50))
    report("8 MB of double: encode", *times)


def others() -> None:
    description = type_bytes(nt("d"), LITTLE)
    report("Reader()", best(lambda: Reader(description, 0, 8, LITTLE, LIMITS)))
    report(
        "read the type of an NTScalar (10 nodes)",
        best(lambda: Reader(description, 0, 133, LITTLE, LIMITS).type(), 2000),
    )

    def handle(*arguments: Any) -> None:
        pass

    framer = Framer(from_server=False, max_message=None, dispatch=[handle] * 256, control=handle)
    get = Buffers()
    messages.write_simple(get, LITTLE, Command.GET, 1, 2, 0)
    for count in (1, 8, 64):
        data = memoryview(bytes(get.tail) * count)
        report(f"Framer.feed of {count}, per message", best(lambda data=data: framer.feed(data, 1000), 2000) / count)
    big = memoryview(LITTLE.header.pack(0xCA, 2, 0, Command.PUT, 8_000_000) + bytes(8_000_000))

    def receive() -> None:
        framer.feed(big[:65536], 1)
        at = 65536
        while at < len(big):
            target = framer.target()
            assert target is not None
            step = min(len(target), 1 << 18, len(big) - at)
            target[:step] = big[at : at + step]
            framer.received(step, 1)
            at += step

    report("Framer: 8 MB in pieces of 256 KiB", best(receive, 5))


if __name__ == "__main__":
    codecs()
    others()

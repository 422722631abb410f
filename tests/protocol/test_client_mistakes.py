"""What a server can do wrong: it is refused with a reason, or read, and never anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio.data import Value
from p4p_trio.errors import ProtocolError
from p4p_trio.wire import LITTLE
from tests.protocol.link import raw
from tests.protocol.literal import INITED, PAIR, SID, TYPE, VERBS, Wire, idle, opened

GET = "01000000 00 FF 00"


@pytest.mark.parametrize(
    ("state", "command", "payload", "text"),
    [
        ("creating", 0x0A, GET, "which is creating"),
        ("creating", 0x0B, GET, "PUT reply for request 1, a GET"),
        ("creating", 0x0D, GET, "MONITOR reply for request 1, a GET"),
        ("creating", 0x11, "01000000 FF FF", "GET_FIELD reply for request 1, a GET"),
        ("creating", 0x0A, "01000000 08 FF 43", "no structure"),
        ("creating", 0x0A, "01000000 08 FF FF", "no structure"),
        ("creating", 0x0A, "01000000 08", "1 byte wanted"),
        ("creating", 0x0A, "01000000", "needs 5 bytes of ids"),
        ("idle", 0x0A, GET, "which is idle"),
        ("idle", 0x0A, f"01000000 08 FF {TYPE}", "second INIT reply"),
        ("executing", 0x0A, f"01000000 08 FF {TYPE}", "second INIT reply"),
        ("executing", 0x0A, "01000000 00 FF 01 08", "bit 3 set"),
        ("executing", 0x0A, "01000000 00 FF 01 04 05 61", "at s"),
        ("executing", 0x0A, "01000000 00 FF", "byte 6"),
    ],
)
def test_wrong_replies_to_get(wire: Wire, state: str, command: int, payload: str, text: str) -> None:
    get = wire.channel().get()
    if state != "creating":
        wire.reply(0x0A, f"01000000 08 FF {TYPE}")
    if state == "executing":
        get.execute()
    with pytest.raises(ProtocolError, match=text):
        wire.reply(command, payload)


@pytest.mark.parametrize(
    ("command", "verb", "sub"),
    [
        (0x0B, "execute", "40"),
        (0x0B, "read", "00"),
        (0x0C, "execute", "40"),
        (0x0C, "read", "80"),
        (0x0C, "read_put", "00"),
    ],
)
def test_reply_to_something_else(wire: Wire, command: int, verb: str, sub: str) -> None:
    request = idle(wire, command)
    getattr(request, verb)(*([Value(PAIR)] if verb == "execute" else []))
    with pytest.raises(ProtocolError, match="which is executing"):
        wire.reply(command, f"01000000 {sub} FF 00")


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ("01000000 00 00 00", "not initialised"),
        ("01000000 10 FF", "not initialised"),
        ("01000000", "needs 5 bytes"),
        ("01000000 08 FF FF", "no structure"),
    ],
)
def test_wrong_messages_to_a_new_monitor(wire: Wire, payload: str, text: str) -> None:
    wire.channel().monitor()
    with pytest.raises(ProtocolError, match=text):
        wire.reply(0x0D, payload)


@pytest.mark.parametrize("payload", [f"01000000 08 FF {TYPE}", "01000000 00 01 02", "01000000 00 00", "01000000 10"])
def test_wrong_messages_to_an_open_monitor(wire: Wire, payload: str) -> None:
    opened(wire)
    with pytest.raises(ProtocolError):
        wire.reply(0x0D, payload)


def test_get_reply_to_a_monitor(wire: Wire) -> None:
    opened(wire)
    with pytest.raises(ProtocolError, match="GET reply for request 1, a MONITOR"):
        wire.reply(0x0A, GET)


def test_one_answer_per_cancellation_is_tolerated(wire: Wire) -> None:
    """pvAccessCPP may answer what was cancelled."""
    put = idle(wire, 0x0B)
    put.read()
    put.cancel()
    assert wire.said().endswith(raw(f"CA 02 00 15 08000000 {SID} 01000000"))
    put.execute(Value(PAIR))
    assert wire.reply(0x0B, "01000000 40 FF 01 04 01 61") == []  # the read that was cancelled
    assert wire.reply(0x0B, "01000000 00 FF") == [("reply", 1, "", None)]
    put.execute(Value(PAIR))
    put.cancel()
    assert wire.reply(0x0B, "01000000 00 FF") == []
    with pytest.raises(ProtocolError, match="which is idle"):
        wire.reply(0x0B, "01000000 00 FF")


@given(data=st.binary(max_size=60), command=st.integers(0, 0x17), state=st.sampled_from(["new", "idle", "busy"]))
def test_any_bytes_are_read_or_refused(data: bytes, command: int, state: str) -> None:
    wire = Wire()
    channel = wire.channel()
    requests = [getattr(channel, verb)() for verb in VERBS.values()]
    channel.monitor()
    if state != "new":
        for request, number in zip(requests, VERBS, strict=True):
            wire.reply(number, f"{request.ioid:02X}000000 08 FF {INITED[number]}")
        wire.reply(0x0D, f"06000000 08 FF {TYPE}")
        if state == "busy":
            requests[0].execute()
            requests[1].read()
            requests[2].read_put()
            requests[3].execute()
            requests[4].execute()
    ids = bytes((data[0] % 7, 0, 0, 0, data[1] & 0xD8)) if len(data) > 1 else b""
    body = ids + data[2:]
    try:
        wire.client.feed(LITTLE.header.pack(0xCA, 2, 0x40, command, len(body)) + body)
    except ProtocolError:
        wire.client.lost()

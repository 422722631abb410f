"""The client's machine against literal bytes: requests and subscriptions."""

from __future__ import annotations

import pytest

from p4p_trio.data import Type, Value, Variant, parse_request, scalar
from p4p_trio.protocol.tables import (
    ClientMonitorState,
    ClientRequestState,
)
from p4p_trio.wire import BIG
from tests.protocol.link import raw
from tests.protocol.literal import PAIR, SID, TYPE, Wire, idle, opened

# ---- requests


def test_get(wire: Wire) -> None:
    get = wire.channel().get(parse_request("field(v)"))
    assert wire.said() == raw(f"""
        CA 02 00 0A 1A000000  {SID} 01000000 08
        80 00 01 05 6669656C64  80 00 01 01 76 80 00 00                # field(v)
    """)
    wire.reply(0x0A, f"01000000 08 FF {TYPE}")
    get.execute()
    assert wire.said() == raw(f"CA 02 00 0A 09000000 {SID} 01000000 00")
    told = wire.reply(0x0A, "01000000 00 FF  01 02  000000000000F03F")
    assert told == [("reply", 1, "", ({"v": 1.0, "s": ""}, {"v"}))]
    get.destroy()
    assert wire.said() == raw(f"CA 02 00 0F 08000000 {SID} 01000000")


def test_default_pvrequest_is_never_null(wire: Wire) -> None:
    wire.channel().rpc()
    assert wire.said() == raw(f"CA 02 00 14 15000000 {SID} 01000000 08  80 00 01 05 6669656C64 80 00 00")


@pytest.mark.parametrize("sub", ["00", "10", "40"])
def test_sub_commands_of_get_replies(wire: Wire, sub: str) -> None:
    get = idle(wire, 0x0A)
    get.execute()
    assert wire.reply(0x0A, f"01000000 {sub} FF 00") == [("reply", 1, "", ({"v": 0.0, "s": ""}, set()))]
    assert get.state is (ClientRequestState.DEAD if sub == "10" else ClientRequestState.IDLE)


def test_reply_of_a_last_execution_ends_the_request_whatever_its_sub_command(wire: Wire) -> None:
    get = idle(wire, 0x0A)
    get.execute(last=True)
    assert wire.said()[-1] == 0x10
    wire.reply(0x0A, "01000000 00 FF 00")
    assert get.state is ClientRequestState.DEAD


def test_the_whole_structure_in_one_bit(wire: Wire) -> None:
    idle(wire, 0x0A).execute()
    told = wire.reply(0x0A, "01000000 00 FF  01 01  000000000000F03F 02 6162")
    assert told == [("reply", 1, "", ({"v": 1.0, "s": "ab"}, {"v", "s"}))]


def test_reply_in_the_other_order(wire: Wire) -> None:
    get = wire.channel().get()
    assert wire.reply(0x0A, f"00000001 08 FF {TYPE}", BIG) == [("init_done", 1)]
    get.execute()
    told = wire.reply(0x0A, "00000001 00 FF  01 02  3FF0000000000000", BIG)
    assert told == [("reply", 1, "", ({"v": 1.0, "s": ""}, {"v"}))]
    assert wire.said()[-17:-13] == raw("CA 02 00 0A")


def test_warning_comes_with_a_result(wire: Wire) -> None:
    idle(wire, 0x0A).execute()
    told = wire.reply(0x0A, "01000000 00 01 02 6F68 00  00")
    assert told == [("reply", 1, "oh", ({"v": 0.0, "s": ""}, set()))]


def test_error_comes_without(wire: Wire) -> None:
    get = idle(wire, 0x0A)
    get.execute()
    assert wire.reply(0x0A, "01000000 00 02 02 6E6F 00") == [("reply", 1, "no", None)]
    assert get.state is ClientRequestState.IDLE


def test_put(wire: Wire) -> None:
    put = idle(wire, 0x0B)
    put.read()
    assert wire.said() == raw(f"CA 02 00 0B 09000000 {SID} 01000000 40")
    assert wire.reply(0x0B, "01000000 40 FF  01 04 01 61") == [("reply", 1, "", ({"v": 0.0, "s": "a"}, {"s"}))]
    put.execute(Value(PAIR, {"v": 5.5}))
    assert wire.said() == raw(f"CA 02 00 0B 13000000 {SID} 01000000 00  01 02 0000000000001640")
    assert wire.reply(0x0B, "01000000 00 FF") == [("reply", 1, "", None)]
    put.execute(Value(PAIR, {"s": "b"}), last=True)
    assert wire.said() == raw(f"CA 02 00 0B 0D000000 {SID} 01000000 10  01 04 01 62")
    assert wire.reply(0x0B, "01000000 10 02 02 6E6F 00") == [("reply", 1, "no", None)]


def test_put_get_with_two_types(wire: Wire) -> None:
    request = wire.channel().put_get()
    wire.reply(0x0C, f"01000000 08 FF {TYPE}\n 80 00 01 01 72 22                # reads structure {{ int r }}")
    wire.said()
    assert request.type == PAIR
    request.execute(Value(PAIR, {"s": "b"}))
    assert wire.said() == raw(f"CA 02 00 0C 0D000000 {SID} 01000000 00  01 04 01 62")
    assert wire.reply(0x0C, "01000000 00 FF 01 02 05000000") == [("reply", 1, "", ({"r": 5}, {"r"}))]
    request.read(last=True)
    assert wire.said()[-1] == 0x50
    request.cancel()
    request.read()
    assert wire.said()[-1] == 0x40
    assert wire.reply(0x0C, "01000000 40 FF 01 01 06000000") == [("reply", 1, "", ({"r": 6}, {"r"}))]
    request.read_put()
    assert wire.said()[-1] == 0x80
    assert wire.reply(0x0C, "01000000 80 FF 01 04 01 62") == [("reply", 1, "", ({"v": 0.0, "s": "b"}, {"s"}))]


def test_process(wire: Wire) -> None:
    process = idle(wire, 0x10)
    process.execute()
    assert wire.said() == raw(f"CA 02 00 10 09000000 {SID} 01000000 00")
    assert wire.reply(0x10, "01000000 00 FF") == [("reply", 1, "", None)]


def test_rpc(wire: Wire) -> None:
    rpc = idle(wire, 0x14)
    rpc.execute(Value(PAIR, {"s": "b"}))
    assert wire.said() == raw(f"""
        CA 02 00 14 1C000000 {SID} 01000000 00  80 00 02 01 76 43 01 73 60
        0000000000000000 01 62
    """)
    told = wire.reply(0x14, f"01000000 00 FF {TYPE}\n 000000000000F03F 00")
    assert [each[:3] for each in told] == [("reply", 1, "")]
    assert told[0][3][0] == {"v": 1.0, "s": ""}
    rpc.execute(Variant(scalar("i"), 7))
    assert wire.said() == raw(f"CA 02 00 14 0E000000 {SID} 01000000 00  22 07000000")
    assert wire.reply(0x14, "01000000 00 FF 60 02 6869") == [("reply", 1, "", Variant(scalar("s"), "hi"))]
    rpc.execute()
    assert wire.said() == raw(f"CA 02 00 14 0A000000 {SID} 01000000 00  FF")
    assert wire.reply(0x14, "01000000 00 FF FF") == [("reply", 1, "", None)]


def test_get_field(wire: Wire) -> None:
    asked = wire.channel().get_field("a.b")
    assert wire.said() == raw(f"CA 02 00 11 0C000000 {SID} 01000000 03 612E62")
    assert wire.reply(0x11, f"01000000 FF {TYPE}") == [("reply", 1, "", PAIR)]
    assert asked.state is ClientRequestState.DEAD


def test_types_by_reference(wire: Wire) -> None:
    """pvAccessCPP defines each type once, and refers to it from then on: also what we no longer wanted."""
    channel = wire.channel()
    dropped = channel.get()
    dropped.destroy()
    assert wire.reply(0x0A, f"01000000 08 FF FD 0100 {TYPE}") == []
    get = channel.get()
    assert wire.reply(0x0A, "02000000 08 FF FE 0100") == [("init_done", 2)]
    assert get.type == PAIR
    # a late reply, in an any of which the next type is defined
    rpc = channel.rpc()
    wire.reply(0x14, "03000000 08 FF")
    rpc.execute()
    rpc.destroy()
    assert wire.reply(0x14, "03000000 00 FF FD 0200 80 00 01 01 61 22  01000000") == []
    info = channel.get_field()
    assert wire.reply(0x11, f"{info.ioid:02X}000000 FF FE 0200") == [("reply", info.ioid, "", Type([("a", "i")]))]


def test_late_replies_are_ignored_whatever_they_hold(wire: Wire) -> None:
    channel = wire.channel()
    get, monitor, dead = channel.get(), channel.monitor(), channel.put()
    wire.reply(0x0A, f"01000000 08 FF {TYPE}")
    wire.reply(0x0D, f"02000000 08 FF {TYPE}")
    get.execute()
    for request in (get, monitor, dead):
        request.destroy()
    for command, payload in (
        (0x0A, "01000000 00 FF 01 02 000000000000F03F"),
        (0x0A, "01000000 00 FF 01 FF"),
        (0x0A, "01000000 00 02 00 00"),
        (0x0A, "01000000 08 FF 33"),
        (0x0B, "01000000 00 FF"),
        (0x0D, "02000000 00 01 02 000000000000F03F 00"),
        (0x0D, "02000000 00"),
        (0x0D, "02000000 10 FF 01 02 000000000000F03F 00"),
        (0x0D, "02000000 10 02 00 00"),
        (0x0B, "03000000 00 FF 07"),
    ):
        assert wire.reply(command, payload) == []


# ---- subscriptions


def test_monitor(wire: Wire) -> None:
    monitor = opened(wire)
    assert wire.said() == raw(f"CA 02 00 0D 15000000 {SID} 01000000 08  80 00 01 05 6669656C64 80 00 00")
    monitor.start()
    assert wire.said() == raw(f"CA 02 00 0D 09000000 {SID} 01000000 44")
    assert wire.reply(0x0D, "01000000 00 01 01 000000000000F03F 01 61 00") == [
        ("update", 1, ({"v": 1.0, "s": "a"}, {"v", "s"}), 0)
    ]
    assert wire.reply(0x0D, "01000000 00 01 02 0000000000000040 01 02") == [
        ("update", 1, ({"v": 2.0, "s": "a"}, {"v"}), 0b010)
    ]
    # bit 0 in the overrun set stands for all leaves
    assert wire.reply(0x0D, "01000000 00 01 04 00 01 01") == [("update", 1, ({"v": 2.0, "s": ""}, {"s"}), 0b110)]
    assert wire.reply(0x0D, "00000001 00 01 02 4008000000000000 00", BIG) == [
        ("update", 1, ({"v": 3.0, "s": ""}, {"v"}), 0)
    ]
    monitor.stop()
    assert wire.said() == raw(f"CA 02 00 0D 09000000 {SID} 01000000 04")
    monitor.destroy()
    assert wire.said() == raw(f"CA 02 00 0F 08000000 {SID} 01000000")


def test_pipelined_monitor(wire: Wire) -> None:
    monitor = opened(wire, "record[pipeline=true,queueSize=3,ackAny=2]")
    assert monitor
    first = wire.said()
    assert first[16] == 0x88
    assert first[-4:] == raw("03000000")
    wire.listener.take = False
    for _ in range(2):
        wire.reply(0x0D, "01000000 00 01 02 000000000000F03F 00")
    assert monitor.pop() is not None
    assert not wire.said()
    assert monitor.pop() is not None
    assert wire.said() == raw(f"CA 02 00 0D 0D000000 {SID} 01000000 80 02000000")
    assert monitor.pop() is None


def test_a_server_that_ignores_its_window_is_acked_for_what_it_sent(wire: Wire) -> None:
    monitor = opened(wire, "record[pipeline=true,queueSize=2,ackAny=2]")
    wire.said()
    wire.listener.take = False
    for _ in range(5):
        wire.reply(0x0D, "01000000 00 01 02 000000000000F03F 00")
    assert len(monitor) == 2
    monitor.pop()
    update = monitor.pop()
    assert update is not None
    assert update[1] == 0b010
    assert wire.said() == raw(f"CA 02 00 0D 0D000000 {SID} 01000000 80 05000000")


def test_finish(wire: Wire) -> None:
    monitor = opened(wire)
    assert wire.reply(0x0D, "01000000 10 FF") == [("finished", 1, "")]
    assert monitor.state is ClientMonitorState.DEAD
    assert not wire.client.requests
    wire.said()
    monitor.destroy()
    assert not wire.said()


def test_finish_with_a_last_update(wire: Wire) -> None:
    opened(wire)
    assert wire.reply(0x0D, "01000000 10 FF  01 04 01 7A 00") == [
        ("update", 1, ({"v": 0.0, "s": "z"}, {"s"}), 0),
        ("finished", 1, ""),
    ]


def test_finish_with_an_error(wire: Wire) -> None:
    opened(wire)
    assert wire.reply(0x0D, "01000000 10 02 04 676F6E65 00") == [("finished", 1, "gone")]

"""Captured conversations, with our client in the place of the one that was recorded.

What that client asked is asked again through the verbs of ours, under the same ids, and what the server
answered is fed to it. Where the recorded client was pvxs, whose habits are ours, the bytes that we send
are compared too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio.data import Value, Variant
from p4p_trio.errors import ProtocolError
from p4p_trio.protocol.client_connection import ClientConnection
from p4p_trio.protocol.client_monitor import ClientMonitor
from p4p_trio.protocol.client_request import ClientRequest
from p4p_trio.protocol.tables import ClientChannelState, ClientConnectionState, ClientRequestState
from p4p_trio.wire import Command, Framer, Order, Reader, TypeCache, codec_for, messages
from p4p_trio.wire.commands import DESTROY, GET, GET_PUT, INIT, START, STOP
from tests.protocol.link import LIMITS, Listener, drain

VECTORS = Path(__file__).parent.parent / "vectors"
VERBS = {
    Command.GET: "get",
    Command.PUT: "put",
    Command.PUT_GET: "put_get",
    Command.MONITOR: "monitor",
    Command.PROCESS: "process",
    Command.RPC: "rpc",
}
Line = dict[str, Any]


def conversations() -> dict[str, list[Line]]:
    """The lines of each TCP connection that has an answer in it."""
    found: dict[str, list[Line]] = defaultdict(list)
    for path in sorted(VECTORS.glob("stream_*.jsonl")):
        for text in path.read_text(encoding="utf-8").splitlines():
            line: Line = json.loads(text)
            if line["transport"] == "tcp" and line["hex"]:
                name = f"{path.stem.removeprefix('stream_')}-{line['session']}-{line['conn']}"
                if "forwarded instead" in line["what"]:  # what stands before was held back by the tap
                    found[name].pop()
                if b"Client selects unadvertised auth".hex() in line["hex"]:
                    break  # a probe that logs in a second time, which a client must not do
                found[name].append(line)
    return dict(found)


CONVERSATIONS = conversations()


class Mirror:
    """Our client doing what another one did."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.client = ClientConnection(self.listener, LIMITS, user="root", hostname="vm")
        self.types = TypeCache(LIMITS)  # of the recorded client
        self.known: dict[int, ClientRequest | ClientMonitor] = {}
        self.expected = b""
        self.framer = Framer(
            from_server=False,
            max_message=None,
            dispatch=[self.asking(n) for n in range(256)],
            control=lambda command, value, order: None,
        )

    def asking(self, command: int) -> Callable[[Any, int, int, Order], None]:
        def on_message(buf: Any, start: int, end: int, order: Order) -> None:
            reader = Reader(bytes(buf), start, end, order, LIMITS, self.types)
            if command in VERBS:
                self.operation(Command(command), reader)
            else:
                acts: dict[int, Callable[[Reader], None]] = {
                    Command.ECHO: self.echo,
                    Command.SEARCH: self.search,
                    Command.CREATE_CHANNEL: self.create_channel,
                    Command.DESTROY_CHANNEL: self.destroy_channel,
                    Command.GET_FIELD: self.get_field,
                    Command.DESTROY_REQUEST: self.destroy_request,
                    Command.CANCEL_REQUEST: self.cancel_request,
                }
                if command in acts:
                    acts[command](reader)

        return on_message

    def echo(self, reader: Reader) -> None:
        self.client.echo()

    def search(self, reader: Reader) -> None:
        self.client.search(messages.read_search(reader).channels)

    def create_channel(self, reader: Reader) -> None:
        for cid, name in messages.read_create_channel(reader):
            self.client._next_cid = cid
            self.client.create_channel(name)

    def destroy_channel(self, reader: Reader) -> None:
        sid, _ = messages.read_destroy_channel(reader)
        channel = self.client.channels.get(sid)
        if channel is not None:
            channel.destroy()

    def get_field(self, reader: Reader) -> None:
        sid, ioid, path = messages.read_get_field(reader)
        self.client._next_ioid = ioid
        self.known[ioid] = self.client.channels[sid].get_field(path)

    def destroy_request(self, reader: Reader) -> None:
        _, ioid = messages.read_request_ids(reader)
        self.known[ioid].destroy()

    def cancel_request(self, reader: Reader) -> None:
        _, ioid = messages.read_request_ids(reader)
        request = self.known[ioid]
        if isinstance(request, ClientMonitor):
            request.stop()
        else:
            request.cancel()

    def operation(self, command: Command, reader: Reader) -> None:
        sid, ioid, sub = messages.read_request(reader)
        if sub & INIT:
            asked = messages.read_init(reader, command, sub)
            self.client._next_ioid = ioid
            channel = self.client.channels[sid]
            pv_request = asked.item if isinstance(asked.item, Value) else None
            self.known[ioid] = getattr(channel, VERBS[command])(pv_request)
            return
        request = self.known[ioid]
        if isinstance(request, ClientMonitor):
            # Acks go out when updates are taken, not when the recorded client sent them.
            if sub & START == START:
                request.start()
            elif sub & STOP:
                request.stop()
            if sub & DESTROY:
                request.destroy()
            return
        last = bool(sub & DESTROY)
        if command in (Command.PUT, Command.PUT_GET) and sub & GET:
            request.read(last=last)
        elif command is Command.PUT_GET and sub & GET_PUT:
            request.read_put(last=last)
        elif command in (Command.PUT, Command.PUT_GET):
            assert request.type is not None
            slots = request.type._field.layout.defaults.copy()
            slots[0] = codec_for(request.type._field, reader.order).read_partial(reader, slots)
            request.execute(Value._make(request.type, slots), last=last)
        elif command is Command.RPC:
            field, item = messages.read_full(reader)
            request.execute(item if field is None or field.code == "S" else Variant(field, item), last=last)
        else:
            request.execute(last=last)


def told_about(lines: list[Line], part: str) -> int:
    return sum(line["dir"] == "s2c" and part in line["what"] for line in lines)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_replay(name: str) -> None:
    lines = CONVERSATIONS[name]
    mirror = Mirror()
    client = mirror.client
    for line in lines:
        data = bytes.fromhex(line["hex"])
        if line["dir"] == "s2c":
            client.feed(data)
            drain(client.output)
            continue
        mirror.framer.feed(data, 64)
        said = drain(client.output)
        if line["peer"].startswith("pvxs") and said and data[3] != Command.SEARCH:
            assert said == data, line["what"]
    assert client.state in (ClientConnectionState.READY, ClientConnectionState.VALIDATING)
    told = [each[0] for each in mirror.listener.told]
    assert told.count("channel_created") + told.count("channel_refused") == told_about(lines, "CREATE_CHANNEL reply")
    assert told.count("init_done") + told.count("init_failed") == told_about(lines, "(INIT)")
    assert told.count("finished") == told_about(lines, "(FINISH)")
    assert told.count("message") == told_about(lines, "MESSAGE")
    assert all(
        request.state in (ClientRequestState.IDLE, ClientRequestState.DEAD)
        for request in mirror.known.values()
        if isinstance(request, ClientRequest) and request.command is not Command.PUT_GET  # pvxs never answers those
    )
    assert all(channel.state is ClientChannelState.ACTIVE for channel in client.channels.values())


SHORT = [name for name, lines in CONVERSATIONS.items() if len(lines) < 60]


@given(name=st.sampled_from(SHORT), data=st.data())
def test_a_changed_byte_is_refused_or_believed(name: str, data: st.DataObject) -> None:
    """Whatever a server says instead: values, or one ProtocolError; and what follows is still read."""
    lines = CONVERSATIONS[name]
    spoilt = data.draw(st.sampled_from([n for n, line in enumerate(lines) if line["dir"] == "s2c"]))
    message = bytearray.fromhex(lines[spoilt]["hex"])
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    mirror = Mirror()
    try:
        for n, line in enumerate(lines):
            if line["dir"] == "s2c":
                mirror.client.feed(bytes(message) if n == spoilt else bytes.fromhex(line["hex"]))
            elif n < spoilt:  # after that the other side no longer knows what it is answering
                mirror.framer.feed(bytes.fromhex(line["hex"]), 64)
            drain(mirror.client.output)
    except ProtocolError:
        pass
    mirror.client.lost()
    assert not mirror.client.requests


def test_there_are_conversations_with_every_peer() -> None:
    assert len(CONVERSATIONS) > 80
    assert {name.split("_")[0] for name in CONVERSATIONS} >= {
        "bigendian", "fakeserver", "java", "pvaccesscpp", "pvxs", "softioc", "spvirit"
    }  # fmt: skip

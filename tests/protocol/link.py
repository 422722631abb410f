"""Two machines and no network: a server's and a client's half of one connection, wired back to back.

    link = Link({"demo:x": FakePV(value)})
    link.login()
    channel = link.created("demo:x")
    request = channel.get()
    link.settle()

`transfer` carries what one side has to send to the other, `roundtrip` does it once in each direction,
`settle` until nobody has anything to say. What the client was told stands in `link.told`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from p4p_trio.config import Limits
from p4p_trio.data import Type, Value, bits
from p4p_trio.protocol.channel import Channel
from p4p_trio.protocol.client_channel import ClientChannel
from p4p_trio.protocol.client_connection import ClientConnection
from p4p_trio.protocol.client_monitor import ClientMonitor
from p4p_trio.protocol.client_request import ClientRequest
from p4p_trio.protocol.monitor import Monitor
from p4p_trio.protocol.output import Output
from p4p_trio.protocol.peer import Peer
from p4p_trio.protocol.pv import PV
from p4p_trio.protocol.request import Operation
from p4p_trio.protocol.server_connection import ServerConnection
from p4p_trio.protocol.tables import CancelReason
from p4p_trio.wire import LITTLE, Buffers, Command, Order, Reader, Status, messages

GUID = b"GUID of ours"
LIMITS = Limits()
POINT = Type(
    [("value", "d"), ("alarm", ("S", "alarm_t", [("severity", "i"), ("message", "s")])), ("label", "s")], "point"
)

FIRST: dict[str, Any] = {"value": 1.5, "alarm": {"severity": 2, "message": "high"}, "label": "here"}
EVERYTHING = {"value", "alarm.severity", "alarm.message", "label"}

Chunks = Callable[[bytes], Iterable[bytes]]
Told = tuple[Any, ...]


def whole(data: bytes) -> list[bytes]:
    return [data]


def point(**fields: Any) -> Value:
    """A value of POINT, by default FIRST."""
    return Value(POINT, fields or FIRST)


def drain(output: Output) -> bytes:
    """Take everything that waits to be sent."""
    data = b"".join(output.waiting())
    output.sent(len(data))
    return data


def plain(value: Any) -> Any:
    """What a reply carried, as something that can be compared: contents, and what was marked."""
    return (value.todict(), value.changedSet()) if isinstance(value, Value) else value


class FakePV:
    """A PV and its owner: what it is asked to run stays in `operations`, to be answered by the test.

    Args:
        value: the first value; None: the PV is closed.
        handles: commands that have a handler.
    """

    def __init__(self, value: Value | None = None, handles: Iterable[Command] = tuple(Command)) -> None:
        self.handled = set(handles)
        self.channels: list[str] = []
        self.running = 0
        self.pv = PV(self)
        if value is not None:
            self.pv.open(value)

    def handles(self, command: Command) -> bool:
        return command in self.handled

    def channel_added(self, channel: Channel) -> None:
        self.channels.append(channel.name)

    def channel_removed(self, channel: Channel) -> None:
        self.channels.remove(channel.name)

    def monitor_started(self, monitor: Monitor) -> None:
        self.running += 1

    def monitor_stopped(self, monitor: Monitor) -> None:
        self.running -= 1

    def post(self, **fields: Any) -> None:
        value = Value(self.pv.type, fields)
        self.pv.post(value, value._type._field.layout.expand(value._slots[0]))


class FakeServer:
    """The server round a `ServerConnection`: PVs by name; None refuses at once, what is missing waits in `wanted`."""

    def __init__(self, pvs: Mapping[str, FakePV | None]) -> None:
        self.pvs = pvs
        self.stopping = False
        self.connection: ServerConnection
        self.wanted: list[Channel] = []
        self.operations: list[Operation] = []
        self.cancelled: list[tuple[Operation, CancelReason]] = []
        self.ended: list[tuple[str, CancelReason]] = []
        self.logged: list[str] = []
        self.dirtied = 0
        self.full = False

    def find(self, channel: Channel) -> None:
        if channel.name not in self.pvs:
            self.wanted.append(channel)
            return
        fake = self.pvs[channel.name]
        if fake is None:
            self.connection.channel_refused(channel, "no such PV")
        else:
            self.connection.channel_found(channel, fake.pv)

    def execute(self, operation: Operation) -> None:
        self.operations.append(operation)

    def cancel(self, operation: Operation, reason: CancelReason) -> None:
        self.cancelled.append((operation, reason))

    def channel_ended(self, channel: Channel, reason: CancelReason) -> None:
        self.ended.append((channel.name, reason))

    def search(self, buf: Any, start: int, end: int, order: Order) -> None:
        asked = messages.read_search(Reader(bytes(buf), start, end, order, LIMITS))
        found = [cid for cid, name in asked.channels if name in self.pvs]
        connection = self.connection
        messages.write_search_response(
            connection.out, connection.order, GUID, asked.seq, messages.ANY, 0, "tcp", bool(found), found
        )

    def dirty(self) -> None:
        self.dirtied += 1

    def send(self) -> bool:
        return not self.full

    def log(self, level: int, text: str) -> None:
        self.logged.append(text)


def fake(link: Link, name: str = "x") -> FakePV:
    """The PV that a link serves."""
    found = link.fake.pvs[name]
    assert found is not None
    return found


class Listener:
    """The caller of a `ClientConnection`: notes what it is told, as tuples that begin with the method's name."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.dirtied = 0
        self.take = True
        """Whether updates are popped as they come."""

    def validated(self, status: Status) -> None:
        self.told.append(("validated", status.message))

    def channel_created(self, channel: ClientChannel) -> None:
        self.told.append(("channel_created", channel.name))

    def channel_refused(self, channel: ClientChannel, status: Status) -> None:
        self.told.append(("channel_refused", channel.name, status.message))

    def channel_lost(self, channel: ClientChannel) -> None:
        self.told.append(("channel_lost", channel.name))

    def init_done(self, request: ClientRequest | ClientMonitor) -> None:
        self.told.append(("init_done", request.ioid))

    def init_failed(self, request: ClientRequest | ClientMonitor, status: Status) -> None:
        self.told.append(("init_failed", request.ioid, status.message))

    def reply(self, request: ClientRequest, status: Status, value: Any) -> None:
        self.told.append(("reply", request.ioid, status.message, plain(value)))

    def update(self, monitor: ClientMonitor) -> None:
        if self.take:
            popped = monitor.pop()
            assert popped is not None
            self.told.append(("update", monitor.ioid, plain(popped[0]), popped[1]))

    def finished(self, monitor: ClientMonitor, status: Status) -> None:
        self.told.append(("finished", monitor.ioid, status.message))

    def request_lost(self, request: ClientRequest | ClientMonitor) -> None:
        self.told.append(("request_lost", request.ioid))

    def message(self, request: ClientRequest | ClientMonitor | None, severity: int, text: str) -> None:
        self.told.append(("message", request and request.ioid, severity, text))

    def search_response(self, response: messages.SearchResponse) -> None:
        self.told.append(("search_response", response.found, response.cids))

    def dirty(self) -> None:
        self.dirtied += 1


class Link:
    """Both halves of one connection.

    Attributes:
        cut: how bytes are chopped up on their way, in both directions.
        to_server, to_client: everything that was carried.
    """

    def __init__(
        self,
        pvs: Mapping[str, FakePV | None] | None = None,
        *,
        order: Order = LITTLE,
        limits: Limits = LIMITS,
        user: str = "operator",
        cut: Chunks = whole,
        budget: int = 64,
    ) -> None:
        self.fake = FakeServer({} if pvs is None else pvs)
        self.listener = Listener()
        self.told = self.listener.told
        self.server = self.fake.connection = ServerConnection(self.fake, Peer("192.0.2.1", 40000), limits, order)
        self.client = ClientConnection(self.listener, limits, user=user, hostname="console")
        self.cut = cut
        self.budget = budget
        self.to_server = bytearray()
        self.to_client = bytearray()

    def login(self) -> None:
        self.server.start()
        self.settle()
        self.told.clear()

    def transfer(self, *, to_client: bool) -> bool:
        """Carry what one side has to send; whether there was anything."""
        source, target = (self.server, self.client) if to_client else (self.client, self.server)
        data = drain(source.output)
        record = self.to_client if to_client else self.to_server
        record += data
        for chunk in self.cut(data):
            more = target.feed(chunk, self.budget)
            while more:
                more = target.feed(b"", self.budget)
        return bool(data)

    def roundtrip(self) -> bool:
        """Carry once in each direction, the client's first; whether there was anything."""
        asked = self.transfer(to_client=False)
        return self.transfer(to_client=True) or asked

    def settle(self) -> None:
        """Carry until nobody has anything to say."""
        while self.roundtrip():
            pass

    def created(self, name: str) -> ClientChannel:
        """A channel that is ACTIVE."""
        channel = self.client.create_channel(name)
        self.settle()
        self.told.clear()
        return channel

    def idle(self, request: ClientRequest) -> ClientRequest:
        """The same request, after its INIT was answered."""
        self.settle()
        self.told.clear()
        return request

    def heard(self) -> list[Told]:
        """What the client was told since the last time, with everything that was sent carried first."""
        self.settle()
        told = list(self.told)
        self.told.clear()
        return told


def raw(text: str) -> bytes:
    """Hex with comments: everything behind `#` is for the reader."""
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def sent(write: Callable[..., None], order: Order, *args: Any, **options: Any) -> bytes:
    """The bytes of one message."""
    out = Buffers()
    write(out, order, *args, **options)
    return b"".join(out.freeze())


def positions(type: Type, *paths: str) -> int:
    """The mask of these fields."""
    mask = 0
    for path in paths:
        mask |= 1 << type._field.layout.position[path]
    return mask


def paths(type: Type, mask: int) -> set[str]:
    """The fields of this mask."""
    return {type._field.layout.paths[n] for n in bits(mask)}

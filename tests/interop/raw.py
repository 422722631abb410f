"""A client of a few literal bytes, for what no peer's client can be made to send.

Little-endian, anonymous, one channel, one request. It reads only as much as it must to take the next step.
"""

from __future__ import annotations

import socket
import struct
from types import TracebackType

__all__ = ["RawClient"]

VALIDATION, SEARCH, CREATE_CHANNEL, DESTROY_CHANNEL, VALIDATED = 0x01, 0x03, 0x07, 0x08, 0x09
PUT, DESTROY_REQUEST, RPC, CANCEL_REQUEST = 0x0B, 0x0F, 0x14, 0x15
INIT = 0x08

EVERYTHING = bytes.fromhex("80 00 01 05") + b"field" + bytes.fromhex("80 00 00")  # the pvRequest field()


def text(value: str) -> bytes:
    """A string shorter than 254 bytes: size, then UTF-8."""
    return bytes([len(value.encode())]) + value.encode()


class RawClient:
    """A connection with one channel to *name*, validated and created.

    Args:
        port: TCP port on 127.0.0.1.
        name: of the PV.
    """

    CID, IOID = 0x11, 0x22

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.receive(VALIDATION)
        # receive buffer size, registry size, quality of service; authentication without data (FF)
        self.send(VALIDATION, struct.pack("<IHH", 0x10000, 0x7FFF, 0) + text("anonymous") + b"\xff")
        self.receive(VALIDATED)
        self.send(CREATE_CHANNEL, struct.pack("<HI", 1, self.CID) + text(name))
        reply = self.receive(CREATE_CHANNEL)
        assert reply[8:9] == b"\xff", f"no channel to {name}: {reply!r}"
        (self.sid,) = struct.unpack_from("<I", reply, 4)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    # -- messages

    def send(self, command: int, payload: bytes) -> None:
        self.socket.sendall(struct.pack("<BBBBI", 0xCA, 2, 0, command, len(payload)) + payload)

    def receive(self, command: int) -> bytes:
        """The payload of the next message of this kind; others are passed over."""
        while True:
            _, _, flags, kind, size = struct.unpack("<BBBBI", self._exactly(8))
            assert not flags & 0x80, "the server speaks big endian"
            if flags & 0x01:
                continue  # control: no payload
            payload = self._exactly(size)
            if kind == command:
                return payload

    def _exactly(self, size: int) -> bytes:
        kept = b""
        while len(kept) < size:
            chunk = self.socket.recv(size - len(kept))
            if not chunk:
                raise EOFError("the server closed the connection")
            kept += chunk
        return kept

    # -- requests

    def request(self, command: int, sub: int, payload: bytes) -> None:
        self.send(command, struct.pack("<IIB", self.sid, self.IOID, sub) + payload)

    def execute_put(self, value: float) -> None:
        """INIT a PUT and execute it with the bit of `value` (1) set; does not wait for the answer."""
        self.request(PUT, INIT, EVERYTHING)
        reply = self.receive(PUT)
        assert reply[5:6] == b"\xff", f"PUT was not initialised: {reply!r}"
        self.request(PUT, 0, b"\x01\x02" + struct.pack("<d", value))

    def call(self, **arguments: str) -> bytes:
        """RPC with a plain structure of strings; returns the reply's bytes after the status."""
        self.request(RPC, INIT, EVERYTHING)
        assert self.receive(RPC)[5:6] == b"\xff"
        members = b"".join(text(key) + b"\x60" for key in arguments)
        kind = b"\x80\x00" + bytes([len(arguments)]) + members
        self.request(RPC, 0, kind + b"".join(text(value) for value in arguments.values()))
        reply = self.receive(RPC)
        assert reply[5:6] == b"\xff", f"refused: {reply!r}"
        return reply[6:]

    # -- leaving

    def cancel_request(self) -> None:
        self.send(CANCEL_REQUEST, struct.pack("<II", self.sid, self.IOID))

    def destroy_request(self) -> None:
        self.send(DESTROY_REQUEST, struct.pack("<II", self.sid, self.IOID))

    def destroy_channel(self) -> None:
        self.send(DESTROY_CHANNEL, struct.pack("<II", self.sid, self.CID))

    def close(self) -> None:
        """An orderly end: FIN."""
        self.socket.close()

    def reset(self) -> None:
        """A disorderly one: RST, as from a host that forgot the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

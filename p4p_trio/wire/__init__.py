"""How it is spelled: bytes to data and back. No sockets, no clocks, no state of a conversation.

order, buffers, reader, text, bitset, status    primitives
typedesc                                        type descriptions, and the ids that peers give them
interpret, generate, codec                      values: the reference codec, the fast one, which one when
frame                                           a byte stream cut into messages
commands, messages                              the numbers of the protocol, and every message
"""

from p4p_trio.wire import messages
from p4p_trio.wire.bitset import bitset_bytes, write_bitset
from p4p_trio.wire.buffers import ATTACH, Buffers
from p4p_trio.wire.codec import Codec, codec_for
from p4p_trio.wire.commands import FROM_SERVER, NO_ID, Command, Control
from p4p_trio.wire.frame import Framer, split_datagram
from p4p_trio.wire.interpret import read_item, read_typed, write_item, write_typed
from p4p_trio.wire.order import BIG, LITTLE, MAGIC, NATIVE, VERSION, Order
from p4p_trio.wire.reader import Buffer, Reader
from p4p_trio.wire.status import OK, Status, StatusKind, write_status
from p4p_trio.wire.text import write_size, write_string
from p4p_trio.wire.typedesc import TypeCache, read_type, type_bytes, write_type

__all__ = [
    "ATTACH",
    "BIG",
    "FROM_SERVER",
    "LITTLE",
    "MAGIC",
    "NATIVE",
    "NO_ID",
    "OK",
    "VERSION",
    "Buffer",
    "Buffers",
    "Codec",
    "Command",
    "Control",
    "Framer",
    "Order",
    "Reader",
    "Status",
    "StatusKind",
    "TypeCache",
    "bitset_bytes",
    "codec_for",
    "messages",
    "read_item",
    "read_type",
    "read_typed",
    "split_datagram",
    "type_bytes",
    "write_bitset",
    "write_item",
    "write_size",
    "write_status",
    "write_string",
    "write_type",
    "write_typed",
]

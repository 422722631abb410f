"""How bytes travel: sockets, tasks, and the seam that a network in memory can replace.

transport       one connection's bytes, in and out
network         where transports and datagram sockets come from
udp, search_sockets, interfaces     datagrams, and which sockets hear every search
sender          what was written goes to a transport, and waits only while that is full
flusher         sends, once per turn of the loop, what others wrote
first_step      a coroutine, run up to where it first waits
inlet           the one door for other threads
nursery         the nursery that a service opens round its caller's body
"""

from p4p_trio.net.first_step import WAITS, begin, go_on
from p4p_trio.net.flusher import Flusher
from p4p_trio.net.inlet import Inlet
from p4p_trio.net.interfaces import (
    Interface,
    beacon_destinations,
    broadcast_addresses,
    expand_interfaces,
    local_addresses,
    served_addresses,
    stream_addresses,
)
from p4p_trio.net.network import Listener, Network, SystemNetwork, resolve_endpoints
from p4p_trio.net.nursery import service_nursery
from p4p_trio.net.search_sockets import SearchSockets, open_search_sockets
from p4p_trio.net.sender import Sender
from p4p_trio.net.transport import SocketTransport, StreamTransport, Transport
from p4p_trio.net.udp import UDPSocket

__all__ = [
    "WAITS",
    "Flusher",
    "Inlet",
    "Interface",
    "Listener",
    "Network",
    "SearchSockets",
    "Sender",
    "SocketTransport",
    "StreamTransport",
    "SystemNetwork",
    "Transport",
    "UDPSocket",
    "beacon_destinations",
    "begin",
    "broadcast_addresses",
    "expand_interfaces",
    "go_on",
    "local_addresses",
    "open_search_sockets",
    "resolve_endpoints",
    "served_addresses",
    "service_nursery",
    "stream_addresses",
]

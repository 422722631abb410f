"""The client: reading, writing, calling and subscribing to PVs.

context         Context, which users call
operation       requests with one answer, and the call that waits for them
subscription    monitors
discovery       which servers there are
slow            time-outs that explain
channel         one PV as this client sees it
session         one TCP server
searching       UDP, name servers and beacons
runtime         what lives while a context is open
unwrapping      from structures to Python objects
request         pvRequests
"""

from p4p_trio.client.context import Context
from p4p_trio.client.discovery import Discovery
from p4p_trio.client.slow import TooSlowError
from p4p_trio.client.subscription import Subscription
from p4p_trio.errors import Disconnected
from p4p_trio.protocol.client_servers import ServerEvent

__all__ = ["Context", "Disconnected", "Discovery", "ServerEvent", "Subscription", "TooSlowError"]

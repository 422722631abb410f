"""SharedPV: one value, shared by all clients that look at it. A thin door on the PV core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from p4p_trio.data import Type, Value, bits
from p4p_trio.errors import ConfigError
from p4p_trio.net import Inlet
from p4p_trio.nt.common import annotate
from p4p_trio.protocol.pv import PV
from p4p_trio.protocol.tables import CancelReason
from p4p_trio.server.hooks import NO_HOOKS, Hook, Hooks, While, checked_while
from p4p_trio.server.operation import current_operation
from p4p_trio.server.presence import Presence
from p4p_trio.server.puts import POLICIES
from p4p_trio.server.stamp import NOW, stamp_now, stamp_places
from p4p_trio.wire import Command

if TYPE_CHECKING:
    from p4p_trio.protocol.channel import Channel
    from p4p_trio.protocol.monitor import Monitor

__all__ = ["SharedPV"]

_RPC = Command.RPC
_PROCESS = Command.PROCESS

Function = TypeVar("Function", bound=Callable[..., Any])


class SharedPV:
    """A PV: give it a value, post new ones, and answer what clients want of it.

        setpoint = SharedPV(nt=NTScalar("d"), initial=0.0)

        @setpoint.put
        async def accept(pv: SharedPV, op: ServerOperation) -> None:
            pv.post(op.value())

    A PV without a value is closed: it claims its name, clients wait for `open`. A PV has no name of its own
    (a provider gives it one, or several), and may be served by several servers of one trio run.

    Args:
        handler: an object with some of the methods of `Handler`, or a list of such objects that work as one.
        initial: the first value; without it the PV stays closed until `open`.
        nt: wraps what is posted and unwraps what clients put, such as `NTScalar("d")`.
        puts: when the async handler of the next put may start. "concurrent": at once, also beside others;
            "serial": one at a time, in arrival order; "latest": a newer put cancels the running one.
        writable: names of the fields that clients may change, such as `("value",)`; None: all.

    Raises:
        ConfigError: for an unknown `puts`, or a field in `writable` that the type does not have.
    """

    __slots__ = ("__weakref__", "_connected", "_core", "_home", "_hooks", "_monitored", "_policy", "_writable", "nt")

    def __init__(
        self,
        handler: Any = None,
        *,
        initial: Any = None,
        nt: Any = None,
        puts: str = "concurrent",
        writable: Sequence[str] | None = None,
    ) -> None:
        if puts not in POLICIES:
            raise ConfigError(f"puts must be one of {', '.join(POLICIES)}, not {puts!r}")
        if isinstance(writable, str):
            raise ConfigError(f"writable must be a list of field names; write ({writable!r},)")
        policy = POLICIES[puts]
        self.nt = nt
        self._core = PV(self)
        self._hooks = NO_HOOKS if handler is None else Hooks.of(handler)
        self._policy = policy() if policy is not None else None
        self._writable = None if writable is None else tuple(writable)
        self._home: tuple[int, Inlet] | None = None
        self._connected: Presence | None = None
        self._monitored: Presence | None = None
        if initial is not None:
            self.open(initial)

    # ---- the value

    def open(
        self, value: Any, *, timestamp: Any = NOW, severity: int | None = None, message: str | None = None
    ) -> None:
        """Give the first value; clients that have been waiting get it now.

        Args: as for `post`.

        Raises:
            RuntimeError: the PV is open already, or this is not the thread that serves it.
            ValueError, TypeError, KeyError: the value does not fit; the PV stays closed.
        """
        self._check_thread("open")
        if self._core.is_open:
            raise RuntimeError("the PV is open already; use post() to change its value")
        whole = self._wrapped(value, None, timestamp, severity, message)
        self._core.open(whole, self._writable_mask(whole._type))

    def post(
        self, value: Any, *, timestamp: Any = NOW, severity: int | None = None, message: str | None = None
    ) -> None:
        """Change the value and tell every subscriber. Never waits.

        Arrays are copied, unless they are read-only and own their memory.

        Args:
            value: what `nt` wraps, or a Value, of which only the fields marked as changed are taken.
            timestamp: seconds since 1970, a datetime or (seconds, nanoseconds). By default the present time, but a
                Value made here whose stamp is marked keeps it (one from a client's put does not). None: leave it.
            severity: 0 none, 1 minor, 2 major, 3 invalid.
            message: alarm message.

        Raises:
            RuntimeError: the PV is closed, or this is not the thread that serves it.
            ValueError, TypeError, KeyError: the value does not fit; the text names the field, nothing changes.
        """
        self._check_thread("post")
        core = self._core
        if not core.is_open:
            raise RuntimeError("the PV is closed; use open() to give it a first value")
        update = self._wrapped(value, core.type, timestamp, severity, message)
        core.post(update, core.type._field.layout.expand(update._slots[0]))

    def post_threadsafe(self, value: Any, **kwargs: Any) -> None:
        """Post from another thread: queued, and done by the thread that serves the PV, in order.

        What is wrong with the value is logged there. Before the PV is served it is the same as `post`.

        Raises:
            trio.RunFinishedError: the trio run that served it is over.
        """
        if self._home is None:
            self.post(value, **kwargs)
        else:
            self._home[1].put(lambda: self.post(value, **kwargs))

    def close(self) -> None:
        """Forget the value and close every client's channel. The name stays claimed, until the next `open`.

        Running handlers are cancelled (PV_CLOSED); from inside one of them, its own operation is answered first.

        Raises:
            RuntimeError: this is not the thread that serves the PV.
        """
        self._check_thread("close")
        own = current_operation.get()
        if own is not None and own._pv is self and own._operation.alive:
            own.cancelled_because = CancelReason.PV_CLOSED
            if own._operation.command is Command.RPC:
                own._operation.answer(None)
            else:
                own._operation.acknowledge()
        self._core.close()

    def current(self) -> Any:
        """The value now, unwrapped by `nt` if there is one; a private copy.

        Raises:
            RuntimeError: the PV is closed.
        """
        if not self._core.is_open:
            raise RuntimeError("the PV is closed and has no value")
        value = self._core.current()
        return value if self.nt is None else self.nt.unwrap(value)

    def is_open(self) -> bool:
        """Whether it has a value."""
        return self._core.is_open

    # ---- handlers

    def put(self, function: Function) -> Function:
        """Decorator: *function(pv, op)* answers puts."""
        self._own_hooks().put = Hook.of(function)
        return function

    def rpc(self, function: Function) -> Function:
        """Decorator: *function(pv, op)* answers calls with what it returns."""
        self._own_hooks().rpc = Hook.of(function)
        return function

    def process(self, function: Function) -> Function:
        """Decorator: *function(pv, op)* answers process requests."""
        self._own_hooks().process = Hook.of(function)
        return function

    def while_connected(self, function: While) -> While:
        """Decorator: async *function(pv)* runs while at least one client has the channel."""
        self._own_hooks().while_connected = checked_while("while_connected", function)
        return function

    def while_monitored(self, function: While) -> While:
        """Decorator: async *function(pv)* runs while at least one client has a started subscription."""
        self._own_hooks().while_monitored = checked_while("while_monitored", function)
        return function

    def _own_hooks(self) -> Hooks:
        if self._hooks is NO_HOOKS:
            self._hooks = Hooks()
        return self._hooks

    def _hook(self, command: Command) -> Hook | None:
        if command is _RPC:
            return self._hooks.rpc
        return self._hooks.process if command is _PROCESS else self._hooks.put

    # ---- inside

    def _wrapped(
        self, value: Any, type: Type | None, timestamp: Any, severity: int | None, message: str | None
    ) -> Value:
        """*value* as a Value of *type* of its own, stamped."""
        raw = getattr(value, "raw", value)
        made_here = True
        if isinstance(raw, Value):
            made_here = not raw._type.from_client
            wanted = type or (raw._type if made_here else raw._type._twin(from_client=False))
            # What is compound in it still belongs to the caller; the core takes copies of that.
            update = Value._make(wanted, raw._shallow()) if wanted == raw._type else Value(wanted, raw)
        elif self.nt is not None:
            update = self.nt.wrap(value)
        elif type is not None:
            update = Value(type, value if isinstance(value, dict) else {"value": value})
        else:
            raise TypeError(f"a PV without nt= opens with a Value, not {value.__class__.__name__}")
        slots = update._slots
        seconds, nanoseconds, mask = stamp_places(update._type._field)
        if mask:
            if not made_here and slots[0] & mask:
                slots[0] &= ~mask
                if type is None:  # open() takes the whole, whatever is marked
                    for n in bits(mask):
                        slots[n] = update._type._layout.defaults[n]
            if timestamp is NOW and not slots[0] & mask:
                stamp_now(slots, seconds, nanoseconds)
        given = None if timestamp is NOW else timestamp
        if given is not None or severity is not None or message is not None:
            annotate(update, given, severity, message)
        return update

    def _writable_mask(self, type: Type) -> int | None:
        if self._writable is None:
            return None
        layout = type._field.layout
        mask = 0
        for name in self._writable:
            position = layout.position.get(name)
            if not position:
                raise ConfigError(f"writable names {name!r}, which is no field of this PV")
            mask |= layout.subtree[position]
        return mask

    def _check_thread(self, what: str) -> None:
        home = self._home
        if home is not None and home[0] != threading.get_ident():
            try:
                home[1].put(_nothing)
            except trio.RunFinishedError:
                self._home = None  # the run that served it is over: it is anybody's again
                return
            raise RuntimeError(
                f"{what}() of a served PV must be called in the thread that serves it; from another thread use "
                f"trio.from_thread.run_sync(pv.{what}, ...) or pv.post_threadsafe(value)"
            )

    # ---- Owner: what the core asks

    def handles(self, command: Command) -> bool:
        return self._hook(command) is not None

    def channel_added(self, channel: Channel) -> None:
        if self._hooks.while_connected is not None:
            if self._connected is None:
                self._connected = Presence(self, self._hooks.while_connected)
            self._connected.enter(channel, channel.source)

    def channel_removed(self, channel: Channel) -> None:
        if self._connected is not None:
            self._connected.leave(channel)

    def monitor_started(self, monitor: Monitor) -> None:
        if self._hooks.while_monitored is not None:
            if self._monitored is None:
                self._monitored = Presence(self, self._hooks.while_monitored)
            self._monitored.enter(monitor, monitor.channel.source)

    def monitor_stopped(self, monitor: Monitor) -> None:
        if self._monitored is not None:
            self._monitored.leave(monitor)


def _nothing() -> None:
    """Asks an inlet whether its run is still there."""

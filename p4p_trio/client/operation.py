"""Requests with one answer: GET, PUT, RPC and the question for a type. And the call that waits for them.

An operation has no task. It is moved on by what the server says, in the reader's task; the caller's task sleeps
until all of its operations are done, one has failed, or one needs the caller: what a user wrote (the function
that builds a put's value) runs in the user's own task and nowhere else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from p4p_trio.client.channel import Channel
from p4p_trio.client.slow import explain
from p4p_trio.data import Value
from p4p_trio.errors import Disconnected, RemoteError
from p4p_trio.protocol.client_request import ClientRequest
from p4p_trio.protocol.serving import refuse_nested_put
from p4p_trio.protocol.tables import ClientRequestState
from p4p_trio.wire import Command, Status

if TYPE_CHECKING:
    from p4p_trio.client.runtime import Runtime

__all__ = ["Call", "Get", "Info", "Operation", "PVRequest", "Put", "Rpc"]

_EXECUTING: Final = ClientRequestState.EXECUTING
_CREATING: Final = ClientRequestState.CREATING


class PVRequest:
    """A pvRequest and a key that is equal for equal ones.

    Attributes:
        value: None asks for everything.
    """

    __slots__ = ("key", "value")

    def __init__(self, value: Value | None, key: Any) -> None:
        self.value = value
        self.key = key


class Call:
    """What one call of a `Context` waits for. It is run by one task, once."""

    __slots__ = ("_attention", "_failure", "_runtime", "_task", "_unfinished")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._unfinished: dict[Operation, None] = {}
        self._attention: deque[Put] = deque()
        self._failure: Exception | None = None
        self._task: trio.lowlevel.Task | None = None  # the caller's, while it sleeps

    async def run(self, operations: Sequence[Operation]) -> None:
        """Do them all, concurrently. The first failure is raised, and the rest is given up.

        Cancellation: what is unfinished is given up, and the servers are told.
        """
        runtime = self._runtime
        runtime.calls += 1
        try:
            runtime.hold()
            for operation in operations:
                self._unfinished[operation] = None
                operation.channel.join(operation)
            if not operations:
                await trio.lowlevel.checkpoint()
            while self._unfinished and self._failure is None:
                if self._attention:
                    self._attention.popleft().attend()
                else:
                    runtime.send()
                    await self._sleep()
                    runtime.hold()
        except trio.Cancelled:
            explain(self._phases())
            raise
        finally:
            if self._unfinished:
                runtime.hold()
                now = trio.current_time()
                for operation in self._unfinished:
                    operation.abandon()
                    operation.channel.leave(operation, now)
                self._unfinished.clear()
            runtime.send()
            runtime.calls -= 1
        if self._failure is not None:
            raise self._failure

    def done(self, operation: Operation, now: float) -> None:
        """*operation* has its result."""
        if operation in self._unfinished:
            del self._unfinished[operation]
            operation.channel.leave(operation, now)
            if not self._unfinished:
                self._wake()

    def failed(self, operation: Operation, error: Exception) -> None:
        """*operation* has ended without a result."""
        if operation in self._unfinished:
            self._failure = self._failure or error
            self._wake()

    def attend(self, operation: Put) -> None:
        """*operation* has something to do in the caller's task."""
        self._attention.append(operation)
        self._wake()

    async def _sleep(self) -> None:
        """Until `_wake`. What an Event does, for half of its price: every get pays it."""

        def wake_for_cancel(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(wake_for_cancel)

    def _wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _phases(self) -> Iterator[Callable[[], str]]:
        for operation in self._unfinished:
            yield operation.phase


class Operation:
    """One request with one answer, from the search for its PV to its end.

    Attributes:
        result: what the server answered.
    """

    __slots__ = ("_call", "_request", "channel", "pv_request", "result")

    command: Command
    verb = ""
    once = False
    """Whether the answer to an EXEC must not be asked for twice, since it does something."""

    def __init__(self, call: Call, channel: Channel, pv_request: PVRequest) -> None:
        self._call = call
        self.channel = channel
        self.pv_request = pv_request
        self.result: Any = None
        self._request: ClientRequest | None = None

    @property
    def what(self) -> str:
        """It, for texts: "get of 'demo:pv'"."""
        return f"{self.verb} {self.channel.name!r}"

    # ---- what the channel tells

    def begin(self) -> None:
        channel = self.channel
        request = self._request = channel.take((self.command, self.pv_request.key))
        if request is not None:
            request.context = self
            self.inited()
        else:
            request = self._request = self._ask()
            request.context = self

    def unavailable(self, text: str, *, answered: bool) -> None:
        # Whoever refuses has answered: waiting for somebody else to say yes could take for ever.
        error = RemoteError(text, operation=self.what) if answered else Disconnected(f"{self.what}: {text}")
        self._call.failed(self, error)

    # ---- what the session tells

    def inited(self) -> None:
        """The request can be executed."""
        assert self._request is not None
        self._request.execute()

    def refused(self, text: str) -> None:
        """The server does not take the request."""
        self._request = None
        self._call.failed(self, RemoteError(text, operation=self.what))

    def replied(self, status: Status, value: Any) -> None:
        """The server answers."""
        request = self._request
        assert request is not None
        if not status.success:
            request.destroy()
            self._request = None
            self._call.failed(self, RemoteError(status.message, operation=self.what))
            return
        self._answered(request, value)

    def lost(self, why: str) -> None:
        """The request ended without an answer."""
        request, self._request = self._request, None
        if self.once and self._executed(request):
            text = f"{self.what}: {why} before it answered; whether it was done is not known"
            self._call.failed(self, Disconnected(text))
        else:
            self.channel.waiting[self] = None

    # ---- what the call tells

    def abandon(self) -> None:
        """Nobody waits for the answer any more: tell the server."""
        request, self._request = self._request, None
        if request is not None:
            request.context = _nobody
            request.destroy()

    def phase(self) -> str:
        """What it waits for."""
        request = self._request
        if request is None:
            return self.channel.phase()
        session = self.channel.session
        if request.state is _CREATING:
            return f"waiting for {session} to begin the {self.what}"
        return f"waiting for {session} to answer the {self.what}"

    # ---- what the kinds do differently

    def _ask(self) -> ClientRequest:
        raise NotImplementedError

    def _answered(self, request: ClientRequest, value: Any) -> None:
        self._finish(request, value)

    def _executed(self, request: ClientRequest | None) -> bool:
        return False

    def _finish(self, request: ClientRequest, result: Any) -> None:
        self._request = None
        self.result = result
        now = trio.current_time()
        self.channel.keep((self.command, self.pv_request.key), request, now)
        self._call.done(self, now)


class Get(Operation):
    """Reads."""

    __slots__ = ()
    command = Command.GET
    verb = "get of"

    def _ask(self) -> ClientRequest:
        assert self.channel.wire is not None
        return self.channel.wire.get(self.pv_request.value)

    def _answered(self, request: ClientRequest, value: Any) -> None:
        covered: int = value._slots[0]
        if request.covered & ~covered:
            # pvDatabase servers (pvapy's) send only what has changed since this request's last reply, and that
            # was somebody else's. A new request brings all.
            if self.channel.session is not None:
                self.channel.session.repeats = False
            request.destroy()
            self.begin()
            return
        request.covered = covered
        self._finish(request, value)


class Info(Operation):
    """Asks for the type."""

    __slots__ = ()
    command = Command.GET_FIELD
    verb = "info of"

    def _ask(self) -> ClientRequest:
        assert self.channel.wire is not None
        return self.channel.wire.get_field()


class Rpc(Operation):
    """Calls."""

    __slots__ = ("_argument", "_sent")
    command = Command.RPC
    verb = "rpc to"
    once = True

    def __init__(self, call: Call, channel: Channel, pv_request: PVRequest, argument: Value) -> None:
        super().__init__(call, channel, pv_request)
        self._argument = argument
        self._sent = False

    def _ask(self) -> ClientRequest:
        assert self.channel.wire is not None
        return self.channel.wire.rpc(self.pv_request.value)

    def inited(self) -> None:
        assert self._request is not None
        self._sent = True
        self._request.execute(self._argument)

    def _executed(self, request: ClientRequest | None) -> bool:
        return self._sent


class Put(Operation):
    """Writes; reads first what it is about to change, if asked to."""

    __slots__ = ("_build", "_current", "_read_first", "_sent")
    command = Command.PUT
    verb = "put to"
    once = True

    def __init__(
        self, call: Call, channel: Channel, pv_request: PVRequest, build: Callable[[Value], None], read_first: bool
    ) -> None:
        super().__init__(call, channel, pv_request)
        self._build = build
        self._read_first = read_first
        self._current: Value | None = None
        self._sent = False

    def _ask(self) -> ClientRequest:
        assert self.channel.wire is not None
        return self.channel.wire.put(self.pv_request.value)

    def inited(self) -> None:
        assert self._request is not None
        self._current = None
        if self._read_first:
            self._request.read()
        else:
            self._call.attend(self)

    def _answered(self, request: ClientRequest, value: Any) -> None:
        if self._sent:
            self._finish(request, None)
        else:
            self._current = value
            self._call.attend(self)

    def attend(self) -> None:
        """In the caller's task: build the value, and send it."""
        request = self._request
        if request is None or request.state is not ClientRequestState.IDLE or self._sent:
            return  # the connection was lost meanwhile, and it has begun again
        refuse_nested_put(self.channel.guid, self.channel.name)
        if self._read_first and self._current is None:
            return
        assert request.type is not None
        value = self._current if self._current is not None else request.type()
        value.unmark()
        self._build(value)
        self._sent = True
        request.execute(value)

    def _executed(self, request: ClientRequest | None) -> bool:
        return self._sent

    def phase(self) -> str:
        request = self._request
        if request is not None and request.state is _EXECUTING and not self._sent:
            return f"waiting for {self.channel.session} to read {self.channel.name!r} before the {self.what}"
        return super().phase()


class _Nobody(Operation):
    """The context of a request that was given up, for what its end still tells."""

    __slots__ = ()

    def __init__(self) -> None:
        pass

    def lost(self, why: str) -> None:
        pass


_nobody: Final = _Nobody()

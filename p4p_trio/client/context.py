"""The client: what users call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final

import trio

from p4p_trio.client.channel import Channel
from p4p_trio.client.discovery import Discovery
from p4p_trio.client.operation import Call, Get, Info, Operation, Put, PVRequest, Rpc
from p4p_trio.client.request import Request, pv_request, with_options
from p4p_trio.client.runtime import Runtime
from p4p_trio.client.slow import fail_after
from p4p_trio.client.subscription import Subscription
from p4p_trio.client.unwrapping import helpers
from p4p_trio.config import ClientConfig, Endpoint, Limits
from p4p_trio.data import Type, Value, Variant, scalar
from p4p_trio.data.convert import expose
from p4p_trio.errors import RemoteError
from p4p_trio.net import Network, SystemNetwork, service_nursery
from p4p_trio.protocol.client_servers import ServerEvent

__all__ = ["Context"]

GIB: Final = 1024 * 1024 * 1024
_LONGEST_NAME: Final = 500
_NOTHING: Final = Type([])
_CHANNELS: Final = Type([("op", "s")])
_ANY: Final = scalar("v")

Names = str | Sequence[str]


class Context:
    """Everything that a client does, and the connections that it needs for it.

        async with Context() as context:
            value = await context.get("demo:pv")
            await context.put("demo:pv", value + 1)
            async with context.monitor("demo:pv") as updates:
                async for value in updates:
                    ...

    Connections are shared, and are made and ended as they are needed. A PV that is not found is searched for until the
    caller gives up; a server that is lost is searched for again. There are no timeout parameters: use
    `with trio.fail_after(5)`, or `with context.fail_after(5)` for an error that says what was waited for.

    Args:
        conf: settings, with EPICS_PVA_* names; they win over the environment. A running server's `conf()` will do.
        useenv: whether `os.environ` counts.
        nt: how structures become Python objects. None: those of normative types as `p4p_trio.nt` has them. False:
            not at all, everything is a `Value`. A dict of type id and class adds to the former.
        limits: what servers may cost; by default messages up to 1 GiB, and what `Limits` says.
        network: where to look for servers; by default the system's. `p4p_trio.testing` has one that lives in memory.

    Raises:
        ConfigError: a setting cannot be used. What only the network can tell is raised on entry.
    """

    def __init__(
        self,
        *,
        conf: Mapping[str, str] | None = None,
        useenv: bool = True,
        nt: Mapping[str, Callable[[], Any]] | bool | None = None,
        limits: Limits | None = None,
        network: Network | None = None,
    ) -> None:
        base = ClientConfig.from_env(os.environ) if useenv else ClientConfig()
        self._config = ClientConfig.from_dict(conf or {}, base)
        self._limits = Limits(max_message=GIB) if limits is None else limits
        self._nt = helpers(nt)
        self._network = network
        self._open: Runtime | None = None
        self._context: AbstractAsyncContextManager[Context] | None = None

    async def __aenter__(self) -> Context:
        """Open sockets for the search.

        Raises:
            ConfigError: a host name in the settings is unknown.
        """
        if self._context is not None:
            raise RuntimeError("a Context can be entered once; make another one")
        self._context = self._run()
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Close all connections. What other tasks still wait for fails with `Disconnected`."""
        assert self._context is not None
        return await self._context.__aexit__(kind, exc, trace)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[Context]:
        network = self._network if self._network is not None else SystemNetwork()
        async with service_nursery() as nursery:
            runtime = Runtime(nursery, network, self._config, self._limits, self._nt)
            try:
                await runtime.open()
                self._open = runtime
                yield self
            finally:
                runtime.close()

    @property
    def _runtime(self) -> Runtime:
        if self._open is None:
            raise RuntimeError("the context is not open: use it inside of 'async with Context() as context'")
        if self._open.closed:
            raise RuntimeError("the context was closed")
        return self._open

    def conf(self) -> dict[str, str]:
        """The settings in effect, by their EPICS names."""
        return self._config.as_dict()

    def fail_after(self, seconds: float) -> AbstractContextManager[trio.CancelScope]:
        """As `trio.fail_after`, for requests: the error names the PV, and what was waited for, and from whom.

        It may be round several requests, also in child tasks; it names the first few that were not done.

        Raises:
            TooSlowError: the time is up; also a `trio.TooSlowError`.
        """
        return fail_after(seconds)

    # ---- requests with one answer

    async def get(self, name: Names, request: Request | Sequence[Request] = None) -> Any:
        """Read one PV or several.

        Args:
            name: a name, or a list of them, which are read concurrently.
            request: a pvRequest, as text or Value: which fields to read, and options; one for all, or a list.

        Returns:
            The value, or the list of values in the order of the names. Fields that were not sent are unmarked.

        Cancellation: what is unfinished is given up, and the servers are told.

        Raises:
            RemoteError: the server refused; the first refusal of several.
        """
        return await self._call(name, request, (), Get)

    async def put(
        self,
        name: Names,
        value: Any,
        *,
        get: bool = True,
        wait: bool | None = None,
        process: bool | str | None = None,
        request: Request | Sequence[Request] = None,
    ) -> None:
        """Write one PV or several.

        Args:
            name: a name, or a list of them, which are written concurrently.
            value: for each name one of these: a function that is called with a `Value` of the PV's type and changes
                it; a `Value`, of which the marked fields are written; a dict by field; or what the normative type
                has as its value. Only what is assigned is sent.
            get: read the PV first, so that a function sees what it changes.
            wait: whether record servers (IOCs) answer only when all processing is over.
            process: whether records process: True, False or "passive".
            request: a pvRequest; one for all, or a list.

        Cancellation: the server is told to give up, too; whether it had done it already is not known.

        Raises:
            RemoteError: the server refused.
            Disconnected: the connection was lost before the answer; whether it was done is not known.
            RuntimeError: it is inside of the PV's own put handler, for which it would wait for ever.
            KeyError, TypeError, ValueError: the value does not fit into the PV's type; the text names the field.
        """
        options: dict[str, Any] = {}
        if wait is not None or process is not None:
            options = {"block": bool(wait), "process": "passive" if process is None else process}
        values = (value,) if isinstance(name, str) else value
        await self._call(name, request, values, partial(_put, read_first=get), options)

    async def rpc(self, name: Names, value: Any = None, request: Request | Sequence[Request] = None) -> Any:
        """Call one PV or several.

        Args:
            name: a name, or a list of them, which are called concurrently.
            value: the argument, a `Value`, usually an NTURI; None: an empty structure. For a list of names a list.
            request: a pvRequest; one for all, or a list.

        Returns:
            What was answered, unwrapped; None for nothing.

        Cancellation: the server is told to give up, too.

        Raises:
            RemoteError: the server refused.
            Disconnected: the connection was lost before the answer; whether it was done is not known.
        """
        values = (value,) if isinstance(name, str) else value
        return await self._call(name, request, values, _rpc)

    async def info(self, name: Names) -> Any:
        """The `Type` of one PV, or those of several.

        Raises:
            RemoteError: the server refused.
        """
        return await self._call(name, None, (), Info)

    async def list(self, server: str | tuple[str, int] | ServerEvent) -> list[str]:
        """The names of all PVs of one server that can be listed.

        Args:
            server: "host" or "host:port", (host, port), or what `discover` told.

        Raises:
            Disconnected: it cannot be reached.
            RemoteError: it does not tell.
        """
        runtime = self._runtime
        channel = runtime.channel("server", await self._address(server))
        call = Call(runtime)
        question = Rpc(call, channel, pv_request(None), Value(_CHANNELS, {"op": "channels"}))
        await call.run([question])
        answer = question.result.get("value") if isinstance(question.result, Value) else None
        if not isinstance(answer, list):
            raise RemoteError("the answer is no list of names", operation=f"list of {server}")
        return answer

    # ---- streams

    def monitor(
        self, name: str, request: Request = None, *, queue_size: int | None = None, notify_disconnect: bool = False
    ) -> Subscription:
        """Subscribe to one PV: `async with context.monitor(name) as updates: async for value in updates: ...`.

        Args:
            name: the PV's name.
            request: a pvRequest. With `record[pipeline=true]` the server sends only what there is room for here.
            queue_size: updates that wait to be taken, here and at the server; the option queueSize, by default 4.
            notify_disconnect: whether the loss of the server is told, by a `Disconnected` in the place of a value.
        """
        asked = pv_request(with_options(request, {"queueSize": queue_size}))
        return Subscription(self._runtime, _checked(name), asked, notify_disconnect=notify_disconnect)

    def discover(self) -> Discovery:
        """Which servers are there, and which come and go: `async with context.discover() as events: ...`."""
        return Discovery(self._runtime)

    # ---- hints

    def hurry_up(self) -> None:
        """Search now for all that is missing, e.g. when the user has just switched something on."""
        self._runtime.searching.hurry_up()

    def where(self, name: str) -> tuple[str, int] | None:
        """The address of the server that has a PV, while there is a connection to it."""
        channel = self._runtime.channels.get((name, None))
        return None if channel is None or channel.session is None else channel.session.address

    def disconnect(self, name: str | None = None) -> None:
        """Forget the channel of this name, or all, unless somebody uses it."""
        self._runtime.forget_unused(name)

    # ---- inside

    async def _call(
        self,
        name: Names,
        request: Request | Sequence[Request],
        values: Any,
        make: Callable[..., Operation],
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Make an operation for each name, wait for all, and unwrap what they found."""
        runtime = self._runtime
        names = [name] if isinstance(name, str) else _list_of(name, "names")
        requests = _requests(request, len(names), options or {})
        arguments = [()] * len(names) if isinstance(values, tuple) and not values else _each(values, len(names))
        call = Call(runtime)
        operations = []
        for each, asked, argument in zip(names, requests, arguments, strict=True):
            channel = runtime.channel(_checked(each))
            operations.append(make(call, channel, asked, *argument))
        await call.run(operations)
        results = [_plain(operation.channel, operation.result) for operation in operations]
        return results[0] if isinstance(name, str) else results

    async def _address(self, server: str | tuple[str, int] | ServerEvent) -> tuple[str, int]:
        runtime = self._runtime
        if isinstance(server, ServerEvent):
            await trio.lowlevel.checkpoint()
            return server.address
        if isinstance(server, str):
            endpoint = Endpoint.parse(server)
            host, port = endpoint.address(self._config.server_port)
        else:
            host, port = server
        return (await runtime.network.resolve(host))[0], port


def _put(call: Call, channel: Channel, asked: PVRequest, value: Any, read_first: bool) -> Put:
    build = value if callable(value) else lambda target: channel.unwrapper.assign(target, value)
    return Put(call, channel, asked, build, read_first)


def _rpc(call: Call, channel: Channel, asked: PVRequest, value: Any) -> Rpc:
    if value is None:
        value = Value(_NOTHING)
    elif not isinstance(value, Value):
        raise TypeError(f"the argument of an rpc is a Value or None, not {type(value).__name__}")
    return Rpc(call, channel, asked, value)


def _plain(channel: Channel, result: Any) -> Any:
    if isinstance(result, Variant):
        return expose(_ANY, result, _NOTHING, None)
    return channel.unwrapper.unwrap(result)


def _requests(request: Any, count: int, options: Mapping[str, Any]) -> list[PVRequest]:
    if request is None or isinstance(request, str) or not isinstance(request, Sequence):
        return [pv_request(with_options(request, options))] * count
    requests = _list_of(request, "requests")
    if len(requests) != count:
        raise ValueError(f"{count} names and {len(requests)} requests")
    return [pv_request(with_options(each, options)) for each in requests]


def _each(values: Any, count: int) -> list[tuple[Any]]:
    if values is None:
        return [(None,)] * count
    values = _list_of(values, "values")
    if len(values) != count:
        raise ValueError(f"{count} names and {len(values)} values")
    return [(value,) for value in values]


def _list_of(given: Any, what: str) -> list[Any]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence):
        raise TypeError(f"{what} must be a list, not {type(given).__name__}")
    return [*given]


def _checked(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a PV name must be str, not {type(name).__name__}")
    if not name:
        raise ValueError("a PV name must not be empty")
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"a PV name must not have more than {_LONGEST_NAME} bytes: {name[:40]!r}...")
    return name

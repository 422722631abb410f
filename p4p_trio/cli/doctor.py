"""`p4p-trio doctor`: walk the way to a PV, say which step fails, and what to try.

configuration → search → TCP connect → validation → channel creation
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable

import attrs
import trio

from p4p_trio.cli.asking import spelled
from p4p_trio.cli.link import Address, Link, reason
from p4p_trio.cli.options import Options
from p4p_trio.cli.output import Output
from p4p_trio.cli.spelling import escaped, joined
from p4p_trio.cli.steps import Found, Route, look_up, search
from p4p_trio.config import ClientConfig
from p4p_trio.errors import ConfigError, PVAError, RemoteError
from p4p_trio.net import Network, SystemNetwork

__all__ = ["run"]


async def run(options: Options, out: Output) -> None:
    """Examine one PV after the other."""
    network: Network = options.network if options.network is not None else SystemNetwork()
    for name in dict.fromkeys(options.words):
        await _Examination(out, network, name, options.timeout).run()


@attrs.define
class _Examination:
    """The way to one PV."""

    out: Output
    network: Network
    name: str
    patience: float

    async def run(self) -> None:
        if not self.out.json:
            self.out.lines([escaped(self.name)])
        configured = await self._configuration()
        if configured is None:
            return
        found = await self._search(*configured)
        if found is None:
            return
        good = [await self._server(address) for address in found.holders]
        if len(found.holders) > 1:
            where = joined(map(spelled, found.holders))
            hint = f"{self.name} is served {len(good)} times, by {where}, and clients take whoever answers first: stop "
            self._tell("search", False, "more than one server has it", [f"{hint}all but one, or rename it"])
        elif all(good):
            self._tell("result", True, "nothing is wrong on this way")

    def _tell(self, step: str, good: bool, text: str, hints: Iterable[str] = ()) -> None:
        hints = list(hints)
        if not good:
            self.out.failed = True
        if self.out.json:
            self.out.record(name=self.name, step=step, ok=good, text=text, hints=hints or None)
        else:
            lines = [f"    {step:<17} {'ok' if good else 'FAILED':<7} {escaped(text)}"]
            self.out.lines(lines + [f"    {'':<17} try     {escaped(hint)}" for hint in hints])

    # ---- the steps

    async def _configuration(self) -> tuple[ClientConfig, Route] | None:
        step = "configuration"
        try:
            config = ClientConfig.from_env(os.environ)
            with trio.fail_after(self.patience):
                route = await look_up(self.network, config)
        except ConfigError as exc:
            self._tell(step, False, str(exc), ["correct that variable"])
            return None
        except trio.TooSlowError:
            hint = "write numeric addresses, or repair this host's name look-up (DNS)"
            self._tell(step, False, f"no answer to the look-up of host names within {self.patience:g} s", [hint])
            return None
        where = self._where(config, route)
        if not where:
            hints = ["set EPICS_PVA_ADDR_LIST to the server's address, or EPICS_PVA_NAME_SERVERS"]
            if not config.auto_addresses:
                hints.append("or EPICS_PVA_AUTO_ADDR_LIST=YES, to search by broadcast")
            self._tell(step, False, "there is nowhere to search", hints)
            return None
        from_env = [name for name in config.as_dict() if name in os.environ]
        told = f"; set are {', '.join(from_env)}" if from_env else "; no EPICS_PVA variable is set"
        self._tell(step, True, f"searches go to {', '.join(where)}{told}")
        return config, route

    def _where(self, config: ClientConfig, route: Route) -> list[str]:
        udp = [f"UDP {spelled(target.address(config.broadcast_port))}" for target in route.targets]
        return udp + [f"TCP {spelled(address)}" for address in route.name_servers]

    async def _search(self, config: ClientConfig, route: Route) -> Found | None:
        found = await search(self.network, config, route, self.name, self.patience)
        if found.seconds is not None:
            where = joined(map(spelled, found.holders))
            self._tell("search", True, f"{where} has it, and said so after {found.seconds * 1000:.0f} ms")
            return found
        text = f"no answer to {found.requests} requests within {self.patience:g} s"
        troubles = [f"{target}: {why}" for target, why in found.troubles.items()]
        self._tell("search", False, "; ".join([text, *troubles]), _search_hints(self.name, config, route, found))
        return None

    async def _server(self, address: Address) -> bool:
        """TCP connect, validation and channel creation with one server."""
        link = Link(address)
        where = spelled(address)

        async def login() -> None:
            status = await link.login()
            if not status.success:
                raise RemoteError(f"refused: {status.message}")

        try:
            return (
                await self._step(
                    "TCP connect",
                    lambda: link.connect(self.network),
                    lambda: f"connected to {where}",
                    [
                        f"is TCP port {address[1]} of {address[0]} open in the firewalls, also to this host?",
                        "a server behind NAT, in a container or a virtual machine may answer searches with an address "
                        "that only its own side can reach: put one that you can reach into EPICS_PVA_NAME_SERVERS",
                    ],
                )
                and await self._step(
                    "validation",
                    login,
                    lambda: f"logged in with {link.connection.method!r}",
                    [f"is what listens at {where} a PVAccess server? is it overloaded? its log should know more"],
                )
                and await self._step(
                    "channel creation",
                    lambda: link.create(self.name),
                    lambda: f"{where} gives the channel",
                    ["the server knows the name and does not give it: look into its log, and its access rules"],
                )
            )
        finally:
            link.close()

    async def _step(
        self, step: str, take: Callable[[], Awaitable[object]], told: Callable[[], str], hints: list[str]
    ) -> bool:
        begun = trio.current_time()
        try:
            with trio.fail_after(self.patience):
                await take()
        except trio.TooSlowError:
            why = f"no answer within {self.patience:g} s"
        except (OSError, PVAError, trio.BrokenResourceError) as exc:
            why = reason(exc)
        else:
            self._tell(step, True, f"{told()}, {(trio.current_time() - begun) * 1000:.0f} ms")
            return True
        self._tell(step, False, why, hints)
        return False


def _search_hints(name: str, config: ClientConfig, route: Route, found: Found) -> list[str]:
    """What may be wrong when nobody answers."""
    if found.servers:
        servers = joined(map(spelled, found.servers))
        first = spelled(next(iter(found.servers)))
        return [
            f"servers answer ({servers}), but none has it: is {name!r} spelled right? (p4p-trio list {first})",
            "does the server that has it run, and is its address searched?",
        ]
    hints = ["no server answers at all: does one run?"]
    if route.targets:
        port = config.broadcast_port
        hints.append(f"is UDP port {port} open in the firewalls, and do client and server use the same port {port}?")
    if not route.unicast and not route.name_servers:
        hints.append("broadcasts do not leave this subnet: write the server's address into EPICS_PVA_ADDR_LIST")
    if not route.name_servers:
        hints.append("where UDP does not get through (containers, WSL, VPN): EPICS_PVA_NAME_SERVERS=HOST:5075 uses TCP")
    return hints

"""Whatever handlers do and clients take back: each EXEC is answered once, or not at all if its client ended it.

Random sessions of two clients on one PV, in each policy, with handlers that return, raise, wait, clean up slowly,
cancel themselves or let a cancellation escape, held against a model of a few lines.
"""

from __future__ import annotations

import logging
from collections import Counter

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio import CancelReason, RemoteError
from p4p_trio.testing import MemoryNetwork, memory_server, virtual_time
from p4p_trio.wire import Command, messages
from tests.server.handlers import scalar, settle
from tests.server.wire_client import WireClient

DEEDS = ("return", "raise", "refuse", "wait", "shield", "cancel itself", "escape", "group")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("exec"), st.integers(0, 1), st.sampled_from(range(len(DEEDS)))),
        st.tuples(st.sampled_from(["cancel", "destroy"]), st.integers(0, 1), st.integers(0, 9)),
        st.tuples(st.sampled_from(["time", "turn"]), st.just(0), st.just(0)),
        st.tuples(st.just("close channel"), st.integers(0, 1), st.just(0)),
    ),
    max_size=30,
)


class Handler:
    """Does what the put value says, and remembers who was called, who ended, and why."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0
        self.reasons: Counter[CancelReason | None] = Counter()

    async def put(self, pv, op):
        self.began += 1
        try:
            await self.do(DEEDS[int(op.value())], op)
        finally:
            self.ended += 1
            self.reasons[op.cancelled_because] += 1

    async def do(self, deed, op):
        if deed == "raise":
            raise ValueError(deed)
        if deed == "refuse":
            raise RemoteError(deed)
        if deed == "wait":
            await trio.sleep(1)
        if deed == "shield":
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
        if deed == "cancel itself":
            op.cancel_scope.cancel()
            await trio.sleep(1)
        if deed == "escape":
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.sleep(1)
                except trio.Cancelled as exc:
                    kept = exc
            raise kept
        if deed == "group":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0.5)
                await trio.sleep(0.2)
                raise RemoteError(deed)


@pytest.mark.parametrize("puts", ["concurrent", "serial", "latest"])
@given(steps=steps, burst=st.booleans())
def test_each_exec_is_answered_once(puts, steps, burst):
    logging.disable(logging.CRITICAL)
    try:
        with virtual_time() as clock:
            trio.run(session, puts, steps, burst, clock=clock)
    finally:
        logging.disable(logging.NOTSET)


async def session(puts, steps, burst):
    network = MemoryNetwork()
    handler = Handler()
    async with memory_server([{"pv": scalar(handler=handler, puts=puts)}], network) as server:
        clients = [await WireClient.connect(network, server) for _ in range(2)]
        living = [[], []]  # requests that were executed and not taken back, per client
        taken_back = [set(), set()]
        for what, n, detail in steps:
            client = clients[n]
            if what == "exec":
                request = await client.init(Command.PUT, "pv")
                await client.exec(request, {"value": float(detail)})
                living[n].append(request)
            elif what in ("cancel", "destroy") and living[n]:
                request = living[n].pop(detail % len(living[n]))
                taken_back[n].add(request.ioid)
                await getattr(client, what)(request)
            elif what == "close channel":
                taken_back[n].update(request.ioid for request in living[n])
                living[n].clear()
                if "pv" in client.sids:
                    await client.destroy_channel("pv")
            elif what == "time":
                await trio.sleep(0.3)
            if not burst:
                await settle()
        await trio.sleep(35)  # less than the silence that a server takes for death
        for client, left, gone in zip(clients, living, taken_back, strict=True):
            answers = Counter()
            for message in await client.quiet():
                if message.command is Command.PUT:
                    answers[messages.read_reply(client.reader(message))[0]] += 1
            for request in left:
                assert answers.pop(request.ioid) == 1
            assert set(answers) <= gone
            assert set(answers.values()) <= {1}  # it was answered before it was taken back
        assert server.report()["handlers"] == 0
        assert handler.began == handler.ended
        known = {None, CancelReason.CANCEL, CancelReason.DESTROY, CancelReason.CHANNEL}
        assert set(handler.reasons) <= known | ({CancelReason.SUPERSEDED} if puts == "latest" else set())
        clients[0].sids.clear()  # and the PV still takes puts
        request = await clients[0].start_put("pv", float(DEEDS.index("return")))
        assert (await clients[0].answer(request))[0].success

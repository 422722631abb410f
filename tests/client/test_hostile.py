"""Servers that say anything at all: they can only fail the requests that talk to them."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio

from p4p_trio import PVAError, SharedPV
from p4p_trio.nt import NTScalar

CALLS = {
    "get": lambda context: context.get("pv"),
    "put": lambda context: context.put("pv", 1),
    "rpc": lambda context: context.rpc("pv"),
    "info": lambda context: context.info("pv"),
}


OF_TYPES = (ValueError, TypeError, KeyError, AttributeError)
"""What comes of a PV that is of another type than the caller thinks; that he has to live with."""


class Mutator:
    """Damages what a server sends, a little or much, the same way every time."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.rate = self.dice.choice([0.001, 0.01, 0.1])

    def __call__(self, data: bytes) -> bytes:
        dice = self.dice
        made = bytearray(data)
        for n in range(len(made)):
            if dice.random() < self.rate:
                made[n] = dice.choice([0, 1, 0x7F, 0x80, 0xFD, 0xFE, 0xFF, dice.randrange(256)])
        if dice.random() < self.rate:
            at = dice.randrange(len(made) + 1)
            made[at:at] = dice.randbytes(dice.randrange(20))
        if dice.random() < self.rate:
            del made[dice.randrange(len(made) + 1) :]
        return bytes(made)


@pytest.mark.parametrize("seed", range(60))
async def test_mutated_sessions(network, serve, client, virtual_time, log, seed):
    mutate = Mutator(seed)
    pv = SharedPV(nt=NTScalar("d"), initial=0.0)

    @pv.put
    def put(pv, op):
        pv.post(op.value())

    @pv.rpc
    def call(pv, op):
        return NTScalar("s").wrap("hello")

    async with serve({"pv": pv}) as server, client(server) as context:
        damage = True
        connect = network.connect

        async def damaged(host, port):
            transport = await connect(host, port)
            receive = transport.receive_nowait

            def receive_nowait(into=None):
                view = receive(into)
                if view is None or not damage:
                    return view
                made = mutate(bytes(view))
                if into is None:
                    return memoryview(made)
                made = made[: len(into)]
                into[: len(made)] = made
                return into[: len(made)]

            transport.receive_nowait = receive_nowait
            return transport

        network.connect = damaged

        async def watch():
            while True:
                try:
                    async with context.monitor("pv") as updates:
                        async for _ in updates:
                            pass
                except (PVAError, *OF_TYPES):
                    pass
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for name in list(CALLS) * 2:
                with trio.move_on_after(20):
                    with suppress(PVAError, *OF_TYPES):
                        await CALLS[name](context)
                pv.post(float(seed))
            nursery.cancel_scope.cancel()
        damage = False
        for session in list(context._runtime.sessions.values()):
            session.end("the test is over")
        with trio.fail_after(100):
            await context.put("pv", 5.0)
            assert await context.get("pv") == 5.0
    assert not [text for text in log() if "bug" in text]

"""A client inside a server: demo:watts is what demo:volts and demo:amperes multiply to, wherever these are.

Try it: `python examples/computed.py`, and elsewhere `p4p-trio monitor demo:watts` and `p4p-trio put demo:volts=24`.
"""

from contextlib import closing

import trio

from p4p_trio import Context, Server, ServerOperation, SharedPV
from p4p_trio.nt import NTScalar

volts, amperes = (SharedPV(nt=NTScalar("d"), initial=initial) for initial in (12.0, 0.5))
watts = SharedPV(nt=NTScalar("d"))  # closed: who asks waits for the first value


@volts.put
@amperes.put
def store(pv: SharedPV, op: ServerOperation) -> None:
    pv.post(op.value())


@watts.while_connected  # so the inputs are subscribed to only while somebody wants to know
async def compute(pv: SharedPV) -> None:
    found: dict[str, float] = {}

    async def follow(name: str) -> None:
        async with context.monitor(name) as updates:
            async for value in updates:
                found[name] = value
                if len(found) == 2:
                    (pv.post if pv.is_open() else pv.open)(found["demo:volts"] * found["demo:amperes"])

    with closing(pv):  # nobody gets an old value
        async with Context() as context, trio.open_nursery() as nursery:
            nursery.start_soon(follow, "demo:volts")
            nursery.start_soon(follow, "demo:amperes")


trio.run(Server.forever, [{"demo:volts": volts, "demo:amperes": amperes, "demo:watts": watts}])

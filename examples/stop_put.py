"""A move that a newer put replaces: with puts="latest" the running handler is cancelled first.

Try it: `python examples/stop_put.py`, and in two other shells `spput demo:motor 100` and, while
that one waits, `spput demo:motor 0`: the first is answered "superseded", and the motor turns round.
A client that leaves while the motor moves stops it too: its handler is cancelled.
"""

import trio

from p4p_trio import Server, ServerOperation, SharedPV
from p4p_trio.nt import NTScalar

motor = SharedPV(nt=NTScalar("d"), initial=0.0, puts="latest")


@motor.put
async def move(pv: SharedPV, op: ServerOperation) -> None:
    target = op.value()
    position = float(pv.current())
    try:
        while position != target:
            position += max(-1.0, min(1.0, target - position))  # 10 steps of at most one each second
            pv.post(position)
            await trio.sleep(0.1)
    finally:
        print(f"stands at {position}", flush=True)


trio.run(Server.forever, [{"demo:motor": motor}])

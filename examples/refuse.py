"""A set point that refuses: what the handler raises is what the client's put fails with.

Try it: `python examples/refuse.py`, and in another shell `spput demo:setpoint 11`
prints `setpoint must stay within ±10 mm`; nothing was changed.
"""

import trio

from p4p_trio import RemoteError, Server, ServerOperation, SharedPV
from p4p_trio.nt import NTScalar

setpoint = SharedPV(nt=NTScalar("d", display=True), initial=0.0)


@setpoint.put
async def accept(pv: SharedPV, op: ServerOperation) -> None:
    if abs(op.value()) > 10:
        raise RemoteError("setpoint must stay within ±10 mm")  # -> the client's put fails with this text
    pv.post(op.value())  # returning acknowledges


trio.run(Server.forever, [{"demo:setpoint": setpoint}])

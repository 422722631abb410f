"""A remote procedure: the argument's `query` holds what the caller gave by name.

Try it: `python examples/rpc.py`, and in another shell with p4p's client installed
`python -m p4p.client.cli --raw rpc demo:add lhs=1 rhs=2`
"""

import trio

from p4p_trio import RemoteError, Server, ServerOperation, SharedPV, Value
from p4p_trio.nt import NTScalar

adder = SharedPV()
result = NTScalar("d")


@adder.rpc
async def add(pv: SharedPV, op: ServerOperation) -> Value:
    query = op.value().query
    try:
        return result.wrap(float(query.lhs) + float(query.rhs))
    except (AttributeError, ValueError) as exc:
        raise RemoteError(f"add needs two numbers, lhs and rhs: {exc}") from exc


trio.run(Server.forever, [{"demo:add": adder}])

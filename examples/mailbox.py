"""A mailbox: a number that any client may write and everybody sees.

Try it: `python examples/mailbox.py`, and in another shell with p4p's client installed
`python -m p4p.client.cli get demo:mailbox`
"""

import trio

from p4p_trio import Server, ServerOperation, SharedPV
from p4p_trio.nt import NTScalar

mailbox = SharedPV(nt=NTScalar("d"), initial=0.0)


@mailbox.put
def store(pv: SharedPV, op: ServerOperation) -> None:
    pv.post(op.value())


trio.run(Server.forever, [{"demo:mailbox": mailbox}])

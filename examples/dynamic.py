"""PVs made when somebody asks for them: every name that begins with `square:` and a number.

Try it: `python examples/dynamic.py`, and in another shell `spget square:12` prints 144.
"""

import trio

from p4p_trio import DynamicProvider, Peer, Server, SharedPV
from p4p_trio.nt import NTScalar


class Squares:
    def test_channel(self, name: str) -> bool:
        """On the search path: must answer at once. A "no" is remembered for a while."""
        head, _, number = name.partition(":")
        return head == "square" and number.isdecimal()

    async def make_channel(self, name: str, peer: Peer) -> SharedPV | None:
        """May wait, say for hardware; is cancelled if the client gives up."""
        number = int(name.partition(":")[2])
        await trio.sleep(0.1)
        return SharedPV(nt=NTScalar("L"), initial=number * number)


trio.run(Server.forever, [DynamicProvider("squares", Squares())])

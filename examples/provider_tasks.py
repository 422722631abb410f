"""A provider with a task of its own: it starts before the first search is answered and ends with the server.

Try it: `python examples/provider_tasks.py`, and in another shell `spmonitor demo:ticks`
"""

import trio

from p4p_trio import Server, SharedPV, StaticProvider
from p4p_trio.nt import NTScalar


class Ticker(StaticProvider):
    def __init__(self) -> None:
        super().__init__("ticker")
        self.ticks = SharedPV(nt=NTScalar("l"))  # closed: clients that ask already wait for the first value
        self.add("demo:ticks", self.ticks)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Lives in the server's nursery: if it crashes, the server does, never silently."""
        self.ticks.open(0)
        task_status.started()
        count = 0
        while True:
            await trio.sleep(0.1)
            count += 1
            self.ticks.post(count, severity=1 if count % 10 == 0 else 0)


trio.run(Server.forever, [Ticker()])

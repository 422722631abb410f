"""Our server for the benchmark: prints its TCP port as JSON, serves until the end of stdin."""

from __future__ import annotations

import json

import trio

from p4p_trio import Server, ServerOperation, SharedPV
from p4p_trio.nt import NTScalar


def served() -> dict[str, SharedPV]:
    nt = NTScalar("d")
    names = ("get", "put", "put-def", "post", "post-def")
    pvs = {f"bench:{name}": SharedPV(nt=nt, initial=1.0) for name in names}
    for pv in pvs.values():
        pv.post(2.0, severity=1, message="bench")  # the same bytes as in p4p's replies

    @pvs["bench:put"].put
    async def put(pv: SharedPV, op: ServerOperation) -> None:
        op.value()

    @pvs["bench:put-def"].put
    def put_def(pv: SharedPV, op: ServerOperation) -> None:
        op.value()

    @pvs["bench:post"].put
    async def post(pv: SharedPV, op: ServerOperation) -> None:
        pv.post(op.value())

    @pvs["bench:post-def"].put
    def post_def(pv: SharedPV, op: ServerOperation) -> None:
        pv.post(op.value())

    return pvs


async def main() -> None:
    async with Server([served()], isolate=True) as server:
        print(json.dumps({"port": int(server.conf()["EPICS_PVAS_SERVER_PORT"])}), flush=True)
        async with trio.lowlevel.FdStream(0) as stdin:
            while await stdin.receive_some():
                pass


if __name__ == "__main__":
    trio.run(main)

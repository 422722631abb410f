"""p4p's thread server for the benchmark, run by the Python of p4p's own environment.

Prints its TCP port as JSON, serves until the end of stdin. The handlers do what ours do.
"""

import json
import sys
import time

from p4p.nt import NTScalar
from p4p.server import Server
from p4p.server.thread import SharedPV


def served():
    nt = NTScalar("d")
    pvs = {f"bench:{name}": SharedPV(nt=nt, initial=1.0) for name in ("get", "put", "put-def", "post", "post-def")}
    for pv in pvs.values():
        # p4p sends only fields that were ever marked: without these its replies would be shorter than ours
        value = nt.wrap(2.0, timestamp=time.time())
        value.alarm = {"severity": 1, "status": 0, "message": "bench"}
        value.timeStamp.userTag = 0
        pv.post(value)

    def put(pv, op):
        op.value()
        op.done()

    def post(pv, op):
        pv.post(op.value(), timestamp=time.time())
        op.done()

    pvs["bench:put"].put(put)
    pvs["bench:put-def"].put(put)
    pvs["bench:post"].put(post)
    pvs["bench:post-def"].put(post)
    return pvs


if __name__ == "__main__":
    with Server([served()], isolate=True) as server:
        print(json.dumps({"port": int(server.conf()["EPICS_PVAS_SERVER_PORT"])}), flush=True)
        sys.stdin.read()

"""p4p's server that the clients are measured against, run by the Python of p4p's own environment.

Prints its TCP port and settings as JSON, serves until the end of stdin: bench:0 to bench:999, which hold still, and
bench:flood, which is posted to as fast as it goes if `flood` is on the command line.
"""

import json
import sys
import threading
import time

from p4p.nt import NTScalar
from p4p.server import Server
from p4p.server.thread import SharedPV

nt = NTScalar("d")


def holding(value):
    pv = SharedPV(nt=nt, initial=value)
    full = nt.wrap(value, timestamp=time.time())
    full.alarm = {"severity": 1, "status": 0, "message": "bench"}
    pv.post(full)
    return pv


def flood(pv, over):
    """The value counts the posts: what a client misses can be told from what it sees."""
    count = 0
    while not over.is_set():
        for _ in range(100):
            count += 1
            pv.post(float(count), timestamp=time.time())


def main():
    pvs = {f"bench:{number}": holding(float(number)) for number in range(1000)}
    pvs["bench:flood"] = holding(0.0)
    over = threading.Event()
    with Server([pvs], isolate=True) as server:
        conf = server.conf()
        print(json.dumps({"port": int(conf["EPICS_PVAS_SERVER_PORT"]), "conf": conf}), flush=True)
        if sys.argv[1:] == ["flood"]:
            threading.Thread(target=flood, args=(pvs["bench:flood"], over)).start()
        sys.stdin.read()
        over.set()


if __name__ == "__main__":
    main()

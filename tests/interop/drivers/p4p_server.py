"""p4p's server behind JSON lines: prints its conf, obeys one command per line on stdin, ends with stdin.

Runs under the Python of p4p's own environment and imports nothing of this project.
"""

import json
import sys
import time

import numpy
from p4p import Type, Value
from p4p.nt import NTEnum, NTScalar
from p4p.server import Server, StaticProvider
from p4p.server.thread import SharedPV

CANCELLED = []


def emit(**record):
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def mailbox(nt, initial):
    pv = SharedPV(nt=nt, initial=initial)

    @pv.put
    def put(pv, op):
        pv.post(op.value())
        op.done()

    return pv


def refusing():
    pv = SharedPV(nt=NTScalar("d"), initial=0.0)

    @pv.put
    def put(pv, op):
        op.done(error="must stay within 10 mm")

    return pv


def slow():
    pv = SharedPV(nt=NTScalar("d"), initial=0.0)

    @pv.put
    def put(pv, op):
        op.onCancel(lambda: emit(event="cancelled"))
        time.sleep(1)
        op.done()

    return pv


def adding():
    pv = SharedPV(nt=NTScalar("d"), initial=0.0)

    @pv.rpc
    def rpc(pv, op):
        query = op.value().query
        if query.a < 0:
            op.done(error="a is negative")
        else:
            op.done(NTScalar("d").wrap(query.a + query.b))

    return pv


DESCRIBED = NTScalar("d", display=True)


def described(value):
    made = DESCRIBED.wrap(value)  # p4p takes later posts only from the very helper that made the first value
    made.display.description = "a double"
    return made


POINT = Type([("x", "d"), ("y", "d"), ("label", "s")], id="point")


def main():
    provider = StaticProvider("interop")
    pvs = {
        "double": mailbox(DESCRIBED, described(1.5)),
        "int": mailbox(NTScalar("i"), 42),
        "text": mailbox(NTScalar("s"), "hello"),
        "array": mailbox(NTScalar("ad"), numpy.arange(5.0)),
        "strings": mailbox(NTScalar("as"), ["a", "b"]),
        "image": mailbox(NTScalar("aB"), numpy.zeros(1_000_000, dtype="B")),
        "enum": mailbox(NTEnum(), {"choices": ["OFF", "STANDBY", "ON"], "index": 1}),
        "point": mailbox(None, Value(POINT, {"x": 1.0, "y": 2.0, "label": "here"})),
        "refusing": refusing(),
        "slow": slow(),
        "adding": adding(),
    }
    for n in range(1000):
        pvs[f"many:{n}"] = SharedPV(nt=NTScalar("i"), initial=n)
    for name, pv in pvs.items():
        provider.add(name, pv)
    conf = json.loads(sys.argv[1]) if len(sys.argv) > 1 else None
    isolate = {"isolate": True} if conf is None else {"conf": conf, "useenv": False}
    with Server(providers=[provider], **isolate) as server:
        emit(event="ready", conf=server.conf())
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "post":
                for value in command["values"]:
                    pvs[command["name"]].post(value)
            elif command["do"] == "close":
                pvs[command["name"]].close(destroy=True)
            emit(id=command.get("id"), result=None)


if __name__ == "__main__":
    main()

"""pvapy's servers (pvAccessCPP) behind JSON lines: one with PVs, one that is called; both end with stdin.

Ports and addresses come from the environment. Runs under the Python of pvapy's own environment and imports
nothing of this project.
"""

import json
import sys

import pvaccess
from pvaccess import DOUBLE, INT, STRING, UBYTE, NtEnum, NtScalar, PvaServer, PvObject, RpcServer


def emit(**record):
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def structure():
    point = {"x": DOUBLE, "y": DOUBLE, "label": STRING}
    return PvObject(point, {"x": 1.0, "y": 2.0, "label": "here"}, "point")


def double():
    made = NtScalar(DOUBLE, 1.5)
    made["display.units"] = "mm"
    return made


def adding(request):
    query = request["query"]
    if query["a"] < 0:
        raise pvaccess.PvaException("a is negative")
    return NtScalar(DOUBLE, query["a"] + query["b"])


def main():
    server = PvaServer()
    records = {
        "double": double(),
        "int": NtScalar(INT, 42),
        "text": NtScalar(STRING, "hello"),
        "array": PvObject({"value": [DOUBLE]}, {"value": [0.0, 1.0, 2.0]}, "epics:nt/NTScalarArray:1.0"),
        "image": PvObject({"value": [UBYTE]}, {"value": [7] * 100_000}, "epics:nt/NTScalarArray:1.0"),
        "point": structure(),
        "enum": NtEnum(["OFF", "STANDBY", "ON"], 1),
    }
    for name, record in records.items():
        server.addRecord(name, record, lambda value, name=name: emit(event="written", name=name))
    rpc = RpcServer()
    rpc.registerService("adding", adding)
    rpc.startListener()
    emit(event="ready")
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "post":
            for value in command["values"]:
                server.update(command["name"], {"value": value})
        elif command["do"] == "remove":
            server.removeRecord(command["name"])
        emit(id=command.get("id"), result=None)


if __name__ == "__main__":
    main()

"""pvapy's client (pvAccessCPP) behind JSON lines: one command per line on stdin, answers and events on stdout.

Runs under the Python of pvapy's own environment and imports nothing of this project. The same form as
the p4p driver: {"id": 1, "do": "get", ...} is answered by {"id": 1, "result": ...} or
{"id": 1, "error": "...", "kind": "..."}. Commands run one after the other: that is how pvapy is used.
"""

import json
import os
import sys
import time

# pvAccessCPP prints its own log on stdout, so answers go to a descriptor of their own.
ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import numpy  # noqa: E402  after the descriptors are sorted
import pvaccess  # noqa: E402

CODES = {
    "?": pvaccess.BOOLEAN,
    "b": pvaccess.BYTE,
    "B": pvaccess.UBYTE,
    "h": pvaccess.SHORT,
    "H": pvaccess.USHORT,
    "i": pvaccess.INT,
    "I": pvaccess.UINT,
    "l": pvaccess.LONG,
    "L": pvaccess.ULONG,
    "f": pvaccess.FLOAT,
    "d": pvaccess.DOUBLE,
    "s": pvaccess.STRING,
}


def emit(**record):
    ANSWERS.write(json.dumps(record) + "\n")
    ANSWERS.flush()


def plain(item):
    if isinstance(item, numpy.ndarray):
        return item.tolist()
    if isinstance(item, numpy.generic):
        return item.item()
    if isinstance(item, (list, tuple)):
        return [plain(member) for member in item]
    if isinstance(item, dict):
        return {key: plain(member) for key, member in item.items()}
    return item


def argument(spec, content):
    """A PvObject from {"name": code or nested spec} and its content."""

    def typed(part):
        return {key: typed(member) if isinstance(member, dict) else CODES[member] for key, member in part.items()}

    return pvaccess.PvObject(typed(spec), content)


class Client:
    def __init__(self):
        self.channels = {}

    def channel(self, name):
        if name not in self.channels:
            channel = pvaccess.Channel(name)
            channel.setTimeout(10.0)
            self.channels[name] = channel
        return self.channels[name]

    def get(self, name, request="field()"):
        return plain(self.channel(name).get(request).toDict())

    def put(self, name, value, code=None, request="field(value)"):
        if code is None:
            self.channel(name).put(value, request)
        else:
            self.channel(name).put(argument({"value": code}, {"value": value}), request)

    def put_array(self, name, values, code):
        self.channel(name).put(pvaccess.PvObject({"value": [CODES[code]]}, {"value": values}), "field(value)")

    def put_get(self, name, value, code="d", request="putField(value)getField(value)"):
        return plain(self.channel(name).putGet(argument({"value": code}, {"value": value}), request).toDict())

    def get_put(self, name):
        return plain(self.channel(name).getPut().toDict())

    def introspection(self, name):
        return {key: str(member) for key, member in self.channel(name).getIntrospectionDict().items()}

    def rpc(self, name, spec, content, timeout=10.0):
        return plain(pvaccess.RpcClient(name).invoke(argument(spec, content), timeout).toDict())

    def monitor(self, name, tag, request="field()"):
        def deliver(value):
            emit(monitor=tag, value=plain(value.toDict()), t=time.monotonic())

        self.channel(name).monitor(deliver, request)

    def unsubscribe(self, name):
        self.channel(name).stopMonitor()


def main():
    client = Client()
    emit(event="ready")
    for line in sys.stdin:
        command = json.loads(line)
        number, word = command.pop("id"), command.pop("do")
        try:
            emit(id=number, result=getattr(client, word)(**command))
        except Exception as exc:
            emit(id=number, error=str(exc), kind=type(exc).__name__)


if __name__ == "__main__":
    main()

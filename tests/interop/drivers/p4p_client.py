"""p4p's client behind JSON lines: one command per line on stdin, one answer or event per line on stdout.

Runs under the Python of p4p's own environment and imports nothing of this project. Commands run in
threads of their own, so a slow one does not hold up the next. Every command is an object with `id`
and `do`; the answer carries the same `id` and either `result` or `error` (with `kind`, the exception's
class). Arrays are written as {"dtype": ..., "data": [...]}, structures as plain objects.
"""

import json
import sys
import threading
import time

import numpy
from p4p import Type, Value
from p4p.client.thread import Cancelled, Context, Disconnected, Finished
from p4p.nt import NTURI

output = threading.Lock()


def emit(**record):
    with output:
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()


def plain(item):
    """What JSON can say of a p4p value, losing nothing that a test asserts on."""
    if isinstance(item, Value):
        return plain(item.todict())
    if isinstance(item, numpy.ndarray):
        return {"dtype": item.dtype.name, "data": [member.item() for member in item]}
    if isinstance(item, numpy.generic):
        return item.item()
    if isinstance(item, (list, tuple)):
        return [plain(member) for member in item]
    if isinstance(item, dict):
        return {key: plain(member) for key, member in item.items()}
    return item


def built(item):
    """The way back: {"dtype", "data"} is an array, {"select", "value"} picks a union's member."""
    if isinstance(item, dict) and set(item) == {"dtype", "data"}:
        return numpy.asarray(item["data"], dtype=item["dtype"])
    if isinstance(item, dict) and set(item) == {"select", "value"}:
        return (item["select"], built(item["value"]))
    if isinstance(item, dict):
        return {key: built(member) for key, member in item.items()}
    if isinstance(item, list):
        return [built(member) for member in item]
    return item


class Client:
    def __init__(self):
        self.context = None
        self.subscriptions = {}

    def connect(self, conf):
        """Start over with a new context, as a freshly started client program would."""
        if self.context is not None:
            self.context.close()
        self.context = Context("pva", conf=conf, useenv=False, nt=False)

    def get(self, name, request=None, timeout=10):
        value = self.context.get(name, request=request, timeout=timeout)
        return {"value": plain(value), "changed": sorted(value.changedSet()), "type": value.getID()}

    def type(self, name, timeout=10):
        """The type as p4p's own spec, to compare structures and codes."""

        def listed(spec):
            return [listed(part) if isinstance(part, (list, tuple)) else part for part in spec]

        value = self.context.get(name, timeout=timeout)
        return {"id": value.getID(), "spec": listed(value.type().aspy()[2])}

    def put(self, name, value, request=None, timeout=10, wait=None, get=True):
        self.context.put(name, built(value), request=request, timeout=timeout, wait=wait, get=get)

    def rpc(self, name, arguments, timeout=10):
        """*arguments*: name -> [code, value], sent as an NTURI."""
        uri = NTURI([(key, code) for key, (code, _) in arguments.items()])
        value = self.context.rpc(
            name, uri.wrap(name, kws={key: built(item) for key, (_, item) in arguments.items()}), timeout=timeout
        )
        return plain(value)

    def rpc_value(self, name, spec, content, timeout=10):
        """Send a value that is no NTURI: *spec* is p4p's type spec, lists for tuples."""

        def tupled(part):
            return [tuple(tupled([p])[0] if isinstance(p, list) else p for p in member) for member in part]

        return plain(self.context.rpc(name, Value(Type(tupled(spec)), built(content)), timeout=timeout))

    def monitor(self, name, tag, request=None):
        def deliver(item):
            if isinstance(item, Value):
                emit(monitor=tag, value=plain(item), changed=sorted(item.changedSet()), t=time.monotonic())
            else:
                for kind in (Finished, Disconnected, Cancelled):
                    if isinstance(item, kind):
                        emit(monitor=tag, event=kind.__name__, t=time.monotonic())
                        return
                emit(monitor=tag, event=type(item).__name__, text=str(item), t=time.monotonic())

        self.subscriptions[tag] = self.context.monitor(name, deliver, request=request, notify_disconnect=True)

    def unsubscribe(self, tag):
        self.subscriptions.pop(tag).close()

    def cancelled_put(self, name, value, after):
        """Start a put and give up on it after *after* seconds; p4p then destroys the request."""
        try:
            self.put(name, value, timeout=after, get=False)
        except TimeoutError:
            return {"t": time.monotonic()}
        raise AssertionError("the put was answered")


def obey(client, command):
    number, word = command.pop("id"), command.pop("do")
    try:
        emit(id=number, result=getattr(client, word)(**command))
    except BaseException as exc:
        emit(id=number, error=str(exc), kind=type(exc).__name__)


def main():
    client = Client()
    emit(event="ready")
    for line in sys.stdin:
        command = json.loads(line)
        threading.Thread(target=obey, args=(client, command), daemon=True).start()


if __name__ == "__main__":
    main()

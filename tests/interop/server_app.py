"""The server that the peers are let loose on: the native API only, told what to do by JSON lines on stdin.

Prints {"event": "ready", "conf": ...} once it serves, and one line for each thing that happens to a
handler, with the monotonic time (one clock for all processes of a host). Ends at the end of stdin,
on {"do": "stop"}, and on SIGINT.

    --conf JSON     serve on exactly these ports again, after a restart
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import trio

from p4p_trio import RemoteError, Server, ServerOperation, SharedPV, StaticProvider, Type, Value
from p4p_trio.nt import NTScalar

CODES = "?bBhHiIlLfds"
ZERO = {"?": False, "s": ""}

STRUCTURE = Type(
    [
        ("inner", ("S", "inner_t", [("x", "d"), ("names", "as")])),
        ("choice", ("U", "choice_t", [("number", "i"), ("text", "s"), ("list", "ad")])),
        ("anything", "v"),
        ("points", ("aS", "point_t", [("x", "i"), ("y", "i")])),
        ("choices", ("aU", "choices_t", [("number", "i"), ("text", "s")])),
        ("anythings", "av"),
    ],
    id="interop:structure:1.0",
)
PARTIAL = Type([("a", "i"), ("b", "i"), ("sub", ("S", None, [("c", "i"), ("d", "s")]))], id="interop:partial:1.0")


def emit(event: str, **content: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, "t": time.monotonic(), **content}) + "\n")
    sys.stdout.flush()


def mailbox(pv: SharedPV) -> SharedPV:
    """Let clients write it: what they send is stored and published."""

    @pv.put
    def store(pv: SharedPV, op: ServerOperation) -> None:
        pv.post(op.value())

    return pv


def served() -> dict[str, SharedPV]:
    pvs = {}
    for code in CODES:
        zero = ZERO.get(code, 0)
        pvs[f"t:{code}"] = mailbox(SharedPV(nt=NTScalar(code), initial=zero))
        pvs[f"t:a{code}"] = mailbox(SharedPV(nt=NTScalar(f"a{code}"), initial=[zero]))
    pvs["mailbox"] = mailbox(SharedPV(nt=NTScalar("d", display=True, control=True, valueAlarm=True), initial=0.0))
    pvs["structure"] = mailbox(SharedPV(initial=Value(STRUCTURE, {"choice": ("number", 0)})))
    pvs["nulls"] = mailbox(SharedPV(initial=Value(STRUCTURE)))
    pvs["partial"] = SharedPV(initial=Value(PARTIAL, {"a": 1, "b": 2, "sub": {"c": 3, "d": "four"}}))
    pvs["refuse"] = SharedPV(nt=NTScalar("d"), initial=0.0)
    pvs["broken"] = SharedPV(nt=NTScalar("d"), initial=0.0)
    pvs["noput"] = SharedPV(nt=NTScalar("d"), initial=1.5)
    pvs["late"] = mailbox(SharedPV(nt=NTScalar("d")))
    pvs["slow"] = SharedPV(nt=NTScalar("d"), initial=0.0)
    pvs["adder"] = SharedPV()
    pvs["echo"] = SharedPV()
    pvs["whoami"] = SharedPV()
    pvs["slowcall"] = SharedPV()

    @pvs["partial"].put
    def partial_put(pv: SharedPV, op: ServerOperation) -> None:
        value = op.value()
        emit("partial", changed=sorted(value.changedSet()))
        pv.post(value)

    @pvs["refuse"].put
    async def refuse_put(pv: SharedPV, op: ServerOperation) -> None:
        await trio.lowlevel.checkpoint()
        if abs(op.value()) > 10:
            raise RemoteError("setpoint must stay within ±10 mm")
        pv.post(op.value())

    @pvs["broken"].put
    async def broken_put(pv: SharedPV, op: ServerOperation) -> None:
        raise ValueError("the handler has a bug")

    async def endless(what: str, op: ServerOperation) -> None:
        emit(what, phase="started", peer=str(op.peer()))
        try:
            await trio.sleep_forever()
        finally:
            emit(what, phase="ended", because=getattr(op.cancelled_because, "name", None))

    @pvs["slow"].put
    async def slow_put(pv: SharedPV, op: ServerOperation) -> None:
        await endless("slow", op)

    @pvs["slowcall"].rpc
    async def slow_call(pv: SharedPV, op: ServerOperation) -> None:
        await endless("slowcall", op)

    @pvs["adder"].rpc
    async def add(pv: SharedPV, op: ServerOperation) -> Value:
        query = op.value().query
        if not math.isfinite(query.lhs):
            raise RemoteError("lhs must be finite")
        return NTScalar("d").wrap(query.lhs + query.rhs)

    @pvs["echo"].rpc
    def echo(pv: SharedPV, op: ServerOperation) -> Value:
        return op.value()

    @pvs["whoami"].rpc
    async def whoami(pv: SharedPV, op: ServerOperation) -> Value:
        return NTScalar("s").wrap(op.account())

    return pvs


async def command_lines() -> AsyncIterator[dict[str, Any]]:
    stream = trio.lowlevel.FdStream(os.dup(0))
    kept = b""
    async with stream:
        async for chunk in stream:
            *lines, kept = (kept + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)


async def obey(pvs: dict[str, SharedPV], provider: StaticProvider) -> None:
    async for command in command_lines():
        match command:
            case {"do": "open", "name": name, "value": value}:
                pvs[name].open(value)
            case {"do": "close", "name": name}:
                pvs[name].close()
            case {"do": "post", "name": name, "values": values}:
                for value in values:
                    pvs[name].post(value)
            case {"do": "remove", "name": name}:
                provider.remove(name)
            case {"do": "add", "name": name, "value": value}:
                pvs[name] = mailbox(SharedPV(nt=NTScalar("d"), initial=value))
                provider.add(name, pvs[name])
            case {"do": "count"}:
                await trio.sleep(0.2)  # what just ended may still be on its way out
                gc.collect()
                emit(
                    "count",
                    tasks=trio.lowlevel.current_statistics().tasks_living,
                    descriptors=psutil.Process().num_fds() if hasattr(psutil.Process, "num_fds") else 0,
                    objects=len(gc.get_objects()),
                )
            case {"do": "stop"}:
                return
            case _:
                raise ValueError(f"unknown command {command}")
        emit("done", **command)


async def main(conf: dict[str, str] | None) -> None:
    pvs = served()
    provider = StaticProvider("interop")
    for name, pv in pvs.items():
        provider.add(name, pv)
    server = Server([provider], isolate=True) if conf is None else Server([provider], conf=conf, useenv=False)
    async with server:
        emit("ready", conf=server.conf())
        await obey(pvs, provider)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conf", type=json.loads)
    try:
        trio.run(main, parser.parse_args().conf)
    except KeyboardInterrupt:
        emit("interrupted")

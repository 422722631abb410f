"""The demo server: five PVs that show what a server does. `make demo` runs it; Ctrl-C ends it at once.

It can be steered like any PVAccess server, by EPICS_PVA(S)_* variables. Unless they say otherwise it
listens on every interface, so that clients find it in their default configuration, but announces itself
on loopback only.
"""

import os
import signal
import time
from collections.abc import AsyncIterator

import numpy as np
import trio

from p4p_trio import RemoteError, Server, ServerOperation, SharedPV, StaticProvider, Value
from p4p_trio.nt import NTScalar

QUIET = {"EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO", "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1"}

PVS = """\
demo:mailbox    a number that everybody may write
demo:counter    counts at 10 Hz, with time stamps; in alarm during the last seconds of each half minute
demo:waveform   512 points of a travelling wave, once a second
demo:slow       moves to what is put, one unit in a tenth of a second; ends where it is when its client leaves
demo:adder      RPC: lhs + rhs
"""

TRY = """\
{exports}
p4p       python -m p4p.client.cli get demo:mailbox demo:counter
          python -m p4p.client.cli monitor demo:counter
          python -c "from p4p.client.thread import Context; Context('pva').put('demo:mailbox', 4.2)"
          python -m p4p.client.cli --raw rpc demo:adder lhs=1 rhs=2
pvapy     python -c "from pvaccess import Channel; c = Channel('demo:mailbox'); c.putDouble(4.2); print(c.get())"
spvirit   spget demo:mailbox
          spput demo:mailbox 4.2
          spput -w 30 demo:slow 100         and Ctrl-C while it moves: then spget demo:slow
          spmonitor demo:counter
          spinfo demo:counter
          splist

These programs are other people's. `make peers` installs them into .peers/p4p/bin, .peers/pvapy/bin and
.peers/spvirit/bin.
"""

mailbox = SharedPV(nt=NTScalar("d", display=True), initial=0.0)
counter = SharedPV(nt=NTScalar("l", valueAlarm=True), initial=0)
waveform = SharedPV(nt=NTScalar("ad"), initial=np.zeros(512))
slow = SharedPV(nt=NTScalar("d"), initial=0.0, puts="latest")
adder = SharedPV()


@mailbox.put
def store(pv: SharedPV, op: ServerOperation) -> None:
    pv.post(op.value())


@slow.put
async def move(pv: SharedPV, op: ServerOperation) -> None:
    target = op.value()
    position = float(pv.current())
    try:
        while position != target:
            await trio.sleep(0.1)
            position += max(-1.0, min(1.0, target - position))
            pv.post(position, message="moving")
    finally:  # also when the client cancels, disconnects or is killed
        pv.post(position, message="" if position == target else "stopped on the way")


@adder.rpc
async def add(pv: SharedPV, op: ServerOperation) -> Value:
    try:
        query = op.value().query
        return NTScalar("d").wrap(float(query.lhs) + float(query.rhs), timestamp=time.time())
    except (AttributeError, ValueError) as exc:
        raise RemoteError(f"demo:adder needs two numbers, lhs and rhs: {exc}") from exc


async def count() -> None:
    number = 0
    while True:
        await trio.sleep(0.1)
        number += 1
        late = number % 300 - 250  # 25 s quiet, then 2.5 s MINOR and 2.5 s MAJOR
        severity, message = (0, "") if late < 0 else (1, "soon") if late < 25 else (2, "now")
        counter.post(number, severity=severity, message=message)


async def wave() -> None:
    phase = np.linspace(0.0, 4 * np.pi, 512)
    while True:
        waveform.post(np.sin(phase))
        phase = phase + 0.3
        await trio.sleep(1)


async def stop_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()  # from outside of the server: no grace for running handlers


def exports(conf: dict[str, str]) -> str:
    lines = ["In another shell of this machine:", "", "export EPICS_PVA_ADDR_LIST=127.0.0.1"]
    if conf["EPICS_PVAS_BROADCAST_PORT"] != "5076":
        lines.append(f"export EPICS_PVA_BROADCAST_PORT={conf['EPICS_PVAS_BROADCAST_PORT']}")
    return "\n".join([*lines, ""])


async def main() -> None:
    provider = StaticProvider("demo")
    provider.add("demo:mailbox", mailbox)
    provider.add("demo:counter", counter)
    provider.add("demo:waveform", waveform)
    provider.add("demo:slow", slow)
    provider.add("demo:adder", adder)
    conf = {key: value for key, value in QUIET.items() if key not in os.environ}
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, trio.CancelScope() as scope:
        async with Server([provider], conf=conf) as server, trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal, signals, scope)
            nursery.start_soon(count)
            nursery.start_soon(wave)
            print(PVS)
            print(TRY.format(exports=exports(server.conf())))
            print(f"Serving on TCP port {server.conf()['EPICS_PVAS_SERVER_PORT']}. Ctrl-C ends it.", flush=True)
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
    print("The demo server has ended.")

"""Work only while somebody watches: the wave is computed as long as at least one client monitors it.

Try it: `python examples/while_monitored.py`, and in another shell `spmonitor demo:wave`;
this shell says when the work starts, and when it ends because the last monitor left.
"""

import numpy as np
import trio

from p4p_trio import Server, SharedPV
from p4p_trio.nt import NTScalar

wave = SharedPV(nt=NTScalar("ad"), initial=np.zeros(64))


@wave.while_monitored
async def compute(pv: SharedPV) -> None:
    print("somebody watches", flush=True)
    try:
        phase = np.linspace(0.0, 2 * np.pi, 64)
        while True:
            phase = phase + 0.1
            pv.post(np.sin(phase))
            await trio.sleep(0.1)
    finally:
        print("nobody watches", flush=True)


trio.run(Server.forever, [{"demo:wave": wave}])

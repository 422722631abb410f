"""p4p's thread client for the benchmark, run by the Python of p4p's own environment; see `client_ours.py`."""

import json
import sys
import threading
import time

from p4p.client.thread import Context

WARM = 0.2


def repeated(once, seconds):
    times = []
    cpu, end = time.process_time(), time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begun = time.perf_counter()
        once()
        times.append(time.perf_counter() - begun)
    return {"times": times, "cpu": time.process_time() - cpu}


def get(conf, count, seconds):
    names = [f"bench:{number}" for number in range(count)] if count > 1 else "bench:0"
    with Context("pva", conf=conf, useenv=False) as context:

        def once():
            found = context.get(names)
            assert found == 0.0 if count == 1 else found[-1] == count - 1

        repeated(once, WARM)
        return repeated(once, seconds)


def updates(conf, count, seconds):
    state = {}
    over = threading.Event()

    def update(value):
        now = time.perf_counter()
        if "warm" not in state:
            state["warm"] = now + WARM
        elif "begun" not in state:
            if now >= state["warm"]:
                state.update(begun=now, cpu=time.process_time(), first=float(value), received=0)
        elif not over.is_set():
            state["received"] += 1
            if now - state["begun"] >= seconds:
                state.update(elapsed=now - state["begun"], cpu=time.process_time() - state["cpu"], last=float(value))
                over.set()

    with Context("pva", conf=conf, useenv=False) as context:
        subscription = context.monitor("bench:flood", update)
        assert over.wait(60)
        subscription.close()
    return {
        "received": state["received"],
        "posted": state["last"] - state["first"],
        "seconds": state["elapsed"],
        "cpu": state["cpu"],
    }


def monitors(conf, count, seconds):
    times = []
    cpu = 0.0
    while not times or sum(times) < seconds:
        begun, cpu_before = time.perf_counter(), time.process_time()
        seen = set()
        all_there = threading.Event()

        def watcher(name, seen=seen, all_there=all_there):
            def update(_):
                seen.add(name)
                if len(seen) == count:
                    all_there.set()

            return update

        with Context("pva", conf=conf, useenv=False) as context:
            names = [f"bench:{number}" for number in range(count)]
            subscriptions = [context.monitor(name, watcher(name)) for name in names]
            assert all_there.wait(60)
            times.append(time.perf_counter() - begun)
            cpu += time.process_time() - cpu_before
            for subscription in subscriptions:
                subscription.close()
    return {"times": times, "cpu": cpu}


def main(work, count, seconds, conf):
    function = {"get": get, "updates": updates, "monitors": monitors}[work]
    print(json.dumps(function(json.loads(conf), int(count), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""spvirit's server (Rust) behind JSON lines; ends with stdin.

    spvirit_server.py TCP_PORT UDP_PORT

Runs under the Python of spvirit's own environment and imports nothing of this project.
"""

import json
import sys

import spvirit


def emit(**record):
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def main():
    refusing = spvirit.ao("refusing", 0.0)

    @refusing.on_put
    def refuse(pv, value):
        raise ValueError("must stay within 10 mm")

    pvs = [
        spvirit.ao("double", 1.5, units="mm", prec=3, alarm_limits=(-9.0, -8.0, 8.0, 9.0)),
        spvirit.ai("readonly", 2.5, units="K", desc="a reading"),
        spvirit.longout("int", 42),
        spvirit.string_out("text", "hello"),
        spvirit.bo("bool", True),
        spvirit.mbbo("enum", ["OFF", "STANDBY", "ON"], 1),
        spvirit.waveform("array", [0.0, 1.0, 2.0]),
        spvirit.waveform("image", bytes(100_000)),
        spvirit.scalar("ulong", 2**63, type="ulong", writable=True),
        refusing,
    ]
    server = spvirit.Server(
        pvs=pvs,
        port=int(sys.argv[1]),
        udp_port=int(sys.argv[2]),
        listen_ip="127.0.0.1",
        advertise_ip="127.0.0.1",
        compute_alarms=True,
        beacon_period=3600,  # they go to 224.0.0.128:5076, wherever that is routed to
    )
    server.start()
    by_name = {pv.name: pv for pv in pvs}
    emit(event="ready")
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "post":
            for value in command["values"]:
                by_name[command["name"]].set(value)
        emit(id=command.get("id"), result=None)


if __name__ == "__main__":
    main()

"""Beacons: their schedule, and their bytes as a pvxs server sends them."""

from p4p_trio.protocol.beacon import Beacons

GUID = bytes.fromhex("272225caf6ad8c377efecc59")


def test_bytes_as_pvxs_sends_them():
    # stream_beacons: session beacon_pvxs; pvxs puts the mapped 0.0.0.0 where we put all zeros (both mean "any")
    captured = bytes.fromhex(
        "ca02c000 00000027"  # BEACON, server, big endian, 39 bytes
        "272225caf6ad8c377efecc59"  # GUID
        "00 00 0001"  # flags, sequence, change count
        "00000000000000000000000000000000"  # address: any
        "5443 03746370 ff".replace(" ", "")  # port 21571, "tcp", no status
    )
    beacons = Beacons(GUID, 0x5443)
    beacons.changed()
    assert beacons.next(0.0) == captured


def test_explicit_address():
    datagram = Beacons(GUID, 5075, "10.0.0.7").next(0.0)
    assert datagram is not None
    assert datagram[24:40] == bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 7])


def test_schedule_is_a_burst_of_ten_then_every_three_minutes():
    beacons = Beacons(GUID, 5075)
    times, now = [], 100.0
    for _ in range(14):
        assert beacons.next(now) is not None
        times.append(now - 100.0)
        assert beacons.next(now) is None
        assert beacons.next(beacons.due - 0.001) is None
        now = beacons.due
    assert times == [0, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 330, 510, 690]


def test_after_a_long_sleep_one_beacon_not_many():
    beacons = Beacons(GUID, 5075)
    assert beacons.next(0.0)
    assert beacons.next(1000.0)
    assert beacons.next(1000.0) is None
    assert beacons.due == 1015.0


def test_counters_wrap():
    beacons = Beacons(GUID, 5075)
    beacons.change_count = 0xFFFF
    beacons.changed()
    assert beacons.change_count == 0
    beacons.changed()
    for turn in range(258):
        datagram = beacons.next(turn * 1000.0)
        assert datagram is not None
        assert datagram[21] == turn & 0xFF  # sequence
        assert datagram[22:24] == b"\x00\x01"  # change count

"""What waits to be sent, whatever the socket takes of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p4p_trio.protocol.output import Output


def test_pieces() -> None:
    output = Output()
    assert output.waiting() == []
    output.buffers.tail += b"abc"
    assert (output.size, output.backlog) == (3, 0)
    assert output.waiting() == [b"abc"]
    assert (output.size, output.backlog) == (3, 3)
    output.buffers.tail += b"de"
    assert output.waiting() == [b"abc", b"de"]
    output.sent(4)
    assert output.size == 1
    assert output.waiting() == [b"e"]
    output.clear()
    assert (output.size, output.backlog) == (0, 0)
    assert output.waiting() == []


def test_arrays_are_offered_as_bytes() -> None:
    output = Output()
    array = np.arange(3, dtype="<u2")
    output.buffers.tail += b"ab"
    output.buffers.attach(array.data.cast("B"))
    output.buffers.tail += b"c"
    assert [bytes(piece) for piece in output.waiting()] == [b"ab", array.tobytes(), b"c"]
    output.sent(3)
    assert b"".join(output.waiting()) == array.tobytes()[1:] + b"c"


@given(st.lists(st.one_of(st.binary(max_size=9), st.integers(0, 12)), max_size=20))
def test_order_is_kept(steps: list[bytes | int]) -> None:
    output = Output()
    written, sent = b"", b""
    for step in steps:
        if isinstance(step, bytes):
            output.buffers.tail += step
            written += step
        else:
            taken = b"".join(output.waiting())[:step]
            output.sent(len(taken))
            sent += taken
        assert output.size == len(written) - len(sent)
    assert sent + b"".join(output.waiting()) == written

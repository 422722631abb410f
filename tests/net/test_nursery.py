"""service_nursery: the caller's exception comes out bare, ours comes out loud."""

import pytest
import trio

from p4p_trio.net.nursery import service_nursery


async def crash():
    raise LookupError("our bug")


async def test_clean_exit_cancels_the_tasks():
    ended = []

    async def task():
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    async with service_nursery() as nursery:
        nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
    assert ended == [True]


@pytest.mark.parametrize("failure", [ValueError("x"), ExceptionGroup("g", [ValueError("x")]), KeyboardInterrupt()])
async def test_the_bodys_exception_is_bare(failure):
    async def service():
        async with service_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise failure

    with pytest.raises(type(failure)) as caught:
        await service()
    assert caught.value is failure


async def test_outer_cancellation():
    with trio.move_on_after(0) as scope:
        async with service_nursery():
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_crash_of_a_task():
    with pytest.RaisesGroup(LookupError):
        async with service_nursery() as nursery:
            nursery.start_soon(crash)
            await trio.sleep_forever()


async def test_crash_and_failing_body():
    with pytest.RaisesGroup(LookupError) as caught:
        async with service_nursery() as nursery:
            nursery.start_soon(crash)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("body")
    assert isinstance(caught.value.__cause__, ValueError)


async def test_break_and_continue():
    turns = []
    for turn in range(3):
        async with service_nursery():
            turns.append(turn)
            if turn == 0:
                continue
            break
    assert turns == [0, 1]


async def test_the_bodys_error_survives_a_cancellation_during_the_clean_up():
    async def clean_up_slowly(outer):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                outer.cancel()
                await trio.lowlevel.checkpoint()

    async def fail(outer):
        async with service_nursery() as nursery:
            nursery.start_soon(clean_up_slowly, outer)
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError("mine")

    with trio.CancelScope() as outer, pytest.raises(ValueError, match="mine"):
        await fail(outer)

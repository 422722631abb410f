"""Many PVs at once: a list of names is read in one call, in about the time that one takes.

Try it: `python examples/dynamic.py`, and in another shell `python examples/gather.py`
"""

import trio

from p4p_trio import Context, TooSlowError


async def main() -> None:
    async with Context() as context:
        with context.fail_after(10):
            squares = await context.get([f"square:{number}" for number in range(100)])
        print(f"{len(squares)} squares, {sum(squares):g} in all", flush=True)

        try:
            with context.fail_after(1):
                await context.get(["square:3", "cube:3"])
        except TooSlowError as exc:  # nobody has one of them: the text says which
            print(exc, flush=True)


trio.run(main)

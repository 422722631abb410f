"""A client: reads a number, writes it, and follows it.

Try it: `python examples/mailbox.py`, and in another shell `python examples/client.py`: it adds 1 to the
mailbox, and then prints whatever anybody puts. Ctrl-C ends it.
"""

from contextlib import suppress

import trio

from p4p_trio import Context


async def main() -> None:
    async with Context() as context:
        with context.fail_after(5):  # the error says what was waited for, and from whom
            value = await context.get("demo:mailbox")
            await context.put("demo:mailbox", value + 1)
        async with context.monitor("demo:mailbox") as updates:
            async for value in updates:
                print(f"demo:mailbox is {value:g}", flush=True)


with suppress(KeyboardInterrupt):
    trio.run(main)

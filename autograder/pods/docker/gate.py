"""Number 1 of the container that holds a playground's network: carries what comes to its ports on to ``localhost``.

    python -I -S gate.py 18501:8501 18500:8500

Docker publishes a port only of a server that listens on all addresses. One that listens on 127.0.0.1, as uvicorn does
by default, works in a terminal and in a graded pod, so it has to work here: the gate listens, and calls it up.
Nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

CHUNK = 1 << 16


async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Everything from one to the other, and its end."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """One connection; where nobody listens it is closed without a word."""
    there = None
    with contextlib.suppress(OSError):
        answers, there = await asyncio.open_connection("localhost", port)
        await asyncio.gather(carry(reader, there), carry(answers, writer))
    for end in (writer, there):
        if end is not None:
            end.close()


async def main(pairs: list[str]) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    for pair in pairs:
        ours, _, theirs = pair.partition(":")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = int(theirs)) -> None:
            await pass_on(reader, writer, port)

        await asyncio.start_server(serve, "0.0.0.0", int(ours))
    await over.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

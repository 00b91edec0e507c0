"""What the radio's child processes share: they say when they are ready and leave with their parent."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from typing import Final

MAX_COMMAND_BYTES: Final = 4096
"""Longest command line a parent may send."""


def announce_ready(**facts: object) -> None:
    """Tell the parent, by one JSON line on standard output, that this process is ready."""
    print(json.dumps({"ready": True, **facts}), flush=True)


async def until_parent_leaves(on_command: Callable[[str], None] | None = None) -> None:
    """Return when standard input ends, or on SIGTERM or SIGINT.

    The parent holds the other end of the pipe, and the kernel closes it however the parent ends, SIGKILL included.

    Args:
        on_command: called with each line the parent sends, without its end.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    reader = asyncio.StreamReader(limit=MAX_COMMAND_BYTES)
    try:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (OSError, ValueError):
        # Started by hand with standard input from a file or /dev/null: there is no parent to follow.
        await asked.wait()
        return

    async def read() -> None:
        while line := await reader.readline():
            if on_command is not None:
                on_command(line.decode(errors="replace").strip())

    reading = asyncio.ensure_future(read())
    waiting = asyncio.ensure_future(asked.wait())
    done, pending = await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    transport.close()
    for task in done:
        task.result()

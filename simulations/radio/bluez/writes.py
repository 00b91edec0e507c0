"""Writes without response that wait for the link: answered at once, as long as not too much waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bumble.core import BaseBumbleError

logger = logging.getLogger(__name__)

MAX_QUEUED_BYTES: Final = 64 * 1024
"""What may wait for one device. The kernel's socket, by default, takes something of this order (net.core.wmem_default
is 208 KiB, of which it counts several hundred bytes of its own for each value); bluetoothd itself has no bound."""
HEADER_BYTES: Final = 7
"""L2CAP's length and channel, ATT's opcode and handle: what goes with a value, and makes an empty one count."""


@dataclass(frozen=True, slots=True)
class _Write:
    send: Callable[[], Awaitable[None]]
    size: int


class WriteQueue:
    """The values on their way to one connected device, in the order of the calls.

    Args:
        room: waits until the controller can take another packet.
    """

    def __init__(self, room: Callable[[], Awaitable[None]]) -> None:
        self._room = room
        self._waiting: asyncio.Queue[_Write | asyncio.Future[None]] = asyncio.Queue()
        self._bytes = 0
        self._left = asyncio.Event()
        self._callers = asyncio.Lock()
        self._passing_on = asyncio.get_running_loop().create_task(self._pass_on())

    async def put(self, send: Callable[[], Awaitable[None]], length: int) -> None:
        """Take a write; waits while the queue is full.

        May wait for as long as the connection lives; callers bound it.

        Args:
            send: hands it to the controller.
            length: bytes of its value.
        """
        size = length + HEADER_BYTES
        async with self._callers:
            while self._bytes + size > MAX_QUEUED_BYTES:
                self._left.clear()
                await self._left.wait()
            self._bytes += size
            self._waiting.put_nowait(_Write(send, size))

    async def turn(self) -> None:
        """Wait until all that was put before has left, so that a request does not overtake it; callers bound it."""
        async with self._callers:
            if not self._bytes:
                return
            turn = asyncio.get_running_loop().create_future()
            self._waiting.put_nowait(turn)
        await turn

    def close(self) -> None:
        """The connection has ended: what still waits is lost, though its callers were told that it was taken."""
        self._passing_on.cancel()

    async def _pass_on(self) -> None:
        while True:
            item = await self._waiting.get()
            if isinstance(item, asyncio.Future):
                if not item.done():
                    item.set_result(None)
                continue
            await self._room()
            try:
                await item.send()
            except BaseBumbleError as error:  # its caller has had an answer
                logger.warning("a write without response is lost: %s", error)
            self._bytes -= item.size
            self._left.set()

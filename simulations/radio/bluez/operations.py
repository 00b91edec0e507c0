"""GATT operations on one connection: they end with it, and keep to the order of the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from bumble import core

from simulations.radio.bluez.errors import connection_gone, from_bumble, in_progress
from simulations.radio.bluez.writes import WriteQueue

OPERATION_S: Final = 30.0
"""ATT transaction timeout (Core, Vol 3, Part F, 3.3.3)."""
MAX_PENDING: Final = 64
"""Operations one device may have waiting; more are told to come back (InProgress)."""

Result = TypeVar("Result")


class Operations:
    """What a connection carries out for the clients.

    Args:
        gone: done when the connection has ended.
        room: waits until the controller can take another packet.
    """

    def __init__(self, gone: asyncio.Future[int], room: Callable[[], Awaitable[None]]) -> None:
        self._gone = gone
        self._writes = WriteQueue(room)
        self._pending = 0

    async def command(self, send: Callable[[], Awaitable[None]], length: int) -> None:
        """Queue a write without response.

        Args:
            send: hands it to the controller.
            length: bytes of its value.

        Raises:
            BluezError: the connection ended, or too many operations wait, before there was room in the queue.
        """
        await self.transact(self._writes.put(send, length))

    async def request(self, operation: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run an operation after the writes that were queued before it.

        Raises:
            BluezError: as `transact`.
        """
        return await self.transact(self._in_turn(operation))

    async def _in_turn(self, operation: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        await self._writes.turn()
        return await operation()

    async def transact(self, operation: Coroutine[Any, Any, Result]) -> Result:
        """Run an operation at once; it ends with the connection.

        Raises:
            BluezError: the operation failed or took too long, the connection ended first, or too many are waiting.
        """
        if self._gone.done() or self._pending >= MAX_PENDING:
            operation.close()
            raise connection_gone() if self._gone.done() else in_progress()
        self._pending += 1
        task = asyncio.create_task(operation)
        try:
            watched: set[asyncio.Future[Any]] = {task, self._gone}
            await asyncio.wait(watched, timeout=OPERATION_S, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise connection_gone() if self._gone.done() else from_bumble(TimeoutError())
            if task.cancelled():  # Bumble cancels what waits for a response when the link goes
                raise connection_gone()
            return task.result()
        except (core.BaseBumbleError, TimeoutError) as error:
            raise from_bumble(error) from error
        finally:
            self._pending -= 1
            await dispose(task)

    def close(self) -> None:
        """The connection has ended."""
        self._writes.close()


async def dispose(task: asyncio.Future[Any]) -> None:
    """Make sure that a task has ended; how it ended no longer matters to anyone."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()

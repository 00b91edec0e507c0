"""Values of the machine that are read beside the event loop: whoever asks never waits, and never gets an old one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from shared.clock import Clock
from shared.wire.waiting import retrieve, within

T = TypeVar("T")

FRESH_S: Final = 5.0
"""A value younger than this is not read again."""
STALE_S: Final = 60.0
"""A value older than this is not believed, unless it is one that changes slowly."""
READ_S: Final = 2.0
"""Longest time one reading may take; a sensor behind a slow bus may need a tenth of a second."""


class Sensor(Generic[T]):
    """The last value read, which asking renews in the background when it has aged.

    Args:
        read: reads it, without keeping the event loop busy; a failure counts as `unknown`.
        unknown: given where nothing is known.
        clock: ages the value.
        stale_s: seconds after which it is not believed any more.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], *, unknown: T, clock: Clock, stale_s: float = STALE_S) -> None:
        self._read = read
        self._unknown = unknown
        self._clock = clock
        self._stale_s = stale_s
        self._value = unknown
        self._read_at: float | None = None
        self._reading: asyncio.Task[T] | None = None

    def __call__(self) -> T:
        """The value, at most `stale_s` old, else `unknown`; begins to read it anew where it has aged."""
        age = float("inf") if self._read_at is None else self._clock.monotonic() - self._read_at
        if age > FRESH_S and self._reading is None:
            self._reading = asyncio.create_task(self.refresh(), name="wayword-sensor")
            self._reading.add_done_callback(self._done)
        return self._value if age <= self._stale_s else self._unknown

    async def refresh(self) -> T:
        """Read it now."""
        try:
            self._value = await within(self._clock, READ_S, self._read())
        except TimeoutError:
            self._value = self._unknown
        self._read_at = self._clock.monotonic()
        return self._value

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _done(self, task: asyncio.Task[T]) -> None:
        self._reading = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # A sensor that breaks is a mistake of ours: said aloud, and the value stays unknown.
            self._value, self._read_at = self._unknown, self._clock.monotonic()
            context = {"message": "a sensor could not be read", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


def in_thread(read: Callable[[], T]) -> Callable[[], Awaitable[T]]:
    """A reader of files as `Sensor` wants it: some sensors take their time on the way through the kernel.

    One thread at a time: a sensor that hangs must not take, reading after reading, the threads that the ledger needs.
    """
    running: asyncio.Task[T] | None = None

    async def again() -> T:
        nonlocal running
        if running is None or running.done():
            running = asyncio.create_task(asyncio.to_thread(read), name="wayword-sensor-thread")
            running.add_done_callback(retrieve)
        return await asyncio.shield(running)

    return again

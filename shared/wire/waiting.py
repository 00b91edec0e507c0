"""Waiting on an injected clock: a call with a limit, and an alarm that can also be rung by hand, growing pauses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import TypeVar

from shared.clock import Clock
from shared.errors import LinkLost

T = TypeVar("T")

_SHORTEST_SLEEP_S = 0.001  # an alarm that is already due still lets others run


async def within(clock: Clock, seconds: float, awaitable: Awaitable[T]) -> T:
    """The result of `awaitable`, which is cancelled when it takes longer than `seconds`.

    Raises:
        TimeoutError: it took longer.
        LinkLost: the awaitable cancelled itself, as Bumble's requests do when their connection ends. A cancellation
            of the caller stays a `CancelledError`.
    """
    task = asyncio.ensure_future(awaitable)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError(f"no result within {seconds:g} s")
        if task.cancelled():
            raise LinkLost("the connection ended during a call")
        return task.result()
    finally:
        timer.cancel()
        if not task.done():
            task.add_done_callback(retrieve)
            task.cancel()


def retrieve(task: asyncio.Future[T]) -> None:
    """Done-callback of a task whose waiter has gone: asyncio must not complain that nobody asks for its failure."""
    if not task.cancelled():
        task.exception()


class Backoff:
    """Pauses between attempts: doubling up to a cap, each between half and all of its length.

    Args:
        rng: source of the jitter, so that two devices that lost each other do not stay in step.
        first: seconds of the first pause.
        cap: seconds of the longest.
    """

    def __init__(self, rng: random.Random, *, first: float, cap: float) -> None:
        self._rng = rng
        self._first = first
        self._cap = cap
        self._next = first

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        pause, self._next = self._next, min(self._cap, self._next * 2)
        return pause * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """An attempt succeeded."""
        self._next = self._first


class Alarm:
    """An event with a time at which it rings by itself.

    Args:
        clock: source of time; `wait` takes times of `clock.monotonic`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        self._rings_at = 0.0

    def ring(self) -> None:
        """Wake whoever waits, now or at its next `wait`."""
        self._event.set()

    async def wait(self, until: float | None) -> None:
        """Return when rung since the last return, or at `until` (None for never), or somewhat earlier."""
        if until is not None and (self._timer is None or self._timer.done() or until < self._rings_at):
            self.cancel()
            self._rings_at = until
            self._timer = asyncio.ensure_future(self._ring_at(until))
        await self._event.wait()
        self._event.clear()

    def cancel(self) -> None:
        """Forget the time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _ring_at(self, until: float) -> None:
        await self._clock.sleep(max(_SHORTEST_SLEEP_S, until - self._clock.monotonic()))
        self._event.set()

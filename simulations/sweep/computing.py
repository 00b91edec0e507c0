"""Virtual time in which computing takes time: a job for a thread occupies a worker for as long as it says it takes.

A job runs at once, in the loop's thread; while it runs it calls `compute(seconds)`, and its future completes when a
worker of its executor would have finished it. An executor's workers take jobs in the order they were handed in, one
each at a time. A job that declares nothing takes no time, as in `simulations.virtual_time`.
"""

from __future__ import annotations

import asyncio
import heapq
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from simulations.virtual_time import START_S, VirtualClock, VirtualTimeLoop, run_on

T = TypeVar("T")

_MAX_JOB_S: Final = 3600.0
"""A job that declares more is a mistake."""


class ComputingLoop(VirtualTimeLoop):
    """`VirtualTimeLoop` whose executors take the time that their jobs declare."""

    def __init__(self, *, start: float = START_S, max_rounds: int | None = None) -> None:
        super().__init__(start=start, max_rounds=max_rounds)
        self._declared: float | None = None  # seconds declared by the job that runs; None while none does
        self._free_at: weakref.WeakKeyDictionary[Any, list[float]] = weakref.WeakKeyDictionary()

    def declare(self, seconds: float) -> None:
        """The job that runs computes for so long; see `compute`."""
        if self._declared is None:
            raise RuntimeError("only a job of an executor computes")
        if not 0.0 <= seconds <= _MAX_JOB_S:
            raise ValueError(f"a job cannot compute for {seconds} s")
        self._declared += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run `func` at once; the future completes when one of the executor's workers would be done with it."""
        before, self._declared = self._declared, 0.0
        try:
            done = super().run_in_executor(executor, func, *args)
            seconds = self._declared
        finally:
            self._declared = before
        if not seconds:
            return done
        ready = self._occupy(executor, seconds)
        future: asyncio.Future[T] = self.create_future()
        self.call_at(ready, _hand_over, done, future)
        return future

    def _occupy(self, executor: Any, seconds: float) -> float:
        """When the worker that is free first has computed for `seconds`."""
        now = self.time()
        if executor is None:  # asyncio's own threads: as many as anybody needs
            return now + seconds
        workers = self._free_at.get(executor)
        if workers is None:
            workers = self._free_at[executor] = [now] * int(getattr(executor, "_max_workers", 1))
        ready = max(now, workers[0]) + seconds
        heapq.heapreplace(workers, ready)
        return ready


def compute(seconds: float) -> None:
    """Say, from inside a job of an executor, that it computes for so long.

    Raises:
        RuntimeError: this is no job of an executor, or the loop is no `ComputingLoop`.
        ValueError: `seconds` is negative, not a number, or more than an hour.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, ComputingLoop):
        raise RuntimeError("computing takes no time on this loop")
    loop.declare(seconds)


def run_computing(
    main: Callable[[VirtualClock], Coroutine[Any, Any, T]], *, start: float = START_S, max_rounds: int | None = None
) -> T:
    """`simulations.virtual_time.run` on a `ComputingLoop`."""
    return run_on(ComputingLoop(start=start, max_rounds=max_rounds), main)


def _hand_over(done: asyncio.Future[T], future: asyncio.Future[T]) -> None:
    error = done.exception()
    if future.done():  # whoever asked has gone away
        return
    if error is None:
        future.set_result(done.result())
    else:
        future.set_exception(error)

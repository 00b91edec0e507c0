"""Who computes what, and when it is better to say no at once.

A few worker threads, each with models of its own, take jobs in the order they came. A call that cannot be served
before its deadline is refused when it arrives, while the caller still has time for another answer; a call that was
cancelled or expired while it waited is never computed. There is no batching: on one CPU thread a batch of crops takes
as long as the crops one by one.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from cloud.refusals import Reason, Refusal
from shared.clock import Clock

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

SMOOTHING: Final = 0.2
"""Weight of the newest measurement in the running estimates of seconds per unit of cost and of their deviation."""
DEVIATIONS: Final = 2.0
"""Mean absolute deviations above the mean that a job is expected to take: most take less, for whatever their spread."""
MIN_RETRY_AFTER_S: Final = 0.05
"""A refused caller is never told to come back sooner than this."""


@dataclass(eq=False, slots=True)
class _Waiting(Generic[JobT, ResultT]):
    job: JobT
    cost: float
    deadline: float
    answer: asyncio.Future[ResultT]


@dataclass(eq=False, slots=True)
class _Running:
    cost: float
    started: float


class WorkEstimate:
    """Seconds per unit of cost: a running mean with a margin, as in TCP's retransmission timeout (Jacobson, 1988).

    The mean alone would admit every second job of a full queue in vain: a line that needs a second look takes several
    times as long as one that does not. As jobs vary independently, the margin of many together grows with the square
    root of the sum of their squares.

    Args:
        seconds_per_unit: first estimate of the mean; nothing is known of the deviation then.
    """

    def __init__(self, seconds_per_unit: float) -> None:
        self._mean = seconds_per_unit
        self._deviation = 0.0

    def measured(self, seconds_per_unit: float) -> None:
        """One job took so long."""
        self._deviation += SMOOTHING * (abs(seconds_per_unit - self._mean) - self._deviation)
        self._mean += SMOOTHING * (seconds_per_unit - self._mean)

    def mean(self, cost: float) -> float:
        """Seconds a job of this cost takes on average."""
        return cost * self._mean

    def margin(self, costs: Iterable[float]) -> float:
        """Seconds by which jobs of these costs, one after the other, may well exceed their average."""
        return DEVIATIONS * self._deviation * math.sqrt(sum(cost * cost for cost in costs))


class Scheduler(Generic[JobT, ResultT]):
    """Admits jobs and runs them on worker threads. Use from one event loop.

    Args:
        workers: each is called from one thread at a time.
        clock: deadlines and measurements.
        max_waiting: jobs that may wait for a worker.
        seconds_per_unit: first estimate of the work behind one unit of cost; measured from then on.
    """

    def __init__(
        self,
        workers: Sequence[Callable[[JobT], ResultT]],
        *,
        clock: Clock,
        max_waiting: int,
        seconds_per_unit: float,
    ) -> None:
        self._idle = list(workers)
        self._worker_count = len(workers)
        self._clock = clock
        self._max_waiting = max_waiting
        self._work = WorkEstimate(seconds_per_unit)
        self._waiting: deque[_Waiting[JobT, ResultT]] = deque()
        self._running: dict[asyncio.Future[ResultT], _Running] = {}
        self._pool = ThreadPoolExecutor(len(workers), thread_name_prefix="reader")
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs that wait for a worker."""
        return len(self._waiting)

    def estimated_wait(self) -> float:
        """Seconds until a worker is free for a job that came now, on average."""
        if self._idle:
            return 0.0
        now = self._clock.monotonic()
        ahead = sum(self._work.mean(item.cost) for item in self._waiting)
        ahead += sum(max(self._work.mean(item.cost) - (now - item.started), 0.0) for item in self._running.values())
        return ahead / self._worker_count

    def _latest_end(self, cost: float) -> float:
        """Seconds until a job of this cost, if it came now, is done but in bad luck."""
        ahead = [item.cost for item in self._waiting] + [item.cost for item in self._running.values()]
        costs = [*(one / self._worker_count for one in ahead), cost]
        return self.estimated_wait() + self._work.mean(cost) + self._work.margin(costs)

    async def submit(self, job: JobT, *, cost: float, deadline: float) -> ResultT:
        """Run one job.

        Args:
            job: what a worker is called with.
            cost: expected work, in any unit used for every job.
            deadline: on the clock; the job is not started after it.

        Raises:
            Refusal: DRAINING, EXPIRED, or OVERLOADED with the time after which to try again.
            Exception: whatever the worker raised.
        """
        if self._closed:
            raise Refusal(Reason.DRAINING, "the service is shutting down")
        now = self._clock.monotonic()
        if deadline <= now:
            raise _expired()
        # An idle worker takes any job: were it refused for a too dark estimate, no measurement would ever mend that.
        if not self._idle and (len(self._waiting) >= self._max_waiting or now + self._latest_end(cost) > deadline):
            raise Refusal(
                Reason.OVERLOADED,
                "no capacity before the deadline of the call",
                retry_after_s=max(self.estimated_wait(), MIN_RETRY_AFTER_S),
            )
        item = _Waiting[JobT, ResultT](job, cost, deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._dispatch()
        try:
            return await item.answer
        finally:
            # Cancelled while it waited: make room for another at once.
            if item in self._waiting:
                self._waiting.remove(item)

    async def close(self) -> None:
        """Refuse new jobs, and return when the jobs that run or wait are done."""
        self._closed = True
        while self._running:
            await asyncio.wait(set(self._running))
        self._pool.shutdown(wait=False)

    def _dispatch(self) -> None:
        while self._idle and self._waiting:
            item = self._waiting.popleft()
            if item.answer.done():
                continue
            now = self._clock.monotonic()
            if item.deadline <= now:
                item.answer.set_exception(_expired())
                continue
            worker = self._idle.pop()
            work = asyncio.get_running_loop().run_in_executor(self._pool, worker, item.job)
            self._running[work] = _Running(item.cost, now)
            work.add_done_callback(partial(self._finish, item, worker))

    def _finish(
        self,
        item: _Waiting[JobT, ResultT],
        worker: Callable[[JobT], ResultT],
        work: asyncio.Future[ResultT],
    ) -> None:
        run = self._running.pop(work)
        self._idle.append(worker)
        error = work.exception()
        if error is None:
            self._work.measured((self._clock.monotonic() - run.started) / run.cost)
        # A caller that went away takes neither the result nor the error.
        if not item.answer.done():
            if error is None:
                item.answer.set_result(work.result())
            else:
                item.answer.set_exception(error)
        self._dispatch()


def _expired() -> Refusal:
    return Refusal(Reason.EXPIRED, "the deadline of the call passed before it could be computed")

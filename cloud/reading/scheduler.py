"""Who computes what, and when it is better to say no at once.

A few worker threads, each with models of its own, take the most urgent job first (earliest deadline first, which for
jobs of one deadline is the order they came in; Liu and Layland, 1973); jobs of batches come after those of phones and
never hold every worker. A call that cannot be served before its deadline is refused when it arrives, while the caller
still has time for another answer, and so is one that would push an admitted call past its own. A call that was
cancelled or expired while it waited is never computed, and one that is being computed then is stopped where it can be
(see `claims`).
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final, Generic, TypeVar

from cloud.estimates import WorkEstimate
from cloud.reading.claims import Claim, expired, on_behalf_of
from cloud.reading.threads import stand_back
from cloud.refusals import Reason, Refusal
from shared.clock import Clock

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

HEADROOM: Final = 0.75
"""A job is admitted if it is expected to be done within this share of its time. The spread of jobs is in the margin
already; this is for what slows all of them at once, such as other work on the machine. Beyond capacity it costs
nothing: the queue is shorter, and never empty. A judgement."""
MIN_RETRY_AFTER_S: Final = 0.05
"""A refused caller is never told to come back sooner than this."""


@dataclass(eq=False, slots=True)
class _Item(Generic[JobT, ResultT]):
    """One job. `rank` orders those that wait."""

    job: JobT
    cost: float
    work: WorkEstimate
    rank: tuple[bool, float, int]
    claim: Claim
    answer: asyncio.Future[ResultT]
    started: float = 0.0

    @property
    def urgent(self) -> bool:
        return not self.rank[0]


def _rank(item: _Item[JobT, ResultT]) -> tuple[bool, float, int]:
    return item.rank


class Scheduler(Generic[JobT, ResultT]):
    """Admits jobs and runs them on worker threads. Use from one event loop.

    Args:
        workers: each is called from one thread at a time.
        clock: deadlines and measurements.
        max_waiting: jobs that may wait for a worker; to urgent ones those of batches do not count.
        seconds_per_unit: first estimate of the work behind one unit of cost; measured from then on, for each kind of
            job by itself.
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
        # One worker is always left to phones, where there are two.
        self._background_count = max(1, len(workers) - 1)
        self._clock = clock
        self._max_waiting = max_waiting
        self._work = defaultdict[str, WorkEstimate](lambda: WorkEstimate(seconds_per_unit))
        self._waiting: list[_Item[JobT, ResultT]] = []
        self._running: dict[asyncio.Future[ResultT], _Item[JobT, ResultT]] = {}
        self._pool = ThreadPoolExecutor(len(workers), thread_name_prefix="reader", initializer=stand_back)
        self._numbers = count()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs that wait for a worker."""
        return len(self._waiting)

    def estimated_wait(self, *, urgent: bool = True) -> float:
        """Seconds until a worker is free for the last in the queue, on average."""
        if self._free(urgent=urgent):
            return 0.0
        ahead = sum(item.work.mean(item.cost) for item in self._waiting if item.urgent or not urgent)
        return (ahead + self._running_left()) / self._worker_count

    def _free(self, *, urgent: bool) -> bool:
        if not self._idle:
            return False
        return urgent or sum(not item.urgent for item in self._running.values()) < self._background_count

    def _is_full(self, *, urgent: bool) -> bool:
        """Whether no more may wait; those of batches take no place of a phone's."""
        return sum(item.urgent or not urgent for item in self._waiting) >= self._max_waiting

    def _running_left(self) -> float:
        now = self._clock.monotonic()
        return sum(item.work.left(item.cost, now - item.started) for item in self._running.values())

    def _fits(self, new: _Item[JobT, ResultT]) -> bool:
        """Whether a job would be done well before its deadline but in bad luck, and make no admitted one late."""
        now = self._clock.monotonic()
        workers = self._worker_count
        ahead = self._running_left()
        squares = sum(item.work.spread(item.cost) ** 2 for item in self._running.values())
        place = bisect_right(self._waiting, new.rank, key=_rank)

        def end(item: _Item[JobT, ResultT], ahead: float, squares: float) -> float:
            margin = math.sqrt(squares / workers**2 + item.work.spread(item.cost) ** 2)
            return now + ahead / workers + item.work.mean(item.cost) + margin

        for item in self._waiting[:place]:
            ahead += item.work.mean(item.cost)
            squares += item.work.spread(item.cost) ** 2
        if end(new, ahead, squares) > now + HEADROOM * (new.claim.deadline - now):
            return False
        more, more_squares = new.work.mean(new.cost), new.work.spread(new.cost) ** 2
        for item in self._waiting[place:]:
            # Batches give way to phones, and a job that is late already is not saved by refusing another.
            if item.urgent or not new.urgent:
                deadline = item.claim.deadline
                if end(item, ahead, squares) <= deadline < end(item, ahead + more, squares + more_squares):
                    return False
            ahead += item.work.mean(item.cost)
            squares += item.work.spread(item.cost) ** 2
        return True

    async def submit(self, job: JobT, *, cost: float, deadline: float, kind: str = "", urgent: bool = True) -> ResultT:
        """Run one job.

        Args:
            job: what a worker is called with.
            cost: expected work, in any unit used for every job.
            deadline: on the clock; the job is not started after it.
            kind: jobs of one kind take a like time for their cost.
            urgent: False for a job that gives way to all that are.

        Raises:
            Refusal: DRAINING, EXPIRED, or OVERLOADED with the time after which to try again.
            Exception: whatever the worker raised.
        """
        if self._closed:
            raise Refusal(Reason.DRAINING, "the service is shutting down")
        if deadline <= self._clock.monotonic():
            raise expired()
        item = _Item[JobT, ResultT](
            job,
            cost,
            self._work[kind],
            (not urgent, deadline, next(self._numbers)),
            Claim(deadline),
            asyncio.get_running_loop().create_future(),
        )
        # An idle worker takes any job: were it refused for a too dark estimate, no measurement would ever mend that.
        if not self._free(urgent=urgent) and (self._is_full(urgent=urgent) or not self._fits(item)):
            raise Refusal(
                Reason.OVERLOADED,
                "no capacity before the deadline of the call",
                retry_after_s=max(self.estimated_wait(urgent=urgent), MIN_RETRY_AFTER_S),
            )
        insort(self._waiting, item, key=_rank)
        self._dispatch()
        try:
            return await item.answer
        finally:
            item.claim.left = True
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
        # Those of batches are last: when the first may not start, no other may.
        while self._waiting and self._free(urgent=self._waiting[0].urgent):
            item = self._waiting.pop(0)
            if item.answer.done():
                continue
            now = self._clock.monotonic()
            if item.claim.deadline <= now:
                item.answer.set_exception(expired())
                continue
            worker = self._idle.pop()
            item.started = now
            work = asyncio.get_running_loop().run_in_executor(self._pool, _serve, worker, item)
            self._running[work] = item
            work.add_done_callback(partial(self._finish, worker))

    def _finish(self, worker: Callable[[JobT], ResultT], work: asyncio.Future[ResultT]) -> None:
        item = self._running.pop(work)
        self._idle.append(worker)
        took = (self._clock.monotonic() - item.started) / item.cost
        error = work.exception()
        if error is None:
            item.work.measured(took)
        elif isinstance(error, Refusal) and error.reason is Reason.EXPIRED:
            item.work.not_below(took)
        # A caller that went away takes neither the result nor the error.
        if not item.answer.done():
            if error is None:
                item.answer.set_result(work.result())
            else:
                item.answer.set_exception(error)
        self._dispatch()


def _serve(worker: Callable[[JobT], ResultT], item: _Item[JobT, ResultT]) -> ResultT:
    """In the worker's thread."""
    with on_behalf_of(item.claim):
        return worker(item.job)

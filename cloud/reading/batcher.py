"""One queue of lines for all workers, and a few threads that put them through the recogniser.

Lines of equal width form a bucket, so nothing is padded: padding changes what is read. The bucket with the most urgent
line goes first (earliest deadline first), with as many of its lines as a batch may have, the most urgent ones. Where a
batch pays, on a GPU, a thread that finds fewer waits a moment for more, unless a deadline is near; on a CPU thread a
batch takes as long as its lines one by one, so there it is one line and no waiting (`docs/serving.md`).

A line whose deadline passed or whose caller left is never computed. The queue is bounded: who finds it full is
refused, like any call beyond capacity.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, TypeVar

from cloud.reading.claims import Claim, current_claim, expired
from cloud.reading.threads import stand_back
from cloud.refusals import Reason, Refusal
from shared.clock import Clock
from shared.errors import WaywordError
from shared.limits import MAX_WAITING_CROPS

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

RETRY_AFTER_S: Final = 0.2
"""When to come back after a full queue: some batches later."""
WAKE_S: Final = 0.25
"""How often who waits looks whether its result is still wanted."""
CLOSE_S: Final = 10.0
"""Longest wait for a batch under way when the batcher is closed."""
_LINGER_SHARE: Final = 0.1  # of the time a line has left that may be spent on waiting for company


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How lines are put together.

    Attributes:
        max_batch: lines of one call of the network.
        linger_s: longest wait for more lines of a bucket.
        max_waiting: lines that wait at once, all buckets together.
    """

    max_batch: int = 1
    linger_s: float = 0.0
    max_waiting: int = MAX_WAITING_CROPS


ON_CPU: Final = BatchPlan()
"""A batch takes as long as its lines one by one: `wayword-cloud bench serving`."""
ON_GPU: Final = BatchPlan(max_batch=16, linger_s=0.002)
"""A judgement, not a measurement: 2 ms is little beside a deadline of a second or more."""


class BatcherClosed(WaywordError):
    """The service is shutting down."""


@dataclass(eq=False, slots=True)
class _Group(Generic[ResultT]):
    """What one caller waits for."""

    results: list[ResultT | None]
    undone: int
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def settle(self, index: int, result: ResultT) -> None:
        self.results[index] = result
        self.undone -= 1
        if self.undone == 0:
            self.done.set()

    def fail(self, error: Exception) -> None:
        self.error = self.error or error
        self.done.set()


@dataclass(eq=False, slots=True)
class _Entry(Generic[ItemT, ResultT]):
    item: ItemT
    index: int
    number: int
    group: _Group[ResultT]
    claim: Claim

    @property
    def urgency(self) -> tuple[float, int]:
        return (self.claim.deadline, self.number)


class Batcher(Generic[ItemT, ResultT]):
    """Computes items of many threads in batches of one bucket each. Safe for threads.

    Args:
        computers: each is called from a thread of its own with the items of a batch, and answers in their order.
        clock: of the deadlines. The short waits for company are real time.
        plan: how items are put together.
    """

    def __init__(
        self,
        computers: Sequence[Callable[[Sequence[ItemT]], Sequence[ResultT]]],
        *,
        clock: Clock,
        plan: BatchPlan = ON_CPU,
    ) -> None:
        self._clock = clock
        self._plan = plan
        self._changed = threading.Condition()
        self._buckets: dict[int, list[_Entry[ItemT, ResultT]]] = {}
        self._waiting = 0
        self._number = 0
        self._closed = False
        self.batches: deque[int] = deque(maxlen=1024)
        """Sizes of the last batches, for measurements."""
        self._threads = [
            threading.Thread(target=self._run, args=(computer,), name=f"session-{index}", daemon=True)
            for index, computer in enumerate(computers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return self._waiting

    def compute(self, items: Sequence[tuple[int, ItemT]]) -> list[ResultT]:
        """Wait for the results of some items, on behalf of the claim of this thread.

        Args:
            items: each with its bucket.

        Returns:
            One result per item, in their order.

        Raises:
            Refusal: EXPIRED when the claim is over, OVERLOADED when there is no room.
            BatcherClosed: no more is computed.
            Exception: whatever a computer raised.
        """
        if not items:
            return []
        claim = current_claim()
        claim.check(self._clock.monotonic())
        group = _Group[ResultT]([None] * len(items), len(items))
        with self._changed:
            if self._closed:
                raise BatcherClosed("the recogniser is being shut down")
            if self._waiting + len(items) > self._plan.max_waiting:
                raise Refusal(Reason.OVERLOADED, "too many lines wait for the recogniser", retry_after_s=RETRY_AFTER_S)
            for index, (bucket, item) in enumerate(items):
                self._number += 1
                entry = _Entry(item, index, self._number, group, claim)
                self._buckets.setdefault(bucket, []).append(entry)
            self._waiting += len(items)
            # All: one that only waits for company would swallow the call that another should take.
            self._changed.notify_all()
        while not group.done.wait(WAKE_S):
            # What of it still waits is dropped by the next thread that comes for a batch.
            claim.check(self._clock.monotonic())
        if group.error is not None:
            raise group.error
        return [result for result in group.results if result is not None]

    def close(self) -> None:
        """Fail what waits, and return when the batches under way are done, or after `CLOSE_S`."""
        with self._changed:
            self._closed = True
            for entries in self._buckets.values():
                for entry in entries:
                    entry.group.fail(BatcherClosed("the recogniser is being shut down"))
            self._buckets.clear()
            self._waiting = 0
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(CLOSE_S)

    def _run(self, computer: Callable[[Sequence[ItemT]], Sequence[ResultT]]) -> None:
        stand_back()
        while (batch := self._take()) is not None:
            self._answer(computer, batch)

    def _answer(
        self, computer: Callable[[Sequence[ItemT]], Sequence[ResultT]], batch: Sequence[_Entry[ItemT, ResultT]]
    ) -> None:
        """Compute a batch and hand out its results, or its error."""
        try:
            results = computer([entry.item for entry in batch])
            if len(results) != len(batch):
                raise TypeError("a batch was answered with another number of results")
        except Exception as error:  # noqa: BLE001  # handed to the caller, who raises it
            if len(batch) > 1:
                # One line's fault, or too little memory for so many, is not the fault of the others.
                for entry in batch:
                    self._answer(computer, [entry])
                return
            with self._changed:
                batch[0].group.fail(error)
            return
        with self._changed:
            for entry, result in zip(batch, results, strict=True):
                entry.group.settle(entry.index, result)

    def _take(self) -> list[_Entry[ItemT, ResultT]] | None:
        """The next batch; None when closed."""
        with self._changed:
            lingered: int | None = None
            while True:
                self._drop_over()
                bucket = self._most_urgent()
                if bucket is None:
                    if self._closed:
                        return None
                    self._changed.wait()
                    lingered = None
                    continue
                entries = self._buckets[bucket]
                full = len(entries) >= self._plan.max_batch
                linger = 0.0 if full or lingered == bucket else self._linger(entries)
                if linger <= 0.0:
                    return self._taken(bucket)
                # What happens meanwhile is looked at anew; only a wait to its end was one for company.
                looked = self._changed.wait_for(partial(self._need_not_linger, bucket), linger)
                lingered = None if looked else bucket

    def _most_urgent(self) -> int | None:
        """The bucket with the most urgent item; None when nothing waits."""
        return min(self._buckets, key=lambda one: min(entry.urgency for entry in self._buckets[one]), default=None)

    def _need_not_linger(self, bucket: int) -> bool:
        """Whether a bucket is full, another thread took it, or another bucket has become more urgent: all threads may
        be waiting for the company of one."""
        waiting = len(self._buckets.get(bucket, ()))
        return not 0 < waiting < self._plan.max_batch or self._most_urgent() != bucket

    def _linger(self, entries: Sequence[_Entry[ItemT, ResultT]]) -> float:
        """Seconds worth waiting for company."""
        left = min(entry.claim.deadline for entry in entries) - self._clock.monotonic()
        return min(self._plan.linger_s, _LINGER_SHARE * left)

    def _taken(self, bucket: int) -> list[_Entry[ItemT, ResultT]]:
        entries = sorted(self._buckets.pop(bucket), key=lambda entry: entry.urgency)
        batch, rest = entries[: self._plan.max_batch], entries[self._plan.max_batch :]
        if rest:
            self._buckets[bucket] = rest
        self._waiting -= len(batch)
        self.batches.append(len(batch))
        return batch

    def _drop_over(self) -> None:
        """Forget items whose result is worth nothing any more, by their claim or by another item's failure."""
        now = self._clock.monotonic()
        for bucket in list(self._buckets):
            kept = []
            for entry in self._buckets[bucket]:
                if entry.group.error is not None:
                    continue
                if entry.claim.is_over(now):
                    entry.group.fail(expired())
                else:
                    kept.append(entry)
            self._waiting -= len(self._buckets[bucket]) - len(kept)
            if kept:
                self._buckets[bucket] = kept
            else:
                del self._buckets[bucket]

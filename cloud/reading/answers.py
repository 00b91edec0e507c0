"""Same key, same answer: a repeated call is not computed twice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cloud.refusals import Reason, Refusal
from shared.clock import Clock

KeyT = TypeVar("KeyT")
AnswerT = TypeVar("AnswerT")


@dataclass(eq=False, slots=True)
class _Computation(Generic[AnswerT]):
    task: asyncio.Task[AnswerT]
    callers: int = 0


@dataclass(frozen=True, slots=True)
class _Kept(Generic[AnswerT]):
    answer: AnswerT
    forget_at: float


class AnswerCache(Generic[KeyT, AnswerT]):
    """Answers of the last minutes, in memory only, and the computations under way. Use from one event loop.

    Failures are not kept. A computation is shared by every caller with its key and cancelled when all have left.

    Args:
        clock: ages answers.
        max_answers: the least recently used one makes room for a new one.
        keep_s: seconds after which an answer is forgotten.
    """

    def __init__(self, *, clock: Clock, max_answers: int, keep_s: float) -> None:
        self._clock = clock
        self._max_answers = max_answers
        self._keep_s = keep_s
        self._kept: OrderedDict[KeyT, _Kept[AnswerT]] = OrderedDict()
        self._computing: dict[KeyT, _Computation[AnswerT]] = {}

    def __len__(self) -> int:
        """Answers kept, aged ones included until `forget_aged`."""
        return len(self._kept)

    async def get(self, key: KeyT, compute: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """The answer for a key, computed at most once at a time.

        Args:
            key: must identify the question wholly, not only by what a caller chose.
            compute: called when no answer is kept and none is under way.

        Raises:
            Exception: whatever `compute` raised for this caller.
        """
        while True:
            self.forget_aged()
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept.answer
            computation = self._computing.get(key)
            leads = computation is None
            if computation is None:
                computation = _Computation(asyncio.ensure_future(self._compute(key, compute)))
                self._computing[key] = computation
            try:
                return await self._join(key, computation)
            except Refusal as refusal:
                # It failed for want of the first caller's time; this caller may have more, and asks for itself.
                if leads or refusal.reason not in {Reason.EXPIRED, Reason.OVERLOADED}:
                    raise

    def forget_aged(self) -> None:
        """Drop answers older than `keep_s`."""
        now = self._clock.monotonic()
        for key in [key for key, kept in self._kept.items() if kept.forget_at <= now]:
            del self._kept[key]

    async def _compute(self, key: KeyT, compute: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        try:
            answer = await compute()
        finally:
            if key in self._computing and self._computing[key].task is asyncio.current_task():
                del self._computing[key]
        self._kept[key] = _Kept(answer, self._clock.monotonic() + self._keep_s)
        while len(self._kept) > self._max_answers:
            self._kept.popitem(last=False)
        return answer

    async def _join(self, key: KeyT, computation: _Computation[AnswerT]) -> AnswerT:
        computation.callers += 1
        try:
            return await asyncio.shield(computation.task)
        finally:
            computation.callers -= 1
            if computation.callers == 0 and not computation.task.done():
                # Forgotten at once, so that a caller who comes now starts anew instead of joining a dying task.
                if self._computing.get(key) is computation:
                    del self._computing[key]
                computation.task.cancel()

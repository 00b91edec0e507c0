"""Same key, same answer, computed once."""

from __future__ import annotations

import asyncio

import pytest

from cloud.reading.answers import AnswerCache
from cloud.refusals import Reason, Refusal
from shared.clock import SystemClock


class Ager(SystemClock):
    """The machine's clock, with years added at will."""

    def __init__(self) -> None:
        self.extra = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.extra


class Question:
    """Counts how often it is computed; waits until the test lets it answer."""

    def __init__(self, answer: str = "yes", *, failures: tuple[Exception, ...] = ()) -> None:
        self.computed = 0
        self.left = asyncio.Event()
        self.open = asyncio.Event()
        self._answer = answer
        self._failures = list(failures)

    async def __call__(self) -> str:
        self.computed += 1
        try:
            await asyncio.wait_for(self.open.wait(), 10)
        except asyncio.CancelledError:
            self.left.set()
            raise
        if self._failures:
            raise self._failures.pop(0)
        return self._answer


def make(clock: Ager | None = None, *, max_answers: int = 8) -> AnswerCache[str, str]:
    return AnswerCache(clock=clock or Ager(), max_answers=max_answers, keep_s=60.0)


async def ready(answer: str) -> str:
    return answer


async def test_a_repeated_call_is_not_computed_twice() -> None:
    cache, question = make(), Question()
    question.open.set()
    assert [await cache.get("k", question) for _ in range(3)] == ["yes"] * 3
    assert question.computed == 1


async def test_duplicates_under_way_share_one_computation() -> None:
    cache, question = make(), Question()
    callers = [asyncio.create_task(cache.get("k", question)) for _ in range(3)]
    await asyncio.sleep(0)
    question.open.set()
    assert await asyncio.gather(*callers) == ["yes"] * 3
    assert question.computed == 1


async def test_an_answer_is_forgotten_with_age() -> None:
    clock = Ager()
    cache = make(clock)
    assert await cache.get("k", lambda: ready("old")) == "old"
    clock.extra = 61.0
    assert await cache.get("k", lambda: ready("new")) == "new"


async def test_aged_answers_leave_memory_without_being_asked_for() -> None:
    clock = Ager()
    cache = make(clock)
    await cache.get("k", lambda: ready("old"))
    clock.extra = 61.0
    cache.forget_aged()
    assert len(cache) == 0


async def test_the_least_recently_used_answer_makes_room() -> None:
    cache = make(max_answers=2)
    for key in ("a", "b"):
        await cache.get(key, lambda: ready("first"))
    await cache.get("a", lambda: ready("never"))
    await cache.get("c", lambda: ready("first"))
    assert await cache.get("a", lambda: ready("again")) == "first"
    assert await cache.get("b", lambda: ready("again")) == "again"


async def test_a_failure_is_not_kept() -> None:
    cache, question = make(), Question(failures=(ValueError("once"),))
    question.open.set()
    with pytest.raises(ValueError, match="once"):
        await cache.get("k", question)
    assert await cache.get("k", question) == "yes"


async def test_one_caller_leaving_does_not_end_the_computation_of_another() -> None:
    cache, question = make(), Question()
    leaving, staying = (asyncio.create_task(cache.get("k", question)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    question.open.set()
    assert await staying == "yes"
    assert question.computed == 1


async def test_the_computation_ends_when_every_caller_has_left() -> None:
    cache, question = make(), Question()
    callers = [asyncio.create_task(cache.get("k", question)) for _ in range(2)]
    # Two turns of the loop: the callers start, then the computation they share.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    await asyncio.wait_for(question.left.wait(), 10)
    assert question.computed == 1
    question.open.set()
    assert await cache.get("k", question) == "yes"


async def test_a_duplicate_with_more_time_asks_again_when_the_first_ran_out() -> None:
    cache = make()
    question = Question(failures=(Refusal(Reason.EXPIRED, "too late for the first caller"),))
    first, second = (asyncio.create_task(cache.get("k", question)) for _ in range(2))
    await asyncio.sleep(0)
    question.open.set()
    with pytest.raises(Refusal):
        await first
    assert await second == "yes"
    assert question.computed == 2

"""Clouds under virtual time, as hostile as a test wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shared.clock import Clock
from shared.errors import CloudUnavailable
from shared.messages.wayword.v1 import cloud_pb2, types_pb2

Request = cloud_pb2.ReadStripRequest
Reply = cloud_pb2.ReadStripReply
Answer = Callable[[Request], Awaitable[Reply]]


def way_out(request: Request) -> Reply:
    """A good answer."""
    reading = types_pb2.Reading(text="Saída", translation="Way out")
    reading.confidence.recognition = reading.confidence.translation = 0.97
    return Reply(idempotency_key=request.idempotency_key, reading=reading)


class FakeTransport:
    """Answers the n-th attempt as the n-th answer says; the last one serves for all that follow."""

    def __init__(self, *answers: Answer, reachable: bool = True) -> None:
        self.answers = list(answers)
        self.reachable = reachable
        self.requests: list[Request] = []
        self.cancelled = 0

    async def connect(self, deadline: float) -> None:
        if not self.reachable:
            raise CloudUnavailable("the cloud cannot be reached")

    async def read_strip(self, request: Request, timeout: float) -> Reply:  # noqa: ASYNC109 - the transport's interface
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        try:
            return await answer(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def close(self) -> None:
        pass


def after(clock: Clock, seconds: float, make: Callable[[Request], Reply] = way_out) -> Answer:
    """An answer that takes its time."""

    async def answer(request: Request) -> Reply:
        await clock.sleep(seconds)
        return make(request)

    return answer


async def never(request: Request) -> Reply:
    """No answer, whatever time it is given."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


def raising(clock: Clock, seconds: float, error: Exception) -> Answer:
    """A failure that takes its time."""

    async def answer(request: Request) -> Reply:
        await clock.sleep(seconds)
        raise error

    return answer


def somebody_elses(request: Request) -> Reply:
    """An answer to another call."""
    return Reply(idempotency_key="another", reading=way_out(request).reading)

"""Many strips in one call: each is admitted and answered on its own, and phones do not notice."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from cloud.calls import Call, outcome_of
from cloud.reading.claims import expired
from cloud.refusals import Reason, Refusal
from shared.clock import Clock
from shared.messages.wayword.v1 import cloud_pb2

REPLY_S: Final = 0.2
"""A batch is answered so long before its deadline, whatever is still undone: a reply that comes too late would take
the answers of all its strips with it."""


async def read_each(
    requests: Sequence[cloud_pb2.ReadStripRequest],
    read: Callable[[cloud_pb2.ReadStripRequest, Call], Awaitable[cloud_pb2.ReadStripReply]],
    *,
    call: Call,
    slots: asyncio.Semaphore,
    clock: Clock,
) -> list[cloud_pb2.ReadOutcome]:
    """Read strips side by side, and answer for each.

    Args:
        requests: as received.
        read: reads one, or raises.
        call: of the batch.
        slots: as many strips of all batches together are under way.
        clock: of the deadline.

    Returns:
        One outcome per request, in their order.
    """
    deadline = call.deadline - REPLY_S
    theirs = replace(call, deadline=deadline)

    async def one(request: cloud_pb2.ReadStripRequest) -> cloud_pb2.ReadOutcome:
        try:
            async with asyncio.timeout(max(deadline - clock.monotonic(), 0.0)), slots:
                return cloud_pb2.ReadOutcome(reply=await read(request, theirs))
        except TimeoutError:
            error: Exception = expired()
        except Exception as other:  # noqa: BLE001  # one strip's failure, of whatever kind, is not the others'
            error = other
        return cloud_pb2.ReadOutcome(failure=_failure(error))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(request)) for request in requests]
    return [task.result() for task in tasks]


def _failure(error: Exception) -> cloud_pb2.Failure:
    outcome = outcome_of(error, method="ReadStrips")
    code: int = outcome.status.value[0]
    failure = cloud_pb2.Failure(code=code, message=outcome.message)
    if outcome.retry_after_s is not None:
        failure.retry_after_ms = math.ceil(outcome.retry_after_s * 1e3)
    elif isinstance(error, Refusal) and error.reason is Reason.EXPIRED:
        # The batch had no time left for it; another batch has.
        failure.retry_after_ms = 0
    return failure

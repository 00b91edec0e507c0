"""Phones whose cloud is killed while they wait: does each call end, typed and in time, and when is all well again?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from phone.cloud import MAX_ATTEMPTS, CallCost, CallPolicy, CloudClient
from phone.cloud_channel import CloudChannel, GrpcTransport
from shared.clock import SystemClock
from shared.errors import CloudError
from shared.messages.wayword.v1 import cloud_pb2
from simulations.bench.cloud.findings import Finding, Progress
from simulations.bench.cloud.processes import CloudProcess

PHONES: Final = 6
CALLS_EACH: Final = 2
DEADLINE_S: Final = 10.0
"""Long enough for what waits in the queue of a one-worker replica; shorter would measure the queue."""
WAIT_S: Final = 0.25
"""The kill comes so long after the calls: some are being read, the others wait."""
SLACK_S: Final = 0.5
"""A call that ends this much after its deadline still counts as in time: six phones share a process here."""
EVERY_S: Final = 0.25
RECOVERY_S: Final = 30.0
"""A phone that is not answered so long after the restart is given up."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one call of a phone ended.

    Attributes:
        how: "answered", the name of a typed failure, or "untyped NAME".
        seconds: it took.
    """

    how: str
    seconds: float


class Phone:
    """One phone's client, over its own channel.

    Args:
        addresses: of the replicas it knows.
        attempts: 1 for a control without retry.
    """

    def __init__(self, addresses: Sequence[str], *, attempts: int = MAX_ATTEMPTS) -> None:
        self._clock = SystemClock()
        self._attempts = attempts
        self._client = CloudClient(
            GrpcTransport(CloudChannel(",".join(addresses), clock=self._clock)),
            clock=self._clock,
            policy=CallPolicy(deadline=DEADLINE_S, hedge_share=0.0),
        )
        self._calls = 0

    async def ask(self, request: cloud_pb2.ReadStripRequest) -> Ended:
        """One call."""
        self._calls += 1
        own = cloud_pb2.ReadStripRequest()
        own.CopyFrom(request)
        own.idempotency_key = f"{id(self)}-{self._calls}"
        begun = self._clock.monotonic()
        try:
            await self._client.read_strip(
                own, deadline=begun + DEADLINE_S, cost=CallCost(), hedge=False, attempts=self._attempts
            )
            how = "answered"
        except CloudError as error:
            how = type(error).__name__
        except Exception as error:  # noqa: BLE001  # what is measured here is that there is none
            how = f"untyped {type(error).__name__}"
        return Ended(how, self._clock.monotonic() - begun)

    async def until_answered(self, request: cloud_pb2.ReadStripRequest) -> float | None:
        """Ask until there is an answer; returns when, on the clock. None when there is none for too long."""
        end = self._clock.monotonic() + RECOVERY_S
        while self._clock.monotonic() < end:
            if (await self.ask(request)).how == "answered":
                return self._clock.monotonic()
            await self._clock.sleep(EVERY_S)
        return None

    async def close(self) -> None:
        """End it."""
        await self._client.close()


def phones_through_kill(
    replicas: Sequence[CloudProcess], requests: Sequence[cloud_pb2.ReadStripRequest], progress: Progress
) -> list[Finding]:
    """One of two replicas killed, for phones that know both; then the only one, for phones that know no other."""
    progress("phones that know two replicas, one killed")
    rows = []
    for attempts, name in ((MAX_ATTEMPTS, "with retry"), (1, "without retry (control)")):
        ended = asyncio.run(_one_of_two(replicas, requests, attempts))
        lost = sum(one.how != "answered" for one in ended)
        target, met = ("0", lost == 0) if attempts > 1 else ("", None)
        note = f"of {len(ended)} calls under way; {_told(ended)}"
        rows.append(Finding(f"phones, one of two replicas killed: lost {name}", lost, "calls", target, met, note))
        replicas[0].start()
        replicas[0].ready()
    progress("phones that know one replica, killed and started again")
    return [*rows, *asyncio.run(_the_only_one(replicas[0], requests))]


async def _one_of_two(
    replicas: Sequence[CloudProcess], requests: Sequence[cloud_pb2.ReadStripRequest], attempts: int
) -> list[Ended]:
    phones = [Phone([one.address for one in replicas], attempts=attempts) for _ in range(PHONES)]
    try:
        await asyncio.gather(*(phone.until_answered(requests[0]) for phone in phones))
        calls = _under_way(phones, requests)
        await asyncio.sleep(WAIT_S)
        await asyncio.to_thread(replicas[0].kill)
        return await asyncio.gather(*calls)
    finally:
        await asyncio.gather(*(phone.close() for phone in phones))


async def _the_only_one(replica: CloudProcess, requests: Sequence[cloud_pb2.ReadStripRequest]) -> list[Finding]:
    phones = [Phone([replica.address]) for _ in range(PHONES)]
    try:
        await asyncio.gather(*(phone.until_answered(requests[0]) for phone in phones))
        calls = _under_way(phones, requests)
        await asyncio.sleep(WAIT_S)
        await asyncio.to_thread(replica.kill)
        ended = await asyncio.gather(*calls)
        # Phones go on asking while the cloud is away: their breakers are open when it comes back.
        asking = asyncio.gather(*(phone.until_answered(requests[0]) for phone in phones))
        replica.start()
        back = await asyncio.to_thread(replica.ready)
        answered = await asking
    finally:
        await asyncio.gather(*(phone.close() for phone in phones))
    untyped = sum(one.how.startswith("untyped") for one in ended)
    late = max(one.seconds for one in ended)
    times = [at - back for at in answered if at is not None]
    pause = CallPolicy().pause
    complete = len(times) == len(phones)
    slowest = max(times) if complete else None
    target_s = pause + 5.0
    return [
        Finding(
            "phones, only replica killed: calls that did not end as answer or typed failure",
            untyped,
            "calls",
            "0",
            untyped == 0,
            f"of {len(ended)} under way; {_told(ended)}",
        ),
        Finding(
            "phones, only replica killed: longest wait of a call",
            late,
            "s",
            f"<= {DEADLINE_S:g}",
            late <= DEADLINE_S + SLACK_S,
            "from the call to its end; the kill came after a quarter of a second",
        ),
        Finding(
            "phones, restart: until the last phone is answered again",
            slowest,
            "s",
            f"<= {target_s:g}",
            None if slowest is None else slowest <= target_s,
            f"after the service serves again; the breaker's pause of {pause:g} s included",
        ),
    ]


def _under_way(phones: Sequence[Phone], requests: Sequence[cloud_pb2.ReadStripRequest]) -> list[asyncio.Task[Ended]]:
    return [
        asyncio.create_task(phone.ask(requests[(number * CALLS_EACH + call) % len(requests)]))
        for number, phone in enumerate(phones)
        for call in range(CALLS_EACH)
    ]


def _told(ended: Sequence[Ended]) -> str:
    return ", ".join(f"{how} {count}" for how, count in sorted(Counter(one.how for one in ended).items()))

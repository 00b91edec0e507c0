"""The phone's client of the cloud: deadlines, a second attempt, a circuit breaker, and a check of every answer.

A call is at most two attempts with one idempotency key, which the cloud answers once: a retry when the first attempt
could not be made or broke, or a hedge when it is slow. How a call travels is the transport's business
(`phone.cloud_channel`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from phone.cloud_channel import CallRefused, CloudTransport
from phone.hedging import Guess, HedgeBudget, Latencies
from shared.clock import Clock
from shared.errors import CloudDeadline, CloudError, CloudRefused, CloudUnavailable
from shared.limits import (
    MAX_COORDINATE,
    MAX_OBJECT_BYTES,
    MAX_READING_LINES,
    MAX_STRIP_LINES,
    MAX_TEXT_CHARACTERS,
)
from shared.messages.wayword.v1 import cloud_pb2, types_pb2

__all__ = ["MAX_ATTEMPTS", "Breaker", "CallCost", "CallPolicy", "CallRefused", "CloudClient", "GarbledAnswer"]

MAX_READING_BYTES: Final = MAX_OBJECT_BYTES // 2
"""Largest answer taken: it goes on to the glasses in one object, with others."""
MAX_ATTEMPTS: Final = 2
"""Times that one call's bytes may leave the phone."""


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How hard the client tries. Times in seconds.

    Attributes:
        deadline: of one call, its second attempt included.
        backoff: before the retry.
        first_guess: what half of the calls are taken to stay within before any was made.
        first_late: what nine in ten are.
        failures_to_open: failures in a row that open the breaker.
        pause: how long the open breaker lets nothing through; then one call tries.
        hedge_share: share of the calls that may be hedged, 0..1; 0 for none.
        hedge_quantile: a call that takes longer than this share of the others is hedged.
        hedge_floor: no call is hedged sooner: below it a second round trip wins nothing.
    """

    deadline: float = 3.0
    backoff: float = 0.1
    first_guess: float = 0.5
    first_late: float = 1.5
    failures_to_open: int = 3
    pause: float = 5.0
    hedge_share: float = 0.1
    hedge_quantile: float = 0.95
    hedge_floor: float = 0.2


class GarbledAnswer(CloudRefused):
    """The cloud's answer breaks the contract: another call's, larger than any sign, or with impossible numbers."""


class Breaker:
    """Circuit breaker: after failures in a row nothing is tried for a while, then one call at a time is.

    Args:
        clock: measures the pause.
        failures_to_open: failures in a row that open it.
        pause: seconds it stays open.
    """

    def __init__(self, *, clock: Clock, failures_to_open: int, pause: float) -> None:
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._pause = pause
        self._failures = 0
        self._opened_at = 0.0
        self._trial = False

    @property
    def closed(self) -> bool:
        """Whether a call may be tried now."""
        if self._failures < self._failures_to_open:
            return True
        return not self._trial and self._clock.monotonic() >= self._opened_at + self._pause

    def begin(self) -> None:
        """A call begins. Past the pause it is the trial, and others wait for its result."""
        self._trial = self._failures >= self._failures_to_open

    def succeeded(self) -> None:
        """The cloud answered, if only to refuse."""
        self._failures = 0
        self._trial = False

    def failed(self) -> None:
        """The cloud did not answer, or is unwell."""
        self._failures += 1
        self._opened_at = self._clock.monotonic()
        self._trial = False

    def abandoned(self) -> None:
        """The call was cancelled: it says nothing about the cloud."""
        self._trial = False


@dataclass(slots=True)
class CallCost:
    """Filled in while a call runs, so that a failed call is accounted for too.

    Attributes:
        on_traffic: called with (bytes out, bytes in) whenever bytes pass; None for nobody.
        bytes_out: request bytes handed to a connected channel, the second attempt included.
        bytes_in: bytes of the answers that were taken.
        attempts: times the request was handed over.
        hedged: whether the second attempt went out because the first was slow.
        seconds: from the call to its answer or failure.
    """

    on_traffic: Callable[[int, int], None] | None = field(default=None, repr=False)
    bytes_out: int = 0
    bytes_in: int = 0
    attempts: int = 0
    hedged: bool = False
    seconds: float = 0.0

    def passed(self, *, out: int = 0, in_: int = 0) -> None:
        """Bytes left or arrived."""
        self.bytes_out += out
        self.bytes_in += in_
        if self.on_traffic is not None:
            self.on_traffic(out, in_)


class CloudClient:
    """Asks the cloud to read strips.

    Args:
        transport: carries the calls; the client closes it.
        clock: measures calls and waits.
        policy: how hard to try.
    """

    def __init__(self, transport: CloudTransport, *, clock: Clock, policy: CallPolicy | None = None) -> None:
        self._transport = transport
        self._clock = clock
        self._policy = policy or CallPolicy()
        self._breaker = Breaker(clock=clock, failures_to_open=self._policy.failures_to_open, pause=self._policy.pause)
        self._latencies = Latencies(clock=clock, guess=Guess(self._policy.first_guess, self._policy.first_late))
        self._hedges = HedgeBudget(share=self._policy.hedge_share)

    def use_deadline(self, seconds: float) -> None:
        """Wait so long for an answer at most, from the next call on."""
        self._policy = replace(self._policy, deadline=seconds)

    @property
    def available(self) -> bool:
        """False while the circuit breaker is open."""
        return self._breaker.closed

    @property
    def expected_seconds(self) -> float:
        """Half of the calls are answered within this, judging by the last ones."""
        return self._latencies.quantile(0.5)

    @property
    def late_seconds(self) -> float:
        """Nine calls in ten are answered within this, judging by the last ones."""
        return self._latencies.quantile(0.9)

    async def read_strip(
        self,
        request: cloud_pb2.ReadStripRequest,
        *,
        deadline: float,
        cost: CallCost,
        hedge: bool = True,
        attempts: int = MAX_ATTEMPTS,
    ) -> types_pb2.Reading:
        """Ask the cloud to read a strip.

        Args:
            request: with its idempotency key, which the second attempt repeats.
            deadline: on the clock; the policy's own deadline applies as well.
            cost: filled in, whatever happens.
            hedge: whether a second attempt may go out when the first is slow.
            attempts: times that the bytes may leave, at most `MAX_ATTEMPTS`.

        Raises:
            CloudUnavailable: not connected, or the cloud is unwell.
            CloudDeadline: no answer in time.
            CloudRefused: the cloud refuses (`CallRefused`), or its answer breaks the contract (`GarbledAnswer`).
        """
        start = self._clock.monotonic()
        deadline = min(deadline, start + self._policy.deadline)
        if deadline <= start:
            raise CloudDeadline("no time was left to call the cloud")  # which says nothing about the cloud
        self._breaker.begin()
        self._hedges.earn()
        try:
            reading = await self._ask(request, deadline, cost, hedge=hedge, most=min(attempts, MAX_ATTEMPTS))
        except CloudError as error:
            if isinstance(error, CallRefused) and error.refusal.of_this_call:
                self._breaker.succeeded()
            else:
                self._breaker.failed()
            # What never left says nothing of how long an answer takes, and a refusal is one.
            if cost.attempts and not isinstance(error, CloudRefused):
                self._latencies.add(self._policy.deadline)
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        finally:
            cost.seconds = self._clock.monotonic() - start
        self._breaker.succeeded()
        self._latencies.add(cost.seconds)
        return reading

    async def close(self) -> None:
        """Close the transport; calls under way are cancelled."""
        await self._transport.close()

    async def _ask(
        self,
        request: cloud_pb2.ReadStripRequest,
        deadline: float,
        cost: CallCost,
        *,
        hedge: bool,
        most: int,
    ) -> types_pb2.Reading:
        """The first good answer, or the first refusal, of one attempt or at most so many."""
        attempts: list[asyncio.Task[types_pb2.Reading]] = []

        def begin() -> None:
            name = f"wayword-cloud-attempt-{len(attempts) + 1}"
            attempts.append(asyncio.create_task(self._attempt(request, deadline, cost), name=name))

        begin()
        patience = self._patience() if hedge and most > 1 else None
        try:
            while True:
                running = [attempt for attempt in attempts if not attempt.done()]
                await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for attempt in attempts:  # in the order they were made, so that two answers at once are no draw
                    if attempt.done() and attempt.exception() is None:
                        return attempt.result()
                failed = [attempt for attempt in attempts if attempt.done()]
                for attempt in failed:
                    if isinstance(attempt.exception(), CallRefused):
                        return attempt.result()  # the cloud has made up its mind; raises
                if not failed:
                    # An attempt that still connects is not helped by another on the same way.
                    if cost.attempts:
                        patience = None
                        if self._may_hedge(deadline):
                            cost.hedged = True
                            begin()
                elif len(failed) == len(attempts):
                    if len(attempts) >= most or not self._may_retry(failed[-1], deadline):
                        return failed[-1].result()  # raises
                    patience = None
                    await self._clock.sleep(self._policy.backoff)
                    begin()
        finally:
            for attempt in attempts:
                attempt.cancel()
            # Their failures are heard here; `_attempt` ends at once when it is cancelled.
            await asyncio.gather(*attempts, return_exceptions=True)

    def _patience(self) -> float | None:
        """Seconds after which a call counts as slow; None where no call is hedged."""
        if self._policy.hedge_share <= 0:
            return None
        return max(self._latencies.quantile(self._policy.hedge_quantile), self._policy.hedge_floor)

    def _may_hedge(self, deadline: float) -> bool:
        """Whether a second attempt has the time to win, and is within the share."""
        return deadline - self._clock.monotonic() > self.expected_seconds and self._hedges.take()

    def _may_retry(self, failed: asyncio.Task[types_pb2.Reading], deadline: float) -> bool:
        in_time = self._clock.monotonic() + self._policy.backoff < deadline
        return in_time and isinstance(failed.exception(), CloudUnavailable)

    async def _attempt(self, request: cloud_pb2.ReadStripRequest, deadline: float, cost: CallCost) -> types_pb2.Reading:
        await self._transport.connect(deadline)
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise CloudDeadline("no time was left to call the cloud")
        cost.attempts += 1
        cost.passed(out=request.ByteSize())
        try:
            # The transport keeps the deadline too; a call must end even with one that does not.
            async with asyncio.timeout(left):
                reply = await self._transport.read_strip(request, left)
        except TimeoutError:
            raise CloudDeadline("the cloud did not answer in time") from None
        cost.passed(in_=reply.ByteSize())
        return _checked(reply, request)


def _checked(reply: cloud_pb2.ReadStripReply, request: cloud_pb2.ReadStripRequest) -> types_pb2.Reading:
    """The reading of a reply that keeps the contract and the caps."""
    reading = reply.reading
    if reply.idempotency_key != request.idempotency_key:
        raise GarbledAnswer("the cloud answered another call")
    lines = reading.lines
    longest = max(len(reading.text), len(reading.translation), *(len(line.text) for line in lines), 0)
    # A sign's text is at most its lines, each of the longest text.
    too_long = longest > MAX_TEXT_CHARACTERS * MAX_STRIP_LINES or len(lines) > MAX_READING_LINES
    if too_long or reading.ByteSize() > MAX_READING_BYTES:
        raise GarbledAnswer("the cloud's answer is larger than any sign")
    if any(len(line.quad.xy) != 8 or not all(abs(x) <= MAX_COORDINATE for x in line.quad.xy) for line in lines):
        raise GarbledAnswer("the cloud's answer has a line without a place")
    if any(not 0.0 <= value <= 1.0 for _, value in reading.confidence.ListFields()):
        raise GarbledAnswer("the cloud's answer has a confidence outside 0..1")
    return reading

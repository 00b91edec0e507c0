"""A slow cloud is asked a second time, seldom; and what a hostile one does to the client, all under virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from fake_transport import FakeTransport, Request, after, never, raising, somebody_elses, way_out

from phone.cloud import CallCost, CallPolicy, CloudClient, GarbledAnswer
from phone.cloud_channel import CallRefused, Refusal
from phone.hedging import MAX_AGE_S, MAX_CALLS, Guess, HedgeBudget, Latencies
from shared.errors import CloudDeadline, CloudUnavailable
from shared.messages.wayword.v1 import types_pb2
from simulations import virtual_time
from simulations.virtual_time import VirtualClock

T = TypeVar("T")

QUICK_S = 0.1
PATIENCE_S = 0.2
"""How long a client that knows a quick cloud waits before it asks again: `CallPolicy.hedge_floor`."""
POLICY = CallPolicy(deadline=3.0, failures_to_open=2)


def request(key: str = "k") -> Request:
    return Request(idempotency_key=key, strip=types_pb2.Strip(lines=[types_pb2.StripLine(image=b"x" * 3_000)]))


async def ask(client: CloudClient, clock: VirtualClock, *, hedge: bool = True) -> tuple[types_pb2.Reading, CallCost]:
    cost = CallCost()
    return await client.read_strip(request(), deadline=clock.monotonic() + 10, cost=cost, hedge=hedge), cost


def with_client(
    scenario: Callable[[CloudClient, FakeTransport, VirtualClock], Awaitable[T]], policy: CallPolicy = POLICY
) -> T:
    """Run a scenario with a client that has come to know a quick cloud."""

    async def main(clock: VirtualClock) -> T:
        transport = FakeTransport(after(clock, QUICK_S))
        client = CloudClient(transport, clock=clock, policy=policy)
        for _ in range(10):
            await ask(client, clock)
        transport.requests.clear()
        return await scenario(client, transport, clock)

    return virtual_time.run(main)


def test_a_slow_call_goes_out_again_with_the_same_key_and_the_first_answer_wins() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [never, after(clock, QUICK_S)]
        reading, cost = await ask(client, clock)
        assert reading.translation == "Way out"
        assert cost.hedged
        assert cost.seconds == pytest.approx(PATIENCE_S + QUICK_S)
        assert [sent.idempotency_key for sent in transport.requests] == ["k", "k"]
        assert (cost.attempts, cost.bytes_out) == (2, 2 * request().ByteSize())
        assert cost.bytes_in == way_out(request()).ByteSize()
        assert transport.cancelled == 1

    with_client(scenario)


def test_the_first_attempt_may_still_win() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [after(clock, 0.25), never]
        reading, cost = await ask(client, clock)
        assert (reading.translation, cost.hedged, cost.seconds) == ("Way out", True, pytest.approx(0.25))
        assert transport.cancelled == 1

    with_client(scenario)


def test_two_answers_at_once_are_one() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [after(clock, PATIENCE_S + 0.1), after(clock, 0.1)]
        reading, cost = await ask(client, clock)
        assert (reading.translation, cost.attempts) == ("Way out", 2)

    with_client(scenario)


def test_at_most_a_tenth_of_the_calls_are_hedged() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> int:
        transport.answers = [after(clock, 2.0)]
        costs = [(await ask(client, clock))[1] for _ in range(40)]
        return sum(cost.hedged for cost in costs)

    # One was saved up, and no more than one can be.
    hedged = with_client(scenario, CallPolicy(hedge_quantile=0.0))
    assert 4 <= hedged <= 5


@pytest.mark.parametrize("share", [0.1, 0.0])
def test_no_call_is_hedged_that_must_not_be(share: float) -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [after(clock, 1.0)]
        _, cost = await ask(client, clock, hedge=share == 0.0)
        assert (cost.hedged, cost.attempts) == (False, 1)

    with_client(scenario, CallPolicy(hedge_share=share))


def test_a_second_attempt_without_time_to_win_is_not_made() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [never]
        cost = CallCost()
        with pytest.raises(CloudDeadline):
            await client.read_strip(request(), deadline=clock.monotonic() + PATIENCE_S + 0.05, cost=cost)
        assert cost.attempts == 1

    with_client(scenario)


def test_a_cloud_that_never_answers_ends_at_the_deadline_and_opens_the_breaker() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [never]
        for _ in range(2):
            start = clock.monotonic()
            with pytest.raises(CloudDeadline):
                await ask(client, clock)
            assert clock.monotonic() - start == pytest.approx(POLICY.deadline)
        assert not client.available
        # What was never answered counts as long as anybody would have waited.
        assert client.late_seconds == POLICY.deadline

    with_client(scenario)


def test_a_call_without_time_left_is_not_made_and_says_nothing_about_the_cloud() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        for _ in range(2 * POLICY.failures_to_open):
            with pytest.raises(CloudDeadline):
                await client.read_strip(request(), deadline=clock.monotonic(), cost=CallCost())
        assert transport.requests == []
        assert client.available

    with_client(scenario)


def test_where_one_attempt_is_allowed_a_call_neither_hedges_nor_retries() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [raising(clock, 1.0, CloudUnavailable("gone"))]
        cost = CallCost()
        with pytest.raises(CloudUnavailable):
            await client.read_strip(request(), deadline=clock.monotonic() + 10, cost=cost, attempts=1)
        assert (cost.attempts, cost.hedged, len(transport.requests)) == (1, False, 1)

    with_client(scenario)


def test_garbage_is_a_typed_error_and_counts_for_the_breaker() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [after(clock, QUICK_S, somebody_elses)]
        for _ in range(2):
            with pytest.raises(GarbledAnswer):
                await ask(client, clock)
        assert not client.available

    with_client(scenario)


def test_a_good_answer_beats_garbage_that_came_first() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [after(clock, PATIENCE_S + 0.05, somebody_elses), after(clock, 0.3)]
        reading, cost = await ask(client, clock)
        assert (reading.translation, cost.seconds) == ("Way out", pytest.approx(PATIENCE_S + 0.3))

    with_client(scenario)


def test_an_attempt_that_breaks_leaves_the_other_running() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [raising(clock, 0.25, CloudUnavailable("gone")), after(clock, 0.2)]
        reading, cost = await ask(client, clock)
        assert (reading.translation, cost.attempts) == ("Way out", 2)
        transport.requests.clear()
        transport.answers = [raising(clock, 0.05, CloudUnavailable("gone"))]
        with pytest.raises(CloudUnavailable):
            await ask(client, clock)
        assert len(transport.requests) == 2  # a retry, and no third attempt

    with_client(scenario)


def test_a_refusal_ends_both_attempts() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [raising(clock, 0.25, CallRefused("no", Refusal.DIRECTION)), never]
        with pytest.raises(CallRefused):
            await ask(client, clock)
        assert transport.cancelled == 1
        assert client.available

    with_client(scenario)


def test_what_never_left_says_nothing_of_how_long_an_answer_takes() -> None:
    async def scenario(client: CloudClient, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.reachable = False
        with pytest.raises(CloudUnavailable):
            await ask(client, clock)
        assert client.expected_seconds == pytest.approx(QUICK_S)

    with_client(scenario)


def test_a_guess_stands_in_until_there_are_a_few_calls_and_again_when_they_have_aged() -> None:
    async def main(clock: VirtualClock) -> None:
        latencies = Latencies(clock=clock, guess=Guess(0.5, 1.5))
        assert (latencies.quantile(0.5), latencies.quantile(0.9)) == (0.5, 1.5)
        latencies.add(0.1)
        assert latencies.quantile(0.9) == 1.5
        for _ in range(3 * MAX_CALLS):
            latencies.add(0.1)
        assert latencies.quantile(1.0) == 0.1
        latencies.add(9.0)
        assert (latencies.quantile(0.5), latencies.quantile(1.0)) == (0.1, 9.0)
        await clock.sleep(MAX_AGE_S + 1)
        assert (latencies.quantile(0.5), latencies.quantile(0.9)) == (0.5, 1.5)

    virtual_time.run(main)


def test_hedges_are_saved_up_to_a_bound_only() -> None:
    budget = HedgeBudget(share=0.5, burst=2)
    for _ in range(100):
        budget.earn()
    assert [budget.take() for _ in range(3)] == [True, True, False]
    budget.earn()
    assert not budget.take()
    budget.earn()
    assert budget.take()

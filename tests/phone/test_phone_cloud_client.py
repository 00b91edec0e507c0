"""The cloud client against a real gRPC server of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from phone.cloud import Breaker, CallCost, CallPolicy, CloudClient, GarbledAnswer
from phone.cloud_channel import CallRefused, CloudChannel, GrpcTransport, Refusal, is_loopback
from phone.cloud_endpoints import split_addresses
from shared.clock import SystemClock
from shared.errors import CloudDeadline, CloudError, CloudRefused, CloudUnavailable, UsageError
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, types_pb2

Context = grpc.aio.ServicerContext[cloud_pb2.ReadStripRequest, cloud_pb2.ReadStripReply]
Answer = Callable[[cloud_pb2.ReadStripRequest, Context], Awaitable[cloud_pb2.ReadStripReply]]
REQUEST = cloud_pb2.ReadStripRequest(
    idempotency_key="k1", strip=types_pb2.Strip(frame_id=1, lines=[types_pb2.StripLine(image=b"x" * 3_000)])
)


class SetClock(SystemClock):
    """The system's clock, plus whatever it is set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class FakeCloud(cloud_pb2_grpc.ReaderServicer):
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[cloud_pb2.ReadStripRequest] = []

    async def ReadStrip(  # noqa: N802 - gRPC's name
        self, request: cloud_pb2.ReadStripRequest, context: Context
    ) -> cloud_pb2.ReadStripReply:
        self.requests.append(request)
        return await self.answer(request, context)


@asynccontextmanager
async def serving(cloud: FakeCloud, port: int = 0) -> AsyncIterator[int]:
    server = grpc.aio.server()
    cloud_pb2_grpc.add_ReaderServicer_to_server(cloud, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(grace=None)


@asynccontextmanager
async def client_of(port: int, clock: SystemClock, policy: CallPolicy | None = None) -> AsyncIterator[CloudClient]:
    client = CloudClient(GrpcTransport(CloudChannel(f"127.0.0.1:{port}", clock=clock)), clock=clock, policy=policy)
    try:
        yield client
    finally:
        await client.close()


async def call(client: CloudClient, clock: SystemClock, *, seconds: float = 5.0) -> tuple[types_pb2.Reading, CallCost]:
    cost = CallCost()
    return await client.read_strip(REQUEST, deadline=clock.monotonic() + seconds, cost=cost), cost


async def exit_sign(request: cloud_pb2.ReadStripRequest, context: Context) -> cloud_pb2.ReadStripReply:
    reading = types_pb2.Reading(text="Saída", translation="Exit")
    return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key, reading=reading)


def refusing(status: grpc.StatusCode) -> Answer:
    async def answer(request: cloud_pb2.ReadStripRequest, context: Context) -> cloud_pb2.ReadStripReply:
        await context.abort(status, "as the test says")
        raise AssertionError("abort raises")

    return answer


async def test_an_answer_comes_back_and_its_bytes_are_counted() -> None:
    clock = SystemClock()
    async with serving(FakeCloud(exit_sign)) as port, client_of(port, clock) as client:
        reading, cost = await call(client, clock)
    assert reading.translation == "Exit"
    assert cost.bytes_out == REQUEST.ByteSize()
    assert cost.seconds > 0


async def test_an_unavailable_cloud_is_tried_once_more_with_the_same_key() -> None:
    clock = SystemClock()

    async def second_time(request: cloud_pb2.ReadStripRequest, context: Context) -> cloud_pb2.ReadStripReply:
        if len(cloud.requests) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        return await exit_sign(request, context)

    cloud = FakeCloud(second_time)
    async with serving(cloud) as port, client_of(port, clock) as client:
        reading, cost = await call(client, clock)
    assert reading.translation == "Exit"
    assert [request.idempotency_key for request in cloud.requests] == ["k1", "k1"]
    assert cost.bytes_out == 2 * REQUEST.ByteSize()


async def test_a_slow_cloud_is_given_up_at_the_deadline() -> None:
    clock = SystemClock()
    cancelled = asyncio.Event()

    async def never(request: cloud_pb2.ReadStripRequest, context: Context) -> cloud_pb2.ReadStripReply:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    async with serving(FakeCloud(never)) as port, client_of(port, clock, CallPolicy(deadline=0.2)) as client:
        with pytest.raises(CloudDeadline):
            await call(client, clock)
        await cancelled.wait()


async def test_the_strips_own_life_bounds_the_call() -> None:
    clock = SystemClock()
    async with serving(FakeCloud(exit_sign)) as port, client_of(port, clock) as client:
        with pytest.raises(CloudError):
            await call(client, clock, seconds=0.0)


async def test_no_cloud_fails_at_once_and_nothing_leaves() -> None:
    clock = SystemClock()
    async with serving(FakeCloud(exit_sign)) as port:
        pass
    cost = CallCost()
    async with client_of(port, clock) as client:
        with pytest.raises(CloudUnavailable):
            await client.read_strip(REQUEST, deadline=clock.monotonic() + 5, cost=cost)
    assert cost.bytes_out == 0
    assert cost.seconds < 2


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, Refusal.MALFORMED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Refusal.OVERLOADED),
        (grpc.StatusCode.UNIMPLEMENTED, Refusal.DIRECTION),
        (grpc.StatusCode.PERMISSION_DENIED, Refusal.FORBIDDEN),
        (grpc.StatusCode.UNAUTHENTICATED, Refusal.UNAUTHENTICATED),
        (grpc.StatusCode.FAILED_PRECONDITION, Refusal.OTHER),
    ],
)
async def test_a_refusal_is_not_tried_again(status: grpc.StatusCode, refusal: Refusal) -> None:
    clock = SystemClock()
    cloud = FakeCloud(refusing(status))
    async with serving(cloud) as port, client_of(port, clock) as client:
        with pytest.raises(CallRefused, match="as the test says") as caught:
            await call(client, clock)
    assert caught.value.refusal is refusal
    assert len(cloud.requests) == 1


async def test_bad_requests_do_not_open_the_breaker_and_a_broken_cloud_does() -> None:
    clock = SystemClock()
    policy = CallPolicy(failures_to_open=2, backoff=0.0)
    cloud = FakeCloud(refusing(grpc.StatusCode.INVALID_ARGUMENT))
    async with serving(cloud) as port, client_of(port, clock, policy) as client:
        for _ in range(3):
            with pytest.raises(CloudRefused):
                await call(client, clock)
        assert client.available
        cloud.answer = refusing(grpc.StatusCode.INTERNAL)
        for _ in range(2):
            with pytest.raises(CloudUnavailable):
                await call(client, clock)
        assert not client.available


async def test_a_cloud_that_comes_back_is_found_after_the_pause() -> None:
    clock = SetClock()
    policy = CallPolicy(failures_to_open=1, pause=5.0, backoff=0.0)
    async with serving(FakeCloud(exit_sign)) as port, client_of(port, clock, policy) as client:
        await call(client, clock)
    async with client_of(port, clock, policy) as client:
        with pytest.raises(CloudUnavailable):
            await call(client, clock)
        assert not client.available
        async with serving(FakeCloud(exit_sign), port):
            clock.ahead += 5.1
            assert client.available
            reading = await _until_reconnected(client, clock)
        assert reading.translation == "Exit"
        assert client.available


async def _until_reconnected(client: CloudClient, clock: SetClock) -> types_pb2.Reading:
    """The channel waits a moment between its own attempts to connect; each trial of ours may come too early."""
    while True:
        try:
            return (await call(client, clock))[0]
        except CloudUnavailable:
            clock.ahead += 5.1
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "reply",
    [
        cloud_pb2.ReadStripReply(idempotency_key="another"),
        cloud_pb2.ReadStripReply(idempotency_key="k1", reading=types_pb2.Reading(text="x" * 100_000)),
        cloud_pb2.ReadStripReply(
            idempotency_key="k1",
            reading=types_pb2.Reading(lines=[types_pb2.ReadLine(text="a", quad=types_pb2.Quad(xy=[1, 2, 3]))]),
        ),
        cloud_pb2.ReadStripReply(
            idempotency_key="k1",
            reading=types_pb2.Reading(lines=[types_pb2.ReadLine(quad=types_pb2.Quad(xy=[float("nan")] * 8))]),
        ),
        cloud_pb2.ReadStripReply(
            idempotency_key="k1",
            reading=types_pb2.Reading(stage_times=[types_pb2.StageTime(stage="s" * 200)] * 1_000),
        ),
        cloud_pb2.ReadStripReply(
            idempotency_key="k1", reading=types_pb2.Reading(confidence=types_pb2.Confidence(script=float("nan")))
        ),
    ],
)
async def test_an_answer_that_breaks_the_contract_is_refused(reply: cloud_pb2.ReadStripReply) -> None:
    clock = SystemClock()

    async def answer(request: cloud_pb2.ReadStripRequest, context: Context) -> cloud_pb2.ReadStripReply:
        return reply

    async with serving(FakeCloud(answer)) as port, client_of(port, clock) as client:
        with pytest.raises(GarbledAnswer):
            await call(client, clock)


async def test_calls_teach_the_client_how_long_a_call_takes() -> None:
    clock = SystemClock()
    async with (
        serving(FakeCloud(exit_sign)) as port,
        client_of(port, clock, CallPolicy(first_guess=2.0)) as client,
    ):
        for _ in range(8):
            await call(client, clock)
        assert client.expected_seconds < 1.0


def test_the_breaker_lets_one_trial_through_after_the_pause() -> None:
    clock = SetClock()
    breaker = Breaker(clock=clock, failures_to_open=2, pause=5.0)
    breaker.begin()
    breaker.failed()
    assert breaker.closed
    breaker.failed()
    assert not breaker.closed
    clock.ahead += 5.1
    assert breaker.closed
    breaker.begin()
    assert not breaker.closed  # others wait for the trial
    breaker.failed()
    assert not breaker.closed
    clock.ahead += 5.1
    breaker.begin()
    breaker.abandoned()
    assert breaker.closed  # a cancelled trial decides nothing
    breaker.begin()
    breaker.succeeded()
    assert breaker.closed


@pytest.mark.parametrize("address", ["", "localhost", ":50051", "localhost:", "localhost:0", "localhost:99999", "a:b"])
def test_a_malformed_address_is_one_clear_error(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        split_addresses(address)


def host_of(address: str) -> str:
    ((_, host),) = split_addresses(address)
    return host


def test_only_this_machine_is_spoken_to_without_encryption() -> None:
    assert is_loopback(host_of("127.0.0.1:50051"))
    assert is_loopback(host_of("localhost:50051"))
    assert is_loopback(host_of("[::1]:50051"))
    assert not is_loopback(host_of("cloud.example.org:443"))
    assert not is_loopback(host_of("10.0.0.5:50051"))

"""Several addresses of one cloud, with real servers behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from phone.cloud import CallCost, CallPolicy, CloudClient
from phone.cloud_channel import CloudChannel, GrpcTransport
from phone.cloud_endpoints import MAX_ADDRESSES, Endpoints, split_addresses
from shared.clock import SystemClock
from shared.errors import CloudUnavailable, UsageError
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc

CLOCK = SystemClock()


class Replica(cloud_pb2_grpc.ReaderServicer):
    """Answers with its name; what happens before is the test's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.called = asyncio.Condition()
        self.before: Callable[[], Awaitable[None]] | None = None
        self.server = grpc.aio.server()
        cloud_pb2_grpc.add_ReaderServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def has_calls(self, count: int) -> None:
        """Return when it has had so many."""
        async with self.called:
            await self.called.wait_for(lambda: self.calls >= count)

    async def ReadStrip(  # noqa: N802 - gRPC's name
        self, request: cloud_pb2.ReadStripRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> cloud_pb2.ReadStripReply:
        async with self.called:
            self.calls += 1
            self.called.notify_all()
        if self.before is not None:
            await self.before()
        reply = cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key)
        reply.reading.text = self.name
        return reply


@asynccontextmanager
async def replicas(*names: str) -> AsyncIterator[list[Replica]]:
    found = [Replica(name) for name in names]
    for one in found:
        await one.server.start()
    try:
        yield found
    finally:
        for one in found:
            await one.server.stop(None)


@asynccontextmanager
async def phone_of(addresses: str) -> AsyncIterator[CloudClient]:
    policy = CallPolicy(deadline=10.0, backoff=0.01, hedge_share=0.0)
    client = CloudClient(GrpcTransport(CloudChannel(addresses, clock=CLOCK)), clock=CLOCK, policy=policy)
    try:
        yield client
    finally:
        await client.close()


async def ask(client: CloudClient, key: str = "k") -> str:
    request = cloud_pb2.ReadStripRequest(idempotency_key=key)
    return (await client.read_strip(request, deadline=CLOCK.monotonic() + 10.0, cost=CallCost())).text


async def test_a_phone_keeps_to_one_replica_and_goes_on_to_the_next_when_it_is_gone() -> None:
    async with replicas("a", "b") as (a, b), phone_of(f"{a.address},{b.address}") as phone:
        first = await ask(phone)
        assert [await ask(phone) for _ in range(4)] == [first] * 4
        used, other = (a, b) if first == "a" else (b, a)
        await used.server.stop(None)
        assert [await ask(phone) for _ in range(3)] == [other.name] * 3


async def test_calls_that_a_replica_takes_down_with_it_are_answered_by_the_next() -> None:
    async with replicas("a", "b") as (a, b), phone_of(f"{a.address},{b.address}") as phone:
        used, other = (a, b) if await ask(phone) == "a" else (b, a)

        async def never() -> None:
            await asyncio.Event().wait()

        used.before = never
        waiting = [asyncio.create_task(ask(phone, f"k{number}")) for number in range(4)]
        await used.has_calls(5)
        await used.server.stop(None)
        assert await asyncio.gather(*waiting) == [other.name] * 4


async def test_a_draining_replica_answers_what_it_has_and_gets_nothing_new() -> None:
    async with replicas("a", "b") as (a, b), phone_of(f"{a.address},{b.address}") as phone:
        used, other = (a, b) if await ask(phone) == "a" else (b, a)
        gate = asyncio.Event()

        async def gated() -> None:
            await gate.wait()

        used.before = gated
        under_way = asyncio.create_task(ask(phone, "under way"))
        await used.has_calls(2)
        draining = asyncio.create_task(used.server.stop(10.0))
        assert await ask(phone, "new") == other.name
        gate.set()
        assert await under_way == used.name
        await draining


async def test_no_replica_in_reach_is_one_typed_failure() -> None:
    async with replicas("a", "b") as (a, b):
        addresses = f"{a.address},{b.address}"
    async with phone_of(addresses) as phone:
        with pytest.raises(CloudUnavailable, match="cannot be reached"):
            await ask(phone)


async def test_calls_that_fail_together_move_on_only_once() -> None:
    opened: list[str] = []

    def open_channel(address: str) -> grpc.aio.Channel:
        opened.append(address)
        return grpc.aio.insecure_channel(address)

    endpoints = Endpoints(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"], open_channel, clock=CLOCK, first=2)
    failing = endpoints.channel
    for _ in range(4):
        endpoints.failed(failing)
    assert opened == ["127.0.0.1:3", "127.0.0.1:1"]
    await endpoints.close()


async def test_where_phones_begin_is_drawn_by_chance() -> None:
    addresses = [f"127.0.0.1:{port}" for port in range(1, 9)]
    opened: set[str] = set()
    for _ in range(64):  # all of them the same: once in 8 to the 63rd

        def open_channel(address: str) -> grpc.aio.Channel:
            opened.add(address)
            return grpc.aio.insecure_channel(address)

        await Endpoints(addresses, open_channel, clock=CLOCK).close()
    assert len(opened) > 1


def test_addresses_are_told_apart_and_counted() -> None:
    assert split_addresses("a:1, [::1]:2") == [("a:1", "a"), ("[::1]:2", "::1")]
    with pytest.raises(UsageError, match="no cloud address"):
        split_addresses("a:1,")
    with pytest.raises(UsageError, match="more than"):
        split_addresses(",".join(["a:1"] * (MAX_ADDRESSES + 1)))

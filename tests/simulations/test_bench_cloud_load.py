"""The load generator in its process, against a real server that fails as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from cloud.calls import PUSHBACK_KEY, RETRY_AFTER_KEY
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc
from simulations.bench.cloud.load import Arrivals, Load, LoadFailed, LoadProcess, run_load


class Moody(cloud_pb2_grpc.ReaderServicer):
    """Takes no key at the first attempt, and tells every tenth to come back later."""

    def __init__(self) -> None:
        self.keys: dict[str, int] = {}

    async def ReadStrip(  # noqa: N802 - gRPC's name
        self, request: cloud_pb2.ReadStripRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> cloud_pb2.ReadStripReply:
        tried = self.keys[request.idempotency_key] = self.keys.get(request.idempotency_key, 0) + 1
        if tried == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not at the first attempt")
        if len(self.keys) % 10 == 0:
            told = ((RETRY_AFTER_KEY, "120"), (PUSHBACK_KEY, "-1"))
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "later", told)
        return cloud_pb2.ReadStripReply()


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Moody, str]]:
    moody, server = Moody(), grpc.aio.server()
    cloud_pb2_grpc.add_ReaderServicer_to_server(moody, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield moody, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


REQUESTS = [cloud_pb2.ReadStripRequest(local_text=text) for text in "abc"]


async def test_clients_with_the_policy_try_again_and_those_without_do_not() -> None:
    async with serving() as (moody, address):
        load = Load((address,), seconds=0.5, arrivals=Arrivals.EVEN, rate=40.0, channels=2, retries=True)
        with_retry = await asyncio.to_thread(run_load, load, REQUESTS)
        keys = dict(moody.keys)
        load = Load((address,), seconds=0.2, arrivals=Arrivals.CLOSED, callers=2, channels=1)
        without = await asyncio.to_thread(run_load, load, REQUESTS)
    assert len(with_retry) == len(keys) == 19, "one every 25 ms, none at the very end"
    assert set(keys.values()) == {2}
    assert set(with_retry.counts()) <= {"OK", "RESOURCE_EXHAUSTED"}
    later = with_retry.with_status(grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert len(later) >= 1
    assert later.retry_after_s.tolist() == pytest.approx([0.12] * len(later))
    assert without.counts() == {"UNAVAILABLE": len(without)}
    assert sorted(set(with_retry.request.tolist())) == [0, 1, 2], "requests take turns"
    assert (with_retry.ended >= with_retry.sent).all()
    assert (with_retry.sent >= with_retry.arrived - 0.01).all()


async def test_a_load_can_be_made_heavier_and_ended_from_outside() -> None:
    async with serving() as (moody, address):
        load = Load((address,), seconds=600.0, arrivals=Arrivals.EVEN, rate=0.001, channels=1, retries=True)
        with LoadProcess(load, REQUESTS) as process:
            process.begin()
            process.burst(5)
            process.end()
            result = await asyncio.to_thread(process.result)
    assert len(result) == 5
    assert len(moody.keys) == 5


def test_a_generator_that_dies_says_why() -> None:
    load = Load(("127.0.0.1:1",), seconds=1.0, certificate_authority="/nowhere/ca.pem")
    with pytest.raises(LoadFailed, match=r"nowhere/ca\.pem"), LoadProcess(load, REQUESTS):
        pytest.fail("it did not start")

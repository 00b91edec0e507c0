"""A replica under Ray, without Ray: what it does with Ray's calls. One test runs the real thing, where there is one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import grpc
import pytest

from cloud.callers import Caller, Scope, current_caller
from cloud.calls import PUSHBACK_KEY, RETRY_AFTER_KEY, Call, unary
from cloud.refusals import Reason, Refusal
from cloud.replicas.fronting import ANSWERED, FrontKey
from cloud.replicas.ray_replica import REPLIES, RayCalls
from cloud.replicas.serve_ray import deployment_options, serve_ray
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import UsageError
from shared.messages.wayword.v1 import cloud_pb2

KEY = FrontKey("k" * 43)
CLOCK = SystemClock()


class RayContext:
    """What Ray gives a deployment; like Ray's own it takes its trailing metadata as a list only."""

    def __init__(self, metadata: Sequence[tuple[str, str]] = ()) -> None:
        self.metadata = list(metadata)
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.trailing: list[tuple[str, str]] = []

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return self.metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None:
        assert isinstance(trailing_metadata, list), "Ray adds it to a list of its own"
        self.trailing = trailing_metadata


class Reader:
    """A handler that tells what it was called with, or fails as it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.call: Call | None = None
        self.caller: Caller | None = None

    async def read(self, request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply:
        self.call, self.caller = call, current_caller()
        if self.failure is not None:
            raise self.failure
        return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key)

    def calls(self) -> RayCalls:
        handler = unary("ReadStrip", cloud_pb2.ReadStripRequest, self.read, clock=CLOCK, default_deadline_s=10.0)
        return RayCalls({"ReadStrip": handler}, KEY, default_deadline_s=10.0)


REQUEST = cloud_pb2.ReadStripRequest(idempotency_key="k")


async def test_a_call_from_the_front_is_answered_for_the_caller_the_front_has_checked() -> None:
    reader, caller = Reader(), Caller("phone-1", frozenset({Scope.READ}), "r1")
    context = RayContext(KEY.metadata(caller, 2.0))
    before = CLOCK.monotonic()
    reply = await reader.calls().answer("ReadStrip", REQUEST, context)
    assert reply == cloud_pb2.ReadStripReply(idempotency_key="k")
    assert context.code is None
    assert reader.caller == caller
    assert reader.call is not None
    assert math.isclose(reader.call.deadline - before, 2.0, abs_tol=0.5)


async def test_whoever_reaches_rays_port_directly_gets_nothing() -> None:
    reader, context = Reader(), RayContext()
    assert await reader.calls().answer("ReadStrip", REQUEST, context) == cloud_pb2.ReadStripReply()
    assert context.code is grpc.StatusCode.UNAUTHENTICATED
    assert reader.call is None


async def test_a_refusal_keeps_its_status_and_its_retry_delay() -> None:
    reader = Reader(Refusal(Reason.OVERLOADED, "busy", retry_after_s=0.25))
    context = RayContext(KEY.metadata(Caller(), 2.0))
    await reader.calls().answer("ReadStrip", REQUEST, context)
    assert (context.code, context.details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
    assert context.trailing == [(RETRY_AFTER_KEY, "250"), (PUSHBACK_KEY, "250"), (ANSWERED, "1")]


async def test_what_a_sign_says_does_not_leave_in_the_text_of_a_failure() -> None:
    reader = Reader(RuntimeError("the sign says: secret"))
    context = RayContext(KEY.metadata(Caller(), 2.0))
    await reader.calls().answer("ReadStrip", REQUEST, context)
    assert context.code is grpc.StatusCode.INTERNAL
    assert "secret" not in context.details


async def test_a_method_that_is_not_served_is_told_so() -> None:
    context = RayContext(KEY.metadata(Caller(), 2.0))
    reply = await Reader().calls().answer("Translate", cloud_pb2.TranslateRequest(), context)
    assert isinstance(reply, REPLIES["Translate"])
    assert context.code is grpc.StatusCode.UNIMPLEMENTED


def test_the_service_not_ray_decides_what_it_can_bear() -> None:
    settings = CloudSettings.load(None, workers=2, max_waiting=64, max_calls=512, ray_replicas=3)
    options = deployment_options(settings)
    assert options["num_replicas"] == 3
    assert options["max_ongoing_requests"] > settings.max_waiting + settings.workers
    assert options["max_queued_requests"] == settings.max_calls, "and nothing is unbounded"


async def test_without_ray_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    stop: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with pytest.raises(UsageError, match=r"wayword\[cloud-ray\]"):
        await serve_ray(CloudSettings.load(None), CLOCK, stop, say=print, warn=print)


@pytest.mark.nightly
def test_ray_serves_the_handlers_behind_the_front(tmp_path: object) -> None:
    """Half a minute and 2 GB: by hand or at night, where the extra cloud-ray is installed."""
    pytest.importorskip("ray")
    from pathlib import Path

    from simulations.bench.cloud.faults import RAY_START_SECONDS
    from simulations.bench.cloud.load import Arrivals, Load, run_load
    from simulations.bench.cloud.processes import CloudProcess
    from simulations.bench.cloud.signs import sign_requests

    front = CloudProcess(("serve-ray", "--replicas", "1"), Path(str(tmp_path)), settings={"workers": 1})
    front.start()
    try:
        front.ready(RAY_START_SECONDS)
        load = Load((front.address,), seconds=3.0, arrivals=Arrivals.CLOSED, callers=2)
        result = run_load(load, sign_requests(4, seed=1))
    finally:
        front.close()
    assert result.counts() == {"OK": len(result)}
    assert len(result) > 0

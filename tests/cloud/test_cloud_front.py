"""The front over a real socket: every call is named, known, counted and traced, and refusals look alike."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
import pytest
from front_world import READ_STRIP, READ_STRIPS, SECRET_TEXT, SetClock, bearer, fronted, public_key, token
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloud.callers import ANYONE, Scope, current_caller
from cloud.calls import PUSHBACK_KEY, RETRY_AFTER_KEY, outcome_of
from cloud.front.identity import Shown
from cloud.front.stack import check_exposure
from cloud.front.tracing import Tracing
from cloud.refusals import Reason, Refusal
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import StorageError, UsageError
from shared.events import EventLog
from shared.limits import MAX_RPC_BYTES

OPEN = {"quota_calls_per_s": 0.0}


async def test_with_nothing_configured_anybody_here_may_call_anything() -> None:
    async with fronted() as world:
        await world.call()
    caller = world.echo.callers[0]
    assert (caller.device, caller.scopes) == ("", frozenset(Scope))
    assert caller.request_id
    assert current_caller() is ANYONE


async def test_the_handler_knows_who_calls(tmp_path: Path) -> None:
    async with fronted(token_keys=public_key(tmp_path)) as world:
        await world.call(bearer(token()), ("x-request-id", "mine-1"))
    caller = world.echo.callers[0]
    assert (caller.device, caller.scopes) == ("phone-1", {Scope.READ, Scope.PACKS})
    assert caller.request_id == "mine-1"


@pytest.mark.parametrize(
    ("metadata", "method", "body", "status"),
    [
        ([], READ_STRIP, b"", grpc.StatusCode.UNAUTHENTICATED),
        ([bearer("a.b.c")], READ_STRIP, b"", grpc.StatusCode.UNAUTHENTICATED),
        ([bearer(token(exp=1))], READ_STRIP, b"", grpc.StatusCode.UNAUTHENTICATED),
        ([bearer(token(aud="other"))], READ_STRIP, b"", grpc.StatusCode.UNAUTHENTICATED),
        ([bearer(token())], READ_STRIPS, b"", grpc.StatusCode.PERMISSION_DENIED),
        ([bearer(token())], READ_STRIP, b"\xff" * 9, grpc.StatusCode.INVALID_ARGUMENT),
        ([bearer(token())], READ_STRIP, bytes(MAX_RPC_BYTES + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["no token", "no such token", "expired", "audience", "scope", "malformed", "too large"],
)
async def test_a_refusal_carries_the_request_id_and_never_reaches_the_handler(
    tmp_path: Path, metadata: list[tuple[str, str]], method: str, body: bytes, status: grpc.StatusCode
) -> None:
    async with fronted(token_keys=public_key(tmp_path)) as world:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await world.call(*metadata, ("x-request-id", "mine-1"), method=method, body=body)
        assert refusal.value.code() is status
        if status is not grpc.StatusCode.RESOURCE_EXHAUSTED:  # that one is gRPC's own
            assert ("x-request-id", "mine-1") in world.metadata
        assert world.echo.callers == []
        await world.call(bearer(token()))
        assert ("x-request-id", world.echo.callers[0].request_id) in world.metadata


async def test_a_call_is_refused_before_its_message_is_sent(tmp_path: Path) -> None:
    async with fronted(token_keys=public_key(tmp_path)) as world:
        call = world.channel.stream_unary(READ_STRIP)(timeout=10)  # sends headers and then nothing
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_call_without_a_message_is_refused() -> None:
    async with fronted() as world:
        call = world.channel.stream_unary(READ_STRIP)(timeout=10)
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_device_past_its_share_is_told_when_to_come_back(tmp_path: Path) -> None:
    clock = SetClock()
    async with fronted(clock, token_keys=public_key(tmp_path), quota_calls_per_s=0.5, quota_burst_calls=2) as world:
        for _ in range(2):
            await world.call(bearer(token(clock)))
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await world.call(bearer(token(clock)))
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 1500 <= int(dict(world.metadata)[RETRY_AFTER_KEY]) <= 2000
        clock.ahead += 2.0
        await world.call(bearer(token(clock)))


async def test_health_is_open_and_streams_are_not(tmp_path: Path) -> None:
    async with fronted(token_keys=public_key(tmp_path)) as world:
        health = health_pb2_grpc.HealthStub(world.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=10)).status
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await health.Check(health_pb2.HealthCheckRequest(service="none"), timeout=10)
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await health.Watch(health_pb2.HealthCheckRequest(), timeout=10).read()
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=10, metadata=[bearer(token())])
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_reflection_works_behind_the_front() -> None:
    async with fronted() as world:
        call = reflection_pb2_grpc.ServerReflectionStub(world.channel).ServerReflectionInfo(timeout=10)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await call.done_writing()
        answer = await call.read()
    assert "wayword.v1.Reader" in {service.name for service in answer.list_services_response.service}


async def test_open_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.front.interceptors.MAX_OPEN_STREAMS", 2)
    async with fronted() as world:
        health = health_pb2_grpc.HealthStub(world.channel)
        watches = [health.Watch(health_pb2.HealthCheckRequest(), timeout=10) for _ in range(2)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await health.Watch(health_pb2.HealthCheckRequest(), timeout=10).read()
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for watch in watches:
            watch.cancel()


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (Refusal(Reason.QUOTA, "x", retry_after_s=0.25), {RETRY_AFTER_KEY: "250", PUSHBACK_KEY: "250"}),
        (Refusal(Reason.QUOTA, "x", retry_after_s=86400.0), {RETRY_AFTER_KEY: "86400000", PUSHBACK_KEY: "-1"}),
        (Refusal(Reason.TEXT_TOO_LONG, "x"), {PUSHBACK_KEY: "-1"}),
        (Refusal(Reason.UNREACHABLE, "x", retry_after_s=1.0), {RETRY_AFTER_KEY: "1000"}),
        (Refusal(Reason.DRAINING, "x"), {}),
    ],
    ids=str,
)
def test_a_refusal_says_when_to_come_back_and_libraries_whether_at_all(refusal: Refusal, told: dict[str, str]) -> None:
    assert dict(outcome_of(refusal, method="m").metadata) == told


def test_a_caller_is_not_told_where_the_service_keeps_its_files(caplog: pytest.LogCaptureFixture) -> None:
    outcome = outcome_of(StorageError("cannot write /srv/places.sqlite3: disk full"), method="m")
    assert (outcome.name, outcome.status) == ("StorageError", grpc.StatusCode.INTERNAL)
    assert "/srv" not in outcome.message
    assert "/srv/places.sqlite3" in caplog.text


async def page(address: str, request: bytes = b"GET /metrics HTTP/1.1\r\n\r\n") -> str:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_calls_are_counted_by_method_and_outcome_and_never_by_who_made_them(tmp_path: Path) -> None:
    async with fronted(token_keys=public_key(tmp_path), metrics_listen="127.0.0.1:0") as world:
        world.front.metrics.gauge("wayword_depth", "Of a queue.", lambda: 7.0)
        await world.call(bearer(token(sub="secret-device")))
        for method in (READ_STRIP, "/no.such/Method", "/no.such/Other"):
            with pytest.raises(grpc.aio.AioRpcError):
                await world.call(method=method)
        assert world.front.metrics_address is not None
        shown = await page(world.front.metrics_address)
    assert f'wayword_calls_total{{method="{READ_STRIP}",status="ok"}} 1.0' in shown
    assert f'wayword_calls_total{{method="{READ_STRIP}",status="unauthenticated"}} 1.0' in shown
    assert 'wayword_turned_away_total{reason="unauthenticated"} 1.0' in shown
    assert 'wayword_turned_away_total{reason="no_such_method"} 2.0' in shown
    assert f'wayword_call_seconds_count{{method="{READ_STRIP}"}} 2.0' in shown
    assert "wayword_open_calls 0.0" in shown
    assert "wayword_depth 7.0" in shown
    assert "secret-device" not in shown
    assert "no.such" not in shown


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"nonsense\r\n\r\n", "400"),
        (b"x" * 20_000, ""),
    ],
)
async def test_the_metrics_port_answers_nothing_else(request_: bytes, status: str) -> None:
    async with fronted(metrics_listen="127.0.0.1:0") as world:
        assert world.front.metrics_address is not None
        try:
            answer = await page(world.front.metrics_address, request_)
        except ConnectionError:  # closed with bytes unread
            answer = ""
    assert answer.split(" ")[1:2] == ([status] if status else [])


async def test_a_sampled_caller_s_trace_goes_on_and_holds_no_content(tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
    async with fronted(processor=SimpleSpanProcessor(spans), token_keys=public_key(tmp_path), trace_ratio=0.0) as world:
        await world.call(bearer(token()))
        await world.call(bearer(token()), ("traceparent", f"{parent}-00"))
        for none in ("nonsense", f"{parent}-01-extra"):
            await world.call(bearer(token()), ("traceparent", none))
        assert spans.get_finished_spans() == ()
        await world.call(bearer(token()), ("traceparent", f"{parent}-01"), ("x-request-id", "mine"))
        with pytest.raises(grpc.aio.AioRpcError):
            await world.call(bearer("x"), ("traceparent", f"{parent}-01"))
    (span,) = spans.get_finished_spans()  # strangers do not make us work
    assert span.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert dict(span.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "wayword.v1.Reader",
        "rpc.method": "ReadStrip",
        "wayword.request_id": "mine",
        "rpc.grpc.status_code": 0,
    }
    assert SECRET_TEXT not in span.to_json()
    assert "phone-1" not in span.to_json()


def test_of_calls_without_a_parent_a_share_is_traced() -> None:
    spans = InMemorySpanExporter()
    drawn = iter((0.0, 0.3, 0.24, 0.25, 0.99))
    tracing = Tracing(SimpleSpanProcessor(spans), ratio=0.25, draw=lambda: next(drawn))
    for number in range(5):
        span = tracing.begin("/a.B/C", "", f"r{number}")
        if span is not None:
            tracing.end(span, grpc.StatusCode.NOT_FOUND)
    tracing.close()
    assert [(span.attributes or {})["wayword.request_id"] for span in spans.get_finished_spans()] == ["r0", "r2"]


async def test_refusals_are_written_down_but_do_not_fill_the_disk(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    events = EventLog(log, tier="cloud", clock=SystemClock())
    async with fronted(events=events, token_keys=public_key(tmp_path)) as world:

        async def refused(number: int) -> None:
            with pytest.raises(grpc.aio.AioRpcError):
                await world.channel.unary_unary(READ_STRIP)(b"", metadata=[("x-request-id", f"n{number}")], timeout=10)

        await asyncio.gather(*[refused(number) for number in range(150)])
    events.close()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[0]["event"] == "refused"
    assert (lines[0]["method"], lines[0]["reason"]) == (READ_STRIP, "unauthenticated")
    assert lines[0]["request_id"].startswith("n")
    assert 100 <= len(lines) < 140


async def test_another_way_in_goes_by_the_same_rules(tmp_path: Path) -> None:
    async with fronted(token_keys=public_key(tmp_path)) as world:
        shown = Shown("ipv4:192.0.2.7:1", (f"Bearer {token()}",))
        admission = await world.front.admit(READ_STRIP, shown)
        assert admission.caller.device == "phone-1"
        admission.leave()
        with pytest.raises(Refusal) as refusal:
            await world.front.admit(READ_STRIPS, shown)
    assert refusal.value.reason is Reason.FORBIDDEN


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "192.0.2.7:1", "[::]:1", "cloud.example:1"])
def test_tokens_do_not_go_over_the_network_in_plain_text(listen: str, tmp_path: Path) -> None:
    settings = {"listen": listen, "token_keys": "k"}
    with pytest.raises(UsageError, match="without encryption"):
        check_exposure(CloudSettings.load(None, **settings))
    assert check_exposure(CloudSettings.load(None, **settings, insecure=True)) is None
    assert "anybody" in (check_exposure(CloudSettings.load(None, listen=listen)) or "")


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "[::1]:1", "localhost:1"])
def test_on_this_machine_plain_text_will_do(listen: str) -> None:
    assert check_exposure(CloudSettings.load(None, listen=listen, token_keys="k")) is None


async def test_a_service_without_its_keys_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="none"):
        async with fronted(token_keys=str(tmp_path / "none")):
            pytest.fail("it serves")

"""The gateway between real sockets: which replica gets a call, what goes with it, and what a dying replica costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from cloud.callers import ANYONE, Caller, Scope, called_by
from cloud.calls import RETRY_AFTER_KEY, outcome_of
from cloud.cli import main
from cloud.front.connections import CLIENT_PING_S
from cloud.reading.service import READER_SERVICE
from cloud.refusals import Reason, Refusal
from cloud.replicas import gateway as gateway_module
from cloud.replicas.backends import MAX_REPLICAS, REST_S, Backends, Replica, resolve_name, split_address
from cloud.replicas.fronting import ANSWERED, DEVICE, KEY, OWN, FrontKey, passed_on
from cloud.replicas.gateway import SERVICES, ForwardedService, backends_of, forwarded
from cloud.replicas.retry_policy import FULL, RETRYABLE, SERVICE_CONFIG, channel_options
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import UsageError
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc

CLOCK = SystemClock()
Context = grpc.aio.ServicerContext[object, object]


class FakeClock:
    """Time stands still unless somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class NoChannel:
    """Of a replica that is never called."""

    def __init__(self) -> None:
        self.closed = False

    async def call(self, method: str, request: bytes, *, timeout: float, metadata: Sequence[tuple[str, str]]) -> bytes:  # noqa: ASYNC109
        raise AssertionError("nothing calls it")

    async def close(self) -> None:
        self.closed = True


class FakeReplica(cloud_pb2_grpc.ReaderServicer):
    """A plain replica that answers with its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.metadata: dict[str, str] = {}
        self.seconds = 0.0
        self.calls = 0
        self.called = asyncio.Condition()
        self.before: Callable[[Context], Awaitable[None]] | None = None
        self.server = grpc.aio.server()
        cloud_pb2_grpc.add_ReaderServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    async def has_calls(self, count: int) -> None:
        async with self.called:
            await self.called.wait_for(lambda: self.calls >= count)

    async def ReadStrip(  # noqa: N802 - gRPC's name
        self, request: cloud_pb2.ReadStripRequest, context: Context
    ) -> cloud_pb2.ReadStripReply:
        async with self.called:
            self.calls += 1
            self.called.notify_all()
        self.metadata = {name: str(value) for name, value in context.invocation_metadata() or ()}
        self.seconds = context.time_remaining()
        if self.before is not None:
            await self.before(context)
        reply = cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key)
        reply.reading.text = self.name
        return reply


class Gateway:
    """A running gateway and a client of it."""

    def __init__(self, address: str, channel: grpc.aio.Channel, replicas: list[FakeReplica]) -> None:
        self.address = address
        self.channel = channel
        self.stub = cloud_pb2_grpc.ReaderStub(channel)
        self.replicas = replicas

    async def read(self, key: str = "k", *, seconds: float = 10.0, metadata: tuple[tuple[str, str], ...] = ()) -> str:
        request = cloud_pb2.ReadStripRequest(idempotency_key=key)
        return (await self.stub.ReadStrip(request, timeout=seconds, metadata=metadata)).reading.text

    async def refused(self) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await self.read()
        return failure.value


@asynccontextmanager
async def gateway(
    *names: str, key: FrontKey | None = None, settings: dict[str, object] | None = None, more: Sequence[str] = ()
) -> AsyncIterator[Gateway]:
    replicas = [FakeReplica(name) for name in names]
    for one in replicas:
        await one.server.start()
    own = CloudSettings.load(
        None,
        **{
            "listen": "127.0.0.1:0",
            "grace_s": 5.0,
            "backends": [*(f"127.0.0.1:{one.port}" for one in replicas), *more],
            **(settings or {}),
        },
    )
    backends = backends_of(own, CLOCK)
    await backends.refresh()
    server = CloudServer(forwarded(backends, clock=CLOCK, default_deadline_s=10.0, front_key=key), own)
    host, port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            yield Gateway(f"{host}:{port}", channel, replicas)
    finally:
        await server.drain()
        for one in replicas:
            await one.server.stop(None)


async def test_calls_are_shared_out_among_idle_replicas() -> None:
    async with gateway("a", "b", "c") as front:
        answers = [await front.read() for _ in range(9)]
    assert {name: answers.count(name) for name in "abc"} == {"a": 3, "b": 3, "c": 3}


async def test_a_busy_replica_gets_less() -> None:
    async with gateway("a", "b") as front:
        gate = asyncio.Event()

        async def gated(context: Context) -> None:
            await gate.wait()

        for one in front.replicas:
            one.before = gated
        held = asyncio.create_task(front.read())
        await asyncio.wait(
            [asyncio.ensure_future(one.has_calls(1)) for one in front.replicas], return_when=asyncio.FIRST_COMPLETED
        )
        busy, idle = sorted(front.replicas, key=lambda one: -one.calls)
        idle.before = None
        assert [await front.read() for _ in range(3)] == [idle.name] * 3
        gate.set()
        assert await held == busy.name


async def test_the_deadline_the_token_and_the_request_id_go_on_and_the_hop_does_not() -> None:
    async with gateway("a") as front:
        sent = (("authorization", "Bearer t"), ("x-request-id", "r1"), ("traceparent", "00-1-1-01"), (DEVICE, "forged"))
        await front.read(seconds=5.0, metadata=sent)
        (replica,) = front.replicas
    assert {key: replica.metadata[key] for key, _ in sent[:3]} == dict(sent[:3])
    assert not OWN & set(replica.metadata), "only a front says these"
    assert 3.0 < replica.seconds < 5.1, "gRPC rounds a deadline up on its way"


async def test_a_refusal_comes_back_as_it_is_with_its_retry_delay() -> None:
    async with gateway("a", "b") as front:

        async def overloaded(context: Context) -> None:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", ((RETRY_AFTER_KEY, "70"),))

        for one in front.replicas:
            one.before = overloaded
        error = await front.refused()
        assert sum(one.calls for one in front.replicas) == 1, "repeating it would keep the service overloaded"
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
    assert (RETRY_AFTER_KEY, "70") in tuple(error.trailing_metadata())


async def test_calls_that_a_replica_takes_down_with_it_are_answered_by_another() -> None:
    async with gateway("a", "b") as front:

        async def never(context: Context) -> None:
            await asyncio.Event().wait()

        dying, other = front.replicas
        dying.before = never
        calls = [asyncio.create_task(front.read(f"k{number}")) for number in range(6)]
        await dying.has_calls(1)
        await dying.server.stop(None)
        assert await asyncio.gather(*calls) == [other.name] * 6
        assert [await front.read() for _ in range(4)] == [other.name] * 4, "it rests"


async def test_a_draining_replica_keeps_what_it_has_and_gets_nothing_new() -> None:
    async with gateway("a", "b") as front:
        gate = asyncio.Event()

        async def gated(context: Context) -> None:
            await gate.wait()

        draining, other = front.replicas
        draining.before = gated
        calls = [asyncio.create_task(front.read(f"k{number}")) for number in range(2)]
        await draining.has_calls(1)
        stopping = asyncio.create_task(draining.server.stop(10.0))
        assert [await front.read() for _ in range(4)] == [other.name] * 4
        gate.set()
        assert sorted(await asyncio.gather(*calls)) == ["a", "b"]
        await stopping


async def test_without_any_replica_a_call_ends_soon_and_typed() -> None:
    async with gateway("a") as front:
        await front.replicas[0].server.stop(None)
        error = await front.refused()
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert str(front.replicas[0].port) not in error.details(), "where replicas are is nobody's business"


async def test_a_replica_that_is_gone_without_a_word_does_not_hold_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tuple((name, 500 if "ping_timeout" in name else value) for name, value in gateway_module._TO_REPLICAS)
    monkeypatch.setattr(gateway_module, "_TO_REPLICAS", quick)
    silent = asyncio.Event()
    carrying: list[asyncio.Task[None]] = []
    ends: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            if not silent.is_set():
                writer.write(part)

    other = FakeReplica("other")
    await other.server.start()

    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", other.port)
        carrying.extend(asyncio.create_task(work) for work in (carry(reader, forth), carry(back, writer)))
        ends.extend((forth, writer))

    lines = await asyncio.start_server(line, "127.0.0.1", 0)
    port = lines.sockets[0].getsockname()[1]
    async with gateway("here", settings={"backend_channels": 1}, more=[f"127.0.0.1:{port}"]) as front:
        assert {await front.read() for _ in range(4)} == {"here", "other"}
        silent.set()
        assert {await front.read(seconds=20.0) for _ in range(4)} == {"here"}
    lines.close()
    await other.server.stop(None)
    for end in ends:
        end.close()
    await asyncio.gather(*carrying, *(end.wait_closed() for end in ends), return_exceptions=True)


def test_the_gateway_does_not_ping_more_often_than_replicas_allow() -> None:
    assert dict(gateway_module._TO_REPLICAS)["grpc.keepalive_time_ms"] >= CLIENT_PING_S * 1e3


async def test_a_replica_that_leaves_while_a_call_waits_to_try_it_again_is_not_closed_under_it() -> None:
    class Leaving(NoChannel):
        """Fails once; then its name leads elsewhere."""

        async def call(self, *_: object, **__: object) -> bytes:
            assert not self.closed
            if not clock.slept:
                raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
            return b"answered"

    class Sleep(FakeClock):
        slept = False

        async def sleep(self, seconds: float) -> None:
            self.slept = True
            addresses[:] = ["b:1"]
            await backends.refresh()

    async def resolve(host: str, port: int) -> list[str]:
        return addresses

    addresses, clock, channel = ["a:1"], Sleep(), Leaving()
    backends = Backends(["replicas:1"], connect=lambda *_: channel, clock=clock, resolve=resolve)
    await backends.refresh()
    service = ForwardedService(SERVICES[0], backends, clock=clock, default_deadline_s=1.0)
    assert await service.forward("/wayword.v1.Reader/ReadStrip", b"", deadline=clock.now + 9.0) == b"answered"
    assert channel.closed


async def test_what_can_be_no_name_is_not_looked_up() -> None:
    with pytest.raises(OSError, match="label"):
        await resolve_name("x" * 70 + ".example", 1)


async def test_every_method_of_the_contract_is_forwarded() -> None:
    backends = Backends(["127.0.0.1:1"], connect=lambda address, host: NoChannel(), clock=CLOCK)
    hosted = forwarded(backends, clock=CLOCK, default_deadline_s=1.0)
    assert {one.name for one in hosted} == {one.full_name for one in SERVICES}
    assert {name for one in hosted for name in one.handlers()} >= {"ReadStrip", "Translate", "Lookup", "Report"}


async def test_bytes_that_are_no_message_do_not_reach_replicas_that_cannot_refuse_them() -> None:
    async with gateway("a", key=FrontKey()) as front:
        call = front.channel.unary_unary("/wayword.v1.Reader/ReadStrip", lambda data: data, lambda data: data)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call(b"\xff\xff\xff", timeout=5)
        assert front.replicas[0].calls == 0
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("said", "calls"), [((), 2), (((ANSWERED, "1"),), 1)])
async def test_a_proxys_failure_is_repeated_and_a_replicas_own_is_not(
    said: tuple[tuple[str, str], ...], calls: int
) -> None:
    async with gateway("a", "b", key=FrontKey()) as front:
        had = 0

        async def fails_once(context: Context) -> None:
            nonlocal had
            had += 1
            if had == 1:
                await context.abort(grpc.StatusCode.UNKNOWN, "a stream was reset", said)

        for one in front.replicas:
            one.before = fails_once
        answer = await asyncio.gather(front.read(), return_exceptions=True)
        assert had == calls
        assert isinstance(answer[0], str) == (calls == 2)


async def test_a_front_vouches_for_its_caller_with_a_key() -> None:
    key = FrontKey()
    async with gateway("a", key=key) as front:
        await front.read(seconds=5.0, metadata=(("x-request-id", "r1"),))
        said = tuple(front.replicas[0].metadata.items())
    call = key.check(said, default_seconds=1.0)
    assert call.caller.scopes == ANYONE.scopes
    assert 3.0 < call.seconds < 5.1


def test_what_a_front_says_of_a_caller_arrives() -> None:
    key = FrontKey()
    caller = Caller("phone-1", frozenset({Scope.READ, Scope.PLACES}), "r1")
    with called_by(caller):
        call = key.check(key.metadata(caller, 1.5), default_seconds=9.0)
    assert (call.caller, call.seconds) == (caller, 1.5)


@pytest.mark.parametrize("said", [(), ((KEY, ""),), ((KEY, "another"),), ((DEVICE, "phone-1"),)])
def test_who_does_not_have_the_key_is_nobody(said: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(Refusal) as refusal:
        FrontKey().check(said, default_seconds=1.0)
    assert refusal.value.reason is Reason.UNAUTHENTICATED


def test_a_front_key_does_not_show_itself() -> None:
    key = FrontKey()
    assert key.value not in repr(key)
    assert len(key.value) >= 40


def test_only_text_that_belongs_to_the_call_is_passed_on() -> None:
    metadata = (("x-a", "1"), ("grpc-timeout", "1S"), ("user-agent", "x"), ("data-bin", b"1"), (KEY, "k"))
    assert passed_on(metadata) == (("x-a", "1"),)


async def found(*addresses: str, clock: FakeClock | None = None, calls_each: int = 8) -> Backends:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    backends = Backends(
        ["replicas:1"],
        connect=lambda address, host: NoChannel(),
        clock=clock or FakeClock(),
        resolve=resolve,
        calls_each=calls_each,
    )
    await backends.refresh()
    return backends


async def test_a_replica_that_failed_rests_and_then_is_asked_again() -> None:
    clock = FakeClock()
    backends = await found("a:1", "b:1", clock=clock)
    failing = backends.choose()
    backends.failed(failing)
    assert failing not in [backends.choose() for _ in range(4)]
    clock.now += REST_S + 0.1
    assert failing in [backends.choose() for _ in range(4)]


async def test_a_call_goes_where_it_has_not_been_unless_there_is_no_other() -> None:
    backends = await found("a:1", "b:1")
    tried: list[Replica] = []
    for _ in range(2):
        tried.append(backends.choose(tried))
        backends.failed(tried[-1])
    assert {one.address for one in tried} == {"a:1", "b:1"}
    assert backends.choose(tried) in tried


async def test_full_replicas_refuse_with_a_retry_delay() -> None:
    backends = await found("a:1", "b:1", calls_each=1)
    for _ in range(2):
        backends.choose().open_calls += 1
    with pytest.raises(Refusal) as refusal:
        backends.choose()
    assert refusal.value.reason is Reason.OVERLOADED
    assert refusal.value.retry_after_s is not None


async def test_names_are_followed_and_a_replica_that_left_ends_when_its_calls_have() -> None:
    addresses = ["a:1", "b:1"]
    channels: dict[str, NoChannel] = {}

    def connect(address: str, host: str) -> NoChannel:
        assert host == "replicas"
        return channels.setdefault(address, NoChannel())

    async def resolve(host: str, port: int) -> list[str]:
        if not addresses:
            raise OSError("no such name")
        return addresses

    backends = Backends(["replicas:1"], connect=connect, clock=FakeClock(), resolve=resolve)
    await backends.refresh()
    leaving = next(one for one in (backends.choose(), backends.choose()) if one.address == "a:1")
    leaving.open_calls += 1
    addresses[:] = ["b:1", "c:1"]
    await backends.refresh()
    assert backends.addresses == ("b:1", "c:1")
    assert not channels["a:1"].closed
    await backends.released(leaving)
    assert channels["a:1"].closed
    addresses.clear()
    await backends.refresh()
    assert backends.addresses == ("b:1", "c:1"), "a name server that fails takes nobody away"
    await backends.close()
    assert all(channel.closed for channel in channels.values())


async def test_a_name_may_stand_for_many_replicas_but_not_for_any_number() -> None:
    backends = await found(*(f"10.0.{number // 250}.{number % 250}:1" for number in range(MAX_REPLICAS + 9)))
    assert len(backends.addresses) == MAX_REPLICAS


@pytest.mark.parametrize("target", ["", "host", "host:", ":1", "host:0", "host:70000", "host:x"])
def test_a_malformed_backend_is_one_clear_error(target: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        split_address(target)


def test_a_gateway_without_backends_is_one_clear_error() -> None:
    with pytest.raises(UsageError, match="--backend"):
        main(["gateway", "--listen", "127.0.0.1:0"])


def test_backends_are_settings_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "--backend", "a:1", "--backend", "b:2", "--show-settings"]) == 0
    assert 'backends = ["a:1", "b:2"]' in capsys.readouterr().out


def test_the_policy_that_clients_are_told_to_use_is_the_one_that_is_tested() -> None:
    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert json.loads(page.partition("```json\n")[2].partition("```")[0]) == SERVICE_CONFIG
    (method,) = SERVICE_CONFIG["methodConfig"]
    assert method["name"] == [{"service": READER_SERVICE}]
    assert method["retryPolicy"]["retryableStatusCodes"] == [*RETRYABLE, FULL]


@pytest.mark.parametrize(("retry_after_s", "calls"), [(0.3, 2), (None, 1), (60.0, 1)])
async def test_a_client_with_the_policy_comes_back_to_a_full_service_when_it_is_told_to(
    retry_after_s: float | None, calls: int
) -> None:
    outcome = outcome_of(Refusal(Reason.OVERLOADED, "busy", retry_after_s=retry_after_s), method="ReadStrip")
    async with gateway("a") as front:
        times: list[float] = []

        async def full_at_first(context: Context) -> None:
            times.append(CLOCK.monotonic())
            if len(times) == 1:
                await context.abort(outcome.status, outcome.message, outcome.metadata)

        front.replicas[0].before = full_at_first
        async with grpc.aio.insecure_channel(front.address, options=channel_options()) as channel:
            await asyncio.gather(
                cloud_pb2_grpc.ReaderStub(channel).ReadStrip(cloud_pb2.ReadStripRequest(), timeout=20.0),
                return_exceptions=True,
            )
    assert len(times) == calls
    assert retry_after_s is None or len(times) == 1 or times[1] - times[0] >= 0.9 * retry_after_s


async def test_a_plain_client_with_the_policy_loses_nothing_to_a_replica_that_stops() -> None:
    replicas = [FakeReplica("a"), FakeReplica("b")]
    for one in replicas:
        await one.server.start()
    dying, other = replicas

    async def never(context: Context) -> None:
        await asyncio.Event().wait()

    target = "ipv4:" + ",".join(f"127.0.0.1:{one.port}" for one in replicas)
    request = cloud_pb2.ReadStripRequest(idempotency_key="k")
    async with grpc.aio.insecure_channel(target, options=channel_options()) as channel:
        stub = cloud_pb2_grpc.ReaderStub(channel)

        async def read() -> str:
            return (await stub.ReadStrip(request, timeout=10.0, wait_for_ready=True)).reading.text

        while not all(one.calls for one in replicas):  # until the client is connected to both
            await read()
        dying.before, before = never, dying.calls
        calls = [asyncio.create_task(read()) for _ in range(6)]
        await dying.has_calls(before + 1)
        await dying.server.stop(None)
        assert await asyncio.gather(*calls) == [other.name] * 6
    await other.server.stop(None)

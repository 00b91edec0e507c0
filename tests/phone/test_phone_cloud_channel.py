"""The phone's channel: what it shows the cloud, to whom, and how it takes no for an answer."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from phone.cloud_channel import REFUSED_PAUSE_S, CallRefused, CloudChannel, GrpcTransport, Refusal
from phone.cloud_credentials import MAX_TOKEN_BYTES, CloudCredentials, TokenFile
from shared.clock import SystemClock
from shared.errors import CloudUnavailable, StorageError, UsageError
from shared.messages.wayword.v1 import cloud_pb2, places_pb2

READ = "/wayword.v1.Reader/ReadStrip"
LOOKUP = "/wayword.v1.Places/Lookup"


class SetClock(SystemClock):
    """The system's clock, plus whatever it is set forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Guard:
    """A cloud that lets in one token, and to places only who has another."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self.told: list[str] = []
        self.good = "Bearer good"

    async def read(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return await self._answer("read", context)

    async def lookup(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return await self._answer("lookup", context)

    async def _answer(self, what: str, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        metadata = dict(context.invocation_metadata() or ())
        shown = metadata.get("authorization")
        self.seen.append((what, None if shown is None else str(shown)))
        if shown != self.good:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this needs a token")
        if what == "lookup":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this needs the scope places")
        return b""


@asynccontextmanager
async def guarded(
    tmp_path: Path, word: str | None, clock: SystemClock
) -> AsyncIterator[tuple[Guard, CloudChannel, Path]]:
    guard = Guard()
    server = grpc.aio.server()
    for service, methods in (
        ("wayword.v1.Reader", {"ReadStrip": guard.read}),
        ("wayword.v1.Places", {"Lookup": guard.lookup}),
    ):
        handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    path = tmp_path / "token"
    if word is not None:
        path.write_text(word)
    credentials = CloudCredentials(token_file=None if word is None else path)
    channel = CloudChannel(f"127.0.0.1:{port}", clock=clock, credentials=credentials, on_stop=guard.told.append)
    try:
        yield guard, channel, path
    finally:
        await channel.close()
        await server.stop(grace=None)


async def read(channel: CloudChannel) -> cloud_pb2.ReadStripReply:
    return await channel.call(READ, cloud_pb2.ReadStripRequest(), cloud_pb2.ReadStripReply, timeout=10)


async def lookup(channel: CloudChannel) -> places_pb2.LookupReply:
    return await channel.call(LOOKUP, places_pb2.LookupRequest(), places_pb2.LookupReply, timeout=10)


async def test_the_token_of_the_file_goes_with_every_call(tmp_path: Path) -> None:
    async with guarded(tmp_path, "good\n", SetClock()) as (guard, channel, _):
        await read(channel)
        with pytest.raises(CallRefused):
            await lookup(channel)
    assert guard.seen == [("read", "Bearer good"), ("lookup", "Bearer good")]


async def test_without_a_token_file_nothing_is_shown(tmp_path: Path) -> None:
    async with guarded(tmp_path, None, SetClock()) as (guard, channel, _):
        with pytest.raises(CallRefused):
            await read(channel)
    assert guard.seen == [("read", None)]


async def test_a_refused_token_is_not_shown_again_until_there_is_another(tmp_path: Path) -> None:
    clock = SetClock()
    async with guarded(tmp_path, "old", clock) as (guard, channel, path):
        transport = GrpcTransport(channel, close_channel=False)
        for _ in range(3):
            for call in (read, lookup):
                with pytest.raises(CallRefused, match="needs a token") as refusal:
                    await call(channel)
                assert refusal.value.refusal is Refusal.UNAUTHENTICATED
            with pytest.raises(CallRefused):
                await transport.connect(clock.monotonic() + 10)
        assert len(guard.seen) == 1
        path.write_text("good")
        await transport.connect(clock.monotonic() + 10)
        await read(channel)
    assert guard.seen == [("read", "Bearer old"), ("read", "Bearer good")]
    (told,) = guard.told
    assert "nothing is asked of it until there is another token" in told
    assert "old" not in told


async def test_a_refused_token_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    clock = SetClock()
    async with guarded(tmp_path, "good", clock) as (guard, channel, _):
        guard.good = "Bearer other"
        with pytest.raises(CallRefused):
            await read(channel)
        guard.good = "Bearer good"  # the cloud was wrong
        with pytest.raises(CallRefused):
            await read(channel)
        clock.ahead += REFUSED_PAUSE_S
        await read(channel)
    assert len(guard.seen) == 2


async def test_what_a_token_does_not_allow_stops_only_that(tmp_path: Path) -> None:
    async with guarded(tmp_path, "good", SetClock()) as (guard, channel, _):
        for _ in range(3):
            with pytest.raises(CallRefused, match="scope") as refusal:
                await lookup(channel)
            assert refusal.value.refusal is Refusal.FORBIDDEN
            await read(channel)
    assert [what for what, _ in guard.seen] == ["lookup", "read", "read", "read"]


async def test_without_the_token_that_should_be_there_nothing_leaves(tmp_path: Path) -> None:
    async with guarded(tmp_path, "good", SetClock()) as (guard, channel, path):
        path.unlink()
        with pytest.raises(CallRefused, match="token file") as refusal:
            await read(channel)
        assert refusal.value.refusal is Refusal.UNAUTHENTICATED
        assert guard.seen == []
        path.write_text("good")
        await read(channel)


async def test_a_closed_channel_is_an_unavailable_cloud(tmp_path: Path) -> None:
    clock = SetClock()
    async with guarded(tmp_path, "good", clock) as (_, channel, _path):
        await GrpcTransport(channel).close()
        with pytest.raises(CloudUnavailable):
            await channel.connect(clock.monotonic() + 10)


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"a b", b"a\nb", b"\xff\xfe", "tökén".encode(), b"x" * (MAX_TOKEN_BYTES + 1)]
)
def test_a_file_without_a_token_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="no token"):
        TokenFile(path).read()


def test_a_token_file_replaced_by_one_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    file = TokenFile(path)
    assert file.read() == "one"
    (tmp_path / "new").write_text("two")
    os.utime(tmp_path / "new", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "new").replace(path)
    assert file.read() == "two"


@pytest.mark.parametrize(
    ("address", "credentials", "says"),
    [
        ("cloud.example:443", CloudCredentials(tls=False, token_file=Path("t")), "without encryption"),
        ("192.0.2.7:443", CloudCredentials(tls=False, token_file=Path("t")), "without encryption"),
        ("localhost:1", CloudCredentials(client_certificate=Path("c"), client_key=Path("k")), "encrypted channel"),
        ("cloud.example:443", CloudCredentials(client_key=Path("k")), "belong together"),
    ],
)
async def test_credentials_that_would_be_given_away_or_useless_are_an_error(
    address: str, credentials: CloudCredentials, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        CloudChannel(address, clock=SystemClock(), credentials=credentials)


async def test_a_certificate_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    credentials = CloudCredentials(client_certificate=tmp_path / "c.pem", client_key=tmp_path / "k.pem")
    with pytest.raises(StorageError, match=r"k\.pem"):
        CloudChannel("cloud.example:443", clock=SystemClock(), credentials=credentials)

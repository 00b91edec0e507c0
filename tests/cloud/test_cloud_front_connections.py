"""Hostile and careless connections: each ends in bounded time, and the service goes on answering the others."""

from __future__ import annotations

import asyncio
import datetime
import shutil
import ssl
import struct
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from front_world import LARGE, READ_STRIP, World, bearer, fronted, public_key, token
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cloud.front.certificates import household
from cloud.front.tls import CertificateFiles
from cloud.health import check
from shared.errors import StorageError, UsageError
from shared.messages.wayword.v1 import cloud_pb2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A household's certificates, and those of a stranger in the folder "stranger"."""
    folder = tmp_path_factory.mktemp("home")
    household(folder, hosts=["127.0.0.1"], devices=["phone-1", "phone-2"], days=1, now=NOW)
    household(folder / "stranger", hosts=["127.0.0.1"], devices=["phone-1"], days=1, now=NOW)
    return folder


def tls(home: Path, **more: object) -> dict[str, object]:
    return {"tls_certificate": home / "server.pem", "tls_key": home / "server-key.pem", **more}


@asynccontextmanager
async def client(world: World, home: Path, device: Path | None = None) -> AsyncIterator[grpc.aio.Channel]:
    key, chain = (None, None) if device is None else (Path(f"{device}-key.pem"), Path(f"{device}.pem"))
    credentials = grpc.ssl_channel_credentials(
        (home / "ca.pem").read_bytes(), key and key.read_bytes(), chain and chain.read_bytes()
    )
    async with grpc.aio.secure_channel(world.address, credentials) as channel:
        yield channel


async def unanswered(world: World, home: Path, device: Path | None = None) -> None:
    async with client(world, home, device) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await world.call(channel=channel)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert world.echo.callers == []


async def test_a_client_certificate_says_which_device_calls(home: Path) -> None:
    async with fronted(**tls(home, tls_client_ca=home / "ca.pem")) as world:
        await unanswered(world, home)
        await unanswered(world, home, home / "stranger" / "devices" / "phone-1")
        await unanswered(world, home, home / "server")
        async with client(world, home, home / "devices" / "phone-1") as channel:
            await world.call(channel=channel)
    assert [caller.device for caller in world.echo.callers] == ["phone-1"]


async def test_a_health_probe_may_show_a_certificate(home: Path) -> None:
    async with fronted(**tls(home, tls_client_ca=home / "ca.pem")) as world:
        own = ["--certificate", f"{home}/devices/phone-1.pem", "--key", f"{home}/devices/phone-1-key.pem"]
        asked = [sys.executable, "-m", "cloud.cli", "health", world.address, "--timeout=20", f"--ca={home}/ca.pem"]
        # In processes of their own: gRPC's two kinds of client do not go together in one.
        probes = [await asyncio.create_subprocess_exec(*asked, *more, stderr=DEVNULL) for more in (own, [])]
        assert [await probe.wait() == 0 for probe in probes] == [True, False]
    for wrong in ({"key": home / "ca.pem"}, {"certificate": home / "ca.pem", "key": home / "ca.pem"}):
        with pytest.raises(UsageError, match="--ca"):
            check(world.address, **wrong)


async def test_a_client_does_not_speak_to_a_service_of_another_authority(home: Path) -> None:
    async with fronted(**tls(home)) as world:
        await unanswered(world, home / "stranger")
        async with client(world, home) as channel:
            await world.call(channel=channel)


async def test_a_token_and_a_certificate_must_be_of_one_device(home: Path, tmp_path: Path) -> None:
    both = tls(home, tls_client_ca=home / "ca.pem", token_keys=public_key(tmp_path))
    async with fronted(**both) as world, client(world, home, home / "devices" / "phone-2") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await world.call(bearer(token()), channel=channel)
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
        await world.call(bearer(token(sub="phone-2")), channel=channel)
    assert [caller.device for caller in world.echo.callers] == ["phone-2"]


async def test_a_renewed_certificate_counts_without_a_restart(home: Path, tmp_path: Path) -> None:
    for name in ("server.pem", "server-key.pem"):
        shutil.copy(home / name, tmp_path / name)
    async with fronted(**tls(tmp_path)) as world:
        for name in ("server.pem", "server-key.pem"):
            shutil.copy(home / "stranger" / name, tmp_path / name)
        async with client(world, home / "stranger") as channel:
            await world.call(channel=channel)
        (tmp_path / "server.pem").write_text("half written")
        async with client(world, home / "stranger") as channel:
            await world.call(channel=channel)


async def test_old_tls_is_refused(home: Path) -> None:
    async with fronted(**tls(home)) as world:
        host, _, port = world.address.rpartition(":")
        context = ssl.create_default_context(cafile=home / "ca.pem")
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=context)


@pytest.mark.parametrize("broken", ["server.pem", "server-key.pem", "ca.pem"])
def test_files_that_do_not_go_together_are_an_error_at_the_start(home: Path, tmp_path: Path, broken: str) -> None:
    paths = [home / name for name in ("server.pem", "server-key.pem", "ca.pem")]
    place = [path.name for path in paths].index(broken)
    for content in (b"nothing", (home / "stranger" / "server-key.pem").read_bytes()):
        paths[place] = tmp_path / broken
        paths[place].write_bytes(content)
        with pytest.raises(StorageError, match=broken):
            CertificateFiles(paths[0], paths[1], paths[2]).first()


class Raw:
    """A connection that says what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, world: World, *said: bytes) -> Raw:
        host, _, port = world.address.rpartition(":")
        raw = cls(*await asyncio.open_connection(host, int(port)))
        for part in said:
            raw._writer.write(part)
            await raw._writer.drain()
        return raw

    async def hang_up(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ended(self) -> bool:
        """Wait until the other side hangs up."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass
        self._writer.close()
        return True


@pytest.mark.parametrize(
    "said",
    [
        [],
        [b"P"],
        [PREFACE[:-1]],
        [PREFACE],
        [PREFACE, SETTINGS],
        [PREFACE, SETTINGS[:5]],
        [b"GET / HTTP/1.1\r\nHost: wayword\r\n\r\n"],
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
        [b"\x00" * 4096],
        [PREFACE, b"\xff" * 64],
        [PREFACE, SETTINGS, b"\x00\x00\x05\x01\x01\x00\x00\x00\x01abcde"],
        [PREFACE, SETTINGS, b"\x00\x00\x05\x01\x00\x00\x00\x00\x01abcde"],
    ],
    ids=[
        "silent",
        "one byte",
        "most of a preface",
        "a preface",
        "no settings acknowledged",
        "half of settings",
        "HTTP/1.1",
        "TLS",
        "zeros",
        "no frame",
        "headers without an end",
        "headers that are none",
    ],
)
async def test_who_connects_and_makes_no_call_is_cut_off(said: list[bytes]) -> None:
    async with fronted(handshake_timeout_s=0.1, connection_idle_s=0.1, connection_age_s=0.5) as world:
        raws = [await Raw.to(world, *said) for _ in range(3)]
        await world.call(patient=True)  # its own handshake, too, has little time
        assert all(await asyncio.gather(*[raw.ended() for raw in raws]))
        await world.call(patient=True)


async def test_a_message_that_does_not_come_is_not_waited_for() -> None:
    async with fronted(message_timeout_s=0.5) as world:
        call = world.channel.stream_unary(READ_STRIP)(timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call
        assert (refusal.value.code(), refusal.value.details()) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "the message did not arrive in time",
        )
        health = health_pb2_grpc.HealthStub(world.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=20)).status
        assert "wayword_open_calls 0.0" in world.front.metrics.page().decode()


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """RFC 9113, 4.1."""
    return struct.pack(">I", len(content))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + content


def field(name: bytes, value: bytes) -> bytes:
    """A header that is not indexed (RFC 7541, 6.2.2), of up to 16 kB."""
    rest = len(value) - 127
    length = bytes((len(value),)) if rest < 0 else bytes((127, rest & 127 | 128, rest >> 7))
    return b"\x00" + bytes((len(name),)) + name + length + value


async def test_who_does_not_take_the_answers_is_given_no_more_of_them(tmp_path: Path) -> None:
    headers = b"".join(
        (
            b"\x83\x86",  # POST, http
            field(b":path", READ_STRIP.encode()),
            field(b":authority", b"wayword"),
            field(b"content-type", b"application/grpc"),
            field(b"te", b"trailers"),
            field(b"authorization", f"Bearer {token()}".encode()),
        )
    )
    message = cloud_pb2.ReadStripRequest(idempotency_key=LARGE).SerializeToString()
    body = b"\0" + struct.pack(">I", len(message)) + message
    async with fronted(token_keys=public_key(tmp_path), quota_open_calls=1) as world:
        raw = await Raw.to(world, PREFACE, SETTINGS, frame(4, 1, 0, b""), frame(1, 4, 1, headers), frame(0, 1, 1, body))
        await world.echo.called.wait()
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await world.call(bearer(token()))
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await world.call(bearer(token(sub="phone-2")))
        await raw.hang_up()
        for _ in range(1000):  # until the service has noticed
            try:
                await world.call(bearer(token()))
            except grpc.aio.AioRpcError:
                continue
            break
        else:
            pytest.fail("its place did not become free")


async def test_connections_are_bounded_and_a_place_that_becomes_free_is_given_again() -> None:
    async with fronted(max_connections=3, handshake_timeout_s=0.1) as world:
        await world.call(patient=True)
        silent = [await Raw.to(world) for _ in range(6)]
        await world.call(patient=True)  # its own connection is one of the three
        assert all(await asyncio.gather(*[raw.ended() for raw in silent]))
        async with grpc.aio.insecure_channel(world.address) as channel:
            await world.call(channel=channel, patient=True)


@pytest.mark.parametrize("count", [1, 500])
async def test_a_flood_of_metadata_is_refused(count: int) -> None:
    metadata = [(f"name-{number}", "x" * (40_000 // count)) for number in range(count)]
    async with fronted() as world:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await world.call(*metadata)
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert world.echo.callers == []
        await world.call()


@pytest.mark.parametrize(
    "method", ["/", "//", "/wayword.v1.Reader", "/wayword.v1.Reader/", "/a/b/c", "/x/" + "y" * 5000]
)
async def test_a_method_that_is_none_is_refused(method: str) -> None:
    async with fronted() as world:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await world.call(method=method)
        assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
        await world.call()

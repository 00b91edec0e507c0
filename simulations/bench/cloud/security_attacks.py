"""The attacks: each says what it does, what must come of it, and within what time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519

from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from simulations.bench.cloud.security_bombs import large_jpeg, large_webp, many_scans, nested
from simulations.bench.cloud.security_world import CALL_S, CUT_S, READ_STRIP, SecurityWorld

QUICK_MS: Final = 1000.0
"""A refusal that waits for nothing must come within this on a busy machine."""
SLOW_MS: Final = 3 * CUT_S * 1e3
"""Whoever does not get on is to be cut off within this: the limit, gRPC's own steps of looking, and a busy machine."""
GREEDY_CALLS: Final = 1_000
HUGE: Final = 100 * 1024 * 1024
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME: Final = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
CUT: Final = "cut off"
STILL_OPEN: Final = "STILL OPEN"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one attempt met.

    Attributes:
        how: a gRPC status, `CUT`, `STILL_OPEN`, or "ANSWERED".
        ms: until then.
    """

    how: str
    ms: float


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of attack.

    Attributes:
        name: for people.
        refusals: what it may meet, and nothing else.
        run: makes so many attempts.
        many: whether it is of many connections rather than of a few calls.
        limit_ms: within which each must be refused.
    """

    name: str
    refusals: frozenset[str]
    run: Callable[[SecurityWorld, int], Awaitable[Sequence[Seen]]]
    many: bool = False
    limit_ms: float = QUICK_MS

    def count(self, repeat: int, sockets: int) -> int:
        """How many attempts."""
        return sockets if self.many else repeat

    def expected(self, how: str) -> bool:
        """Whether it should have ended so."""
        return how in self.refusals


async def _call(
    channel: grpc.aio.Channel,
    body: bytes,
    token: str | None,
    *,
    method: str = READ_STRIP,
    more: Sequence[tuple[str, str]] = (),
) -> Seen:
    metadata = [*more, *([("authorization", f"Bearer {token}")] if token is not None else [])]
    began = time.perf_counter()
    try:
        invoke: Any = channel.unary_unary(method)
        await invoke(body, metadata=metadata, timeout=CALL_S)
    except grpc.aio.AioRpcError as error:
        how = error.code().name
    else:
        how = "ANSWERED"
    return Seen(how, (time.perf_counter() - began) * 1e3)


def _calls(
    forge: Callable[[SecurityWorld], str | None],
    body: Callable[[SecurityWorld], bytes] = lambda world: world.request.SerializeToString(),
    *,
    method: str = READ_STRIP,
    more: Sequence[tuple[str, str]] = (),
) -> Callable[[SecurityWorld, int], Awaitable[Sequence[Seen]]]:
    """Calls over a good connection with a token and a message of somebody's making."""

    async def run(world: SecurityWorld, count: int) -> Sequence[Seen]:
        content = await asyncio.to_thread(body, world)
        async with world.channel("phone-1") as channel:
            await channel.channel_ready()
            return [await _call(channel, content, forge(world), method=method, more=more) for _ in range(count)]

    return run


def _connections(
    device: str | None, *, stranger: bool = False, plain: bool = False
) -> Callable[[SecurityWorld, int], Awaitable[Sequence[Seen]]]:
    """Good calls over a connection that must not come about."""

    async def run(world: SecurityWorld, count: int) -> Sequence[Seen]:
        seen = []
        for _ in range(count):
            async with world.channel(device, stranger=stranger, plain=plain) as channel:
                seen.append(await _call(channel, world.request.SerializeToString(), world.credentials.token()))
        return seen

    return run


def _good(world: SecurityWorld) -> str:
    return world.credentials.token()


def _stranger(world: SecurityWorld) -> str:
    return jwt.encode(world.credentials.claims("phone-1"), ed25519.Ed25519PrivateKey.generate(), algorithm="EdDSA")


def _unsigned(world: SecurityWorld) -> str:
    return jwt.encode(world.credentials.claims("phone-1"), "", algorithm="none")


def _confused(world: SecurityWorld) -> str:
    """HMAC with the public key, which anybody has, as the secret."""

    def part(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = head + b"." + part(json.dumps(world.credentials.claims("phone-1")).encode())
    return (signed + b"." + part(hmac.digest(world.credentials.public_pem, signed, hashlib.sha256))).decode()


def _with_picture(
    make: Callable[[], bytes], encoding: types_pb2.ImageEncoding.ValueType, *, frame: bool = False
) -> Callable[[SecurityWorld], bytes]:
    def body(world: SecurityWorld) -> bytes:
        request = cloud_pb2.ReadStripRequest()
        request.CopyFrom(world.request)
        line = request.strip.lines[0]
        line.image = make()
        line.ClearField("inner")
        del request.strip.lines[1:]
        request.strip.encoding = encoding
        request.strip.is_frame = frame
        return request.SerializeToString()

    return body


async def _quota(world: SecurityWorld, count: int) -> Sequence[Seen]:
    """A device that takes more than its share: only what comes after is looked at."""
    token = world.credentials.token("greedy")
    refused: list[Seen] = []
    async with world.channel("greedy") as channel:
        await channel.channel_ready()
        for _ in range(GREEDY_CALLS):
            seen = await _call(channel, b"\xff", token)  # malformed, so that it costs nothing but its place
            if seen.how == "RESOURCE_EXHAUSTED":
                refused.append(seen)
            if len(refused) == count:
                return refused
    return [*refused, Seen("NO LIMIT", 0.0)]


async def _cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, began: float) -> Seen:
    """Wait until the other side hangs up."""
    how = CUT
    try:
        async with asyncio.timeout(4 * SLOW_MS / 1e3):
            while await reader.read(65536):
                pass
    except TimeoutError:
        how = STILL_OPEN
    except (OSError, ssl.SSLError):
        pass
    ms = (time.perf_counter() - began) * 1e3
    writer.close()
    return Seen(how, ms)


async def _silent(world: SecurityWorld, count: int) -> Sequence[Seen]:
    async def one() -> Seen:
        began = time.perf_counter()
        return await _cut(*await asyncio.open_connection("127.0.0.1", world.port), began)

    return await asyncio.gather(*[one() for _ in range(count)])


async def _dribbling(world: SecurityWorld, count: int) -> Sequence[Seen]:
    """The first flight of TLS, a byte every 50 ms: 200 bytes would take ten seconds."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="wayword")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()

    async def one() -> Seen:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)

        async def dribble() -> None:
            with contextlib.suppress(OSError):
                for byte in hello[:-1]:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(0.05)

        task = asyncio.create_task(dribble())
        seen = await _cut(reader, writer, began)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return seen

    return await asyncio.gather(*[one() for _ in range(count)])


def _after_tls(*said: bytes, plain: bool = False) -> Callable[[SecurityWorld, int], Awaitable[Sequence[Seen]]]:
    """Connections with a good certificate, or in plain text, that then say this and no more."""

    async def run(world: SecurityWorld, count: int) -> Sequence[Seen]:
        context = None if plain else _context(world)

        async def one() -> Seen:
            began = time.perf_counter()
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", world.port, ssl=context, server_hostname=None if plain else "127.0.0.1"
                )
            except (OSError, ssl.SSLError):
                return Seen(CUT, (time.perf_counter() - began) * 1e3)
            for part in said:
                writer.write(part)
            return await _cut(reader, writer, began)

        return await asyncio.gather(*[one() for _ in range(count)])

    return run


def _context(world: SecurityWorld) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(world.credentials.folder / "ca.pem"))
    context.load_cert_chain(*world.credentials.files("phone-1"))
    context.set_alpn_protocols(["h2"])
    return context


async def _no_message(world: SecurityWorld, count: int) -> Sequence[Seen]:
    """Calls that are let in, and then send nothing."""

    async def one(channel: grpc.aio.Channel) -> Seen:
        began = time.perf_counter()
        call: Any = channel.stream_unary(READ_STRIP)(
            metadata=[("authorization", f"Bearer {world.credentials.token('phone-2')}")], timeout=4 * SLOW_MS / 1e3
        )
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return Seen(error.code().name, (time.perf_counter() - began) * 1e3)
        return Seen("ANSWERED", (time.perf_counter() - began) * 1e3)

    async with world.channel("phone-2") as channel:
        await channel.channel_ready()
        return await asyncio.gather(*[one(channel) for _ in range(count)])


def _of(*names: str) -> frozenset[str]:
    return frozenset(names)


_UNAUTHENTICATED = _of("UNAUTHENTICATED")
_REFUSED_CONNECTION = _of("UNAVAILABLE")
_INVALID = _of("INVALID_ARGUMENT")
_EXHAUSTED = _of("RESOURCE_EXHAUSTED")
_CUT = _of(CUT)

ATTACKS: Final = (
    Attack("no token", _UNAUTHENTICATED, _calls(lambda world: None)),
    Attack("expired token", _UNAUTHENTICATED, _calls(lambda world: world.credentials.token(exp=time.time() - 3600))),
    Attack(
        "token that does not hold yet", _UNAUTHENTICATED, _calls(lambda w: w.credentials.token(nbf=time.time() + 3600))
    ),
    Attack("token for another service", _UNAUTHENTICATED, _calls(lambda world: world.credentials.token(aud="other"))),
    Attack("token of another issuer", _UNAUTHENTICATED, _calls(lambda world: world.credentials.token(iss="other"))),
    Attack("token signed by a stranger", _UNAUTHENTICATED, _calls(_stranger)),
    Attack("token without a signature (alg none)", _UNAUTHENTICATED, _calls(_unsigned)),
    Attack("token with the public key as secret", _UNAUTHENTICATED, _calls(_confused)),
    Attack("token of 7 kB of nonsense", _UNAUTHENTICATED, _calls(lambda world: "x" * 7_000)),
    Attack(
        "stolen token, another device's certificate", _UNAUTHENTICATED, _calls(lambda w: w.credentials.token("phone-2"))
    ),
    Attack("token without the scope", _of("PERMISSION_DENIED"), _calls(_good, method="/wayword.v1.Reader/ReadStrips")),
    Attack("no client certificate", _REFUSED_CONNECTION, _connections(None)),
    Attack("client certificate of another authority", _REFUSED_CONNECTION, _connections("phone-1", stranger=True)),
    Attack("plain text", _REFUSED_CONNECTION, _connections(None, plain=True)),
    Attack("no such method", _of("UNIMPLEMENTED"), _calls(_good, method="/wayword.v1.Reader/Nothing")),
    Attack("malformed protobuf", _INVALID, _calls(_good, lambda world: b"\xff" * 5_000)),
    Attack("protobuf nested 30,000 deep", _INVALID, _calls(_good, lambda world: nested(30_000))),
    Attack(
        "picture of 8,000 x 8,000 in 120 kB",
        _EXHAUSTED,
        _calls(_good, _with_picture(large_webp, types_pb2.IMAGE_ENCODING_WEBP)),
    ),
    Attack(
        "JPEG whose second header is larger",
        _INVALID,
        _calls(_good, _with_picture(large_jpeg, types_pb2.IMAGE_ENCODING_JPEG)),
    ),
    Attack(
        "JPEG of 4,000 scans",
        _INVALID,
        _calls(_good, _with_picture(many_scans, types_pb2.IMAGE_ENCODING_JPEG, frame=True)),
    ),
    Attack(
        "message of 100 MB, with a token", _EXHAUSTED, _calls(_good, lambda world: bytes(HUGE)), limit_ms=3 * QUICK_MS
    ),
    Attack(
        "message of 100 MB, without",
        _of("UNAUTHENTICATED", "RESOURCE_EXHAUSTED"),
        _calls(lambda world: None, lambda world: bytes(HUGE)),
        limit_ms=3 * QUICK_MS,
    ),
    Attack("60 kB of metadata", _EXHAUSTED, _calls(_good, more=[(f"k{n}", "v" * 600) for n in range(100)])),
    Attack("more calls than a device's share", _EXHAUSTED, _quota),
    Attack("calls that never send their message", _of("DEADLINE_EXCEEDED"), _no_message, limit_ms=SLOW_MS),
    Attack("connections that say nothing", _CUT, _silent, many=True, limit_ms=SLOW_MS),
    Attack("TLS a byte at a time", _CUT, _dribbling, many=True, limit_ms=SLOW_MS),
    Attack("TLS, then nothing", _CUT, _after_tls(), limit_ms=SLOW_MS),
    Attack("TLS, HTTP/2 settings, then nothing", _CUT, _after_tls(PREFACE, SETTINGS_FRAME), limit_ms=SLOW_MS),
    Attack("TLS, then HTTP/1.1", _CUT, _after_tls(b"GET / HTTP/1.1\r\nHost: wayword\r\n\r\n"), limit_ms=SLOW_MS),
    Attack(
        "HTTP/1.1 in plain text",
        _CUT,
        _after_tls(b"GET / HTTP/1.1\r\nHost: wayword\r\n\r\n", plain=True),
        limit_ms=SLOW_MS,
    ),
    Attack("64 kB of zeros", _CUT, _after_tls(bytes(65536), plain=True), limit_ms=SLOW_MS),
)
"""In this order."""

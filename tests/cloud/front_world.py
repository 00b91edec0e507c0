"""A service behind the real front, over a real socket, whose one handler says who called it; and keys to call with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloud.callers import Caller
from cloud.calls import Call, unary
from cloud.front.stack import Front, front
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import Clock, SystemClock
from shared.messages.wayword.v1 import cloud_pb2, types_pb2

READ_STRIP = "/wayword.v1.Reader/ReadStrip"
READ_STRIPS = "/wayword.v1.Reader/ReadStrips"
SECRET_TEXT = "words of a sign"
LARGE = "large"
"""Key of a request for an answer that is larger than a window of HTTP/2."""
KEY = ed25519.Ed25519PrivateKey.generate()


class SetClock(SystemClock):
    """The system's clock, plus whatever it is set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def wall(self) -> float:
        return super().wall() + self.ahead


class StillClock(SetClock):
    """Stands still but for what it is set forward."""

    def monotonic(self) -> float:
        return 1000.0 + self.ahead

    def wall(self) -> float:
        return 1.8e9 + self.ahead


class Echo:
    """Answers at once, and keeps who called."""

    name = "wayword.v1.Reader"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.callers: list[Caller] = []
        self.called = asyncio.Event()

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply:
        self.callers.append(call.caller)
        self.called.set()
        reading = types_pb2.Reading(text=SECRET_TEXT * (10_000 if request.idempotency_key == LARGE else 1))
        return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key, reading=reading)

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        method = unary(
            "ReadStrip", cloud_pb2.ReadStripRequest, self.read_strip, clock=self._clock, default_deadline_s=5.0
        )
        return {"ReadStrip": method, "ReadStrips": method}

    async def upkeep(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass
class World:
    """A running service."""

    echo: Echo
    front: Front
    address: str
    channel: grpc.aio.Channel
    metadata: list[tuple[str, str]] = field(default_factory=list)

    async def call(
        self,
        *metadata: tuple[str, str],
        body: bytes = b"",
        method: str = READ_STRIP,
        channel: grpc.aio.Channel | None = None,
        patient: bool = False,
    ) -> cloud_pb2.ReadStripReply:
        """Call, and keep the trailing metadata; a patient caller connects again where a connection does not hold."""
        call = (channel or self.channel).unary_unary(method)(
            body, metadata=metadata, timeout=20, wait_for_ready=patient
        )
        try:
            reply: Any = await call
        finally:
            self.metadata = [(key, str(value)) for key, value in await call.trailing_metadata()]
        return cloud_pb2.ReadStripReply.FromString(reply)


@asynccontextmanager
async def fronted(
    clock: Clock | None = None, *, events: Any = None, processor: Any = None, **overrides: object
) -> AsyncIterator[World]:
    """A service with these settings, and a plain-text client of it."""
    clock = clock or SystemClock()
    settings = CloudSettings.load(None, **{"listen": "127.0.0.1:0", "grace_s": 0.0, **overrides})
    async with front(settings, clock, events=events, span_processor=processor) as built:
        echo = Echo(clock)
        server = CloudServer([echo], settings, interceptors=built.interceptors)
        try:
            host, port = await server.start()
            address = f"{host}:{port}"
            async with grpc.aio.insecure_channel(address) as channel:
                yield World(echo, built, address, channel)
        finally:
            await server.drain()


def public_key(folder: Path) -> str:
    """The file of `KEY`'s public half."""
    path = folder / "token.pub"
    path.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(path)


def claims(clock: Clock, **changes: object) -> dict[str, Any]:
    """Those of a good token, but for the changes; None leaves one out."""
    found = {
        "iss": "wayword",
        "aud": "wayword-cloud",
        "sub": "phone-1",
        "scope": "read packs",
        "exp": clock.wall() + 3600,
        **changes,
    }
    return {name: value for name, value in found.items() if value is not None}


def token(clock: Clock | None = None, **changes: object) -> str:
    """A token of `KEY`."""
    return jwt.encode(claims(clock or SystemClock(), **changes), KEY, algorithm="EdDSA")


def bearer(word: str) -> tuple[str, str]:
    """As metadata."""
    return "authorization", f"Bearer {word}"

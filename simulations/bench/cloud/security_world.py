"""The service under attack, its keys and certificates, and the phone that goes on calling it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloud.front.certificates import household
from shared.messages.wayword.v1 import cloud_pb2
from simulations.bench.cloud.processes import CloudProcess

READ_STRIP: Final = "/wayword.v1.Reader/ReadStrip"
CUT_S: Final = 2.0
"""After which the service under test cuts off who does not get on; its own default is five times as long."""
SETTINGS: Final = {
    "workers": 1,
    "handshake_timeout_s": CUT_S,
    "message_timeout_s": CUT_S,
    "connection_idle_s": CUT_S,
    "quota_calls_per_s": 20.0,
    "quota_burst_calls": 50.0,
}
EVERY_S: Final = 0.5
"""Between two calls of the phone."""
CALL_S: Final = 10.0
"""Deadline of any call."""
AFTER: Final = 2
"""Good calls made after an attack."""
PHONES: Final = ("phone-1", "phone-2", "phone-3", "greedy")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files and keys of a household, and of a stranger who has made the same for himself.

    Attributes:
        folder: with the household's certificates; those of the stranger are in its folder "stranger".
        key: of the household's tokens.
    """

    folder: Path
    key: ed25519.Ed25519PrivateKey

    @property
    def public_pem(self) -> bytes:
        """What the service checks tokens with."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def settings(self) -> dict[str, object]:
        """For the service."""
        return {
            "tls_certificate": self.folder / "server.pem",
            "tls_key": self.folder / "server-key.pem",
            "tls_client_ca": self.folder / "ca.pem",
            "token_keys": str(self.folder / "token.pub"),
        }

    def claims(self, device: str, **changes: object) -> dict[str, Any]:
        """Of a good token but for the changes."""
        return {
            "iss": "wayword",
            "aud": "wayword-cloud",
            "sub": device,
            "scope": "read packs telemetry places",
            "exp": time.time() + 3600,
            **changes,
        }

    def token(self, device: str = "phone-1", **changes: object) -> str:
        """A token of the household."""
        return jwt.encode(self.claims(device, **changes), self.key, algorithm="EdDSA")

    def channel_credentials(self, device: str | None = "phone-1", *, stranger: bool = False) -> grpc.ChannelCredentials:
        """For a client with a device's certificate, of the household or of the stranger; None for no certificate."""
        authority = (self.folder / "ca.pem").read_bytes()
        if device is None:
            return grpc.ssl_channel_credentials(authority)
        chain, key = self.files(device, stranger=stranger)
        return grpc.ssl_channel_credentials(authority, key.read_bytes(), chain.read_bytes())

    def files(self, device: str, *, stranger: bool = False) -> tuple[Path, Path]:
        """Certificate and key of a device."""
        home = (self.folder / "stranger" if stranger else self.folder) / "devices"
        return home / f"{device}.pem", home / f"{device}-key.pem"


def make_credentials(folder: Path) -> Credentials:
    """A household's and a stranger's, new."""
    now = datetime.datetime.now(datetime.UTC)
    home = folder / "certificates"
    for place in (home, home / "stranger"):
        household(place, hosts=["127.0.0.1"], devices=PHONES, days=1, now=now)
    credentials = Credentials(home, ed25519.Ed25519PrivateKey.generate())
    (home / "token.pub").write_bytes(credentials.public_pem)
    return credentials


@dataclass(slots=True)
class Watched:
    """What the phone and the service's memory did during an attack and just after.

    Attributes:
        good_ms: latencies of good calls.
        failed: statuses of good calls that failed.
        before_mb: resident memory before.
        peak_mb: the most seen.
        after_mb: after.
    """

    good_ms: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    before_mb: float = 0.0
    peak_mb: float = 0.0
    after_mb: float = 0.0

    @property
    def growth_mb(self) -> float:
        """Growth at the worst moment."""
        return self.peak_mb - self.before_mb


class SecurityWorld:
    """The service, as attackers and the phone see it. Use inside an event loop.

    Args:
        credentials: of everybody.
        port: of the service, on this machine.
        pid: of the service.
    """

    def __init__(self, credentials: Credentials, *, port: int, pid: int) -> None:
        self.credentials = credentials
        self.port = port
        self._pid = pid
        self._phone: grpc.aio.Channel | None = None
        self.request = cloud_pb2.ReadStripRequest()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def channel(
        self, device: str | None = "phone-1", *, stranger: bool = False, plain: bool = False
    ) -> grpc.aio.Channel:
        """A channel of its own."""
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        if plain:
            return grpc.aio.insecure_channel(self.address, options=options)
        credentials = self.credentials.channel_credentials(device, stranger=stranger)
        return grpc.aio.secure_channel(self.address, credentials, options=options)

    @asynccontextmanager
    async def open(self, request: cloud_pb2.ReadStripRequest) -> AsyncIterator[None]:
        """Connect the phone, which will ask this."""
        self.request = request
        async with self.channel("phone-3") as self._phone:
            yield

    async def warm_up(self) -> None:
        """Good calls, so that what the first ones allocate is not taken for an attack's."""
        for _ in range(10):
            await self.good_call()

    async def good_call(self) -> None:
        """One.

        Raises:
            grpc.aio.AioRpcError: it failed.
        """
        if self._phone is None:
            raise RuntimeError("the world is not open")
        metadata = (("authorization", f"Bearer {self.credentials.token('phone-3')}"),)
        invoke: Any = self._phone.unary_unary(READ_STRIP)
        reply = await invoke(self.request.SerializeToString(), metadata=metadata, timeout=CALL_S)
        if not cloud_pb2.ReadStripReply.FromString(reply).HasField("reading"):
            raise RuntimeError("an answer without a reading")

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Watched]:
        """Watch the phone and the memory meanwhile, and a little longer."""
        found = Watched(before_mb=self.memory_mb())
        found.peak_mb = found.before_mb
        tasks = [asyncio.create_task(self._phone_calls(found)), asyncio.create_task(self._look(found))]
        try:
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(AFTER):
            await self._one_call(found)
        found.after_mb = self.memory_mb()

    def memory_mb(self) -> float:
        """The service's resident memory."""
        status = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    async def _phone_calls(self, found: Watched) -> None:
        while True:
            await self._one_call(found)
            await asyncio.sleep(EVERY_S)

    async def _one_call(self, found: Watched) -> None:
        began = time.perf_counter()
        try:
            await self.good_call()
        except grpc.aio.AioRpcError as error:
            found.failed.append(error.code().name)
        else:
            found.good_ms.append((time.perf_counter() - began) * 1e3)

    async def _look(self, found: Watched) -> None:
        with contextlib.suppress(OSError):  # a service that died is noticed by its calls
            while True:
                found.peak_mb = max(found.peak_mb, self.memory_mb())
                await asyncio.sleep(0.02)


def world_of(credentials: Credentials, service: CloudProcess) -> SecurityWorld:
    """The world around a service that serves."""
    return SecurityWorld(credentials, port=service.port, pid=service.process.pid)

"""The way to the cloud: one small interface, and gRPC behind it.

A transport connects, carries one call, and says in typed errors what went wrong. It does not retry, hedge, or judge an
answer: `phone.cloud.CloudClient` does, so that the simulator's transport and the real one run under the same rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

import grpc
import grpc.aio

from shared.clock import Clock
from shared.errors import CloudDeadline, CloudError, CloudRefused, CloudUnavailable, StorageError, UsageError
from shared.limits import MAX_RPC_BYTES
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc

_OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_RPC_BYTES),
    ("grpc.max_receive_message_length", MAX_RPC_BYTES),
    # A cloud that comes back is found within two seconds instead of gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Pings only while a call is under way: a silent phone keeps its radio off. The timeout also becomes
    # TCP_USER_TIMEOUT, so a connection that a change of network left behind is noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # The client's policy is the only one that retries: it knows the breaker and counts the bytes.
    ("grpc.enable_retries", 0),
)
_UNWELL: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DATA_LOSS,
    }
)


class Refusal(StrEnum):
    """Why the cloud refused a call."""

    MALFORMED = "malformed"
    """The call itself is wrong; the cloud is well."""
    DIRECTION = "direction"
    """The cloud does not serve this direction; it is well."""
    OVERLOADED = "overloaded"
    OTHER = "other"

    @property
    def of_this_call(self) -> bool:
        """Whether it says nothing about the next call: the breaker must not open for it."""
        return self in {Refusal.MALFORMED, Refusal.DIRECTION}


_REFUSALS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: Refusal.MALFORMED,
    grpc.StatusCode.UNIMPLEMENTED: Refusal.DIRECTION,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Refusal.OVERLOADED,
}


class CallRefused(CloudRefused):
    """The cloud said no, and why."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal


class CloudTransport(Protocol):
    """Carries calls to the cloud. Every method is cancelled when its caller no longer wants the result."""

    async def connect(self, deadline: float) -> None:
        """Return once calls can be made; nothing of a call has left the phone before.

        Args:
            deadline: on the clock (`Clock.monotonic`).

        Raises:
            CloudUnavailable: known not to be reachable, or not reached in time.
        """
        ...

    async def read_strip(
        self,
        request: cloud_pb2.ReadStripRequest,
        timeout: float,  # noqa: ASYNC109 - it goes on to the cloud, which does not begin what cannot be in time
    ) -> cloud_pb2.ReadStripReply:
        """One call, made once.

        Args:
            request: as it goes out.
            timeout: seconds the answer may take.

        Raises:
            CloudUnavailable: the connection broke, or the cloud is unwell.
            CloudDeadline: no answer within `timeout`.
            CallRefused: the cloud says no.
        """
        ...

    async def close(self) -> None:
        """End it; calls under way are cancelled."""
        ...


class GrpcTransport:
    """`wayword.v1.Reader` over one gRPC channel. Make it inside a running event loop.

    A call never waits for a cloud that is not there: unless the channel is connected, or connects at once, `connect`
    fails. The channel goes on reconnecting by itself.

    Args:
        address: "HOST:PORT".
        clock: of the deadlines.
        tls: whether the channel is encrypted; None: unless the host is this machine.
        certificate_authority: PEM file that signs the cloud's certificate; None for the system's.

    Raises:
        UsageError: the address is malformed.
        StorageError: the PEM file cannot be read.
    """

    def __init__(
        self, address: str, *, clock: Clock, tls: bool | None = None, certificate_authority: Path | None = None
    ) -> None:
        host = check_address(address)
        self._clock = clock
        if tls if tls is not None else not is_loopback(host):
            credentials = grpc.ssl_channel_credentials(_read(certificate_authority))
            self._channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        else:
            # Only loopback and networks the wearer vouches for come here: a web proxy has no part in it.
            self._channel = grpc.aio.insecure_channel(address, options=(*_OPTIONS, ("grpc.enable_http_proxy", 0)))
        self._stub = cloud_pb2_grpc.ReaderStub(self._channel)

    async def connect(self, deadline: float) -> None:
        """See `CloudTransport.connect`."""
        try:
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                while (state := self._channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                    if state in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
                        raise CloudUnavailable("the cloud cannot be reached")
                    await self._channel.wait_for_state_change(state)
        except TimeoutError:
            raise CloudUnavailable("the cloud cannot be reached in time") from None

    async def read_strip(
        self,
        request: cloud_pb2.ReadStripRequest,
        timeout: float,  # noqa: ASYNC109 - it goes on to the cloud, which does not begin what cannot be in time
    ) -> cloud_pb2.ReadStripReply:
        """See `CloudTransport.read_strip`."""
        try:
            return await self._stub.ReadStrip(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise _typed(error) from error

    async def close(self) -> None:
        """See `CloudTransport.close`."""
        await self._channel.close()


def check_address(address: str) -> str:
    """The host of "HOST:PORT" or "[IPV6]:PORT".

    Raises:
        UsageError: it is neither.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{address!r} is no cloud address", hint="give HOST:PORT, such as localhost:50051")
    return host.strip("[]")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the certificate {path}: {error.strerror}") from error


def _typed(error: grpc.aio.AioRpcError) -> CloudError:
    status = error.code()
    details = (error.details() or status.name)[:200].replace("\n", " ")
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CloudDeadline("the cloud did not answer in time")
    if status in _UNWELL:
        return CloudUnavailable(f"the cloud failed: {details}")
    return CallRefused(f"the cloud refused: {details}", _REFUSALS.get(status, Refusal.OTHER))

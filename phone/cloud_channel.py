"""The way to the cloud: one small interface, and gRPC behind it.

A transport connects, carries one call, and says in typed errors what went wrong. It does not retry, hedge, or judge an
answer: `phone.cloud.CloudClient` does, so that the simulator's transport and the real one run under the same rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from phone.cloud_credentials import CloudCredentials, TokenFile, is_loopback
from phone.cloud_endpoints import PICK_ONE, Endpoints, split_addresses
from shared.clock import Clock
from shared.errors import CloudDeadline, CloudError, CloudRefused, CloudUnavailable, StorageError
from shared.experiments import ARMS_METADATA
from shared.limits import MAX_RPC_BYTES
from shared.messages.wayword.v1 import cloud_pb2

__all__ = [
    "READ_STRIP",
    "CallRefused",
    "CloudChannel",
    "CloudTransport",
    "GrpcTransport",
    "Refusal",
    "is_loopback",
]

READ_STRIP: Final = f"/{cloud_pb2.DESCRIPTOR.services_by_name['Reader'].full_name}/ReadStrip"
REFUSED_PAUSE_S: Final = 900.0
"""How long what the cloud has refused for want of a right is not tried again with the same token. A judgement: long
enough to cost nothing, and a cloud whose own settings were wrong is found again without a restart."""

ReplyT = TypeVar("ReplyT", bound=Message)

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
    ("grpc.service_config", PICK_ONE),
    ("grpc.service_config_disable_resolution", 1),
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
    UNAUTHENTICATED = "unauthenticated"
    """The cloud does not know this phone, or no longer: its token or certificate is missing, wrong or has expired."""
    FORBIDDEN = "forbidden"
    """The cloud knows this phone, and its token does not allow this call."""
    OTHER = "other"

    @property
    def of_this_call(self) -> bool:
        """Whether it says nothing about the next call: the breaker must not open for it."""
        return self in {Refusal.MALFORMED, Refusal.DIRECTION}


_REFUSALS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: Refusal.MALFORMED,
    grpc.StatusCode.UNIMPLEMENTED: Refusal.DIRECTION,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Refusal.OVERLOADED,
    grpc.StatusCode.UNAUTHENTICATED: Refusal.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Refusal.FORBIDDEN,
}
_STOPPING: Final = frozenset({Refusal.UNAUTHENTICATED, Refusal.FORBIDDEN})
"""Repeating such a call with the same token cannot help."""


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
            CallRefused: known to be refused, so that nothing needs to leave.
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


class CloudChannel:
    """One gRPC channel to the cloud with the phone's credentials; everything the phone asks of the cloud goes over it.
    Make it inside a running event loop. Of several addresses one is in use (see `phone.cloud_endpoints`).

    A call that the cloud refuses for want of a right is not made again until the token changes, or `REFUSED_PAUSE_S`
    has passed: trying it meanwhile would cost battery and bring nothing. "Unauthenticated" stops every call,
    "forbidden" only those of the method.

    Args:
        addresses: "HOST:PORT", or several of them with commas between.
        clock: of the deadlines and pauses.
        credentials: the phone's; a token goes only over TLS or to this machine.
        on_stop: told in one line when calls are stopped; None for nobody.

    Raises:
        UsageError: an address is malformed, or the credentials do not go with it.
        StorageError: a PEM file cannot be read.
    """

    def __init__(
        self,
        addresses: str,
        *,
        clock: Clock,
        credentials: CloudCredentials | None = None,
        on_stop: Callable[[str], None] | None = None,
    ) -> None:
        credentials = credentials or CloudCredentials()
        # By address; None for plain text. Here, so that what cannot be is told at the start.
        known = {
            address: credentials.of_channel() if credentials.encrypted(host) else None
            for address, host in split_addresses(addresses)
        }
        self._clock = clock
        self._token = None if credentials.token_file is None else TokenFile(credentials.token_file)
        self._endpoints = Endpoints(tuple(known), lambda address: _open(address, known[address]), clock=clock)
        self._stopped: dict[str, _Stopped] = {}
        self._on_stop = on_stop
        self.arms = ""
        """Arms that are told with every strip (`shared.experiments.arms_line`), for a cloud that does not know whose
        call it is; empty for none."""

    async def connect(self, deadline: float, *, method: str = "") -> None:
        """Return once calls can be made; nothing of a call has left the phone before.

        A call never waits for a cloud that is not there: unless the channel is connected, or connects at once to one of
        the addresses, this fails.

        Args:
            deadline: on the clock (`Clock.monotonic`).
            method: full name of the method that is to be called, where it is known.

        Raises:
            CallRefused: the cloud would refuse what the phone has to show (see `CloudChannel`).
            CloudUnavailable: known not to be reachable, or not reached in time.
        """
        self._metadata(method)
        await self._endpoints.connect(deadline)

    async def call(
        self,
        method: str,
        request: Message,
        reply_class: type[ReplyT],
        *,
        timeout: float,  # noqa: ASYNC109 - it goes on to the cloud, which does not begin what cannot be in time
    ) -> ReplyT:
        """One call, made once.

        Args:
            method: full name, such as "/wayword.v1.Reader/ReadStrip".
            request: as it goes out.
            reply_class: message that comes back.
            timeout: seconds the answer may take.

        Raises:
            CloudUnavailable: the connection broke, or the cloud is unwell.
            CloudDeadline: no answer within `timeout`.
            CallRefused: the cloud says no, or is known to.
        """
        metadata = self._metadata(method)
        channel = self._endpoints.channel
        invoke: Any = channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply_class.FromString,
        )
        try:
            told = ((ARMS_METADATA, self.arms),) if self.arms and method == READ_STRIP else ()
            reply: ReplyT = await invoke(request, timeout=timeout, metadata=(*metadata, *told))
        except grpc.aio.AioRpcError as error:
            failure = _typed(error)
            if isinstance(failure, (CloudUnavailable, CloudDeadline)):
                self._endpoints.failed(channel)
            if isinstance(failure, CallRefused) and failure.refusal in _STOPPING:
                self._stop(method, failure, metadata)
            raise failure from error
        return reply

    async def close(self) -> None:
        """End it; calls under way are cancelled. A second time does nothing."""
        await self._endpoints.close()

    def _stop(self, method: str, failure: CallRefused, metadata: tuple[tuple[str, str], ...]) -> None:
        everywhere = failure.refusal is Refusal.UNAUTHENTICATED
        known = self._stopped.get("" if everywhere else method)
        # Calls under way together are refused together, and one word of it is enough.
        if self._on_stop is not None and (known is None or known.metadata != metadata):
            what = "nothing" if everywhere else method.rpartition("/")[2]
            wait = f"until there is another token, or for {REFUSED_PAUSE_S / 60:.0f} minutes"
            self._on_stop(f"{failure.message}; {what} is asked of it {wait}")
        self._stopped["" if everywhere else method] = _Stopped(failure, metadata, self._clock.monotonic())

    def _metadata(self, method: str) -> tuple[tuple[str, str], ...]:
        """What goes with a call of a method.

        Raises:
            CallRefused: it is known to be refused, or there is no token where there should be one.
        """
        metadata: tuple[tuple[str, str], ...] = ()
        if self._token is not None:
            try:
                metadata = (("authorization", f"Bearer {self._token.read()}"),)
            except StorageError as error:
                raise CallRefused(error.message, Refusal.UNAUTHENTICATED) from error
        for key in {"", method}:
            stopped = self._stopped.get(key)
            if stopped is None:
                continue
            if metadata == stopped.metadata and self._clock.monotonic() < stopped.since + REFUSED_PAUSE_S:
                raise CallRefused(stopped.failure.message, stopped.failure.refusal)
            del self._stopped[key]
        return metadata


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A refusal that holds for what was shown, `metadata`, from `since` on."""

    failure: CallRefused
    metadata: tuple[tuple[str, str], ...]
    since: float


class GrpcTransport:
    """`wayword.v1.Reader` over the phone's channel.

    Args:
        channel: to the cloud.
        close_channel: whether `close` closes the channel too; False where others use it.
    """

    def __init__(self, channel: CloudChannel, *, close_channel: bool = True) -> None:
        self._channel = channel
        self._close_channel = close_channel

    async def connect(self, deadline: float) -> None:
        """See `CloudTransport.connect`."""
        await self._channel.connect(deadline, method=READ_STRIP)

    async def read_strip(
        self,
        request: cloud_pb2.ReadStripRequest,
        timeout: float,  # noqa: ASYNC109 - it goes on to the cloud, which does not begin what cannot be in time
    ) -> cloud_pb2.ReadStripReply:
        """See `CloudTransport.read_strip`."""
        return await self._channel.call(READ_STRIP, request, cloud_pb2.ReadStripReply, timeout=timeout)

    async def close(self) -> None:
        """See `CloudTransport.close`."""
        if self._close_channel:
            await self._channel.close()


def _open(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is not None:
        return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
    # Only loopback and networks the wearer vouches for come here: a web proxy has no part in it.
    return grpc.aio.insecure_channel(address, options=(*_OPTIONS, ("grpc.enable_http_proxy", 0)))


def _typed(error: grpc.aio.AioRpcError) -> CloudError:
    status = error.code()
    details = (error.details() or status.name)[:200].replace("\n", " ")
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CloudDeadline("the cloud did not answer in time")
    if status in _UNWELL:
        return CloudUnavailable(f"the cloud failed: {details}")
    return CallRefused(f"the cloud refused: {details}", _REFUSALS.get(status, Refusal.OTHER))

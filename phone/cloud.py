"""The phone's gRPC client of the cloud: deadlines, one retry, a circuit breaker, and typed errors.

A call never waits for a cloud that is not there: unless the channel is connected, or connects at once, the call fails
and nothing has left the phone. The channel goes on reconnecting by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from shared.clock import Clock
from shared.errors import CloudDeadline, CloudError, CloudRefused, CloudUnavailable, StorageError, UsageError
from shared.limits import (
    MAX_COORDINATE,
    MAX_OBJECT_BYTES,
    MAX_READING_LINES,
    MAX_RPC_BYTES,
    MAX_STRIP_LINES,
    MAX_TEXT_CHARACTERS,
)
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, types_pb2

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
    # The policy below is the only one that retries: it knows the breaker and counts the bytes.
    ("grpc.enable_retries", 0),
)
_OF_THIS_CALL: Final = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED})
"""Refusals of this one call: the cloud is well, and the breaker must not open."""
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
MAX_READING_BYTES: Final = MAX_OBJECT_BYTES // 2
"""Largest answer taken: it goes on to the glasses in one object, with others."""
_SMOOTHING: Final = 0.3
"""Weight of the newest call in the predicted duration (exponential moving average)."""


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How hard the client tries. Times in seconds.

    Attributes:
        deadline: of one call, its retry included.
        backoff: before the retry.
        first_guess: predicted duration of a call before any was made.
        failures_to_open: failures in a row that open the breaker.
        pause: how long the open breaker lets nothing through; then one call tries.
    """

    deadline: float = 3.0
    backoff: float = 0.1
    first_guess: float = 0.5
    failures_to_open: int = 3
    pause: float = 5.0


class CallRefused(CloudRefused):
    """A refusal with its gRPC status code."""

    def __init__(self, message: str, status: grpc.StatusCode) -> None:
        super().__init__(message)
        self.status = status


class Breaker:
    """Circuit breaker: after failures in a row nothing is tried for a while, then one call at a time is.

    Args:
        clock: measures the pause.
        failures_to_open: failures in a row that open it.
        pause: seconds it stays open.
    """

    def __init__(self, *, clock: Clock, failures_to_open: int, pause: float) -> None:
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._pause = pause
        self._failures = 0
        self._opened_at = 0.0
        self._trial = False

    @property
    def closed(self) -> bool:
        """Whether a call may be tried now."""
        if self._failures < self._failures_to_open:
            return True
        return not self._trial and self._clock.monotonic() >= self._opened_at + self._pause

    def begin(self) -> None:
        """A call begins. Past the pause it is the trial, and others wait for its result."""
        self._trial = self._failures >= self._failures_to_open

    def succeeded(self) -> None:
        """The cloud answered, if only to refuse."""
        self._failures = 0
        self._trial = False

    def failed(self) -> None:
        """The cloud did not answer, or is unwell."""
        self._failures += 1
        self._opened_at = self._clock.monotonic()
        self._trial = False

    def abandoned(self) -> None:
        """The call was cancelled: it says nothing about the cloud."""
        self._trial = False


@dataclass(slots=True)
class CallCost:
    """Filled in while a call runs, so that a failed call is accounted for too.

    Attributes:
        bytes_out: request bytes handed to a connected channel, repeats included.
        seconds: from the call to its answer or failure.
    """

    bytes_out: int = 0
    seconds: float = 0.0


class CloudClient:
    """Calls `wayword.v1.Reader`. Make it inside a running event loop.

    Args:
        address: "HOST:PORT".
        clock: measures calls and waits.
        policy: how hard to try.
        tls: whether the channel is encrypted; None: unless the host is this machine.
        certificate_authority: PEM file that signs the cloud's certificate; None for the system's.

    Raises:
        UsageError: the address is malformed.
        StorageError: the PEM file cannot be read.
    """

    def __init__(
        self,
        address: str,
        *,
        clock: Clock,
        policy: CallPolicy | None = None,
        tls: bool | None = None,
        certificate_authority: Path | None = None,
    ) -> None:
        host = check_address(address)
        self._clock = clock
        self._policy = policy or CallPolicy()
        self._breaker = Breaker(clock=clock, failures_to_open=self._policy.failures_to_open, pause=self._policy.pause)
        self._expected_seconds = self._policy.first_guess
        if tls if tls is not None else not is_loopback(host):
            credentials = grpc.ssl_channel_credentials(_read(certificate_authority))
            self._channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        else:
            # Only loopback and networks the wearer vouches for come here: a web proxy has no part in it.
            self._channel = grpc.aio.insecure_channel(address, options=(*_OPTIONS, ("grpc.enable_http_proxy", 0)))
        self._stub = cloud_pb2_grpc.ReaderStub(self._channel)

    @property
    def available(self) -> bool:
        """False while the circuit breaker is open."""
        return self._breaker.closed

    @property
    def expected_seconds(self) -> float:
        """Predicted duration of the next call, from the last ones."""
        return self._expected_seconds

    async def read_strip(
        self, request: cloud_pb2.ReadStripRequest, *, deadline: float, cost: CallCost
    ) -> types_pb2.Reading:
        """Ask the cloud to read a strip.

        Args:
            request: with its idempotency key, which the retry repeats.
            deadline: on the clock; the policy's own deadline applies as well.
            cost: filled in, whatever happens.

        Raises:
            CloudUnavailable: not connected, or the cloud is unwell.
            CloudDeadline: no answer in time.
            CloudRefused: the cloud refuses, or its answer breaks the contract.
        """
        start = self._clock.monotonic()
        deadline = min(deadline, start + self._policy.deadline)
        self._breaker.begin()
        try:
            reading = await self._try_twice(request, deadline, cost)
        except CloudError as error:
            if isinstance(error, CallRefused) and error.status in _OF_THIS_CALL:
                self._breaker.succeeded()
            else:
                self._breaker.failed()
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        finally:
            cost.seconds = self._clock.monotonic() - start
        self._breaker.succeeded()
        self._expected_seconds += _SMOOTHING * (cost.seconds - self._expected_seconds)
        return reading

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close()

    async def _try_twice(
        self, request: cloud_pb2.ReadStripRequest, deadline: float, cost: CallCost
    ) -> types_pb2.Reading:
        try:
            return await self._attempt(request, deadline, cost)
        except CloudUnavailable:
            if self._clock.monotonic() + self._policy.backoff >= deadline:
                raise
        await self._clock.sleep(self._policy.backoff)
        return await self._attempt(request, deadline, cost)

    async def _attempt(self, request: cloud_pb2.ReadStripRequest, deadline: float, cost: CallCost) -> types_pb2.Reading:
        await self._connect(deadline)
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise CloudDeadline("no time was left to call the cloud")
        cost.bytes_out += request.ByteSize()
        try:
            reply = await self._stub.ReadStrip(request, timeout=left)
        except grpc.aio.AioRpcError as error:
            raise _typed(error) from error
        return _checked(reply, request)

    async def _connect(self, deadline: float) -> None:
        """Return once the channel is connected; fail as soon as it is known not to be."""
        try:
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                while (state := self._channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                    if state in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
                        raise CloudUnavailable("the cloud cannot be reached")
                    await self._channel.wait_for_state_change(state)
        except TimeoutError:
            raise CloudUnavailable("the cloud cannot be reached in time") from None


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
    return CallRefused(f"the cloud refused: {details}", status)


def _checked(reply: cloud_pb2.ReadStripReply, request: cloud_pb2.ReadStripRequest) -> types_pb2.Reading:
    """The reading of a reply that keeps the contract and the caps."""
    reading = reply.reading
    if reply.idempotency_key != request.idempotency_key:
        raise CloudRefused("the cloud answered another call")
    lines = reading.lines
    longest = max(len(reading.text), len(reading.translation), *(len(line.text) for line in lines), 0)
    # A sign's text is at most its lines, each of the longest text.
    too_long = longest > MAX_TEXT_CHARACTERS * MAX_STRIP_LINES or len(lines) > MAX_READING_LINES
    if too_long or reading.ByteSize() > MAX_READING_BYTES:
        raise CloudRefused("the cloud's answer is larger than any sign")
    if any(len(line.quad.xy) != 8 or not all(abs(x) <= MAX_COORDINATE for x in line.quad.xy) for line in lines):
        raise CloudRefused("the cloud's answer has a line without a place")
    if any(not 0.0 <= value <= 1.0 for _, value in reading.confidence.ListFields()):
        raise CloudRefused("the cloud's answer has a confidence outside 0..1")
    return reading

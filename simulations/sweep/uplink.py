"""The phone's way to the cloud: `phone.cloud_channel.CloudTransport` over a simulated network and a metered radio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from phone.cascade.inputs import NetworkKind
from phone.network import NetworkState
from shared.clock import Clock
from shared.errors import CloudDeadline, CloudUnavailable
from shared.messages.wayword.v1 import cloud_pb2
from simulations.energy.radio import PhoneRadios
from simulations.networks.path import Leg, NetworkPath
from simulations.sweep.book import numbers_in

HANDSHAKE_UP_BYTES: Final = 900
HANDSHAKE_DOWN_BYTES: Final = 3_600
"""TCP and a TLS 1.3 handshake with one chain of certificates (RFC 8446); an assumption, about what captures show."""
CALL_UP_BYTES: Final = 350
CALL_DOWN_BYTES: Final = 250
"""Headers of HTTP/2 (compressed), TLS records and TCP/IP around a call of up to `FEW_SEGMENTS`; an assumption."""
FEW_SEGMENTS: Final = 4
SEGMENT_BYTES: Final = 1_460
"""Payload of a TCP segment in an Ethernet frame (RFC 9293)."""
SEGMENT_HEADER_BYTES: Final = 40
"""TCP and IPv4 without options (RFC 9293, RFC 791)."""
IDLE_CHANNEL_S: Final = 1800.0
"""gRPC lets a channel go when nothing has used it for half an hour (GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS)."""


def call_up_bytes(size: int) -> int:
    """What a request of `size` bytes puts on the air, headers included."""
    more = max(0, -(-size // SEGMENT_BYTES) - FEW_SEGMENTS)
    return size + CALL_UP_BYTES + more * SEGMENT_HEADER_BYTES


class Remote(Protocol):
    """What is at the other end; `simulations.sweep.cloudside.CloudSide`."""

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, *, deadline: float) -> cloud_pb2.ReadStripReply:
        """One call."""
        ...


@dataclass(slots=True)
class Sent:
    """What left the phone and what came back.

    Attributes:
        up_bytes, down_bytes: over the internet, headers and handshakes included.
        cost: EUR, where bytes cost money.
        calls: requests handed to a connection.
        strips: cut strips among what they carried.
        frames: whole pictures among what they carried.
        texts: requests that carried a text as the phone read it.
        private: signs of a private kind that any of them showed.
    """

    up_bytes: int = 0
    down_bytes: int = 0
    cost: float = 0.0
    calls: int = 0
    strips: int = 0
    frames: int = 0
    texts: int = 0
    private: int = 0

    def count(self, request: cloud_pb2.ReadStripRequest, is_private: Callable[[int], bool]) -> None:
        """A request goes out."""
        self.calls += 1
        if request.strip.is_frame:
            self.frames += 1
        else:
            self.strips += 1
        self.texts += bool(request.local_text)
        self.private += sum(is_private(number) for number in numbers_in(request.strip.lines[0].image))


class Internet:
    """One phone's networks and radios over a run.

    Args:
        path_at: the network at a time, in seconds since the first midnight.
        radios: of the phone.
        clock: of the loop.
        start_s: the first midnight on the clock.
    """

    def __init__(
        self, path_at: Callable[[float], NetworkPath], radios: PhoneRadios, *, clock: Clock, start_s: float
    ) -> None:
        self.path_at = path_at
        self.radios = radios
        self.sent = Sent()
        self._clock = clock
        self._start = start_s

    @property
    def now(self) -> float:
        """Seconds since the first midnight."""
        return self._clock.monotonic() - self._start

    @property
    def path(self) -> NetworkPath:
        """The network that the phone is in."""
        return self.path_at(self.now)

    def state(self) -> NetworkState:
        """What the phone sees of it."""
        path = self.path
        kind = path.kind(self.now)
        return NetworkState(kind, metered=path.profile.metered and kind is NetworkKind.CELLULAR)

    async def wake(self, path: NetworkPath) -> None:
        """Wait until the radio can send."""
        if path.radio is not None and path.kind(self.now) is not NetworkKind.NONE:
            await self._clock.sleep(self.radios.radio(path.radio).wake_delay_s(self.now))

    async def up(self, path: NetworkPath, count: int, number: int, *, fresh: bool = False) -> None:
        """Send bytes as call `number`, on a new connection where `fresh`.

        Raises:
            CloudUnavailable: they did not arrive.
        """
        await self.wake(path)
        leg = path.request(self.now, count, number, fresh=fresh)
        self.sent.up_bytes += leg.bytes
        await self._go(path, leg, leg.bytes, 0)

    async def down(self, path: NetworkPath, count: int, number: int) -> None:
        """Receive the answer of call `number`.

        Raises:
            CloudUnavailable: it did not arrive.
        """
        await self.wake(path)
        leg = path.reply(self.now, count, number)
        self.sent.down_bytes += leg.bytes
        await self._go(path, leg, 0, leg.bytes)

    async def _go(self, path: NetworkPath, leg: Leg, up: int, down: int) -> None:
        if path.profile.price_per_mb is not None:
            self.sent.cost += (up + down) / 1e6 * path.profile.price_per_mb
        if path.radio is not None:
            self.radios.radio(path.radio).transfer(leg.air_start_s, leg.air_seconds, up, down)
        await self._clock.sleep(leg.seconds)
        if leg.failure is not None:
            raise CloudUnavailable(f"the cloud cannot be reached: {leg.failure}")


class SimulatedTransport:
    """`CloudTransport`: connection, wake-up of the radio, network and cloud. Make it inside a running event loop.

    Args:
        internet: of the phone.
        remote: the cloud.
        clock: of the loop.
        server_overhead_s: of the gateway in front of the cloud.
        is_private: whether the sign of a trace, by its number, is of a private kind.
    """

    def __init__(
        self,
        internet: Internet,
        remote: Remote,
        *,
        clock: Clock,
        server_overhead_s: float,
        is_private: Callable[[int], bool],
    ) -> None:
        self._internet = internet
        self._remote = remote
        self._clock = clock
        self._overhead = server_overhead_s
        self._is_private = is_private
        self._path: NetworkPath | None = None  # over which there is a connection
        self._used_at = 0.0  # when that was last of use
        self._connecting = asyncio.Lock()

    async def connect(self, deadline: float) -> None:
        """See `CloudTransport.connect`."""
        try:
            async with asyncio.timeout(deadline - self._clock.monotonic()), self._connecting:
                path = self._internet.path
                if path.kind(self._internet.now) is NetworkKind.NONE:
                    self._path = None
                    raise CloudUnavailable("the cloud cannot be reached")
                if self._path is not path or self._clock.monotonic() - self._used_at > IDLE_CHANNEL_S:
                    self._path = None
                    number = path.next_call()
                    await self._internet.up(path, HANDSHAKE_UP_BYTES, number, fresh=True)
                    await self._internet.down(path, HANDSHAKE_DOWN_BYTES, number)
                    self._path, self._used_at = path, self._clock.monotonic()
        except TimeoutError:
            raise CloudUnavailable("the cloud cannot be reached in time") from None

    async def read_strip(  # the interface names it
        self,
        request: cloud_pb2.ReadStripRequest,
        timeout: float,  # noqa: ASYNC109
    ) -> cloud_pb2.ReadStripReply:
        """See `CloudTransport.read_strip`."""
        internet, path = self._internet, self._path
        if path is None or path is not internet.path:
            self._path = None
            raise CloudUnavailable("the connection to the cloud is gone")
        deadline = self._clock.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                number, size = path.next_call(), request.ByteSize()
                internet.sent.count(request, self._is_private)
                await internet.up(path, call_up_bytes(size), number)
                await self._clock.sleep(self._overhead)
                reply = await self._remote.read_strip(request, deadline=deadline)
                await internet.down(path, reply.ByteSize() + CALL_DOWN_BYTES, number)
        except TimeoutError:
            raise CloudDeadline("the cloud did not answer in time") from None
        except CloudUnavailable:
            self._path = None  # the connection broke
            raise
        self._used_at = self._clock.monotonic()
        return reply

    async def close(self) -> None:
        """See `CloudTransport.close`."""
        self._path = None

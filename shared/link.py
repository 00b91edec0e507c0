"""The small interface every glasses-phone transport implements."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol


class Lane(IntEnum):
    """Priority of an object; control overtakes bulk between fragments.

    Control objects are sent in the order they were handed in, of bulk objects the newest first.
    """

    CONTROL = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class SendReceipt:
    """What it took to deliver one object.

    Attributes:
        bytes_on_air: ATT value bytes written or notified for it, headers and repeats included.
        seconds: from the call of `send` to the peer's final acknowledgement.
        bytes_again: payload bytes that were sent more than once.
    """

    bytes_on_air: int
    seconds: float
    bytes_again: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """When an object handed in now would be delivered, in seconds from now.

    Attributes:
        typical_s: half of the time it is quicker.
        late_s: nine times in ten it is quicker.
    """

    typical_s: float
    late_s: float


NINE_IN_TEN: Final = 1.2816
"""Standard normal quantile of 0.9."""


@dataclass(frozen=True, slots=True)
class DeliveryModel:
    """The numbers behind `LinkQuality.predict`; how they come about is in `shared.wire.estimate`.

    Attributes:
        backlog_bytes: payload that is before a new object.
        bytes_per_s: goodput, measured or assumed.
        round_trip_s: measured or assumed.
        wait_s: until the connection is expected back; 0 while it stands.
        log_bias: mean of ln(actual / base) over the last deliveries.
        log_spread: its standard deviation.
    """

    backlog_bytes: int
    bytes_per_s: float
    round_trip_s: float
    wait_s: float
    log_bias: float
    log_spread: float

    def base_s(self, size: int) -> float:
        """Seconds for an object of `size` bytes if the link does just what it did on average."""
        return self.wait_s + self.round_trip_s + (self.backlog_bytes + size) / self.bytes_per_s

    def predict(self, size: int) -> Delivery:
        """Time and uncertainty for an object of `size` bytes."""
        typical = self.base_s(size) * math.exp(self.log_bias)
        return Delivery(typical, typical * math.exp(NINE_IN_TEN * self.log_spread))


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """Smoothed view of the link; rates are None until measured.

    Attributes:
        connected: whether a peer is there and has said HELLO.
        goodput_bytes_per_s: acknowledged payload bytes a second while bulk was flowing.
        round_trip_s: fragment to acknowledgement.
        peer_battery_percent: 0..100 as of the peer's last HELLO.
        reconnects: connections after the first.
        refused_frames: malformed, oversize or out-of-window frames survived.
        delivery: predicts how long an object of a given size would take.
        lost_for_s: since the connection ended; None while it stands, and before the first.
        clock_offset_s: the peer's monotonic clock minus this side's; None before it was measured.
        clock_error_s: how far that may be off: half of the exchange it was measured in.
    """

    connected: bool
    goodput_bytes_per_s: float | None
    round_trip_s: float | None
    peer_battery_percent: int | None
    reconnects: int
    refused_frames: int
    delivery: DeliveryModel
    lost_for_s: float | None = None
    clock_offset_s: float | None = None
    clock_error_s: float | None = None

    def predict(self, size: int) -> Delivery:
        """When a bulk object of `size` bytes handed in now would be delivered."""
        return self.delivery.predict(size)


class Link(Protocol):
    """Moves objects (serialised `wayword.v1.LinkObject`) between the glasses and the phone."""

    async def send(self, payload: bytes, *, lane: Lane, deadline: float) -> SendReceipt:
        """Deliver one object, across reconnects if need be.

        Args:
            payload: at most `limits.MAX_OBJECT_BYTES`.
            lane: priority.
            deadline: on the link's clock (`Clock.monotonic`), after which the object is worthless.

        Raises:
            TransferExpired: the deadline passed first.
            TransferRefused: the object is too large, or the peer refused it.
            LinkLost: the link was closed for good.
        """
        ...

    def receive(self) -> AsyncIterator[bytes]:
        """Objects from the peer, each once, in the order they were completed; ends when the link is closed."""
        ...

    @property
    def quality(self) -> LinkQuality:
        """The link as it is now."""
        ...

    async def wait_connected(self) -> None:
        """Return once a peer is connected and has said HELLO."""
        ...

    async def close(self) -> None:
        """End the link; pending sends raise `LinkLost`."""
        ...

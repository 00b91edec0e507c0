"""The small interface every glasses-phone transport implements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Lane(IntEnum):
    """Priority of an object; control overtakes bulk between fragments."""

    CONTROL = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class SendReceipt:
    """What it took to deliver one object.

    Attributes:
        bytes_on_air: ATT value bytes written or notified for it, headers and repeats included.
        seconds: from the call of `send` to the peer's final acknowledgement.
    """

    bytes_on_air: int
    seconds: float


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
    """

    connected: bool
    goodput_bytes_per_s: float | None
    round_trip_s: float | None
    peer_battery_percent: int | None
    reconnects: int
    refused_frames: int


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

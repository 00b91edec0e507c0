"""The glasses' way out to one phone: ATT values as notifications, no faster than the controller takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bumble import core
from bumble.device import Connection, Device
from bumble.gatt import Characteristic

from shared.clock import Clock
from shared.errors import LinkLost
from shared.wire import frames
from shared.wire.waiting import within

_FULL_CONTROLLER_S: Final = 10.0  # longer than a supervision timeout: the controller has died
_MAX_PENDING_PACKETS: Final = 8
"""ACL packets (four of our fragments) in Bumble's unbounded queue and the controller together: enough to fill a
connection event, and what a control frame waits for."""


def reason_of(error: BaseException) -> str:
    """What a Bluetooth failure says of itself, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class NotifyPort:
    """`DatagramPort` that notifies one connected phone."""

    def __init__(
        self,
        device: Device,
        connection: Connection,
        characteristic: Characteristic[bytes],
        clock: Clock,
        drop_connection: Callable[[], None],
    ) -> None:
        self._drop_connection = drop_connection
        self._device = device
        self._connection = connection
        self._characteristic = characteristic
        self._clock = clock
        self._open = True
        self._flow = asyncio.Event()
        self._queue = device.host.le_acl_packet_queue
        if self._queue is not None:
            self._queue.on("flow", self._flow.set)

    @property
    def max_write(self) -> int:
        return min(frames.MAX_VALUE_BYTES, self._connection.att_mtu - 3)

    def bulk_at(self, now: float) -> float:
        return now

    async def write(self, value: bytes) -> None:
        while self._open and self._queue is not None and self._queue.pending >= _MAX_PENDING_PACKETS:
            self._flow.clear()
            try:
                await within(self._clock, _FULL_CONTROLLER_S, self._flow.wait())
            except TimeoutError as error:
                raise LinkLost("the Bluetooth controller takes no more packets") from error
        if not self._open:
            raise LinkLost("the phone is no longer connected")
        try:
            await self._device.notify_subscriber(self._connection, self._characteristic, value)
        except (core.BaseBumbleError, OSError) as error:
            raise LinkLost(f"a notification failed: {reason_of(error)}") from error

    def drop(self) -> None:
        if self._open:
            self._drop_connection()

    def close(self) -> None:
        """The connection is gone, or the phone stopped listening."""
        self._open = False
        if self._queue is not None:
            self._queue.remove_listener("flow", self._flow.set)
        self._flow.set()

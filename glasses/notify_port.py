"""The glasses' way out to one phone: ATT values as notifications, no faster than the controller takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bumble import core
from bumble.device import Connection, Device
from bumble.gatt import Characteristic

from glasses.pacing import MAX_TARGET, EventPacer
from shared.clock import Clock
from shared.errors import LinkLost, reason_of
from shared.wire import frames
from shared.wire.waiting import within

_FULL_CONTROLLER_S: Final = 10.0  # longer than a supervision timeout: the controller has died
_MAX_PENDING_PACKETS: Final = 2 * MAX_TARGET
"""Packets of any kind in Bumble's unbounded queue and the controller together."""


class NotifyPort:
    """`DatagramPort` that notifies one connected phone.

    Args:
        device: the glasses' Bluetooth host.
        connection: to the phone.
        characteristic: what is notified.
        clock: source of time.
        drop_connection: ends the connection soon.
        room: told when bulk may be written sooner than `bulk_at` said.
    """

    def __init__(
        self,
        device: Device,
        connection: Connection,
        characteristic: Characteristic[bytes],
        clock: Clock,
        drop_connection: Callable[[], None],
        room: Callable[[], None],
    ) -> None:
        self._drop_connection = drop_connection
        self._device = device
        self._connection = connection
        self._characteristic = characteristic
        self._clock = clock
        self._open = True
        self._flow = asyncio.Event()
        self._room = room
        self._pacer = EventPacer(_interval_of(connection))
        self._queue = device.host.le_acl_packet_queue
        if self._queue is not None:
            self._queue.on("flow", self._on_completed)

    @property
    def max_write(self) -> int:
        return min(frames.MAX_VALUE_BYTES, self._connection.att_mtu - 3)

    @property
    def paced(self) -> bool:
        return self._queue is not None

    def bulk_at(self, now: float) -> float:
        if self._queue is None:
            return now
        return self._pacer.bulk_at(now, pending=self._queue.pending)

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
            self._queue.remove_listener("flow", self._on_completed)
        self._flow.set()

    def _on_completed(self) -> None:
        assert self._queue is not None
        self._pacer.set_interval(_interval_of(self._connection))  # Bumble's event for it does not always come
        self._pacer.completed(self._clock.monotonic(), pending=self._queue.pending)
        self._flow.set()
        self._room()


def _interval_of(connection: Connection) -> float | None:
    milliseconds = connection.parameters.connection_interval
    return milliseconds / 1000 if milliseconds > 0 else None

"""The phone's way out to connected glasses: ATT values as writes without response, through bleak."""

from __future__ import annotations

import asyncio
from typing import Final

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic

from shared.clock import Clock
from shared.errors import LinkError, LinkLost, reason_of
from shared.wire import frames
from shared.wire.waiting import within

CALL_S: Final = 5.0
"""Longest answer of bleak to anything but a connection attempt."""


class WritePort:
    """`DatagramPort` that writes to connected glasses without response."""

    def __init__(
        self, client: BleakClient, characteristic: BleakGATTCharacteristic, ended: asyncio.Event, clock: Clock
    ) -> None:
        self._client = client
        self._characteristic = characteristic
        self._clock = clock
        self.ended = ended
        self.subscribed = asyncio.Event()

    @property
    def max_write(self) -> int:
        # Asked every time: BlueZ says 20 at a second connection until the MTU exchange has finished.
        return min(frames.MAX_VALUE_BYTES, self._characteristic.max_write_without_response_size)

    @property
    def paced(self) -> bool:
        return False

    def bulk_at(self, now: float) -> float:
        return now  # the queue below bleak cannot be seen; the window of the lane keeps it short

    async def write(self, value: bytes) -> None:
        await self.subscribed.wait()  # `_serve` sets it when start_notify is through, and also when it fails
        if self.ended.is_set():
            raise LinkLost("the glasses are no longer connected")
        try:
            call = self._client.write_gatt_char(self._characteristic, value, response=False)
            await within(self._clock, CALL_S, call)
        except LinkError:
            raise
        except Exception as error:  # bleak's backends leak their platform's own exceptions
            raise LinkLost(f"a write failed: {reason_of(error)}") from error

    def drop(self) -> None:
        self.ended.set()

"""Readings on their way to the glasses: the newest of each sign, together where they wait together."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from shared.clock import Clock
from shared.errors import LinkLost, TransferExpired, TransferRefused
from shared.events import EventLog
from shared.limits import MAX_OBJECT_BYTES
from shared.link import Lane, Link
from shared.messages.names import enum_name
from shared.messages.wayword.v1 import link_pb2, types_pb2

MAX_WAITING: Final = 256
"""Readings that wait for the link; above it the oldest gives way."""
MAX_SENDS: Final = 4
"""Objects handed to the link at once; more would only wait there instead of here, where they can be replaced."""
MAX_BATCH: Final = 8
"""Readings of one object."""
_BATCH_BYTES: Final = MAX_OBJECT_BYTES // 8
"""A batch ends here: a control object must not hold the lane for long."""

StripKey = tuple[int, int, int]
"""Capture time, frame and region: the same for a strip that is sent again, and for no other, whatever run of the
glasses it is from."""


def strip_key(message: types_pb2.Strip | types_pb2.Reading) -> StripKey:
    """Which strip this is, or answers."""
    return message.captured_us, message.frame_id, message.region_id


@dataclass(frozen=True, slots=True)
class _Waiting:
    reading: types_pb2.Reading
    deadline: float


class Outbox:
    """Sends readings on the control lane; a newer reading of a sign replaces one that still waits.

    What cannot be sent for want of a link waits for the reconnect, until its deadline.

    Args:
        link: to the glasses.
        clock: of the deadlines.
        events: told of what was sent and what was not.
    """

    def __init__(self, link: Link, *, clock: Clock, events: EventLog) -> None:
        self._link = link
        self._clock = clock
        self._events = events
        self._waiting: OrderedDict[StripKey, _Waiting] = OrderedDict()
        self._sending: dict[asyncio.Task[None], frozenset[StripKey]] = {}
        self._wake = asyncio.Event()

    def put(self, reading: types_pb2.Reading, *, deadline: float) -> None:
        """Send a reading, at the latest at `deadline` on the clock."""
        key = strip_key(reading)
        self._waiting.pop(key, None)
        self._waiting[key] = _Waiting(reading, deadline)
        if len(self._waiting) > MAX_WAITING:
            _, dropped = self._waiting.popitem(last=False)
            self._lost(dropped.reading, "too many readings wait")
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while len(self._sending) < MAX_SENDS and (batch := self._next_batch()):
                    self._start(batch)
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    def _next_batch(self) -> list[_Waiting]:
        """Readings to send now, oldest first; none of a sign whose last reading is still on its way."""
        on_their_way = frozenset().union(*self._sending.values())
        now = self._clock.monotonic()
        batch: list[_Waiting] = []
        size = 0
        for key, waiting in list(self._waiting.items()):
            if waiting.deadline <= now:
                del self._waiting[key]
                self._lost(waiting.reading, "its deadline passed")
                continue
            if key in on_their_way:
                continue
            size += waiting.reading.ByteSize()
            if batch and size > _BATCH_BYTES:
                break
            batch.append(self._waiting.pop(key))
            if len(batch) == MAX_BATCH:
                break
        return batch

    def _start(self, batch: list[_Waiting]) -> None:
        task = asyncio.create_task(self._send(batch), name="wayword-send-readings")
        self._sending[task] = frozenset(strip_key(item.reading) for item in batch)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._sending.pop(task, None)
        self._wake.set()

    async def _send(self, batch: list[_Waiting]) -> None:
        readings = [item.reading for item in batch]
        payload = link_pb2.LinkObject(readings=link_pb2.Readings(readings=readings)).SerializeToString()
        try:
            receipt = await self._link.send(payload, lane=Lane.CONTROL, deadline=max(item.deadline for item in batch))
        except (TransferExpired, TransferRefused, LinkLost) as error:
            for reading in readings:
                self._lost(reading, error.message)
            return
        for reading in readings:
            self._events.write(
                "reading_delivered",
                frame_id=reading.frame_id,
                region_id=reading.region_id,
                state=enum_name(types_pb2.ReadingState, reading.state),
                bytes_on_air=receipt.bytes_on_air,
                seconds=receipt.seconds,
            )

    def _lost(self, reading: types_pb2.Reading, reason: str) -> None:
        self._events.write("reading_lost", frame_id=reading.frame_id, region_id=reading.region_id, reason=reason)

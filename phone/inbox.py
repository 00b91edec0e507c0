"""Strips from the glasses: those that wait to be read, and what the last ones were answered with."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import DecodeError

from phone.outbox import StripKey, strip_key
from shared.clock import Clock
from shared.events import EventLog
from shared.messages.wayword.v1 import link_pb2, types_pb2

MAX_FRAME_ID: Final = 2**63 - 1
"""Largest number the ledger can store; at 30 frames a second it takes ten thousand million years."""


@dataclass(frozen=True, slots=True)
class Job:
    """One strip to answer.

    Attributes:
        strip: as received.
        received: when it first came, on the phone's clock.
        deadline: after which an answer is worthless, on the phone's clock.
    """

    strip: types_pb2.Strip
    received: float
    deadline: float

    @property
    def key(self) -> StripKey:
        """Which strip it is."""
        return strip_key(self.strip)


class Inbox:
    """Takes what the glasses send. Lives on the event loop.

    Args:
        clock: of the deadlines.
        events: told of what came, what was refused and what was dropped.
        life_s: how long after its arrival a strip is worth answering.
        max_waiting: strips that may wait to be read; above it the oldest gives way.
        max_remembered: answered strips remembered, so that a strip sent again is answered at once.
    """

    def __init__(self, *, clock: Clock, events: EventLog, life_s: float, max_waiting: int, max_remembered: int) -> None:
        self._clock = clock
        self._events = events
        self._life_s = life_s
        self._max_waiting = max_waiting
        self._max_remembered = max_remembered
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._answers: OrderedDict[StripKey, types_pb2.Reading | None] = OrderedDict()
        self.refused = 0

    def accept(self, payload: bytes) -> tuple[types_pb2.Reading, float] | None:
        """Queue the strip in an object; count and refuse what is none.

        Returns:
            For a strip that was answered before: the answer, and the deadline for sending it again.
        """
        try:
            message = link_pb2.LinkObject.FromString(payload)
        except DecodeError:
            self.refuse("it cannot be parsed")
            return None
        match message.WhichOneof("body"):
            case "strip" if message.strip.frame_id <= MAX_FRAME_ID:
                # What this version does not know it cannot judge, so it must not pass it on to the cloud either.
                message.DiscardUnknownFields()
                return self._take(message.strip, len(payload))
            case "strip":
                self.refuse("its frame id is impossible")
            case "status":
                self._events.write("glasses_status", battery_percent=message.status.battery_percent)
            case other:
                self.refuse(f"glasses do not send {other or 'nothing'}")
        return None

    def refuse(self, reason: str) -> None:
        """Count and note an object that is of no use."""
        self.refused += 1
        self._events.write("object_refused", reason=reason, count=self.refused)

    async def next(self) -> Job:
        """The oldest strip that is still worth answering; what is not is dropped."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            job = self._waiting.popleft()
            if job.deadline > self._clock.monotonic():
                return job
            self._drop(job, "it waited too long")

    def remember(self, key: StripKey, answer: types_pb2.Reading | None) -> None:
        """Keep the newest answer to a strip; None while it waits for its first one."""
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._max_remembered + self._max_waiting:
            self._answers.popitem(last=False)

    def _take(self, strip: types_pb2.Strip, size: int) -> tuple[types_pb2.Reading, float] | None:
        now = self._clock.monotonic()
        job = Job(strip, now, now + self._life_s)
        if job.key in self._answers:
            self._events.write("strip_repeated", frame_id=strip.frame_id, region_id=strip.region_id)
            answer = self._answers[job.key]
            if answer is not None:
                return answer, job.deadline
            self._renew(job)
            return None
        self._events.write(
            "strip_received",
            frame_id=strip.frame_id,
            region_id=strip.region_id,
            lines=len(strip.lines),
            is_frame=strip.is_frame,
            object_bytes=size,
        )
        self.remember(job.key, None)
        self._waiting.append(job)
        if len(self._waiting) > self._max_waiting:
            self._drop(self._waiting.popleft(), "newer strips came")
        self._arrived.set()
        return None

    def _renew(self, job: Job) -> None:
        """The glasses still want a strip that waits: it keeps its place and lives longer."""
        for index, waiting in enumerate(self._waiting):
            if waiting.key == job.key:
                self._waiting[index] = replace(waiting, deadline=job.deadline)

    def _drop(self, job: Job, reason: str) -> None:
        # Forgotten, so that the glasses may send it again.
        self._answers.pop(job.key, None)
        self._events.write("strip_dropped", frame_id=job.strip.frame_id, region_id=job.strip.region_id, reason=reason)

"""The phone of the split design: it passes every strip on to the cloud, and reads nothing itself."""

from __future__ import annotations

import asyncio

from phone.cloud import CallCost, CloudClient
from phone.inbox import Inbox, Job
from phone.outbox import Outbox
from phone.settings import PhoneSettings
from shared.clock import Clock
from shared.errors import CloudError
from shared.events import EventLog
from shared.link import Link
from shared.messages.wayword.v1 import cloud_pb2, types_pb2


class Relay:
    """Make it inside a running event loop.

    Args:
        link: to the glasses.
        cloud: asked for every strip.
        settings: of the daemon, for the bounds that both share.
        clock: of the loop.
        events: the log.
    """

    def __init__(
        self, *, link: Link, cloud: CloudClient, settings: PhoneSettings, clock: Clock, events: EventLog
    ) -> None:
        self._link = link
        self._cloud = cloud
        self._settings = settings
        self._outbox = Outbox(link, clock=clock, events=events)
        self._inbox = Inbox(
            clock=clock,
            events=events,
            life_s=settings.answer_life_s,
            max_waiting=settings.waiting_strips,
            max_remembered=settings.remembered_strips,
        )
        self._turns = asyncio.Semaphore(settings.cloud_calls)
        self._calls: set[asyncio.Task[None]] = set()
        self._asked = 0
        self.bytes_out = 0
        self.pictures_out = 0

    async def run(self) -> None:
        """Pass strips on until cancelled."""
        steps = [
            asyncio.create_task(self._receive(), name="relay receives"),
            asyncio.create_task(self._ask_all(), name="relay asks"),
            asyncio.create_task(self._outbox.run(), name="relay answers"),
        ]
        try:
            await asyncio.gather(*steps)
        finally:
            for task in (*steps, *self._calls):
                task.cancel()
            await asyncio.gather(*steps, *self._calls, return_exceptions=True)

    async def _receive(self) -> None:
        async for payload in self._link.receive():
            repeated = self._inbox.accept(payload)
            if repeated is not None:
                self._outbox.put(repeated[0], deadline=repeated[1])

    async def _ask_all(self) -> None:
        while True:
            job = await self._inbox.next()
            await self._turns.acquire()
            task = asyncio.create_task(self._ask(job), name="relay asks for one")
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _ask(self, job: Job) -> None:
        self._asked += 1
        strip = types_pb2.Strip()
        strip.CopyFrom(job.strip)
        request = cloud_pb2.ReadStripRequest(
            idempotency_key=f"{self._asked:032x}",
            strip=strip,
            direction=types_pb2.Direction(target=self._settings.target),
        )
        cost = CallCost()
        try:
            reading = await self._cloud.read_strip(request, deadline=job.deadline, cost=cost)
            # Nothing stands in for the cloud's answer, so it is final whatever it says.
            reading.tier, reading.state = types_pb2.TIER_CLOUD, types_pb2.READING_STATE_REFINED
        except CloudError:
            # It says nothing, lets the glasses stop waiting, and has them look again when the sign is closer.
            reading = types_pb2.Reading(
                tier=types_pb2.TIER_PHONE,
                engine=types_pb2.ENGINE_NONE,
                state=types_pb2.READING_STATE_KEPT,
                unreadable=types_pb2.UNREADABLE_LOW_CONFIDENCE,
            )
        finally:
            self._turns.release()
            self.bytes_out += cost.bytes_out
            self.pictures_out += cost.bytes_out > 0
        reading.frame_id, reading.region_id = job.strip.frame_id, job.strip.region_id
        reading.captured_us = job.strip.captured_us
        self._inbox.remember(job.key, reading)
        self._outbox.put(reading, deadline=job.deadline)

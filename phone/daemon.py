"""The phone daemon: phase one, the cascade and phase two of every sign ("How a sign flows", steps 5 to 7)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, Protocol

import grpc

from phone.battery import Battery
from phone.cascade.policy import CloudState, Conditions, Decision, Policy, Recogniser, Signals, decide
from phone.cloud import CallCost, CallRefused, CloudClient
from phone.inbox import Inbox, Job
from phone.ledger import Consent, Ledger, Outcome
from phone.outbox import Outbox
from phone.readings import LocalReading, is_better, to_ledger_sign, to_message, to_signals
from phone.settings import PhoneSettings
from shared.clock import Clock
from shared.errors import CloudDeadline, CloudError, CloudRefused, InputError, StorageError, WaywordError
from shared.events import EventLog
from shared.link import Link
from shared.messages.names import enum_name
from shared.messages.wayword.v1 import cloud_pb2, types_pb2

DIRECTION_MEMORY_S: Final = 600.0
"""How long the cloud's "I do not serve this direction" is believed."""
MAX_DIRECTIONS: Final = 64
"""Refused directions remembered."""
SEND_TIME_S: Final = 0.3
"""Kept of a strip's life for bringing the cloud's answer to the glasses."""


class StripReader(Protocol):
    """Phase one; `phone.reading.LocalReader` in production."""

    def read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        """Read one strip; runs in the worker thread."""
        ...

    def remember(self, reading: LocalReading, cloud: types_pb2.Reading) -> None:
        """Keep what the cloud said of a text."""
        ...


class PhoneDaemon:
    """Answers every strip the glasses send. Make it inside a running event loop.

    Args:
        link: to the glasses.
        reader: phase one.
        choose_recogniser: which recogniser to use, given the battery.
        cloud: phase two; None for no cloud.
        ledger: where every decision goes.
        consent: the wearer's, under the privacy switch "ask".
        battery: asked for every strip.
        settings: everything else.
        clock: of every wait and deadline.
        events: the log.
        policy: the cascade's constants.
    """

    def __init__(
        self,
        *,
        link: Link,
        reader: StripReader,
        choose_recogniser: Callable[[Battery], Recogniser],
        cloud: CloudClient | None,
        ledger: Ledger,
        consent: Consent,
        battery: Callable[[], Battery],
        settings: PhoneSettings,
        clock: Clock,
        events: EventLog,
        policy: Policy | None = None,
    ) -> None:
        self._link = link
        self._reader = reader
        self._choose_recogniser = choose_recogniser
        self._cloud = cloud
        self._ledger = ledger
        self._consent = consent
        self._battery = battery
        self._settings = settings
        self._clock = clock
        self._events = events
        self._policy = policy or Policy()
        self._outbox = Outbox(link, clock=clock, events=events)
        self._inbox = Inbox(
            clock=clock,
            events=events,
            life_s=settings.answer_life_s,
            max_waiting=settings.waiting_strips,
            max_remembered=settings.remembered_strips,
        )
        self._refinements: set[asyncio.Task[None]] = set()
        self._refinement_failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._refused_directions: dict[tuple[str, str], float] = {}

    @property
    def refused_objects(self) -> int:
        """Objects from the glasses that were of no use."""
        return self._inbox.refused

    async def run(self) -> None:
        """Answer strips until the link is closed or the task is cancelled."""
        # One thread: the models are not for two, and one session per core is the fastest use of a small CPU.
        with ThreadPoolExecutor(1, thread_name_prefix="wayword-reader") as worker:
            steps = [
                asyncio.create_task(self._receive(), name="wayword-receive"),
                asyncio.create_task(self._read_strips(worker), name="wayword-read"),
                asyncio.create_task(self._outbox.run(), name="wayword-outbox"),
            ]
            try:
                awaited = {*steps, self._refinement_failed}
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                for step in awaited:
                    if step.done():
                        step.result()
            finally:
                for task in (*steps, *self._refinements):
                    task.cancel()
                await asyncio.gather(*steps, *self._refinements, return_exceptions=True)

    async def _receive(self) -> None:
        async for payload in self._link.receive():
            repeated = self._inbox.accept(payload)
            if repeated is not None:
                answer, deadline = repeated
                self._outbox.put(answer, deadline=deadline)

    # Phase one ----------------------------------------------------------------------------------------

    async def _read_strips(self, worker: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            job = await self._inbox.next()
            started = self._clock.monotonic()
            try:
                recogniser = self._choose_recogniser(self._battery())
                reading = await loop.run_in_executor(worker, self._reader.read, job.strip, recogniser)
            except InputError as error:
                self._inbox.refuse(error.message)
                self._answer(job, _nothing(job.strip))
                continue
            except WaywordError as error:
                self._events.write("reading_failed", region_id=job.strip.region_id, reason=str(error))
                self._answer(job, _nothing(job.strip))
                continue
            await self._cascade(job, reading, waited_ms=(started - job.received) * 1e3)

    def _answer(self, job: Job, message: types_pb2.Reading) -> None:
        self._inbox.remember(job.key, message)
        self._outbox.put(message, deadline=job.deadline)
        self._events.write(
            "reading_sent",
            content={"text": message.text, "translation": message.translation},
            frame_id=message.frame_id,
            region_id=message.region_id,
            state=enum_name(types_pb2.ReadingState, message.state),
            tier=enum_name(types_pb2.Tier, message.tier),
            engine=enum_name(types_pb2.Engine, message.engine),
            since_strip_ms=(self._clock.monotonic() - job.received) * 1e3,
        )

    # The cascade --------------------------------------------------------------------------------------

    async def _cascade(self, job: Job, reading: LocalReading, *, waited_ms: float) -> None:
        """Decide, write the decision down, answer, and start phase two where the decision says so."""
        message = to_message(reading, types_pb2.READING_STATE_KEPT)
        message.stage_times.add(stage="wait", milliseconds=waited_ms)
        request = _request(reading)
        signals = to_signals(
            reading,
            request_bytes=request.ByteSize(),
            direction_refused=self._is_refused(reading.meaning.source or "", reading.target),
        )
        decision, row = await self._decide(job, reading, signals)
        self._events.write(
            "decision",
            frame_id=reading.frame_id,
            region_id=reading.region_id,
            escalate=decision.escalate,
            rule=decision.rule.value,
            reason=decision.reason,
            gain=decision.gain,
            price=decision.price,
            bytes_out=signals.request_bytes if decision.escalate else 0,
        )
        if not decision.escalate or self._cloud is None or row is None:
            self._answer(job, message)
            return
        provisional = types_pb2.Reading()
        provisional.CopyFrom(message)
        provisional.state = types_pb2.READING_STATE_PROVISIONAL
        self._answer(job, provisional)
        task = asyncio.create_task(
            self._refine(self._cloud, job, reading, request, message, row), name="wayword-refine"
        )
        self._refinements.add(task)
        task.add_done_callback(self._refined)

    async def _decide(self, job: Job, reading: LocalReading, signals: Signals) -> tuple[Decision, int | None]:
        """The decision and its ledger row. Without a row nothing leaves."""
        sign = to_ledger_sign(reading)
        conditions = self._conditions(job)

        def decide_and_record() -> tuple[Decision, int]:
            left = max(self._settings.daily_budget_bytes - self._ledger.bytes_today(), 0)
            known = replace(conditions, consent=self._consent.given(), budget_left_bytes=left)
            decision = decide(signals, known, self._policy)
            return decision, self._ledger.record(sign, signals, decision)

        try:
            # In a thread: a slow disk must not keep the link from its acknowledgements.
            return await asyncio.to_thread(decide_and_record)
        except StorageError as error:
            self._storage_failed(error)
            return decide(signals, replace(conditions, ledger_writable=False), self._policy), None

    def _conditions(self, job: Job) -> Conditions:
        """The world around a decision, but for what is in the database: that is the most careful guess."""
        battery = self._battery()
        return Conditions(
            cloud=self._cloud_state(),
            cloud_use=self._settings.cloud_use,
            consent=False,
            ledger_writable=True,
            budget_left_bytes=0,
            battery_percent=battery.percent,
            charging=battery.charging,
            expected_seconds=self._cloud.expected_seconds if self._cloud else 0.0,
            life_left_seconds=job.deadline - SEND_TIME_S - self._clock.monotonic(),
        )

    def _cloud_state(self) -> CloudState:
        if self._cloud is None:
            return CloudState.NOT_CONFIGURED
        if not self._cloud.available:
            return CloudState.DOWN
        if len(self._refinements) >= self._settings.cloud_calls:
            return CloudState.BUSY
        return CloudState.READY

    def _storage_failed(self, error: StorageError) -> None:
        """Note that something could not be stored; the daemon goes on without storing."""
        self._events.write("storage_failed", reason=str(error))

    # Phase two ----------------------------------------------------------------------------------------

    async def _refine(
        self,
        cloud: CloudClient,
        job: Job,
        reading: LocalReading,
        request: cloud_pb2.ReadStripRequest,
        kept: types_pb2.Reading,
        row: int,
    ) -> None:
        """Ask the cloud; its reading replaces the phone's where it is better, else the phone's is final."""
        cost = CallCost()
        final, outcome, reason = kept, Outcome.UNAVAILABLE, ""
        try:
            answer = await cloud.read_strip(request, deadline=job.deadline - SEND_TIME_S, cost=cost)
        except CloudError as error:
            outcome, reason = _outcome_of(error), error.message
            if isinstance(error, CallRefused) and error.status is grpc.StatusCode.UNIMPLEMENTED:
                self._refuse_direction("", reading.target)
        else:
            outcome = _compare(answer, kept)
            if outcome is not Outcome.NO_BETTER:
                final = _refined(answer, kept, cost)
                await asyncio.to_thread(self._reader.remember, reading, answer)
            if answer.unreadable == types_pb2.UNREADABLE_DIRECTION:
                self._refuse_direction(answer.direction.source, reading.target)
        self._events.write(
            "cloud_call",
            frame_id=reading.frame_id,
            region_id=reading.region_id,
            outcome=outcome.value,
            reason=reason,
            ms=cost.seconds * 1e3,
            bytes_out=cost.bytes_out,
        )
        try:
            await asyncio.to_thread(
                self._ledger.close_call, row, outcome, bytes_out=cost.bytes_out, cloud_ms=cost.seconds * 1e3
            )
        except StorageError as error:
            self._storage_failed(error)
        self._answer(job, final)

    def _refined(self, task: asyncio.Task[None]) -> None:
        """A refinement ended; one that broke ends the daemon, for its sign would wait in vain."""
        self._refinements.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._refinement_failed.done():
            self._refinement_failed.set_exception(error)

    def _refuse_direction(self, source: str, target: str) -> None:
        self._refused_directions[source, target] = self._clock.monotonic() + DIRECTION_MEMORY_S
        while len(self._refused_directions) > MAX_DIRECTIONS:
            del self._refused_directions[next(iter(self._refused_directions))]

    def _is_refused(self, source: str, target: str) -> bool:
        """Whether the cloud refused this direction, or everything into this target, a while ago."""
        now = self._clock.monotonic()
        return any(self._refused_directions.get((code, target), now) > now for code in {source, ""})


def _request(reading: LocalReading) -> cloud_pb2.ReadStripRequest:
    """What the cloud is asked. The source language stays open: a misread text must not mislead the cloud."""
    strip = types_pb2.Strip()
    strip.CopyFrom(reading.outgoing)
    # Numbers that count up would tell which calls come from one wearer.
    for name in ("frame_id", "region_id", "captured_us"):
        strip.ClearField(name)
    message = to_message(reading, types_pb2.READING_STATE_PROVISIONAL)
    return cloud_pb2.ReadStripRequest(
        # Random: it must not collide with another wearer's, and tells nothing about this one.
        idempotency_key=uuid.uuid4().hex,
        strip=strip,
        direction=types_pb2.Direction(target=reading.target),
        local_text=reading.text,
        local_confidence=message.confidence,
    )


def _nothing(strip: types_pb2.Strip) -> types_pb2.Reading:
    """The answer to a strip that is malformed, or whose models fail: the glasses stop waiting."""
    return types_pb2.Reading(
        frame_id=strip.frame_id,
        region_id=strip.region_id,
        captured_us=strip.captured_us,
        tier=types_pb2.TIER_PHONE,
        engine=types_pb2.ENGINE_NONE,
        state=types_pb2.READING_STATE_KEPT,
    )


def _compare(cloud: types_pb2.Reading, kept: types_pb2.Reading) -> Outcome:
    if not is_better(cloud, kept):
        return Outcome.NO_BETTER
    same = cloud.text == kept.text and cloud.translation == kept.translation
    return Outcome.CONFIRMED if same else Outcome.REFINED


def _refined(cloud: types_pb2.Reading, kept: types_pb2.Reading, cost: CallCost) -> types_pb2.Reading:
    """The cloud's reading as the glasses get it, with the stages of both tiers."""
    final = types_pb2.Reading()
    final.CopyFrom(cloud)
    final.DiscardUnknownFields()
    final.frame_id, final.region_id, final.captured_us = kept.frame_id, kept.region_id, kept.captured_us
    final.tier = types_pb2.TIER_CLOUD
    final.state = types_pb2.READING_STATE_REFINED
    del final.stage_times[:]
    final.stage_times.extend(kept.stage_times)
    final.stage_times.add(stage="cloud", milliseconds=cost.seconds * 1e3)
    for time in cloud.stage_times:
        final.stage_times.add(stage=f"cloud_{time.stage}", milliseconds=time.milliseconds)
    return final


def _outcome_of(error: CloudError) -> Outcome:
    if isinstance(error, CloudDeadline):
        return Outcome.DEADLINE
    return Outcome.REFUSED if isinstance(error, CloudRefused) else Outcome.UNAVAILABLE

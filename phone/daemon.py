"""The phone daemon: phase one, the cascade and phase two of every sign ("How a sign flows", steps 5 to 7)."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import grpc
from google.protobuf.message import DecodeError

from phone.battery import Battery
from phone.cascade.policy import CloudState, Conditions, Decision, Policy, Recogniser, Signals, decide
from phone.cloud import CallCost, CallRefused, CloudClient
from phone.ledger import Consent, Ledger, Outcome
from phone.outbox import Outbox
from phone.readings import LocalReading, is_better, to_ledger_sign, to_message, to_signals
from phone.settings import PhoneSettings
from shared.clock import Clock
from shared.errors import CloudDeadline, CloudError, CloudRefused, InputError, StorageError, WaywordError
from shared.events import EventLog
from shared.link import Link
from shared.messages.wayword.v1 import cloud_pb2, link_pb2, types_pb2

DIRECTION_MEMORY_S: Final = 600.0
"""How long the cloud's "I do not serve this direction" is believed."""
MAX_DIRECTIONS: Final = 64
"""Refused directions remembered."""
SEND_TIME_S: Final = 0.3
"""Kept of a strip's life for bringing the cloud's answer to the glasses."""
MAX_FRAME_ID: Final = 2**63 - 1
"""Largest number the ledger can store; at 30 frames a second it takes ten thousand million years."""

StripKey = tuple[int, int, int]
"""Capture time, frame and region: the same for a strip that is sent again, and for no other."""


class StripReader(Protocol):
    """Phase one; `phone.reading.LocalReader` in production."""

    def read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        """Read one strip; runs in the worker thread."""
        ...

    def remember(self, reading: LocalReading, cloud: types_pb2.Reading) -> None:
        """Keep what the cloud said of a text."""
        ...


@dataclass(frozen=True, slots=True)
class _Job:
    strip: types_pb2.Strip
    received: float
    deadline: float

    @property
    def key(self) -> StripKey:
        return self.strip.captured_us, self.strip.frame_id, self.strip.region_id


class PhoneDaemon:
    """Answers every strip the glasses send.

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
        self._waiting: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._answers: OrderedDict[StripKey, types_pb2.Reading | None] = OrderedDict()
        self._refinements: set[asyncio.Task[None]] = set()
        self._refused_directions: dict[tuple[str, str], float] = {}
        self.refused_objects = 0

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
                await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
                for step in steps:
                    if step.done():
                        step.result()
            finally:
                for task in (*steps, *self._refinements):
                    task.cancel()
                await asyncio.gather(*steps, *self._refinements, return_exceptions=True)

    # From the glasses ---------------------------------------------------------------------------------

    async def _receive(self) -> None:
        async for payload in self._link.receive():
            self._accept(payload)

    def _accept(self, payload: bytes) -> None:
        """Queue a strip; answer one that came before from memory; count what is neither."""
        try:
            message = link_pb2.LinkObject.FromString(payload)
        except DecodeError:
            self._refuse_object("it cannot be parsed")
            return
        match message.WhichOneof("body"):
            case "strip" if message.strip.frame_id <= MAX_FRAME_ID:
                self._queue(message.strip, len(payload))
            case "strip":
                self._refuse_object("its frame id is impossible")
            case "status":
                self._events.write("glasses_status", battery_percent=message.status.battery_percent)
            case other:
                self._refuse_object(f"glasses do not send {other or 'nothing'}")

    def _refuse_object(self, reason: str) -> None:
        self.refused_objects += 1
        self._events.write("object_refused", reason=reason, count=self.refused_objects)

    def _queue(self, strip: types_pb2.Strip, size: int) -> None:
        now = self._clock.monotonic()
        job = _Job(strip, now, now + self._settings.answer_life_s)
        if job.key in self._answers:
            self._events.write("strip_repeated", frame_id=strip.frame_id, region_id=strip.region_id)
            answer = self._answers[job.key]
            if answer is not None:
                self._outbox.put(answer, deadline=job.deadline)
            return
        self._events.write(
            "strip_received",
            frame_id=strip.frame_id,
            region_id=strip.region_id,
            lines=len(strip.lines),
            is_frame=strip.is_frame,
            object_bytes=size,
        )
        self._remember(job.key, None)
        self._waiting.append(job)
        if len(self._waiting) > self._settings.waiting_strips:
            self._drop(self._waiting.popleft(), "newer strips came")
        self._arrived.set()

    def _remember(self, key: StripKey, answer: types_pb2.Reading | None) -> None:
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._settings.remembered_strips + self._settings.waiting_strips:
            self._answers.popitem(last=False)

    def _drop(self, job: _Job, reason: str) -> None:
        # Forgotten, so that the glasses may send it again.
        self._answers.pop(job.key, None)
        self._events.write("strip_dropped", frame_id=job.strip.frame_id, region_id=job.strip.region_id, reason=reason)

    # Phase one ----------------------------------------------------------------------------------------

    async def _read_strips(self, worker: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            job = self._waiting.popleft()
            started = self._clock.monotonic()
            if job.deadline <= started:
                self._drop(job, "it waited too long")
                continue
            try:
                recogniser = self._choose_recogniser(self._battery())
                reading = await loop.run_in_executor(worker, self._reader.read, job.strip, recogniser)
            except InputError as error:
                self._refuse_object(error.message)
                self._answer(job, _nothing(job.strip))
                continue
            except WaywordError as error:
                self._events.write("reading_failed", region_id=job.strip.region_id, reason=str(error))
                self._answer(job, _nothing(job.strip))
                continue
            self._cascade(job, reading, waited_ms=(started - job.received) * 1e3)

    def _answer(self, job: _Job, message: types_pb2.Reading) -> None:
        self._remember(job.key, message)
        self._outbox.put(message, deadline=job.deadline)
        self._events.write(
            "reading_sent",
            content={"text": message.text, "translation": message.translation},
            frame_id=message.frame_id,
            region_id=message.region_id,
            state=types_pb2.ReadingState.Name(message.state),
            tier=types_pb2.Tier.Name(message.tier),
            engine=types_pb2.Engine.Name(message.engine),
            since_strip_ms=(self._clock.monotonic() - job.received) * 1e3,
        )

    # The cascade --------------------------------------------------------------------------------------

    def _cascade(self, job: _Job, reading: LocalReading, *, waited_ms: float) -> None:
        """Decide, write the decision down, answer, and start phase two where the decision says so."""
        message = to_message(reading, types_pb2.READING_STATE_KEPT)
        message.stage_times.add(stage="wait", milliseconds=waited_ms)
        request = _request(reading)
        signals = to_signals(
            reading,
            request_bytes=request.ByteSize(),
            direction_refused=self._is_refused(reading.meaning.source or "", reading.target),
        )
        decision, row = self._decide(job, reading, signals)
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
        task.add_done_callback(self._refinements.discard)

    def _decide(self, job: _Job, reading: LocalReading, signals: Signals) -> tuple[Decision, int | None]:
        """The decision and its ledger row. Without a row nothing leaves."""
        sign = to_ledger_sign(reading)
        try:
            conditions = self._conditions(job, self._consent.given(), self._ledger.bytes_today())
            decision = decide(signals, conditions, self._policy)
            return decision, self._ledger.record(sign, signals, decision)
        except StorageError as error:
            self.storage_failed(error)
            unrecorded = self._conditions(job, consent=False, spent=0, ledger_writable=False)
            return decide(signals, unrecorded, self._policy), None

    def _conditions(self, job: _Job, consent: bool, spent: int, *, ledger_writable: bool = True) -> Conditions:
        battery = self._battery()
        return Conditions(
            cloud=self._cloud_state(),
            cloud_use=self._settings.cloud_use,
            consent=consent,
            frames_allowed=self._settings.cloud_frames,
            ledger_writable=ledger_writable,
            budget_left_bytes=max(self._settings.daily_budget_bytes - spent, 0),
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

    def storage_failed(self, error: StorageError) -> None:
        """Note that something could not be stored; the daemon goes on without storing."""
        self._events.write("storage_failed", reason=str(error))

    # Phase two ----------------------------------------------------------------------------------------

    async def _refine(
        self,
        cloud: CloudClient,
        job: _Job,
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
                self._reader.remember(reading, answer)
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
        self._answer(job, final)
        try:
            self._ledger.close_call(row, outcome, bytes_out=cost.bytes_out, cloud_ms=cost.seconds * 1e3)
        except StorageError as error:
            self.storage_failed(error)

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
    message = to_message(reading, types_pb2.READING_STATE_PROVISIONAL)
    return cloud_pb2.ReadStripRequest(
        # Random: it must not collide with another wearer's, and tells nothing about this one.
        idempotency_key=uuid.uuid4().hex,
        strip=reading.outgoing,
        direction=types_pb2.Direction(target=reading.target),
        local_text=reading.text,
        local_confidence=message.confidence,
    )


def _nothing(strip: types_pb2.Strip) -> types_pb2.Reading:
    """The answer to a strip that is malformed, or whose models fail: the glasses stop waiting."""
    return types_pb2.Reading(
        frame_id=strip.frame_id,
        region_id=strip.region_id,
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
    final.frame_id, final.region_id = kept.frame_id, kept.region_id
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

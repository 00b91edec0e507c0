"""Reading strips and translating texts: validate, answer from memory or admit, compute, reply, forget."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from cloud.callers import Scope, current_caller
from cloud.calls import Call, name_of, unary
from cloud.plans import DEFAULT_PLAN, ReadPlan
from cloud.reading.answers import AnswerCache
from cloud.reading.improving import Improver
from cloud.reading.observing import ReadEvent, ReadObserver
from cloud.reading.readers import SignReading
from cloud.reading.reply import reading_message, translation_message
from cloud.reading.scheduler import Scheduler
from cloud.reading.strip_batches import read_each
from cloud.reading.validation import ReadJob, TextJob, check_batch, read_job, text_job
from cloud.refusals import Reason, Refusal
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.events import EventLog
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.models.calibration import Calibration
from shared.models.packs import InstalledPack
from shared.models.sign_translation import SignTranslation

READER_SERVICE: Final = cloud_pb2.DESCRIPTOR.services_by_name["Reader"].full_name
MAX_LEARNING: Final = 256
"""Answers that the memory of places is being told at once; further ones are not learnt."""
RECALL_S: Final = 0.25
"""Longest wait for the memory of places: reading anew takes about as long."""

Job: TypeAlias = ReadJob | TextJob
Result: TypeAlias = SignReading | SignTranslation
MessageT = TypeVar("MessageT", bound=Message)

logger = logging.getLogger("wayword.cloud")


class PlaceMemory(Protocol):
    """What was read where, asked before a strip is read and told after. Both are called in the event loop.

    Neither has to answer: a failure is logged by its type, and the strip is read as if there were no memory.
    """

    async def recall(self, request: cloud_pb2.ReadStripRequest, call: Call) -> types_pb2.Reading | None:
        """The reading of this sign as others had it, whole and addressed to this request; None when not known.

        Asked about every valid request, with a place cell or without; given up after `RECALL_S`.
        """
        ...

    async def learn(self, request: cloud_pb2.ReadStripRequest, reading: types_pb2.Reading, call: Call) -> None:
        """Remember an answer that was computed. Runs after the caller has it; must bound its own waits."""
        ...


@dataclass(slots=True)
class _Note:
    """What comes to be known of a read while it runs."""

    plan: ReadPlan = DEFAULT_PLAN
    confidence: float | None = None
    agrees: bool | None = None
    computed: bool = False
    outcome: str = "cancelled"


class ReaderService:
    """`wayword.v1.Reader`. Pictures and text live in a call; texts of answers also in the answer cache, in memory.

    Args:
        readers: one per worker thread.
        translators: for texts, one per reader and in the same order, called from the same thread; none to offer no
            `Translate`.
        seconds_per_line: first estimate of the work behind one strip line.
        targets: languages the readers can translate into.
        recognition_pack: of the readers.
        calibration: turns raw scores into probabilities.
        settings: bounds.
        clock: deadlines and measurements.
        events: one "read" event per call, without content; must not raise, for an answer is worth more than its record.
        plan_for: how a call is to be read; None for everything installed.
        places: memory of places; None for none.
        endpoint: external model that is asked where the readers are at a loss; None for none.
        on_read: told how every read ended; None for nobody.
    """

    def __init__(
        self,
        readers: Sequence[Callable[[ReadJob], SignReading]],
        *,
        translators: Sequence[Callable[[TextJob], SignTranslation]] = (),
        seconds_per_line: float,
        targets: frozenset[str],
        recognition_pack: InstalledPack,
        calibration: Calibration,
        settings: CloudSettings,
        clock: Clock,
        events: EventLog,
        plan_for: Callable[[Call], ReadPlan] | None = None,
        places: PlaceMemory | None = None,
        endpoint: Improver | None = None,
        on_read: ReadObserver | None = None,
    ) -> None:
        workers = [
            partial(_compute, reader, translators[index] if translators else None)
            for index, reader in enumerate(readers)
        ]
        self._scheduler = Scheduler[Job, Result](
            workers, clock=clock, max_waiting=settings.max_waiting, seconds_per_unit=seconds_per_line
        )
        self._answers = AnswerCache[tuple[str, bytes], Message](
            clock=clock, max_answers=settings.keep_answers, keep_s=settings.keep_answers_s
        )
        self._batch_slots = asyncio.Semaphore(2 * len(workers))
        self._translates = bool(translators)
        self._targets = targets
        self._recognition_pack = recognition_pack
        self._calibration = calibration
        self._settings = settings
        self._clock = clock
        self._events = events
        self._plan_for = plan_for
        self._places = places
        self._endpoint = endpoint
        self._on_read = on_read
        self._learning: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """See `HostedService`."""
        return READER_SERVICE

    @property
    def waiting(self) -> int:
        """Calls that wait for a worker."""
        return self._scheduler.waiting

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """See `HostedService`."""
        common: dict[str, Any] = {"clock": self._clock, "default_deadline_s": self._settings.default_deadline_s}
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "ReadStrip": unary(
                "ReadStrip", cloud_pb2.ReadStripRequest, self.read_strip, on_end=self._record_strip, **common
            ),
            "ReadStrips": unary(
                "ReadStrips", cloud_pb2.ReadStripsRequest, self.read_strips, on_end=self._record_strips, **common
            ),
        }
        if self._translates:
            handlers["Translate"] = unary(
                "Translate", cloud_pb2.TranslateRequest, self.translate, on_end=self._record_text, **common
            )
        return handlers

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply:
        """See cloud.proto.

        Raises:
            Refusal: with the reason.
            WaywordError: a model failed.
        """
        _require(Scope.READ, call)
        return await self._read(request, call, method="ReadStrip", urgent=True)

    async def read_strips(self, request: cloud_pb2.ReadStripsRequest, call: Call) -> cloud_pb2.ReadStripsReply:
        """See cloud.proto. Strips of batches wait behind those of phones.

        Raises:
            Refusal: of the call as a whole: over the cap, empty, or of a caller who may not make it.
        """
        _require(Scope.BATCH, call)
        check_batch(request)
        outcomes = await read_each(
            request.requests,
            lambda one, its_call: self._read(one, its_call, method="ReadStrips", urgent=False),
            call=call,
            slots=self._batch_slots,
            clock=self._clock,
        )
        return cloud_pb2.ReadStripsReply(outcomes=outcomes)

    async def translate(self, request: cloud_pb2.TranslateRequest, call: Call) -> cloud_pb2.TranslateReply:
        """See cloud.proto.

        Raises:
            Refusal: with the reason.
            WaywordError: a model failed.
        """
        _require(Scope.READ, call)
        with self._observed("Translate", call) as note:
            reply = await self._same_for_key(
                request, cloud_pb2.TranslateReply, lambda: self._translate(request, call, note)
            )
            if reply.confidence.HasField("translation"):
                note.confidence = reply.confidence.translation
            return reply

    async def _read(
        self, request: cloud_pb2.ReadStripRequest, call: Call, *, method: str, urgent: bool
    ) -> cloud_pb2.ReadStripReply:
        with self._observed(method, call) as note:
            job = read_job(request, targets=self._targets)
            job = replace(job, plan=note.plan, deadline=call.deadline)
            reading = await self._same_for_key(
                request, types_pb2.Reading, lambda: self._reading(request, job, call, note, urgent=urgent)
            )
            note.confidence = _weakest(reading.confidence)
            if request.local_text:
                note.agrees = _folded(request.local_text) == _folded(reading.text)
            return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key, reading=reading)

    async def _reading(
        self, request: cloud_pb2.ReadStripRequest, job: ReadJob, call: Call, note: _Note, *, urgent: bool
    ) -> types_pb2.Reading:
        remembered = await self._recalled(request, call)
        if remembered is not None:
            return remembered
        note.computed = True
        admitted = self._clock.monotonic()
        sign = await self._scheduler.submit(job, cost=job.cost, deadline=job.deadline, kind=job.kind, urgent=urgent)
        if not isinstance(sign, SignReading):
            raise TypeError("a strip was answered with a translation")
        queued = (self._clock.monotonic() - admitted) * 1e3 - sum(sign.stages.values())
        reading = reading_message(request, sign, recognition_pack=self._recognition_pack, calibration=self._calibration)
        reading.stage_times.insert(0, types_pb2.StageTime(stage="queue", milliseconds=max(queued, 0.0)))
        if self._endpoint is not None:
            await self._endpoint.improve_reading(reading, job)
        self._learn(request, reading, call)
        return reading

    async def _translate(
        self, request: cloud_pb2.TranslateRequest, call: Call, note: _Note
    ) -> cloud_pb2.TranslateReply:
        job = replace(text_job(request, targets=self._targets), plan=note.plan, deadline=call.deadline)
        note.computed = True
        started = self._clock.monotonic()
        translation = await self._scheduler.submit(job, cost=job.cost, deadline=job.deadline, kind=job.kind)
        if not isinstance(translation, SignTranslation):
            raise TypeError("a text was answered with a reading")
        reply = translation_message(request, translation, calibration=self._calibration)
        reply.stage_times.add(stage="translate", milliseconds=(self._clock.monotonic() - started) * 1e3)
        if self._endpoint is not None:
            await self._endpoint.improve_translation(reply, job)
        return reply

    async def _same_for_key(self, request: Any, kind: type[MessageT], compute: Callable[[], Any]) -> MessageT:
        """The answer that was given for this key and question, or a new one."""
        if not request.idempotency_key:
            answer = await compute()
        else:
            # The digest ties a key to its question: a key that two phones happen to share reveals nothing.
            digest = hashlib.sha256(request.DESCRIPTOR.name.encode())
            digest.update(request.SerializeToString(deterministic=True))
            answer = await self._answers.get((request.idempotency_key, digest.digest()), compute)
        if not isinstance(answer, kind):
            raise TypeError(f"an answer is no {kind.DESCRIPTOR.name}")
        return answer

    async def _recalled(self, request: cloud_pb2.ReadStripRequest, call: Call) -> types_pb2.Reading | None:
        if self._places is None:
            return None
        try:
            async with asyncio.timeout(RECALL_S):
                return await self._places.recall(request, call)
        except Exception as error:  # noqa: BLE001  # the strip can be read, whatever happens to a store
            logger.warning("the memory of places does not answer: %s", type(error).__name__)
            return None

    def _learn(self, request: cloud_pb2.ReadStripRequest, reading: types_pb2.Reading, call: Call) -> None:
        """Tell the memory of places, without keeping the caller waiting."""
        if self._places is None or len(self._learning) >= MAX_LEARNING:
            return
        task = asyncio.create_task(self._places.learn(request, reading, call), name="learn")
        self._learning.add(task)
        task.add_done_callback(self._learnt)

    def _learnt(self, task: asyncio.Task[None]) -> None:
        self._learning.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("the memory of places did not learn: %s", type(error).__name__)

    @contextmanager
    def _observed(self, method: str, call: Call) -> Iterator[_Note]:
        """One read, told to the observer when it has ended."""
        started = self._clock.monotonic()
        note = _Note(plan=DEFAULT_PLAN if self._plan_for is None else self._plan_for(call))
        try:
            yield note
            note.outcome = "answered"
        except Exception as error:
            note.outcome = name_of(error)
            raise
        finally:
            if self._on_read is not None:
                now = self._clock.monotonic()
                answered = note.outcome == "answered"
                self._on_read(
                    ReadEvent(
                        method=method,
                        caller=call.caller,
                        plan=note.plan,
                        outcome=note.outcome,
                        seconds=now - started,
                        in_time=now <= call.deadline,
                        confidence=note.confidence if answered else None,
                        agrees=note.agrees if answered else None,
                        remembered=answered and not note.computed,
                    )
                )

    def _record_strip(self, request: cloud_pb2.ReadStripRequest, outcome: str, seconds: float) -> None:
        self._events.write(
            "read",
            lines=len(request.strip.lines),
            is_frame=request.strip.is_frame,
            source=request.direction.source[:8],
            target=request.direction.target[:8],
            ms=round(seconds * 1e3, 3),
            outcome=outcome,
            request_id=current_caller().request_id,
        )

    def _record_strips(self, request: cloud_pb2.ReadStripsRequest, outcome: str, seconds: float) -> None:
        self._events.write(
            "read_batch",
            strips=len(request.requests),
            ms=round(seconds * 1e3, 3),
            outcome=outcome,
            request_id=current_caller().request_id,
        )

    def _record_text(self, request: cloud_pb2.TranslateRequest, outcome: str, seconds: float) -> None:
        self._events.write(
            "translate",
            lines=len(request.lines),
            source=request.direction.source[:8],
            target=request.direction.target[:8],
            ms=round(seconds * 1e3, 3),
            outcome=outcome,
            request_id=current_caller().request_id,
        )

    async def upkeep(self) -> None:
        """Drop old answers for ever, so that a text outlives its time in memory by half a minute at most."""
        while True:
            await self._clock.sleep(30.0)
            self._answers.forget_aged()

    async def close(self) -> None:
        """Return when the workers are done and the memory of places has been told."""
        await self._scheduler.close()
        await asyncio.gather(*self._learning, return_exceptions=True)


def _compute(
    reader: Callable[[ReadJob], SignReading], translator: Callable[[TextJob], SignTranslation] | None, job: Job
) -> Result:
    """What a worker thread does with a job."""
    if isinstance(job, ReadJob):
        return reader(job)
    if translator is None:
        raise TypeError("this service has no translator for texts")
    return translator(job)


def _require(scope: Scope, call: Call) -> None:
    if scope not in call.caller.scopes:
        raise Refusal(Reason.FORBIDDEN, f"this caller may not use what needs the scope {scope.value}")


def _weakest(confidence: types_pb2.Confidence) -> float | None:
    """The least sure of reading and translating; None where neither was done."""
    stages = [getattr(confidence, stage) for stage in ("recognition", "translation") if confidence.HasField(stage)]
    return min(stages, default=None)


def _folded(text: str) -> str:
    return "".join(text.casefold().split())

"""Reading strips: validate, answer from memory or admit, read and translate, reply, forget."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import grpc

from cloud.answers import AnswerCache
from cloud.calls import Call, unary
from cloud.readers import SignReading
from cloud.reply import reading_message
from cloud.scheduler import Scheduler
from cloud.settings import CloudSettings
from cloud.validation import ReadJob, read_job
from shared.clock import Clock
from shared.events import EventLog
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.models.calibration import Calibration
from shared.models.packs import InstalledPack

READER_SERVICE: Final = cloud_pb2.DESCRIPTOR.services_by_name["Reader"].full_name


class ReaderService:
    """`wayword.v1.Reader`. Pictures and text live in a call; texts of answers also in the answer cache, in memory.

    Args:
        readers: one per worker thread.
        seconds_per_line: first estimate of the work behind one strip line.
        targets: languages the readers can translate into.
        recognition_pack: of the readers.
        calibration: turns raw scores into probabilities.
        settings: bounds.
        clock: deadlines and measurements.
        events: one "read" event per call, without content; must not raise, for an answer is worth more than its record.
    """

    def __init__(
        self,
        readers: Sequence[Callable[[ReadJob], SignReading]],
        *,
        seconds_per_line: float,
        targets: frozenset[str],
        recognition_pack: InstalledPack,
        calibration: Calibration,
        settings: CloudSettings,
        clock: Clock,
        events: EventLog,
    ) -> None:
        self._scheduler = Scheduler[ReadJob, SignReading](
            readers, clock=clock, max_waiting=settings.max_waiting, seconds_per_unit=seconds_per_line
        )
        self._answers = AnswerCache[tuple[str, bytes], types_pb2.Reading](
            clock=clock, max_answers=settings.keep_answers, keep_s=settings.keep_answers_s
        )
        self._targets = targets
        self._recognition_pack = recognition_pack
        self._calibration = calibration
        self._settings = settings
        self._clock = clock
        self._events = events

    @property
    def name(self) -> str:
        """See `HostedService`."""
        return READER_SERVICE

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """See `HostedService`."""
        return {
            "ReadStrip": unary(
                "ReadStrip",
                cloud_pb2.ReadStripRequest,
                self.read_strip,
                clock=self._clock,
                default_deadline_s=self._settings.default_deadline_s,
                on_end=self._record,
            )
        }

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply:
        """See cloud.proto.

        Raises:
            Refusal: with the reason.
            WaywordError: a model failed.
        """
        reading = await self._answer(request, deadline=call.deadline)
        return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key, reading=reading)

    async def _answer(self, request: cloud_pb2.ReadStripRequest, *, deadline: float) -> types_pb2.Reading:
        job = read_job(request, targets=self._targets)

        async def compute() -> types_pb2.Reading:
            admitted = self._clock.monotonic()
            sign = await self._scheduler.submit(job, cost=job.cost, deadline=deadline)
            queued = (self._clock.monotonic() - admitted) * 1e3 - sum(sign.stages.values())
            reading = reading_message(
                request, sign, recognition_pack=self._recognition_pack, calibration=self._calibration
            )
            reading.stage_times.insert(0, types_pb2.StageTime(stage="queue", milliseconds=max(queued, 0.0)))
            return reading

        if not request.idempotency_key:
            return await compute()
        # The digest ties a key to its question: a key that two phones happen to share reveals nothing.
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        return await self._answers.get((request.idempotency_key, digest), compute)

    def _record(self, request: cloud_pb2.ReadStripRequest, outcome: str, seconds: float) -> None:
        self._events.write(
            "read",
            lines=len(request.strip.lines),
            is_frame=request.strip.is_frame,
            source=request.direction.source[:8],
            target=request.direction.target[:8],
            ms=round(seconds * 1e3, 3),
            outcome=outcome,
        )

    async def upkeep(self) -> None:
        """Drop old answers for ever, so that a text outlives its time in memory by half a minute at most."""
        while True:
            await self._clock.sleep(30.0)
            self._answers.forget_aged()

    async def close(self) -> None:
        """Return when the workers are done."""
        await self._scheduler.close()

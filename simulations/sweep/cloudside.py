"""The cloud of a sweep: the service's own code, from validation to reply, with its models replaced by their traces.

Only gRPC's server is not there: `CloudSide.read_strip` calls the handler as the server would. The
service's calibration is replaced as well, for a trace holds what the real one said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, cast

import grpc
import numpy as np

from cloud.callers import ANYONE
from cloud.calls import Call, outcome_of
from cloud.reading.readers import LineReading, Rejection, SignReading
from cloud.reading.service import ReaderService
from cloud.reading.validation import ReadJob
from cloud.settings import CloudSettings
from phone.cloud_channel import CallRefused, Refusal
from shared.clock import Clock
from shared.errors import CloudDeadline, CloudUnavailable
from shared.events import EventLog
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.models.calibration import Calibration, LineSignals, LogisticModel
from shared.models.manifest import PackManifest, Task
from shared.models.packs import InstalledPack
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck
from shared.models.sign_meaning import TranslationSignals
from shared.models.sign_translation import NoTranslation, SignTranslation, TranslationEngine
from simulations.sweep.book import TraceBook, numbers_in, word_of
from simulations.sweep.computing import compute
from simulations.sweep.replay import Work, words_of
from simulations.traces.records import CloudTrace, SignTrace

WORKERS: Final = 2
"""Worker threads of the simulated cloud, as on a small server; one wearer rarely keeps two busy."""
SECONDS_PER_LINE: Final = 0.08
"""First estimate of the scheduler, as the service measures one when it warms up."""
FRAME_DETECTION_S: Final = 0.43
"""Finding the lines of a whole 1280x720 picture with the small PP-OCRv6 detector, one thread, as measured for it."""
_PACK: Final = InstalledPack(
    PackManifest("ocr-small-rec", "traced", Task.RECOGNITION, (), None, (), 1, "none", "a trace", {}), Path()
)
_QUAD: Final = np.array([[0, 0], [100, 0], [100, 30], [0, 30]], np.float32)
_REJECTIONS: Final = {
    types_pb2.UNREADABLE_NO_TEXT: Rejection.NO_TEXT,
    types_pb2.UNREADABLE_TOO_SMALL: Rejection.TOO_SMALL,
    types_pb2.UNREADABLE_SCRIPT: Rejection.SCRIPT,
    types_pb2.UNREADABLE_LOW_CONFIDENCE: Rejection.LOW_CONFIDENCE,
}
_REASONS: Final = {
    types_pb2.UNREADABLE_DIRECTION: NoTranslation.DIRECTION_UNSUPPORTED,
    types_pb2.UNREADABLE_LANGUAGE_UNKNOWN: NoTranslation.LANGUAGE_UNKNOWN,
}
_STATUS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: Refusal.MALFORMED,
    grpc.StatusCode.UNIMPLEMENTED: Refusal.DIRECTION,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Refusal.OVERLOADED,
}


class TracedCalibration(Calibration):
    """Says of a replayed reading what the real calibration said when the trace was made."""

    def __init__(self) -> None:
        nothing = LogisticModel((), 0.0)
        super().__init__({"any": {"any": nothing}}, nothing, phrase_exact=1.0, phrase_fuzzy=1.0)

    def line(self, pack_name: str, signals: LineSignals) -> float:
        """The traced probability, which `TraceWorker` put in the place of the characters' own."""
        return signals.mean

    def translation(
        self,
        engine: str,
        *,
        mean_log_probability: float | None = None,
        min_log_probability: float | None = None,
        phrase_score: float | None = None,
        quality: float | None = None,
    ) -> float:
        """The traced probability, which `TraceWorker` put in the place of the estimated quality."""
        return 0.0 if quality is None else quality


class TraceWorker:
    """A reader of the service (`Callable[[ReadJob], SignReading]`) out of traces.

    Args:
        book: what is replayed.
        compute_factor: how much longer this machine computes than that of the traces.
        work: adds up what was computed.
    """

    def __init__(self, book: TraceBook, *, compute_factor: float, work: Work) -> None:
        self._book = book
        self._factor = compute_factor
        self._work = work

    def __call__(self, job: ReadJob) -> SignReading:
        """Replay one strip; of a frame the time for all its signs, and the answer to the first."""
        traces = [self._book[number] for number in numbers_in(job.lines[0].image)]
        seconds = sum(trace.cloud.milliseconds for trace in traces) / 1e3
        seconds = (seconds + (FRAME_DETECTION_S if job.is_frame else 0.0)) * self._factor
        compute(seconds)
        self._work.add(seconds)
        return _sign(traces[0], traces[0].cloud, seconds * 1e3)


class CloudSide:
    """One cloud for one run. Make it inside a running event loop.

    Args:
        book: what is replayed.
        clock: of the loop.
        compute_factor: how much longer it computes than the machine of the traces.
    """

    def __init__(self, book: TraceBook, *, clock: Clock, compute_factor: float = 1.0) -> None:
        self.work = Work()
        worker = TraceWorker(book, compute_factor=compute_factor, work=self.work)
        self._service = ReaderService(
            [worker] * WORKERS,
            seconds_per_line=SECONDS_PER_LINE,
            targets=frozenset({"en"}),
            recognition_pack=_PACK,
            calibration=TracedCalibration(),
            settings=CloudSettings.model_construct(workers=WORKERS),  # whatever the environment says
            clock=clock,
            events=EventLog(None, tier="cloud", clock=clock),
        )
        self._clock = clock

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, *, deadline: float) -> cloud_pb2.ReadStripReply:
        """One call as the service answers it.

        Args:
            request: as it arrived.
            deadline: of the call, on the clock.

        Raises:
            CloudError: as the phone's transport reports the service's status.
        """
        try:
            return await self._service.read_strip(request, Call(ANYONE, deadline))
        except Exception as error:  # noqa: BLE001  # as the boundary of the service does
            outcome = outcome_of(error, method="ReadStrip")
        if outcome.status is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise CloudDeadline("the cloud did not answer in time")
        if outcome.status in _STATUS:
            raise CallRefused(f"the cloud refused: {outcome.message}", _STATUS[outcome.status])
        raise CloudUnavailable(f"the cloud failed: {outcome.message}")

    async def close(self) -> None:
        """End the workers."""
        await self._service.close()


def _sign(trace: SignTrace, cloud: CloudTrace, milliseconds: float) -> SignReading:
    confidence = cloud.confidence
    engine = TranslationEngine(cloud.engine)
    lines: tuple[LineReading, ...] = ()
    if cloud.text:
        sure = confidence.recognition if confidence.recognition is not None else 1.0
        script = ScriptCheck(Script.LATIN, confidence.script if confidence.script is not None else 1.0, True)
        detection = confidence.detection if confidence.detection is not None else 1.0
        lines = tuple(
            LineReading(_QUAD, Recognition(word, sure, sure, (sure,) * len(word)), script, detection)
            for word in words_of(trace, cloud.text)
        )
    none = engine is TranslationEngine.NONE or not lines
    translation = SignTranslation(
        translation="" if none else word_of(trace.phrase, "in English", cloud.translation),
        engine=TranslationEngine.NONE if none else engine,
        reason=_REASONS.get(cast("types_pb2.Unreadable.ValueType", cloud.unreadable)),
        source=cloud.source,
        language_probability=confidence.language,
        signals=TranslationSignals(quality=confidence.translation),
        pack_name="translator",
        pack_version="1",
    )
    rejection = None if lines else _REJECTIONS.get(cast("types_pb2.Unreadable.ValueType", cloud.unreadable))
    return SignReading(lines, rejection, translation, 0, {"recognise": milliseconds})

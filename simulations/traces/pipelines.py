"""The production path of one strip, measured: glasses, phone with each recogniser, request, cloud, reply.

Nothing here is a stand-in: the glasses' finder and cutter, the phone's reader, its request, the cloud's validation,
reader and reply, and the phone's comparison of the two are the code that ships. What is left out is what carries bytes:
link, gRPC, queues. Times are CPU times of the calling thread; every model runs in one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final, TypeVar

import cv2
import numpy as np

from cloud.reading.loading import load_readers, warm_up
from cloud.reading.reply import ENGINES as CLOUD_ENGINES
from cloud.reading.reply import reading_message
from cloud.reading.validation import read_job
from cloud.refusals import Refusal
from cloud.settings import CloudSettings
from glasses.camera import Frame, luma_of
from glasses.exchange import strip_object
from glasses.finder import Finder, Looked
from glasses.settings import GlassesSettings
from glasses.signs import Found
from glasses.strips import cut_frame, cut_sign
from phone.cascade.inputs import Recogniser
from phone.cascade.privacy import find_private
from phone.reading import LocalReader, ReaderOptions
from phone.readings import LocalReading, is_better, to_message
from phone.requests import request_for
from shared.clock import Clock, SystemClock
from shared.geometry import ImageBgr, Quad, area
from shared.messages.wayword.v1 import cloud_pb2, link_pb2, types_pb2
from shared.models.apertium_use import ApertiumUse
from shared.models.calibration import Calibration
from shared.models.detection import TextDetector
from shared.models.packs import PackStore
from simulations.traces.records import CloudTrace, Confidence, LocalTrace

COVERED: Final = 0.6
"""A line is found when detections of one sign cover this share of it."""
DIGITS: Final = 6
"""Decimals kept of the evidence's numbers."""
_ENGINE_NAMES: Final = {message: engine.value for engine, message in CLOUD_ENGINES.items()}
T = TypeVar("T")


@dataclass(frozen=True)
class Judge:
    """What counts as right.

    Attributes:
        text_right: of a reading, lines joined by a line feed.
        translation_right: of its translation.
    """

    text_right: Callable[[str], bool]
    translation_right: Callable[[str], bool]


@dataclass(frozen=True)
class StripTrace:
    """What became of one strip.

    Attributes:
        strip_bytes: of the serialised strip.
        local: by recogniser.
        cloud: the large pipeline's.
    """

    strip_bytes: int
    local: Mapping[str, LocalTrace]
    cloud: CloudTrace

    @property
    def readings(self) -> list[str]:
        """Every line that any of them read."""
        texts = [*(one.text for one in self.local.values()), self.cloud.text]
        return [line for text in texts for line in text.split("\n") if line]

    def judged(self, judge: Judge) -> StripTrace:
        """The same, compared with another truth."""

        def rights(one: LocalTrace | CloudTrace) -> dict[str, bool]:
            return {
                "text_right": judge.text_right(one.text),
                "translation_right": judge.translation_right(one.translation),
            }

        local = {name: replace(one, **rights(one)) for name, one in self.local.items()}  # type: ignore[arg-type]
        return replace(self, local=local, cloud=replace(self.cloud, **rights(self.cloud)))  # type: ignore[arg-type]

    def by_text(self) -> StripTrace:
        """The same where nothing is known of the translation: it counts as right when the text is."""
        local = {name: replace(one, translation_right=one.text_right) for name, one in self.local.items()}
        return replace(self, local=local, cloud=replace(self.cloud, translation_right=self.cloud.text_right))


class SetClock:
    """A clock that stands where it was set: votes are counted in the time of the set, not in that of the machine."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """See `Clock`."""
        return self.now

    def wall(self) -> float:
        """See `Clock`."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        self.now += seconds


class Pipelines:
    """Everything loaded and warm.

    Args:
        store: of the packs.
        apertium: whether the phone may use Apertium.
        still: whether pictures are stills, as for photographs, or live frames.

    Raises:
        PackMissing: a default pack is not installed.
    """

    def __init__(self, store: PackStore, *, apertium: bool = False, still: bool = False) -> None:
        self._settings = GlassesSettings()
        self._still = still
        self._clock = SetClock()
        self.finder = glasses_finder(store, self._settings, still=still, clock=SystemClock())
        options = ReaderOptions(apertium=ApertiumUse.AUTO if apertium else ApertiumUse.OFF)
        # One reader for each recogniser, so that each votes with its own looks only.
        self._readers = {one: LocalReader(store, options=options, clock=self._clock) for one in Recogniser}
        for recogniser, reader in self._readers.items():
            reader.warm_up(recogniser)
        (self._large,) = load_readers(store, workers=1, clock=SystemClock(), beam=CloudSettings(workers=1).beam)
        warm_up(self._large, clock=SystemClock())
        self._calibration = Calibration.builtin()

    @property
    def longest_side(self) -> int:
        """To which the glasses scale a picture down."""
        return self._settings.still_longest_side if self._still else self._settings.live_longest_side

    def look(self, image: ImageBgr, *, frame_id: int, captured: float) -> tuple[Frame, Looked, float]:
        """Detection as the glasses do it: the frame, the signs, and milliseconds."""
        frame = Frame(frame_id, captured, image, luma_of(image))
        looked, milliseconds = timed(lambda: self.finder.look(frame))
        return frame, looked, milliseconds

    def still_bytes(self, frame: Frame) -> int:
        """Of the whole frame, as the glasses send one."""
        settings = self._settings
        strip = cut_frame(frame, 1, longest_side=settings.frame_longest_side, quality=settings.frame_quality)
        return len(strip_object(strip))

    def run(self, frame: Frame, found: Found, *, region_id: int, judge: Judge) -> StripTrace:
        """Cut a sign and send it down the whole path."""
        settings = self._settings
        cut = cut_sign(
            frame,
            region_id,
            found.lines,
            margin=settings.strip_margin,
            max_height=settings.strip_height,
            quality=settings.strip_quality,
        )
        payload = strip_object(cut)
        strip = link_pb2.LinkObject.FromString(payload).strip
        self._clock.now = frame.captured
        local: dict[str, LocalTrace] = {}
        messages: dict[str, types_pb2.Reading] = {}
        requests: list[cloud_pb2.ReadStripRequest] = []
        for recogniser, reader in self._readers.items():
            reading, milliseconds = timed(lambda r=reader, c=recogniser: r.read(strip, c))  # type: ignore[misc]
            message = to_message(reading, types_pb2.READING_STATE_KEPT)
            request = request_for(reading)
            requests.append(request)
            messages[recogniser.value] = message
            local[recogniser.value] = _local(reading, message, request, milliseconds, judge)
        reply, milliseconds = timed(lambda: self._ask(requests[-1]))
        cloud = _cloud(reply, milliseconds, judge, {name: is_better(reply.reading, m) for name, m in messages.items()})
        return StripTrace(len(payload), local, cloud)

    def _ask(self, request: cloud_pb2.ReadStripRequest) -> cloud_pb2.ReadStripReply:
        """The cloud's answer; an empty one where it refuses, with which the phone keeps its own."""
        received = cloud_pb2.ReadStripRequest.FromString(request.SerializeToString())
        try:
            sign = self._large(read_job(received, targets=self._large.targets))
        except Refusal:
            return cloud_pb2.ReadStripReply(idempotency_key=received.idempotency_key)
        reading = reading_message(
            received, sign, recognition_pack=self._large.recognition_pack, calibration=self._calibration
        )
        return cloud_pb2.ReadStripReply(idempotency_key=received.idempotency_key, reading=reading)


def glasses_finder(store: PackStore, settings: GlassesSettings, *, still: bool, clock: Clock) -> Finder:
    """The glasses' finder with their settings; see `glasses.cli`."""
    return Finder(
        TextDetector.load(store.get(settings.detector_pack), threads=settings.detector_threads),
        longest_side=settings.detect_longest_side_still if still else settings.detect_longest_side_live,
        minimum_line_height=settings.minimum_line_height,
        unsure_box_threshold=settings.unsure_box_threshold if still else None,
        skip_cut_off=not still,
        clock=clock,
    )


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Run something; returns its result and its CPU time in this thread, in milliseconds."""
    start = time.thread_time()
    result = work()
    return result, round((time.thread_time() - start) * 1e3, 3)


def whole(found: Sequence[Found], quads: Sequence[Quad]) -> Found | None:
    """The one found sign that holds every line of a sign; None when there is none.

    Args:
        found: by the glasses.
        quads: of the sign's lines, in pixels of the frame.
    """
    for one in found:
        if all(_share(quad, [line.quad for line in one.lines]) >= COVERED for quad in quads):
            return one
    return None


def any_of(found: Sequence[Found], quads: Sequence[Quad]) -> bool:
    """Whether any line of a sign was found at all."""
    detected = [line.quad for one in found for line in one.lines]
    return any(_share(quad, detected) >= COVERED for quad in quads)


def _share(quad: Quad, covers: Sequence[Quad]) -> float:
    common = 0.0
    for cover in covers:
        overlap, _ = cv2.intersectConvexConvex(np.asarray(quad, np.float32), np.asarray(cover, np.float32))
        common += float(overlap)
    return common / max(area(quad), 1e-6)


def _local(
    reading: LocalReading,
    message: types_pb2.Reading,
    request: cloud_pb2.ReadStripRequest,
    milliseconds: float,
    judge: Judge,
) -> LocalTrace:
    private = find_private(reading.private_text)
    return LocalTrace(
        evidence=rounded(reading.evidence),
        text=message.text,
        translation=message.translation,
        engine=reading.meaning.engine.value,
        source=reading.meaning.source,
        trouble=None if reading.trouble is None else reading.trouble.value,
        private=None if private is None else private.value,
        confidence=_confidence(message.confidence),
        milliseconds=milliseconds,
        answer_bytes=len(link_pb2.LinkObject(readings=link_pb2.Readings(readings=[message])).SerializeToString()),
        request_bytes=request.ByteSize(),
        text_right=judge.text_right(message.text),
        translation_right=judge.translation_right(message.translation),
    )


def _cloud(
    reply: cloud_pb2.ReadStripReply, milliseconds: float, judge: Judge, replaces: Mapping[str, bool]
) -> CloudTrace:
    message = reply.reading
    return CloudTrace(
        text=message.text,
        translation=message.translation,
        engine=_ENGINE_NAMES.get(message.engine, _ENGINE_NAMES[types_pb2.ENGINE_NONE]),
        source=message.direction.source or None,
        unreadable=int(message.unreadable),
        confidence=_confidence(message.confidence),
        milliseconds=milliseconds,
        reply_bytes=reply.ByteSize(),
        text_right=judge.text_right(message.text),
        translation_right=judge.translation_right(message.translation),
        replaces=dict(replaces),
    )


def _confidence(message: types_pb2.Confidence) -> Confidence:
    return Confidence(
        **{
            stage.name: round(float(getattr(message, stage.name)), DIGITS)
            for stage in fields(Confidence)
            if message.HasField(stage.name)  # type: ignore[arg-type]
        }
    )


def rounded(value: T) -> T:
    """A record with its numbers cut to `DIGITS` decimals: files stay small, and no model sees more."""
    return _rounded(value)  # type: ignore[no-any-return]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, tuple):
        return tuple(_rounded(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: _rounded(getattr(value, one.name)) for one in fields(value)})
    return value

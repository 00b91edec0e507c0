"""The large reader: the models the phone is too small for, and a second look where the first is unsure.

Phone and cloud see the same strip, so a larger recogniser alone would repeat a bad crop's mistake. When the first look
is unsure, the line is found again inside the strip's margin, and turned round; the look whose characters are surest,
and in a script the text can plausibly be in, wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from typing import Final

import cv2
import numpy as np

from cloud.reading.claims import current_claim
from cloud.reading.ensemble import SecondEngine, UnsureLine
from cloud.reading.pictures import decoded
from cloud.reading.rows import rows_inside
from cloud.reading.translation import PlannedTranslator
from cloud.reading.validation import LineJob, ReadJob, TextJob
from shared.clock import Clock
from shared.errors import InputError
from shared.geometry import Homography, ImageBgr, Quad, side_lengths, transform
from shared.models.apertium import EngineName
from shared.models.detection import DetectedLine
from shared.models.packs import InstalledPack
from shared.models.recognition import Recognition
from shared.models.rectify import crop_inner, rectify
from shared.models.script import LANGUAGE_SCRIPTS, ScriptCheck, alphabet_scripts
from shared.models.seen_lines import Look
from shared.models.sign_reader import SignReader
from shared.models.sign_translation import SignTranslation, combine
from shared.stages import StageTimes

SURE_MEAN: Final = 0.95
"""Mean character probability from which one look is enough. Chosen, not fitted: lines read at 0.90 or more were right
19 times in 20, and stricter is safe because a second look only costs time."""
SURE_MINIMUM: Final = 0.5
"""A character less likely than not calls for a second look, however sure the others are."""
FLOOR_MEAN: Final = 0.5
"""Below this mean character probability a reading is noise and is withheld."""
FLOOR_HEIGHT_PX: Final = 12.0
"""Lines lower than this in the frame are unreadable for every model measured."""
MIN_LENGTH_RATIO: Final = 0.6
"""A second look that reads fewer of the first look's characters than this found a fragment."""
STRIP_SIDE: Final = 960
"""Longest side at which a strip goes through the detector, in pixels."""
MIN_SIDE: Final = 32
"""Smallest side the detector takes, in pixels."""


class Rejection(StrEnum):
    """Why a line was not read."""

    NO_TEXT = "no_text"
    TOO_SMALL = "too_small"
    SCRIPT = "script"
    LOW_CONFIDENCE = "low_confidence"


@dataclass(frozen=True, slots=True)
class LineReading:
    """One line as read.

    Attributes:
        quad: in pixels of the frame, clockwise from the top-left corner as read.
        recognition: text and character probabilities.
        script: what script the text is in, and whether the recogniser can read it.
        detection_confidence: 0..1.
        sign: lines with the same number belong together.
        crop: its picture as it was read, for whoever reads it again; None where there is none.
        read_by: the recogniser that read it; None for the reader's own pack.
        chance: P(right), calibrated for `read_by`; None where the pack's calibration serves.
        upside_down: whether the reader turned the line by half a turn to read it so.
    """

    quad: Quad
    recognition: Recognition
    script: ScriptCheck
    detection_confidence: float
    sign: int = 0
    crop: ImageBgr | None = field(default=None, repr=False, compare=False)
    read_by: EngineName | None = None
    chance: float | None = None
    upside_down: bool = False

    @property
    def height_px(self) -> float:
        """Height in the frame, in pixels."""
        return side_lengths(self.quad)[1]

    @property
    def score(self) -> float:
        """How much this look is to be believed, 0..1: mean character probability times script plausibility."""
        return self.recognition.confidence * self.script.probability if self.recognition.text.strip() else 0.0

    @property
    def sure(self) -> bool:
        """Whether no second look is needed."""
        return (
            self.script.readable
            and self.recognition.confidence >= SURE_MEAN
            and self.recognition.minimum_confidence >= SURE_MINIMUM
        )

    @property
    def rejection(self) -> Rejection | None:
        """Why the line is withheld, or None."""
        if not self.recognition.text.strip():
            return Rejection.NO_TEXT
        if not self.script.readable:
            return Rejection.SCRIPT
        if self.recognition.confidence < FLOOR_MEAN:
            return Rejection.TOO_SMALL if self.height_px < FLOOR_HEIGHT_PX else Rejection.LOW_CONFIDENCE
        return None


@dataclass(frozen=True, slots=True)
class SignReading:
    """A sign as read.

    Attributes:
        lines: the lines read, in reading order.
        rejection: why there are no lines; None when there are.
        translation: of `lines`.
        second_looks: lines that were looked at twice.
        stages: milliseconds each stage took.
    """

    lines: tuple[LineReading, ...]
    rejection: Rejection | None
    translation: SignTranslation
    second_looks: int
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Crop:
    """One candidate picture of a line, and where it lies in the frame."""

    image: ImageBgr
    quad: Quad
    detection_confidence: float
    on_head: bool = False

    def turned(self) -> _Crop:
        image = np.ascontiguousarray(self.image[::-1, ::-1])
        return replace(self, image=image, quad=np.roll(self.quad, 2, axis=0), on_head=not self.on_head)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A decoded line and everything a second look needs."""

    crop: _Crop
    strip: ImageBgr
    inner: Quad
    to_frame: Homography


class LargeReader:
    """Reads and translates one job at a time; not for two threads at once.

    Args:
        reader: finds and reads lines.
        translator: the phrasebook and the translation packs.
        clock: measures stages.
        beam: width of the translator's search.
        second_engine: reads again what the reader is not sure of; None for nothing.
    """

    def __init__(
        self,
        *,
        reader: SignReader,
        translator: PlannedTranslator,
        clock: Clock,
        beam: int,
        second_engine: SecondEngine | None = None,
    ) -> None:
        self._second_engine = second_engine
        self._reader = reader
        self._translator = translator
        self._clock = clock
        self._beam = beam

    @property
    def targets(self) -> frozenset[str]:
        """Languages it can translate into."""
        return self._translator.targets

    @property
    def recognition_pack(self) -> InstalledPack:
        """The recogniser's pack."""
        return self._reader.recogniser.pack

    def __call__(self, job: ReadJob) -> SignReading:
        """Read one sign or one frame, on behalf of this thread's claim.

        Raises:
            Refusal: a picture cannot be decoded, or nobody waits for the reading any more.
            PackError: a model failed.
        """
        stages = StageTimes(self._clock)
        with stages.measure("decode"):
            images = [decoded(line.image, is_frame=job.is_frame) for line in job.lines]
        self._go_on()
        if job.is_frame:
            read, second_looks = self._read_frame(images[0], job, stages), 0
            seen = bool(read)
        else:
            read, second_looks, seen = self._read_strip(images, job, stages)
        self._go_on()
        if job.plan.second_engine and not all(line.sure for line in read):
            with stages.measure("second_engine"):
                read = self._reread(read, job.source, min(job.deadline, current_claim().deadline))
        kept = tuple(line for line in read if line.rejection is None)
        self._go_on()
        with stages.measure("translate"):
            translation = self._translate(kept, job)
        rejection = None if kept else self._why_nothing(read, job.source, seen=seen)
        return SignReading(kept, rejection, translation, second_looks, stages.milliseconds)

    def translate(self, job: TextJob) -> SignTranslation:
        """Translate the lines of one sign.

        Raises:
            PackError: a model failed.
        """
        return self._translate_texts([job.lines], job)

    def read_picture(self, image: ImageBgr, *, source: str | None = None) -> list[LineReading]:
        """Every line of a whole picture, sign after sign, rejected ones included; nothing is translated.

        Args:
            image: BGR uint8 of shape (height, width, 3).
            source: language of the text, None when unknown.

        Raises:
            InputError: the picture is not BGR.
            PackError: a model failed.
        """
        return self._reread(self._lines(image, self._reader.find(image), source), source, math.inf)

    def _read_frame(self, image: ImageBgr, job: ReadJob, stages: StageTimes) -> list[LineReading]:
        with stages.measure("detect"):
            found = self._reader.find(image)
        with stages.measure("recognise"):
            lines = self._lines(image, found, job.source)
        height, width = image.shape[:2]
        corners = _rectangle(width, height)
        quad = job.lines[0].quad
        to_frame = _homography(corners, corners if quad is None else quad)
        return [replace(line, quad=transform(to_frame, line.quad)) for line in lines]

    def _lines(self, image: ImageBgr, found: Sequence[DetectedLine], source: str | None) -> list[LineReading]:
        lines = [
            LineReading(
                line.quad,
                line.look.recognition,
                line.look.script,
                line.detection,
                line.sign,
                upside_down=line.look.upside_down,
            )
            for line in self._reader.read_lines(image, found, languages=() if source is None else (source,))
        ]
        if self._second_engine is None:
            return lines
        return [line if line.sure else replace(line, crop=_straight(image, line.quad)) for line in lines]

    def _reread(self, lines: list[LineReading], source: str | None, deadline: float) -> list[LineReading]:
        """The lines, those that the reader is not sure of after a second engine has read them too."""
        unsure = {
            index: UnsureLine(
                line.crop, Look(line.recognition, line.script, upside_down=line.upside_down), line.height_px
            )
            for index, line in enumerate(lines)
            if line.crop is not None and not line.sure and line.height_px >= FLOOR_HEIGHT_PX
        }
        if self._second_engine is None or not unsure:
            return lines
        combined = self._second_engine.combine(list(unsure.values()), source=source, deadline=deadline)
        again = list(lines)
        for index, one in zip(unsure, combined, strict=True):
            again[index] = replace(
                lines[index],
                quad=np.roll(lines[index].quad, 2, axis=0) if one.turned else lines[index].quad,
                recognition=one.look.recognition,
                script=one.look.script,
                read_by=one.read_by,
                chance=one.chance,
            )
        return again

    def _read_strip(
        self, images: Sequence[ImageBgr], job: ReadJob, stages: StageTimes
    ) -> tuple[list[LineReading], int, bool]:
        """The lines of one sign, how many were looked at twice, and whether the detector saw text in those."""
        cuts = [_cut_strip(image, line) for image, line in zip(images, job.lines, strict=True)]
        with stages.measure("recognise"):
            looks = self._read([cut.crop for cut in cuts], job.source)
        read: list[LineReading] = []
        second_looks = 0
        seen = False
        for cut, look in zip(cuts, looks, strict=True):
            if look.sure:
                read.append(look)
                continue
            second_looks += 1
            self._go_on()
            with stages.measure("second_look"):
                lines, found = self._second_look(cut, look, job)
            read.extend(lines)
            seen = seen or found
        return read, second_looks, seen

    def _second_look(self, cut: _Cut, first: LineReading, job: ReadJob) -> tuple[list[LineReading], bool]:
        """Find the line again in its strip and keep the better look.

        Returns:
            The line, or several when the strip holds several; and whether the detector saw text in the strip.
        """
        height, width = cut.strip.shape[:2]
        found = self._reader.detector.detect(
            cut.strip, longest_side=int(np.clip(max(width, height), MIN_SIDE, STRIP_SIDE))
        )
        turned = not np.array_equal(first.quad, cut.crop.quad)
        crops = self._recut(cut, found, turned=turned)
        again = self._read(crops, job.source)
        least = MIN_LENGTH_RATIO * len(first.recognition.text)
        if _score(again) > first.score and sum(len(line.recognition.text) for line in again) >= least:
            return again, True
        return [first], bool(crops)

    def _recut(self, cut: _Cut, found: Sequence[DetectedLine], *, turned: bool) -> list[_Crop]:
        """Crops of the rows found inside the strip, in reading order."""
        crops = []
        for row in rows_inside(found, cut.inner):
            x0, y0, x1, y1 = row.box
            quad = transform(cut.to_frame, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32))
            image = np.ascontiguousarray(cut.strip[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1])
            if image.size:
                crop = _Crop(image, quad, row.confidence)
                crops.append(crop.turned() if turned else crop)
        return crops[::-1] if turned else crops

    def _read(self, crops: Sequence[_Crop], source: str | None) -> list[LineReading]:
        looks = self._reader.read_crops([crop.image for crop in crops], languages=() if source is None else (source,))
        return [
            LineReading(
                np.roll(crop.quad, 2, axis=0) if look.upside_down else crop.quad,
                look.recognition,
                look.script,
                crop.detection_confidence,
                crop=crop.turned().image if look.upside_down else crop.image,
                upside_down=crop.on_head != look.upside_down,
            )
            for crop, look in zip(crops, looks, strict=True)
        ]

    def _why_nothing(self, lines: Sequence[LineReading], source: str | None, *, seen: bool) -> Rejection:
        """One reason for a sign without a readable line: the one a wearer can do most about comes first."""
        reasons = {line.rejection for line in lines}
        for reason in (Rejection.SCRIPT, Rejection.TOO_SMALL, Rejection.LOW_CONFIDENCE):
            if reason in reasons:
                return reason
        if not seen:
            return Rejection.NO_TEXT
        # The detector sees text where the recogniser reads none: that is how a script it does not have looks at times.
        scripts = LANGUAGE_SCRIPTS.get(source or "", frozenset())
        strange = not scripts <= alphabet_scripts(self._reader.recogniser.alphabet)
        return Rejection.SCRIPT if strange else Rejection.LOW_CONFIDENCE

    def _translate(self, lines: Sequence[LineReading], job: ReadJob) -> SignTranslation:
        """A strip is one sign; a frame is as many as its lines form."""
        groups = [[line.recognition.text for line in sign] for _, sign in groupby(lines, key=lambda line: line.sign)]
        return self._translate_texts(groups, job)

    def _translate_texts(self, signs: Sequence[Sequence[str]], job: ReadJob | TextJob) -> SignTranslation:
        beam = self._beam if job.plan.beam is None else job.plan.beam
        translator = self._translator.of(job.plan)
        return combine(
            [translator.translate_sign(texts, source=job.source, target=job.target, beam=beam) for texts in signs]
        )

    def _go_on(self) -> None:
        """Stop between two stages when nobody waits for the result any more."""
        current_claim().check(self._clock.monotonic())


def _cut_strip(image: ImageBgr, line: LineJob) -> _Cut:
    height, width = image.shape[:2]
    inner = _rectangle(width, height) if line.inner is None else line.inner
    if line.quad is None:
        raise ValueError("a strip line without its quad passed validation")
    crop = _Crop(crop_inner(image, inner), line.quad, line.detection_confidence)
    return _Cut(crop, image, inner, _homography(inner, line.quad))


def _homography(source: Quad, target: Quad) -> Homography:
    """The homography that maps one quad onto another."""
    return np.asarray(cv2.getPerspectiveTransform(source, target), dtype=np.float64)


def _straight(image: ImageBgr, quad: Quad) -> ImageBgr | None:
    """The picture of a line; None for a sliver at the picture's edge."""
    try:
        return rectify(image, quad, turn=False)[0]
    except InputError:
        return None


def _rectangle(width: int, height: int) -> Quad:
    """Corners of a picture; pixel centres are integers."""
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)


def _score(lines: Sequence[LineReading]) -> float:
    """Score of several lines, weighted by their characters."""
    characters = sum(len(line.recognition.text) for line in lines)
    if characters == 0:
        return 0.0
    return sum(line.score * len(line.recognition.text) for line in lines) / characters

"""What a request must look like: bytes from a stranger become a typed job, or a refusal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from cloud.plans import DEFAULT_PLAN, ReadPlan
from cloud.reading.pictures import checked_size
from cloud.refusals import Reason, Refusal
from shared.geometry import Quad, area
from shared.limits import (
    MAX_BATCH_STRIPS,
    MAX_COORDINATE,
    MAX_FRAME_SIDE,
    MAX_READING_LINES,
    MAX_STRIP_HEIGHT,
    MAX_STRIP_LINES,
    MAX_STRIP_WIDTH,
    MAX_TEXT_CHARACTERS,
    MAX_TRANSLATE_CHARACTERS,
)
from shared.messages.wayword.v1 import cloud_pb2, types_pb2

MAX_KEY_CHARACTERS: Final = 128
"""Longest idempotency key."""
INNER_SLACK: Final = 1.0
"""Pixels by which `inner` may reach over the edge of its picture: half a pixel of convention, half of rounding."""
FRAME_COST: Final = 8.0
"""Work of a whole frame in units of one strip line: full-size detection plus the lines it finds."""
TEXT_COST: Final = 0.5
"""Work of translating a text in the same units, before it was measured."""
_LINE_CHARACTERS: Final = 24  # of a usual line on a sign
_LANGUAGE: Final = re.compile(r"[a-z]{2}")


@dataclass(frozen=True, slots=True)
class LineJob:
    """One picture to read.

    Attributes:
        image: encoded picture whose header was checked against the caps.
        quad: the picture's line in the frame; None for a whole frame sent without one.
        inner: the line inside the picture; None when the whole picture is the line, or it is a frame.
        detection_confidence: as the glasses reported it, 0..1.
    """

    image: bytes
    quad: Quad | None
    inner: Quad | None
    detection_confidence: float


@dataclass(frozen=True, slots=True)
class ReadJob:
    """One sign, or one whole frame, to read and translate.

    Attributes:
        lines: in reading order; exactly one for a frame.
        encoding: of every picture.
        is_frame: whether the picture is a whole frame.
        source: language of the text, None when unknown.
        target: language wanted.
        local_text: what the phone read; a hint that may be wrong, empty when unknown.
        plan: how to read it.
        deadline: on the service's clock; for stages that are begun only when there is time.
    """

    lines: tuple[LineJob, ...]
    encoding: types_pb2.ImageEncoding.ValueType
    is_frame: bool
    source: str | None
    target: str
    local_text: str = ""
    plan: ReadPlan = DEFAULT_PLAN
    deadline: float = math.inf

    @property
    def cost(self) -> float:
        """Expected work, in units of one strip line."""
        return FRAME_COST if self.is_frame else float(len(self.lines))

    @property
    def kind(self) -> str:
        """Jobs of one kind take a like time for their cost."""
        return "frame" if self.is_frame else "strip"


@dataclass(frozen=True, slots=True)
class TextJob:
    """The lines of one sign to translate.

    Attributes:
        lines: in reading order.
        source: language of the text, None when unknown.
        target: language wanted.
        plan: how to translate it.
        deadline: as of `ReadJob`.
    """

    lines: tuple[str, ...]
    source: str | None
    target: str
    plan: ReadPlan = DEFAULT_PLAN
    deadline: float = math.inf

    @property
    def cost(self) -> float:
        """Expected work, in units of one strip line: a search's time goes with the length of the text."""
        return TEXT_COST * max(1.0, sum(map(len, self.lines)) / _LINE_CHARACTERS)

    @property
    def kind(self) -> str:
        """See `ReadJob.kind`."""
        return "text"


def read_job(request: cloud_pb2.ReadStripRequest, *, targets: Iterable[str]) -> ReadJob:
    """Check a request against the contract and the caps.

    Args:
        request: as received.
        targets: languages this service can translate into.

    Raises:
        Refusal: with the reason; nothing has been decoded then.
    """
    source, target = _addressed(request.idempotency_key, request.direction)
    strip = request.strip
    if not strip.lines:
        raise Refusal(Reason.NO_LINES, "the strip has no lines")
    if len(strip.lines) > MAX_STRIP_LINES:
        raise Refusal(Reason.TOO_MANY_LINES, f"the strip has more than {MAX_STRIP_LINES} lines")
    if strip.is_frame and len(strip.lines) != 1:
        raise Refusal(Reason.MALFORMED, "a whole frame is one picture")
    lines = tuple(_line(line, strip) for line in strip.lines)
    _check_target(target, targets)
    # No more of the hint than a reading may have; it may be wrong anyway.
    hint = request.local_text[:MAX_TRANSLATE_CHARACTERS]
    return ReadJob(lines, strip.encoding, strip.is_frame, source or None, target, local_text=hint)


def text_job(request: cloud_pb2.TranslateRequest, *, targets: Iterable[str]) -> TextJob:
    """Check a text against the contract and the caps.

    Args:
        request: as received.
        targets: languages this service can translate into.

    Raises:
        Refusal: with the reason.
    """
    source, target = _addressed(request.idempotency_key, request.direction)
    if not request.lines:
        raise Refusal(Reason.NO_LINES, "the text has no lines")
    if len(request.lines) > MAX_READING_LINES:
        raise Refusal(Reason.TOO_MANY_LINES, f"the text has more than {MAX_READING_LINES} lines")
    if max(map(len, request.lines)) > MAX_TEXT_CHARACTERS:
        raise Refusal(Reason.TEXT_TOO_LONG, f"a line is longer than {MAX_TEXT_CHARACTERS} characters")
    if sum(map(len, request.lines)) > MAX_TRANSLATE_CHARACTERS:
        raise Refusal(Reason.TEXT_TOO_LONG, f"the text is longer than {MAX_TRANSLATE_CHARACTERS} characters")
    _check_target(target, targets)
    return TextJob(tuple(request.lines), source or None, target)


def check_batch(request: cloud_pb2.ReadStripsRequest) -> None:
    """Check what is asked of a batch as a whole; its strips are checked one by one.

    Raises:
        Refusal: it is empty, or over the cap.
    """
    if not request.requests:
        raise Refusal(Reason.MALFORMED, "the batch has no strips")
    if len(request.requests) > MAX_BATCH_STRIPS:
        raise Refusal(Reason.TOO_MANY_STRIPS, f"the batch has more than {MAX_BATCH_STRIPS} strips")


def _addressed(key: str, direction: types_pb2.Direction) -> tuple[str, str]:
    """Source and target of a request whose key and direction are well formed."""
    if len(key) > MAX_KEY_CHARACTERS:
        raise Refusal(Reason.MALFORMED, f"the idempotency key is longer than {MAX_KEY_CHARACTERS} characters")
    source, target = direction.source, direction.target
    if not _LANGUAGE.fullmatch(target) or (source and not _LANGUAGE.fullmatch(source)):
        raise Refusal(Reason.MALFORMED, "the direction is not made of lower-case ISO 639-1 codes")
    return source, target


def _check_target(target: str, targets: Iterable[str]) -> None:
    """Last of all checks, so that a caller learns of its own mistakes before it learns of our limits."""
    supported = sorted(targets)
    if target not in supported:
        raise Refusal(
            Reason.TARGET_UNSUPPORTED, f"nothing here translates into {target}; supported: {', '.join(supported)}"
        )


def _line(line: types_pb2.StripLine, strip: types_pb2.Strip) -> LineJob:
    width, height = checked_size(line.image, strip.encoding)
    if strip.is_frame:
        if max(width, height) > MAX_FRAME_SIDE:
            raise Refusal(Reason.PICTURE_TOO_LARGE, f"the frame is larger than {MAX_FRAME_SIDE} pixels")
    elif height > MAX_STRIP_HEIGHT and max(width, height) <= MAX_FRAME_SIDE:
        # Too tall for a line and just right for a frame: the caller forgot to say so, and a privacy rule of the
        # phone hangs on that flag.
        raise Refusal(Reason.FRAME_WITHOUT_FLAG, "a picture taller than a line of text came without is_frame")
    elif width > MAX_STRIP_WIDTH or height > MAX_STRIP_HEIGHT:
        raise Refusal(Reason.PICTURE_TOO_LARGE, f"a line is larger than {MAX_STRIP_WIDTH}x{MAX_STRIP_HEIGHT} pixels")
    confidence = line.detection_confidence
    if not 0.0 <= confidence <= 1.0:
        raise Refusal(Reason.MALFORMED, "a detection confidence is outside 0..1")
    quad = _quad(line.quad)
    if quad is None and not strip.is_frame:
        raise Refusal(Reason.MALFORMED, "a line does not say where in the frame it lies")
    inner = None if strip.is_frame else _quad(line.inner)
    if inner is not None and not _inside(inner, width, height):
        raise Refusal(Reason.MALFORMED, "the quad inside a picture reaches outside it")
    return LineJob(line.image, quad, inner, confidence)


def _inside(quad: Quad, width: int, height: int) -> bool:
    """Whether a quad lies in a picture, give or take rounding."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    return bool((low >= -INNER_SLACK).all() and high[0] <= width + INNER_SLACK and high[1] <= height + INNER_SLACK)


def _quad(quad: types_pb2.Quad) -> Quad | None:
    """Eight finite numbers that enclose an area; None when the message leaves the quad out."""
    if not quad.xy:
        return None
    points = np.asarray(quad.xy, dtype=np.float32)
    if points.shape != (8,) or not np.isfinite(points).all() or np.abs(points).max() > MAX_COORDINATE:
        raise Refusal(Reason.MALFORMED, "a quad is not eight finite coordinates")
    corners: Quad = points.reshape(4, 2)
    if area(corners) < 1.0 or not cv2.isContourConvex(corners):
        # Such corners have no homography, and a crop along them would be as large as the sender pleases.
        raise Refusal(Reason.MALFORMED, "a quad is not convex or encloses nothing")
    return corners

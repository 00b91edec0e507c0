"""Strips from the link: bytes from outside become checked pictures with their places, or a typed error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from shared.errors import InputError
from shared.geometry import ImageBgr, Quad, area, side_lengths, transform
from shared.layout import sign_by_sign
from shared.limits import MAX_COORDINATE, MAX_FRAME_SIDE, MAX_STRIP_HEIGHT, MAX_STRIP_LINES, MAX_STRIP_WIDTH
from shared.messages.wayword.v1 import types_pb2
from shared.models.detection import DetectedLine, reading_order
from shared.models.rectify import crop_inner, rectify
from shared.pictures import decode_picture

_MARGIN: Final = 0.25
"""Margin around a line cut from a frame, in line heights: room for the cloud to find the line again."""
_CUT_HEIGHT: Final = 96
"""Highest line cut from a frame, in pixels: twice the recogniser's input."""
_WEBP_QUALITY: Final = 80


@dataclass(frozen=True, slots=True)
class Cut:
    """One line to read.

    Attributes:
        crop: upright as read, BGR uint8, shape (height, width, 3).
        quad: the line in the frame, in pixels.
        height_px: height of the letters' line in what the camera really saw: the smaller of frame and crop.
        detection: the detector's confidence, 0..1.
    """

    crop: ImageBgr
    quad: Quad
    height_px: float
    detection: float


def open_strip(strip: types_pb2.Strip) -> list[Cut]:
    """Decode and crop the lines of a strip.

    Raises:
        InputError: a picture is too large or cannot be decoded, a quad is malformed, or there are too many lines.
    """
    if not 0 < len(strip.lines) <= MAX_STRIP_LINES:
        raise InputError(f"a strip has 1 to {MAX_STRIP_LINES} lines, this one has {len(strip.lines)}")
    cuts = []
    for line in strip.lines:
        quad = _quad(line.quad)
        image = decode_picture(line.image, max_width=MAX_STRIP_WIDTH, max_height=MAX_STRIP_HEIGHT)
        inner = _quad(line.inner) if line.inner.xy else _rectangle(image)
        if not _inside(inner, image):
            raise InputError("a line lies outside its picture")
        height = min(*side_lengths(quad), *side_lengths(inner))
        cuts.append(Cut(crop_inner(image, inner), quad, height, _probability(line.detection_confidence)))
    return cuts


def open_frame(strip: types_pb2.Strip) -> tuple[ImageBgr, Quad]:
    """Decode a whole frame, scaled down; also returns its corners in the frame it was scaled from.

    Raises:
        InputError: as `open_strip`, or there is not exactly one picture.
    """
    if len(strip.lines) != 1:
        raise InputError(f"a whole frame is one picture, this strip has {len(strip.lines)}")
    line = strip.lines[0]
    image = decode_picture(line.image, max_width=MAX_FRAME_SIDE, max_height=MAX_FRAME_SIDE)
    return image, _quad(line.quad) if line.quad.xy else _rectangle(image)


def cut_lines(
    image: ImageBgr, corners: Quad, found: Sequence[DetectedLine], strip: types_pb2.Strip
) -> tuple[list[Cut], types_pb2.Strip]:
    """Cut detected lines out of a frame.

    Args:
        image: the frame, scaled down.
        corners: its corners in the frame it was scaled from.
        found: lines in `image`.
        strip: the strip that brought the frame.

    Returns:
        The lines to read, sign after sign, and a strip that holds these lines only: what may leave the phone instead of
        the frame.
    """
    to_frame = cv2.getPerspectiveTransform(_rectangle(image), corners)
    outgoing = types_pb2.Strip(
        frame_id=strip.frame_id,
        region_id=strip.region_id,
        encoding=types_pb2.IMAGE_ENCODING_WEBP,
        captured_us=strip.captured_us,
    )
    cuts = []
    best = reading_order(sorted(found, key=lambda line: line.confidence, reverse=True)[:MAX_STRIP_LINES])
    # Sign after sign, as they are translated: what stands in a line's place must be its translation.
    for line in (best[index] for index in sign_by_sign([line.quad for line in best])):
        picture, inner = rectify(image, line.quad, margin=_MARGIN, max_height=_CUT_HEIGHT)
        quad = transform(np.asarray(to_frame, dtype=np.float64), line.quad)
        cuts.append(Cut(crop_inner(picture, inner), quad, min(side_lengths(line.quad)), line.confidence))
        encoded, data = cv2.imencode(".webp", picture, (cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY))
        if encoded and picture.shape[0] <= MAX_STRIP_HEIGHT and picture.shape[1] <= MAX_STRIP_WIDTH:
            outgoing.lines.append(
                types_pb2.StripLine(
                    image=data.tobytes(),
                    quad=types_pb2.Quad(xy=quad.reshape(-1).tolist()),
                    inner=types_pb2.Quad(xy=inner.reshape(-1).tolist()),
                    detection_confidence=line.confidence,
                )
            )
    return cuts, outgoing


def _quad(message: types_pb2.Quad) -> Quad:
    points = np.asarray(message.xy, dtype=np.float32)
    if points.shape != (8,) or not np.isfinite(points).all() or float(np.abs(points).max()) > MAX_COORDINATE:
        raise InputError("a quad is not eight finite coordinates")
    quad: Quad = points.reshape(4, 2)
    if area(quad) < 1.0:
        raise InputError("a quad encloses nothing")
    return quad


def _inside(quad: Quad, image: ImageBgr) -> bool:
    """Whether a line's quad lies in its picture, but for rounding at the border."""
    height, width = image.shape[:2]
    return bool(np.all(quad >= -2.0) and np.all(quad <= (width + 1.0, height + 1.0)))


def _rectangle(image: ImageBgr) -> Quad:
    """Corners of a picture; pixel centres are integers."""
    height, width = image.shape[:2]
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float32)


def _probability(value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise InputError("a detection confidence is outside 0..1")
    return value

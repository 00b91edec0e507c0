"""Strips from the link: bytes from outside become checked pictures with their places, or a typed error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from shared.errors import InputError
from shared.geometry import Homography, ImageBgr, Quad, area, side_lengths, transform
from shared.limits import MAX_COORDINATE, MAX_FRAME_SIDE, MAX_STRIP_HEIGHT, MAX_STRIP_LINES, MAX_STRIP_WIDTH
from shared.messages.wayword.v1 import types_pb2
from shared.models.rectify import crop_inner, rectify
from shared.models.seen_lines import SeenLine
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


def open_frame(strip: types_pb2.Strip) -> tuple[ImageBgr, Homography]:
    """Decode a whole frame, scaled down; also returns the homography to the frame it was scaled from.

    Raises:
        InputError: as `open_strip`, or there is not exactly one picture.
    """
    if len(strip.lines) != 1:
        raise InputError(f"a whole frame is one picture, this strip has {len(strip.lines)}")
    line = strip.lines[0]
    image = decode_picture(line.image, max_width=MAX_FRAME_SIDE, max_height=MAX_FRAME_SIDE)
    corners = _rectangle(image)
    to_frame = cv2.getPerspectiveTransform(corners, _quad(line.quad) if line.quad.xy else corners)
    return image, np.asarray(to_frame, dtype=np.float64)


def strip_of(
    image: ImageBgr, to_frame: Homography, lines: Sequence[SeenLine], strip: types_pb2.Strip
) -> types_pb2.Strip:
    """What may leave the phone instead of a frame: a strip that holds its lines only.

    Args:
        image: the frame, scaled down.
        to_frame: from its pixels to those of the frame it was scaled from.
        lines: found in `image`.
        strip: the strip that brought the frame.

    Returns:
        The new strip; `strip` itself, the whole frame, where there is no line or there are more than a strip can hold.
    """
    if not 0 < len(lines) <= MAX_STRIP_LINES:
        return strip
    outgoing = types_pb2.Strip(
        frame_id=strip.frame_id,
        region_id=strip.region_id,
        encoding=types_pb2.IMAGE_ENCODING_WEBP,
        captured_us=strip.captured_us,
    )
    for line in lines:
        picture, inner = rectify(
            image, line.quad, margin=_MARGIN, max_height=_CUT_HEIGHT, max_width=MAX_STRIP_WIDTH, turn=False
        )
        encoded, data = cv2.imencode(".webp", picture, (cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY))
        if encoded:
            outgoing.lines.append(
                types_pb2.StripLine(
                    image=data.tobytes(),
                    quad=types_pb2.Quad(xy=transform(to_frame, line.quad).reshape(-1).tolist()),
                    inner=types_pb2.Quad(xy=inner.reshape(-1).tolist()),
                    detection_confidence=line.detection,
                )
            )
    return outgoing if outgoing.lines else strip


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

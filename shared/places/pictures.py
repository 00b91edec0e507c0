"""A 64-bit perceptual hash of a strip, the same for one sign in another light, from farther away or from the side.

A DCT hash (as C. Zauner, *Implementation and Benchmarking of Perceptual Image Hash Functions*, 2010, describes for
whole pictures), made for lines of text: they are wide and low, so that most of the bits go to what changes along the
line, and ten bits hold the line's aspect, which a square hash throws away. Brightness is the coefficient left out, and
contrast is divided away; a strip is rectified, which takes the perspective out but for the detector's error, and cut to
its ink, which takes out most of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.errors import InputError
from shared.geometry import ImageBgr, Quad
from shared.limits import MAX_COORDINATE, MAX_STRIP_HEIGHT, MAX_STRIP_LINES, MAX_STRIP_WIDTH
from shared.messages.wayword.v1 import types_pb2
from shared.models.rectify import crop_inner
from shared.pictures import decode_picture

_WIDTH: Final = 64
_LINE_HEIGHT: Final = 16
"""Pixels to which a line is brought; letters are still letters, noise is averaged out."""
_ROWS: Final = 32
"""Rows of the stacked lines before the transform; `cv2.dct` wants even sides."""
_DOWN: Final = 6
_ALONG: Final = 9
"""Frequencies down and along the lines that are kept, 54 bits. A judgement: what tells lines of text apart changes
along them. `wayword-cloud bench places` prints how many signs it knows again, and how many it takes for others."""
_ASPECTS: Final = (1.3, 1.8, 2.5, 3.4, 4.7, 6.5, 9.0, 12.5, 17.5, 24.0)
"""Steps of the aspect (widths of all lines over their heights), each about 1.4 times the one before: a view from 45
degrees aside shortens a line by 0.7, which is one step, and so one bit."""
_INK: Final = 0.5
"""Share of the strongest contrast from which a pixel is ink: the edges of a line are where its ink ends, not where the
detector says, which errs more than the hash forgives."""
_MIN_CONTRAST: Final = 4.0
"""Grey levels below which there is nothing to see."""


def lines_hash(crops: Sequence[ImageBgr]) -> int | None:
    """The hash of a sign's lines; None where there is nothing to see in them.

    Args:
        crops: the lines in reading order, upright as read, BGR uint8 of shape (height, width, 3).
    """
    if not crops:
        return None
    inks = [_trimmed(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)) for crop in crops]
    rows = [cv2.resize(ink, (_WIDTH, _LINE_HEIGHT), interpolation=cv2.INTER_AREA) for ink in inks]
    stacked = cv2.resize(np.vstack(rows), (_WIDTH, _ROWS), interpolation=cv2.INTER_AREA)
    deviation = float(stacked.std())
    if deviation < _MIN_CONTRAST:
        return None
    transformed = cv2.dct((stacked - float(stacked.mean())) / deviation)
    kept = transformed[:_DOWN, 1 : _ALONG + 1].reshape(-1)
    bits = 0
    for value in kept > np.median(kept):
        bits = bits << 1 | int(value)
    aspect = sum(ink.shape[1] / ink.shape[0] for ink in inks)
    # A thermometer: a neighbouring step differs in one bit.
    for step in _ASPECTS:
        bits = bits << 1 | int(aspect > step)
    return bits


def strip_hash(strip: types_pb2.Strip) -> int | None:
    """The hash of a strip as it travels; None for a whole frame, or where there is nothing to see.

    Raises:
        InputError: a picture is too large or cannot be decoded, a quad is malformed, or there are too many lines.
    """
    if strip.is_frame:
        return None
    if not 0 < len(strip.lines) <= MAX_STRIP_LINES:
        raise InputError(f"a strip has 1 to {MAX_STRIP_LINES} lines, this one has {len(strip.lines)}")
    crops = []
    for line in strip.lines:
        picture = decode_picture(line.image, max_width=MAX_STRIP_WIDTH, max_height=MAX_STRIP_HEIGHT)
        crops.append(crop_inner(picture, _quad(line.inner)) if line.inner.xy else picture)
    return lines_hash(crops)


def _trimmed(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A line without the ground around its ink; as it is where there is hardly any."""
    smooth = cv2.GaussianBlur(grey, (3, 3), 0)
    contrast = np.abs(smooth - np.median(smooth))
    ink = contrast > _INK * np.percentile(contrast, 95)
    columns, rows = np.flatnonzero(ink.mean(axis=0) > 0.08), np.flatnonzero(ink.mean(axis=1) > 0.04)
    if len(columns) < 4 or len(rows) < 4:
        return grey
    return np.ascontiguousarray(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _quad(message: types_pb2.Quad) -> Quad:
    points = np.asarray(message.xy, dtype=np.float32)
    if points.shape != (8,) or not np.isfinite(points).all() or float(np.abs(points).max()) > MAX_COORDINATE:
        raise InputError("a quad is not eight finite coordinates")
    corners: Quad = points.reshape(4, 2)
    return corners

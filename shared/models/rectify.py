"""Line strips: a quad of a picture, straightened so that its text runs from left to right."""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.errors import InputError
from shared.geometry import ImageBgr, Quad, area, side_lengths
from shared.limits import MAX_CROP_SIDE
from shared.models.images import require_bgr

VERTICAL_RATIO: Final = 1.5
"""A line at least so many times as high as wide is vertical text (PaddleOCR)."""
_AXIS_ALIGNED: Final = 0.75  # pixels a corner may be off for a plain slice to do
_MIN_AREA: Final = 1.0  # square pixels


def as_read(quad: Quad) -> Quad:
    """The same quad with its first corner where reading starts.

    Vertical text (`VERTICAL_RATIO`) is read downwards: its strip is the picture turned a quarter anticlockwise, which
    is how the recognisers were trained, so reading starts at the corner that was top right.
    """
    width, height = side_lengths(quad)
    return np.roll(quad, -1, axis=0) if height >= VERTICAL_RATIO * width else quad


def rectify(
    image_bgr: ImageBgr,
    quad: Quad,
    *,
    margin: float = 0.0,
    max_height: int | None = None,
    max_width: int | None = None,
    turn: bool = True,
) -> tuple[ImageBgr, Quad]:
    """Straighten one line of text.

    Args:
        image_bgr: uint8 of shape (height, width, 3).
        quad: the line, clockwise from the top-left corner; a tall one is turned first, see `as_read`.
        margin: picture to keep around the line, in heights of the line; what lies outside the picture repeats its edge.
        max_height: most rows of the strip, margin included; a larger one is scaled down by area averaging.
        max_width: most columns of the strip, margin included.
        turn: whether a tall line is turned; otherwise its corners say how it is read.

    Returns:
        The strip, uint8 BGR, and the line inside it. Corner i of the inner quad is corner i of ``as_read(quad)``, or of
        ``quad`` where nothing is turned.

    Raises:
        InputError: the picture is not BGR, or the quad has no area or is absurdly large.
    """
    require_bgr(image_bgr, what="the picture")
    corners = _checked(quad, turn=turn)
    line_width, line_height = side_lengths(corners)
    width, height = max(2, round(line_width)), max(2, round(line_height))
    pad = round(margin * height)
    full_width, full_height = width + 2 * pad, height + 2 * pad
    if max(full_width, full_height) > MAX_CROP_SIDE:
        raise InputError(f"a line of {full_width} x {full_height} pixels is too large, at most {MAX_CROP_SIDE} a side")
    # Pixel centres are integers: the last column of the line is `width - 1` to the right of the first.
    inner = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float32) + pad
    try:
        homography = cv2.getPerspectiveTransform(corners, inner)
        strip = cv2.warpPerspective(
            image_bgr, homography, (full_width, full_height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    except cv2.error as error:
        raise InputError("a line to straighten has impossible corners") from error
    scale = min(1.0, (max_height or full_height) / full_height, (max_width or full_width) / full_width)
    if scale < 1.0:
        size = max(1, math.floor(full_width * scale)), max(1, math.floor(full_height * scale))
        strip = cv2.resize(strip, size, interpolation=cv2.INTER_AREA)
        ratio = np.array([size[0] / full_width, size[1] / full_height])
        inner = np.asarray((inner + 0.5) * ratio - 0.5, dtype=np.float32)
    return np.asarray(strip, dtype=np.uint8), np.asarray(inner, dtype=np.float32)


def crop_inner(strip: ImageBgr, inner_quad: Quad) -> ImageBgr:
    """The line inside a strip, without the margin around it.

    Args:
        strip: uint8 of shape (height, width, 3), as `rectify` returns it.
        inner_quad: the line in the strip's pixels.

    Returns:
        The line; a view of the strip where the quad is parallel to it, as `rectify` leaves it.

    Raises:
        InputError: the strip is not BGR, or the quad has no area inside it.
    """
    require_bgr(strip, what="the strip")
    corners = np.asarray(inner_quad, dtype=np.float32)
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise InputError(f"the line in the strip is no quad: shape {corners.shape}")
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    upright = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if np.abs(corners - upright).max() > _AXIS_ALIGNED:
        return rectify(strip, corners)[0]
    height, width = strip.shape[:2]
    x0, x1 = max(0, round(float(left))), min(width, round(float(right)) + 1)
    y0, y1 = max(0, round(float(top))), min(height, round(float(bottom)) + 1)
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"the line lies outside its strip of {width} x {height} pixels")
    return strip[y0:y1, x0:x1]


def _checked(quad: npt.NDArray[Any], *, turn: bool) -> Quad:
    corners = np.asarray(quad, dtype=np.float32)
    if corners.shape != (4, 2) or not np.isfinite(corners).all() or area(corners) < _MIN_AREA:
        raise InputError("a line to straighten has no area, or is no quad of four finite corners")
    return as_read(corners) if turn else corners

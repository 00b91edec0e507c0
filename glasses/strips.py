"""From lines in a frame to the compressed strips that go on air."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses.camera import Frame, shrink
from shared.errors import InputError
from shared.geometry import ImageBgr, Quad
from shared.limits import MAX_OBJECT_BYTES, MAX_STRIP_WIDTH
from shared.models.detection import DetectedLine
from shared.models.rectify import as_read, crop_inner, rectify

OBJECT_ROOM: Final = 8 * 1024
"""Kept free in an object for everything that is not a picture, in bytes."""


class Encoding(Enum):
    """Compression of a strip; the value is the file name's ending."""

    WEBP = "webp"
    JPEG = "jpg"


@cache
def available_encoding() -> Encoding:
    """WebP where this build of OpenCV can write it (a third smaller at the same readability), else JPEG."""
    return Encoding.WEBP if cv2.haveImageWriter("probe.webp") else Encoding.JPEG


@dataclass(frozen=True, slots=True)
class StripImage:
    """One rectified line, ready to send.

    Attributes:
        image: compressed.
        quad: the line in its frame; corner i is corner i of `inner`.
        inner: the line inside `image`, which carries a margin.
        confidence: of the detector, 0..1.
        height: of the line inside `image`, in pixels.
    """

    image: bytes
    quad: Quad
    inner: Quad
    confidence: float
    height: float


@dataclass(frozen=True, slots=True)
class SignStrip:
    """The lines of one sign, cut from one frame; or one picture of a whole frame.

    Attributes:
        frame_id: of the frame.
        region_id: of the sign.
        captured: monotonic seconds.
        encoding: of every image.
        lines: in reading order.
        is_frame: whether `lines` holds one picture of the whole frame.
    """

    frame_id: int
    region_id: int
    captured: float
    encoding: Encoding
    lines: tuple[StripImage, ...]
    is_frame: bool = False

    @property
    def captured_us(self) -> int:
        """When it was captured as the link says it, in microseconds."""
        return round(self.captured * 1e6)

    @property
    def image_bytes(self) -> int:
        """Bytes of all pictures."""
        return sum(len(line.image) for line in self.lines)


def compress(image: ImageBgr, encoding: Encoding, quality: int) -> bytes:
    """Compress a picture.

    Raises:
        InputError: OpenCV refuses, which only a picture without pixels brings about.
    """
    flag = cv2.IMWRITE_WEBP_QUALITY if encoding is Encoding.WEBP else cv2.IMWRITE_JPEG_QUALITY
    try:
        ok, data = cv2.imencode(f".{encoding.value}", image, [flag, quality])
    except cv2.error as error:
        raise InputError(f"a strip of shape {image.shape} cannot be compressed") from error
    if not ok:
        raise InputError(f"a strip of shape {image.shape} cannot be compressed")
    return bytes(data.tobytes())


def cut_line(
    bgr: ImageBgr, line: DetectedLine, *, margin: float, max_height: int, encoding: Encoding, quality: int
) -> StripImage:
    """Rectify and compress one line.

    Args:
        bgr: the frame, uint8 of shape (height, width, 3).
        line: in the frame.
        margin: around the line, as a share of its height.
        max_height: of the strip, in pixels; it is scaled down to this, never up.
    """
    strip, inner = rectify(bgr, line.quad, margin=margin, max_height=max_height, max_width=MAX_STRIP_WIDTH)
    height = float(inner[3, 1] - inner[0, 1])
    return StripImage(compress(strip, encoding, quality), as_read(line.quad), inner, line.confidence, height)


def cut_sign(
    frame: Frame,
    region_id: int,
    lines: Sequence[DetectedLine],
    *,
    margin: float,
    max_height: int,
    quality: int,
) -> SignStrip:
    """Cut a sign from a frame: one rectified picture per line, never the rectangle around all of them.

    In the rare case that the object would be larger than `limits.MAX_OBJECT_BYTES`, quality and height drop.
    """
    encoding = available_encoding()
    images: tuple[StripImage, ...] = ()
    for quality_share, height_share in ((1.0, 1.0), (0.5, 0.75), (0.25, 0.5), (0.1, 0.4)):
        images = tuple(
            cut_line(
                frame.bgr,
                line,
                margin=margin,
                max_height=round(max_height * height_share),
                encoding=encoding,
                quality=max(1, round(quality * quality_share)),
            )
            for line in lines
        )
        if sum(len(image.image) for image in images) <= MAX_OBJECT_BYTES - OBJECT_ROOM:
            break
    return SignStrip(frame.frame_id, region_id, frame.captured, encoding, images)


def frame_quad(bgr: ImageBgr) -> Quad:
    """The corners of a picture, as the quad around all its pixel centres."""
    height, width = bgr.shape[:2]
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)


def cut_frame(frame: Frame, region_id: int, *, longest_side: int, quality: int) -> SignStrip:
    """The whole frame, scaled down: for a detector that is unsure, rather than guess a crop."""
    encoding = available_encoding()
    small = shrink(frame.bgr, longest_side)
    data = compress(small, encoding, quality)
    while len(data) > MAX_OBJECT_BYTES - OBJECT_ROOM and quality > 5:
        quality //= 2
        data = compress(small, encoding, quality)
    image = StripImage(data, frame_quad(frame.bgr), frame_quad(small), 0.0, float(small.shape[0]))
    return SignStrip(frame.frame_id, region_id, frame.captured, encoding, (image,), is_frame=True)


def border_colour(bgr: ImageBgr, quad: Quad, *, margin: float = 0.0) -> npt.NDArray[np.float64]:
    """Colour of the sign behind a line of text (BGR, 0..255, shape (3,)).

    Otsu's threshold (1979) splits the rectified line into letters and ground; the ground is what the gaps between the
    letters are made of. Beyond the line there may be a frame, another line or the wall already, so the margin is left
    alone unless it is asked for, and so are the top and bottom of the line.
    """
    strip, inner = rectify(bgr, quad, margin=margin, max_height=48)
    pixels = strip if margin else crop_inner(strip, inner)
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright = grey > threshold
    fifth = len(bright) // 5
    share = bright[fifth : len(bright) - fifth].mean(axis=0)
    bright_gaps, dark_gaps = int((share > 0.99).sum()), int((share < 0.01).sum())
    ground = bright if (bright_gaps, bright.mean()) >= (dark_gaps, 0.5) else ~bright
    return np.asarray(np.median(pixels[ground].astype(np.float64), axis=0))


LOOK_SIZE: Final = (96, 16)
"""Width and height of a line's look, in pixels."""


def look_of(bgr: ImageBgr, quad: Quad) -> npt.NDArray[np.float32]:
    """What a line looks like, for knowing it again: grey, small, mean 0 and norm 1; shape (16, 96)."""
    strip, inner = rectify(bgr, quad, margin=0.0, max_height=48)
    grey = cv2.cvtColor(crop_inner(strip, inner), cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, LOOK_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), dtype=np.float32)

"""Finding lines of text: a differentiable-binarisation (DB) network and its post-processing, the only one in the house.

Encoding version 1 (PaddleOCR's): BGR, /255, minus (.485, .456, .406), over (.229, .224, .225), channels first, both
sides rounded to multiples of 32. The network answers with the probability of text core at each pixel. Blobs above the
pack's ``binarise`` become minimum-area rectangles; those whose mean probability reaches ``box_score`` are grown from
the core to the whole line by the distance ``area * unclip / perimeter`` (Liao et al., Real-time Scene Text Detection
with Differentiable Binarization, AAAI 2020, section 3.4).

Growing needs no polygon clipper: a rectangle offset by d with round joins has the rectangle grown by d on each side as
its minimum-area rectangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.errors import InputError, PackUnsupported
from shared.geometry import ImageBgr, Quad
from shared.limits import MAX_DETECTION_CONTOURS, MAX_DETECTION_SIDE
from shared.models.device import Device
from shared.models.images import require_bgr
from shared.models.manifest import Task
from shared.models.packs import InstalledPack
from shared.models.rectify import VERTICAL_RATIO
from shared.models.session import open_session

MODEL_FILE: Final = "model.onnx"
_STRIDE: Final = 32
_MEAN: Final = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_DEVIATION: Final = np.array([0.229, 0.224, 0.225], dtype=np.float32)
_MIN_CORE: Final = 3.0  # shorter side of a core, in pixels of the network's picture
_MIN_LINE: Final = 5.0  # shorter side of a line, likewise
_STEEP: Final = 0.34  # sine of 20 degrees: a long side closer to the vertical than this is read downwards
_SAME_ROW: Final = 0.5  # lines share a row when their centres are closer than this, in heights of the lower one


@dataclass(frozen=True)
class DetectedLine:
    """One line of text.

    Attributes:
        quad: float32 (4, 2), pixels of the picture, clockwise from the top-left corner as read.
        confidence: mean probability of its core, 0..1.
    """

    quad: Quad
    confidence: float


class TextDetector:
    """Finds lines of text in pictures; build one with `load`.

    Raises:
        PackUnsupported: the pack is no detector, or lacks a parameter.
        PackCorrupt: its model cannot be loaded.
    """

    def __init__(self, pack: InstalledPack, *, threads: int = 1, device: Device = Device.CPU) -> None:
        if pack.manifest.task is not Task.DETECTION:
            raise PackUnsupported(f"pack {pack.name} is for {pack.manifest.task}, not detection")
        self.pack = pack
        self._binarise = pack.setting("binarise")
        self._box_score = pack.setting("box_score")
        self._unclip = pack.setting("unclip")
        self._session = open_session(pack.path(MODEL_FILE), threads=threads, device=device)

    @classmethod
    def load(cls, pack: InstalledPack, *, threads: int = 1, device: Device = Device.CPU) -> TextDetector:
        """Load the model of a detection pack; see the class for what it raises."""
        return cls(pack, threads=threads, device=device)

    def detect(
        self, image_bgr: ImageBgr, *, longest_side: int = 960, box_threshold: float | None = None
    ) -> list[DetectedLine]:
        """Find the lines of text of one picture.

        Args:
            image_bgr: uint8 of shape (height, width, 3).
            longest_side: side the picture is scaled to before the network sees it, in pixels.
            box_threshold: mean probability that makes a line, 0..1; the pack's own when None. A lower one tells a
                picture with no text from one that may have some.

        Returns:
            The lines in reading order, rows from the top, in a row from the left; empty where there is no text.

        Raises:
            InputError: the picture is not BGR or `longest_side` is out of range.
            PackUnsupported: the model does not answer as a detector does.
        """
        require_bgr(image_bgr, what="the picture")
        if not _STRIDE <= longest_side <= MAX_DETECTION_SIDE:
            raise InputError(f"longest_side is {longest_side}, not between {_STRIDE} and {MAX_DETECTION_SIDE}")
        (probability,) = self._session.run({self._session.input_names[0]: _encode(image_bgr, longest_side)})
        if probability.ndim != 4 or probability.shape[:2] != (1, 1):
            raise PackUnsupported(f"the model of pack {self.pack.name} answers with shape {probability.shape}")
        return self.lines(probability[0, 0], image_bgr.shape[1], image_bgr.shape[0], box_threshold)

    def lines(
        self, probability: npt.NDArray[np.float32], width: int, height: int, box_threshold: float | None = None
    ) -> list[DetectedLine]:
        """Turn a probability map into lines.

        Args:
            probability: float32 of shape (rows, columns), 0..1.
            width: width of the picture the lines are wanted in, in pixels.
            height: its height.
            box_threshold: see `detect`.
        """
        threshold = self._box_score if box_threshold is None else box_threshold
        rows, columns = probability.shape
        scale = np.array([width / columns, height / rows], dtype=np.float32)
        limit = np.array([width - 1, height - 1], dtype=np.float32)
        found = []
        for (center, size, angle), confidence in self._cores(probability, threshold):
            distance = size[0] * size[1] * self._unclip / (2.0 * (size[0] + size[1]))
            grown = (size[0] + 2.0 * distance, size[1] + 2.0 * distance)
            if min(grown) < _MIN_LINE:
                continue
            # Pixel centres are integers on both grids.
            corners = (cv2.boxPoints((center, grown, angle)) + 0.5) * scale - 0.5
            quad = np.clip(reading_corners(np.asarray(corners, dtype=np.float32)), 0.0, limit)
            found.append(DetectedLine(np.asarray(quad, dtype=np.float32), confidence))
        return reading_order(found)

    def _cores(self, probability: npt.NDArray[np.float32], threshold: float) -> list[tuple[Any, float]]:
        """Minimum-area rectangles, as OpenCV gives them, of the blobs that are text, with their mean probability."""
        mask = (probability > self._binarise).astype(np.uint8)
        contours: Sequence[Any] = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
        if len(contours) > MAX_DETECTION_CONTOURS:
            contours = sorted(contours, key=cv2.contourArea, reverse=True)[:MAX_DETECTION_CONTOURS]
        cores = []
        for contour in contours:
            rectangle = cv2.minAreaRect(contour)
            if min(rectangle[1]) < _MIN_CORE:
                continue
            confidence = _mean_inside(probability, np.asarray(cv2.boxPoints(rectangle), dtype=np.float32))
            if confidence >= threshold:
                cores.append((rectangle, confidence))
        return cores


def reading_corners(corners: Quad) -> Quad:
    """Order the corners of a rectangle clockwise, starting at the top-left one as read.

    The text of a short or level rectangle is taken to run along the side that is closest to level, from left to right;
    that of a long one along its long side, rightwards, or downwards when that side is steep.

    Args:
        corners: float32 (4, 2), neighbours adjacent, in either sense of rotation.
    """
    following = np.roll(corners, -1, axis=0)
    signed = float(np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]))
    if signed < 0:  # anticlockwise, as y grows downwards
        corners = corners[::-1]
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.maximum(np.linalg.norm(edges, axis=1), 1e-6)
    directions = edges / lengths[:, None]
    start = int(np.argmax(directions[:, 0]))
    across = (start + 1) % 4
    if lengths[across] >= VERTICAL_RATIO * lengths[start]:
        steep = abs(directions[across, 0]) < _STEEP
        downwards, rightwards = directions[across, 1] > 0, directions[across, 0] > 0
        start = across if (downwards if steep else rightwards) else (across + 2) % 4
    return np.roll(corners, -start, axis=0)


def reading_order(lines: Sequence[DetectedLine]) -> list[DetectedLine]:
    """Sort lines by rows from the top, and in a row from the left."""
    rows: list[list[DetectedLine]] = []
    for line in sorted(lines, key=lambda line: float(line.quad[:, 1].mean())):
        if rows and _share_row(rows[-1][-1].quad, line.quad):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: float(line.quad[:, 0].min()))]


def _share_row(first: Quad, second: Quad) -> bool:
    lower = min(float(np.ptp(first[:, 1])), float(np.ptp(second[:, 1])))
    return abs(float(first[:, 1].mean() - second[:, 1].mean())) < _SAME_ROW * lower


def _encode(image: ImageBgr, longest_side: int) -> npt.NDArray[np.float32]:
    """The network's input: float32 of shape (1, 3, rows, columns)."""
    height, width = image.shape[:2]
    scale = longest_side / max(height, width)
    size = tuple(max(_STRIDE, round(side * scale / _STRIDE) * _STRIDE) for side in (width, height))
    tensor = np.empty((1, 3, size[1], size[0]), dtype=np.float32)
    # Plane by plane: several times faster than arithmetic on interleaved colours and a transposed copy.
    for channel, plane in enumerate(cv2.split(cv2.resize(image, (size[0], size[1])))):
        np.multiply(plane, 1.0 / (255.0 * _DEVIATION[channel]), out=tensor[0, channel], casting="unsafe")
        tensor[0, channel] -= _MEAN[channel] / _DEVIATION[channel]
    return tensor


def _mean_inside(probability: npt.NDArray[np.float32], corners: Quad) -> float:
    """Mean of the map inside a rectangle."""
    rows, columns = probability.shape
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (columns - 1, rows - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, (columns - 1, rows - 1)).astype(int)
    mask = np.zeros((bottom - top + 1, right - left + 1), dtype=np.uint8)
    cv2.fillPoly(mask, [(corners - (left, top)).astype(np.int32)], (1,))
    return float(cv2.mean(probability[top : bottom + 1, left : right + 1], mask)[0])

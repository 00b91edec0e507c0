"""One look: detection in one frame, lines grouped into signs, and what is needed to know each sign again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from glasses import strips
from glasses.camera import Frame
from glasses.signs import Found
from shared.clock import Clock
from shared.geometry import ImageBgr, Quad
from shared.layout import group_signs, line_height
from shared.models.detection import DetectedLine

EDGE_PX: Final = 4
"""A line that comes so close to the edge of the view is taken to go on beyond it."""
WIDE_SHARE: Final = 0.6


class Detector(Protocol):
    """Finds lines of text; `shared.models.detection.TextDetector` is one."""

    def detect(
        self, image_bgr: ImageBgr, *, longest_side: int = 960, box_threshold: float | None = None
    ) -> Sequence[DetectedLine]:
        """Lines in reading order; `box_threshold` replaces the pack's own threshold (0..1)."""
        ...


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found.

    Attributes:
        found: the signs large enough to be read.
        too_small: lines that are not: counted, not sent; frame pixels.
        unsure: nothing was found, but there are places that may be text.
        seconds: the look took.
        cut_off: lines of the signs left out because they run over the edge of the view, frame pixels.
    """

    found: tuple[Found, ...]
    too_small: tuple[Quad, ...]
    unsure: bool
    seconds: float
    cut_off: tuple[Quad, ...] = ()


class Finder:
    """Looks for signs in single frames. Used from one thread.

    Args:
        detector: finds lines.
        longest_side: pixels the detector sees.
        minimum_line_height: in frame pixels.
        unsure_box_threshold: a second pass with this threshold tells "no text" from "maybe text"; None for never.
        skip_cut_off: leave out signs that run over the edge of the view: a moving head will show the rest.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        longest_side: int,
        minimum_line_height: float,
        unsure_box_threshold: float | None,
        skip_cut_off: bool,
        clock: Clock,
    ) -> None:
        self._detector = detector
        self._longest_side = longest_side
        self._minimum_line_height = minimum_line_height
        self._unsure_box_threshold = unsure_box_threshold
        self._skip_cut_off = skip_cut_off
        self._clock = clock

    def look(self, frame: Frame) -> Looked:
        """Look for signs in a frame."""
        start = self._clock.monotonic()
        lines = self._detector.detect(frame.bgr, longest_side=self._longest_side)
        large = [line for line in lines if line_height(line.quad) >= self._minimum_line_height]
        backgrounds = [strips.border_colour(frame.bgr, line.quad) for line in large]
        found: list[Found] = []
        cut_off: list[Quad] = []
        for sign in group_signs([line.quad for line in large], backgrounds=backgrounds):
            of_sign = tuple(large[index] for index in sign)
            if self._skip_cut_off and _cut_off(of_sign, frame):
                cut_off += [line.quad for line in of_sign]
                continue
            background = np.mean([backgrounds[index] for index in sign], axis=0)
            found.append(Found(of_sign, background, tuple(strips.look_of(frame.bgr, line.quad) for line in of_sign)))
        unsure = not lines and self._unsure_box_threshold is not None and bool(self._maybe(frame))
        seconds = self._clock.monotonic() - start
        too_small = tuple(line.quad for line in lines if line_height(line.quad) < self._minimum_line_height)
        return Looked(tuple(found), too_small, unsure, seconds, tuple(cut_off))

    def _maybe(self, frame: Frame) -> Sequence[DetectedLine]:
        maybe = self._detector.detect(
            frame.bgr, longest_side=self._longest_side, box_threshold=self._unsure_box_threshold
        )
        return [line for line in maybe if line_height(line.quad) >= self._minimum_line_height]


def _cut_off(lines: Sequence[DetectedLine], frame: Frame) -> bool:
    """Whether a line reaches the edge of the view, unless the sign fills most of it: then there is no more to see."""
    height, width = frame.luma.shape
    points = np.concatenate([line.quad for line in lines])
    low, high = points.min(axis=0), points.max(axis=0)
    if (high - low)[0] > WIDE_SHARE * width:
        return False
    return bool((low < EDGE_PX).any() or (high > np.array([width, height]) - 1 - EDGE_PX).any())


def whole_frame(frame: Frame) -> Found:
    """A stand-in sign for a frame that is sent as a whole."""
    quad = strips.frame_quad(frame.bgr)
    background = strips.border_colour(frame.bgr, quad, margin=0.0)
    return Found((DetectedLine(quad, 0.0),), background, (), whole_frame=True)

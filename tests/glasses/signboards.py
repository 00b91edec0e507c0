"""Signs painted on a wall, and a camera that looks at it: pictures built in code for the tests of the glasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from glasses.camera import Frame, luma_of
from shared.geometry import Homography, ImageBgr, Quad, transform
from shared.models.detection import DetectedLine

FACE = cv2.FontFace("sans")
cv2.setNumThreads(1)  # as the process does


@dataclass
class Wall:
    """A textured wall with signs on it; `quads` are the lines of each sign, in pixels of the wall."""

    width: int = 1280
    height: int = 720
    seed: int = 1
    quads: list[list[Quad]] = field(default_factory=list)

    def __post_init__(self) -> None:
        noise = np.random.default_rng(self.seed).integers(0, 256, (self.height // 8, self.width // 8, 3), np.uint8)
        smooth = cv2.resize(noise, (self.width, self.height), interpolation=cv2.INTER_CUBIC)
        self.picture: ImageBgr = (smooth // 4 + 70).astype(np.uint8)

    def sign(
        self,
        text: str,
        x: int,
        y: int,
        *,
        size: int = 48,
        paper: tuple[int, int, int] = (40, 90, 20),
        ink: tuple[int, int, int] = (255, 255, 255),
    ) -> list[Quad]:
        """Paint a sign with its top-left corner at x, y; returns the quads of its lines."""
        lines = text.splitlines()
        widths = [cv2.getTextSize((0, 0), line, (0, 0), FACE, size, 500)[2] for line in lines]
        pitch = round(1.3 * size)
        corner = (x + max(widths) + size, y + pitch * len(lines) + size // 2)
        cv2.rectangle(self.picture, (x, y), corner, paper, -1)
        quads = []
        for index, (line, width) in enumerate(zip(lines, widths, strict=True)):
            left, base = x + size // 2, y + size + pitch * index + size // 8
            cv2.putText(self.picture, line, (left, base), ink, FACE, size, 500)
            top, bottom = base - size, base + size // 4
            quads.append(
                np.array([[left, top], [left + width, top], [left + width, bottom], [left, bottom]], np.float32)
            )
        self.quads.append(quads)
        return quads

    def seen(self, homography: Homography, size: tuple[int, int] = (1280, 720)) -> ImageBgr:
        """The wall through a camera; the homography maps the wall to the frame."""
        return np.asarray(cv2.warpPerspective(self.picture, homography, size, flags=cv2.INTER_AREA), dtype=np.uint8)


def shift(x: float, y: float, scale: float = 1.0) -> Homography:
    """Wall to frame, moved and scaled."""
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])


def frame_of(picture: ImageBgr, frame_id: int = 0, captured: float = 0.0) -> Frame:
    """A frame with this picture."""
    return Frame(frame_id, captured, picture, luma_of(picture))


def lines_of(quads: Sequence[Quad], homography: Homography | None = None) -> tuple[DetectedLine, ...]:
    """Lines as a detector would find them."""
    return tuple(DetectedLine(quad if homography is None else transform(homography, quad), 0.9) for quad in quads)


class WallDetector:
    """A detector that is told what there is; `maybe` are candidates it is unsure of, `once` is for the first look."""

    def __init__(
        self, lines: Sequence[DetectedLine] = (), maybe: Sequence[DetectedLine] = (), *, once: bool = False
    ) -> None:
        self._lines = list(lines)
        self._once = once
        self._maybe = list(maybe)
        self.looks = 0

    def detect(
        self, image_bgr: ImageBgr, *, longest_side: int = 960, box_threshold: float | None = None
    ) -> list[DetectedLine]:
        """See `glasses.finder.Detector`."""
        if box_threshold is not None:
            return self._maybe
        self.looks += 1
        return [] if self._once and self.looks > 1 else self._lines


class FakeClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def errors_between(expected: Quad, found: Any) -> float:
    """Largest distance of two quads' corners, in pixels."""
    return float(np.linalg.norm(expected - found, axis=1).max())

"""Reduced frames: what size they have, and how a Y plane becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses.stabiliser import Luma
from glasses.stabiliser.limits import MAXIMUM_FRAME_SIDE, MINIMUM_FRAME_SIDE, WORKING_SIDE
from shared.errors import FrameRefused, RegionRefused
from shared.geometry import Homography, Quad, area

SMALLEST_AREA_PX: Final = 16.0
"""A quad of less area holds no text; frame pixels squared."""
MAXIMUM_QUADS: Final = 64
"""Lines of one region."""


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """Sizes derived from the size of the frames.

    Attributes:
        width: of a frame, in its pixels.
        height: likewise.
        factor: frame pixels a working pixel, along each axis.
        sizes: width and height of levels 0, 1 and 2.
    """

    width: int
    height: int
    factor: int
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

    @classmethod
    def of(cls, width: int, height: int) -> FrameGeometry:
        """The geometry for frames of a size.

        Raises:
            FrameRefused: too small or too large.
        """
        if min(width, height) < MINIMUM_FRAME_SIDE or max(width, height) > MAXIMUM_FRAME_SIDE:
            raise FrameRefused(
                f"frames of {width}x{height} pixels cannot be followed",
                hint=f"sides of {MINIMUM_FRAME_SIDE} to {MAXIMUM_FRAME_SIDE} can",
            )
        factor = max(1, round(max(width, height) / WORKING_SIDE))
        # Level 0 is cropped so that each level halves without a rest: a pixel is the mean of exactly 2x2 below it.
        level0 = (width // factor // 4 * 4, height // factor // 4 * 4)
        level1 = (level0[0] // 2, level0[1] // 2)
        return cls(width, height, factor, (level0, level1, (level1[0] // 2, level1[1] // 2)))

    def check(self, luma: Luma) -> None:
        """Refuse what is no frame of this geometry.

        Raises:
            FrameRefused: not uint8, not (height, width), or with gaps between the pixels of a row.
        """
        if not isinstance(luma, np.ndarray) or luma.dtype != np.uint8:
            raise FrameRefused("a frame must be an array of uint8")
        if luma.shape != (self.height, self.width):
            raise FrameRefused(f"a frame has the shape {luma.shape}, not {(self.height, self.width)}")
        if luma.strides[1] != 1:
            raise FrameRefused("the pixels of a frame's row must lie side by side")

    def to_working(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """From frame pixels to working pixels, any shape (..., 2)."""
        return np.asarray((np.asarray(points, np.float64) + 0.5) / self.factor - 0.5)

    @property
    def scaling(self) -> Homography:
        """Homography from frame pixels to working pixels."""
        shift = 0.5 / self.factor - 0.5
        return np.array([[1 / self.factor, 0, shift], [0, 1 / self.factor, shift], [0, 0, 1.0]])

    @property
    def bytes_a_frame(self) -> int:
        """Of the three levels together."""
        return sum(width * height for width, height in self.sizes)

    def reduce(self, luma: Luma, half: Luma, quarter: Luma, eighth: Luma) -> None:
        """Write the three levels of a frame; area averages, rounded."""
        (width0, height0), size1, size2 = self.sizes
        whole = luma[: height0 * self.factor, : width0 * self.factor]
        if self.factor == 1:
            half[:] = whole
        else:
            cv2.resize(whole, (width0, height0), dst=half, interpolation=cv2.INTER_AREA)
        cv2.resize(half, size1, dst=quarter, interpolation=cv2.INTER_AREA)
        cv2.resize(quarter, size2, dst=eighth, interpolation=cv2.INTER_AREA)


def checked_quads(quads: Sequence[Quad], geometry: FrameGeometry) -> npt.NDArray[np.float64]:
    """The lines of a region in working pixels, float64 (n, 4, 2), clockwise.

    Args:
        quads: of its lines, frame pixels, each (4, 2).
        geometry: of the frames.

    Raises:
        RegionRefused: none or too many, a wrong shape, not finite, not convex, too small, or outside the picture.
    """
    if not 1 <= len(quads) <= MAXIMUM_QUADS:
        raise RegionRefused(f"a region has 1 to {MAXIMUM_QUADS} lines, not {len(quads)}")
    checked = []
    for quad in quads:
        corners = np.asarray(quad, np.float64)
        if corners.shape != (4, 2):
            raise RegionRefused(f"a quad has the shape (4, 2), not {corners.shape}")
        if not np.isfinite(corners).all():
            raise RegionRefused("a quad's corners must be finite")
        if area(corners.astype(np.float32)) < SMALLEST_AREA_PX or not _convex(corners):
            raise RegionRefused("a quad must be convex and hold some pixels")
        middle = corners.mean(axis=0)
        if not (0 <= middle[0] < geometry.width and 0 <= middle[1] < geometry.height):
            raise RegionRefused("a quad's middle must be in the picture")
        if np.abs(corners).max() > 4 * max(geometry.width, geometry.height):
            raise RegionRefused("a quad reaches too far out of the picture")
        checked.append(geometry.to_working(corners))
    return np.stack(checked)


def _convex(corners: npt.NDArray[np.float64]) -> bool:
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return bool((turns > 0).all() or (turns < 0).all())

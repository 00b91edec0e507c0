"""What past looks saw, carried along with the view: where in the newest frame is something not yet looked at?

Maps are coarse (`view_stats.Texture`, a cell is about 16 px), and a past look is kept as it was, with one homography
that is brought up to date: nothing is smeared by being warped again and again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from glasses.view_stats import Texture
from shared.geometry import Homography, Quad, transform

Mask: TypeAlias = npt.NDArray[np.uint8]

PARALLAX_CELLS: Final = 1
"""Signs hang in front of the wall by which the view's motion is measured: what was seen may lie so much further."""
SAME_CORRELATION: Final = 0.95
"""Two textures that correlate better show the same view: motion by half a cell gives more, by one cell less."""
FAINT: Final = 0.01
"""Root mean square of a texture below which there is nothing in it."""
SPANNING_SHARE: Final = 0.6
"""A piece that spans so much of the view is not waited for until it is in completely."""


@dataclass(frozen=True, slots=True, eq=False)
class PastLook:
    """One look, as remembered.

    Attributes:
        since: pixels of its frame → pixels of the newest one.
        texture: of its frame, read-only.
        sharpness: of its frame (`ViewStats.sharpness`); None when there was nothing to judge by.
    """

    since: Homography
    texture: Texture
    sharpness: float | None


@dataclass(frozen=True, slots=True)
class News:
    """What in the newest frame no look saw.

    Attributes:
        whole: mass of the heaviest piece that looks like text and is completely in the view; 0 when there is none. The
            mass of a connected piece is the sum of its cells' texture: long lines and strong contrast weigh most.
        cut: likewise, of those that run over the edge of the view.
        uncovered: share of the view that was in no look's frame, whatever it looks like; 0..1.
    """

    whole: float
    cut: float
    uncovered: float


def usable(motion: Homography | None) -> Homography | None:
    """The motion, unless a number in it is not finite, or it folds the view: a measurement that went wrong is none."""
    if motion is None or not np.isfinite(motion).all() or motion[2, 2] <= 0:
        return None
    return np.asarray(motion / motion[2, 2])


def unchanged(before: Texture, now: Texture) -> bool:
    """Whether two frames show the same in the same places; so they do when both show nothing."""
    if before.shape != now.shape:
        return False
    energies = float((before * before).sum()), float((now * now).sum())
    if max(energies) < FAINT**2 * now.size:
        return True
    return float((before * now).sum()) > SAME_CORRELATION * math.sqrt(energies[0] * energies[1])


def visible(quad: Quad, size: tuple[int, int]) -> bool:
    """Whether any of a quad's bounding box is in a view of this width and height; what is not finite is nowhere."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    return bool(np.isfinite(low + high).all() and (high > 0).all() and (low < np.array(size)).all())


def inside(quad: Quad, size: tuple[int, int], margin: float) -> bool:
    """Whether a quad is inside the view by a margin in pixels."""
    return bool((quad >= margin).all() and (quad <= np.array(size) - 1 - margin).all())


def scale_of(homography: Homography, size: tuple[int, int]) -> float:
    """How much larger a homography makes what it moves from the middle of the view; infinite when it turns it away.

    The square root of its Jacobian determinant there, det(H) / w**3 (Hartley & Zisserman, Multiple View Geometry,
    2.4).
    """
    (a, b, c), (d, e, f), (g, h, i) = homography.tolist()
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    depth = g * size[0] / 2 + h * size[1] / 2 + i
    ratio = determinant / depth**3 if depth else 0.0
    return float(ratio**0.5) if ratio > 0 else math.inf


def news(
    texture: Texture,
    size: tuple[int, int],
    looks: Sequence[PastLook],
    known: Sequence[Quad],
    *,
    floor: float,
    growth: float,
) -> News:
    """Compare a frame with the memory of all looks.

    Args:
        texture: of the newest frame.
        size: width and height of the frame, in pixels.
        looks: those whose word still counts.
        known: quads of the signs that are followed, in the newest frame: they need no look.
        floor: a cell looks like text from this texture on.
        growth: and is news when it is so many times what the looks saw there.
    """
    rows, columns = texture.shape
    to_cells, to_pixels = _grid(size, (rows, columns))
    remembered, covered = np.zeros_like(texture), np.zeros_like(texture)
    for look in looks:
        # One is added, to tell what was seen and empty from what was not seen.
        seen = np.asarray(
            cv2.warpPerspective(look.texture + 1, to_cells @ look.since @ to_pixels, (columns, rows)), np.float32
        )
        np.maximum(covered, seen, out=covered)
        np.maximum(remembered, seen - 1, out=remembered)
    spread = np.ones((2 * PARALLAX_CELLS + 1,) * 2, np.uint8)
    remembered = np.asarray(cv2.dilate(remembered, spread), np.float32)
    fresh = ((texture > floor) & (texture > growth * remembered)).astype(np.uint8)
    for quad in known:
        if visible(quad, size):
            cells = _in_cells(quad, size, (rows, columns))
            cv2.fillConvexPoly(fresh, cells, 0)
            # The blur of the texture spills over the sign's edge.
            cv2.polylines(fresh, [cells], True, 0, 3)
    whole, cut = _pieces(fresh, texture)
    return News(whole, cut, float(np.mean(covered < 0.5)))


def _pieces(fresh: Mask, texture: Texture) -> tuple[float, float]:
    """Mass of the heaviest connected piece that is whole, and of the heaviest that runs over the edge."""
    if not fresh.any():
        return 0.0, 0.0
    rows, columns = fresh.shape
    # Letters far apart are one piece.
    joined = cv2.dilate(fresh, np.ones((1, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    masses = np.bincount(labels.ravel(), weights=(texture * fresh).ravel(), minlength=count)
    whole = cut = 0.0
    for mass, (left, top, width, height, _) in zip(masses[1:].tolist(), stats[1:].tolist(), strict=True):
        at_edge = left <= 1 or top <= 1 or left + width >= columns - 1 or top + height >= rows - 1
        if at_edge and width < SPANNING_SHARE * columns:
            cut = max(cut, mass)
        else:
            whole = max(whole, mass)
    return whole, cut


@lru_cache(maxsize=4)
def _grid(size: tuple[int, int], shape: tuple[int, int]) -> tuple[Homography, Homography]:
    """Pixels → cells, both with integer centres, and back."""
    x, y = shape[1] / size[0], shape[0] / size[1]
    grid = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])
    return grid, np.linalg.inv(grid)


def _in_cells(quad: Quad, size: tuple[int, int], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    # Clipped, for OpenCV draws with 16-bit coordinates.
    return np.clip(transform(_grid(size, shape)[0], quad).round(), -999, 999).astype(np.int32)

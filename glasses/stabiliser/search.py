"""Looking for a plane that was lost: its keyframe, warped as it should look now, is searched for in the picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses.stabiliser import Luma
from glasses.stabiliser.grouping import corners_of
from shared.geometry import Homography

PEAKS: Final = 3
"""Places tried, best first."""
PEAK_MATCH: Final = 0.35
"""Places that look less alike are not tried."""
SMALLEST_PATCH: Final = (8, 5)
LARGEST_SHARE: Final = 0.9
"""Of the picture's sides: a larger patch has no room to be searched for."""
SCALES: Final = (1.0, 0.8, 1.25)
"""Sizes tried once a plane has been lost for long."""
TO_LEVEL1: Final = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1.0]])
FROM_LEVEL1: Final = np.linalg.inv(TO_LEVEL1)

Box = npt.NDArray[np.float64]


def candidates(
    keyframe: Luma, now: Luma, expected: Homography, box: Box, reach: int, *, scales: bool
) -> Iterator[Homography]:
    """Where a plane may be.

    Args:
        keyframe: level 1 of its keyframe, uint8 (height, width).
        now: level 1 of the present frame.
        expected: keyframe → present frame, working pixels.
        box: corners around the plane in the keyframe, working pixels, (4, 2).
        reach: pixels of level 1 around the expected place; the whole picture when it is as large.
        scales: whether to try other sizes as well.

    Yields:
        Homographies keyframe → present frame, working pixels, best first for each size.
    """
    height, width = now.shape
    for scale in SCALES if scales else SCALES[:1]:
        middle = corners_of(expected, box).mean(axis=0)
        grow = np.array([[scale, 0, middle[0] * (1 - scale)], [0, scale, middle[1] * (1 - scale)], [0, 0, 1.0]])
        sized = grow @ expected
        corners = corners_of(TO_LEVEL1 @ sized, box)
        if not np.isfinite(corners).all() or np.abs(corners).max() > 4 * width:
            continue
        x0, y0 = np.floor(corners.min(axis=0)).astype(int)
        x1, y1 = np.ceil(corners.max(axis=0)).astype(int) + 1
        # Only as much of it as the picture has room for.
        wide, high = min(x1 - x0, int(LARGEST_SHARE * width)), min(y1 - y0, int(LARGEST_SHARE * height))
        if wide < SMALLEST_PATCH[0] or high < SMALLEST_PATCH[1]:
            continue
        shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1.0]])
        patch = cv2.warpPerspective(
            keyframe,
            shift @ TO_LEVEL1 @ sized @ FROM_LEVEL1,
            (int(wide), int(high)),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        left, top = max(x0 - reach, 0), max(y0 - reach, 0)
        right, bottom = min(x0 + wide + reach, width), min(y0 + high + reach, height)
        if right - left < wide or bottom - top < high or patch.std() < 2.0:
            continue
        score = cv2.matchTemplate(now[top:bottom, left:right], patch, cv2.TM_CCOEFF_NORMED)
        for _ in range(PEAKS):
            _, best, _, (column, row) = cv2.minMaxLoc(score)
            if not best > PEAK_MATCH:
                break
            move = np.array([[1, 0, 2.0 * (left + column - x0)], [0, 1, 2.0 * (top + row - y0)], [0, 0, 1.0]])
            yield np.asarray(move @ sized)
            around = (max(2, wide // 4), max(2, high // 4))
            score[
                max(row - around[1], 0) : row + around[1] + 1, max(column - around[0], 0) : column + around[0] + 1
            ] = -1

"""Procedural shop fronts: what hangs behind the signs of the street walk. No letters, no photographs."""

from __future__ import annotations

import cv2
import numpy as np

from shared.geometry import ImageBgr

SCALE = 80
"""Texture pixels a metre."""
PLASTER = ((150, 180, 200), (120, 135, 175), (175, 185, 180), (110, 150, 190), (160, 160, 150), (130, 165, 150))
PAVEMENT_TOP_M = 7.4


def shop_fronts(rng: np.random.Generator, *, length_m: int = 30, height_m: int = 10) -> ImageBgr:
    """A row of facades of plaster or brick with windows, doors and a pavement.

    Returns:
        uint8 BGR of shape (height_m * SCALE, length_m * SCALE, 3).
    """
    width, height = length_m * SCALE, height_m * SCALE
    wall = np.zeros((height, width, 3), np.uint8)
    left = 0
    while left < width:
        right = left + int(rng.integers(4 * SCALE, 6 * SCALE))
        colour = np.array(PLASTER[int(rng.integers(len(PLASTER)))])
        wall[:, left:right] = colour
        if rng.random() < 0.5:
            _bricks(wall[:, left:right], colour)
        for storey in range(2):
            for x in range(left + SCALE // 2, right - SCALE, int(1.5 * SCALE)):
                _window(wall, x, int((0.4 + storey * 2.2) * SCALE))
        _door(wall, left + int(rng.integers(SCALE // 2, right - left - int(1.4 * SCALE))), rng)
        left = right
    pavement = int(PAVEMENT_TOP_M * SCALE)
    wall[pavement:] = (120, 122, 125)
    for joint in range(0, width, SCALE):
        wall[pavement:, joint : joint + 2] = (95, 95, 98)
    grain = rng.normal(0, 5, (height // 2, width // 2)).astype(np.float32)
    grain = np.asarray(cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(np.clip(wall.astype(np.float32) + grain[..., None], 0, 255), np.uint8)


def _bricks(wall: ImageBgr, colour: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
    mortar = (colour * 0.8).astype(np.uint8)
    for course, y in enumerate(range(0, wall.shape[0], 10)):
        wall[y] = mortar
        wall[y : y + 10, 12 * (course % 2) :: 24] = mortar


def _window(wall: ImageBgr, x: int, y: int) -> None:
    corner = (x + int(0.9 * SCALE), y + int(1.3 * SCALE))
    cv2.rectangle(wall, (x, y), corner, (70, 60, 55), -1)
    cv2.rectangle(wall, (x, y), corner, (225, 225, 225), 4)
    glint = np.array([[x + 8, y + 60], [x + 40, y + 10], [x + 52, y + 10], [x + 12, y + 80]], np.int32)
    cv2.fillConvexPoly(wall, glint, (110, 100, 90))


def _door(wall: ImageBgr, x: int, rng: np.random.Generator) -> None:
    blue, green, red = (int(channel) for channel in rng.integers(30, 110, 3))
    cv2.rectangle(wall, (x, int(5.2 * SCALE)), (x + SCALE, int(PAVEMENT_TOP_M * SCALE)), (blue, green, red), -1)
    cv2.circle(wall, (x + SCALE - 12, int(6.4 * SCALE)), 4, (60, 200, 220), -1)

"""Textured rectangles in the world, and what they hide."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from simulations.sequences.motion import Vector

Grey = npt.NDArray[np.uint8]

MARGIN: Final = 16
"""Transparent texture pixels around a surface, so that its edges are blended at every reduction."""
LEVELS: Final = 5
"""Of the texture, each half the one before: the smallest still has a pixel of margin."""


@dataclass(frozen=True, slots=True)
class Passage:
    """How a surface passes by, again and again: there, and back the next time.

    Attributes:
        speed: m/s along x.
        reach: metres; each passage is from one end of ±reach to the other.
        period: seconds between the starts of two passages.
        phase: seconds after the start of a passage at time 0.
    """

    speed: float
    reach: float
    period: float
    phase: float

    def offsets(self, times: Vector) -> Vector:
        """Displacement in metres, (n, 3), at `times` (n,)."""
        passage, since = np.divmod(times + self.phase, self.period)
        along = np.minimum(self.speed * since - self.reach, self.reach)
        side = np.where(passage % 2 == 0, along, -along)
        bob = 0.02 * np.abs(np.sin(np.pi * 1.9 * times))
        return np.stack([side, bob, np.zeros_like(side)], axis=1)


@dataclass(frozen=True, eq=False)
class Surface:
    """A textured rectangle; what is transparent in its texture is not there.

    A texture pixel (u, v), with integer centres, lies at `origin + u * across + v * down`. It is seen from the side
    from which `across` points right and `down` points down.

    Attributes:
        levels: grey and cover (255: all there), uint8 of shape (2, rows, columns); pixel i of a level lies at pixel
            2i of the one before.
        origin: metres.
        across: metres per texture pixel.
        down: metres per texture pixel, at right angles to `across`.
        passage: how it moves, if it does.
        wall: whether it is seen in part when the rest of it is beside or behind the wearer. Others are not seen then.
    """

    levels: tuple[Grey, ...] = field(repr=False)
    origin: Vector
    across: Vector
    down: Vector
    passage: Passage | None = None
    wall: bool = False

    @cached_property
    def normal(self) -> Vector:
        """At right angles to it, away from those who see it; of any length."""
        return np.asarray(np.cross(self.across, self.down))

    @cached_property
    def corners(self) -> Vector:
        """Texture points of the corners of what can be seen, clockwise, (4, 2)."""
        return self._edge(1)

    @cached_property
    def outline(self) -> Vector:
        """Texture points along the edge of what can be seen, clockwise, (24, 2)."""
        return self._edge(6)

    def origins(self, times: Vector) -> Vector:
        """Where texture pixel (0, 0) is at `times` (n,): metres, (n, 3)."""
        still = np.broadcast_to(self.origin, (len(times), 3))
        return still if self.passage is None else still + self.passage.offsets(times)

    def points(self, texture_points: npt.NDArray[np.floating], times: Vector) -> Vector:
        """World positions (n, 3) of texture points (n, 2) at `times`, (n,) or (1,)."""
        return self.origins(times) + texture_points[:, :1] * self.across + texture_points[:, 1:] * self.down

    def _edge(self, per_side: int) -> Vector:
        rows, columns = self.levels[0].shape[1:]
        left, right, low = MARGIN - 0.5, columns - MARGIN - 0.5, rows - MARGIN - 0.5
        corners = np.array([[left, left], [right, left], [right, low], [left, low]])
        part = np.arange(per_side)[:, None] / per_side
        return np.concatenate([a + part * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])

    def hides(self, eyes: Vector, targets: Vector, times: Vector) -> npt.NDArray[np.bool_]:
        """Whether the surface is in the way from each eye to its target (n, 3) at `times` (n,); bool of shape (n,)."""
        origins = self.origins(times)
        sight = targets - eyes
        along = sight @ self.normal
        part = ((origins - eyes) @ self.normal) / np.where(np.abs(along) < 1e-12, 1e-12, along)
        hit = eyes + part[:, None] * sight - origins
        u = np.rint(hit @ self.across / (self.across @ self.across))
        v = np.rint(hit @ self.down / (self.down @ self.down))
        rows, columns = self.levels[0].shape[1:]
        inside = (part > 0) & (part < 1 - 1e-6) & (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
        cover = self.levels[0][1, np.where(inside, v, 0).astype(int), np.where(inside, u, 0).astype(int)]
        return np.asarray(inside & (cover > 127))


def hang(
    texture: Grey,
    centre: tuple[float, float, float],
    width: float,
    *,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    cover: Grey | None = None,
    passage: Passage | None = None,
    wall: bool = False,
) -> Surface:
    """Put a texture into the world.

    The margin is added around it: texture pixel (u, v) of the argument is (u + MARGIN, v + MARGIN) of the surface.

    Args:
        texture: uint8 of shape (rows, columns).
        centre: of the texture, metres.
        width: of the texture, metres; its height follows.
        yaw_deg: 0 faces someone who looks along z; positive turns the right side away.
        pitch_deg: positive turns the lower side towards the wearer.
        cover: where the texture is there; all of it without this.
        passage: see `Surface`.
        wall: see `Surface`.
    """
    rows, columns = texture.shape
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    step = width / columns
    right = np.array([np.cos(yaw), 0.0, np.sin(yaw)])
    ahead = np.array([-np.sin(yaw), 0.0, np.cos(yaw)])
    down = np.array([0.0, np.cos(pitch), 0.0]) - np.sin(pitch) * ahead
    across, down = step * right, step * down
    middle = np.array([columns - 1, rows - 1]) / 2 + MARGIN
    origin = np.array(centre) - middle[0] * across - middle[1] * down
    grey = np.pad(texture, MARGIN, mode="edge")
    there = np.pad(np.full_like(texture, 255) if cover is None else cover, MARGIN)
    levels = [np.asarray(np.stack([grey, there]), np.uint8)]
    while len(levels) < LEVELS and min(levels[-1].shape[1:]) > 32:
        levels.append(np.asarray(np.stack([cv2.pyrDown(plane) for plane in levels[-1]]), np.uint8))
    return Surface(tuple(levels), origin, across, down, passage, wall)

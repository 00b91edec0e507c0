"""The stabiliser: where every known sign is in the newest frame.

This is the seam: the firmware knows only what is in this module. Coordinates are pixels of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.geometry import Homography, Quad


class PoseState(Enum):
    """How a pose was found."""

    TRACKED = "tracked"
    """Measured in this frame."""
    PREDICTED = "predicted"
    """Not measured: carried on by the motion of the view."""
    LOST = "lost"
    """Not measured for too long, or out of the frame."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where one region is now.

    Attributes:
        homography: maps pixels of the region's keyframe (the frame it was added with) to the newest frame.
        state: how it was found.
        quality: 0..1, agreement of the region with its keyframe (zero-mean normalised cross-correlation of its
            pixels when last measured).
    """

    homography: Homography
    state: PoseState
    quality: float


@dataclass(frozen=True, slots=True)
class View:
    """What one frame told.

    Attributes:
        frame_id: of the frame.
        captured: monotonic seconds.
        poses: by region id.
        motion: maps pixels of the previous frame to this one, for the view as a whole; None when it could not
            be measured (a cut, a blur, a blank wall).
    """

    frame_id: int
    captured: float
    poses: Mapping[int, Pose]
    motion: Homography | None = field(default=None)


class Stabiliser(Protocol):
    """Follows planar regions from frame to frame. Not thread-safe: one thread at a time."""

    def observe(
        self,
        frame_id: int,
        luma: npt.NDArray[np.uint8],
        captured: float,
        rotation: Homography | None = None,
    ) -> View:
        """Find every region in a new frame.

        Args:
            frame_id: greater than any before.
            luma: Y plane, uint8 of shape (height, width), the same for all frames.
            captured: monotonic seconds.
            rotation: the gyro's homography from the previous frame to this one; None without a gyro.
        """
        ...

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> Pose:
        """Follow a region from a frame seen earlier on, and carry it to the newest frame.

        That frame becomes the region's keyframe. A known region starts anew from it.

        Args:
            region_id: the caller's name for it.
            quads: its lines in the frame `frame_id`.
            frame_id: an observed frame; when it is too old to be remembered, the pose is LOST.
        """
        ...

    def remove(self, region_id: int) -> None:
        """Forget a region; unknown ones are ignored."""
        ...

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

Luma = npt.NDArray[np.uint8]


class PoseState(Enum):
    """How a pose was found."""

    TRACKED = "tracked"
    """Measured in this frame."""
    PREDICTED = "predicted"
    """Not measured: carried on by the motion of the view, or by that of the plane it is on."""
    LOST = "lost"
    """Not measured for too long, or out of the frame."""


@dataclass(frozen=True, slots=True)
class GyroSamples:
    """Readings of the gyro since the frame before.

    Attributes:
        times: monotonic seconds on the clock of the frames, float64 of shape (n,), rising.
        rates: angular velocity of the camera in its own axes (x right, y down, z forward), rad/s, float64 of shape
            (n, 3); each is the mean rate from its time on to the next.
    """

    times: npt.NDArray[np.float64]
    rates: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where one region is now.

    Attributes:
        homography: maps pixels of the region's keyframe (the frame it was added with) to the newest frame.
        state: how it was found.
        quality: 0..1, agreement with the keyframe (zero-mean normalised cross-correlation of the pixels of the
            region's plane when last measured, fading from then on).
        keyframe: id of that keyframe.
    """

    homography: Homography
    state: PoseState
    quality: float
    keyframe: int


@dataclass(frozen=True, slots=True)
class View:
    """What one frame told.

    Attributes:
        frame_id: of the frame.
        captured: monotonic seconds.
        poses: by region id; a region that was added and is not yet caught up with has none.
        motion: maps pixels of the previous frame to this one, for the view as a whole; None when neither the picture
            (a cut, a blank wall) nor a gyro could tell.
    """

    frame_id: int
    captured: float
    poses: Mapping[int, Pose]
    motion: Homography | None = field(default=None)


class Stabiliser(Protocol):
    """Follows planar regions from frame to frame. Not thread-safe: one thread at a time."""

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """Find every region in a new frame.

        Args:
            frame_id: greater than any before.
            luma: Y plane, uint8 of shape (height, width), the same for all frames.
            captured: monotonic seconds, later than any before.
            gyro: readings since the frame before; None without a gyro.

        Raises:
            FrameRefused: the frame has a wrong shape or type, or is older than the one before.
        """
        ...

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """Follow a region from a frame seen earlier on, and carry it to the newest frame.

        That frame becomes the region's keyframe. A known region keeps its old keyframe until the new one is caught up
        with, which takes a few frames: `Pose.keyframe` tells. A region whose frame is too old to be remembered, whose
        quads hold nothing to follow, or for which there is no room (`limits.PLANES`), never gets a pose; a known one
        keeps the one it has.

        Args:
            region_id: the caller's name for it.
            quads: its lines in the frame `frame_id`, each float32 of shape (4, 2).
            frame_id: an observed frame.

        Raises:
            RegionRefused: a quad is degenerate, not finite, or outside the picture.
        """
        ...

    def remove(self, region_id: int) -> None:
        """Forget a region; unknown ones are ignored."""
        ...

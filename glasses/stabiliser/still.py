"""The stabiliser of a picture that does not move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from glasses.stabiliser.pyramid import FrameGeometry, checked_quads
from shared.errors import FrameRefused
from shared.geometry import Quad


class StillStabiliser:
    """Implements `glasses.stabiliser.Stabiliser`: every region stays where it was found."""

    def __init__(self) -> None:
        self._keyframes: dict[int, int] = {}
        self._newest = -1
        self._geometry: FrameGeometry | None = None

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """See `glasses.stabiliser.Stabiliser.observe`."""
        if frame_id <= self._newest:
            raise FrameRefused(f"frame {frame_id} is not later than frame {self._newest}")
        self._newest = frame_id
        self._geometry = FrameGeometry(luma.shape[1], luma.shape[0], 1, ((0, 0), (0, 0), (0, 0)))
        poses = {
            region_id: Pose(np.eye(3), PoseState.TRACKED, 1.0, keyframe)
            for region_id, keyframe in self._keyframes.items()
        }
        return View(frame_id, captured, poses, np.eye(3))

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """See `glasses.stabiliser.Stabiliser.add`."""
        if self._geometry is not None:
            checked_quads(quads, self._geometry)
        self._keyframes[region_id] = frame_id

    def remove(self, region_id: int) -> None:
        """See `glasses.stabiliser.Stabiliser.remove`."""
        self._keyframes.pop(region_id, None)

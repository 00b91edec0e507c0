"""What the gyro alone tells: the homography of a camera that only turns."""

from __future__ import annotations

import cv2
import numpy as np

from glasses.stabiliser import GyroSamples
from shared.geometry import Homography


def turn_between(gyro: GyroSamples, start: float, end: float, focal_px: float, size: tuple[int, int]) -> Homography:
    """The homography frame → frame of a pinhole camera that turned between two moments and did not move.

    Directions turn against the camera: K·R·K⁻¹ with R the rotation by -∫ω dt (Hartley & Zisserman, "Multiple View
    Geometry", 2nd ed., section 8.4.2). The integral is taken as one rotation vector, which is exact for a fixed axis
    and good to about 1e-3 rad for a head between two frames. The first reading is held back to `start`, the last one
    on to `end`.

    Args:
        gyro: readings, rad/s in the camera's axes.
        start: seconds.
        end: seconds, later.
        focal_px: focal length in frame pixels.
        size: width and height of the frame, pixels; the principal point is the middle.
    """
    if not len(gyro.times):
        return np.eye(3)
    edges = np.clip(np.append(gyro.times, end), start, end)
    edges[0] = start
    vector = -(gyro.rates * np.diff(edges)[:, None]).sum(axis=0)
    camera = np.array([[focal_px, 0, (size[0] - 1) / 2], [0, focal_px, (size[1] - 1) / 2], [0, 0, 1.0]])
    rotation = np.asarray(cv2.Rodrigues(vector)[0], dtype=np.float64)
    return np.asarray(camera @ rotation @ np.linalg.inv(camera), dtype=np.float64)

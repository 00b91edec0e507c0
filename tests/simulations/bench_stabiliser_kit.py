"""For the stabiliser's bench: a made-up sequence of two signs that shift, and a contender that knows how."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from shared.geometry import Quad
from simulations.bench.stabiliser.contenders import CameraFacts, Contender
from simulations.bench.stabiliser.measures import Recording, RegionTrack
from simulations.sequences import FRAME_RATE, RegionTruth, SequenceFrame

STEP = np.array([3.0, 1.0], np.float32)
"""Pixels the whole view moves per frame."""


def quad_at(x: float, y: float) -> Quad:
    return np.array([[x, y], [x + 80, y], [x + 80, y + 20], [x, y + 20]], np.float32)


SIGNS = {1: (quad_at(100, 100), quad_at(100, 130)), 2: (quad_at(400, 300),)}
SILENT = GyroSamples(np.empty(0), np.empty((0, 3)))


def made_up_frames(count: int, hidden: dict[int, set[int]] | None = None) -> list[SequenceFrame]:
    """Frames in which sign k is hidden in the frames `hidden[k]`."""
    hidden = hidden or {}
    frames = []
    for index in range(count):
        regions = {
            sign: RegionTruth(tuple(line + STEP * index for line in lines), index not in hidden.get(sign, set()))
            for sign, lines in SIGNS.items()
        }
        luma = np.zeros((36, 64), np.uint8)
        frames.append(SequenceFrame(index, index / FRAME_RATE, luma, SILENT, regions))
    return frames


class Shifting:
    """A contender that knows how the view moves, and is wrong by so many pixels a frame since the keyframe."""

    def __init__(self, drift: float = 0.0, offset: float = 0.0, lost: Sequence[int] = ()) -> None:
        self.drift = drift
        self.offset = offset
        self.lost = set(lost)
        self.added: dict[int, tuple[int, int]] = {}
        self.newest = -1
        self.quads: dict[int, tuple[Quad, ...]] = {}

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        self.newest = frame_id
        poses = {}
        for region, (keyframe, _) in self.added.items():
            passed = frame_id - keyframe
            homography = np.eye(3)
            homography[:2, 2] = STEP * passed + [self.offset + self.drift * passed, 0]
            state = PoseState.LOST if frame_id in self.lost else PoseState.TRACKED
            poses[region] = Pose(homography, state, 1.0, keyframe)
        return View(frame_id, captured, poses)

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        self.added[region_id] = (frame_id, self.newest)
        self.quads[region_id] = tuple(quads)

    def remove(self, region_id: int) -> None:
        self.added.pop(region_id, CameraFacts())


def contender_of(stabiliser: Any, **options: Any) -> Contender:
    return Contender("fake", "a fake", lambda camera: nullcontext(stabiliser), **options)


def track_of(distances: Sequence[float | None], visible: Sequence[int] | None = None) -> RegionTrack:
    """One line, off to the right by so much in each frame; None for lost."""
    count = len(distances)
    offsets = np.zeros((count, 1, 4, 2), np.float32)
    offsets[..., 0] = np.array([np.nan if d is None else d for d in distances])[:, None, None]
    offsets[np.isnan(offsets[..., 0])] = np.nan
    seen = np.ones(count, np.bool_) if visible is None else np.array(visible, np.bool_)
    return RegionTrack(offsets, seen, np.ones(count, np.bool_), np.array([d is not None for d in distances]))


def recording_of(*tracks: RegionTrack, cpu: Sequence[float] | None = None) -> Recording:
    count = len(tracks[0].visible)
    times = np.full(count, 1e-3) if cpu is None else np.array(cpu)
    return Recording(0.1, times, 2 * times, np.full(count, 5e-4), np.zeros(count), dict(enumerate(tracks)))

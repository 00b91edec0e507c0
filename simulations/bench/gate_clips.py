"""Clips for the bench of the gate: what each frame looks like to a gate, and which signs can be read in it.

Everything a gate needs is measured once per clip, so that several gates can be compared, and constants chosen, without
drawing the frames again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from glasses.camera import luma_of
from glasses.finder import EDGE_PX
from glasses.stabiliser import Luma
from glasses.view_stats import ViewStats, measure
from shared.geometry import Homography, Quad, side_lengths, transform
from simulations.scene import EXPOSURE_S, HEIGHT, WIDTH, HeadPose, StreetSign, StreetWalk
from simulations.sequences import FRAME_RATE
from simulations.sequences.catalogue import WorldSequence

SIZE = (WIDTH, HEIGHT)
READABLE_HEIGHT_PX = 12.0
READABLE_TRAVEL_PX = 3.0
"""Text that moves further during the exposure is taken to be smeared beyond reading."""
WALL_POINTS = 41


@dataclass(frozen=True, slots=True)
class SignTruth:
    """One sign in one frame.

    Attributes:
        lines: quads of its lines, frame pixels.
        inside: all of it is in the view and nothing is in front of it.
        readable: and it is large and still enough.
    """

    lines: tuple[Quad, ...]
    inside: bool
    readable: bool


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One frame.

    Attributes:
        now: seconds.
        motion: previous frame → this one; None where it cannot be told.
        stats: what the gate measures.
        laplacian: variance of the Laplacian of the luma at a quarter of its size, for the former gate.
        measured_ms: time `measure` took.
        signs: the truth, by sign.
    """

    now: float
    motion: Homography | None
    stats: ViewStats
    laplacian: float
    measured_ms: float
    signs: Mapping[int, SignTruth]


@dataclass(frozen=True, slots=True)
class Clip:
    """A sequence, measured."""

    name: str
    seed: int
    frames: tuple[ClipFrame, ...]


def street(seed: int) -> Clip:
    """The street walk at 30 frames a second; the motion of the view is that of the shop fronts."""
    walk = StreetWalk(seed)

    def frames() -> Iterator[ClipFrame]:
        wall: Homography | None = None
        for step in range(int(walk.duration * FRAME_RATE)):
            now = step / FRAME_RATE
            pose = walk.pose(now)
            before, wall = wall, walk._wall.to_image(pose.rotation, pose.position)
            motion = None if before is None else np.asarray(wall @ np.linalg.inv(before))
            ends = [walk.pose(now + side * EXPOSURE_S) for side in (-0.5, 0.5)]
            signs = {}
            for index, sign in enumerate(walk.signs):
                lines = _lines(sign, pose)
                travel = _travel(_lines(sign, ends[0]), _lines(sign, ends[1]))
                signs[index] = _truth(lines, travel, visible=True)
            yield _frame(now, luma_of(walk.render(now)), motion, signs)

    return Clip("street", seed, tuple(frames()))


def world_clip(sequence: WorldSequence) -> Clip:
    """A sequence with ground truth; the motion of the view is that of the wall ahead."""

    def frames() -> Iterator[ClipFrame]:
        before: float | None = None
        for frame in sequence.frames():
            now, half = frame.captured, sequence.camera.exposure_s / 2
            start, end = sequence.truth(now - half), sequence.truth(now + half)
            signs = {}
            for index, region in frame.regions.items():
                if index in start and index in end:
                    travel = _travel(start[index].lines, end[index].lines)
                    signs[index] = _truth(region.lines, travel, visible=region.visible)
            motion = None if before is None else _wall_motion(sequence, before, now)
            yield _frame(now, frame.luma, motion, signs)
            before = now

    return Clip(sequence.name, sequence.seed, tuple(frames()))


def _wall_motion(sequence: WorldSequence, before: float, now: float) -> Homography | None:
    """Where the plane of the wall ahead went from one time to the other; None when it is not in view."""
    wall = sequence.world.backdrop
    low, high = wall.corners.min(axis=0), wall.corners.max(axis=0)
    # The plane goes on where the wall ends.
    u, v = (np.linspace(a - (b - a), b + (b - a), WALL_POINTS) for a, b in zip(low, high, strict=True))
    points = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    here, depth, _ = sequence.camera.see(wall, points, sequence.trajectory, before)
    there, later_depth, _ = sequence.camera.see(wall, points, sequence.trajectory, now)
    margin = np.array(SIZE) / 2
    seen = (depth > 0) & (later_depth > 0) & (np.abs(here - margin) < 2 * margin).all(axis=1)
    if seen.sum() < 4:
        return None
    motion = cv2.findHomography(here[seen], there[seen])[0]
    return None if motion is None else np.asarray(motion, np.float64)


def _lines(sign: StreetSign, pose: HeadPose) -> tuple[Quad, ...]:
    rows, columns = sign.surface.texture.shape[:2]
    unit = np.array([[1 / columns, 0, 0.5 / columns], [0, 1 / rows, 0.5 / rows], [0, 0, 1]])
    homography = sign.surface.to_image(pose.rotation, pose.position) @ unit
    corners = np.concatenate(sign.quads)
    if ((np.c_[corners, np.ones(len(corners))] @ homography[2]) <= 0).any():
        return tuple(np.full((4, 2), -1e6, np.float32) for _ in sign.quads)  # behind the wearer
    return tuple(transform(homography, quad) for quad in sign.quads)


def _travel(start: tuple[Quad, ...], end: tuple[Quad, ...]) -> float:
    """How far the corner that moves most moves, in pixels."""
    return max(float(np.linalg.norm(a - b, axis=1).max()) for a, b in zip(start, end, strict=True))


def within_view(lines: tuple[Quad, ...]) -> bool:
    """Whether the detector will take these lines for complete."""
    points = np.concatenate(lines)
    return bool((points >= EDGE_PX).all() and (points <= np.array(SIZE) - 1 - EDGE_PX).all())


def _truth(lines: tuple[Quad, ...], travel: float, *, visible: bool) -> SignTruth:
    large = min(min(side_lengths(line)) for line in lines) >= READABLE_HEIGHT_PX
    inside = visible and within_view(lines)
    return SignTruth(lines, inside, inside and large and travel < READABLE_TRAVEL_PX)


def _frame(now: float, luma: Luma, motion: Homography | None, signs: Mapping[int, SignTruth]) -> ClipFrame:
    start = time.perf_counter()
    stats = measure(luma)
    measured_ms = (time.perf_counter() - start) * 1e3
    quarter = cv2.resize(luma, (luma.shape[1] // 4, luma.shape[0] // 4), interpolation=cv2.INTER_AREA)
    laplacian = float(cv2.Laplacian(quarter, cv2.CV_32F).var())
    return ClipFrame(now, motion, stats, laplacian, measured_ms, signs)

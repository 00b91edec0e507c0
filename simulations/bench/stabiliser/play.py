"""Plays a sequence to one contender and records what it says.

Signs visible in the first frame are added with their true quads at once. One that becomes visible later is found in the
first frame in which it moves slowly enough to be read (`READABLE_PX`: nobody detects text in motion blur), is added
`DETECTION_FRAMES` later with its quads of then, as a detector beside the frame path would do it, and counts from
`SETTLE_FRAMES` after that. Nothing is ever added again, and nobody is told which signs lie on one plane.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from glasses.stabiliser import Luma, PoseState, Stabiliser, View
from shared.errors import RegionRefused
from shared.geometry import Homography, Quad
from simulations.bench.stabiliser.contenders import CameraFacts, Contender, SelfTimed, WithWorker
from simulations.bench.stabiliser.measures import Recording, RegionTrack
from simulations.sequences import FRAME_RATE, SequenceFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

DETECTION_FRAMES: Final = 5
SETTLE_FRAMES: Final = 10
READABLE_PX: Final = 8.0
"""Pixels from one frame to the next: at 30 frames a second and 10 ms of exposure, a blur of 2.4 px."""
WARM_FRAMES: Final = 15
LINES_PER_REGION: Final = 1000
"""Where each line is a region of its own, its number is the sign's times this, plus the line's."""


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """As in the glasses' own process: collected before, not during."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Floor:
    """What every stabiliser has to do first: halve the frame by area, into memory that is there already."""

    def __init__(self) -> None:
        self._half: Luma = np.empty((0, 0), np.uint8)

    def measure(self, luma: Luma) -> float:
        """Halve a frame; seconds of the thread's CPU."""
        height, width = luma.shape
        if self._half.shape != (height // 2, width // 2):
            self._half = np.zeros((height // 2, width // 2), np.uint8)
        start = time.thread_time()
        cv2.resize(luma, (width // 2, height // 2), dst=self._half, interpolation=cv2.INTER_AREA)
        return time.thread_time() - start


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds one `observe` took: CPU of its thread, and by the clock."""

    cpu: float
    wall: float


def observe(stabiliser: Stabiliser, contender: Contender, frame: SequenceFrame) -> tuple[View, Times]:
    """Show a frame to a contender, with the gyro if it takes it."""
    gyro = frame.gyro if contender.gyro else None
    wall, cpu = time.perf_counter(), time.thread_time()
    view = stabiliser.observe(frame.frame_id, frame.luma, frame.captured, gyro)
    times = Times(time.thread_time() - cpu, time.perf_counter() - wall)
    if isinstance(stabiliser, SelfTimed):
        times = Times(stabiliser.observe_cpu, stabiliser.observe_wall)
    return view, times


def moved(homography: Homography, quad: Quad) -> Quad:
    """A quad through a homography, float32 of shape (4, 2); NaN or infinite where that makes no sense."""
    with np.errstate(all="ignore"):
        points = np.column_stack([quad.astype(np.float64), np.ones(4)]) @ homography.T
        return np.asarray(points[:, :2] / points[:, 2:], dtype=np.float32)


class Cast:
    """The signs of a run and the regions that stand for them.

    Args:
        contender: tells whether each line is a region of its own.
    """

    def __init__(self, contender: Contender) -> None:
        self._per_line = contender.per_line
        self._quads: dict[tuple[int, int], tuple[Quad, ...]] = {}
        self.added_cpu: list[float] = []
        self.refused = 0

    def add(self, stabiliser: Stabiliser, sign: int, lines: Sequence[Quad], frame_id: int) -> None:
        """Add a sign with its quads in a frame; what the contender refuses stays without a pose."""
        parts = [(index, (line,)) for index, line in enumerate(lines)] if self._per_line else [(0, tuple(lines))]
        for index, quads in parts:
            region = sign * LINES_PER_REGION + index if self._per_line else sign
            start = time.thread_time()
            try:
                stabiliser.add(region, quads, frame_id)
            except RegionRefused:
                self.refused += 1
            self.added_cpu.append(time.thread_time() - start)
            self._quads[region, frame_id] = quads

    def remove(self, stabiliser: Stabiliser, sign: int, lines: int) -> None:
        """Forget a sign."""
        for index in range(lines if self._per_line else 1):
            stabiliser.remove(sign * LINES_PER_REGION + index if self._per_line else sign)

    def labels(self, view: View, sign: int, lines: int) -> tuple[list[Quad | None], bool]:
        """Where the lines of a sign are said to be (None: not known or lost), and whether that was measured."""
        regions = [sign * LINES_PER_REGION + index for index in range(lines)] if self._per_line else [sign]
        labels: list[Quad | None] = []
        tracked = False
        for region in regions:
            pose = view.poses.get(region)
            quads = None if pose is None else self._quads.get((region, pose.keyframe))
            if pose is None or quads is None or pose.state is PoseState.LOST:
                labels.extend([None] * (1 if self._per_line else lines))
                continue
            tracked |= pose.state is PoseState.TRACKED
            labels.extend(moved(pose.homography, quad) for quad in quads)
        return labels, tracked


class _Records:
    """Tracks of all signs, filled frame by frame."""

    def __init__(self, frames: Sequence[SequenceFrame]) -> None:
        self._lines: dict[int, int] = {}
        for frame in frames:
            for sign, truth in frame.regions.items():
                self._lines.setdefault(sign, len(truth.lines))
        count = len(frames)
        self.tracks = {
            sign: RegionTrack(
                np.full((count, lines, 4, 2), np.nan, np.float32),
                np.zeros(count, np.bool_),
                np.zeros(count, np.bool_),
                np.zeros(count, np.bool_),
            )
            for sign, lines in self._lines.items()
        }

    def note(self, index: int, frame: SequenceFrame, view: View, cast: Cast, counted_from: Mapping[int, int]) -> None:
        """One frame of every sign that is followed."""
        for sign, track in self.tracks.items():
            if index < counted_from.get(sign, index + 1):
                continue
            track.measured[index] = True
            truth = frame.regions.get(sign)
            if truth is None:
                continue
            track.visible[index] = truth.visible
            labels, track.tracked[index] = cast.labels(view, sign, len(truth.lines))
            for line, (label, there) in enumerate(zip(labels, truth.lines, strict=True)):
                if label is not None:
                    track.offsets[index, line] = label - there


def _at_rest(before: SequenceFrame, now: SequenceFrame, sign: int) -> bool:
    """Whether a sign moved slowly enough from one frame to the next to be read."""
    if sign not in before.regions:
        return False
    pairs = zip(before.regions[sign].lines, now.regions[sign].lines, strict=True)
    return max(float(np.linalg.norm(here - there, axis=1).max()) for there, here in pairs) <= READABLE_PX


def play(frames: Sequence[SequenceFrame], contender: Contender, camera: CameraFacts) -> Recording:
    """Play frames to a new instance of a contender."""
    count = len(frames)
    cpu, wall, floor, worker = (np.zeros(count) for _ in range(4))
    records, floors, cast = _Records(frames), Floor(), Cast(contender)
    counted_from: dict[int, int] = {}
    first_seen: dict[int, int] = {}
    with contender.make(camera) as stabiliser, no_garbage_collection():
        for index, frame in enumerate(frames):
            if isinstance(stabiliser, WithWorker):
                worker[index] = stabiliser.run_mapper()
            # The frame that is half the sequence away: like the contender's, it comes from memory, not from a cache
            # that the other's reading of it has filled. That alone makes a factor of three.
            floor[index] = floors.measure(frames[(index + count // 2) % count].luma)
            view, times = observe(stabiliser, contender, frame)
            cpu[index], wall[index] = times.cpu, times.wall
            records.note(index, frame, view, cast, counted_from)
            for sign, truth in frame.regions.items():
                if truth.visible and (index == 0 or _at_rest(frames[index - 1], frame, sign)):
                    first_seen.setdefault(sign, index)
            for sign, seen in first_seen.items():
                delay = DETECTION_FRAMES if seen else 0
                if sign in counted_from or index < seen + delay:
                    continue
                source = seen if contender.goes_back else index
                known = frames[source].regions.get(sign)
                if known is None or not known.visible:
                    continue  # one that cannot go back waits for the sign to be visible again
                cast.add(stabiliser, sign, known.lines, frames[source].frame_id)
                counted_from[sign] = index + (SETTLE_FRAMES if seen else 1)
        counters = getattr(stabiliser, "counters", {})
    return Recording(
        1 / FRAME_RATE, cpu, wall, floor, worker, records.tracks, cast.added_cpu, cast.refused, dict(counters)
    )


class Warm:
    """Prepares each contender once: what it compiles, loads or caches is there before it is measured."""

    def __init__(self) -> None:
        self._done: set[str] = set()

    def up(self, frames: Sequence[SequenceFrame], contender: Contender, camera: CameraFacts) -> None:
        """Play a few frames to an instance that is thrown away."""
        if contender.name not in self._done:
            contender.prepare()
            play(frames[:WARM_FRAMES], contender, camera)
            self._done.add(contender.name)

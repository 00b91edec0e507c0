"""Who takes part: a name, and how to make one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, Stabiliser, View
from shared.errors import UsageError
from shared.geometry import Homography, Quad
from simulations.bench.stabiliser import contrib
from simulations.bench.stabiliser.lk_anchor import LkAnchorStabiliser
from simulations.bench.stabiliser.orb import OrbStabiliser
from simulations.bench.stabiliser.turns import turn_between

REMEMBERED_FRAMES: Final = 90


@runtime_checkable
class SelfTimed(Protocol):
    """A stabiliser that works in another process and measures itself; seconds for the newest frame."""

    observe_cpu: float
    observe_wall: float


@runtime_checkable
class WithWorker(Protocol):
    """A stabiliser with work beside the frame path, done between two frames and counted apart."""

    def run_mapper(self) -> float:
        """Do what is waiting; returns the seconds of CPU it took."""
        ...


@dataclass(frozen=True, slots=True)
class Limit:
    """What a slow contender is spared.

    Attributes:
        seeds: it runs on so many of the seeds.
        seconds: and on so much of each sequence.
    """

    seeds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to follow signs.

    Attributes:
        name: on the command line.
        title: in the tables.
        make: a new instance for such a camera; a context manager, for it may hold a process.
        gyro: whether it is given the readings of the gyro.
        goes_back: whether `add` takes a frame from earlier on; else regions are added in the newest frame.
        per_line: whether each line is a region of its own.
        limit: None for all seeds and all of each sequence.
        prepare: called once before the first run: what a program does when it starts.
        missing: the reason it cannot run here; empty when it can.
    """

    name: str
    title: str
    make: Callable[[CameraFacts], AbstractContextManager[Stabiliser]]
    gyro: bool = False
    goes_back: bool = True
    per_line: bool = False
    limit: Limit | None = None
    prepare: Callable[[], None] = lambda: None
    missing: Callable[[], str] = lambda: ""


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """What the maker of the glasses knows about their camera.

    Attributes:
        focal_px: focal length in pixels of the frames; None when it is not known.
        readout_s: from the exposure of the first row to that of the last.
    """

    focal_px: float | None = None
    readout_s: float = 0.0


class Stale:
    """Signs stay where they were when they were read."""

    def __init__(self) -> None:
        self._keyframes: dict[int, int] = {}

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """See `Stabiliser.observe`."""
        poses = {
            region: Pose(np.eye(3), PoseState.PREDICTED, 0.0, keyframe) for region, keyframe in self._keyframes.items()
        }
        return View(frame_id, captured, poses)

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """See `Stabiliser.add`."""
        self._keyframes[region_id] = frame_id

    def remove(self, region_id: int) -> None:
        """See `Stabiliser.remove`."""
        self._keyframes.pop(region_id, None)


class GyroOnly:
    """Signs move as the gyro says, as if they were infinitely far away.

    Args:
        focal_px: focal length in frame pixels; without it nothing moves.
    """

    def __init__(self, focal_px: float | None) -> None:
        self._focal = focal_px
        self._before = 0.0
        self._since_start: Homography = np.eye(3)
        self._memory: deque[tuple[int, Homography]] = deque(maxlen=REMEMBERED_FRAMES)
        self._regions: dict[int, tuple[int, Homography]] = {}

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """See `Stabiliser.observe`."""
        motion: Homography = np.eye(3)
        if self._memory and gyro is not None and self._focal is not None:
            motion = turn_between(gyro, self._before, captured, self._focal, (luma.shape[1], luma.shape[0]))
        self._before = captured
        self._since_start = motion @ self._since_start
        self._memory.append((frame_id, self._since_start))
        poses = {
            region: Pose(self._since_start @ np.linalg.inv(then), PoseState.PREDICTED, 0.0, keyframe)
            for region, (keyframe, then) in self._regions.items()
        }
        return View(frame_id, captured, poses, motion)

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """See `Stabiliser.add`."""
        for remembered, since_start in self._memory:
            if remembered == frame_id:
                self._regions[region_id] = (frame_id, since_start)

    def remove(self, region_id: int) -> None:
        """See `Stabiliser.remove`."""
        self._regions.pop(region_id, None)


def _ours(camera: CameraFacts) -> AbstractContextManager[Stabiliser]:
    # Imported when it is needed: its kernels are compiled or loaded then.
    from glasses.stabiliser.inline import InlineStabiliser

    return nullcontext(InlineStabiliser(focal_px=camera.focal_px, readout_s=camera.readout_s, mapper_by_caller=True))


def _warm() -> None:
    from glasses.stabiliser.warm import warm

    warm()


def _contrib(kind: str, title: str, seconds: float = 5.0) -> Contender:
    return Contender(
        kind,
        title,
        lambda camera: contrib.ContribStabiliser(kind),
        goes_back=False,
        per_line=True,
        limit=Limit(1, seconds),
        missing=contrib.why_missing,
    )


OURS_WITH_GYRO: Final = "ours-gyro"
OURS: Final = "ours"
CONTENDERS: Final = (
    Contender(OURS_WITH_GYRO, "ours with gyro", _ours, gyro=True, prepare=_warm),
    Contender(OURS, "ours without gyro", lambda camera: _ours(replace(camera, focal_px=None)), prepare=_warm),
    Contender(
        "lk",
        "LK + keyframe anchor",
        lambda camera: nullcontext(LkAnchorStabiliser(focal_px=camera.focal_px)),
        gyro=True,
    ),
    Contender("orb", "ORB in every frame", lambda camera: nullcontext(OrbStabiliser()), limit=Limit(1, 5.0)),
    _contrib("kcf", "KCF, a box a line"),
    _contrib("csrt", "CSRT, a box a line", 2.0),
    _contrib("medianflow", "MedianFlow, a box a line"),
)
"""Who takes part in the main table."""
ONLY_LATE: Final = (
    Contender("stale", "no correction", lambda camera: nullcontext(Stale())),
    Contender("gyro-only", "gyro only", lambda camera: nullcontext(GyroOnly(camera.focal_px)), gyro=True),
)
"""What late readings are compared with besides."""
LATE_NAMES: Final = (OURS_WITH_GYRO, OURS, "lk", "stale", "gyro-only")


def named(names: Sequence[str]) -> list[Contender]:
    """Contenders by name, in this order.

    Raises:
        UsageError: a name is not known.
    """
    known = {contender.name: contender for contender in (*CONTENDERS, *ONLY_LATE)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no contender {unknown[0]!r}", hint=f"there are {', '.join(known)}")
    return [known[name] for name in names]

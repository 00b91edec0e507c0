"""From what was recorded in a run to the figures of the tables. Pure functions of numbers.

A sample is one line of text in one frame in which its sign is visible. Its error is the mean distance of the four
corners of the label from the truth; infinite when the contender gives no pose or calls it lost.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

CLOSE_PX: Final = 4.0
"""A label that far off still lies on its line of text."""
WIDER_PX: Final = 5.0
WRONG_PX: Final = 10.0
"""A label said to be tracked that is further off is confidently wrong."""
AWAY_FRAMES: Final = 5
"""A sign that was not visible for so many frames is to be re-acquired."""
JUDGED_FRAMES: Final = 15
"""One that goes away again before, without being re-acquired, is not counted: half a second at 30 frames a second."""


@dataclass(frozen=True, slots=True)
class RegionTrack:
    """One sign in all frames of a run.

    Attributes:
        offsets: label minus truth, pixels, float32 of shape (frames, lines, 4, 2); NaN where there is no pose, the
            pose is lost, or there is no truth.
        visible: by the truth, shape (frames,).
        measured: from which frames on it counts, shape (frames,).
        tracked: the contender says that it measured it in this frame, shape (frames,).
    """

    offsets: npt.NDArray[np.float32]
    visible: Bools
    measured: Bools
    tracked: Bools

    def errors(self) -> Floats:
        """Pixels, shape (frames, lines)."""
        distances = np.linalg.norm(self.offsets.astype(np.float64), axis=3).mean(axis=2)
        return np.where(np.isnan(distances), np.inf, distances)


@dataclass(frozen=True, slots=True)
class Recording:
    """One contender on one sequence.

    Attributes:
        frame_seconds: from frame to frame.
        cpu: seconds of the thread's CPU in each `observe`, shape (frames,); the first, which sets up, included.
        wall: seconds by the clock, likewise.
        floor: seconds of CPU to halve the same frame, likewise.
        worker: seconds of CPU beside the frame path, likewise.
        tracks: by region.
        added_cpu: seconds of CPU of each `add`.
        refused: regions the contender refused.
        counters: what it counted itself.
    """

    frame_seconds: float
    cpu: Floats
    wall: Floats
    floor: Floats
    worker: Floats
    tracks: Mapping[int, RegionTrack]
    added_cpu: Sequence[float] = ()
    refused: int = 0
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the tables show. Times in milliseconds, errors in pixels, shares 0..1; NaN where there is nothing to tell.

    Attributes:
        cpu_p50, cpu_p99, cpu_max: CPU of the calling thread in `observe`.
        wall_p50, wall_p99, wall_max: the same by the clock.
        floor: CPU p50 of halving a frame; ratio: cpu_p50 by it.
        worker_mean, worker_max: CPU beside the frame path, a frame.
        add_max: CPU of the longest `add`.
        error_median, error_p95: of all samples.
        under_4, under_5: share of samples below 4 and 5 px.
        wrong: share of samples said to be tracked and more than 10 px off.
        waits: seconds from each return of a sign until its label is close again; infinite for never.
        jitter: median change of a corner's error from frame to frame.
        samples: how many there are.
        refused: regions refused.
        counters: the contender's own.
    """

    cpu_p50: float
    cpu_p99: float
    cpu_max: float
    wall_p50: float
    wall_p99: float
    wall_max: float
    floor: float
    ratio: float
    worker_mean: float
    worker_max: float
    add_max: float
    error_median: float
    error_p95: float
    under_4: float
    under_5: float
    wrong: float
    waits: tuple[float, ...]
    jitter: float
    samples: int
    refused: int
    counters: Mapping[str, int]

    @property
    def recovery_median(self) -> float:
        """Seconds; infinite when most signs were never re-acquired, NaN when none went away."""
        return percentile(self.waits, 50)

    @property
    def recovery_max(self) -> float:
        """Seconds, of those that were re-acquired; NaN when none was."""
        return max((wait for wait in self.waits if math.isfinite(wait)), default=math.nan)

    @property
    def unrecovered(self) -> int:
        """Signs that came back and were never re-acquired."""
        return sum(math.isinf(wait) for wait in self.waits)


def percentile(values: Iterable[float] | Floats, percent: float) -> float:
    """The smallest value that so many percent of all values do not exceed (nearest rank); NaN of nothing.

    Nothing is interpolated, so infinite values do no harm.
    """
    ordered = np.sort(np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64))
    if not len(ordered):
        return math.nan
    return float(ordered[max(math.ceil(percent / 100 * len(ordered)) - 1, 0)])


def share(hits: Bools) -> float:
    """How many of them are true, 0..1; NaN of nothing."""
    return float(hits.mean()) if hits.size else math.nan


def measure(recording: Recording) -> Figures:
    """The figures of one run."""
    errors, tracked, changes = [], [], []
    waits: list[float] = []
    for track in recording.tracks.values():
        counted = track.visible & track.measured
        found = track.errors()
        errors.append(found[counted].ravel())
        tracked.append(np.repeat(track.tracked[counted], found.shape[1]))
        changes.append(_changes(track))
        waits.extend(frames * recording.frame_seconds for frames in recovery_frames(track))
    error = np.concatenate(errors) if errors else np.empty(0)
    sure = np.concatenate(tracked) if tracked else np.empty(0, np.bool_)
    # The first frame allocates what the others use; no label is shown yet.
    cpu, wall, floor = recording.cpu[1:] * 1e3, recording.wall[1:] * 1e3, recording.floor[1:] * 1e3
    worker = recording.worker * 1e3
    return Figures(
        cpu_p50=percentile(cpu, 50),
        cpu_p99=percentile(cpu, 99),
        cpu_max=percentile(cpu, 100),
        wall_p50=percentile(wall, 50),
        wall_p99=percentile(wall, 99),
        wall_max=percentile(wall, 100),
        floor=percentile(floor, 50),
        ratio=percentile(cpu, 50) / percentile(floor, 50),
        worker_mean=float(worker.mean()) if worker.any() else math.nan,
        worker_max=float(worker.max()) if worker.any() else math.nan,
        add_max=max(recording.added_cpu, default=math.nan) * 1e3,
        error_median=percentile(error, 50),
        error_p95=percentile(error, 95),
        under_4=share(error < CLOSE_PX),
        under_5=share(error < WIDER_PX),
        wrong=share(sure & (error > WRONG_PX)),
        waits=tuple(waits),
        jitter=percentile(np.concatenate(changes) if changes else [], 50),
        samples=len(error),
        refused=recording.refused,
        counters=dict(recording.counters),
    )


def _changes(track: RegionTrack) -> Floats:
    """Mean change of the corners' errors between neighbouring frames that both count, a line; shape (n,)."""
    counted = track.visible & track.measured
    both = counted[1:] & counted[:-1]
    steps = np.linalg.norm(np.diff(track.offsets.astype(np.float64), axis=0)[both], axis=3).mean(axis=2).ravel()
    return np.asarray(steps[np.isfinite(steps)])


def recovery_frames(track: RegionTrack) -> list[float]:
    """Frames from each return of a sign until all its labels are close, infinite for never.

    A return is a visible frame after `AWAY_FRAMES` or more that are not. A sign that goes away again before it is
    re-acquired was never re-acquired if it stayed `JUDGED_FRAMES`, and does not count if it did not.
    """
    close: Bools = np.asarray((track.errors() < CLOSE_PX).all(axis=1), dtype=np.bool_)
    visible, measured = track.visible, track.measured
    waits: list[float] = []
    away = 0
    for frame in range(len(visible)):
        if not visible[frame]:
            away += 1
            continue
        returned, away = away >= AWAY_FRAMES, 0
        # It must have been followed before it went.
        if not returned or not measured[frame - 1]:
            continue
        end = next((later for later in range(frame, len(visible)) if not visible[later]), len(visible))
        hit = next((later for later in range(frame, end) if close[later]), None)
        if hit is not None:
            waits.append(float(hit - frame))
        elif end - frame >= JUDGED_FRAMES:
            waits.append(math.inf)
    return waits


_WORST: Final = ("cpu_max", "wall_max", "worker_max", "add_max")
_ADDED: Final = ("samples", "refused")


def over_seeds(runs: Sequence[Figures]) -> Figures:
    """The figures of several seeds as one: medians; maxima of maxima; returns of signs and counts put together.

    Args:
        runs: at least one.
    """
    values: dict[str, Any] = {}
    for name in Figures.__dataclass_fields__:
        each = [getattr(run, name) for run in runs]
        if name == "counters":
            total: Counter[str] = Counter()
            for counters in each:
                total.update(counters)
            values[name] = dict(total)
        elif name == "waits":
            values[name] = tuple(wait for waits in each for wait in waits)
        elif name in _ADDED:
            values[name] = sum(each)
        else:
            known = [value for value in each if not math.isnan(value)]
            summary = max if name in _WORST else statistics.median
            values[name] = summary(known) if known else math.nan
    return Figures(**values)

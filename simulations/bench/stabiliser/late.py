"""Late readings: a sign is added with its quads of a frame from a while ago; where is its label when it appears?

Every second, for each lag, all signs that were visible then and are visible now are added under numbers of their own,
and removed when their pose has appeared or `PATIENCE_FRAMES` have passed; the latter counts as an infinite error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from glasses.stabiliser import View
from shared.geometry import Quad
from simulations.bench.stabiliser.contenders import CameraFacts, Contender, WithWorker
from simulations.bench.stabiliser.measures import CLOSE_PX, percentile, share
from simulations.bench.stabiliser.play import Cast, no_garbage_collection, observe
from simulations.sequences import FRAME_RATE, SequenceFrame

LAGS_S: Final = (0.2, 0.5, 1.0, 2.0)
EVERY_FRAMES: Final = 30
PATIENCE_FRAMES: Final = 15


@dataclass(frozen=True, slots=True)
class Reading:
    """One late reading.

    Attributes:
        error: mean corner distance of its lines when the pose first appears, px; infinite if it never does.
        frames: from `add` until then; the frame that follows is 1.
    """

    error: float
    frames: float


@dataclass(frozen=True, slots=True)
class LateFigures:
    """Late readings of one lag; errors in px, NaN without readings.

    Attributes:
        count: readings.
        error_median, error_p95: of their errors.
        under_4: share below 4 px.
        frames_median, frames_max: until the pose appears.
    """

    count: int
    error_median: float
    error_p95: float
    under_4: float
    frames_median: float
    frames_max: float


def late_figures(readings: Sequence[Reading]) -> LateFigures:
    """The figures of some readings."""
    errors = np.array([reading.error for reading in readings])
    frames = [reading.frames for reading in readings]
    return LateFigures(
        count=len(readings),
        error_median=percentile(errors, 50),
        error_p95=percentile(errors, 95),
        under_4=share(errors < CLOSE_PX),
        frames_median=percentile(frames, 50),
        frames_max=max(frames, default=math.nan),
    )


@dataclass(slots=True)
class _Waiting:
    number: int
    sign: int
    since: int


def late_readings(
    frames: Sequence[SequenceFrame], contender: Contender, camera: CameraFacts, lag_s: float
) -> list[Reading]:
    """Play frames to a new instance of a contender and hand it readings that are `lag_s` seconds old."""
    lag = round(lag_s * FRAME_RATE)
    cast = Cast(contender)
    waiting: list[_Waiting] = []
    readings: list[Reading] = []
    number = 0
    with contender.make(camera) as stabiliser, no_garbage_collection():
        for index, frame in enumerate(frames):
            if isinstance(stabiliser, WithWorker):
                stabiliser.run_mapper()
            view, _ = observe(stabiliser, contender, frame)
            for reading in list(waiting):
                error = _error(cast, view, reading, frame)
                if error is None and index - reading.since < PATIENCE_FRAMES:
                    continue
                took = math.inf if error is None else index - reading.since
                readings.append(Reading(math.inf if error is None else error, took))
                cast.remove(stabiliser, reading.number, len(frame.regions[reading.sign].lines))
                waiting.remove(reading)
            if index < lag or (index - lag) % EVERY_FRAMES or index + PATIENCE_FRAMES >= len(frames):
                continue
            for sign in _seen_throughout(frames, index, lag):
                number += 1
                source = index - lag
                cast.add(stabiliser, number, frames[source].regions[sign].lines, frames[source].frame_id)
                waiting.append(_Waiting(number, sign, index))
    return readings


def _seen_throughout(frames: Sequence[SequenceFrame], index: int, lag: int) -> list[int]:
    """Signs visible when they were read, and from now until the last moment at which they may appear."""
    moments = [frames[index - lag], *frames[index : index + PATIENCE_FRAMES + 1]]
    return [
        sign
        for sign, truth in moments[0].regions.items()
        if truth.visible and all(sign in frame.regions and frame.regions[sign].visible for frame in moments)
    ]


def _error(cast: Cast, view: View, reading: _Waiting, frame: SequenceFrame) -> float | None:
    """Error of a reading's labels in this frame; None without a pose."""
    truth = frame.regions[reading.sign].lines
    labels, _ = cast.labels(view, reading.number, len(truth))
    known: list[Quad] = [label for label in labels if label is not None]
    if len(known) < len(truth):
        return None
    off = [np.linalg.norm(label - there, axis=1).mean() for label, there in zip(known, truth, strict=True)]
    error = float(np.mean(off))
    return error if math.isfinite(error) else math.inf

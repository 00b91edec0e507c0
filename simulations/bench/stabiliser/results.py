"""What a whole run of the bench found, for the tables, the page and the JSON file."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simulations.bench.stabiliser.contrib import contrib_folder
from simulations.bench.stabiliser.late import LateFigures
from simulations.bench.stabiliser.measures import Figures, Recording, percentile


@dataclass(frozen=True, slots=True)
class Row:
    """One contender on one sequence, all seeds.

    Attributes:
        sequence: its name.
        contender: its name; `title` is for people.
        gyro: whether it had the gyro.
        note: what is different about it: fewer seeds, less of the sequence.
    """

    sequence: str
    contender: str
    title: str
    gyro: bool
    figures: Figures
    note: str = ""


@dataclass(frozen=True, slots=True)
class LateRow:
    """One contender's late readings of one age on one sequence, all seeds."""

    sequence: str
    contender: str
    title: str
    lag_s: float
    figures: LateFigures


@dataclass(frozen=True, slots=True)
class Series:
    """One run over time, for plots.

    Attributes:
        error: median error of the samples of each frame, px; NaN without samples, infinite when most are lost.
        cpu: milliseconds of each frame.
    """

    sequence: str
    contender: str
    title: str
    seed: int
    error: tuple[float, ...]
    cpu: tuple[float, ...]


@dataclass(slots=True)
class Results:
    """Everything.

    Attributes:
        machine: one line.
        seeds: of the sequences.
        seconds: of each sequence.
        skipped: reason by title of a contender that could not run.
    """

    machine: str
    seeds: tuple[int, ...]
    seconds: float
    rows: list[Row] = field(default_factory=list)
    late: list[LateRow] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Without the series; NaN becomes null and infinity "inf"."""
        everything = {
            "machine": self.machine,
            "seeds": self.seeds,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "rows": [asdict(row) for row in self.rows],
            "late": [asdict(row) for row in self.late],
        }
        cleaned: dict[str, Any] = without_nan(everything)
        return cleaned


def without_nan(value: Any) -> Any:
    """For JSON, which has neither: NaN becomes null and infinity "inf"."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf"
    return value


def series_of(recording: Recording, sequence: str, contender: str, title: str, seed: int) -> Series:
    """A recording over time."""
    count = len(recording.cpu)
    per_frame: list[list[float]] = [[] for _ in range(count)]
    for track in recording.tracks.values():
        errors = track.errors()
        for index in np.flatnonzero(track.visible & track.measured):
            per_frame[index].extend(float(error) for error in errors[index])
    error = tuple(percentile(samples, 50) for samples in per_frame)
    return Series(sequence, contender, title, seed, error, tuple(float(value) * 1e3 for value in recording.cpu))


def machine_line() -> str:
    """CPU, cores and OpenCV versions."""
    model = "unknown CPU"
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    contrib = [path.name.split("-")[1] for path in contrib_folder().glob("opencv_contrib_python_headless-*.dist-info")]
    versions = f"OpenCV {cv2.__version__}" + (f", opencv-contrib {contrib[0].removesuffix('.dist')}" if contrib else "")
    return f"{model}, {os.cpu_count()} cores, {versions}, one thread"

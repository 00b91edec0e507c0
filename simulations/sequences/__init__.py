"""Sequences with ground truth: what a camera on a moving head sees, and where every sign is in every frame.

Frames are grey, 1280x720 at 30 a second, of a pinhole camera with a focal length of 1000 px. A sequence is a pure
function of its name and seed. Seeds for tuning and seeds for reporting are kept apart: whoever chooses a constant of
the stabiliser looks at `TUNING_SEEDS` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from glasses.stabiliser import GyroSamples, Luma
from shared.geometry import Quad

FOCAL_PX: Final = 1000.0
FRAME_RATE: Final = 30.0
TUNING_SEEDS: Final = (11, 12, 13)
REPORTING_SEEDS: Final = (101, 102, 103)


@dataclass(frozen=True, slots=True)
class RegionTruth:
    """Where one sign is in one frame.

    Attributes:
        lines: the quads of its lines, as the rolling shutter and the lens show them, in frame pixels.
        visible: whether at least three quarters of its corners are inside the frame and less than a quarter of it is
            covered by something in front of it.
    """

    lines: tuple[Quad, ...]
    visible: bool


@dataclass(frozen=True, slots=True)
class SequenceFrame:
    """One frame.

    Attributes:
        frame_id: 0, 1, 2 …
        captured: seconds; the middle of the exposure of the middle row.
        luma: uint8 of shape (720, 1280).
        gyro: noisy, biased readings since the frame before, at 200 Hz.
        regions: the truth, by region id; signs behind the wearer are left out.
    """

    frame_id: int
    captured: float
    luma: Luma
    gyro: GyroSamples
    regions: Mapping[int, RegionTruth]


class Sequence(Protocol):
    """A sequence, drawn frame by frame."""

    name: str
    seed: int

    @property
    def readout_s(self) -> float:
        """Seconds from the exposure of the first row to that of the last; 0 for a global shutter."""
        ...

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def frames(self) -> Iterator[SequenceFrame]:
        """All frames from the first on; the same each time."""
        ...

"""Keying: templates from remembered frames, and carrying them to the newest one. The mapper's tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from glasses.stabiliser import Luma
from glasses.stabiliser.alignment import MATCH, MINIMUM_POINTS, Scratch, align, assess
from glasses.stabiliser.commands import Box, NewPlane, PlaneRegion
from glasses.stabiliser.grouping import box_around, corners_of
from glasses.stabiliser.limits import POINTS, REGIONS_PER_PLANE, REMEMBERED_FRAMES, TEMPLATES
from glasses.stabiliser.memory import Ints, Memory
from glasses.stabiliser.planes import REFOUND_MATCH, drift_between, judge
from glasses.stabiliser.template import build
from shared.geometry import Homography

REPLAY_STRIDE: Final = 3
"""Late results are carried on over every third remembered frame: the keyframe makes up for those left out."""
EFFORT: Final = 2
"""The mapper has time for more iterations than the frame path."""
FOUND_SLACK: Final = 30.0
"""Frames' worth of change a plane that was searched for may have undergone."""
REPLAY_JUMP_PX: Final = 40.0
"""Working pixels a replayed plane may move away from its prediction in one stride."""


@dataclass(frozen=True, slots=True)
class Region:
    """What the mapper knows of a region: its lines in its own keyframe, working pixels."""

    region_id: int
    generation: int
    keyframe: int
    quads: Box


@dataclass(slots=True)
class KeyedPlane:
    """What the mapper knows of a plane."""

    serial: int
    template: int
    hull: Box
    regions: tuple[PlaneRegion, ...]
    picture: Luma
    """Level 1 of its keyframe."""
    good: Homography
    """Its keyframe → the frame it was last seen well in: the shape it is looked for in when it has long been lost."""
    seen: bool = False
    surveys: int = 0
    doubts: Counter[int] = field(default_factory=Counter)
    """How often in a row each region has gone elsewhere by itself."""


class Keyer:
    """Makes planes from remembered frames and aligns them with others.

    Args:
        memory: shared with the frame path.

    Attributes:
        planes: known planes, by serial.
        quality: correlation of each region in the newest alignment, -1 for one out of the frame; shape (regions,).
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.planes: dict[int, KeyedPlane] = {}
        self.quality = np.zeros(REGIONS_PER_PLANE)
        self._serial = 0
        self._scratch = Scratch(POINTS)
        self._nothing = np.zeros(REGIONS_PER_PLANE, np.int64)

    def number_of(self, frame_id: int) -> int | None:
        """Serial number of a remembered frame; None when it is not remembered."""
        ring = self._memory.ring
        places = np.flatnonzero((ring.frame_id == frame_id) & (ring.number >= 0))
        return int(ring.number[places[0]]) if len(places) else None

    def newest(self) -> int:
        """Serial number of the newest frame, -1 before the first."""
        return int(self._memory.ring.number.max())

    def is_there(self, number: int) -> bool:
        """Whether a frame is (still) remembered."""
        return number >= 0 and int(self._memory.ring.number[number % REMEMBERED_FRAMES]) == number

    def motion(self, start: int, end: int) -> Homography:
        """Motion of the view from one remembered frame to a later one, working pixels."""
        result = np.eye(3)
        for number in range(start + 1, end + 1):
            result = self._memory.ring.motion[number % REMEMBERED_FRAMES] @ result
        return np.asarray(result / result[2, 2])

    def align(
        self,
        template: int,
        regions: int,
        number: int,
        homography: Homography,
        slack: float,
        covered: Ints | None = None,
    ) -> float:
        """Align in place with a remembered frame; the correlation, negative when there is none."""
        ring, scratch, place = self._memory.ring, self._scratch, number % REMEMBERED_FRAMES
        return float(
            align(
                ring.half[place], ring.quarter[place], ring.eighth[place], self._memory.templates, template, regions,
                self._nothing if covered is None else covered, self._nothing, EFFORT, slack, homography, self.quality,
                scratch.sampled, scratch.residual, scratch.usable, scratch.matrices,
            )
        )  # fmt: skip

    def assess(self, plane: KeyedPlane, number: int, homography: Homography) -> None:
        """Compare a plane with a remembered frame where a homography puts it; the result is in `quality`."""
        ring, scratch = self._memory.ring, self._scratch
        assess(
            ring.half[number % REMEMBERED_FRAMES], self._memory.templates, plane.template, len(plane.regions),
            self._nothing, homography, self.quality, scratch.sampled, scratch.usable, scratch.matrices,
        )  # fmt: skip

    def _free_template(self) -> int | None:
        used = {plane.template for plane in self.planes.values()}
        return next((slot for slot in range(TEMPLATES) if slot not in used), None)

    def make(
        self,
        number: int,
        regions: Sequence[Region],
        bases: Sequence[Homography],
        *,
        must_match: float | None = None,
    ) -> tuple[NewPlane, int] | None:
        """Key a plane from a remembered frame and carry it to the newest one.

        Args:
            number: of the keyframe.
            regions: on the plane.
            bases: each region's own keyframe → this keyframe, working pixels.
            must_match: the plane, and each region, must agree so well with the newest frame; None if it may be lost.

        Returns:
            The plane and the number of the newest frame; None when it cannot be made.
        """
        slot = self._free_template()
        if slot is None or not self.is_there(number):
            return None
        ring, place = self._memory.ring, number % REMEMBERED_FRAMES
        lines = [corners_of(base, region.quads) for region, base in zip(regions, bases, strict=True)]
        quads = np.concatenate(lines)
        owners = np.repeat(np.arange(len(lines)), [len(line) for line in lines]).astype(np.int64)
        points = build(
            ring.half[place], ring.quarter[place], ring.eighth[place], quads, owners, len(lines),
            self._memory.templates, slot,
        )  # fmt: skip
        picture = ring.quarter[place].copy()
        if points < MINIMUM_POINTS or not self.is_there(number):
            return None
        hull = box_around(quads)
        newest = self.newest()
        homography, match = self._replay(slot, len(lines), hull, number, newest)
        if must_match is not None and not (match > must_match and self.quality[: len(lines)].min() > 0.5):
            return None
        self._serial += 1
        plane_regions = tuple(
            PlaneRegion(region.region_id, region.keyframe, region.generation, base, box_around(line))
            for region, base, line in zip(regions, bases, lines, strict=True)
        )
        self.planes[self._serial] = KeyedPlane(self._serial, slot, hull, plane_regions, picture, np.eye(3))
        moved = match > 0 and newest > number
        drift = self.drift(slot, len(lines), hull, homography, newest) if moved else np.zeros(3)
        return NewPlane(self._serial, slot, homography, hull, plane_regions, drift, match), newest

    def drift(self, slot: int, regions: int, hull: Box, homography: Homography, number: int) -> npt.NDArray[np.float64]:
        """How a plane moves against the view, from where it was one frame before; nought when that cannot be told."""
        drift = np.zeros(3)
        if not self.is_there(number - 1):
            return drift
        motion = self.motion(number - 1, number)
        before = np.linalg.inv(motion) @ homography
        before = np.ascontiguousarray(before / before[2, 2])
        expected = before.copy()
        if self.align(slot, regions, number - 1, before, FOUND_SLACK) > MATCH and judge(
            before, expected, hull, REPLAY_JUMP_PX
        ):
            carried = motion @ before
            drift_between(homography, np.ascontiguousarray(carried / carried[2, 2]), hull, drift)
        return drift

    def _replay(self, slot: int, regions: int, hull: Box, start: int, end: int) -> tuple[Homography, float]:
        """Carry a plane from its keyframe to a later frame; its homography there and the correlation."""
        homography, match, at = np.eye(3), 1.0, start
        self.quality[:regions] = 1.0
        failed = 0
        while at < end:
            then = min(at + REPLAY_STRIDE, end)
            predicted = self.motion(at, then) @ homography
            predicted /= predicted[2, 2]
            tried = np.array(predicted, order="C")
            match = self.align(slot, regions, then, tried, float(REPLAY_STRIDE * (1 + failed)))
            limit = REPLAY_JUMP_PX * (1 + failed)
            good = match > (MATCH if not failed else REFOUND_MATCH) and judge(tried, predicted, hull, limit)
            failed = 0 if good else failed + 1
            homography = tried if good else predicted
            match = match if good else -1.0
            at = then
        return homography, match

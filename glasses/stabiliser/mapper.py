"""The mapper: everything about planes that takes longer than a frame allows.

It makes templates, carries late results to now by replaying remembered frames, looks for lost planes, and decides from
what the frame path reports which planes to key anew, to split and to merge. It runs beside the frame path and never
holds it up; each order ends in at most one change, which the frame path takes in between two frames.

- **Keyed anew** is a plane that appears much larger, smaller or narrower than in its keyframe.
- **Split** is a plane one of whose regions fits better elsewhere when it is aligned alone.
- **Merged** are two planes that the same homography has moved while the camera travelled far enough to tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from glasses.stabiliser import Luma
from glasses.stabiliser.alignment import MATCH, MINIMUM_POINTS, Scratch, align, assess
from glasses.stabiliser.commands import (
    Follow,
    Forget,
    Found,
    FromMapper,
    Install,
    NewPlane,
    PlaneRegion,
    Survey,
    ToMapper,
)
from glasses.stabiliser.frame_path import DEFAULT_FOCAL_SHARE
from glasses.stabiliser.grouping import box_around, corners_of, disagreement, group_by_layout, stretches, travel
from glasses.stabiliser.limits import POINTS, REGIONS_PER_PLANE, REMEMBERED_FRAMES, TEMPLATES
from glasses.stabiliser.memory import Memory, Planes
from glasses.stabiliser.planes import LOST, REFOUND_MATCH, TRACKED, drift_between, judge
from glasses.stabiliser.search import candidates
from glasses.stabiliser.template import build
from shared.geometry import Homography

Box = npt.NDArray[np.float64]

REPLAY_STRIDE: Final = 3
"""Late results are carried on over every third remembered frame: the keyframe makes up for those left out."""
EFFORT: Final = 2
"""The mapper has time for more iterations than the frame path."""
FOUND_SLACK: Final = 30.0
"""Frames' worth of change a plane that was searched for may have undergone."""
REPLAY_JUMP_PX: Final = 40.0
"""Working pixels a replayed plane may move away from its prediction in one stride."""
REKEY_SCALE: Final = 1.4
REKEY_MATCH: Final = 0.75
"""A plane is keyed anew only from a frame it agrees with so well."""
WITHIN_PX: Final = 2.0
"""… and that shows it whole, so far from the edge."""
SPLIT_PX: Final = 0.75
"""Working pixels a corner of a region moves when the region is aligned by itself, …"""
SPLIT_GAIN: Final = 0.02
"""… which makes its correlation better by so much, …"""
SPLIT_CHECKS: Final = 3
"""… so many times in a row."""
MERGE_PX: Final = 0.6
"""Working pixels two planes' motions may differ by at each other's corners."""
MERGE_TRAVEL: Final = 0.04
"""… after the camera has moved by this share of the distance to them: less does not tell depths apart."""
MERGE_SURVEYS: Final = 4
LOST_REACH_PX: Final = 12
"""Pixels of level 1 a plane just lost is searched in …"""
LOST_REACH_MORE_PX: Final = 3
"""… and so many more for each frame since."""
SIZES_AFTER: Final = 30
"""Frames after which other sizes are tried as well."""
SEARCH_AFTER: Final = 3
"""Frames without a measurement after which a plane is looked for."""
NEAR_VIEW: Final = 0.15
"""Share of the picture's sides beyond its edges in which a plane is looked for at every survey …"""
RARELY: Final = 10
"""… and elsewhere at every so many."""
GIVE_UP_AFTER: Final = 3600
"""Frames after which a lost plane is no longer looked for."""
UNSEEN_SURVEYS: Final = 40
"""A plane ordered but not seen in so many surveys never came to be."""


@dataclass(frozen=True, slots=True)
class _Region:
    """What the mapper knows of a region: its lines in its own keyframe, working pixels."""

    region_id: int
    generation: int
    keyframe: int
    quads: Box


@dataclass(slots=True)
class _Plane:
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


@dataclass(slots=True)
class _Pair:
    """Two planes since both have been tracked."""

    first: Homography
    second: Homography
    agreed: int = 0


class Mapper:
    """Works on the memory it shares with the frame path. One thread.

    Args:
        memory: shared with the frame path.
        focal_px: focal length in pixels of the frame; None when it is not known.
    """

    def __init__(self, memory: Memory, *, focal_px: float | None = None) -> None:
        self._memory = memory
        geometry = memory.geometry
        self._focal = (DEFAULT_FOCAL_SHARE * geometry.width if focal_px is None else focal_px) / geometry.factor
        self._size = geometry.sizes[0]
        self._planes: dict[int, _Plane] = {}
        self._regions: dict[int, _Region] = {}
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._refused: dict[tuple[int, int], int] = {}
        self._serial = 0
        self._turn = 0
        self._scratch = Scratch(POINTS)
        self._quality = np.zeros(REGIONS_PER_PLANE)
        self._nothing = np.zeros(REGIONS_PER_PLANE, np.int64)
        self._others = np.zeros(REGIONS_PER_PLANE, np.int64)
        self.counters: Counter[str] = Counter()

    def begin_at(self, serial: int) -> None:
        """Name planes from a serial on: after a restart no two planes share one."""
        self._serial = serial

    def handle(self, messages: Sequence[ToMapper]) -> list[FromMapper]:
        """Do what the frame path asks, in order; of several surveys only the newest counts."""
        answers: list[FromMapper] = []
        follows: list[Follow] = []
        survey: Survey | None = None
        for message in messages:
            if isinstance(message, Follow):
                follows.append(message)
            elif isinstance(message, Forget):
                follows = [follow for follow in follows if follow.region_id != message.region_id]
                self._regions.pop(message.region_id, None)
            else:
                survey = message
        by_frame: dict[int, list[Follow]] = {}
        for follow in follows:
            by_frame.setdefault(follow.frame_id, []).append(follow)
        for frame_id, batch in by_frame.items():
            answers += self._follow(frame_id, batch)
        if survey is not None:
            answers += self._survey(survey)
        return answers

    # Frames -----------------------------------------------------------------------------------------------------

    def _number_of(self, frame_id: int) -> int | None:
        ring = self._memory.ring
        places = np.flatnonzero((ring.frame_id == frame_id) & (ring.number >= 0))
        return int(ring.number[places[0]]) if len(places) else None

    def _newest(self) -> int:
        return int(self._memory.ring.number.max())

    def _is_there(self, number: int) -> bool:
        """Whether a frame is (still) remembered."""
        return number >= 0 and int(self._memory.ring.number[number % REMEMBERED_FRAMES]) == number

    def _motion(self, start: int, end: int) -> Homography:
        """Motion of the view from one remembered frame to a later one, working pixels."""
        result = np.eye(3)
        for number in range(start + 1, end + 1):
            result = self._memory.ring.motion[number % REMEMBERED_FRAMES] @ result
        return np.asarray(result / result[2, 2])

    def _align(
        self,
        template: int,
        regions: int,
        number: int,
        homography: Homography,
        slack: float,
        covered: npt.NDArray[np.int64] | None = None,
    ) -> float:
        """Align in place with a remembered frame; the correlation, negative when there is none."""
        ring, scratch, place = self._memory.ring, self._scratch, number % REMEMBERED_FRAMES
        return float(
            align(
                ring.half[place], ring.quarter[place], ring.eighth[place], self._memory.templates, template, regions,
                self._nothing if covered is None else covered, self._nothing, EFFORT, slack, homography, self._quality,
                scratch.sampled, scratch.residual, scratch.usable, scratch.matrices,
            )
        )  # fmt: skip

    # New planes -------------------------------------------------------------------------------------------------

    def _follow(self, frame_id: int, batch: Sequence[Follow]) -> list[FromMapper]:
        """Regions found in one frame become planes."""
        number = self._number_of(frame_id)
        if number is None:
            self.counters["too_late"] += len(batch)
            return []
        regions = [_Region(one.region_id, one.generation, frame_id, one.quads) for one in batch]
        answers: list[FromMapper] = []
        for group in group_by_layout([region.quads for region in regions]):
            for start in range(0, len(group), REGIONS_PER_PLANE):
                members = [regions[index] for index in group[start : start + REGIONS_PER_PLANE]]
                bases = [np.eye(3)] * len(members)
                made = self._make(number, members, bases)
                if made is None:
                    self.counters["nothing_to_follow"] += len(members)
                    continue
                for region in members:
                    self._regions[region.region_id] = region
                answers.append(Install(made[1], (), (made[0],)))
                self.counters["followed"] += len(members)
        return answers

    def _free_template(self) -> int | None:
        used = {plane.template for plane in self._planes.values()}
        return next((slot for slot in range(TEMPLATES) if slot not in used), None)

    def _make(
        self,
        number: int,
        regions: Sequence[_Region],
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
        if slot is None or not self._is_there(number):
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
        if points < MINIMUM_POINTS or not self._is_there(number):
            return None
        hull = box_around(quads)
        newest = self._newest()
        homography, match = self._replay(slot, len(lines), hull, number, newest)
        if must_match is not None and not (match > must_match and self._quality[: len(lines)].min() > 0.5):
            return None
        self._serial += 1
        plane_regions = tuple(
            PlaneRegion(region.region_id, region.keyframe, region.generation, base, box_around(line))
            for region, base, line in zip(regions, bases, lines, strict=True)
        )
        self._planes[self._serial] = _Plane(self._serial, slot, hull, plane_regions, picture, np.eye(3))
        moved = match > 0 and newest > number
        drift = self._drift(slot, len(lines), hull, homography, newest) if moved else np.zeros(3)
        return NewPlane(self._serial, slot, homography, hull, plane_regions, drift, match), newest

    def _drift(
        self, slot: int, regions: int, hull: Box, homography: Homography, number: int
    ) -> npt.NDArray[np.float64]:
        """How a plane moves against the view, from where it was one frame before; nought when that cannot be told."""
        drift = np.zeros(3)
        if not self._is_there(number - 1):
            return drift
        motion = self._motion(number - 1, number)
        before = np.linalg.inv(motion) @ homography
        before = np.ascontiguousarray(before / before[2, 2])
        expected = before.copy()
        if self._align(slot, regions, number - 1, before, FOUND_SLACK) > MATCH and judge(
            before, expected, hull, REPLAY_JUMP_PX
        ):
            carried = motion @ before
            drift_between(homography, np.ascontiguousarray(carried / carried[2, 2]), hull, drift)
        return drift

    def _replay(self, slot: int, regions: int, hull: Box, start: int, end: int) -> tuple[Homography, float]:
        """Carry a plane from its keyframe to a later frame; its homography there and the correlation."""
        homography, match, at = np.eye(3), 1.0, start
        self._quality[:regions] = 1.0
        failed = 0
        while at < end:
            then = min(at + REPLAY_STRIDE, end)
            predicted = self._motion(at, then) @ homography
            predicted /= predicted[2, 2]
            tried = np.ascontiguousarray(predicted)
            match = self._align(slot, regions, then, tried, float(REPLAY_STRIDE * (1 + failed)))
            limit = REPLAY_JUMP_PX * (1 + failed)
            good = match > (MATCH if not failed else REFOUND_MATCH) and judge(tried, predicted, hull, limit)
            failed = 0 if good else failed + 1
            homography = tried if good else predicted
            match = match if good else -1.0
            at = then
        return homography, match

    # Surveys ----------------------------------------------------------------------------------------------------

    def _survey(self, survey: Survey) -> list[FromMapper]:
        """At most one change for each survey: each is judged by the next."""
        self._turn += 1
        planes = self._memory.surveys[survey.place]
        at = {int(planes.serial[k]): int(k) for k in np.flatnonzero(planes.active)}
        self._tidy(at, planes)
        if not self._is_there(survey.number):
            return []
        known = {serial: k for serial, k in at.items() if serial in self._planes}
        for change in (self._split, self._rekey, self._merge):
            answer = change(survey, planes, known)
            if answer is not None:
                return [answer, *self._find(survey, planes, known)]
        return self._find(survey, planes, known)

    def _tidy(self, at: Mapping[int, int], planes: Planes) -> None:
        """Forget planes that have ended, or never began."""
        for serial, plane in list(self._planes.items()):
            plane.surveys += 1
            if serial in at:
                plane.seen = True
                if planes.state[at[serial]] == TRACKED and planes.quality[at[serial]] > REKEY_MATCH:
                    plane.good = planes.homography[at[serial]].copy()
            elif plane.seen or plane.surveys > UNSEEN_SURVEYS:
                del self._planes[serial]
        self._pairs = {
            pair: kept for pair, kept in self._pairs.items() if all(serial in self._planes for serial in pair)
        }
        self._refused = {pair: n for pair, n in self._refused.items() if all(serial in self._planes for serial in pair)}

    def _members(
        self, plane: _Plane, planes: Planes, k: int, homography: Homography | None = None
    ) -> list[tuple[_Region, Homography]]:
        """Regions of a plane that are still wanted, with their own keyframe → the surveyed frame.

        `homography`, the plane's keyframe → that frame, is the surveyed one unless it is given.
        """
        whole = planes.homography[k] if homography is None else homography
        members = []
        for r, region in enumerate(plane.regions):
            known = self._regions.get(region.region_id)
            if known is None or known.keyframe != region.keyframe or planes.region_id[k, r] < 0:
                continue
            base = whole @ region.base
            members.append((known, np.asarray(base / base[2, 2])))
        return members

    def _near_view(self, corners: Box) -> bool:
        """Whether the middle of a plane is expected in the picture, or not far from it."""
        width, height = self._size
        beyond = NEAR_VIEW * np.array([width, height])
        middle = corners.mean(axis=0)
        return bool((middle > -beyond).all() and (middle < np.array([width, height]) + beyond).all())

    def _whole(self, corners: Box) -> bool:
        width, height = self._size
        return bool((corners >= WITHIN_PX).all() and (corners <= np.array([width, height]) - 1 - WITHIN_PX).all())

    def _well_seen(self, plane: _Plane, planes: Planes, k: int) -> bool:
        """Whether a plane could be keyed from the surveyed frame."""
        return bool(
            planes.state[k] == TRACKED
            and planes.quality[k] > REKEY_MATCH
            and not planes.covered[k, : planes.regions[k]].any()
            and self._whole(corners_of(planes.homography[k], plane.hull))
        )

    def _key(
        self,
        survey: Survey,
        members: Sequence[tuple[_Region, Homography]],
        match: float | None,
    ) -> tuple[NewPlane, int] | None:
        if not members:
            return None
        return self._make(
            survey.number,
            [region for region, _ in members],
            [base for _, base in members],
            must_match=match,
        )

    def _rekey(self, survey: Survey, planes: Planes, known: Mapping[int, int]) -> FromMapper | None:
        for serial, k in known.items():
            plane = self._planes[serial]
            if not self._well_seen(plane, planes, k):
                continue
            least, most = stretches(planes.homography[k], plane.hull)
            if least > 1 / REKEY_SCALE and most < REKEY_SCALE:
                continue
            made = self._key(survey, self._members(plane, planes, k), MATCH)
            if made is not None:
                self.counters["rekeyed"] += 1
                return Install(made[1], (serial,), (made[0],))
        return None

    def _split(self, survey: Survey, planes: Planes, known: Mapping[int, int]) -> FromMapper | None:
        """Align the regions of one plane, each in its turn, by themselves, and part one that keeps going elsewhere."""
        shared = [
            serial for serial, k in known.items() if len(self._planes[serial].regions) > 1 and planes.state[k] != LOST
        ]
        if not shared:
            return None
        serial = shared[self._turn % len(shared)]
        plane, k = self._planes[serial], known[serial]
        for r in range(len(plane.regions)):
            wanted = planes.covered[k, r] == 0 and planes.region_id[k, r] >= 0
            alone = self._elsewhere(plane, planes, k, r, survey.number) if wanted else None
            plane.doubts[r] = 0 if alone is None else plane.doubts[r] + 1
            if alone is not None and plane.doubts[r] >= SPLIT_CHECKS:
                plane.doubts.clear()
                return self._part(survey, planes, k, plane, r, alone)
        return None

    def _part(
        self, survey: Survey, planes: Planes, k: int, plane: _Plane, r: int, alone: Homography
    ) -> FromMapper | None:
        """Make two planes of one: region r where it is by itself, and the rest without it."""
        self._others.fill(0)
        self._others[r] = 1
        rest = np.ascontiguousarray(planes.homography[k].copy())
        if self._align(plane.template, len(plane.regions), survey.number, rest, FOUND_SLACK, self._others) < MATCH:
            rest = planes.homography[k]
        loose_id = plane.regions[r].region_id
        halves = (
            [one for one in self._members(plane, planes, k, alone) if one[0].region_id == loose_id],
            [one for one in self._members(plane, planes, k, rest) if one[0].region_id != loose_id],
        )
        made = [one for one in (self._key(survey, half, None) for half in halves) if one is not None]
        if len(made) == 2 and made[0][1] == made[1][1]:
            self.counters["split"] += 1
            self._refused[self._pair(made[0][0].serial, made[1][0].serial)] = 1
            return Install(made[0][1], (plane.serial,), (made[0][0], made[1][0]))
        for one, _ in made:
            del self._planes[one.serial]
        return None

    def _elsewhere(self, plane: _Plane, planes: Planes, k: int, r: int, number: int) -> Homography | None:
        """Where a region of a plane goes when it is aligned by itself, if it clearly fits better there."""
        ring, scratch = self._memory.ring, self._scratch
        together = planes.homography[k]
        assess(
            ring.half[number % REMEMBERED_FRAMES], self._memory.templates, plane.template, len(plane.regions),
            self._nothing, together, self._quality, scratch.sampled, scratch.usable, scratch.matrices,
        )  # fmt: skip
        before = float(self._quality[r])
        self._others.fill(1)
        self._others[r] = 0
        alone = np.ascontiguousarray(together.copy())
        match = self._align(plane.template, len(plane.regions), number, alone, FOUND_SLACK, self._others)
        box = plane.regions[r].box
        if (
            match > max(MATCH, before + SPLIT_GAIN)
            and judge(alone, together, box, REPLAY_JUMP_PX)
            and disagreement(alone, together, box) > SPLIT_PX
        ):
            return alone
        return None

    @staticmethod
    def _pair(first: int, second: int) -> tuple[int, int]:
        return (first, second) if first < second else (second, first)

    def _merge(self, survey: Survey, planes: Planes, known: Mapping[int, int]) -> FromMapper | None:
        tracked = [
            serial
            for serial, k in known.items()
            if planes.state[k] == TRACKED and planes.quality[k] > REKEY_MATCH and self._planes[serial].seen
        ]
        for pair in [pair for pair in self._pairs if not all(serial in tracked for serial in pair)]:
            del self._pairs[pair]
        width, height = self._size
        for position, first in enumerate(tracked):
            for second in tracked[position + 1 :]:
                pair = self._pair(first, second)
                one, other = self._planes[pair[0]], self._planes[pair[1]]
                if pair in self._refused or len(one.regions) + len(other.regions) > REGIONS_PER_PLANE:
                    continue
                a, b = planes.homography[known[pair[0]]], planes.homography[known[pair[1]]]
                since = self._pairs.get(pair)
                if since is None:
                    self._pairs[pair] = _Pair(a.copy(), b.copy())
                    continue
                moved_a, moved_b = a @ np.linalg.inv(since.first), b @ np.linalg.inv(since.second)
                apart = max(
                    disagreement(moved_a, moved_b, corners_of(since.second, other.hull)),
                    disagreement(moved_a, moved_b, corners_of(since.first, one.hull)),
                )
                if apart > MERGE_PX:
                    if apart > 4 * MERGE_PX:
                        self._refused[pair] = 1
                    since.agreed = 0
                    continue
                if (
                    min(travel(moved_a, self._focal, width, height), travel(moved_b, self._focal, width, height))
                    < MERGE_TRAVEL
                ):
                    continue
                since.agreed += 1
                if since.agreed < MERGE_SURVEYS or not (
                    self._well_seen(one, planes, known[pair[0]]) and self._well_seen(other, planes, known[pair[1]])
                ):
                    continue
                members = self._members(one, planes, known[pair[0]]) + self._members(other, planes, known[pair[1]])
                made = self._key(survey, members, REKEY_MATCH)
                if made is None:
                    self._refused[pair] = 1
                    continue
                self.counters["merged"] += 1
                return Install(made[1], pair, (made[0],))
        return None

    # Lost planes ------------------------------------------------------------------------------------------------

    def _find(self, survey: Survey, planes: Planes, known: Mapping[int, int]) -> list[FromMapper]:
        """Look for one plane that is not measured, each in its turn."""
        often = self._turn % RARELY == 0
        lost = [
            (serial, k)
            for serial, k in known.items()
            if SEARCH_AFTER <= planes.fails[k] < GIVE_UP_AFTER
            and (often or self._near_view(corners_of(planes.homography[k], self._planes[serial].hull)))
        ]
        if not lost:
            return []
        serial, k = lost[self._turn % len(lost)]
        plane = self._planes[serial]
        newest = self._newest()
        expected = self._motion(survey.number, newest) @ planes.homography[k]
        expected /= expected[2, 2]
        fails = int(planes.fails[k])
        if fails > SIZES_AFTER and (self._turn % 2 or not judge(expected, expected, plane.hull, REPLAY_JUMP_PX)):
            expected = plane.good
        reach = LOST_REACH_PX + LOST_REACH_MORE_PX * fails
        now = self._memory.ring.quarter[newest % REMEMBERED_FRAMES]
        self.counters["searched"] += 1
        best: tuple[float, Homography] | None = None
        for guess in candidates(plane.picture, now, expected, plane.hull, reach, scales=fails > SIZES_AFTER):
            tried = np.ascontiguousarray(guess)
            match = self._align(plane.template, len(plane.regions), newest, tried, FOUND_SLACK)
            if (
                match > REFOUND_MATCH
                and judge(tried, guess, plane.hull, REPLAY_JUMP_PX)
                and (best is None or match > best[0])
            ):
                best = match, tried
        if best is None or not self._is_there(newest):
            return []
        self.counters["found"] += 1
        drift = self._drift(plane.template, len(plane.regions), plane.hull, best[1], newest)
        return [Found(serial, best[1], newest, drift, best[0])]

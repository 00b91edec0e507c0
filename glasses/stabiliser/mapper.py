"""The mapper: everything about planes that takes longer than a frame allows.

It makes templates, carries late results to now by replaying remembered frames, looks for lost planes, and decides from
what the frame path reports which planes to key anew, to split and to merge. It runs beside the frame path and never
holds it up; a survey ends in at most one change of planes, which the frame path takes in between two frames.

- **Keyed anew** is a plane that appears much larger, smaller or narrower than in its keyframe.
- **Split** is a plane one of whose regions fits better elsewhere when it is aligned alone.
- **Merged** are two planes that the same homography has moved while the camera travelled far enough to tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from glasses.stabiliser.alignment import MATCH
from glasses.stabiliser.commands import Box, Follow, Forget, Found, FromMapper, Install, NewPlane, Survey, ToMapper
from glasses.stabiliser.frame_path import DEFAULT_FOCAL_SHARE
from glasses.stabiliser.grouping import corners_of, disagreement, group_by_layout, stretches, travel
from glasses.stabiliser.keying import FOUND_SLACK, REPLAY_JUMP_PX, KeyedPlane, Keyer, Region
from glasses.stabiliser.limits import REGIONS_PER_PLANE, REMEMBERED_FRAMES
from glasses.stabiliser.memory import Memory, Planes
from glasses.stabiliser.planes import LOST, REFOUND_MATCH, TRACKED, judge
from glasses.stabiliser.search import candidates
from shared.geometry import Homography

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
        self._keyer = Keyer(memory)
        self._regions: dict[int, Region] = {}
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._refused: set[tuple[int, int]] = set()
        self._turn = 0
        self._others = np.zeros(REGIONS_PER_PLANE, np.int64)
        self.counters: Counter[str] = Counter()

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

    # New planes -------------------------------------------------------------------------------------------------

    def _follow(self, frame_id: int, batch: Sequence[Follow]) -> list[FromMapper]:
        """Regions found in one frame become planes."""
        number = self._keyer.number_of(frame_id)
        if number is None:
            self.counters["too_late"] += len(batch)
            return []
        regions = [Region(one.region_id, one.generation, frame_id, one.quads) for one in batch]
        answers: list[FromMapper] = []
        for group in group_by_layout([region.quads for region in regions]):
            for start in range(0, len(group), REGIONS_PER_PLANE):
                members = [regions[index] for index in group[start : start + REGIONS_PER_PLANE]]
                bases = [np.eye(3)] * len(members)
                made = self._keyer.make(number, members, bases)
                if made is None:
                    self.counters["nothing_to_follow"] += len(members)
                    continue
                for region in members:
                    self._regions[region.region_id] = region
                answers.append(Install(made[1], (), (made[0],)))
                self.counters["followed"] += len(members)
        return answers

    # Surveys ----------------------------------------------------------------------------------------------------

    def _survey(self, survey: Survey) -> list[FromMapper]:
        """At most one change for each survey: each is judged by the next."""
        self._turn += 1
        planes = self._copied(survey)
        if planes is None:
            return []  # too late: a newer survey stands in its place, and is on its way
        at = {int(planes.serial[k]): int(k) for k in np.flatnonzero(planes.active)}
        self._tidy(at, planes)
        if not self._keyer.is_there(survey.number):
            return []
        known = {serial: k for serial, k in at.items() if serial in self._keyer.planes}
        for change in (self._split, self._rekey, self._merge):
            answer = change(survey, planes, known)
            if answer is not None:
                return [answer, *self._find(survey, planes, known)]
        return self._find(survey, planes, known)

    def _copied(self, survey: Survey) -> Planes | None:
        """The planes of a survey, which may be written over at any time; None when that has happened."""
        number = self._memory.survey_number
        if number[survey.place] != survey.number:
            return None
        planes = Planes._make([field.copy() for field in self._memory.surveys[survey.place]])
        return planes if number[survey.place] == survey.number else None

    def _tidy(self, at: Mapping[int, int], planes: Planes) -> None:
        """Forget planes that have ended, or never began."""
        for serial, plane in list(self._keyer.planes.items()):
            plane.surveys += 1
            if serial in at:
                plane.seen = True
                if planes.state[at[serial]] == TRACKED and planes.quality[at[serial]] > REKEY_MATCH:
                    plane.good = planes.homography[at[serial]].copy()
            elif plane.seen or plane.surveys > UNSEEN_SURVEYS:
                del self._keyer.planes[serial]
        self._pairs = {
            pair: kept for pair, kept in self._pairs.items() if all(serial in self._keyer.planes for serial in pair)
        }
        self._refused = {pair for pair in self._refused if all(serial in self._keyer.planes for serial in pair)}

    def _members(
        self, plane: KeyedPlane, planes: Planes, k: int, homography: Homography | None = None
    ) -> list[tuple[Region, Homography]]:
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

    def _well_seen(self, plane: KeyedPlane, planes: Planes, k: int) -> bool:
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
        members: Sequence[tuple[Region, Homography]],
        match: float | None,
    ) -> tuple[NewPlane, int] | None:
        if not members:
            return None
        return self._keyer.make(
            survey.number,
            [region for region, _ in members],
            [base for _, base in members],
            must_match=match,
        )

    def _rekey(self, survey: Survey, planes: Planes, known: Mapping[int, int]) -> FromMapper | None:
        for serial, k in known.items():
            plane = self._keyer.planes[serial]
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
            serial
            for serial, k in known.items()
            if len(self._keyer.planes[serial].regions) > 1 and planes.state[k] != LOST
        ]
        if not shared:
            return None
        serial = shared[self._turn % len(shared)]
        plane, k = self._keyer.planes[serial], known[serial]
        for r in range(len(plane.regions)):
            wanted = planes.covered[k, r] == 0 and planes.region_id[k, r] >= 0
            alone = self._elsewhere(plane, planes, k, r, survey.number) if wanted else None
            plane.doubts[r] = 0 if alone is None else plane.doubts[r] + 1
            if alone is not None and plane.doubts[r] >= SPLIT_CHECKS:
                plane.doubts.clear()
                return self._part(survey, planes, k, plane, r, alone)
        return None

    def _part(
        self, survey: Survey, planes: Planes, k: int, plane: KeyedPlane, r: int, alone: Homography
    ) -> FromMapper | None:
        """Make two planes of one: region r where it is by itself, and the rest without it."""
        self._others.fill(0)
        self._others[r] = 1
        rest = np.ascontiguousarray(planes.homography[k].copy())
        if (
            self._keyer.align(plane.template, len(plane.regions), survey.number, rest, FOUND_SLACK, self._others)
            < MATCH
        ):
            rest = planes.homography[k]
        loose_id = plane.regions[r].region_id
        halves = (
            [one for one in self._members(plane, planes, k, alone) if one[0].region_id == loose_id],
            [one for one in self._members(plane, planes, k, rest) if one[0].region_id != loose_id],
        )
        made = [one for one in (self._key(survey, half, None) for half in halves) if one is not None]
        if len(made) == 2 and made[0][1] == made[1][1]:
            self.counters["split"] += 1
            self._refused.add(self._pair(made[0][0].serial, made[1][0].serial))
            return Install(made[0][1], (plane.serial,), (made[0][0], made[1][0]))
        for one, _ in made:
            del self._keyer.planes[one.serial]
        return None

    def _elsewhere(self, plane: KeyedPlane, planes: Planes, k: int, r: int, number: int) -> Homography | None:
        """Where a region of a plane goes when it is aligned by itself, if it clearly fits better there."""
        together = planes.homography[k]
        self._keyer.assess(plane, number, together)
        before = float(self._keyer.quality[r])
        self._others.fill(1)
        self._others[r] = 0
        alone = np.ascontiguousarray(together.copy())
        match = self._keyer.align(plane.template, len(plane.regions), number, alone, FOUND_SLACK, self._others)
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
            if planes.state[k] == TRACKED and planes.quality[k] > REKEY_MATCH and self._keyer.planes[serial].seen
        ]
        for pair in [pair for pair in self._pairs if not all(serial in tracked for serial in pair)]:
            del self._pairs[pair]
        width, height = self._size
        for position, first in enumerate(tracked):
            for second in tracked[position + 1 :]:
                pair = self._pair(first, second)
                one, other = self._keyer.planes[pair[0]], self._keyer.planes[pair[1]]
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
                        self._refused.add(pair)
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
                    self._refused.add(pair)
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
            and (often or self._near_view(corners_of(planes.homography[k], self._keyer.planes[serial].hull)))
        ]
        if not lost:
            return []
        serial, k = lost[self._turn % len(lost)]
        plane = self._keyer.planes[serial]
        newest = self._keyer.newest()
        expected = self._keyer.motion(survey.number, newest) @ planes.homography[k]
        expected /= expected[2, 2]
        fails = int(planes.fails[k])
        if fails > SIZES_AFTER and (self._turn % 2 or not judge(expected, expected, plane.hull, REPLAY_JUMP_PX)):
            expected = plane.good
        reach = LOST_REACH_PX + LOST_REACH_MORE_PX * fails
        now = self._memory.ring.quarter[newest % REMEMBERED_FRAMES]
        self.counters["searched"] += 1
        best: tuple[float, Homography] | None = None
        for guess in candidates(plane.picture, now, expected, plane.hull, reach, scales=fails > SIZES_AFTER):
            tried = np.array(guess, order="C")
            match = self._keyer.align(plane.template, len(plane.regions), newest, tried, FOUND_SLACK)
            if (
                match > REFOUND_MATCH
                and judge(tried, guess, plane.hull, REPLAY_JUMP_PX)
                and (best is None or match > best[0])
            ):
                best = match, tried
        if best is None or not self._keyer.is_there(newest):
            return []
        self.counters["found"] += 1
        drift = self._keyer.drift(plane.template, len(plane.regions), plane.hull, best[1], newest)
        return [Found(serial, best[1], newest, drift)]

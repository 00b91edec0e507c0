"""A tourist's day, drawn: visits to places, and the signs that come into view there. Pure and seeded.

Every draw is addressed by what it decides (`simulations.radio.draws`), so a run with another rate of signs still walks
the same way, and a sign of a place has the same language whenever it is seen.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from shared.errors import InputError
from simulations.energy.constants import Constants
from simulations.radio.draws import exponential, uniform
from simulations.world.destinations import Destination
from simulations.world.habits import MAX_SIGNS_AT_PLACE, Activity, Block, Habits, habits

DAY_S: Final = 86_400.0
LATEST_BED_S: Final = 23.75 * 3600
"""The plan is cut off here, whatever the draws say; an assumption."""
DUSK_S: Final = 45 * 60.0
"""Dusk lasts from so long before sunset to so long after; an assumption."""
MAX_DAYS: Final = 60
MAX_SIGNS_IN_VIEW: Final = 12
MAX_DWELL_S: Final = 600.0
MAX_LOOKS: Final = 5
"""Looks at one sign in one encounter: the gate does not look for ever at what it has seen."""
HOTEL: Final = 0
"""Number of the hotel's place."""

_NORMAL: Final = NormalDist()
_INDOORS: Final = frozenset({Activity.SIGHTSEEING, Activity.RESTAURANT, Activity.REST, Activity.NIGHT})


@dataclass(frozen=True, slots=True)
class Segment:
    """A visit: a time spent at one place.

    Attributes:
        start_s, end_s: since the first midnight; segments follow each other without a gap.
        activity: what is done.
        place: number of the place.
        network: name of a preset of `simulations.networks.presets`.
        charging: whether the phone is on its charger; the glasses charge only while they are not worn.
        returning: whether the place was visited before.
    """

    start_s: float
    end_s: float
    activity: Activity
    place: int
    network: str
    charging: bool
    returning: bool

    @property
    def awake(self) -> bool:
        """Whether the glasses are worn."""
        return self.activity is not Activity.NIGHT

    @property
    def seconds(self) -> float:
        """Length."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Encounter:
    """One sign that comes into view.

    Attributes:
        number: counts encounters of a run from 0, in the order of time.
        time_s: when it comes into view, since the first midnight.
        view: number of the view; signs of one view come together and share a gate opening.
        sign: identity of the sign; the same at every encounter with it.
        place: where it hangs.
        language: ISO 639-1.
        light: "day", "shade", "dusk" or "night", as `traces.records.View.light`.
        dwell_s: how long it stays in view.
        looks: how often the gate looks at it meanwhile, at least once.
        activity: what the wearer does.
        seen_before: earlier encounters with this sign.
    """

    number: int
    time_s: float
    view: int
    sign: int
    place: int
    language: str
    light: str
    dwell_s: float
    looks: int
    activity: Activity
    seen_before: int

    @property
    def gone_s(self) -> float:
        """When it leaves the view."""
        return self.time_s + self.dwell_s


@dataclass(frozen=True, slots=True)
class Wear:
    """A run of days.

    Attributes:
        destination: where.
        seed: of all draws.
        segments: in the order of time.
        encounters: in the order of time.
    """

    destination: Destination
    seed: int
    segments: tuple[Segment, ...]
    encounters: tuple[Encounter, ...]

    @property
    def seconds(self) -> float:
        """Length of the run."""
        return self.segments[-1].end_s

    @property
    def awake_seconds(self) -> float:
        """Time for which the glasses are worn."""
        return math.fsum(segment.seconds for segment in self.segments if segment.awake)

    def segment_at(self, time_s: float) -> Segment:
        """What is done at a time; before the first and after the last, that one."""
        index = bisect.bisect_right(self.segments, time_s, key=lambda segment: segment.start_s) - 1
        return self.segments[max(index, 0)]


def wear(destination: Destination, constants: Constants, seed: int, days: int = 1) -> Wear:
    """Draw the days of one wearer.

    Args:
        destination: where they are spent.
        constants: of the run.
        seed: 0 to 2**63 - 1.
        days: how many, from midnight to midnight; places visited on one are known on the next.

    Raises:
        InputError: too many days, or none.
    """
    if not 1 <= days <= MAX_DAYS:
        raise InputError(f"a run has 1 to {MAX_DAYS} days, not {days}")
    walker = _Walker(destination, habits(constants), seed)
    for day in range(days):
        walker.live(day)
    return Wear(destination, seed, tuple(walker.segments), tuple(walker.encounters))


class _Walker:
    def __init__(self, destination: Destination, tourist: Habits, seed: int) -> None:
        self._destination = destination
        self._habits = tourist
        self._seed = seed
        self._known: dict[Activity, list[int]] = {activity: [] for activity in Activity}
        self._places = 1  # the hotel
        self._visits = 0
        self._views = 0
        self._seen: dict[int, int] = {}
        self.segments: list[Segment] = []
        self.encounters: list[Encounter] = []

    def live(self, day: int) -> None:
        """One day, from midnight to midnight."""
        midnight = day * DAY_S
        now = midnight + self._habits.wake_s
        self._add(Segment(midnight, now, Activity.NIGHT, HOTEL, "wifi", charging=True, returning=day > 0))
        bed = midnight + LATEST_BED_S
        for number, block in enumerate(self._habits.plan):
            spread = math.exp(self._habits.duration_sigma * self._normal("block", day, number))
            end = min(now + block.minutes * 60 * spread, bed)
            now = self._spend(block, now, end, midnight)
        self._add(Segment(now, midnight + DAY_S, Activity.NIGHT, HOTEL, "wifi", charging=True, returning=True))

    def _spend(self, block: Block, start: float, end: float, midnight: float) -> float:
        """A block: one visit, or several as long as a visit lasts."""
        length = self._habits.visit_seconds.get(block.activity, math.inf)
        visits = max(1, round((end - start) / length)) if end > start else 0
        for index in range(visits):
            begin = start + (end - start) * index / visits
            until = end if index == visits - 1 else start + (end - start) * (index + 1) / visits
            place, returning = self._place(block)
            segment = Segment(begin, until, block.activity, place, self._network(block), block.hotel, returning)
            self._add(segment)
            self._look_around(segment, midnight)
            self._visits += 1
        return end if visits else start

    def _add(self, segment: Segment) -> None:
        if segment.end_s > segment.start_s:
            self.segments.append(segment)

    def _place(self, block: Block) -> tuple[int, bool]:
        if block.hotel:
            return HOTEL, True
        known = self._known[block.activity]
        share = self._habits.activities[block.activity].return_share
        if known and uniform(self._seed, "return", self._visits) < share:
            return known[int(uniform(self._seed, "where", self._visits) * len(known))], True
        known.append(self._places)
        self._places += 1
        return known[-1], False

    def _network(self, block: Block) -> str:
        if block.hotel:
            return "wifi"
        if block.activity is Activity.TRANSIT:
            return "train"
        draw = uniform(self._seed, "network", self._visits)
        if block.activity in _INDOORS:
            if draw < self._habits.wifi_share:
                kind = draw / self._habits.wifi_share
                if kind < self._habits.captive_share:
                    return "captive"
                return "lossy" if kind < self._habits.captive_share + self._habits.lossy_share else "wifi"
            draw = uniform(self._seed, "signal", self._visits)
        if draw < self._habits.five_g_share:
            return "5g"
        return "lte-weak" if draw < self._habits.five_g_share + self._habits.weak_share else "lte"

    def _look_around(self, segment: Segment, midnight: float) -> None:
        mean = 1 / self._habits.activities[segment.activity].views_per_second
        number = 0
        now = segment.start_s + exponential(mean, self._seed, "view", self._visits, number)
        while now < segment.end_s:
            self._look(segment, now, midnight, number)
            number += 1
            now += exponential(mean, self._seed, "view", self._visits, number)

    def _look(self, segment: Segment, now: float, midnight: float, number: int) -> None:
        tourist = self._habits.activities[segment.activity]
        address = (self._visits, number)
        extra = tourist.signs_per_view - 1  # geometric: as many more as this, on average
        draw = uniform(self._seed, "signs", *address)
        more = int(math.log1p(-draw) / math.log(extra / (1 + extra))) if extra > 0 else 0
        count = min(1 + more, MAX_SIGNS_IN_VIEW, tourist.signs_at_place)
        dwell = tourist.dwell_seconds * math.exp(self._habits.dwell_sigma * self._normal("dwell", *address))
        dwell = min(dwell, MAX_DWELL_S)
        first = int(uniform(self._seed, "sign", *address) * tourist.signs_at_place)
        light = self._light(segment, now - midnight, address)
        for index in range(count):
            # Signs that hang side by side are seen together.
            sign = segment.place * MAX_SIGNS_AT_PLACE + (first + index) % tourist.signs_at_place
            before = self._seen.get(sign, 0)
            self._seen[sign] = before + 1
            self.encounters.append(
                Encounter(
                    number=len(self.encounters),
                    time_s=now,
                    view=self._views,
                    sign=sign,
                    place=segment.place,
                    language=self._destination.language(uniform(self._seed, "language", sign)),
                    light=light,
                    dwell_s=dwell,
                    looks=min(1 + int(dwell / self._habits.look_seconds), MAX_LOOKS),
                    activity=segment.activity,
                    seen_before=before,
                )
            )
        self._views += 1

    def _light(self, segment: Segment, time_of_day: float, address: tuple[int, int]) -> str:
        after_sunset = time_of_day - self._habits.sunset_s
        if segment.activity in _INDOORS or segment.activity is Activity.TRANSIT:
            # Lamps: like shade by day, and dimmer in the evening.
            return "shade" if after_sunset < 0 else "dusk"
        if after_sunset >= DUSK_S:
            return "night"
        if after_sunset >= -DUSK_S:
            return "dusk"
        return "shade" if uniform(self._seed, "light", *address) < self._habits.shade_share else "day"

    def _normal(self, subject: str, *indices: int) -> float:
        share = min(max(uniform(self._seed, subject, *indices), 1e-12), 1 - 1e-12)
        return _NORMAL.inv_cdf(share)

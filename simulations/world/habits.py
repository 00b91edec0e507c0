"""All behavioural parameters of a run in one dataclass, and the plan of a tourist's day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from simulations.energy.constants import Constants


class Activity(StrEnum):
    """What the wearer does."""

    WALK = "walk"
    SIGHTSEEING = "sightseeing"
    RESTAURANT = "restaurant"
    TRANSIT = "transit"
    REST = "rest"
    NIGHT = "night"
    """Asleep: phone and glasses are on their chargers, and no signs are looked at."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the day as planned.

    Attributes:
        activity: what is done.
        minutes: median length.
        hotel: whether it is spent in the hotel.
    """

    activity: Activity
    minutes: float
    hotel: bool = False


PLAN: Final = (
    Block(Activity.REST, 45, hotel=True),
    Block(Activity.WALK, 20),
    Block(Activity.TRANSIT, 25),
    Block(Activity.SIGHTSEEING, 120),
    Block(Activity.WALK, 25),
    Block(Activity.RESTAURANT, 60),
    Block(Activity.WALK, 30),
    Block(Activity.SIGHTSEEING, 110),
    Block(Activity.REST, 30),
    Block(Activity.WALK, 45),
    Block(Activity.TRANSIT, 25),
    Block(Activity.REST, 60, hotel=True),
    Block(Activity.WALK, 25),
    Block(Activity.RESTAURANT, 90),
    Block(Activity.WALK, 25),
    Block(Activity.REST, 40, hotel=True),
)
"""A city trip's day between getting up and the night: an assumption, 13 hours."""


MAX_SIGNS_AT_PLACE: Final = 1000


@dataclass(frozen=True, slots=True)
class ActivityHabits:
    """How signs come while one thing is done.

    Attributes:
        views_per_second: rate of views with signs (Poisson).
        signs_per_view: mean, at least 1.
        dwell_seconds: median time a view stays.
        signs_at_place: among which a visit sees some.
        return_share: of the visits, to a place visited before.
    """

    views_per_second: float
    signs_per_view: float
    dwell_seconds: float
    signs_at_place: int
    return_share: float


@dataclass(frozen=True, slots=True)
class Habits:
    """A tourist.

    Attributes:
        activities: by activity, the night excepted.
        plan: of a day.
        visit_seconds: by activity, after which another place begins; activities not named stay at one.
        duration_sigma: of the logarithm of a block's length.
        dwell_sigma: of the logarithm of a view's.
        look_seconds: between looks at a sign that stays in view.
        wake_s, sunset_s: since midnight.
        shade_share: of outdoor signs by day.
        five_g_share, weak_share: of outdoor visits.
        wifi_share, captive_share, lossy_share: of indoor visits; the latter two of those with Wi-Fi.
    """

    activities: Mapping[Activity, ActivityHabits]
    plan: tuple[Block, ...]
    visit_seconds: Mapping[Activity, float]
    duration_sigma: float
    dwell_sigma: float
    look_seconds: float
    wake_s: float
    sunset_s: float
    shade_share: float
    five_g_share: float
    weak_share: float
    wifi_share: float
    captive_share: float
    lossy_share: float


def habits(constants: Constants) -> Habits:
    """A tourist with these constants."""
    return Habits(
        activities={
            activity: ActivityHabits(
                views_per_second=constants[f"{activity}.views_per_minute"] / 60,
                signs_per_view=constants[f"{activity}.signs_per_view"],
                dwell_seconds=constants[f"{activity}.dwell_seconds"],
                signs_at_place=min(max(1, round(constants[f"{activity}.signs_at_place"])), MAX_SIGNS_AT_PLACE),
                return_share=constants[f"{activity}.return_share"],
            )
            for activity in Activity
            if activity is not Activity.NIGHT
        },
        plan=PLAN,
        visit_seconds={
            Activity.WALK: constants["visit.walk_minutes"] * 60,
            Activity.SIGHTSEEING: constants["visit.sightseeing_minutes"] * 60,
        },
        duration_sigma=constants["day.duration_sigma"],
        dwell_sigma=constants["view.dwell_sigma"],
        look_seconds=constants["view.look_seconds"],
        wake_s=constants["day.wake_hours"] * 3600,
        sunset_s=constants["day.sunset_hours"] * 3600,
        shade_share=constants["light.shade_share"],
        five_g_share=constants["network.5g_share"],
        weak_share=constants["network.weak_share"],
        wifi_share=constants["network.indoor_wifi_share"],
        captive_share=constants["network.captive_share"],
        lossy_share=constants["network.lossy_share"],
    )

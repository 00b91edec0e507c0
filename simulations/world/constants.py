"""What a tourist does and sees, with ranges.

No publication was found that counts the signs a person with translating glasses looks at; linguistic-landscape studies
count what hangs in a street, not what is looked at. So nearly all of this is assumed, with wide ranges, and it is for
the sensitivity table to say which of it matters. Together the nominal values make some 700 signs a day.
"""

from __future__ import annotations

from typing import Final

from simulations.energy.constants import Constant, Spread, Standing, table

_GUESS: Final = "no source"

WORLD_CONSTANTS: Final = table(
    *(
        Constant(f"{activity}.views_per_minute", rate, "1/min", rate / 3, rate * 2, _GUESS, note=note)
        for activity, rate, note in (
            ("walk", 0.9, "views with at least one sign at which the gate opens"),
            ("sightseeing", 0.6, "labels, boards, tickets"),
            ("restaurant", 0.2, "menus, bills, doors"),
            ("transit", 0.7, "stations, platforms, machines"),
            ("rest", 0.05, "the odd label"),
        )
    ),
    *(
        Constant(f"{activity}.signs_per_view", signs, "1", low, high, _GUESS, note="mean, at least one")
        for activity, signs, low, high in (
            ("walk", 2.0, 1.2, 4.0),
            ("sightseeing", 1.8, 1.1, 3.0),
            ("restaurant", 2.5, 1.2, 6.0),
            ("transit", 2.0, 1.2, 4.0),
            ("rest", 1.5, 1.1, 3.0),
        )
    ),
    *(
        Constant(
            f"{activity}.dwell_seconds", seconds, "s", seconds / 2, seconds * 2, source, note="median time in view"
        )
        for activity, seconds, source in (
            (
                "walk",
                3.0,
                "a sign legible from 5 m on at 1.4 m/s (walking speed: Bohannon 1997, cited), and turning heads",
            ),
            ("sightseeing", 8.0, _GUESS),
            ("restaurant", 20.0, _GUESS),
            ("transit", 5.0, _GUESS),
            ("rest", 8.0, _GUESS),
        )
    ),
    Constant(
        "view.dwell_sigma",
        0.8,
        "1",
        0.5,
        1.1,
        "dwell times of visitors are log-normal in most counts; the figure is assumed",
        note="standard deviation of the logarithm of the time in view",
        spread=Spread.TRIANGULAR,
    ),
    Constant(
        "view.look_seconds",
        4.0,
        "s",
        3.0,
        5.0,
        "glasses/gate.py: 0.25 looks a second in the long run, one after 5 s in any case",
        Standing.CHECKED,
        "between looks at a sign that stays in view",
    ),
    *(
        Constant(
            f"{activity}.signs_at_place", count, "1", low, high, _GUESS, note="signs among which a visit sees some"
        )
        for activity, count, low, high in (
            ("walk", 30, 10, 100),
            ("sightseeing", 40, 10, 120),
            ("restaurant", 25, 8, 80),
            ("transit", 30, 10, 100),
            ("rest", 8, 3, 25),
        )
    ),
    *(
        Constant(f"{activity}.return_share", share, "1", low, high, _GUESS, note=note, spread=Spread.TRIANGULAR)
        for activity, share, low, high, note in (
            ("walk", 0.35, 0.1, 0.7, "visits to a stretch of street that was walked before"),
            ("sightseeing", 0.05, 0.0, 0.2, "visits to a sight seen before"),
            ("restaurant", 0.1, 0.0, 0.4, "meals where one ate before"),
            ("transit", 0.5, 0.2, 0.9, "trips from a station used before"),
            ("rest", 0.3, 0.0, 0.8, "cafes sat in before; the hotel is always the same"),
        )
    ),
    Constant(
        "visit.walk_minutes",
        6,
        "min",
        3,
        12,
        _GUESS,
        note="walking time after which the street counts as another place",
    ),
    Constant("visit.sightseeing_minutes", 35, "min", 15, 60, _GUESS, note="time at one sight, or in one room of signs"),
    Constant(
        "day.duration_sigma",
        0.25,
        "1",
        0.1,
        0.5,
        _GUESS,
        note="standard deviation of the logarithm of each part of the day",
        spread=Spread.TRIANGULAR,
    ),
    Constant("day.wake_hours", 7.5, "h", 6.5, 9.0, _GUESS, spread=Spread.TRIANGULAR),
    Constant(
        "day.sunset_hours",
        19.0,
        "h",
        16.5,
        21.5,
        "latitudes of 35 to 53 degrees over the year",
        spread=Spread.TRIANGULAR,
    ),
    Constant(
        "light.shade_share", 0.35, "1", 0.15, 0.6, _GUESS, note="of outdoor signs by day", spread=Spread.TRIANGULAR
    ),
    Constant(
        "network.5g_share",
        0.15,
        "1",
        0.087,
        0.5,
        "Opensignal, Portugal, July 2022: 5G availability 8.7 to 20.9 %",
        Standing.CHECKED,
        "of outdoor time; more today",
        spread=Spread.TRIANGULAR,
    ),
    Constant(
        "network.weak_share",
        0.1,
        "1",
        0.03,
        0.25,
        "Opensignal, Portugal, July 2022: neither 3G, 4G nor 5G 2 to 4.5 % of the time; weak signal more often",
        note="of outdoor time",
        spread=Spread.TRIANGULAR,
    ),
    Constant(
        "network.indoor_wifi_share",
        0.3,
        "1",
        0.1,
        0.6,
        _GUESS,
        note="of restaurants, cafes and sights",
        spread=Spread.TRIANGULAR,
    ),
    Constant(
        "network.captive_share",
        0.1,
        "1",
        0.02,
        0.3,
        _GUESS,
        note="of them: a portal not yet passed",
        spread=Spread.TRIANGULAR,
    ),
    Constant(
        "network.lossy_share",
        0.1,
        "1",
        0.02,
        0.3,
        _GUESS,
        note="of them: an overloaded network",
        spread=Spread.TRIANGULAR,
    ),
)

"""What comes into view in a run, as looks at traces: the wearer's days joined with the traces that stand for signs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from glasses.signs import CLOSER_SCALE, KEEP_LOST_S
from simulations.energy.constants import Constants
from simulations.sweep.book import TraceBook
from simulations.sweep.outcomes import Look
from simulations.traces.records import SignTrace
from simulations.world.choice import TraceChooser
from simulations.world.day import MAX_LOOKS, Encounter, Segment, Wear, wear
from simulations.world.destinations import destination


@dataclass(frozen=True, slots=True)
class Opening:
    """The gate opens: one detection, or one still.

    Attributes:
        at: seconds since the first midnight.
        looks: that may be sent: of signs that are new, or appear larger than before.
        pictured: what a picture of everything shows of the signs that have to be answered, `looks` included.
        in_view: traces of all the signs there.
    """

    at: float
    looks: tuple[Look, ...]
    pictured: tuple[Look, ...]
    in_view: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's world, the same for every design that is compared in it.

    Attributes:
        book: the traces by number.
        wear: the days.
        openings: in the order of time.
        signs: encounters that have to be answered, by region id.
        remembered: encounters whose answer the glasses still hold, with the region that was answered.
    """

    book: TraceBook
    wear: Wear
    openings: tuple[Opening, ...]
    signs: dict[int, Encounter]
    remembered: dict[int, int]

    def is_private(self, number: int) -> bool:
        """Whether a sign shows something private, as far as any of the phone's recognisers could tell."""
        return any(local.private is not None for local in self.book[number].local.values())

    @property
    def days(self) -> int:
        """Length of the run."""
        return math.ceil(self.wear.seconds / 86_400)

    @property
    def encounters(self) -> int:
        """Signs that came into view."""
        return len(self.signs) + len(self.remembered)


def make_plan(
    traces: Sequence[SignTrace], *, city: str, constants: Constants, seed: int, days: int, hours: float | None = None
) -> Plan:
    """Draw a run.

    Args:
        traces: from which the signs are chosen; languages of the city without a trace are left out.
        city: name of a destination.
        constants: of the run.
        seed: of the world.
        days: how many.
        hours: only so many hours from the first time the glasses are put on; None for whole days.

    Raises:
        UsageError: there is no such city.
        InputError: there are no traces, or none in a language of the city.
    """
    book = TraceBook(traces)
    chooser = TraceChooser(traces)
    numbers = {id(trace): number for number, trace in enumerate(traces)}
    world = wear(destination(city).restricted(chooser.languages), constants, seed, days)
    if hours is not None:
        world = _first_hours(world, hours * 3600)
    spacing = constants["view.look_seconds"]
    signs: dict[int, Encounter] = {}
    remembered: dict[int, int] = {}
    last: dict[int, tuple[float, int]] = {}  # by sign: when it left the view, and the region it was answered as
    looks: dict[tuple[int, int], list[Look]] = {}
    pictured: dict[tuple[int, int], list[Look]] = {}
    in_view: dict[tuple[int, int], list[int]] = {}
    times: dict[tuple[int, int], float] = {}
    for encounter in world.encounters:
        region = encounter.number + 1
        before = last.get(encounter.sign)
        known = before is not None and encounter.time_s - before[0] <= KEEP_LOST_S
        if before is not None and known:
            remembered[region] = before[1]
        else:
            signs[region] = encounter
        last[encounter.sign] = (encounter.gone_s, remembered.get(region, region))
        traced = chooser.looks(encounter)
        sent: float | None = None
        for index in range(encounter.looks):
            trace = traced[index % len(traced)]
            number = numbers[id(trace)]
            key = (encounter.view, index)
            times[key] = encounter.time_s + index * spacing
            in_view.setdefault(key, []).append(number)
            if known:
                continue
            opening = encounter.view * MAX_LOOKS + index
            look = Look(times[key], encounter.gone_s, region, number, opening, again=index > 0)
            pictured.setdefault(key, []).append(look)
            height = trace.view.height_px
            # The firmware sends a sign again only when it appears larger by CLOSER_SCALE, and its answer was poor.
            if index and (sent is None or height is None or height < CLOSER_SCALE * sent):
                continue
            sent = height
            looks.setdefault(key, []).append(look)
    openings = tuple(
        Opening(times[key], tuple(looks.get(key, ())), tuple(pictured.get(key, ())), tuple(in_view[key]))
        for key in sorted(in_view, key=lambda key: (times[key], key))
    )
    return Plan(book, world, openings, signs, remembered)


def _first_hours(world: Wear, seconds: float) -> Wear:
    """The same world, ended so long after the glasses were first put on."""
    start = next(segment.start_s for segment in world.segments if segment.awake)
    end = start + seconds
    segments = tuple(
        Segment(
            segment.start_s, min(segment.end_s, end), segment.activity, segment.place, segment.network,
            segment.charging, segment.returning,
        )
        for segment in world.segments
        if segment.start_s < end
    )  # fmt: skip
    encounters = tuple(encounter for encounter in world.encounters if encounter.time_s < end)
    return Wear(world.destination, world.seed, segments, encounters)

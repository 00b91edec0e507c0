"""What happens at a connection event, and when there is none: the pure parts of the emulated air."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_world import LINKS

from simulations.radio import LinkProfile
from simulations.radio.conditions import Conditions, Direction, EventClock
from simulations.radio.controller import ACL_BYTES, acl_buffers
from simulations.radio.delay import DelayLine
from simulations.radio.draws import uniform
from simulations.radio.lane import Lane
from simulations.radio.outages import OutageSchedule, periods
from simulations.radio.parameters import ParameterRequest, supervision_in_force

# Random draws -------------------------------------------------------------------------------------------


def test_draws_depend_on_what_they_decide_and_spread_evenly() -> None:
    draws = [uniform(7, "miss", 1, event) for event in range(4000)]
    assert draws == [uniform(7, "miss", 1, event) for event in range(4000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert sum(draws) / len(draws) == pytest.approx(0.5, abs=0.02)
    assert len(set(draws)) == len(draws)
    assert uniform(8, "miss", 1, 0) != draws[0] != uniform(7, "jitter", 1, 0)


# Missed events ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("terms", "burst"), [("miss=3%", 1.03), ("miss=20%,burst=5", 5), ("miss=50%,burst=2", 2)])
def test_as_many_events_are_missed_and_in_runs_as_long_as_asked(terms: str, burst: float) -> None:
    profile = LinkProfile.parse(f"40kBps/30ms,{terms}")
    conditions = Conditions(profile, connection=1)
    missed = [conditions.missed(event) for event in range(1, 30_001)]
    runs = [len(list(run)) for bad, run in itertools.groupby(missed) if bad]
    assert sum(missed) / len(missed) == pytest.approx(profile.miss, rel=0.08)
    assert sum(runs) / len(runs) == pytest.approx(burst, rel=0.08)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    miss=st.floats(0.01, 0.9),
    stretch=st.floats(1, 20),
    events=st.lists(st.integers(1, 300), min_size=1, max_size=30),
)
def test_what_happens_at_an_event_does_not_depend_on_which_were_asked_about_before(
    seed: int, miss: float, stretch: float, events: list[int]
) -> None:
    profile = LinkProfile(40_000, 0.03, miss=miss, burst=stretch / (1 - miss), jitter_s=0.01, seed=seed)
    in_order = Conditions(profile, connection=3)
    expected = {event: in_order.at(event, Direction.TO_CENTRAL) for event in range(1, 301)}
    asked = Conditions(profile, connection=3)
    for event in events:
        assert asked.at(event, Direction.TO_CENTRAL) == expected[event]


def test_seeds_connections_and_directions_see_different_things() -> None:
    profile = LinkProfile.parse("40kBps/30ms,miss=30%,jitter=5ms,seed=7")

    def decisions(profile: LinkProfile, connection: int, direction: Direction) -> list[Any]:
        conditions = Conditions(profile, connection=connection)
        return [conditions.at(event, direction) for event in range(1, 100)]

    base = decisions(profile, 1, Direction.TO_CENTRAL)
    assert base == decisions(profile, 1, Direction.TO_CENTRAL)
    assert base != decisions(profile, 2, Direction.TO_CENTRAL)
    assert base != decisions(LinkProfile.parse("40kBps/30ms,miss=30%,jitter=5ms,seed=8"), 1, Direction.TO_CENTRAL)
    other_way = decisions(profile, 1, Direction.TO_PERIPHERAL)
    # An event is missed both ways or not at all; delays are each direction's own.
    assert [decision.missed for decision in base] == [decision.missed for decision in other_way]
    assert [decision.delay_s for decision in base] != [decision.delay_s for decision in other_way]


def test_a_missed_event_grants_nothing_and_others_the_rate() -> None:
    conditions = Conditions(LinkProfile.parse("40kBps/30ms,miss=30%"))
    decisions = [conditions.at(event, Direction.TO_CENTRAL) for event in range(1, 100)]
    assert {(decision.missed, decision.grant_bytes) for decision in decisions} == {(True, 0.0), (False, 1200.0)}


@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 251), min_size=1, max_size=60))
def test_misses_delay_but_lose_nothing_and_their_capacity_is_gone(seed: int, sizes: list[int]) -> None:
    conditions = Conditions(LinkProfile.parse(f"40kBps/30ms,miss=40%,burst=3,seed={seed}"))
    lane: Lane[int] = Lane()
    for number, size in enumerate(sizes):
        lane.push(number, size, event=0)
    left: list[int] = []
    granted = 0.0
    for event in itertools.count(1):
        released = lane.release(conditions, event=event)
        assert not (released and conditions.missed(event))
        granted += conditions.grant_bytes(event)
        left += released
        assert sum(sizes[number] for number in left) <= granted
        if not len(lane):
            break
    assert left == list(range(len(sizes)))


# Rate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", LINKS)
def test_a_saturated_lane_reaches_the_shaped_rate_with_the_buffers_of_its_controller(link: str) -> None:
    profile = LinkProfile.parse(link)
    assert profile.rate_bytes_per_s is not None
    assert profile.interval_s is not None
    conditions, buffers, events = Conditions(profile), acl_buffers(profile), 400
    lane: Lane[int] = Lane()
    for number in range(buffers):
        lane.push(number, ACL_BYTES, event=0)
    sent = 0
    for event in range(1, events + 1):
        released = lane.release(conditions, event=event)
        sent += ACL_BYTES * len(released)
        for number in released:  # the host refills what is reported complete
            lane.push(number, ACL_BYTES, event=event)
        assert len(lane) == buffers
    assert sent / (events * profile.interval_s) == pytest.approx(profile.rate_bytes_per_s, rel=0.01)


def test_the_grid_of_events_is_absolute_and_goes_on_counting_when_the_interval_changes() -> None:
    clock = EventClock(10.0, 0.03)
    assert [clock.passed(clock.time_s(event)) for event in range(1000)] == list(range(1000))
    assert clock.passed(10.0299) == 0
    slower = clock.changed(10.1, 0.05)
    assert slower.passed(10.1) == clock.passed(10.1) == 3
    assert slower.time_s(4) == pytest.approx(10.15)
    assert EventClock(10.0, None).passed(99.0) == 0


# Latency and jitter -------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=50))
def test_a_delay_line_never_reorders_and_is_never_early(steps: list[tuple[float, float]]) -> None:
    line: DelayLine[int] = DelayLine()
    steps = sorted(steps)
    for number, (now, delay) in enumerate(steps):
        line.push(number, now + delay)
    out: list[int] = []
    while (due := line.due_s) is not None:
        batch = line.pop(due)
        assert batch
        assert all(steps[number][0] + steps[number][1] <= due for number in batch)
        out += batch
    assert out == list(range(len(steps)))


# Outages ------------------------------------------------------------------------------------------------


def test_a_schedule_is_out_when_planned_and_joins_what_overlaps() -> None:
    profile = LinkProfile.parse("40kBps/30ms,out=2s@5s,out=1s@1s,out=2s@6s")
    assert [(period.start_s, period.end_s) for period in periods(profile)] == [(1, 2), (5, 8)]
    schedule = OutageSchedule(profile)
    assert [schedule.out(at) for at in (0, 0.999, 1, 1.999, 2, 5, 7.5, 8, 100)] == [
        *(False, False, True, True, False, True, True, False, False)
    ]
    assert [schedule.next_change_s(at) for at in (0, 1, 2, 5, 8)] == [1, 2, 5, 8, None]
    assert schedule.out(1.5)  # an earlier time may be asked about, too


def test_range_is_lost_at_random_as_often_and_as_long_as_asked_and_the_same_for_one_seed() -> None:
    profile = LinkProfile.parse("40kBps/30ms,range=20s/3s,seed=7")
    found = list(itertools.islice(periods(profile), 2000))
    assert found == list(itertools.islice(periods(profile), 2000))
    assert found[0] != next(periods(LinkProfile.parse("40kBps/30ms,range=20s/3s,seed=8")))
    out = [period.end_s - period.start_s for period in found]
    inside = [after.start_s - before.end_s for before, after in itertools.pairwise(found)]
    assert min(*out, *inside) > 0
    assert sum(out) / len(out) == pytest.approx(3, rel=0.08)
    assert sum(inside) / len(inside) == pytest.approx(20, rel=0.08)
    schedule = OutageSchedule(profile)
    for period in found[:100]:
        assert schedule.out(period.start_s)
        assert schedule.next_change_s(period.start_s) == period.end_s
        assert not schedule.out(period.end_s)


# Profile changes at run time, parameters, PHY -----------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "interval_s", "fixed", "chosen"),
    [
        (ParameterRequest(12, 24, 0, 300), 0.03, True, 0.03),
        (ParameterRequest(12, 23, 0, 300), 0.03, True, None),
        (ParameterRequest(12, 23, 0, 300), 0.03, False, 0.02875),
        (ParameterRequest(40, 80, 0, 300), 0.03, False, 0.05),
        (ParameterRequest(24, 24, 0, 300), 0.0301, True, 0.0301),  # HCI rounds; the exact interval stays
        (ParameterRequest(12, 24, 0, 300), None, True, 0.03),
    ],
)
def test_the_interval_chosen_is_the_profiles_or_the_nearest(
    request_: ParameterRequest, interval_s: float | None, fixed: bool, chosen: float | None
) -> None:
    assert request_.valid
    assert request_.choose(interval_s, fixed=fixed) == (None if chosen is None else pytest.approx(chosen))


@pytest.mark.parametrize(
    "fields", [(5, 24, 0, 300), (24, 12, 0, 300), (12, 24, 500, 300), (12, 24, 0, 9), (24, 24, 9, 60)]
)
def test_requests_outside_the_specification_are_not_valid(fields: tuple[int, int, int, int]) -> None:
    assert not ParameterRequest(*fields).valid


def test_supervision_falls_back_to_a_default_when_nobody_asks() -> None:
    assert supervision_in_force(0, 0.03, override_s=None) == pytest.approx(0.72)

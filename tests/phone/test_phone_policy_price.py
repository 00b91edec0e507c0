"""What a call costs, what is remembered between decisions, and when held escalations go."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import FRESH, GOOD, POLICY

from phone.cascade.batching import Held, due, given_up, is_fresh, next_change
from phone.cascade.constants import Policy
from phone.cascade.decision import CascadeMemory
from phone.cascade.hysteresis import remember
from phone.cascade.inputs import NetworkKind, Thermal
from phone.cascade.price import CELLULAR_TAIL_S, call_energy, chance_in_time, price_per_joule


class TestEnergy:
    def test_a_cold_cellular_call_is_mostly_tail(self) -> None:
        call = call_energy(NetworkKind.CELLULAR, request_bytes=4_000, active_seconds=0.5, radio_open_seconds=0.0)
        tail, promotion = 11.576 * 1.06, 0.2601 * 1.2107
        assert call.alone - call.shared == pytest.approx(tail + promotion)
        assert call.shared == pytest.approx(0.5 * 1.288 + 4_000 * 8 * 0.43839e-6 + 8_000 * 0.05197e-6)
        assert (call.alone - call.shared) / call.alone > 0.9

    def test_in_an_open_window_a_call_pays_for_what_it_lengthens(self) -> None:
        open_for = [0.0, 0.5, 6.0, CELLULAR_TAIL_S]
        alone = [
            call_energy(NetworkKind.CELLULAR, request_bytes=4_000, active_seconds=0.5, radio_open_seconds=seconds).alone
            for seconds in open_for
        ]
        assert alone == sorted(alone, reverse=True)
        shared = call_energy(NetworkKind.CELLULAR, request_bytes=4_000, active_seconds=0.5, radio_open_seconds=0.0)
        assert alone[-1] == pytest.approx(shared.shared)

    def test_wifi_is_a_small_part_of_that_and_the_unknown_is_taken_for_the_dearer(self) -> None:
        wifi, cellular, unknown = (
            call_energy(kind, request_bytes=4_000, active_seconds=0.5, radio_open_seconds=0.0).alone
            for kind in (NetworkKind.WIFI, NetworkKind.CELLULAR, NetworkKind.UNKNOWN)
        )
        assert wifi < cellular / 50
        assert unknown == cellular

    @given(st.integers(1, 99), st.booleans(), st.sampled_from(Thermal))
    def test_a_joule_gets_dearer_as_the_battery_empties(self, percent: int, saving: bool, thermal: Thermal) -> None:
        fuller, emptier = (
            price_per_joule(replace(GOOD, battery_percent=level, thermal=thermal), saving=saving, policy=POLICY)
            for level in (percent + 1, percent)
        )
        assert fuller < emptier

    def test_the_price_of_a_joule_depends_on_charger_warmth_and_saving(self) -> None:
        def price(*, saving: bool = False, **changes: object) -> float:
            return price_per_joule(replace(GOOD, **changes), saving=saving, policy=POLICY)

        assert price(charging=True, battery_percent=3) == 0
        assert price(battery_percent=100) == pytest.approx(POLICY.price_per_joule)
        assert price(battery_percent=20) == pytest.approx(5 * POLICY.price_per_joule)
        assert price(battery_percent=None) == price(battery_percent=POLICY.unknown_battery_percent)
        assert price(thermal=Thermal.WARM) == pytest.approx(2 * price())
        assert price(saving=True) == pytest.approx(2 * price())


class TestChanceInTime:
    def test_half_of_the_answers_are_in_time_at_the_median_and_nine_in_ten_at_that_quantile(self) -> None:
        times = replace(GOOD, expected_seconds=1.0, late_seconds=3.0, delivery_seconds=0.5)
        assert chance_in_time(replace(times, life_left_seconds=1.5), POLICY) == pytest.approx(0.5)
        assert chance_in_time(replace(times, life_left_seconds=3.5), POLICY) == pytest.approx(0.9)
        # One sigma up: the 84th percentile of a lognormal.
        sigma = math.log(3.0) / 1.2816
        assert chance_in_time(replace(times, life_left_seconds=0.5 + math.exp(sigma)), POLICY) == pytest.approx(
            0.8413, abs=1e-4
        )

    def test_an_unknown_quantile_is_assumed(self) -> None:
        times = replace(GOOD, expected_seconds=1.0, late_seconds=None, delivery_seconds=0.0, life_left_seconds=2.0)
        assert chance_in_time(times, POLICY) == pytest.approx(0.9)

    @given(st.floats(0, 20), st.floats(0, 40), st.floats(0, 5), st.floats(-1, 60))
    def test_it_is_a_probability(self, expected: float, late: float, delivery: float, life: float) -> None:
        times = replace(
            GOOD, expected_seconds=expected, late_seconds=late, delivery_seconds=delivery, life_left_seconds=life
        )
        assert 0 <= chance_in_time(times, POLICY) <= 1


class TestHysteresis:
    @given(st.lists(st.integers(0, 100), min_size=1, max_size=40), st.booleans())
    def test_saving_changes_only_where_a_band_was_crossed(self, levels: list[int], saving: bool) -> None:
        memory = CascadeMemory(saving=saving)
        for level in levels:
            after = remember(memory, replace(GOOD, battery_percent=level), POLICY)
            if after.saving and not memory.saving:
                assert level < POLICY.save_below_percent
            if memory.saving and not after.saving:
                assert level > POLICY.save_until_percent
            memory = after

    @given(
        st.sampled_from([("save_below_percent", "saving"), ("lowest_battery_percent", "empty")]),
        st.lists(st.integers(-2, 2), min_size=2, max_size=40),
    )
    def test_a_battery_that_jitters_around_a_threshold_changes_a_state_once_at_most(
        self, threshold: tuple[str, str], jitter: list[int]
    ) -> None:
        bound, state = getattr(POLICY, threshold[0]), threshold[1]
        memory, states = FRESH, []
        for step in jitter:
            memory = remember(memory, replace(GOOD, battery_percent=bound + step), POLICY)
            states.append(getattr(memory, state))
        assert sum(before != after for before, after in itertools.pairwise(states)) <= 1

    @given(st.lists(st.floats(0.75, 1.25), min_size=2, max_size=40))
    def test_a_delay_that_jitters_around_its_bound_changes_the_state_once_at_most(self, jitter: list[float]) -> None:
        memory, states = FRESH, []
        for factor in jitter:
            memory = remember(memory, replace(GOOD, late_seconds=POLICY.slow_seconds * factor), POLICY)
            states.append(memory.slow)
        assert sum(before != after for before, after in itertools.pairwise(states)) <= 1

    def test_a_slow_cloud_is_quick_again_well_below_the_bound(self) -> None:
        slow = remember(FRESH, replace(GOOD, late_seconds=6.1), POLICY)
        assert slow.slow
        assert remember(slow, replace(GOOD, late_seconds=4.3), POLICY).slow
        assert not remember(slow, replace(GOOD, late_seconds=4.1), POLICY).slow

    def test_a_charger_ends_saving_and_a_silent_battery_leaves_it(self) -> None:
        low = CascadeMemory(saving=True, empty=True)
        assert remember(low, replace(GOOD, battery_percent=2, charging=True), POLICY) == FRESH
        assert remember(low, replace(GOOD, battery_percent=None), POLICY) == low

    def test_thresholds_that_would_flap_are_refused(self) -> None:
        for wrong in ({"save_until_percent": 15}, {"awake_from_percent": 5}, {"slow_leave": 1.0}):
            with pytest.raises(ValueError, match="left later than it is entered"):
                Policy(**wrong)


def _held(number: int, gain: float, *, alone: float = 0.10, shared: float = 0.04, latest: float = 5.0) -> Held:
    return Held(id=number, since=0.0, latest=latest, gain=gain, price_alone=alone, price_shared=shared)


helds = st.lists(
    st.builds(
        Held,
        id=st.integers(0, 1_000),
        since=st.just(0.0),
        latest=st.floats(0, 10),
        gain=st.floats(-0.5, 1),
        price_alone=st.floats(0.05, 1),
        price_shared=st.floats(0, 0.05),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)


class TestBatching:
    def test_two_that_are_not_worth_waking_the_radio_for_are_so_together(self) -> None:
        assert due([_held(1, 0.08)], 1.0, False) == []
        assert due([_held(1, 0.08), _held(2, 0.08)], 1.0, False) == [1, 2]

    def test_one_that_is_worth_it_alone_goes_and_takes_the_others_along(self) -> None:
        assert due([_held(1, 0.2), _held(2, 0.05)], 1.0, False) == [1, 2]

    def test_all_that_are_worth_their_share_go_when_the_radio_is_open(self) -> None:
        assert due([_held(1, 0.05), _held(2, 0.03), _held(3, 0.06)], 1.0, True) == [1, 3]

    def test_one_whose_time_has_passed_is_given_up(self) -> None:
        held = [_held(1, 0.08, latest=2.0), _held(2, 0.08)]
        assert due(held, 2.5, True) == [2]
        assert given_up(held, 2.5) == [1]
        assert next_change(held) == 2.0
        assert next_change([]) is None

    def test_at_its_latest_time_it_goes_if_company_made_it_worth_it(self) -> None:
        held = [_held(1, 0.08, latest=2.0), _held(2, 0.08)]
        assert due(held, 2.0, False) == [1, 2]

    def test_a_radio_that_has_just_been_used_is_fresh_and_one_about_to_sleep_is_not(self) -> None:
        assert is_fresh(CELLULAR_TAIL_S)
        assert not is_fresh(3.0)
        assert not is_fresh(math.nan)

    @given(helds, st.floats(0, 10), st.booleans())
    def test_what_goes_pays_for_itself(self, held: list[Held], now: float, radio_open: bool) -> None:
        sent = [one for one in held if one.id in due(held, now, radio_open)]
        assert all(one.gain > one.price_shared and now <= one.latest for one in sent)
        if sent and not radio_open:
            opening = max(one.price_alone - one.price_shared for one in sent)
            assert sum(one.gain for one in sent) > sum(one.price_shared for one in sent) + opening

    @given(helds, st.floats(0, 10))
    def test_one_worth_it_alone_never_waits(self, held: list[Held], now: float) -> None:
        alike = [replace(one, price_alone=0.5, price_shared=0.05) for one in held]
        ready = [one.id for one in alike if one.gain > one.price_alone and now <= one.latest]
        assert set(ready) <= set(due(alike, now, False))

"""What radios cost: tails that transfers share, times that add up, and the Bluetooth link."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InputError
from simulations.energy.ble import BleEnd, BleRadio, ble_model
from simulations.energy.radio import (
    MAX_OPEN,
    PhoneRadio,
    PhoneRadios,
    RadioKind,
    RadioModel,
    RadioState,
    Tail,
    radio_model,
)
from simulations.energy.registry import nominal

LTE = RadioModel(
    kind=RadioKind.LTE,
    wake_seconds=0.25,
    wake_watts=1.0,
    active_watts=2.0,
    up_joules_per_byte=1e-6,
    down_joules_per_byte=5e-7,
    tails=(Tail(0.5, 2.0), Tail(10.0, 0.5)),
    idle_watts=0.125,
)
"""Round numbers, so that sums can be written down."""


def account(*transfers: tuple[float, float, int, int], until: float = 1000.0) -> PhoneRadio:
    radio = PhoneRadio(LTE)
    for start, seconds, up, down in transfers:
        radio.transfer(start, seconds, up, down)
    assert math.fsum(radio.summary(until).seconds.values()) == pytest.approx(until)
    return radio


def test_a_cold_transfer_costs_wake_air_bytes_and_tail() -> None:
    summary = account((100.0, 1.0, 4000, 2000)).summary(1000.0)
    assert summary.seconds == {
        RadioState.WAKE: 0.25,
        RadioState.ACTIVE: 1.0,
        RadioState.TAIL: 10.5,
        RadioState.IDLE: 988.25,
    }
    traffic = 0.25 * 1.0 + 1.0 * 2.0 + 4000e-6 + 1000e-6 + (0.5 * 2.0 + 10.0 * 0.5)
    assert summary.joules == pytest.approx(traffic + 988.25 * 0.125)
    assert summary.above_idle == pytest.approx(traffic - 11.75 * 0.125)
    assert summary.above_idle == pytest.approx(LTE.cold_joules(1.0, 4000, 2000))
    assert (summary.wakes, summary.bytes_up, summary.bytes_down) == (1, 4000, 2000)


def test_a_radio_that_is_never_used_costs_its_sleep() -> None:
    summary = PhoneRadio(LTE).summary(80.0)
    assert (summary.joules, summary.above_idle, summary.wakes) == (10.0, 0.0, 0)


def test_a_second_transfer_within_the_tail_costs_only_the_time_by_which_the_tail_is_longer() -> None:
    one = account((100.0, 1.0, 0, 0)).summary(1000.0).above_idle
    warm = account((100.0, 1.0, 0, 0), (106.0, 1.0, 0, 0)).summary(1000.0).above_idle
    # Five seconds of tail (half of one in reception), one on the air; then the same tail as before.
    assert warm - one == pytest.approx(0.5 * 2.0 + 4.5 * 0.5 + 1.0 * 2.0 - 6.0 * 0.125)


def test_two_transfers_within_one_tail_cost_less_than_two_cold_ones() -> None:
    warm = account((100.0, 1.0, 500, 0), (106.0, 1.0, 500, 0)).summary(1000.0)
    cold = account((100.0, 1.0, 500, 0), (200.0, 1.0, 500, 0)).summary(1000.0)
    assert warm.wakes == 1
    assert cold.wakes == 2
    assert cold.above_idle == pytest.approx(2 * LTE.cold_joules(1.0, 500, 0))
    # Saved are a wake and the half of a tail that the two share, both less the sleep in their place.
    saved = 0.25 * 1.0 + (10.0 - 4.5) * 0.5 - 5.75 * 0.125
    assert cold.above_idle - warm.above_idle == pytest.approx(saved)
    assert saved > 0


def test_the_account_is_cut_where_it_is_asked_for() -> None:
    radio = account((100.0, 1.0, 0, 0))
    assert radio.summary(101.25).seconds[RadioState.TAIL] == 0.25
    assert radio.summary(101.25).joules - radio.summary(101.0).joules == pytest.approx(0.25 * 2.0)
    assert radio.summary(104.5).joules - radio.summary(103.5).joules == pytest.approx(0.5)
    assert radio.summary(300.0).joules - radio.summary(200.0).joules == pytest.approx(12.5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(4, 4000), st.integers(0, 80), st.integers(0, 9000)), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
)
def test_joules_depend_neither_on_order_nor_on_cuts(calls: list[tuple[int, int, int]], shuffled: random.Random) -> None:
    # Quarters of a second are exact, so cuts fall on each other.
    whole = PhoneRadio(LTE)
    pieces: list[tuple[float, float, int]] = []
    for start, quarters, count in calls:
        whole.transfer(start / 4, quarters / 4, count)
        cut = shuffled.randint(0, quarters)
        part = shuffled.randint(0, count)
        pieces += [(start / 4, cut / 4, part), ((start + cut) / 4, (quarters - cut) / 4, count - part)]
    shuffled.shuffle(pieces)
    cut_up = PhoneRadio(LTE)
    for begin, seconds, count in pieces:
        cut_up.transfer(begin, seconds, count)
    first, second = whole.summary(2000.0), cut_up.summary(2000.0)
    assert second.joules == pytest.approx(first.joules)
    assert second.seconds == pytest.approx(first.seconds)
    assert math.fsum(first.seconds.values()) == pytest.approx(2000.0)


def test_transfers_that_overlap_are_on_the_air_once() -> None:
    summary = account((100.0, 4.0, 10, 0), (102.0, 4.0, 10, 0), (101.0, 1.0, 10, 0)).summary(1000.0)
    assert summary.seconds[RadioState.ACTIVE] == 6.0
    assert summary.bytes_up == 30


def test_the_radio_says_how_long_it_stays_open_and_how_long_waking_takes() -> None:
    radio = PhoneRadio(LTE)
    assert (radio.state(99.0), radio.open_s(99.0), radio.wake_delay_s(99.0)) == (RadioState.IDLE, 0.0, 0.25)
    radio.transfer(100.0, 1.0)
    assert radio.state(100.5) is RadioState.ACTIVE
    assert (radio.state(103.0), radio.open_s(103.0), radio.wake_delay_s(103.0)) == (RadioState.TAIL, 8.5, 0.0)
    assert (radio.state(111.5), radio.open_s(111.5)) == (RadioState.IDLE, 0.0)


def test_sending_waits_for_a_radio_that_sleeps_and_not_for_one_that_is_awake() -> None:
    radio = PhoneRadio(LTE)
    assert radio.send(10.0, 1.0, 100) == 11.25
    assert radio.send(12.0, 1.0, 100) == 13.0
    assert radio.summary(100.0).wakes == 1


def test_a_long_day_is_settled_and_gives_the_same_account() -> None:
    radio = PhoneRadio(LTE)
    count = MAX_OPEN + 40
    for number in range(count):
        radio.transfer(20.0 * number + 5.0, 1.0, 1000)
    summary = radio.summary(20.0 * count + 100)
    assert summary.wakes == count
    assert summary.above_idle == pytest.approx(count * LTE.cold_joules(1.0, 1000, 0))
    with pytest.raises(InputError, match="settled"):
        radio.transfer(5.0, 1.0)


@pytest.mark.parametrize(
    ("start", "seconds", "up"), [(math.nan, 1.0, 0), (0.0, -1.0, 0), (0.0, math.inf, 0), (0.0, 1.0, -1), (-1.0, 1.0, 0)]
)
def test_an_impossible_transfer_is_refused(start: float, seconds: float, up: int) -> None:
    with pytest.raises(InputError):
        PhoneRadio(LTE).transfer(start, seconds, up)


def test_a_short_cold_request_costs_mostly_its_tail_on_cellular_and_little_on_wifi() -> None:
    constants = nominal()
    for kind in (RadioKind.LTE, RadioKind.FIVE_G, RadioKind.MMWAVE):
        model = radio_model(kind, constants)
        cold = model.cold_joules(0.1, 8000, 600)
        assert model.tail_joules(model.tail_seconds) > 0.7 * cold
        assert radio_model(RadioKind.WIFI, constants).cold_joules(0.1, 8000, 600) < 0.1 * cold


def test_a_weak_signal_costs_more_joules_a_byte() -> None:
    constants = nominal()
    weak, good = radio_model(RadioKind.LTE_WEAK, constants), radio_model(RadioKind.LTE, constants)
    assert weak.up_joules_per_byte == pytest.approx(constants["lte.weak_factor"] * good.up_joules_per_byte)
    assert weak.tails == good.tails


def test_a_phone_keeps_an_account_for_each_radio() -> None:
    radios = PhoneRadios(nominal())
    radios.radio(RadioKind.LTE).transfer(50.0, 0.1, 8000, 600)
    lte = radios.joules(1000.0)
    radios.radio(RadioKind.WIFI).transfer(500.0, 0.1, 8000, 600)
    summaries = radios.summaries(1000.0)
    assert list(summaries) == [RadioKind.WIFI, RadioKind.LTE]
    assert lte == pytest.approx(radio_model(RadioKind.LTE, nominal()).cold_joules(0.1, 8000, 600))
    assert radios.joules(1000.0) == pytest.approx(lte + summaries[RadioKind.WIFI].above_idle)


def test_the_bluetooth_link_costs_its_events_and_its_bytes() -> None:
    model = ble_model(BleEnd.GLASSES, nominal())
    radio = BleRadio(model)
    radio.connected(3600.0, 0.05)
    empty = radio.joules
    assert empty == pytest.approx(3600 * model.idle_watts + 72_000 * model.event_joules)
    radio.carried(1_000_000)
    assert radio.joules - empty == pytest.approx(1e6 * model.joules_per_byte)
    assert radio.air_seconds == pytest.approx(1e6 * model.air_seconds_per_byte)


def test_missed_events_make_bytes_dearer() -> None:
    clear, noisy = (BleRadio(ble_model(BleEnd.PHONE, nominal())) for _ in range(2))
    clear.carried(1000)
    noisy.carried(1000, miss=0.5)
    assert noisy.joules == pytest.approx(2 * clear.joules)
    with pytest.raises(InputError):
        noisy.carried(1000, miss=1.0)
    with pytest.raises(InputError):
        noisy.connected(1.0, 0.0)

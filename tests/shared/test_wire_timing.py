"""What the link measures of itself: clocks, windows, deliveries."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from shared import limits
from shared.wire.estimate import UNMEASURED_SPREAD, DeliveryEstimator
from shared.wire.timing import ClockOffset, DelayWindow


def test_the_peers_clock_is_known_to_half_of_an_exchange() -> None:
    offset = ClockOffset()
    assert offset.seconds is None
    assert offset.error is None
    offset.sample(sent=10.0, peer=510.04, received=10.1)
    assert offset.seconds == pytest.approx(499.99)
    assert offset.error == pytest.approx(0.05)


def test_a_slower_exchange_does_not_replace_a_quicker_one_for_a_minute() -> None:
    offset = ClockOffset()
    offset.sample(sent=10.0, peer=510.02, received=10.04)
    offset.sample(sent=11.0, peer=511.9, received=12.0)
    assert offset.seconds == pytest.approx(500.0)
    offset.sample(sent=80.0, peer=580.7, received=81.0)
    assert offset.seconds == pytest.approx(500.2)
    assert offset.error == pytest.approx(0.5)


def test_an_echo_from_the_future_is_ignored() -> None:
    offset = ClockOffset()
    offset.sample(sent=20.0, peer=1.0, received=10.0)
    assert offset.seconds is None


def test_the_window_doubles_until_a_queue_is_felt_and_then_follows_it() -> None:
    window = DelayWindow()
    first = window.fragments
    now = 0.0
    while window.fragments < limits.WINDOW_FRAGMENTS:
        now += 0.06
        window.sample(0.06, window.fragments, now)
    assert now <= 0.06 * math.ceil(math.log2(limits.WINDOW_FRAGMENTS / first))
    for _ in range(40):
        now += 0.12
        window.sample(0.12, window.fragments, now)
    assert window.fragments == DelayWindow.MINIMUM


def deliveries(seed: int, spread: float, factor: float = 1.0) -> tuple[DeliveryEstimator, list[float], random.Random]:
    """An estimator that has seen 60 objects over a link whose times scatter by `spread` around `factor` x the base."""
    chance = random.Random(seed)
    estimator = DeliveryEstimator()
    for ticket in range(60):
        size = chance.randint(2_000, 20_000)
        model = estimator.model(backlog_bytes=0, bytes_per_s=40_000.0, round_trip=0.06, now=float(ticket))
        estimator.began(ticket, size, model)
        estimator.ended(ticket, model.base_s(size) * factor * math.exp(chance.gauss(0.0, spread)))
    return estimator, [], chance


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("spread", "factor"), [(0.1, 1.0), (0.4, 1.0), (0.3, 1.8)])
def test_nine_in_ten_deliveries_are_as_early_as_foretold(seed: int, spread: float, factor: float) -> None:
    estimator, _, chance = deliveries(seed, spread, factor)
    model = estimator.model(backlog_bytes=0, bytes_per_s=40_000.0, round_trip=0.06, now=100.0)
    foretold = model.predict(10_000)
    times = [model.base_s(10_000) * factor * math.exp(chance.gauss(0.0, spread)) for _ in range(2_000)]
    assert foretold.typical_s == pytest.approx(statistics.median(times), rel=0.35)
    assert 0.75 <= sum(time <= foretold.late_s for time in times) / len(times) <= 0.99


def test_before_any_delivery_the_estimate_says_how_unsure_it_is() -> None:
    estimator = DeliveryEstimator()
    foretold = estimator.model(backlog_bytes=0, bytes_per_s=None, round_trip=None, now=0.0).predict(10_000)
    assert foretold.typical_s == pytest.approx(0.5)
    assert foretold.late_s / foretold.typical_s == pytest.approx(math.exp(1.2816 * UNMEASURED_SPREAD))


def test_what_waits_before_an_object_delays_it() -> None:
    estimator = DeliveryEstimator()
    empty = estimator.model(backlog_bytes=0, bytes_per_s=40_000.0, round_trip=0.06, now=0.0).predict(4_000)
    full = estimator.model(backlog_bytes=40_000, bytes_per_s=40_000.0, round_trip=0.06, now=0.0).predict(4_000)
    assert full.typical_s - empty.typical_s == pytest.approx(1.0)


def test_a_lost_connection_is_expected_back_after_the_usual_time() -> None:
    estimator = DeliveryEstimator()
    for start in (0.0, 100.0, 200.0):
        estimator.interrupted(start)
        assert estimator.lost_for(start + 1.0) == 1.0
        estimator.restored(start + 4.0)
    assert estimator.lost_for(300.0) is None
    estimator.interrupted(300.0)

    def wait(now: float) -> float:
        return estimator.model(backlog_bytes=0, bytes_per_s=40_000.0, round_trip=0.06, now=now).wait_s

    assert wait(300.0) == pytest.approx(4.0)
    assert wait(303.0) == pytest.approx(1.5)
    assert wait(320.0) == pytest.approx(10.0), "the longer it lasts, the longer it is likely to go on"


def test_an_object_given_up_teaches_nothing_and_open_ones_are_bounded() -> None:
    estimator = DeliveryEstimator()
    model = estimator.model(backlog_bytes=0, bytes_per_s=40_000.0, round_trip=0.06, now=0.0)
    for ticket in range(10_000):
        estimator.began(ticket, 1_000, model)
    estimator.ended(9_999, None)
    assert estimator.model(backlog_bytes=0, bytes_per_s=40_000.0, round_trip=0.06, now=0.0) == model

"""Who is in which arm: shares, stability, monotone growth and independence."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.experiments.arms import choose, slot_of, weight_of_share
from cloud.experiments.arms_latency import ACCURACY, Latencies

DEVICES = [f"device-{number}" for number in range(4000)]
WEIGHTS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]), st.floats(0.01, 1000.0), min_size=2, max_size=5
)  # fmt: skip


def test_arms_get_the_shares_of_their_weights() -> None:
    weights = {"control": 70.0, "a": 20.0, "b": 10.0}

    found = Counter(choose("salt", device, weights) for device in DEVICES)

    for arm, weight in weights.items():
        share = weight / 100
        # Five standard deviations of a binomial share: wrong once in two million.
        assert abs(found[arm] / len(DEVICES) - share) < 5 * math.sqrt(share * (1 - share) / len(DEVICES))


@given(weights=WEIGHTS, factor=st.floats(1.0, 50.0), data=st.data(), salt=st.text(max_size=8))
@settings(max_examples=25, deadline=None)
def test_when_an_arm_grows_no_device_leaves_it_and_none_moves_between_others(
    weights: dict[str, float], factor: float, data: st.DataObject, salt: str
) -> None:
    grown = data.draw(st.sampled_from(sorted(weights)))
    after = {arm: weight * factor if arm == grown else weight for arm, weight in weights.items()}

    for device in DEVICES[:40]:
        now = choose(salt, device, after)
        assert now in {choose(salt, device, weights), grown}


@given(low=st.floats(0.0, 1.0), high=st.floats(0.0, 1.0))
@settings(max_examples=25, deadline=None)
def test_a_ramp_only_adds_devices(low: float, high: float) -> None:
    low, high = sorted((low, high))

    def members(share: float) -> set[str]:
        weights = {"control": 3.0, "other": 2.0, "new": weight_of_share(share, 5.0)}
        return {device for device in DEVICES[:80] if choose("salt", device, weights) == "new"}

    assert members(low) <= members(high)
    assert members(0.0) == set()
    assert members(1.0) == set(DEVICES[:80])


def test_a_share_is_reached_as_it_was_asked_for() -> None:
    weights = {"control": 3.0, "other": 2.0, "new": weight_of_share(0.1, 5.0)}

    found = sum(choose("salt", device, weights) == "new" for device in DEVICES)

    assert abs(found / len(DEVICES) - 0.1) < 5 * math.sqrt(0.09 / len(DEVICES))


def test_experiments_with_other_salts_are_independent() -> None:
    halves = {"a": 1.0, "b": 1.0}

    both = Counter((choose("one", device, halves), choose("two", device, halves)) for device in DEVICES)

    for count in both.values():
        assert abs(count / len(DEVICES) - 0.25) < 5 * math.sqrt(0.1875 / len(DEVICES))


@given(device=st.text(max_size=64))
@settings(max_examples=25, deadline=None)
def test_a_device_of_any_name_has_one_slot_for_good(device: str) -> None:
    assert 0 <= slot_of("group", device) <= 99
    assert slot_of("group", device) == slot_of("group", device)


def test_an_arm_without_weight_gets_nobody() -> None:
    assert {choose("salt", device, {"a": 1.0, "b": 0.0}) for device in DEVICES} == {"a"}


@given(seconds=st.lists(st.floats(0.001, 100.0), min_size=1, max_size=300), share=st.floats(0.01, 1.0))
@settings(max_examples=25, deadline=None)
def test_quantiles_of_a_stream_are_right_within_their_accuracy(seconds: list[float], share: float) -> None:
    latencies = Latencies()
    for value in seconds:
        latencies.add(value)

    exact = sorted(seconds)[max(math.ceil(share * len(seconds)), 1) - 1]

    assert latencies.quantile(share) == pytest.approx(exact, rel=ACCURACY * 1.001)


def test_latencies_of_two_services_add_up() -> None:
    one, two = Latencies(), Latencies()
    for number in range(1, 101):
        (one if number % 2 else two).add(number / 100)

    one.merge(Latencies.from_dict(two.as_dict()))

    assert one.total == 100
    assert one.quantile(0.95) == pytest.approx(0.95, rel=ACCURACY * 1.001)


def test_any_duration_is_counted_in_bounded_memory() -> None:
    latencies = Latencies()
    for exponent in range(-200, 200):
        latencies.add(1.1**exponent)
    latencies.add(0.0)
    latencies.add(math.inf)

    assert latencies.total == 402
    assert len(latencies.as_dict()) < 800

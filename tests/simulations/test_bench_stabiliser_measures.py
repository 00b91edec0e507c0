"""The figures of the stabiliser's bench, on recordings whose errors and waits are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from bench_stabiliser_kit import recording_of, track_of

from simulations.bench.stabiliser.measures import Figures, RegionTrack, measure, over_seeds, percentile, recovery_frames


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([3, 1, 2], 50, 2),
        ([1, 2, 3, 4], 50, 2),
        ([1, 2, 3, 4], 100, 4),
        ([1, math.inf, math.inf], 50, math.inf),
        ([1, 2, math.inf], 50, 2),
        ([5], 99, 5),
    ],
)
def test_percentiles_are_values_that_occur_and_bear_infinity(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_a_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(percentile([], 50))


def test_errors_shares_and_sure_mistakes_are_counted_over_all_samples() -> None:
    figures = measure(recording_of(track_of([1, 1, 1, 4.5, 20]), track_of([2, 2, None, None, None])))
    assert figures.samples == 10
    assert figures.error_median == 2
    assert figures.error_p95 == math.inf
    assert figures.under_4 == pytest.approx(0.5)
    assert figures.under_5 == pytest.approx(0.6)
    assert figures.wrong == pytest.approx(0.1)


def test_what_cannot_be_seen_or_does_not_count_yet_is_no_sample() -> None:
    track = track_of([1, 50, 1, 50, 50], visible=[1, 0, 1, 1, 1])
    figures = measure(recording_of(replace(track, measured=np.array([1, 1, 1, 0, 0], np.bool_))))
    assert figures.samples == 2
    assert figures.error_p95 == 1


def test_the_error_is_the_mean_distance_of_the_corners() -> None:
    offsets = np.zeros((1, 1, 4, 2), np.float32)
    offsets[0, 0, 0] = [3, 4]
    offsets[0, 0, 1] = [0, 3]
    ones = np.ones(1, np.bool_)
    assert RegionTrack(offsets, ones, ones, ones).errors()[0, 0] == pytest.approx(2.0)


def test_jitter_is_the_change_of_the_error_and_not_the_error() -> None:
    assert measure(recording_of(track_of([7, 7, 7, 7]))).jitter == 0
    assert measure(recording_of(track_of([7, 7.5, 7, None, 3]))).jitter == pytest.approx(0.5)


def test_times_leave_out_the_first_frame_and_are_compared_with_the_floor() -> None:
    figures = measure(recording_of(track_of([0] * 5), cpu=[9.0, 1e-3, 2e-3, 3e-3, 4e-3]))
    assert (figures.cpu_p50, figures.cpu_p99, figures.cpu_max) == pytest.approx((2, 4, 4))
    assert figures.wall_p50 == pytest.approx(4)
    assert figures.ratio == pytest.approx(4)


AWAY = [1, 1] + [0] * 5


@pytest.mark.parametrize(
    ("errors", "visible", "expected"),
    [
        ([0] * 10, AWAY + [1] * 3, [0]),
        ([0] * 7 + [9, 9, 0], AWAY + [1] * 3, [2]),
        ([0] * 7 + [None, 1, 1], AWAY + [1] * 3, [1]),
        ([0] * 7 + [9] * 15, AWAY + [1] * 15, [math.inf]),
        ([0] * 7 + [9] * 14, AWAY + [1] * 14, []),
        ([0] * 10, [1, 1, 1, 0, 0, 0, 0, 1, 1, 1], []),
        ([0] * 20, (AWAY + [1] * 3) * 2, [0, 0]),
    ],
    ids=["at once", "after two", "lost first", "never", "gone too soon", "away too short", "twice"],
)
def test_a_return_takes_until_the_label_is_close_again(
    errors: list[float | None], visible: list[int], expected: list[float]
) -> None:
    assert recovery_frames(track_of(errors[: len(visible)], visible)) == expected


def test_waits_are_in_seconds_and_never_counts_in_the_median() -> None:
    returned = track_of([0] * 7 + [9, 9] + [0] * 13, AWAY + [1] * 15)
    lost = track_of([0] * 7 + [9] * 15, AWAY + [1] * 15)
    figures = measure(recording_of(returned, lost, lost))
    assert figures.recovery_max == pytest.approx(0.2)
    assert figures.recovery_median == math.inf
    assert figures.unrecovered == 2


def test_a_sign_that_went_before_it_was_followed_is_not_waited_for() -> None:
    track = track_of([0] * 10, AWAY + [1] * 3)
    assert recovery_frames(replace(track, measured=np.arange(10) >= 7)) == []


def test_seeds_are_joined_by_medians_and_the_worst_maximum() -> None:
    one = measure(recording_of(track_of([1] * 4), cpu=[0, 1e-3, 1e-3, 1e-3]))
    two = measure(recording_of(track_of([2] * 4), cpu=[0, 2e-3, 2e-3, 9e-3]))
    three = measure(recording_of(track_of([None] * 4), cpu=[0, 3e-3, 3e-3, 3e-3]))
    joined = over_seeds([replace(one, counters={"split": 1}), replace(two, counters={"split": 2, "merged": 1}), three])
    assert joined.error_median == 2
    assert joined.cpu_p50 == pytest.approx(2)
    assert joined.cpu_max == pytest.approx(9)
    assert joined.samples == 12
    assert joined.counters == {"split": 3, "merged": 1}


def test_figures_are_named_in_their_docstring() -> None:
    documented = Figures.__doc__ or ""
    assert [name for name in Figures.__dataclass_fields__ if name not in documented] == []

"""A canary's watch: what it catches, how soon, and that looking all the time does not make it cry wolf."""

from __future__ import annotations

import math
import random

import pytest

from cloud.experiments.canary import Breach, CanaryRules, CanaryWatch, Measure, Observation
from cloud.experiments.canary_bounds import Mean, quantile_ranks


def outcome(
    seed: int, *, calls: int, share: float = 0.5, errors: tuple[float, float] = (0.01, 0.01),
    agreement: tuple[float, float] = (0.8, 0.8), slower: float = 1.0, rules: CanaryRules | None = None,
) -> Breach | None:  # fmt: skip
    """A canary's life: the first of each pair is control's."""
    rng = random.Random(seed)
    watch = CanaryWatch(rules or CanaryRules())
    for _ in range(calls):
        canary = rng.random() < share
        seconds = rng.lognormvariate(-2.0, 0.5) * (slower if canary else 1.0)
        failed = rng.random() < errors[canary]
        agrees = float(rng.random() < agreement[canary])
        breach = watch.add(Observation(failed, seconds, False, agrees), of_canary=canary)
        if breach is not None:
            return breach
    return None


@pytest.mark.parametrize("seed", range(5))
def test_a_canary_that_is_like_control_is_left_alone(seed: int) -> None:
    assert outcome(seed, calls=1500) is None


@pytest.mark.parametrize(
    ("facts", "measure"),
    [
        ({"errors": (0.01, 0.3)}, Measure.ERRORS),
        ({"agreement": (0.8, 0.3)}, Measure.AGREEMENT),
        ({"slower": 4.0}, Measure.LATENCY),
    ],
)
def test_a_canary_that_is_much_worse_is_found_within_a_few_hundred_calls(
    facts: dict[str, object], measure: Measure
) -> None:
    breach = outcome(1, calls=600, **facts)  # type: ignore[arg-type]

    assert breach is not None
    assert breach.measure is measure
    assert breach.calls >= CanaryRules().min_calls


def test_nothing_is_judged_before_both_arms_have_enough_calls() -> None:
    watch = CanaryWatch(CanaryRules(min_calls=50))
    broken, fine = Observation(True), Observation(False, 0.1, False, 1.0)

    early = [watch.add(fine, of_canary=False) for _ in range(49)]
    early += [watch.add(broken, of_canary=True) for _ in range(200)]

    assert early == [None] * 249
    watch.add(fine, of_canary=False)
    later = [watch.add(broken, of_canary=True) for _ in range(8)]
    assert any(breach is not None and breach.measure is Measure.ERRORS for breach in later)


def test_empty_answers_are_a_breach_too() -> None:
    watch = CanaryWatch(CanaryRules(min_calls=10))
    found = None
    for _ in range(200):
        watch.add(Observation(False, 0.1, False), of_canary=False)
        found = found or watch.add(Observation(False, 0.1, True), of_canary=True)

    assert found is not None
    assert found.measure is Measure.EMPTY


def test_a_bound_ever_misses_the_truth_more_rarely_than_promised_however_often_one_looks() -> None:
    rng = random.Random(7)
    alpha, runs = 0.1, 60
    missed = 0
    for _ in range(runs):
        mean = Mean()
        for count in range(1, 301):
            mean.add(float(rng.random() < 0.2))
            low, high = mean.bounds(alpha) if count % 10 == 0 else (0.0, 1.0)
            if not low <= 0.2 <= high:
                missed += 1
                break

    # The promise, and three standard deviations for the number of runs.
    assert missed / runs <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


def test_bounds_of_a_mean_close_in_on_it() -> None:
    few, many = Mean(20, 4.0).bounds(0.01), Mean(20_000, 4000.0).bounds(0.01)

    assert few[0] < many[0] < 0.2 < many[1] < few[1]
    assert many[1] - many[0] < 0.05
    assert Mean().bounds(0.01) == (0.0, 1.0)
    assert Mean(100, 0.0).bounds(0.01)[0] == 0.0
    assert Mean(100, 100.0).bounds(0.01)[1] == 1.0


def test_ranks_around_a_quantile_close_in_on_it() -> None:
    low, high = quantile_ranks(10_000, 0.95, 0.001)

    assert 9_300 < low < 9_500 < high < 9_700
    assert quantile_ranks(0, 0.95, 0.01) == (0, 1)
    assert quantile_ranks(20, 0.95, 0.01)[1] == 21, "of twenty calls none bounds the 95th percentile from above"


def test_every_turn_has_less_to_err_with_so_that_all_together_keep_the_promise() -> None:
    spent = sum(CanaryRules().alpha / (turn * (turn + 1)) for turn in range(1, 1000))

    assert spent <= CanaryRules().alpha
    first, fourth = CanaryWatch(CanaryRules(min_calls=1)), CanaryWatch(CanaryRules(min_calls=1), turn=4)
    found = []
    for watch in (first, fourth):
        for _ in range(200):
            watch.add(Observation(False), of_canary=False)
        found.append(next(n for n in range(1, 500) if watch.add(Observation(n % 4 == 0), of_canary=True)))
    assert found[0] <= found[1]

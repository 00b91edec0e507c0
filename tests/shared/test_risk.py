"""A risk certificate holds as often as it says, and says None where it cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError
from shared.models.risk import (
    GRID,
    RiskCertificate,
    binomial_tail,
    certify,
    clopper_pearson_upper,
    usual_least_kept,
)


@pytest.mark.parametrize(
    ("errors", "n", "delta", "bound"),
    [
        (0, 59, 0.05, 1 - 0.05 ** (1 / 59)),  # closed form without errors
        (0, 10, 0.05, 0.2588656),  # the classical tables: 95 % one-sided
        (1, 10, 0.05, 0.3941633),
        (2, 10, 0.05, 0.5069013),
        (5, 10, 0.025, 0.8129140),  # upper end of the two-sided 95 % interval
        (10, 100, 0.025, 0.1762226),
        (9, 10, 0.05, 1 - (1 - 0.95 ** (1 / 10))),  # closed form: all but one
        (10, 10, 0.05, 1.0),
        (0, 0, 0.05, 1.0),
    ],
)
def test_the_bound_is_that_of_the_tables(errors: int, n: int, delta: float, bound: float) -> None:
    assert clopper_pearson_upper(errors, n, delta) == pytest.approx(bound, abs=2e-7)


@given(st.integers(1, 400), st.floats(0.001, 0.999), st.data())
def test_the_tail_is_the_sum_of_the_binomial(n: int, rate: float, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, n))
    exact = math.fsum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(errors + 1))
    assert binomial_tail(errors, n, rate) == pytest.approx(exact, rel=1e-9, abs=1e-200)


@given(st.integers(1, 2_000), st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.data())
def test_a_test_passes_just_when_the_bound_is_low_enough(
    n: int, alpha: float, delta: float, data: st.DataObject
) -> None:
    errors = data.draw(st.integers(0, n))
    bound = clopper_pearson_upper(errors, n, delta)
    if abs(bound - alpha) > 1e-9:
        assert (binomial_tail(errors, n, alpha) <= delta) == (bound <= alpha)


def test_a_large_sample_needs_no_more_digits() -> None:
    assert clopper_pearson_upper(50_000, 1_000_000, 0.05) == pytest.approx(0.05 + 1.645 * 0.000218, abs=1e-5)


def _sample(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A calibrated p with many sure readings, and whether each was right."""
    p = rng.beta(3.0, 0.5, n)
    return p, rng.random(n) < p


def test_the_promise_is_broken_in_no_more_samples_than_delta_says() -> None:
    rng = np.random.default_rng(7)
    everything = _sample(rng, 100_000)[0]
    risks = []
    for _ in range(100):
        found = certify(*_sample(rng, 1_500), alpha=0.05, delta=0.10)
        assert found is not None
        risks.append(1 - everything[everything >= found.value].mean())
    # 100 samples at delta = 10 %: more than 18 would be beyond the 99th percentile.
    assert sum(risk > 0.05 for risk in risks) <= 18
    # And it is not merely timid: what it keeps comes close to the error rate it may have.
    assert np.median(risks) > 0.03


def test_a_threshold_says_what_it_kept() -> None:
    p, right = _sample(np.random.default_rng(1), 2_000)
    found = certify(p, right, alpha=0.05, delta=0.05)
    assert found is not None
    kept = p >= found.value
    assert (found.kept, found.errors) == (kept.sum(), (~right[kept]).sum())
    assert found.errors / found.kept < found.bound <= 0.05


def test_readings_that_are_no_better_than_chance_are_never_certified() -> None:
    rng = np.random.default_rng(2)
    assert certify(rng.random(3_000), rng.random(3_000) < 0.5, alpha=0.05, delta=0.05) is None


def test_too_few_readings_certify_nothing_however_good() -> None:
    assert certify(np.full(58, 1.0), np.full(58, True), alpha=0.05, delta=0.05) is None
    found = certify(np.full(59, 1.0), np.full(59, True), alpha=0.05, delta=0.05)
    assert found is not None
    assert found.kept == 59
    assert certify([], [], alpha=0.05, delta=0.05) is None


def test_one_unlucky_error_among_the_strictest_does_not_end_the_search() -> None:
    p = np.concatenate([np.full(60, 0.999), np.linspace(0.998, 0.9, 2_000)])
    right = np.ones(len(p), np.bool_)
    right[0] = False
    found = certify(p, right, alpha=0.05, delta=0.05)
    assert found is not None
    assert found.kept == len(p)
    assert certify(p, right, alpha=0.05, delta=0.05, least_kept=1) is None


def test_the_least_number_kept_follows_the_levels_and_the_sample() -> None:
    assert usual_least_kept(100_000, alpha=0.05, delta=0.05) == 300
    assert usual_least_kept(400, alpha=0.05, delta=0.05) == 100
    assert usual_least_kept(10, alpha=0.05, delta=0.05) == 59


def test_a_stricter_promise_keeps_less() -> None:
    p, right = _sample(np.random.default_rng(3), 4_000)
    kept = [found.kept if (found := certify(p, right, alpha=alpha, delta=0.05)) else 0 for alpha in (0.02, 0.05, 0.1)]
    assert kept == sorted(kept)
    assert 0 < kept[1] < kept[2]


@pytest.mark.parametrize(
    ("p", "right"),
    [([0.5, math.nan], [True, True]), ([1.5], [True]), ([-0.1], [True]), ([0.5], [True, False])],
)
def test_impossible_samples_are_refused(p: list[float], right: list[bool]) -> None:
    with pytest.raises(InputError):
        certify(p, right, alpha=0.05, delta=0.05)


def test_impossible_levels_and_grids_are_refused() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        certify([0.5], [True], alpha=0.0, delta=0.05)
    with pytest.raises(InputError, match="must fall"):
        certify([0.5], [True], alpha=0.05, delta=0.05, grid=(0.5, 0.9))
    with pytest.raises(InputError, match="impossible"):
        clopper_pearson_upper(3, 2, 0.05)
    assert list(GRID) == sorted(GRID, reverse=True)


def test_a_certificate_covers_what_is_sure_enough_and_nothing_without_a_number() -> None:
    certificate = RiskCertificate(threshold=0.9, alpha=0.05, delta=0.05, kept=900, errors=20, total=1_000)
    assert certificate.covers(0.9)
    assert not certificate.covers(0.899)
    assert not certificate.covers(None)
    assert not certificate.covers(math.nan)
    with pytest.raises(InputError, match="contradicts itself"):
        RiskCertificate(threshold=0.9, alpha=0.05, delta=0.05, kept=20, errors=30, total=1_000)

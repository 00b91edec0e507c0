"""Rank correlations find what moves an outcome, and say what chance alone would find."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import InputError
from simulations.sweep.sensitivity import ranks, sensitivity, spearman, swings


def drawn(samples: int, constants: int, seed: int = 0) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {f"c{number}": [float(value) for value in rng.random(samples)] for number in range(constants)}


def test_equal_values_share_their_mean_rank() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0.0, 2.5, 1.0]
    assert ranks(np.array([[1.0, 9.0], [2.0, 7.0]])).tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_any_rising_curve_correlates_fully_and_a_falling_one_negatively() -> None:
    x = np.linspace(0.1, 9.0, 15)
    rho = spearman(np.column_stack([x, -x, np.ones_like(x)]), np.exp(x))
    assert rho == pytest.approx([1.0, -1.0, 0.0])


def test_a_correlation_agrees_with_the_textbook_formula() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.random(25), rng.random(25)
    differences = ranks(x) - ranks(y)
    textbook = 1 - 6 * float((differences**2).sum()) / (25 * (25**2 - 1))
    assert spearman(x[:, None], y)[0] == pytest.approx(textbook)


def test_what_matters_stands_out_and_what_does_not_stays_below_the_floor() -> None:
    constants = drawn(60, 100)
    outcome = [a - 0.8 * b for a, b in zip(constants["c3"], constants["c7"], strict=True)]
    found = sensitivity(constants, outcome, seed=1)
    assert found is not None
    assert [influence.name for influence in found.influences[:2]] == ["c3", "c7"]
    assert found.of("c3") > found.floor_any > found.floor_one > 0
    assert found.of("c7") < -found.floor_any
    assert {influence.name for influence in found.certain} == {"c3", "c7"}


def test_noise_alone_passes_the_floor_of_one_in_about_a_twentieth_and_that_of_all_rarely() -> None:
    beyond_one, beyond_any = 0, 0
    for seed in range(20):
        constants = drawn(20, 50, seed)
        noise = drawn(20, 1, seed + 1000)["c0"]
        found = sensitivity(constants, noise, permutations=200, seed=seed)
        assert found is not None
        beyond_one += sum(abs(influence.rho) > found.floor_one for influence in found.influences)
        beyond_any += bool(found.certain)
    assert 0.02 < beyond_one / (20 * 50) < 0.08
    assert beyond_any <= 4


def test_more_samples_lower_the_floor() -> None:
    floors = []
    for samples in (8, 32, 128):
        found = sensitivity(drawn(samples, 40), drawn(samples, 1, 9)["c0"], permutations=100)
        assert found is not None
        floors.append(found.floor_any)
    assert floors == sorted(floors, reverse=True)


def test_equal_arguments_give_equal_figures() -> None:
    constants, outcome = drawn(12, 9), drawn(12, 1, 5)["c0"]
    assert sensitivity(constants, outcome, seed=3) == sensitivity(constants, outcome, seed=3)


def test_too_few_samples_or_nothing_that_varies_say_nothing() -> None:
    assert sensitivity(drawn(3, 5), [1.0, 2.0, 3.0]) is None
    assert sensitivity(drawn(8, 5), [1.0] * 8) is None
    assert sensitivity({"c": [2.0] * 8}, list(range(8))) is None


def test_what_is_not_finite_or_does_not_match_is_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        sensitivity(drawn(8, 2), [float("nan"), *range(7)])
    with pytest.raises(InputError, match="as many samples"):
        spearman(np.ones((3, 1)), np.ones(4))
    with pytest.raises(InputError, match="permutations"):
        sensitivity(drawn(8, 2), list(range(8)), permutations=3)


def test_swings_are_sorted_by_width() -> None:
    found = swings({"b": (1.0, 3.0), "a": (3.0, 1.0), "wide": (0.0, 9.0)})
    assert [swing.name for swing in found] == ["wide", "a", "b"]
    assert [swing.width for swing in found] == [9.0, 2.0, 2.0]

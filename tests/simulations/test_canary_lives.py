"""Simulated lives of canaries: the same for the same seed, ended by the service's own watch."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.bench.cloud.canary_lives import Arms, configuration, live, share_stopped, wilson_upper


@pytest.fixture
def half(tmp_path: Path) -> Path:
    path = tmp_path / "experiments.toml"
    path.write_text(configuration(0.5, 0.01))
    return path


def test_a_life_is_the_same_for_the_same_seed_and_another_for_another(half: Path) -> None:
    bad = Arms(errors=(0.01, 0.3))
    lives = [live(half, bad, seed=seed, calls=600) for seed in (1, 1, 2, 3)]

    assert lives[0] == lives[1]
    assert len({life.stopped_after for life in lives}) > 1


def test_a_broken_canary_is_stopped_and_gets_no_call_after_that(half: Path) -> None:
    life = live(half, Arms(errors=(0.0, 1.0)), seed=1, calls=600)

    assert life.stopped_after is not None
    assert life.after == 0


def test_a_sound_canary_lives_on(half: Path) -> None:
    lives = [live(half, Arms(), seed=seed, calls=400) for seed in range(3)]

    assert share_stopped(lives) == 0.0


def test_no_alarm_in_so_many_lives_excludes_only_rates_above_its_bound() -> None:
    assert wilson_upper(0, 300) == pytest.approx(0.0089, abs=0.0001)  # z² / (n + z²)
    assert wilson_upper(0, 30) > wilson_upper(0, 300)
    assert 0.5 < wilson_upper(5, 10) < 0.75

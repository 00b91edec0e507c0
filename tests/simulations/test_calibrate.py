"""Fitting of confidence, on samples whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.models.packs import PackStore
from shared.models.phrasebook import Phrasebook
from shared.models.recognition import TextRecogniser
from simulations.calibrate import (
    Sample,
    auroc,
    calibration_error,
    fit,
    held_apart,
    phrase_judgements,
    precision,
    recognition_readings,
    same_text,
    sign_phrases,
)


def samples(count: int, weights: tuple[float, ...], bias: float, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        features = tuple(float(value) for value in rng.normal(0, 1.5, len(weights)))
        p = 1 / (1 + math.exp(-(bias + float(np.dot(weights, features)))))
        made.append(Sample(features, bool(rng.random() < p), bool(rng.random() < 0.25)))
    return made


def test_the_fit_finds_the_model_the_samples_were_drawn_from() -> None:
    model, figures = fit(samples(20_000, (1.2, 0.5, -0.8), -0.4, 1))
    assert model.weights == pytest.approx((1.2, 0.5, -0.8), abs=0.12)
    assert model.bias == pytest.approx(-0.4, abs=0.12)
    assert figures["ece"] < 0.03
    assert figures["auroc"] > 0.8


def test_a_score_that_would_count_against_itself_is_left_out() -> None:
    model, _ = fit(samples(5_000, (1.5, -0.6, 0.3), 0.0, 2))
    assert model.weights[0] > 1
    assert model.weights[1] == 0


def test_calibration_error_and_auroc_of_known_cases() -> None:
    p, y = np.array([0.95, 0.95, 0.05, 0.05]), np.array([1.0, 1.0, 0.0, 0.0])
    assert calibration_error(p, y) == pytest.approx(0.05)
    assert auroc(p, y) == 1
    assert auroc(p, 1 - y) == 0
    assert auroc(np.full(4, 0.5), y) == 0.5
    assert math.isnan(auroc(p, np.ones(4)))


def test_precision_never_claims_certainty() -> None:
    assert precision([]) == 0.5
    assert precision([True] * 98) == 0.99
    assert precision([True, False]) == 0.5


def test_phrases_split_by_their_text_alone() -> None:
    phrases = sign_phrases()
    share = sum(held_apart(phrase.source) for phrase in phrases) / len(phrases)
    assert 0.2 < share < 0.3
    assert all(2 <= len(phrase.source) <= 40 for phrase in phrases)


def test_texts_are_equal_up_to_case_width_and_spaces() -> None:
    assert same_text("Saída  de emergência", "SAÍDADE EMERGÊNCIA")
    assert not same_text("Saída", "Saida")


def test_near_strips_are_read_and_their_phrases_found(pack_store: PackStore) -> None:
    readings = list(recognition_readings(TextRecogniser.load(pack_store.get("ocr-small-rec")), count=60, seed=3))
    near = [(phrase, sample) for phrase, _, sample in readings if sample.features[-1] >= 0]
    assert sum(sample.right for _, sample in near) > 0.8 * len(near)
    assert readings[0][0] in set(Phrasebook.builtin())
    judged = list(phrase_judgements(readings))
    assert len(judged) > 20
    assert sum(right for _, right in judged) > 0.95 * len(judged)

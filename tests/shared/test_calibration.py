"""Raw scores become probabilities, monotone and bounded."""

from __future__ import annotations

import json
from functools import partial
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PackUnsupported
from shared.models.calibration import Calibration, LogisticModel

probability = st.floats(0, 1, allow_nan=False)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return Calibration.builtin()


@given(mean=probability, minimum=probability, length=st.integers(0, 600), height=st.floats(0, 5000))
def test_recognition_is_a_probability_for_any_input(mean: float, minimum: float, length: int, height: float) -> None:
    p = Calibration.builtin().recognition("ocr-small-rec", mean=mean, minimum=minimum, length=length, height_px=height)
    assert 0 <= p <= 1


@pytest.mark.parametrize("pack", ["ocr-tiny-rec", "ocr-small-rec", "a-pack-nobody-fitted"])
def test_a_surer_recogniser_is_more_likely_right(calibration: Calibration, pack: str) -> None:
    def at(score: float) -> float:
        return calibration.recognition(pack, mean=score, minimum=score, length=8, height_px=24)

    assert at(0.5) < at(0.8) < at(0.99)
    assert at(0.999) > 0.8
    assert at(0.4) < 0.3


@pytest.mark.parametrize("pack", ["ocr-tiny-rec", "ocr-small-rec"])
@given(mean=probability, low=probability, high=probability)
def test_no_score_that_rises_makes_a_reading_less_believable(pack: str, mean: float, low: float, high: float) -> None:
    low, high = sorted((low, high))
    at = partial(Calibration.builtin().recognition, pack, length=8, height_px=24)
    assert at(mean=low, minimum=mean) <= at(mean=high, minimum=mean)
    assert at(mean=mean, minimum=low) <= at(mean=mean, minimum=high)


def test_an_empty_line_is_never_right(calibration: Calibration) -> None:
    assert calibration.recognition("ocr-small-rec", mean=0.99, minimum=0.99, length=0, height_px=24) == 0


def test_translation_follows_its_engine(calibration: Calibration) -> None:
    sure = calibration.translation("translator", mean_log_probability=-0.05, min_log_probability=-0.2)
    unsure = calibration.translation("translator", mean_log_probability=-2.0, min_log_probability=-6.0)
    assert 0 <= unsure < sure <= 1
    exact = calibration.translation("phrasebook", phrase_score=1.0)
    assert calibration.translation("phrasebook", phrase_score=0.9) < exact
    assert calibration.translation("none") == 0
    assert calibration.translation("copy") == 1


def test_a_mixed_sign_is_as_good_as_its_worst_line(calibration: Calibration) -> None:
    unsure = calibration.translation("translator", mean_log_probability=-2.0, min_log_probability=-6.0)
    mixed = calibration.translation("mixed", mean_log_probability=-2.0, min_log_probability=-6.0, phrase_score=1.0)
    assert mixed == unsure


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", '{"version": 99}', '{"version": 1, "recognition": {}}', "not json"]
)
def test_an_incomplete_or_foreign_file_is_refused(text: str) -> None:
    with pytest.raises(PackUnsupported):
        Calibration.from_json(text)


def test_a_model_wants_as_many_features_as_weights() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        LogisticModel((1.0, 2.0), 0.0).probability((1.0,))


def test_the_shipped_file_says_what_it_was_fitted_on() -> None:
    data = resources.files("shared.models").joinpath("data/calibration.json")
    document = json.loads(data.read_text(encoding="utf-8"))
    assert "rendered" in document["card"]["fitted_on"]
    for name in ("ocr-tiny-rec", "ocr-small-rec", "translator"):
        assert document["card"][name]["ece"] < 0.1
        assert document["card"][name]["held_apart"] > 100

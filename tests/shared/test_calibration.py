"""Raw scores become probabilities, monotone and bounded."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PackUnsupported
from shared.models.calibration import FEATURES, Calibration, LineSignals, LogisticModel
from shared.models.recognition import Recognition
from shared.models.script import Script

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


@pytest.mark.parametrize("pack", ["ocr-tiny-rec", "ocr-small-rec"])
@pytest.mark.parametrize("script", [Script.LATIN, Script.HAN, Script.COMMON, Script.THAI])
@given(low=probability, high=probability, which=st.sampled_from(["mean", "minimum", "known", "agreement"]))
def test_no_signal_of_a_script_counts_against_itself(
    pack: str, script: Script, low: float, high: float, which: str
) -> None:
    low, high = sorted((low, high))
    signals = LineSignals(0.9, 0.7, 8, 24, script, known=0.5, spaces=2.0, agreement=0.8)
    at = partial(Calibration.builtin().line, pack)
    assert at(replace(signals, **{which: low})) <= at(replace(signals, **{which: high}))


def test_looks_that_agree_raise_the_confidence_and_looks_that_differ_lower_it(calibration: Calibration) -> None:
    for pack in ("ocr-tiny-rec", "ocr-small-rec"):
        for script in (Script.LATIN, Script.HAN):
            alone = LineSignals(0.93, 0.75, 12, 16, script)
            agreed, differed = (calibration.line(pack, replace(alone, agreement=value)) for value in (1.0, 0.5))
            assert differed <= calibration.line(pack, alone) <= agreed
        assert differed < agreed


def test_signals_of_a_line_come_from_its_text_and_its_gaps() -> None:
    odds = (-9.0, -8.0, -7.0, -6.0, -5.0, -4.0, 3.0, 2.5, -6.0)
    line = Recognition("Salida de", 0.9, 0.8, (0.9,) * 9, (), odds)
    signals = LineSignals.of(line, height_px=20, agreement=0.75)
    assert (signals.script, signals.known, signals.spaces, signals.agreement) == (Script.LATIN, 1.0, 2.5, 0.75)
    assert len(signals.features) == len(FEATURES)
    nothing = LineSignals.of(Recognition("Xqzzw", 0.9, 0.8, (0.9,) * 5), height_px=20)
    assert (nothing.known, nothing.spaces, nothing.agreement) == (0.0, None, None)
    han = LineSignals.of(Recognition("出口", 0.9, 0.8, (0.9,) * 2), height_px=20)
    assert (han.script, han.known, han.spaces) == (Script.HAN, None, None)
    assert LineSignals.of(Recognition("", 0.0, 0.0, ()), height_px=0).length == 0


def test_a_script_has_its_own_model_and_others_the_packs() -> None:
    entry = {"weights": [0.0] * len(FEATURES), "bias": 0.0}
    document = {
        "version": 2,
        "recognition": {"any": {"any": entry}, "one": {"any": entry, "han": {**entry, "bias": 5.0}}},
        "translation": {"weights": [1.0, 1.0], "bias": 0.0},
        "phrasebook": {"exact": 0.9, "fuzzy": 0.8},
    }
    own = Calibration.from_json(json.dumps(document))
    signals = LineSignals(0.9, 0.9, 4, 24, Script.HAN)
    assert own.line("one", signals) > 0.9
    assert own.line("one", replace(signals, script=Script.LATIN)) == 0.5
    assert own.line("another", signals) == 0.5


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
    "text",
    [
        "{}",
        "[]",
        "null",
        '{"version": 99}',
        '{"version": 1, "recognition": {}}',
        '{"version": 2, "recognition": {}}',
        '{"version": 2, "recognition": {"any": {"any": {"weights": [1], "bias": 0}}}}',
        '{"version": 2, "recognition": {"any": []}}',
        '{"version": 2, "recognition": {"any": {"any": 3}}}',
        "not json",
    ],
)
def test_an_incomplete_or_foreign_file_is_refused(text: str) -> None:
    with pytest.raises(PackUnsupported):
        Calibration.from_json(text)


def test_a_model_wants_as_many_features_as_weights() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        LogisticModel((1.0, 2.0), 0.0).probability((1.0,))


def test_the_shipped_file_says_what_it_was_fitted_on() -> None:
    card = Calibration.shipped()["card"]
    assert "rendered" in card["fitted_on"]
    for pack in ("ocr-tiny-rec", "ocr-small-rec"):
        for script in ("any", "latin"):
            assert card[pack][script]["ece"] < 0.1
            assert card[pack][script]["held_apart"] > 100
    assert card["translator"]["ece"] < 0.1

"""Fitting of confidence, on samples whose truth is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InputError
from shared.models.packs import PackStore
from shared.models.phrasebook import Phrasebook
from shared.models.recognition import TextRecogniser
from shared.models.script import Script
from simulations.calibrate import (
    Reading,
    Texts,
    a_number,
    fit_scripts,
    phrase_judgements,
    precision,
    recognition_readings,
    same_line,
    sign_phrases,
)
from simulations.calibration_fit import Figures, Sample, auroc, bins_of, calibration_error, fit
from simulations.calibration_page import diagram, page
from simulations.rendered_lines import Look, Part, Typesetter, in_some_case, part_of, seen, texts_of

PARTS = (Part.FIT, Part.FIT, Part.SELECT, Part.REPORT)


def samples(count: int, weights: tuple[float, ...], bias: float, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        features = tuple(float(value) for value in rng.normal(0, 1.5, len(weights)))
        p = 1 / (1 + math.exp(-(bias + float(np.dot(weights, features)))))
        made.append(Sample(features, bool(rng.random() < p), PARTS[int(rng.integers(4))]))
    return made


def test_the_fit_finds_the_model_the_samples_were_drawn_from() -> None:
    model, figures = fit(samples(20_000, (1.2, 0.5, -0.8), -0.4, 1))
    assert model.weights == pytest.approx((1.2, 0.5, -0.8), abs=0.12)
    assert model.bias == pytest.approx(-0.4, abs=0.12)
    assert figures.ece < 0.03
    assert figures.auroc > 0.8
    assert figures.samples == sum(count for _, _, count in figures.bins)


def test_a_score_that_would_count_against_itself_is_left_out() -> None:
    model, _ = fit(samples(5_000, (1.5, -0.6, 0.3), 0.0, 2))
    assert model.weights[0] > 1
    assert model.weights[1] == 0


def test_signals_that_tell_nothing_are_not_chosen() -> None:
    noisy = samples(150, (1.5, 0.0, 0.0, 0.0), 0.0, 5)
    model, _ = fit(noisy, choices=[(0,), (0, 1, 2, 3)])
    assert model.weights[1:] == (0.0, 0.0, 0.0)
    told = samples(2_000, (0.5, 0.0, 2.0, 0.0), 0.0, 5)
    model, _ = fit(told, choices=[(0,), (0, 1, 2, 3)])
    assert model.weights[2] > 1


def test_a_fit_needs_samples_to_fit_and_to_report() -> None:
    with pytest.raises(InputError, match="no sample"):
        fit([Sample((1.0,), True, Part.FIT)])


def test_calibration_error_and_auroc_of_known_cases() -> None:
    p, y = np.array([0.95, 0.95, 0.05, 0.05]), np.array([1.0, 1.0, 0.0, 0.0])
    assert calibration_error(p, y) == pytest.approx(0.05)
    assert bins_of(p, y) == ((pytest.approx(0.05), 0.0, 2), (pytest.approx(0.95), 1.0, 2))
    assert auroc(p, y) == 1
    assert auroc(p, 1 - y) == 0
    assert auroc(np.full(4, 0.5), y) == 0.5
    assert math.isnan(auroc(p, np.ones(4)))


def test_precision_never_claims_certainty() -> None:
    assert precision([]) == 0.5
    assert precision([True] * 98) == 0.99
    assert precision([True, False]) == 0.5


def test_phrases_are_dealt_by_their_text_alone() -> None:
    phrases = sign_phrases()
    parts = [part_of(phrase.source) for phrase in phrases]
    assert 0.45 < parts.count(Part.FIT) / len(parts) < 0.55
    assert 0.2 < parts.count(Part.REPORT) / len(parts) < 0.3
    assert all(2 <= len(phrase.source) <= 40 for phrase in phrases)


def test_lines_are_the_same_up_to_case_and_width_and_latin_ones_need_their_spaces() -> None:
    assert same_line("Saída  de emergência", "SAÍDA DE EMERGÊNCIA")
    assert not same_line("Saída de emergência", "Saídade emergência")
    assert not same_line("Saída", "Saida")
    assert same_line("出口 ２", "出口2")


def test_a_line_looks_the_same_for_the_same_seed_and_has_its_height() -> None:
    setter = Typesetter()
    one, other = (setter.line("Salida", np.random.default_rng(4), Part.FIT) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert one.image.shape[0] == one.height_px
    plate, _ = setter.plate("Salida", np.random.default_rng(4), Part.FIT)
    near, far = (seen(plate, Look(height, 0.3, 2.0, 0), np.random.default_rng(1)) for height in (40, 10))
    assert (near.shape[0], far.shape[0]) == (40, 10)
    assert in_some_case("Salida", np.random.default_rng(1)).casefold() == "salida"


def test_folders_that_are_not_there_or_hold_no_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        Typesetter.of_folders([tmp_path / "none"])
    with pytest.raises(InputError, match="holds no"):
        texts_of(tmp_path, ["es"], limit=10, seed=1)


def test_texts_are_drawn_in_scripts_that_can_be_written() -> None:
    texts, rng = Texts(None, seed=1), np.random.default_rng(1)
    drawn = [texts.draw(rng, frozenset({Script.LATIN})) for _ in range(60)]
    assert {phrase.language for _, phrase in drawn if phrase is not None} <= {"pt", "es", "fr", "de", "it"}
    assert any(phrase is None for _, phrase in drawn)
    assert all(any(character.isdigit() for character in a_number(rng)) for _ in range(40))


def test_near_lines_are_read_and_their_phrases_found(pack_store: PackStore) -> None:
    recogniser = TextRecogniser.load(pack_store.get("ocr-small-rec"))
    readings = list(recognition_readings(recogniser, Texts(None, seed=3), Typesetter(), count=60, seed=3))
    near = [reading for reading in readings if reading.sample.features[3] >= 0]
    assert sum(reading.sample.right for reading in near) > 0.75 * len(near)
    assert all(reading.phrase is None or reading.phrase in set(Phrasebook.builtin()) for reading in readings[:3])
    assert any(reading.sample.features[6] != 0.0 for reading in readings)
    judged = list(phrase_judgements(readings))
    assert len(judged) > 20
    assert sum(right for _, right in judged) > 0.9 * len(judged)


def test_a_script_that_is_read_often_enough_has_a_model_of_its_own() -> None:
    many, few = samples(600, (1.0,) * 7, 0.0, 7), samples(50, (1.0,) * 7, 0.0, 8)
    readings = [Reading("a", "a", None, Script.LATIN, sample) for sample in many]
    readings += [Reading("出", "出", None, Script.HAN, sample) for sample in few]
    readings += [Reading("a", "", None, Script.COMMON, sample) for sample in many]
    fitted = fit_scripts(readings)
    assert set(fitted) == {"any", "latin"}
    assert fitted["any"][1].samples > fitted["latin"][1].samples


def test_the_page_draws_every_bin() -> None:
    figures = Figures(10, 0.5, 0.1, 0.2, 0.9, ((0.1, 0.0, 4), (0.95, 1.0, 6)))
    drawing = diagram(figures)
    assert drawing.count("<circle") == drawing.count('class="bar"') == 2
    text = page({"<pack>": {"latin": figures}}, note="5 < 6")
    assert "&lt;pack&gt;" in text
    assert "5 &lt; 6" in text
    assert "ECE 0.100" in text
    assert drawing in text

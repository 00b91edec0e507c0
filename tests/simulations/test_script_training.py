"""Training the script classifier: what can be checked without fonts and without PyTorch."""

from __future__ import annotations

import random

import numpy as np
import pytest

from shared.models.script import Script, dominant_script
from shared.models.script_picture import CLASSES
from simulations.cli import main
from simulations.training.script import as_buckets, calibration_error, fit_temperature, measure, softmax
from simulations.training.script_pictures import compose, seen_by_a_camera
from simulations.training.script_texts import TextShelf, common_text, is_held_apart


@pytest.fixture(scope="module")
def shelves() -> tuple[TextShelf, TextShelf]:
    return TextShelf(None, held_apart=False), TextShelf(None, held_apart=True)


@pytest.mark.parametrize("script", [Script.HAN, Script.KANA, Script.HANGUL, Script.GREEK, Script.THAI])
def test_texts_are_in_the_script_they_are_labelled_with(shelves: tuple[TextShelf, TextShelf], script: Script) -> None:
    rng = random.Random(1)
    texts = [shelves[0].pick(rng, script) for _ in range(60)]
    assert sum(dominant_script(text) is script for text in texts) >= 57  # a Latin word may be the longer one


def test_texts_held_apart_are_never_trained_on(shelves: tuple[TextShelf, TextShelf]) -> None:
    rng = random.Random(2)
    training, apart = shelves
    assert len(training.texts(Script.THAI)) > 5 * len(apart.texts(Script.THAI)) > 0
    assert not set(training.texts(Script.THAI)) & set(apart.texts(Script.THAI))
    assert all(map(is_held_apart, apart.texts(Script.GREEK)))
    assert training.pick(rng, Script.THAI)


def test_common_texts_have_no_letters() -> None:
    rng = random.Random(3)
    assert all(dominant_script(common_text(rng)) is Script.COMMON for _ in range(100))


def test_a_seed_gives_one_picture() -> None:
    def picture(seed: int) -> np.ndarray:
        rng, noise = random.Random(seed), np.random.default_rng(seed)
        ink = np.zeros((30, 120), np.float32)
        ink[5:25, 10:110:12] = 1.0
        return seen_by_a_camera(compose(ink, [ink, None], rng, noise), rng, noise)

    assert np.array_equal(picture(4), picture(4))
    assert not np.array_equal(picture(4)[:8, :8], picture(5)[:8, :8])


def test_pictures_of_one_width_share_a_bucket() -> None:
    narrow, wide = np.zeros((32, 32), np.uint8), np.ones((32, 64), np.uint8)
    buckets = as_buckets([([wide, narrow], [1, 0]), ([wide], [2])])
    assert list(buckets) == [32, 64]
    assert buckets[64][0].shape == (2, 32, 64)
    assert buckets[64][1].tolist() == [1, 2]


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 1.5, (4000, len(CLASSES)))
    truth = softmax(logits)
    labels = np.array([rng.choice(len(CLASSES), p=row) for row in truth])
    temperature = fit_temperature(logits * 2.5, labels)
    assert temperature == pytest.approx(2.5, rel=0.1)
    calibrated, loud = softmax(logits), softmax(logits * 2.5)
    assert calibration_error(calibrated.max(axis=1), calibrated.argmax(axis=1) == labels) < 0.03
    assert calibration_error(loud.max(axis=1), loud.argmax(axis=1) == labels) > 0.2


def test_accuracy_is_counted_by_class() -> None:
    probabilities = np.full((3, len(CLASSES)), 0.01)
    probabilities[0, 0] = probabilities[1, 0] = probabilities[2, 3] = 0.9
    figures = measure(probabilities, np.array([0, 1, 3]))["held_apart"]
    assert figures["accuracy_by_class"] == {CLASSES[0]: 1.0, CLASSES[1]: 0.0, CLASSES[3]: 1.0}
    assert figures["accuracy"] == pytest.approx(2 / 3, abs=1e-4)


def test_a_folder_without_fonts_is_a_plain_error(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = str(tmp_path_factory.mktemp("fonts"))
    assert main(["bench", "script", "--fonts", empty, "--packs", empty]) == 1
    assert capsys.readouterr().err

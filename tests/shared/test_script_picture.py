"""The script of a line is told from its picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.errors import InputError, PackCorrupt, PackUnsupported
from shared.geometry import ImageBgr
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck
from shared.models.script_picture import (
    CLASSES,
    MAX_WIDTH,
    MIN_WIDTH,
    PictureScript,
    ScriptClassifier,
    as_picture_script,
    encode,
)
from shared.models.seen_lines import Look
from simulations.signs import STYLES, Face, SignStyle, degrade, render_sign

LINES = {
    Script.LATIN: ("Ausgang", "Prohibido fumar", "PLATAFORMA", "Île de la Cité"),
    Script.HAN: ("禁止停车", "出口案内", "开放时间", "國立博物館"),
    Script.KANA: ("トイレはこちら", "いらっしゃいませ", "コーヒー", "お手洗いは二階です"),
    Script.HANGUL: ("비상구", "주차금지 구역", "화장실", "영업시간 안내"),
    Script.COMMON: ("12:30", "2024/10/31", "€ 12,90", "080-555-1234"),
}
"""Text in the scripts that OpenCV's faces have."""
EAST_ASIAN = SignStyle((245, 245, 245), (20, 20, 20), face=Face.UNICODE, weight=400)


@pytest.fixture(scope="module")
def classifier() -> ScriptClassifier:
    return ScriptClassifier.builtin()


def crop_of(text: str, style: SignStyle = EAST_ASIAN) -> ImageBgr:
    texture, (quad,) = render_sign((text,), style, size=48)
    (left, top), (right, bottom) = quad.min(axis=0).astype(int), quad.max(axis=0).astype(int)
    return np.ascontiguousarray(texture[max(top - 5, 0) : bottom + 5, max(left - 5, 0) : right + 5])


@pytest.mark.parametrize("script", LINES)
def test_rendered_lines_are_told(classifier: ScriptClassifier, script: Script) -> None:
    answers = classifier.classify([crop_of(text) for text in LINES[script]])
    assert [answer.script for answer in answers] == [script] * len(LINES[script])


@pytest.mark.parametrize("script", LINES)
def test_a_worn_line_is_mostly_still_told(classifier: ScriptClassifier, script: Script) -> None:
    rng = np.random.default_rng(3)
    crops = [degrade(crop_of(text), rng, height=20, blur=0.6, noise=4) for text in LINES[script]]
    answers = classifier.classify(crops)
    assert sum(answer.script is script for answer in answers) >= len(crops) - 1


def test_white_on_black_reads_like_black_on_white(classifier: ScriptClassifier) -> None:
    crop = crop_of("비상구 화장실")
    straight, inverted = classifier.classify([crop, 255 - crop])
    assert straight.script is inverted.script is Script.HANGUL


def test_colours_do_not_matter_as_long_as_they_contrast(classifier: ScriptClassifier) -> None:
    answers = classifier.classify([crop_of("Sortie de secours", style) for style in STYLES])
    assert {answer.script for answer in answers} == {Script.LATIN}


def test_pictograms_and_textures_are_no_text(classifier: ScriptClassifier) -> None:
    answers = classifier.classify([arrow(), no_entry(), bricks(), stripes()])
    assert [answer.script for answer in answers] == [None] * 4


def test_probabilities_add_up_to_one(classifier: ScriptClassifier) -> None:
    for answer in classifier.classify([crop_of("出口"), bricks()]):
        assert set(answer.probabilities) == set(Script)
        assert sum(answer.probabilities.values()) + answer.no_text == pytest.approx(1.0, abs=1e-4)


def test_the_same_crop_gives_the_same_answer_in_any_company(classifier: ScriptClassifier) -> None:
    crops = [crop_of(text) for text in LINES[Script.KANA]]
    together = classifier.classify(crops)
    assert together == [classifier.classify([crop])[0] for crop in crops]
    assert ScriptClassifier.builtin().classify(crops) == together


def test_no_crops_no_answers(classifier: ScriptClassifier) -> None:
    assert classifier.classify([]) == []


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 4000), (4000, 1), (32, 8192)], ids=["a pixel", "a row", "a column", "a frieze"]
)
def test_odd_shapes_are_answered_within_a_bound_of_memory(classifier: ScriptClassifier, shape: tuple[int, int]) -> None:
    crop = np.full((*shape, 3), 128, np.uint8)
    assert MIN_WIDTH <= encode(crop).shape[3] <= MAX_WIDTH
    assert sum(classifier.classify([crop])[0].probabilities.values()) <= 1.0 + 1e-4


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((2, 9000, 3), np.uint8),
    ],
    ids=["empty", "grey", "floats", "too wide"],
)
def test_what_is_no_line_is_refused(classifier: ScriptClassifier, crop: ImageBgr) -> None:
    with pytest.raises(InputError):
        classifier.classify([crop_of("出口"), crop])


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "script.onnx").write_bytes(b"no model")
    with pytest.raises(PackCorrupt):
        ScriptClassifier(tmp_path / "script.onnx")
    with pytest.raises(PackCorrupt):
        ScriptClassifier(tmp_path / "absent.onnx")


def test_a_model_for_something_else_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", ["pictures"], ["probabilities"])
    shape = [1, 1, 32, 64]
    graph = helper.make_graph(
        [node],
        "other",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "script.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(PackUnsupported):
        ScriptClassifier(tmp_path / "script.onnx")


def test_what_is_beyond_an_alphabet() -> None:
    values = np.zeros(len(CLASSES), np.float32)
    for name, value in (("latin", 0.1), ("han", 0.2), ("hangul", 0.4), ("common", 0.1), ("no_text", 0.2)):
        values[CLASSES.index(name)] = value
    picture = as_picture_script(values)
    assert picture.beyond({Script.LATIN, Script.HAN}) == pytest.approx(0.4)
    assert picture.beyond({Script.LATIN}) == pytest.approx(0.6)
    assert picture.no_text == pytest.approx(0.2)
    assert picture.script is Script.HANGUL


def test_no_text_is_no_script() -> None:
    assert PictureScript({Script.LATIN: 0.3, Script.HAN: 0.2}, 0.5).script is None


def test_a_look_names_the_script_that_its_reader_cannot_write() -> None:
    def looked(picture: PictureScript | None) -> Look:
        return Look(Recognition("A", 0.3, 0.3, (0.3,)), ScriptCheck(Script.LATIN, 0.1, readable=False), picture=picture)

    latin = frozenset("abcdefghijklm")
    assert looked(PictureScript({Script.HANGUL: 0.7, Script.LATIN: 0.2}, 0.1)).foreign_script(latin) is Script.HANGUL
    assert looked(PictureScript({Script.HANGUL: 0.2, Script.LATIN: 0.7}, 0.1)).foreign_script(latin) is None
    assert looked(PictureScript({Script.HANGUL: 0.2, Script.COMMON: 0.7}, 0.1)).foreign_script(latin) is None
    assert looked(PictureScript({Script.HANGUL: 0.45, Script.LATIN: 0.4}, 0.15)).foreign_script(latin) is None
    assert looked(PictureScript({Script.HANGUL: 0.2}, 0.8)).foreign_script(latin) is None
    assert looked(None).foreign_script(latin) is None


def arrow() -> ImageBgr:
    picture = np.full((48, 96, 3), 230, np.uint8)
    cv2.arrowedLine(picture, (10, 24), (86, 24), (30, 30, 30), 7, tipLength=0.35)
    return picture


def no_entry() -> ImageBgr:
    picture = np.full((60, 60, 3), 225, np.uint8)
    cv2.circle(picture, (30, 30), 26, (30, 30, 190), -1)
    cv2.rectangle(picture, (13, 25), (47, 35), (250, 250, 250), -1)
    return picture


def bricks() -> ImageBgr:
    picture = np.full((64, 256, 3), (60, 70, 150), np.uint8)
    for row in range(5):
        cv2.line(picture, (0, 16 * row), (256, 16 * row), (190, 190, 190), 2)
        for column in range(9):
            x = 32 * column + 16 * (row % 2)
            cv2.line(picture, (x, 16 * row), (x, 16 * row + 16), (190, 190, 190), 2)
    return picture


def stripes() -> ImageBgr:
    picture = np.full((40, 160, 3), 240, np.uint8)
    for x in range(-40, 160, 24):
        cv2.line(picture, (x, 40), (x + 40, 0), (20, 20, 20), 9)
    return picture

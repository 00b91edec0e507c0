"""Recognition: rendered lines are read; dictionaries and crops that make no sense are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures_kit import line_of, paper

from shared.errors import InputError, PackCorrupt, PackUnsupported
from shared.geometry import ImageBgr
from shared.limits import MAX_CROP_SIDE
from shared.models.packs import PackStore
from shared.models.recognition import Recognition, TextRecogniser, decode, encode, read_dictionary

LATIN = ["Saída", "Proibido fumar", "RUA DAS FLORES 27", "Ausfahrt freihalten", "Piétons à gauche"]


@pytest.fixture(scope="module", params=["ocr-tiny-rec", "ocr-small-rec"])
def recogniser(pack_store: PackStore, request: pytest.FixtureRequest) -> TextRecogniser:
    return TextRecogniser.load(pack_store.get(request.param))


def test_latin_lines_are_read(recogniser: TextRecogniser) -> None:
    answers = recogniser.recognise([line_of(text) for text in LATIN])
    assert [answer.text for answer in answers] == LATIN
    for answer in answers:
        assert len(answer.character_confidences) == len(answer.text)
        assert answer.minimum_confidence == min(answer.character_confidences)
        assert answer.confidence == pytest.approx(np.mean(answer.character_confidences))
        assert answer.confidence > 0.8


def test_chinese_is_read(recogniser: TextRecogniser) -> None:
    assert recogniser.recognise([line_of("出口", height=64)])[0].text == "出口"


def test_japanese_is_read_by_small_and_not_in_the_alphabet_of_tiny(pack_store: PackStore) -> None:
    small = TextRecogniser.load(pack_store.get("ocr-small-rec"))
    tiny = TextRecogniser.load(pack_store.get("ocr-tiny-rec"))
    assert small.recognise([line_of("トイレあります", height=64)])[0].text == "トイレあります"
    assert set("トイレあります") <= small.alphabet
    assert not set("トイレあります") & tiny.alphabet
    assert {" ", "ã", "出"} <= tiny.alphabet


def test_each_line_is_read_as_if_it_were_alone(recogniser: TextRecogniser) -> None:
    crops = [line_of("Bar"), line_of("Estação Central de Camionagem 1234567890")]
    assert recogniser.recognise(crops) == [recogniser.recognise([crop])[0] for crop in crops]


def test_no_lines_give_no_answers(recogniser: TextRecogniser) -> None:
    assert recogniser.recognise([]) == []


@pytest.mark.parametrize("shape", [(48, 200), (1, 1), (2, 4000), (400, 3)])
def test_an_empty_line_of_any_shape_reads_as_nothing_sure(recogniser: TextRecogniser, shape: tuple[int, int]) -> None:
    (answer,) = recogniser.recognise([paper(shape[1], shape[0])])
    assert len(answer.text) <= 1
    assert len(answer.character_confidences) == len(answer.text)


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((48, 100), np.uint8),
        np.zeros((48, 100, 4), np.uint8),
        np.zeros((48, 100, 3), np.float32),
        np.zeros((0, 100, 3), np.uint8),
        np.zeros((48, 0, 3), np.uint8),
        np.zeros((10, MAX_CROP_SIDE + 1, 3), np.uint8),
    ],
)
def test_a_crop_that_is_no_line_is_refused_before_anything_is_read(recogniser: TextRecogniser, crop: ImageBgr) -> None:
    with pytest.raises(InputError):
        recogniser.recognise([line_of("Saída"), crop])


def test_a_pack_for_another_task_is_refused(pack_store: PackStore) -> None:
    with pytest.raises(PackUnsupported, match="not recognition"):
        TextRecogniser.load(pack_store.get("ocr-tiny-det"))


def test_the_input_is_scaled_to_its_height_and_padded_with_zeros() -> None:
    tensor = encode(np.full((96, 100, 3), 255, np.uint8), 320)
    assert tensor.shape == (1, 3, 48, 320)
    assert tensor.dtype == np.float32
    assert (tensor[..., :50] == 1.0).all()
    assert (tensor[..., 50:] == 0.0).all()
    assert encode(np.zeros((48, 321, 3), np.uint8), 320).shape[3] == 328
    assert encode(np.zeros((1, 8000, 3), np.uint8), 320).shape[3] == 3200


def test_ctc_merges_repeats_and_drops_blanks_and_space_around() -> None:
    characters = np.array(["", "a", "b", " "])
    path = [3, 0, 1, 1, 0, 1, 2, 3, 2, 0, 3]
    probabilities = np.full((len(path), 4), 0.01, np.float32)
    probabilities[np.arange(len(path)), path] = np.linspace(0.5, 1.0, len(path))
    answer = decode(probabilities, characters)
    assert answer.text == "aab b"
    assert answer.character_confidences == pytest.approx([0.6, 0.75, 0.8, 0.85, 0.9])
    assert answer.minimum_confidence == pytest.approx(0.6)
    assert answer.confidence == pytest.approx(0.78)


def test_blanks_alone_are_an_empty_text() -> None:
    probabilities = np.tile(np.array([0.9, 0.1], np.float32), (5, 1))
    assert decode(probabilities, np.array(["", "a"])) == decode(probabilities[:1], np.array(["", "a"]))
    assert decode(probabilities, np.array(["", "a"])).text == ""


def test_a_dictionary_may_have_either_line_ending_and_odd_characters(tmp_path: Path) -> None:
    path = tmp_path / "dictionary.txt"
    path.write_bytes("a\r\n\u2028\r\n\u3000\r\n".encode())
    assert read_dictionary(path) == ["a", "\u2028", "\u3000"]
    path.write_bytes(b"a\nb")
    assert read_dictionary(path) == ["a", "b"]


@pytest.mark.parametrize("data", [b"a\n\nb", b"ab\nc", b"\xff\xfe"])
def test_a_damaged_dictionary_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "dictionary.txt"
    path.write_bytes(data)
    with pytest.raises(PackCorrupt):
        read_dictionary(path)


def test_a_rewritten_line_carries_what_is_known_of_its_characters() -> None:
    line = Recognition("abc", 0.8, 0.7, (0.9, 0.8, 0.7), (0.1, 0.5, 0.9), (-9.0, -4.0, 2.0))
    assert line.rewritten("abc", (0, 1, 2)) is line
    spaced = line.rewritten("Ab c", (0, 1, -1, 2))
    assert spaced.character_confidences == (0.9, 0.8, 0.7, 0.7)
    assert spaced.positions == (0.1, 0.5, 0.7, 0.9)
    assert spaced.space_evidence == (-9.0, -4.0, 2.0, 2.0)
    assert spaced.minimum_confidence == 0.7
    assert spaced.confidence == pytest.approx(0.775)
    assert line.rewritten("c", (2,)).confidence == 0.7
    assert line.rewritten(" ", (-1,)).text == ""
    with pytest.raises(ValueError, match="origin"):
        line.rewritten("abcd", (0, 1, 2))

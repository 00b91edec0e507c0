"""Word spaces: restored where picture and words agree, left alone where they do not."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures_kit import line_of

from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.packs import PackStore
from shared.models.recognition import Recognition, TextRecogniser, blank_widths, has_mark_before, space_evidence
from shared.models.restoration import restored
from shared.models.sign_words import SignWords
from shared.models.word_spaces import restore_spaces

WORDS = SignWords({"es": ["salida", "de", "emergencia", "no", "fumar"], "de": ["notausgang", "not", "ausgang"]})


def read(text: str, evidence: Mapping[int, float] | None = None, *, elsewhere: float = -8.0) -> Recognition:
    """A reading with evidence for word spaces before some of its characters."""
    odds = tuple((evidence or {}).get(index, elsewhere) for index in range(len(text)))
    sure = (0.9,) * len(text)
    return Recognition(text, 0.9, 0.9, sure, tuple((i + 0.5) / max(len(text), 1) for i in range(len(text))), odds)


def spaced(text: str, evidence: Mapping[int, float] | None = None, *, elsewhere: float = -8.0) -> str:
    return restore_spaces(read(text, evidence, elsewhere=elsewhere), words=WORDS).text


def test_a_space_the_picture_shows_is_added() -> None:
    assert spaced("Plazamayor", {5: 3.0}) == "Plaza mayor"
    assert spaced("Plazamayor", {5: -3.0}) == "Plazamayor"


def test_words_turn_the_balance_where_the_picture_is_unsure() -> None:
    assert spaced("Salidadeemergencia", {6: -1.0, 8: -1.0}) == "Salida de emergencia"
    assert spaced("Xalidaxemergxncia", {6: -1.0, 8: -1.0}) == "Xalidaxemergxncia"


def test_words_alone_do_not_split_what_the_picture_shows_in_one() -> None:
    assert spaced("Salidadeemergencia") == "Salidadeemergencia"


def test_a_known_word_is_not_split_into_two_others_without_a_clear_gap() -> None:
    assert spaced("Notausgang", {3: 1.5}) == "Notausgang"
    assert spaced("Notausgang", {3: 6.0}) == "Not ausgang"


def test_a_space_inside_a_word_is_taken_out() -> None:
    assert spaced("EMERGEN CIA", {7: -0.5, 8: -0.5}) == "EMERGENCIA"
    assert spaced("EMERGEN CIA", {7: 5.0, 8: 5.0}) == "EMERGEN CIA"


def test_letters_set_wide_are_one_word() -> None:
    assert spaced("S A L I D A", elsewhere=-3.0) == "SALIDA"


def test_numbers_and_closing_marks_keep_together() -> None:
    assert spaced("Salida 1,50", {6: 8.0, 7: 8.0, 9: 2.0}) == "Salida 1,50"
    assert spaced("¡No fumar!", {3: 8.0, 4: 8.0, 9: 2.0}) == "¡No fumar!"


def test_an_inserted_space_has_a_confidence_and_a_place() -> None:
    line = restore_spaces(read("Plazamayor", {5: 3.0}), words=WORDS)
    assert len(line.character_confidences) == len(line.positions) == len(line.space_evidence) == len(line.text)
    assert line.positions == tuple(sorted(line.positions))
    assert line.space_evidence[5] == 3.0


@pytest.mark.parametrize("text", ["出口入口", "12:30", "a", ""])
def test_what_has_no_word_spaces_stays(text: str) -> None:
    line = read(text, elsewhere=5.0) if text == "出口入口" else read(text)
    assert restore_spaces(line, words=WORDS) is line


def test_a_line_without_evidence_or_too_long_stays() -> None:
    bare = Recognition("Plazamayor", 0.9, 0.9, (0.9,) * 10)
    assert restore_spaces(bare) is bare
    endless = read("Plazamayor" * (MAX_TEXT_CHARACTERS // 10 + 1), {5: 9.0})
    assert restore_spaces(endless) is endless


def test_a_long_line_is_spaced_by_its_evidence_alone() -> None:
    text = "Plazamayor" * 20
    assert spaced(text, {5: 4.0, 100: 4.0}).split() == [text[:5], text[5:100], text[100:]]


@given(st.text(max_size=40), st.data())
def test_letters_never_change(text: str, data: st.DataObject) -> None:
    odds = data.draw(st.lists(st.floats(-12, 12), min_size=len(text), max_size=len(text)))
    line = restore_spaces(read(text, dict(enumerate(odds))), words=WORDS)
    assert line.text.split() == line.text.strip().split()
    assert "".join(line.text.split()) == "".join(text.split())
    assert len(line.character_confidences) == len(line.text)


@pytest.mark.parametrize("pack", ["ocr-tiny-rec", "ocr-small-rec"])
def test_rendered_gaps_have_evidence_and_letters_have_none(pack_store: PackStore, pack: str) -> None:
    recogniser = TextRecogniser.load(pack_store.get(pack))
    (line,) = recogniser.recognise([line_of("RUA DAS FLORES")])
    assert line.text == "RUA DAS FLORES"
    gaps = {index for index, value in enumerate(line.space_evidence) if value > 0}
    assert gaps == {3, 4, 7, 8}
    (japanese,) = recogniser.recognise([line_of("出口", height=64)])
    assert japanese.space_evidence == ()


def test_evidence_compares_a_gap_with_the_others_of_its_line() -> None:
    line = np.full((3, 48, 160), 1.0, np.float32)
    for left in (10, 30, 50, 110, 130):
        line[:, 10:38, left : left + 12] = -1.0
    middles = np.array([16.0, 36.0, 56.0, 116.0, 136.0])
    assert blank_widths(line, middles).tolist() == pytest.approx([8, 8, 48, 8], abs=1)
    evidence = space_evidence("abcde", middles, np.zeros(20, np.float32), line, 160)
    assert max(range(5), key=evidence.__getitem__) == 3
    # Where the network sees a space between all letters, they are set wide, and only the widest gap is one.
    everywhere = space_evidence("abcde", middles, np.full(20, 0.99, np.float32), line, 160)
    assert [value > 0 for value in everywhere] == [False, False, False, True, False]


def test_a_narrow_mark_before_the_first_letter_is_seen() -> None:
    line = np.full((3, 48, 200), 1.0, np.float32)
    for left in range(30, 180, 25):
        line[:, 8:40, left : left + 20] = -1.0
    assert not has_mark_before(line, 40.0)
    line[:, 14:40, 12:17] = -1.0
    assert has_mark_before(line, 40.0)
    line[:, 14:40, 2:26] = -1.0  # as wide as a letter
    assert not has_mark_before(line, 40.0)


def test_a_spanish_exclamation_gets_its_mark_from_the_picture(pack_store: PackStore) -> None:
    recogniser = TextRecogniser.load(pack_store.get("ocr-small-rec"))
    picture = line_of("iPeligro!")
    assert restored(recogniser.recognise([picture])[0]).text == "¡Peligro!"
    bare = cv2.copyMakeBorder(line_of("Peligro!"), 0, 0, 8, 8, cv2.BORDER_REPLICATE)
    assert restored(recogniser.recognise([np.asarray(bare, np.uint8)])[0]).text == "Peligro!"


def test_words_are_said_by_a_text_of_known_words_and_not_by_letters_that_happen_to_stand_together() -> None:
    words = SignWords.builtin()
    assert words.are_said_by("SAIDA DE EMERGENCIA")
    assert words.are_said_by("Notausgang")
    assert not words.are_said_by("XAOEHAH")
    assert not words.are_said_by("de la")  # too short to mean anything
    assert not words.are_said_by("Saída XAOEHAHNKOB BPATAPCKA")
    assert not words.are_said_by("")

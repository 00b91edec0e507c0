"""Votes: several readings of a line become one, character by character."""

from __future__ import annotations

import time
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.recognition import Recognition
from shared.models.voting import MAX_ALIGNED, MAX_READINGS, Voice, similarity, vote, weight_of


def voice(text: str, *confidences: float, weight: float = 1.0) -> Voice:
    """A reading whose characters have these probabilities; 0.9 each by default, the last one for the rest."""
    given = confidences or (0.9,)
    values = tuple(given[min(index, len(given) - 1)] for index in range(len(text)))
    if not text:
        return Voice(Recognition("", 0.0, 0.0, ()), weight)
    places = tuple((index + 0.5) / len(text) for index in range(len(text)))
    odds = tuple(float(index) for index in range(len(text)))
    return Voice(Recognition(text, sum(values) / len(values), min(values), values, places, odds), weight)


def test_one_reading_wins_unchanged_and_agrees_with_nobody() -> None:
    alone = voice("SORTIE")
    result = vote([alone])
    assert result.recognition is alone.recognition
    assert (result.agreement, result.readings) == (None, 1)


@pytest.mark.parametrize("texts", list(permutations(["SORTlE", "S0RTIE", "SORTIE"])))
def test_three_readings_outvote_each_others_errors(texts: tuple[str, ...]) -> None:
    assert vote([voice(text) for text in texts]).recognition.text == "SORTIE"


def test_a_sure_character_outweighs_an_unsure_one() -> None:
    unsure = voice("Kasse 7", 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.3)
    assert vote([unsure, voice("Kasse 1")]).recognition.text == "Kasse 1"
    assert vote([voice("Kasse 1"), unsure]).recognition.text == "Kasse 1"


def test_letters_and_spaces_are_added_and_left_out_by_majority() -> None:
    assert vote([voice("Salda"), voice("Salida"), voice("Salida")]).recognition.text == "Salida"
    assert vote([voice("Sallida"), voice("Salida"), voice("Salida")]).recognition.text == "Salida"
    texts = ["Salidade emergencia", "Salida de emergencia", "Salida de emergencia"]
    assert vote([voice(text) for text in texts]).recognition.text == "Salida de emergencia"


def test_a_near_look_outweighs_two_from_afar() -> None:
    far = [voice("SORTlE", 0.8, weight=weight_of(voice("SORTlE", 0.8).recognition, 10.0)) for _ in range(2)]
    near = voice("SORTIE", 0.99, weight=weight_of(voice("SORTIE", 0.99).recognition, 40.0))
    assert vote([*far, near]).recognition.text == "SORTIE"


def test_agreement_tells_how_alike_the_looks_are() -> None:
    assert vote([voice("Bar"), voice("Bar")]).agreement == 1.0
    some = vote([voice("Salida"), voice("Salido", 0.5)]).agreement
    none = vote([voice("Salida"), voice("XYZ", 0.5)]).agreement
    assert none is not None
    assert some is not None
    assert none < 0.2 < some < 1.0


def test_the_winner_is_as_sure_as_the_surest_who_said_it() -> None:
    result = vote([voice("Bar", 0.6), voice("Bar", 0.8), voice("Bax", 0.5)])
    assert result.recognition.character_confidences == (0.8, 0.8, 0.8)
    assert result.recognition.confidence == pytest.approx(0.8)


def test_a_reading_of_nothing_does_not_erase_the_others() -> None:
    assert vote([voice("", weight=5.0), voice("Bar")]).recognition.text == "Bar"
    assert vote([voice(""), voice("")]).recognition.text == ""


def test_evidence_is_known_only_where_every_look_has_it() -> None:
    bare = Voice(Recognition("Bar", 0.9, 0.9, (0.9,) * 3))
    assert vote([bare, voice("Bax")]).recognition.space_evidence == ()
    assert len(vote([voice("Bar"), voice("Bax")]).recognition.space_evidence) == 3


def test_nobody_cannot_vote() -> None:
    with pytest.raises(ValueError, match="nobody"):
        vote([])


def test_endless_lines_are_not_aligned_but_the_heaviest_wins() -> None:
    start = time.process_time()
    result = vote([voice("a" * 500), voice("b" * 500, weight=2.0), voice("c" * (MAX_ALIGNED + 1))])
    assert result.recognition.text == "b" * 500
    assert result.agreement == 0.0
    many = vote([voice(f"line {number}") for number in range(50)])
    assert many.readings == MAX_READINGS
    assert time.process_time() - start < 2.0


def test_similarity_of_texts() -> None:
    assert similarity("Bar", "Bar") == 1.0
    assert similarity("Bar", "") == 0.0
    assert similarity("Bar", "BAR") > similarity("Bar", "Box")
    assert similarity("Salidade", "Salida de") > 0.9


@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_any_readings_give_a_line_that_fits_together(texts: list[str]) -> None:
    result = vote([voice(text) for text in texts])
    line = result.recognition
    assert len(line.character_confidences) == len(line.text)
    assert len(line.positions) in {0, len(line.text)}
    assert list(line.positions) == sorted(line.positions)
    assert result.agreement is None or 0.0 <= result.agreement <= 1.0
    assert set(line.text) <= set("".join(texts))

"""The benches of signs and languages count what they are given, and keep the half that reports to themselves."""

from __future__ import annotations

import argparse

import pytest

from shared.errors import UsageError
from shared.models.language import LanguageGuess
from simulations.bench.sign_phrases import Category, Half, SignPhrase
from simulations.bench.translation import languages, signs
from simulations.bench.translation.parts import available_parts

PHRASES = [
    SignPhrase("Saída", ("Exit", "Way out"), Category.NOTICE, Half.DEV),
    SignPhrase("Empurre", ("Push",), Category.NOTICE, Half.DEV),
    SignPhrase("Puxe", ("Pull",), Category.NOTICE, Half.DEV),
]


def test_answers_are_right_wrong_or_missing() -> None:
    answers = {"Saída": "WAY OUT!", "Empurre": "Pull", "Puxe": None}
    share, failures, taken = signs.judge(PHRASES, lambda phrase: answers[phrase.source])
    assert (share.right, share.wrong, share.missing, share.total) == (1, 1, 1, 3)
    assert share.accuracy == pytest.approx(1 / 3)
    assert share.precision == 0.5
    assert [line.split(":")[0] for line in failures] == ["wrong", "missing"]
    assert taken >= 0.0


def test_without_signs_or_answers_there_is_no_precision() -> None:
    share, _, _ = signs.judge([], lambda _: None)
    assert (share.accuracy, share.precision) == (0.0, None)


@pytest.mark.parametrize("half", ["report", "both"])
def test_failures_of_the_half_that_reports_are_not_shown(half: str) -> None:
    with pytest.raises(UsageError, match="dev only"):
        signs.run(argparse.Namespace(show=True, half=half), lambda _: None)


def test_languages_are_counted_by_what_was_answered() -> None:
    texts = [languages.Text("a", "pt"), languages.Text("b", "pt"), languages.Text("c", "es"), languages.Text("d", "es")]
    guesses = {
        "a": LanguageGuess("pt", 0.9),
        "b": LanguageGuess("es", 0.7),
        "c": LanguageGuess(None, 0.3),
        "d": LanguageGuess("es", 1.0),
    }
    found = languages.judge(texts, lambda _: guesses.__getitem__)
    assert (found["accuracy"], found["wrong"], found["unknown"]) == (0.5, 0.25, 0.25)
    assert found["by_language"] == {"pt": {"right": 1, "wrong": 1}, "es": {"unknown": 1, "right": 1}}


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([], 0.0),
        ([(1.0, True)] * 3, 0.0),
        ([(0.75, True), (0.75, True), (0.75, True), (0.75, False)], 0.0),
        ([(0.95, False)], 0.95),
        ([(0.95, True), (0.15, True)], (0.05 + 0.85) / 2),
    ],
)
def test_the_calibration_error_is_the_gap_between_what_is_said_and_what_is_so(
    answers: list[tuple[float, bool]], error: float
) -> None:
    assert languages.calibration_error(answers) == pytest.approx(error)


def test_the_parts_are_offered() -> None:
    assert {"signs", "quality", "languages"} <= available_parts().keys()

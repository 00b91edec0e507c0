"""Several readings of one line: which one is shown, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import PackUnsupported
from shared.models.calibration import FEATURES, Calibration, LogisticModel
from shared.models.ensemble import (
    PREFERRING,
    TESSERACT,
    Ensemble,
    Readings,
    alphabet_of,
    packs_chance,
    preferring,
    shipped,
    tesseract_look,
)
from shared.models.ensemble_use import Combining
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck, alphabet_scripts
from shared.models.script_picture import PictureScript
from shared.models.seen_lines import Look

PACK = "ocr-small-rec"
TINY = "ocr-tiny-rec"
SURE = LogisticModel((0.0,) * len(FEATURES), 3.0)
EVEN = LogisticModel((0.0,) * len(FEATURES), 0.0)
DOUBTFUL = LogisticModel((0.0,) * len(FEATURES), -3.0)
CALIBRATION = Calibration.builtin()


def recognition(text: str, confidence: float = 0.9) -> Recognition:
    if not text:
        return Recognition("", 0.0, 0.0, ())
    return Recognition(text, confidence, confidence, (confidence,) * len(text))


def look(text: str, script: Script = Script.LATIN, *, confidence: float = 0.9, readable: bool = True) -> Look:
    return Look(recognition(text, confidence), ScriptCheck(script, 0.9, readable))


def ensemble(
    *, tesseract: LogisticModel = SURE, prefer: float = 0.0, voices: dict[str, float] | None = None, least: float = 0.2
) -> Ensemble:
    return Ensemble(
        Combining.RULE,
        {"any": tesseract},
        LogisticModel((0.0,) * len(PREFERRING), prefer),
        voices or {TINY: 1.0, TESSERACT: 1.0},
        least,
    )


def chosen(readings: Readings, how: Combining, weights: Ensemble | None = None) -> tuple[str, str]:
    choice = (weights or ensemble()).choose(readings, how, CALIBRATION)
    return choice.recogniser, choice.look.recognition.text


@pytest.mark.parametrize("how", list(Combining))
@pytest.mark.parametrize("packs", [look("出入口", Script.HAN, readable=False), look("")])
def test_what_the_packs_cannot_read_is_tesseracts(how: Combining, packs: Look) -> None:
    readings = Readings(packs, PACK, 30.0, tesseract=look("출입구", Script.HANGUL))
    assert chosen(readings, how) == (TESSERACT, "출입구")


@pytest.mark.parametrize("how", list(Combining))
def test_a_line_of_tesseract_that_is_hardly_right_is_withheld(how: Combining) -> None:
    readings = Readings(look("出入", Script.HAN, readable=False), PACK, 30.0, tesseract=look("출입구", Script.HANGUL))
    assert chosen(readings, how, ensemble(tesseract=DOUBTFUL)) == (PACK, "出入")


@pytest.mark.parametrize("how", list(Combining))
def test_a_line_whose_script_does_not_fit_is_never_shown(how: Combining) -> None:
    readings = Readings(look("SALIDA"), PACK, 30.0, tesseract=look("살리다", Script.HANGUL, readable=False))
    assert chosen(readings, how, ensemble(prefer=9.0)) == (PACK, "SALIDA")


def test_by_rule_the_likelier_of_readings_in_two_scripts_is_shown() -> None:
    other = look("МОСКВА", Script.CYRILLIC)
    sure, doubtful = (Readings(look("MOCKBA", confidence=p), PACK, 30.0, tesseract=other) for p in (0.999, 0.4))
    assert chosen(sure, Combining.RULE, ensemble(tesseract=EVEN)) == (PACK, "MOCKBA")
    assert chosen(doubtful, Combining.RULE, ensemble(tesseract=EVEN)) == (TESSERACT, "МОСКВА")


def test_by_rule_readings_of_one_script_vote_and_two_outvote_one() -> None:
    readings = Readings(
        look("SALLDA", confidence=0.8), PACK, 30.0, look("SALIDA", confidence=0.8), TINY, look("SALIDA", confidence=0.8)
    )
    name, text = chosen(readings, Combining.RULE)
    assert text == "SALIDA"
    assert name in (TINY, TESSERACT)


def test_who_has_no_voice_is_not_heard() -> None:
    readings = Readings(look("SALLDA"), PACK, 30.0, look("SALIDA"), TINY, look("SALIDA"))
    mute = ensemble(voices={TINY: 0.0, TESSERACT: 0.0})
    assert chosen(readings, Combining.RULE, mute) == (PACK, "SALLDA")


@pytest.mark.parametrize(("prefer", "expected"), [(9.0, (TESSERACT, "SALIDA")), (-9.0, (PACK, "SALLDA"))])
def test_by_weights_the_model_says_whose_reading_is_shown(prefer: float, expected: tuple[str, str]) -> None:
    readings = Readings(look("SALLDA"), PACK, 30.0, tesseract=look("SALIDA"))
    assert chosen(readings, Combining.WEIGHTS, ensemble(prefer=prefer)) == expected


def test_the_weights_that_ship_prefer_tesseract_more_the_likelier_it_is_right() -> None:
    packs, other = look("SALLDA"), look("SALIDA")
    model = Ensemble.builtin().prefer
    chances = [
        model.probability(preferring(packs, other, packs_chance=0.5, tesseract_chance=chance))
        for chance in (0.05, 0.5, 0.95)
    ]
    assert chances == sorted(chances)


def test_a_line_of_tesseract_is_restored_and_judged_by_the_script_it_was_asked_for() -> None:
    read = tesseract_look(recognition("출입구"), Script.HANGUL)
    assert (read.script.script, read.script.readable) == (Script.HANGUL, True)
    assert tesseract_look(recognition("¿Dónde está?"), Script.LATIN).recognition.text == "¿Dónde está?"
    assert not tesseract_look(recognition("SALIDA"), Script.HANGUL).script.readable
    assert not tesseract_look(recognition("12:30"), Script.THAI).script.readable
    assert not tesseract_look(recognition("출입구", 0.1), Script.HANGUL).script.readable
    assert not tesseract_look(recognition("출입구"), Script.OTHER).script.readable
    assert tesseract_look(recognition("თბილისი"), Script.OTHER).script.readable


def test_what_the_picture_shows_speaks_against_a_line_too() -> None:
    rest = dict.fromkeys(Script, 0.001)
    picture = PictureScript({**rest, Script.THAI: 0.99}, 0.0)
    assert not tesseract_look(recognition("출입구", 0.5), Script.HANGUL, picture=picture).script.readable


@pytest.mark.parametrize("script", [script for script in Script if script not in (Script.COMMON, Script.OTHER)])
def test_every_script_has_letters_that_stand_for_it(script: Script) -> None:
    assert alphabet_scripts(alphabet_of(frozenset({script}))) == {script}


def test_nothing_unreadable_has_a_chance() -> None:
    assert packs_chance(CALIBRATION, PACK, look("SALIDA", readable=False), height_px=30.0) == 0.0
    assert Ensemble.builtin().chance(recognition(""), height_px=30.0) == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"version": 9},
        {"default": "luck"},
        {"tesseract": {}},
        {"tesseract": {"any": {"weights": [1.0], "bias": 0.0}}},
        {"prefer": {"weights": [], "bias": 0.0}},
        {"voices": {TINY: 2.0}},
        {"least": None},
        {"voices": 3},
    ],
)
def test_weights_of_another_shape_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PackUnsupported):
        Ensemble.from_json(json.dumps({**shipped(), **change}))

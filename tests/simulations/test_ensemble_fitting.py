"""What the ensemble is fitted, chosen and judged by: on made-up readings, whose answer is plain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud.reading.ensemble import Combined, UnsureLine
from cloud.reading.readers import LineReading
from shared.models.apertium import EngineName
from shared.models.calibration import FEATURES, Calibration, LogisticModel
from shared.models.ensemble import PREFERRING, TESSERACT, Ensemble, Readings
from shared.models.ensemble_use import Combining
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck
from shared.models.seen_lines import Look
from simulations.bench.cloud.reading import PhotoArm
from simulations.bench.reading.scoring import Photo
from simulations.training.ensemble import (
    Arm,
    Tally,
    arms_of,
    choose,
    fit_ensemble,
    report,
    tallies,
    worths_of,
)
from simulations.training.ensemble_lines import SMALL_PACK, Fonts, Line, ReadLine, shown

PACK = "ocr-small-rec"
CALIBRATION = Calibration.builtin()
IMAGE = np.zeros((32, 64, 3), np.uint8)


def look(text: str, script: Script, confidence: float, *, readable: bool = True) -> Look:
    line = Recognition(text, confidence, confidence, (confidence,) * len(text))
    return Look(line, ScriptCheck(script, confidence, readable))


def korean(number: int, *, right: bool, confidence: float) -> ReadLine:
    """A line that the packs cannot read, and Tesseract reads surely where it is right."""
    truth = f"출입구 {number}"
    read = truth if right else f"줄임구 {number}"
    readings = Readings(
        look("出入", Script.HAN, 0.4, readable=False), PACK, 32.0, tesseract=look(read, Script.HANGUL, confidence)
    )
    return ReadLine(Line(Script.HANGUL, truth, IMAGE), readings, sure=False, told=Script.HANGUL)


def french(number: int, *, packs_right: bool) -> ReadLine:
    """A line that both can read, and one of them reads rightly: the surer one."""
    truth = f"SORTIE {'ABCDEFGHIJ'[number % 10]}"
    wrong = truth.replace("T", "I")
    packs = look(truth if packs_right else wrong, Script.LATIN, 0.93 if packs_right else 0.6)
    other = look(wrong if packs_right else truth, Script.LATIN, 0.5 if packs_right else 0.95)
    return ReadLine(
        Line(Script.LATIN, truth, IMAGE), Readings(packs, PACK, 32.0, tesseract=other), sure=False, told=Script.LATIN
    )


def lines() -> list[ReadLine]:
    found = []
    for number in range(40):
        right = number % 4 != 0
        found += [
            korean(number, right=right, confidence=0.95 if right else 0.35),
            french(number, packs_right=number % 2 == 0),
        ]
    return found


@pytest.fixture(scope="module")
def fitted() -> Ensemble:
    sets = {name: lines() for name in ("training", "calibration", "evaluation")}
    return Ensemble.from_json(json.dumps(fit_ensemble(sets, CALIBRATION)))


def test_a_surer_line_of_tesseract_has_the_better_chance_after_fitting(fitted: Ensemble) -> None:
    sure, unsure = (korean(1, right=True, confidence=value).readings.tesseract for value in (0.95, 0.35))
    assert sure is not None
    assert unsure is not None
    assert fitted.chance(sure.recognition, height_px=32.0) > 0.8
    assert fitted.chance(unsure.recognition, height_px=32.0) < 0.3


def test_weights_find_out_which_of_two_readings_is_right_and_the_fitted_default_is_the_best(fitted: Ensemble) -> None:
    worth = {how: worths_of(lines(), Arm(fitted, how), CALIBRATION).sum() for how in Combining}
    assert worth[fitted.default] == max(worth.values())
    assert worth[Combining.WEIGHTS] > worths_of(lines(), Arm(None), CALIBRATION).sum()
    found = tallies(lines(), Arm(fitted, Combining.WEIGHTS), CALIBRATION)
    assert found[Script.LATIN].exact == found[Script.LATIN].lines
    assert found[Script.HANGUL].exact == 30


def test_the_floor_withholds_what_is_mostly_wrong(fitted: Ensemble) -> None:
    wrong = korean(0, right=False, confidence=0.35)
    assert shown(Arm(fitted).choose(wrong, CALIBRATION).look) == ""


def test_a_line_that_the_packs_are_sure_of_is_theirs(fitted: Ensemble) -> None:
    one = replace(french(1, packs_right=False), sure=True)
    assert Arm(fitted, Combining.WEIGHTS).choose(one, CALIBRATION).recogniser == PACK


def test_of_equal_choices_the_one_that_asks_least_is_taken() -> None:
    start = Ensemble(
        Combining.RULE,
        {"any": LogisticModel((0.0,) * len(FEATURES), 3.0)},
        LogisticModel((0.0,) * len(PREFERRING), 0.0),
        {},
        0.0,
    )
    best, worth = choose([korean(number, right=True, confidence=0.9) for number in range(4)], start, CALIBRATION)
    assert (best.default, dict(best.voices)) == (Combining.RULE, {SMALL_PACK: 0.0, TESSERACT: 0.0})
    assert worth["packs alone"] < worth["rule, tiny 0, tesseract 0"]


def test_a_report_has_a_row_for_each_arm_and_a_column_for_each_script(fitted: Ensemble) -> None:
    head, _, *rows, last = report(lines(), fitted, CALIBRATION)
    assert head == "| arm | hangul | latin |"
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(arms_of(fitted))
    assert last.startswith("default: ")


def test_a_line_withheld_counts_as_not_read() -> None:
    tally = Tally()
    tally.add("출입구", "")
    tally.add("출입구", "출 입구")
    tally.add("출입구", "전혀 다른 긴 글자들")
    assert (tally.exact, tally.shown, tally.cer) == (1, 2, pytest.approx(6 / 9))


def test_a_script_without_a_font_has_none_even_where_any_would_do() -> None:
    for lenient in (True, False):
        fonts = Fonts([], held_apart=True, lenient=lenient)
        assert not any(fonts.can_write(script) for script in Script if script in (Script.THAI, Script.LATIN))


class _Second:
    """Reads every line as Korean."""

    def combine(self, lines: list[UnsureLine], *, source: str | None, deadline: float) -> list[Combined]:
        del source, deadline
        return [Combined(look("출입구", Script.HANGUL, 0.9), EngineName("tesseract-kor", "5")) for _ in lines]


def test_gains_and_losses_on_photographs_are_counted_beside_the_packs_and_named() -> None:
    photo = Photo(Path("a.jpg"), "ko", ("출입구", "EXIT"))
    quad = np.array([[0, 0], [64, 0], [64, 32], [0, 32]], np.float32)
    read = [
        LineReading(quad, look(text, script, 0.6).recognition, ScriptCheck(script, 0.9, True), 1.0, crop=IMAGE.copy())
        for text, script in (("出入", Script.HAN), ("EXIT", Script.LATIN))
    ]
    unsure = [
        UnsureLine(line.crop, Look(line.recognition, line.script), 32.0) for line in read if line.crop is not None
    ]
    packs, ensemble = PhotoArm("packs", None), PhotoArm("ensemble", _Second())  # type: ignore[arg-type]
    for arm in (packs, ensemble):
        arm.add(photo, arm.read(read, unsure))
    harm, gain = ensemble.against(packs)
    assert (harm.value, harm.met, harm.note) == (-1.0, False, "0 gained, 1 lost")
    assert (gain.value, gain.met, gain.note) == (1.0, None, "1 gained, 0 lost")
    assert ensemble.changes(packs) == [
        "ensemble: gained '출입구' on a.jpg.",
        "ensemble: lost 'EXIT' on a.jpg.",
    ]
    assert ensemble.by_tesseract == 2

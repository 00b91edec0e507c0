"""The encoding of evidence: what is unknown, what is refused, and what rises with confidence."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from evidence_kit import line_of, sign_of
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import SignalsInvalid, WaywordError
from shared.limits import MAX_READING_LINES, MAX_TEXT_CHARACTERS
from shared.models.manifest import KNOWN_ENCODINGS, Task
from shared.models.sign_evidence import SignEvidence
from shared.models.sign_features import ENCODING_VERSION, FEATURES, LANGUAGES, RECOGNISERS, RISING, encode

UNKNOWN_LINE = {
    "script": None,
    "height_px": None,
    "sharpness": None,
    "contrast": None,
    "brightness": None,
    "noise": None,
    "known_words": None,
    "spaces": None,
    "agreement": None,
}


def named(evidence: SignEvidence) -> dict[str, float]:
    return dict(zip(FEATURES, encode(evidence).tolist(), strict=True))


def test_packs_of_this_encoding_are_the_ones_that_the_runtime_takes() -> None:
    assert KNOWN_ENCODINGS[Task.CASCADE] == {ENCODING_VERSION}


def test_a_sign_is_a_vector_of_named_finite_numbers() -> None:
    vector = encode(sign_of())
    assert vector.dtype == np.float32
    assert vector.shape == (len(FEATURES),) == (len(set(FEATURES)),)
    assert np.isfinite(vector).all()


def test_what_is_not_known_is_said_to_be_unknown_and_is_no_number() -> None:
    found = named(sign_of(line_of(**UNKNOWN_LINE), phrase_score=None, engine="none", source=None))
    known = [name for name in FEATURES if name.endswith(" known")]
    assert known
    assert all(found[name] == 0 for name in known)
    assert found["language unknown"] == 1
    assert not any(found[f"language {language}"] for language in LANGUAGES)
    assert all(math.isfinite(value) for value in found.values())


def test_a_measurement_that_equals_the_neutral_value_is_told_from_an_unknown_one() -> None:
    measured = named(sign_of(line_of(known_words=0.5)))
    unknown = named(sign_of(line_of(known_words=None)))
    assert measured["known words, mean"] == unknown["known words, mean"]
    assert (measured["known words known"], unknown["known words known"]) == (1, 0)


def test_a_line_without_text_is_encoded_as_one() -> None:
    found = named(sign_of(line_of(characters=(), recognition=0.0, withheld=True, **UNKNOWN_LINE), engine="none"))
    assert found["lines shown"] == 0
    assert found["characters"] == 0
    assert found["lines withheld"] == pytest.approx(math.log(2))


def test_withheld_lines_do_not_speak_for_those_shown() -> None:
    alone = named(sign_of(line_of()))
    beside = named(sign_of(line_of(), line_of(characters=(0.1,), recognition=0.01, withheld=True)))
    changed = {name for name in FEATURES if alone[name] != beside[name]}
    assert changed == {"lines withheld", "detection, surest withheld"}


def test_a_sign_is_as_sure_as_its_least_sure_line() -> None:
    found = named(sign_of(line_of(recognition=0.9), line_of(recognition=0.6)))
    assert found["recognition, worst line"] == pytest.approx(math.log(0.6 / 0.4), abs=1e-4)
    assert found["recognition, all lines"] == pytest.approx(math.log(0.54 / 0.46), abs=1e-4)


def test_languages_scripts_and_recognisers_without_a_feature_of_their_own_are_others() -> None:
    found = named(sign_of(line_of(script="thai"), source="th", recogniser="ocr-of-somebody"))
    assert found["language other"] == 1
    assert found["script other"] == 1
    assert not any(found[f"recogniser {pack}"] for pack in RECOGNISERS)


LINE_FAULTS: list[dict[str, Any]] = [
    {"characters": (0.9, float("nan"))},
    {"characters": (1.2,)},
    {"characters": (None,)},
    {"script_probability": -0.1},
    {"height_px": float("inf")},
    {"height_px": -3.0},
    {"sharpness": float("nan")},
    {"contrast": 1.5},
    {"brightness": -1.0},
    {"noise": 7.0},
    {"known_words": 2.0},
    {"spaces": float("-inf")},
    {"agreement": 1.01},
    {"detection": float("nan")},
    {"recognition": None},
    {"recognition": "0.5"},
    {"characters": (0.5,) * (MAX_TEXT_CHARACTERS + 1)},
]
SIGN_FAULTS: list[dict[str, Any]] = [
    {"language": float("nan")},
    {"translation": 1.1},
    {"translation": None},
    {"phrase_score": -0.5},
    {"mean_log_probability": 0.5},
    {"mean_log_probability": float("-inf")},
    {"minimum_log_probability": float("nan")},
    {"quality": 3.0},
    {"engine": "magic"},
    {"lines": ()},
    {"lines": (line_of(),) * (MAX_READING_LINES + 1)},
]


@pytest.mark.parametrize("fault", LINE_FAULTS, ids=repr)
def test_a_line_with_an_impossible_number_is_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(SignalsInvalid):
        encode(sign_of(line_of(), line_of(**fault)))


@pytest.mark.parametrize("fault", SIGN_FAULTS, ids=lambda fault: next(iter(fault)))
def test_a_sign_with_an_impossible_number_is_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(WaywordError) as caught:
        encode(sign_of(**fault))
    assert type(caught.value) is SignalsInvalid


def test_an_impossible_number_is_refused_in_a_withheld_line_too() -> None:
    with pytest.raises(SignalsInvalid, match="recognition"):
        encode(sign_of(line_of(), line_of(recognition=float("nan"), withheld=True)))


def test_what_rounding_added_to_a_certainty_is_taken_off() -> None:
    assert named(sign_of(line_of(characters=(1.0000002,)))) == named(sign_of(line_of(characters=(1.0,))))


chance = st.floats(0, 1)


@settings(max_examples=40, deadline=None)
@given(
    characters=st.lists(chance, min_size=1, max_size=6),
    recognition=chance,
    translation=chance,
    other=chance,
    rise=chance,
    data=st.data(),
)
def test_confidence_features_rise_with_confidence_and_nothing_else_moves(
    characters: list[float], recognition: float, translation: float, other: float, rise: float, data: st.DataObject
) -> None:
    line = line_of(characters=tuple(characters), recognition=recognition)
    before = sign_of(line, line_of(recognition=other), translation=translation)
    which = data.draw(st.sampled_from(("character", "recognition", "translation")))
    if which == "character":
        place = data.draw(st.integers(0, len(characters) - 1))
        characters[place] = max(characters[place], rise)
        after = replace(before, lines=(replace(line, characters=tuple(characters)), before.lines[1]))
    elif which == "recognition":
        after = replace(before, lines=(replace(line, recognition=max(recognition, rise)), before.lines[1]))
    else:
        after = replace(before, translation=max(translation, rise))
    old, new = named(before), named(after)
    assert all(new[name] >= old[name] for name in RISING)
    assert all(new[name] == old[name] for name in FEATURES if name not in RISING)

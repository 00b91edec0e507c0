"""The metamodel's view of a sign: from evidence to a vector of numbers, for training, phone, cloud and simulation.

A sign has any number of lines, a vector does not: lines shown to the wearer are summed up by their worst and their mean
(those withheld, where none is shown), withheld ones by their number and how surely they are text. Whatever may be
unknown has a neutral value and a feature "... known" beside it, so that not knowing is not taken for a measurement.
Every feature in `RISING` rises, or stays, when a character's probability, a calibrated recognition or the calibrated
translation rises and all else stays: a model that never falls in them never holds confidence against a reading.

The encoding is versioned with the packs trained on it: a changed feature is a new `ENCODING_VERSION`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.errors import SignalsInvalid
from shared.limits import MAX_CROP_SIDE, MAX_READING_LINES, MAX_TEXT_CHARACTERS
from shared.models.script import Script
from shared.models.sign_evidence import LineEvidence, SignEvidence
from shared.models.sign_meaning import TranslationEngine

ENCODING_VERSION: Final = 1
RECOGNISERS: Final = ("ocr-tiny-rec", "ocr-small-rec")
"""Recognition packs with a feature of their own; signs of any other have none set."""
LANGUAGES: Final = ("pt", "es", "fr", "de", "it", "ja", "zh", "ko", "en")
"""Languages with a feature of their own: those of the phrasebook and the language translated into."""
SCRIPTS: Final = (Script.LATIN, Script.HAN, Script.KANA, Script.HANGUL, Script.COMMON)
"""Scripts with a feature of their own; the recognisers were made for the first three."""

RISING: Final = (
    "characters mean, worst line",
    "characters mean, mean",
    "characters least, worst line",
    "characters least, mean",
    "recognition, worst line",
    "recognition, mean",
    "recognition, all lines",
    "translation",
    "together",
)
"""Features made of character probabilities, calibrated recognition and calibrated translation."""
FEATURES: Final = (
    *RISING,
    "script, worst line",
    "known words, worst line",
    "known words, mean",
    "known words known",
    "spaces, worst line",
    "spaces known",
    "agreement, worst line",
    "agreement known",
    "detection, worst line",
    "height, lowest line",
    "height known",
    "resolution, worst line",
    "sharpness, worst line",
    "contrast, worst line",
    "brightness, mean",
    "noise, worst line",
    "picture known",
    "lines shown",
    "lines withheld",
    "detection, surest withheld",
    "characters",
    "characters, shortest line",
    "language",
    *(f"language {language}" for language in LANGUAGES),
    "language other",
    "language unknown",
    *(f"script {script}" for script in SCRIPTS),
    "script other",
    *(f"engine {engine}" for engine in TranslationEngine),
    "complete",
    "from cloud",
    "phrase score",
    "phrase exact",
    "phrase known",
    "log-probability, mean",
    "log-probability, least",
    "log-probability known",
    "quality",
    "quality known",
    *(f"recogniser {pack}" for pack in RECOGNISERS),
)
"""Names of the features, in the order of the vector."""

_SURE: Final = 1e-4
"""Probabilities nearer than this to 0 or 1 are as good as that: softmax outputs in float32 say no more."""
_SLACK: Final = 1e-3
"""How far rounding may carry a probability, or a log-probability, out of its range."""
_NEUTRAL_SHARE: Final = 0.5
_SURE_SPACES: Final = 4.0
"""Log-odds from which a word space counts as sure, as in `calibration`."""
_MAX_LOG_ODDS: Final = 1e3
_MAX_SHARPNESS: Final = 64.0
"""Of a picture: a step of full scale within a pixel, against the least contrast told from noise, gives about 20."""
_HEIGHTS: Final = (4.0, 96.0)
"""Heights told apart, in pixels: lower lines say nothing, higher ones no more."""
_HEIGHT_UNIT: Final = 24.0
_SHARPNESS: Final = (0.02, 1.0)
_SNR: Final = (1.0, 1024.0)
"""Ratios of contrast to noise told apart."""
_MEAN_FLOOR: Final = -6.0
_LEAST_FLOOR: Final = -12.0
"""Log-probabilities below these say no more, as in `calibration`."""
_LEAST_LOG_PROBABILITY: Final = -1e6
_COLUMN: Final = {name: index for index, name in enumerate(FEATURES)}
_RECOGNISER_COLUMNS: Final = tuple(_COLUMN[f"recogniser {pack}"] for pack in RECOGNISERS)
_ENGINES: Final = frozenset(engine.value for engine in TranslationEngine)
_NAMED_SCRIPTS: Final = frozenset(script.value for script in SCRIPTS)

Vector = npt.NDArray[np.float32]


def encode(evidence: SignEvidence) -> Vector:
    """The features of one sign, float32 of shape (len(FEATURES),), finite.

    Raises:
        SignalsInvalid: the evidence has no line or too many, or a number in it is missing, not finite or out of range.
    """
    lines = evidence.lines
    if not 0 < len(lines) <= MAX_READING_LINES:
        raise SignalsInvalid(f"evidence of {len(lines)} lines; it takes 1 to {MAX_READING_LINES}")
    for line in lines:
        _check_line(line)
    shown = [line for line in lines if not line.withheld]
    judged = shown or [line for line in lines if line.characters] or list(lines)
    found = {
        **_scores(judged, evidence),
        **_pictures(judged),
        **_sizes(judged, lines),
        **_languages(judged, evidence),
        **_translation(evidence),
    }
    if evidence.recogniser in RECOGNISERS:
        found[f"recogniser {evidence.recogniser}"] = 1.0
    vector = np.zeros(len(FEATURES), np.float32)
    for name, value in found.items():
        vector[_COLUMN[name]] = value
    return vector


def recogniser_columns() -> tuple[int, ...]:
    """Where the vector says which recogniser it was, in the order of `RECOGNISERS`."""
    return _RECOGNISER_COLUMNS


def logit(p: float) -> float:
    """Log-odds, with certainty capped."""
    p = min(max(p, _SURE), 1 - _SURE)
    return math.log(p / (1 - p))


def _scores(judged: Sequence[LineEvidence], evidence: SignEvidence) -> dict[str, float]:
    mean = [logit(sum(line.characters) / len(line.characters) if line.characters else 0.0) for line in judged]
    least = [logit(min(line.characters, default=0.0)) for line in judged]
    recognition = [_clipped(line.recognition) for line in judged]
    sure = [logit(p) for p in recognition]
    language = _number("language", evidence.language, 0, 1)
    translation = _number("translation", evidence.translation, 0, 1)
    known = [_clipped(line.known_words) for line in judged if line.known_words is not None]
    spaces = [min(abs(line.spaces), _SURE_SPACES) for line in judged if line.spaces is not None]
    agreement = [_clipped(line.agreement) for line in judged if line.agreement is not None]
    return {
        "characters mean, worst line": min(mean),
        "characters mean, mean": sum(mean) / len(mean),
        "characters least, worst line": min(least),
        "characters least, mean": sum(least) / len(least),
        "recognition, worst line": min(sure),
        "recognition, mean": sum(sure) / len(sure),
        "recognition, all lines": logit(math.prod(recognition)),
        "translation": logit(translation),
        "together": logit(min(recognition) * language * translation),
        "script, worst line": min(logit(_clipped(line.script_probability)) for line in judged),
        "known words, worst line": min(known, default=_NEUTRAL_SHARE),
        "known words, mean": sum(known) / len(known) if known else _NEUTRAL_SHARE,
        "known words known": float(bool(known)),
        "spaces, worst line": min(spaces, default=_SURE_SPACES / 2),
        "spaces known": float(bool(spaces)),
        "agreement, worst line": min(agreement, default=_NEUTRAL_SHARE),
        "agreement known": float(bool(agreement)),
        "detection, worst line": min(_clipped(line.detection) for line in judged),
    }


def _pictures(judged: Sequence[LineEvidence]) -> dict[str, float]:
    """What the pictures are like; a line of which nothing is known says nothing."""
    heights = [_octaves(line.height_px, *_HEIGHTS, _HEIGHT_UNIT) for line in judged if line.height_px is not None]
    sharpness = [_octaves(line.sharpness, *_SHARPNESS) for line in judged if line.sharpness is not None]
    resolution = [
        _octaves(line.height_px, *_HEIGHTS, _HEIGHT_UNIT) + _octaves(line.sharpness, *_SHARPNESS)
        for line in judged
        if line.height_px is not None and line.sharpness is not None
    ]
    contrast = [line.contrast for line in judged if line.contrast is not None]
    brightness = [line.brightness for line in judged if line.brightness is not None]
    clearness = [
        _octaves(line.contrast / max(line.noise, _SURE), *_SNR)
        for line in judged
        if line.contrast is not None and line.noise is not None
    ]
    return {
        "height, lowest line": min(heights, default=0.0),
        "height known": float(bool(heights)),
        "resolution, worst line": min(resolution, default=-2.0),
        "sharpness, worst line": min(sharpness, default=-2.0),
        "contrast, worst line": min(contrast, default=_NEUTRAL_SHARE),
        "brightness, mean": sum(brightness) / len(brightness) if brightness else _NEUTRAL_SHARE,
        "noise, worst line": -min(clearness, default=5.0),
        "picture known": float(bool(sharpness)),
    }


def _sizes(judged: Sequence[LineEvidence], lines: Sequence[LineEvidence]) -> dict[str, float]:
    withheld = [line for line in lines if line.withheld]
    lengths = [len(line.characters) for line in judged]
    return {
        "lines shown": math.log1p(len(lines) - len(withheld)),
        "lines withheld": math.log1p(len(withheld)),
        "detection, surest withheld": max((_clipped(line.detection) for line in withheld), default=0.0),
        "characters": math.log1p(sum(lengths)),
        "characters, shortest line": math.log1p(min(lengths)),
    }


def _languages(judged: Sequence[LineEvidence], evidence: SignEvidence) -> dict[str, float]:
    found = {"language": _number("language", evidence.language, 0, 1)}
    if evidence.source is None:
        found["language unknown"] = 1.0
    else:
        found[f"language {evidence.source if evidence.source in LANGUAGES else 'other'}"] = 1.0
    for line in judged:
        if line.script is not None:
            name = f"script {line.script if line.script in _NAMED_SCRIPTS else 'other'}"
            found[name] = found.get(name, 0.0) + 1 / len(judged)
    return found


def _translation(evidence: SignEvidence) -> dict[str, float]:
    if evidence.engine not in _ENGINES:
        raise SignalsInvalid(f"{evidence.engine!r} is no translation engine")
    score = _optional("phrase score", evidence.phrase_score, 0, 1)
    mean = _optional("mean log-probability", evidence.mean_log_probability, _LEAST_LOG_PROBABILITY, 0)
    least = _optional("least log-probability", evidence.minimum_log_probability, _LEAST_LOG_PROBABILITY, 0)
    quality = _optional("quality", evidence.quality, 0, 1)
    return {
        f"engine {evidence.engine}": 1.0,
        "complete": float(bool(evidence.complete)),
        "from cloud": float(bool(evidence.from_cloud)),
        "phrase score": _NEUTRAL_SHARE if score is None else score,
        "phrase exact": float(score is not None and score >= 1),
        "phrase known": float(score is not None),
        "log-probability, mean": _MEAN_FLOOR / 4 if mean is None else max(mean, _MEAN_FLOOR),
        "log-probability, least": _LEAST_FLOOR / 4 if least is None else max(least, _LEAST_FLOOR),
        "log-probability known": float(mean is not None and least is not None),
        "quality": _NEUTRAL_SHARE if quality is None else quality,
        "quality known": float(quality is not None),
    }


def _check_line(line: LineEvidence) -> None:
    if len(line.characters) > MAX_TEXT_CHARACTERS:
        raise SignalsInvalid(f"evidence of a line of {len(line.characters)} characters")
    _numbers("a character's probability", line.characters)
    _number("script probability", line.script_probability, 0, 1)
    _optional("height", line.height_px, 0, MAX_CROP_SIDE)
    _optional("sharpness", line.sharpness, 0, _MAX_SHARPNESS)
    _optional("contrast", line.contrast, 0, 1)
    _optional("brightness", line.brightness, 0, 1)
    _optional("noise", line.noise, 0, 1)
    _optional("known words", line.known_words, 0, 1)
    _optional("spaces", line.spaces, -_MAX_LOG_ODDS, _MAX_LOG_ODDS)
    _optional("agreement", line.agreement, 0, 1)
    _number("detection", line.detection, 0, 1)
    _number("recognition", line.recognition, 0, 1)


def _numbers(what: str, values: Iterable[object]) -> None:
    for value in values:
        _number(what, value, 0, 1)


def _optional(what: str, value: object, least: float, most: float) -> float | None:
    return None if value is None else _number(what, value, least, most)


def _number(what: str, value: object, least: float, most: float) -> float:
    """The number, brought into its range where rounding carried it out.

    Raises:
        SignalsInvalid: it is none, not finite, or out of its range.
    """
    if not isinstance(value, int | float | np.floating | np.integer):
        raise SignalsInvalid(f"{what} is missing or no number")
    # Written so that NaN fails too.
    if not least - _SLACK <= value <= most + _SLACK:
        raise SignalsInvalid(f"{what} is {float(value):g}, outside {least:g} to {most:g}")
    return min(max(float(value), least), most)


def _clipped(p: float) -> float:
    """A probability that was checked, without what rounding added."""
    return min(max(p, 0.0), 1.0)


def _octaves(value: float, least: float, most: float, unit: float = 1.0) -> float:
    return math.log2(min(max(value, least), most) / unit)

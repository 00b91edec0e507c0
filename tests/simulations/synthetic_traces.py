"""Traces out of a random number generator: plausible in shape, measured by nobody.

Each look has a hidden difficulty (height, blur, light, language) that drives both what is seen of the reading and
whether it is right, so that models fit, policies disagree and the cloud helps; the small recognisers know no kana.
Nothing that is measured on these traces says anything about the product.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

import numpy as np

from shared.models.sign_evidence import LineEvidence, SignEvidence
from simulations.traces.records import (
    TRACE_VERSION,
    CloudTrace,
    Confidence,
    LocalTrace,
    SignTrace,
    TraceHeader,
    TracePart,
    View,
)

PACKS: Final = {"tiny": "ocr-tiny-rec", "small": "ocr-small-rec"}
"""Recognition pack of each recogniser."""
HEADER: Final = TraceHeader(TRACE_VERSION, 0, "none: drawn by chance", dict.fromkeys(PACKS.values(), "0"))
_LANGUAGES: Final = ("pt", "es", "fr", "de", "it", "ja", "zh")
_SCRIPTS: Final = {"ja": "kana", "zh": "han"}
_LIGHTS: Final = ("day", "shade", "dusk", "night")
_PHRASES: Final = 0.5
"""Different phrases for each sign."""


def synthetic_traces(count: int, seed: int = 0) -> list[SignTrace]:
    """Signs drawn by chance, with one look or up to three each; equal arguments give equal traces.

    Half of them are for training, the rest for calibration, test and, a few, photographs; a phrase is in one part only.

    Args:
        count: number of records, looks included.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    traces: list[SignTrace] = []
    sign = 0
    while len(traces) < count:
        number = int(rng.integers(max(1, round(count * _PHRASES))))
        phrase, language = f"phrase-{number}", _LANGUAGES[number % len(_LANGUAGES)]
        for look in range(1 if rng.random() < 0.7 else int(rng.integers(2, 4))):
            traces.append(_trace(rng, sign, look, phrase, language))
        sign += 1
    return traces[:count]


def part_of_phrase(phrase: str) -> TracePart:
    """Where the signs of a phrase belong."""
    share = int.from_bytes(hashlib.sha256(phrase.encode()).digest()[:4], "big") / 2**32
    if share < 0.5:
        return TracePart.TRAIN
    if share < 0.75:
        return TracePart.CALIBRATION
    return TracePart.TEST if share < 0.95 else TracePart.PHOTO


def _trace(rng: np.random.Generator, sign: int, look: int, phrase: str, language: str) -> SignTrace:
    part = part_of_phrase(phrase)
    lines = int(rng.integers(1, 4))
    height = float(np.exp(rng.uniform(math.log(9), math.log(60))))
    light = int(rng.integers(len(_LIGHTS)))
    blur = float(rng.gamma(2.0, 0.6))
    # About -3 for a hopeless look, 3 for an easy one.
    ease = 2.2 * math.log2(height / 16) - 0.9 * blur - 0.5 * light + 1.2 + float(rng.normal(0, 0.6))
    cloud_text = bool(rng.random() < _sigmoid(ease + 2.5))
    cloud_translation = cloud_text and bool(rng.random() < 0.9)
    local = {
        name: _local(rng, name, language, lines, height, blur, light, ease + (0.8 if name == "small" else 0.0))
        for name in PACKS
    }
    cloud_sure = _round(_sigmoid(ease + 2.0 + (1.0 if cloud_translation else -1.5)))
    return SignTrace(
        sign=sign,
        look=look,
        part=part,
        phrase=phrase,
        language=language,
        truth=phrase,
        view=View("photo") if part is TracePart.PHOTO else View(_LIGHTS[light], "Font", _round(height), _round(blur)),
        lines=lines,
        strip_bytes=int(900 * lines + rng.integers(1500)),
        still_bytes=int(rng.integers(80_000, 240_000)),
        detection_ms=_round(rng.uniform(35, 60)),
        local=local,
        cloud=CloudTrace(
            text=phrase if cloud_text else "?",
            translation="yes" if cloud_translation else "no",
            engine="translator",
            source=language,
            unreadable=0,
            confidence=Confidence(0.9, cloud_sure, 1.0, 1.0, 0.9),
            milliseconds=_round(rng.uniform(40, 200)),
            reply_bytes=int(rng.integers(80, 300)),
            text_right=cloud_text,
            translation_right=cloud_translation,
            replaces={
                name: cloud_sure * 0.9 >= (trace.confidence.recognition or 0) * (trace.confidence.translation or 0)
                for name, trace in local.items()
            },
        ),
        source="photo" if part is TracePart.PHOTO else "signs",
    )


def _local(
    rng: np.random.Generator, name: str, language: str, lines: int, height: float, blur: float, light: int, ease: float
) -> LocalTrace:
    foreign = language == "ja" and name == "tiny"
    if rng.random() < 0.03:
        return _nothing(rng)
    text_right = not foreign and bool(rng.random() < _sigmoid(ease))
    # What is seen depends on the difficulty and, loosely, on the outcome: models are confidently wrong at times.
    seen = ease + float(rng.normal(0.8 if text_right else -1.2, 0.8))
    script = _round(_sigmoid(-1.0 + 0.3 * seen) if foreign else _sigmoid(2.5 + 0.5 * seen))
    phrasebook = bool(rng.random() < 0.4)
    evidence = tuple(_line(rng, language, height, blur, light, seen, script) for _ in range(lines))
    recognition = min(line.recognition for line in evidence)
    likely = 0.95 if phrasebook else _sigmoid(float(rng.normal(0.6, 1.0)))
    translation_right = bool(rng.random() < likely * (1.0 if text_right else 0.1))
    translation = _round(0.95 if phrasebook else min(max(likely + float(rng.normal(0, 0.05)), 0.01), 0.99))
    mean = None if phrasebook else -_round(0.1 + 1.5 * (1 - likely))
    engine = "phrasebook" if phrasebook else "translator"
    shown = not evidence[0].withheld
    return LocalTrace(
        evidence=SignEvidence(
            recogniser=PACKS[name],
            lines=evidence,
            source=language if shown else None,
            language=_round(rng.uniform(0.7, 1.0)),
            engine=engine if shown else "none",
            complete=shown,
            translation=translation if shown else 0.0,
            phrase_score=_round(rng.uniform(0.85, 1.0)) if phrasebook and shown else None,
            mean_log_probability=mean if shown else None,
            minimum_log_probability=None if mean is None or not shown else _round(3 * mean),
            quality=None if mean is None or not shown else translation,
        ),
        text="text" if shown else "",
        translation="yes" if shown else "",
        engine=engine if shown else "none",
        source=language if shown else None,
        trouble=None if shown else "low confidence",
        private="a phone number" if rng.random() < 0.02 else None,
        confidence=Confidence(0.9, recognition, script, 1.0, translation if shown else 0.0),
        milliseconds=_round(lines * rng.uniform(6, 12) * (4 if name == "small" else 1) + rng.uniform(2, 8)),
        answer_bytes=int(rng.integers(80, 240)),
        request_bytes=int(900 * lines + rng.integers(1500)) + 200,
        text_right=text_right and shown,
        translation_right=translation_right and shown,
    )


def _nothing(rng: np.random.Generator) -> LocalTrace:
    return LocalTrace(
        evidence=None,
        text="",
        translation="",
        engine="none",
        source=None,
        trouble="too small",
        private=None,
        confidence=Confidence(detection=0.5),
        milliseconds=_round(rng.uniform(1, 3)),
        answer_bytes=40,
        request_bytes=int(rng.integers(900, 2500)),
        text_right=False,
        translation_right=False,
    )


def _line(
    rng: np.random.Generator, language: str, height: float, blur: float, light: int, seen: float, script: float
) -> LineEvidence:
    characters = tuple(
        _round(_sigmoid(seen + 1.5 + float(rng.normal(0, 1.0)))) for _ in range(int(rng.integers(3, 12)))
    )
    latin = language not in _SCRIPTS
    return LineEvidence(
        characters=characters,
        script="latin" if latin else _SCRIPTS[language],
        script_probability=script,
        height_px=_round(height),
        sharpness=_round(0.5 / (1 + blur)),
        contrast=_round(min(max(0.7 - 0.12 * light + float(rng.normal(0, 0.05)), 0.05), 1.0)),
        brightness=_round(min(max(0.6 - 0.15 * light + float(rng.normal(0, 0.05)), 0.02), 1.0)),
        noise=_round(0.005 * (1 + light)),
        known_words=_round(_sigmoid(seen)) if latin else None,
        spaces=_round(abs(float(rng.normal(3, 1.5)))) if latin else None,
        agreement=None if rng.random() < 0.6 else _round(_sigmoid(seen + 1)),
        detection=_round(rng.uniform(0.5, 1.0)),
        recognition=_round(_sigmoid(seen)),
        withheld=_sigmoid(seen) < 0.1 or script < 0.3,
    )


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _round(value: float) -> float:
    return round(float(value), 4)

"""What is known of one reading before anybody decides what to do with it: plain numbers, no decision.

The metamodel (`metamodel`) is trained on these and asked with them; traces keep them. What they say is measured where
the reading is made; how they become a model's input lives in `sign_features`, with the version of that encoding.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineEvidence:
    """One line as a recogniser saw it.

    Attributes:
        characters: probability of every character read, 0..1; empty when nothing was read.
        script: of the text (`script.Script` as a string); None without text.
        script_probability: P(the recogniser knows the script on the sign), 0..1.
        height_px: of the line as the camera saw it, in pixels; None when not known.
        sharpness: reciprocal of the width of its sharpest edges, in 1/pixels (`picture_quality`); None when not known.
        contrast: between its dark and its bright pixels, 0..1; None when not known.
        brightness: of its middle pixel, 0..1; None when not known.
        noise: standard deviation of the sensor's noise as a share of full scale, 0..1; None when not known.
        known_words: share of its letters that stand in known words, 0..1; None without words.
        spaces: how sure its least sure word space is, log-odds; None when not known.
        agreement: of several looks, 0..1; None for one.
        detection: the detector's confidence, 0..1.
        recognition: P(the line was read right), calibrated, 0..1.
        withheld: whether it is not shown to the wearer.
    """

    characters: tuple[float, ...]
    script: str | None
    script_probability: float
    height_px: float | None
    sharpness: float | None
    contrast: float | None
    brightness: float | None
    noise: float | None
    known_words: float | None
    spaces: float | None
    agreement: float | None
    detection: float
    recognition: float
    withheld: bool


@dataclass(frozen=True, slots=True)
class SignEvidence:
    """One sign as a small pipeline read and translated it.

    Attributes:
        recogniser: name of its recognition pack.
        lines: every line looked at, withheld ones included.
        source: language of the sign, ISO 639-1; None when unknown or not needed.
        language: P(the language is right), 0..1; 1 where none is needed.
        engine: what translated it (`sign_meaning.TranslationEngine` as a string).
        complete: whether all of it is translated.
        translation: P(the translation is right, given the text), calibrated, 0..1; 0 without one.
        phrase_score: the worst of the phrasebook's matches, 0..1; None without any.
        mean_log_probability: of the translator's tokens, natural logarithm; None without a translator.
        minimum_log_probability: of its least sure token; None without a translator.
        quality: P(acceptable) of what went through a translator, 0..1; None without one.
        from_cloud: whether the translation is one that the cloud gave for this text before.
    """

    recogniser: str
    lines: tuple[LineEvidence, ...]
    source: str | None
    language: float
    engine: str
    complete: bool
    translation: float
    phrase_score: float | None
    mean_log_probability: float | None
    minimum_log_probability: float | None
    quality: float | None
    from_cloud: bool = False

"""What is made of a sign: its translation, what produced it, and why a part of it may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class TranslationEngine(StrEnum):
    """What produced a translation."""

    NONE = "none"
    """Nothing could: the translation is empty."""
    PHRASEBOOK = "phrasebook"
    TRANSLATOR = "translator"
    COPY = "copy"
    """Already in the target language, or a number or a code: shown as it is."""
    MIXED = "mixed"
    """Lines of one sign came from different engines."""


class NoTranslation(StrEnum):
    """Why a sign, or some lines of it, could not be translated."""

    NO_TEXT = "no_text"
    LANGUAGE_UNKNOWN = "language_unknown"
    DIRECTION_UNSUPPORTED = "direction_unsupported"
    TEXT_TOO_LONG = "text_too_long"
    NO_OUTPUT = "no_output"
    """The translator answered with nothing, or failed."""


@dataclass(frozen=True, slots=True)
class TranslationSignals:
    """Raw signs of how good a translation is, for calibration; None where the engine did not run.

    Attributes:
        mean_log_probability: natural log, mean over all target tokens of all translated lines.
        minimum_log_probability: natural log, the least sure target token.
        phrase_score: 0..1, the worst of the phrasebook matches used.
        quality: P(acceptable) of the worst piece that went through a translator, as `quality` estimates it.
    """

    mean_log_probability: float | None = None
    minimum_log_probability: float | None = None
    phrase_score: float | None = None
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class SignTranslation:
    """The meaning of one sign.

    Attributes:
        translation: translated lines joined by "\\n"; lines that were translated together stand as one. Empty when
            `engine` is NONE.
        engine: what produced it.
        reason: None when every line is served. Otherwise why not: with engine NONE nothing is translated, with any
            other engine the lines that could not be translated stand in `translation` as they were read.
        source: language of the sign, ISO 639-1; None when unknown, or when nothing on it is in any language.
        language_probability: of `source`; None when the caller stated the language or identification did not run.
        signals: raw signals behind the translation.
        pack_name: translation pack, two joined by "+", another engine's name, or "phrasebook"; empty for COPY and NONE.
        pack_version: of the pack; empty for the phrasebook.
    """

    translation: str
    engine: TranslationEngine
    reason: NoTranslation | None = None
    source: str | None = None
    language_probability: float | None = None
    signals: TranslationSignals = TranslationSignals()
    pack_name: str = ""
    pack_version: str = ""


def combine(translations: Sequence[SignTranslation]) -> SignTranslation:
    """One answer for a picture that holds several signs, such as a whole frame.

    Args:
        translations: of each sign, in reading order.

    Returns:
        Their non-empty translations joined by "\\n". Language and pack are the first sign's that has one, signals the
        worst of all; `reason` is the first that any sign has.
    """
    if not translations:
        return SignTranslation("", TranslationEngine.NONE, NoTranslation.NO_TEXT)
    if len(translations) == 1:
        return translations[0]
    named = next((item for item in translations if item.pack_name), translations[0])
    spoken = next((item for item in translations if item.source is not None), translations[0])
    signals = [item.signals for item in translations]
    return SignTranslation(
        translation="\n".join(item.translation for item in translations if item.translation),
        engine=merge(item.engine for item in translations),
        reason=next((item.reason for item in translations if item.reason is not None), None),
        source=spoken.source,
        language_probability=spoken.language_probability,
        signals=TranslationSignals(
            least(item.mean_log_probability for item in signals),
            least(item.minimum_log_probability for item in signals),
            least(item.phrase_score for item in signals),
            least(item.quality for item in signals),
        ),
        pack_name=named.pack_name,
        pack_version=named.pack_version,
    )


def least(values: Iterable[float | None]) -> float | None:
    """The smallest value that is there; None without any."""
    return min((value for value in values if value is not None), default=None)


def merge(engines: Iterable[TranslationEngine]) -> TranslationEngine:
    """One engine for many: copies and gaps do not make a translation mixed, two translating engines do."""
    kinds = set(engines)
    translating = kinds - {TranslationEngine.COPY, TranslationEngine.NONE}
    if len(translating) > 1:
        return TranslationEngine.MIXED
    if translating:
        return translating.pop()
    return TranslationEngine.NONE if TranslationEngine.NONE in kinds else TranslationEngine.COPY

"""Which language is a sign in? One or two words decide, and "unknown" is an honest answer.

The script comes first: kana means Japanese, Hangul Korean, other non-Latin scripts are unknown to Wayword. Han alone is
decided by characters that only one country writes, or else weighed (`language_han`). Between languages in
Latin script the evidence adds up as log-odds: exact phrases and words of the phrasebook, small words, letters and
spellings (`language_evidence`), and py3langid (a naive Bayes model over byte n-grams, BSD-3-Clause). The last one alone
is confidently wrong on short text, so its own probabilities are only one voice, and neighbours of the supported
languages (Dutch, Catalan, ...) take part so that they come out as unknown.

Tuned on word lists (OpenStreetMap preset names, CLDR names, first words of Tatoeba sentences), on the half with an even
CRC-32 of the text; the other half is for measurement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.language_evidence import (
    ACCENTED_LETTERS,
    LATIN_LANGUAGES,
    NEIGHBOUR_LANGUAGES,
    OWN_LETTERS,
    RARE_LETTERS,
    SMALL_WORDS,
    SPELLINGS,
)
from shared.models.language_han import odds_of_japanese
from shared.models.phrasebook import Phrasebook
from shared.models.script import Script, script_of, scripts_of
from shared.models.text import is_untranslatable, match_tokens, normalise_for_match

SUPPORTED_LANGUAGES: Final = (*LATIN_LANGUAGES, "ja", "ko", "zh")
"""ISO 639-1 codes that `identify` answers with. English is among them: it needs no translation."""

ENOUGH_PROBABILITY: Final = 0.6
"""Below, the answer is "unknown"."""

_MODEL_WEIGHT: Final = 1.6
_MODEL_FLOOR: Final = 1e-3
_EXPECTED: Final = 2.0
_ENGLISH: Final = 0.3
_NEIGHBOUR: Final = -1.5
_EXACT_PHRASE: Final = 5.0
_ENGLISH_PHRASE: Final = 3.0
"""The English of a phrase is how somebody put it, not what is written on signs."""
_PHRASE_WORD: Final = 1.6
_SMALL_WORD: Final = 2.0
_OWN_LETTER: Final = 3.0
_FOREIGN_LETTER: Final = -3.0
_RARE_LETTER: Final = -1.0
_SPELLING: Final = 0.7
_SPELLINGS_CAP: Final = 3.0
_TEMPERATURE: Final = 1.0
"""Natural-log odds of each piece of evidence, before division by the temperature."""

_WORD: Final = re.compile(r"[^\W\d_]+")
_ACCENTED: Final = re.compile(r"[À-ɏ¡¿]")


@dataclass(frozen=True)
class LanguageGuess:
    """The language of a text.

    Attributes:
        language: ISO 639-1 code, one of `SUPPORTED_LANGUAGES`; None when unknown.
        probability: that the language is right, in [0, 1]; for None, of the best guess that was not good enough.
    """

    language: str | None
    probability: float


def identify(text: str, *, phrasebook: Phrasebook, expected: Sequence[str] = ()) -> LanguageGuess:
    """Name the language of a sign, or say that it is unknown.

    Args:
        text: one sign, any case, one or more lines.
        phrasebook: its phrases and words are evidence.
        expected: ISO 639-1 codes of the languages the user expects to see: believed sooner, others not excluded.
    """
    text = text[:MAX_TEXT_CHARACTERS]  # what decides is said by then, and time goes with the length
    scripts = scripts_of(text)
    if not scripts or is_untranslatable(text):
        return LanguageGuess(None, 0.0)
    if scripts.get(Script.HANGUL, 0.0) >= 0.3:
        return LanguageGuess("ko", 0.98)
    kana, han = scripts.get(Script.KANA, 0.0), scripts.get(Script.HAN, 0.0)
    if kana + han >= 0.3:
        return _east_asian(text, kana, phrasebook, expected)
    if scripts.get(Script.LATIN, 0.0) < 0.7:
        return LanguageGuess(None, 0.0)
    return _latin(text, phrasebook, tuple(expected))


def warm_up(phrasebook: Phrasebook | None = None) -> None:
    """Load the statistical model now (about 0.7 s and 120 MB), not at the first sign that needs it.

    Args:
        phrasebook: its words are counted too; None where only the model is wanted.
    """
    _model()
    if phrasebook is not None:
        for text in ("Salida de emergencia", "出口"):
            identify(text, phrasebook=phrasebook)


def _east_asian(text: str, kana: float, phrasebook: Phrasebook, expected: Sequence[str]) -> LanguageGuess:
    """Japanese or Chinese, by kana, else by the national character sets that can write the text (GB 2312 for simplified
    characters, Big5 for traditional ones, JIS X 0208 for Japan's), else by what each writes more often.

    The probabilities of the first rules are set by hand, rounded down from the shares on the tuning half.
    """
    if kana > 0.1:
        return LanguageGuess("ja", 0.97)
    han = "".join(character for character in text if script_of(character) is Script.HAN)
    if not _encodable(han, "euc_jp"):
        return LanguageGuess("zh", 0.97)
    if not _encodable(han, "gb2312") and not _encodable(han, "big5"):
        return LanguageGuess("ja", 0.97)
    model = _model_probabilities(text)
    odds = odds_of_japanese(
        text, phrasebook=phrasebook, expected=expected, japanese=model.get("ja", 0.0), chinese=model.get("zh", 0.0)
    )
    probability = 1.0 / (1.0 + math.exp(-abs(odds)))
    return LanguageGuess(None if probability < ENOUGH_PROBABILITY else "ja" if odds > 0 else "zh", probability)


def _encodable(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _latin(text: str, phrasebook: Phrasebook, expected: tuple[str, ...]) -> LanguageGuess:
    odds = {language: _EXPECTED if language in expected else 0.0 for language in LATIN_LANGUAGES}
    odds["en"] += _ENGLISH
    for evidence in (_phrase_evidence(text, phrasebook), _word_evidence(text, phrasebook), _letter_evidence(text)):
        for language, weight in evidence.items():
            odds[language] += weight
    neighbours = dict.fromkeys(NEIGHBOUR_LANGUAGES, _NEIGHBOUR)
    for language, probability in _model_probabilities(text).items():
        if language in ("ja", "zh"):
            continue
        weight = _MODEL_WEIGHT * math.log(max(probability, _MODEL_FLOOR))
        target = odds if language in odds else neighbours
        target[language] += weight
    probabilities = _softmax({**odds, **neighbours})
    best = max(probabilities, key=lambda language: probabilities[language])
    if best in NEIGHBOUR_LANGUAGES or probabilities[best] < ENOUGH_PROBABILITY:
        return LanguageGuess(None, max(probabilities[language] for language in LATIN_LANGUAGES))
    return LanguageGuess(best, probabilities[best])


def _phrase_evidence(text: str, phrasebook: Phrasebook) -> dict[str, float]:
    found = phrasebook.exact_languages(text)
    evidence = {language: _EXACT_PHRASE * score for language, score in found.items() if language in LATIN_LANGUAGES}
    if normalise_for_match(text) in _english_phrases(phrasebook):
        evidence["en"] = _ENGLISH_PHRASE
    return evidence


def _word_evidence(text: str, phrasebook: Phrasebook) -> dict[str, float]:
    evidence = dict.fromkeys(LATIN_LANGUAGES, 0.0)
    for bare, word in zip(match_tokens(text), match_tokens(text, accents=True), strict=False):
        for language in LATIN_LANGUAGES:
            if word in _small_words(language):
                evidence[language] += _SMALL_WORD
            elif len(bare) >= 3 and bare in _phrase_words(phrasebook, language):
                evidence[language] += _PHRASE_WORD
    return evidence


def _letter_evidence(text: str) -> dict[str, float]:
    small = text.lower()
    evidence = dict.fromkeys(LATIN_LANGUAGES, 0.0)
    for letter in set(_ACCENTED.findall(small)):
        if letter in OWN_LETTERS:
            evidence[OWN_LETTERS[letter]] += _OWN_LETTER
        for language, letters in ACCENTED_LETTERS.items():
            if letter.isalpha() and letter not in letters:
                evidence[language] += _FOREIGN_LETTER
    words = _WORD.findall(small)
    for language in LATIN_LANGUAGES:
        rare = RARE_LETTERS.get(language, "")
        evidence[language] += _RARE_LETTER * sum(letter in small for letter in rare)
        hits = sum(len(_spellings(language).findall(word)) for word in words)
        evidence[language] += min(_SPELLING * hits, _SPELLINGS_CAP)
    return evidence


@lru_cache(maxsize=8)
def _english_phrases(phrasebook: Phrasebook) -> frozenset[str]:
    return frozenset(normalise_for_match(english) for english in {phrase.translation for phrase in phrasebook})


@lru_cache(maxsize=64)
def _small_words(language: str) -> frozenset[str]:
    return frozenset(SMALL_WORDS[language].split())


@lru_cache(maxsize=64)
def _phrase_words(phrasebook: Phrasebook, language: str) -> frozenset[str]:
    return phrasebook.words(language)


@lru_cache(maxsize=64)
def _spellings(language: str) -> re.Pattern[str]:
    return re.compile(SPELLINGS[language])


def _model_probabilities(text: str) -> Mapping[str, float]:
    return {str(language): float(probability) for language, probability in _model().rank(text.lower())}


@lru_cache(maxsize=1)
def _model() -> Any:
    # Imported here because loading takes 0.7 s, which a process that meets only kana or Hangul never needs.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*LATIN_LANGUAGES, *NEIGHBOUR_LANGUAGES, "ja", "zh"])
    return identifier


def _softmax(odds: Mapping[str, float]) -> dict[str, float]:
    highest = max(odds.values())
    weights = {language: math.exp((value - highest) / _TEMPERATURE) for language, value in odds.items()}
    total = sum(weights.values())
    return {language: weight / total for language, weight in weights.items()}

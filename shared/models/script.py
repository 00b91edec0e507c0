"""Scripts: which one a text is written in, and whether a reading can be believed to be in the script it shows.

A recogniser reads every picture in the alphabet it has. Shown a script that it does not have, it answers fluent
garbage in one that it does (Korean as Han, kana as Han), and the mean confidence alone does not tell. `check_script`
adds up what does tell: a product of documented factors, each 1.0 for "nothing odd" and monotone in what it looks at.
The scales were set by hand and adjusted once on rendered phrases; no photo was used. What the picture itself shows
(`script_picture`) weighs more than all of them: its constants were chosen with ``wayword-sim bench script``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.models.script_picture import PictureScript


class Script(StrEnum):
    """Scripts told apart by Unicode block; hiragana and katakana count as one, COMMON is what is no letter."""

    LATIN = "latin"
    HAN = "han"
    KANA = "kana"
    HANGUL = "hangul"
    CYRILLIC = "cyrillic"
    GREEK = "greek"
    ARABIC = "arabic"
    HEBREW = "hebrew"
    DEVANAGARI = "devanagari"
    THAI = "thai"
    OTHER = "other"
    COMMON = "common"


_BLOCKS: Final = (
    (0x0041, 0x024F, Script.LATIN),
    (0x0250, 0x02AF, Script.LATIN),
    (0x0370, 0x03FF, Script.GREEK),
    (0x0400, 0x052F, Script.CYRILLIC),
    (0x0590, 0x05FF, Script.HEBREW),
    (0x0600, 0x06FF, Script.ARABIC),
    (0x0750, 0x077F, Script.ARABIC),
    (0x0900, 0x097F, Script.DEVANAGARI),
    (0x0E00, 0x0E7F, Script.THAI),
    (0x1100, 0x11FF, Script.HANGUL),
    (0x1E00, 0x1EFF, Script.LATIN),
    (0x1F00, 0x1FFF, Script.GREEK),
    (0x2E80, 0x2FDF, Script.HAN),
    (0x3005, 0x3007, Script.HAN),
    (0x3041, 0x30FF, Script.KANA),
    (0x3130, 0x318F, Script.HANGUL),
    (0x31F0, 0x31FF, Script.KANA),
    (0x3400, 0x4DBF, Script.HAN),
    (0x4E00, 0x9FFF, Script.HAN),
    (0xAC00, 0xD7AF, Script.HANGUL),
    (0xF900, 0xFAFF, Script.HAN),
    (0xFB50, 0xFDFF, Script.ARABIC),
    (0xFE70, 0xFEFF, Script.ARABIC),
    (0xFF21, 0xFF5A, Script.LATIN),
    (0xFF66, 0xFF9F, Script.KANA),
    (0xFFA0, 0xFFDC, Script.HANGUL),
    (0x20000, 0x3FFFF, Script.HAN),
)
"""First and last code point of each block (Unicode 15, Blocks.txt); letters outside are OTHER."""
_BLOCK_STARTS: Final = tuple(first for first, _, _ in _BLOCKS)
_GREEK_ACCENTS: Final = frozenset("άέήίόύώ")

LANGUAGE_SCRIPTS: Final[Mapping[str, frozenset[Script]]] = {
    "ja": frozenset({Script.KANA, Script.HAN}),
    "zh": frozenset({Script.HAN}),
    "ko": frozenset({Script.HANGUL}),
    "ru": frozenset({Script.CYRILLIC}),
    "uk": frozenset({Script.CYRILLIC}),
    "bg": frozenset({Script.CYRILLIC}),
    "el": frozenset({Script.GREEK}),
    "ar": frozenset({Script.ARABIC}),
    "fa": frozenset({Script.ARABIC}),
    "he": frozenset({Script.HEBREW}),
    "hi": frozenset({Script.DEVANAGARI}),
    "th": frozenset({Script.THAI}),
}
"""Scripts a language cannot be read without; every other language is taken to be Latin."""

READABLE_PROBABILITY: Final = 0.5
"""A reading below is called unreadable."""
FIRM_MEAN: Final = 0.98
"""Mean character probability of a reading that may be believed without a look at the picture."""
FIRM_MINIMUM: Final = 0.9
"""Smallest character probability of such a reading."""
NUMBER_DIGITS: Final = 3
"""Digits of a number that is believed without a look at the picture."""
NUMBER_MEAN: Final = 0.9
"""Least mean character probability of such a number."""
FIRM_LETTERS: Final = 4
"""Fewest letters of such a reading, and as many as must be in a script's own shapes."""
PICTURE_EVIDENCE: Final = (4.74, 1.31, -1.26, -2.49)
"""Weights of `picture_features` in the log odds that a picture shows what the alphabet cannot write, fitted on rendered
lines with ``wayword-sim bench script --set calibration``."""
_SHARED_SHAPES: Final = frozenset("ABCEHIKMNOPTXYZaceiopuvxyz")
"""Latin letters that have the shape of a Greek or Cyrillic one: Greek capitals are read as Latin most firmly."""


@dataclass(frozen=True)
class ScriptCheck:
    """What a reading's script says about the reading.

    Attributes:
        script: the dominant script of the text; COMMON when it has no letters.
        probability: how far the picture is believed to be in that script, in [0, 1]. A rank, not a calibrated chance.
        readable: False when the text should not be trusted, whatever its confidence.
    """

    script: Script
    probability: float
    readable: bool


def script_of(character: str) -> Script:
    """The script of one character; COMMON for what is no letter."""
    if not character.isalpha():
        return Script.HAN if character == "〇" else Script.COMMON
    code = ord(character)
    index = bisect_right(_BLOCK_STARTS, code) - 1
    if index >= 0:
        _, last, script = _BLOCKS[index]
        if code <= last:
            return script
    return Script.OTHER


def scripts_of(text: str) -> Mapping[Script, float]:
    """Share of each script among the letters of a text, largest first; empty when there are no letters."""
    counts = Counter(script for script in map(script_of, text) if script is not Script.COMMON)
    total = sum(counts.values())
    return {script: count / total for script, count in counts.most_common()}


def dominant_script(text: str) -> Script:
    """The script of most letters; KANA as soon as a tenth of Japanese-looking text is kana, COMMON without letters."""
    shares = scripts_of(text)
    east_asian = shares.get(Script.HAN, 0.0) + shares.get(Script.KANA, 0.0)
    if shares.get(Script.KANA, 0.0) > 0.1 * east_asian and east_asian >= 0.5:
        return Script.KANA
    return next(iter(shares), Script.COMMON)


def check_script(
    text: str,
    character_confidences: Sequence[float],
    alphabet: frozenset[str],
    *,
    expected_languages: Sequence[str] = (),
    picture: PictureScript | None = None,
) -> ScriptCheck:
    """Judge whether a reading is fluent garbage from a script the recogniser does not have.

    The probability is the product of

    * **uncertain characters**: 1 - half the share of characters read below 0.5, times the mean confidence put on a
      scale from 0.2 (0) to 0.6 (1);
    * **missing neighbours** (Han only): where the alphabet lacks kana or Hangul, a Han reading may be one of those. The
      factor is the mean confidence put on a scale from 0.45 (0) to 0.85 (1), and, without kana, also the weakest
      character from 0.2 (0.25) to 0.7 (1): kana in Japanese text drag single characters down, not the whole line;
    * **rare characters**: 1 - the share of Han characters outside the everyday sets (first levels of GB 2312, Big5 and
      JIS X 0208, together about 7,000 characters);
    * **mixed words**: 0.5 when letters of different scripts touch that never share a word (Latin with Han or kana is
      written on signs, Cyrillic with Latin is not), and 0.7 for one Han character alone in a Latin line;
    * **lone letters**: 0.8 for a text that is one letter, which is as often a pictogram.

    `readable` is False when the probability is below `READABLE_PROBABILITY`, or when the alphabet cannot write any
    expected language and the reading is not a firm one in Latin script (three letters or more, all above 0.8), which
    signs in every country also carry; or when the picture, weighed with the reading's confidence and plausibility,
    likely shows a script that the alphabet cannot write, or no text (the probability is then at most that chance).

    Args:
        text: the reading.
        character_confidences: probability of each character of `text`, same length; any other length is used for its
            mean and minimum only, and an empty one says nothing.
        alphabet: characters the recogniser can write.
        expected_languages: ISO 639-1 codes of the languages the user expects to see.
        picture: what the picture shows; None where nobody looked, see `needs_picture`.
    """
    script = dominant_script(text)
    confidences = _visible_confidences(text, character_confidences)
    probability = _plausible(text, script, confidences, alphabet)
    readable = probability >= READABLE_PROBABILITY and (
        bool(text.strip())
        if script is Script.COMMON
        else _can_be_expected(script, confidences, alphabet, expected_languages)
    )
    if picture is not None:
        belief = _belief(picture, sum(confidences) / len(confidences), probability, alphabet)
        if belief < READABLE_PROBABILITY:  # else the text alone says more
            probability, readable = min(probability, belief), False
    return ScriptCheck(script, probability, readable)


def needs_picture(text: str, character_confidences: Sequence[float], *, says_words: bool = False) -> bool:
    """Whether the picture must be looked at before a reading is believed.

    Not for one that says known words (`sign_words.SignWords.are_said_by`): what a recogniser makes of a script that it
    does not have is none. And not for a firm reading: on rendered lines in scripts that a pack lacks, none was read
    with every character above `FIRM_MINIMUM` (``wayword-sim bench script``) but Greek and Cyrillic words in letters
    that Latin has too. Several digits are rarely made out of letters, and every alphabet has them.
    """
    if says_words:
        return False
    confidences = _visible_confidences(text, character_confidences)
    if dominant_script(text) is Script.COMMON and sum(map(str.isdigit, text)) >= NUMBER_DIGITS:
        return sum(confidences) / len(confidences) < NUMBER_MEAN
    if min(confidences) < FIRM_MINIMUM or sum(confidences) / len(confidences) < FIRM_MEAN:
        return True
    return sum(letter.isalpha() and letter not in _SHARED_SHAPES for letter in text) < FIRM_LETTERS


@lru_cache(maxsize=16)
def alphabet_scripts(alphabet: frozenset[str]) -> frozenset[Script]:
    """The scripts in which an alphabet can write words: ten letters or more (small alphabets have stray ones).

    Greek takes its accented vowels too: the letters alone are there for formulas, and such packs read no Greek sign.
    OTHER is no script that can be written.
    """
    counts = Counter(script_of(character) for character in alphabet if len(character) == 1)
    scripts = {script for script, count in counts.items() if count >= 10} - {Script.COMMON, Script.OTHER}
    return frozenset(scripts if alphabet >= _GREEK_ACCENTS else scripts - {Script.GREEK})


@lru_cache(maxsize=4096)
def is_everyday_han(character: str) -> bool:
    """True for characters in the first level of GB 2312, Big5 or JIS X 0208, the levels ordered by use.

    Ranges: GB 2312 rows 16-55, Big5 A440-C67E, JIS X 0208 rows 16-47 (as EUC-JP bytes B0-CF).
    """
    levels = (("gb2312", 0xB0A1, 0xD7F9), ("big5", 0xA440, 0xC67E), ("euc_jp", 0xB0A1, 0xCFD3))
    for encoding, first, last in levels:
        encoded = character.encode(encoding, errors="ignore")
        if len(encoded) == 2 and first <= int.from_bytes(encoded, "big") <= last:
            return True
    return character in "々〇"


def _plausible(text: str, script: Script, confidences: Sequence[float], alphabet: frozenset[str]) -> float:
    """The product of what the text alone tells; see `check_script`."""
    if script is Script.COMMON:
        return 1.0
    han = [character for character in text if script_of(character) is Script.HAN]
    probability = 1.0 - 0.5 * sum(value < 0.5 for value in confidences) / len(confidences)
    probability *= _ramp(sum(confidences) / len(confidences), 0.2, 0.6)
    if script is Script.HAN:
        probability *= _missing_neighbours(confidences, alphabet_scripts(alphabet))
    if han:
        probability *= 1.0 - sum(not is_everyday_han(character) for character in han) / len(han)
    probability *= _mixture(text)
    if sum(map(str.isalnum, text)) == 1:
        probability *= 0.8
    return probability


def _visible_confidences(text: str, confidences: Sequence[float]) -> list[float]:
    if not confidences:
        return [1.0]
    if len(confidences) != len(text):
        return list(confidences)
    return [value for character, value in zip(text, confidences, strict=True) if not character.isspace()]


def _missing_neighbours(confidences: Sequence[float], scripts: frozenset[Script]) -> float:
    factor = 1.0
    if not {Script.KANA, Script.HANGUL} <= scripts:
        factor *= _ramp(sum(confidences) / len(confidences), 0.45, 0.85)
    if Script.KANA not in scripts:
        factor *= 0.25 + 0.75 * _ramp(min(confidences), 0.2, 0.7)
    return factor


def _belief(picture: PictureScript, confidence: float, plausible: float, alphabet: frozenset[str]) -> float:
    """Chance that the picture shows what the alphabet can write; a logistic model, see `PICTURE_EVIDENCE`."""
    foreign = picture.beyond(alphabet_scripts(alphabet)) + picture.no_text
    features = picture_features(foreign, confidence, plausible)
    against = sum(weight * value for weight, value in zip(PICTURE_EVIDENCE, features, strict=True))
    return 1.0 / (1.0 + math.exp(against))


def picture_features(foreign: float, confidence: float, plausible: float) -> tuple[float, float, float, float]:
    """What speaks for a foreign script: a constant, the picture, the recogniser's doubt, the text's plausibility.

    Args:
        foreign: probability the picture gives to scripts that the alphabet cannot write, and to no text.
        confidence: mean character probability.
        plausible: `check_script`'s probability by the text alone.
    """
    return (1.0, _logit(foreign, 1e-4), _logit(confidence, 1e-2), plausible)


def _logit(value: float, margin: float) -> float:
    value = min(max(value, 0.0), 1.0)
    return math.log((value + margin) / (1.0 - value + margin))


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _mixture(text: str) -> float:
    east_asian = {Script.HAN, Script.KANA}
    factor = 1.0
    for first, second in pairwise(map(script_of, text)):
        if first is second or Script.COMMON in (first, second) or {first, second} <= east_asian:
            continue
        if Script.LATIN in (first, second) and {first, second} & (east_asian | {Script.HANGUL}):
            continue
        factor = 0.5
    counts = Counter(map(script_of, text))
    if counts[Script.HAN] == 1 and counts[Script.LATIN] >= 3:
        factor *= 0.7
    return factor


def _can_be_expected(
    script: Script, confidences: Sequence[float], alphabet: frozenset[str], expected: Sequence[str]
) -> bool:
    if not expected:
        return True
    available = alphabet_scripts(alphabet)
    if any(LANGUAGE_SCRIPTS.get(language, frozenset({Script.LATIN})) <= available for language in expected):
        return True
    return script is Script.LATIN and len(confidences) >= 3 and min(confidences) >= 0.8

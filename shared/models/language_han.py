"""Japanese or Chinese, for text in characters that both write: single characters, phrases, a light model, the prior.

The character sets decide most texts (`language`); what remains (出口, 禁止) is weighed here, as log-odds of Japanese:
how often the phrasebook's Japanese and Chinese phrases use each character, in which of them the text is a phrase, and
py3langid. Weights were chosen on the half with an even CRC-32 of open word lists.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from shared.models.phrasebook import Phrasebook
from shared.models.script import Script, script_of

_SMOOTHING: Final = 0.5
"""Added to every character's count."""
_CHARACTERS: Final = 3000
"""Characters that a language's signs may use: the size of the alphabet in the smoothing."""
_CHARACTER_CAP: Final = 3.0
_CHARACTER: Final = 0.3
_MODEL: Final = 0.4
_MODEL_FLOOR: Final = 1e-4
_PHRASE: Final = 2.5
_EXPECTED: Final = 3.0
"""In Japan a sign in shared characters is Japanese, whatever its characters are commoner in."""
_EXPECTED_FIRST: Final = 0.5
"""Where both are expected, a little for the one named first."""


def odds_of_japanese(
    text: str, *, phrasebook: Phrasebook, expected: Sequence[str], japanese: float, chinese: float
) -> float:
    """Natural log-odds that a text in shared characters is Japanese and not Chinese.

    Args:
        text: the text of a sign.
        phrasebook: its phrases are evidence.
        expected: ISO 639-1 codes of expected languages, likeliest first.
        japanese: a statistical model's probability of Japanese.
        chinese: the same of Chinese.
    """
    counts = _characters(phrasebook)
    odds = _CHARACTER * sum(counts.get(character, 0.0) for character in text if script_of(character) is Script.HAN)
    odds += _MODEL * math.log(max(japanese, _MODEL_FLOOR) / max(chinese, _MODEL_FLOOR))
    phrases = phrasebook.exact_languages(text)
    odds += _PHRASE * (("ja" in phrases) - ("zh" in phrases))
    wanted = [language for language in expected if language in ("ja", "zh")]
    if wanted:
        weight = _EXPECTED if len(set(wanted)) == 1 else _EXPECTED_FIRST
        odds += weight if wanted[0] == "ja" else -weight
    return odds


@lru_cache(maxsize=8)
def _characters(phrasebook: Phrasebook) -> dict[str, float]:
    """Log-odds of Japanese for each character of the phrasebook; 0 for any other."""
    counts = {"ja": Counter[str](), "zh": Counter[str]()}
    for phrase in phrasebook:
        if phrase.language in counts:
            counts[phrase.language].update(letter for letter in phrase.source if script_of(letter) is Script.HAN)
    if not all(counts.values()):
        return {}
    totals = {language: counter.total() + _SMOOTHING * _CHARACTERS for language, counter in counts.items()}

    def odds(character: str) -> float:
        shares = [(counts[language][character] + _SMOOTHING) / totals[language] for language in ("ja", "zh")]
        return min(max(math.log(shares[0] / shares[1]), -_CHARACTER_CAP), _CHARACTER_CAP)

    return {character: odds(character) for character in counts["ja"].keys() | counts["zh"].keys()}

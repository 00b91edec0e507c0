"""Words seen on signs: what restoring spaces and punctuation asks before it changes what was read.

The words are those of the phrasebook in languages of Latin script, of its English side, and of
``phrases/other-words.tsv``, and the small words below. Case and accents are folded (``text.fold_accents``), as a
recogniser loses accents before it loses spaces. How common a word is, is in how many phrases it stands.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Final

from shared.models.text import fold_accents

LANGUAGES: Final = ("pt", "es", "fr", "de", "it")
"""Languages of Latin script with phrases."""
ENGLISH: Final = "en"
LONG_WORD: Final = 5
"""Letters of a word that hardly comes up by chance."""
MAX_WORD: Final = 28
"""Longest word that is looked for inside a text, in characters."""

_SMALL_WORDS: Final[Mapping[str, str]] = {
    "pt": "a o e é as os um uma de do da dos das em no na nos nas por pelo pela para com sem sob sobre ao à aos às "
    "até ou que se não mais só já é são está aqui seu sua",
    "es": "a e o y u el la los las un una de del al en por para con sin sobre hasta o que se no más solo sólo ya es "
    "son está aquí su sus lo le",
    "fr": "à a et ou le la les un une des de du au aux en dans par pour avec sans sur sous chez ce cette ces que qui "
    "ne pas plus est sont ici votre vos son sa ses il y",
    "de": "der die das den dem des ein eine einen einem und oder in im an am auf aus bei mit nach von vom vor zu zum "
    "zur für über unter durch ohne bis nicht kein keine ist sind hier ab nur um es sie wir ihr",
    "it": "il lo la i gli le un una uno di del dello della dei delle degli a al allo alla ai agli alle da dal dalla in "
    "nel nella con senza su sul sulla per tra fra e o che si non più è sono qui ed ad",
    "en": "a an the of to in on at for and or not no is are be by with from this that your our all only please do up",
}
_SMALL_COUNT: Final = 12
"""A small word counts as if it stood in so many phrases more."""
_LETTERS: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_LONE_LETTERS: Final = frozenset("aeoyi")
"""Words of one letter in the languages above; any other letter alone is no word."""


class SignWords:
    """A set of words with how common each is, and in which languages.

    Args:
        words: by language, each as often as it was seen.
        others: words of any language.
    """

    def __init__(self, words: Mapping[str, Iterable[str]], others: Iterable[str] = ()) -> None:
        counts: Counter[str] = Counter()
        languages: dict[str, set[str]] = defaultdict(set)
        for language, seen in words.items():
            for word in seen:
                folded = fold_word(word)
                counts[folded] += 1
                languages[folded].add(language)
        for word in others:
            counts.setdefault(fold_word(word), 1)
        self._languages = {word: frozenset(found) for word, found in languages.items()}
        total = sum(counts.values())
        self._costs = {word: math.log(total / count) for word, count in counts.items() if _is_word(word)}
        self._unknown = math.log(max(total, 1)) + 1.0

    @classmethod
    def builtin(cls) -> SignWords:
        """The words that ship with Wayword, read once per process."""
        return _builtin()

    def __contains__(self, word: str) -> bool:
        return fold_word(word) in self._costs

    def has_folded(self, word: str) -> bool:
        """Whether a word is known, when it is folded already."""
        return word in self._costs

    def cost(self, word: str) -> float | None:
        """How rare a word is: minus the logarithm of its share; None when it is not known."""
        return self._costs.get(fold_word(word))

    def languages(self, word: str) -> frozenset[str]:
        """Languages whose phrases have a word; empty when it is not known or of no known language."""
        return self._languages.get(fold_word(word), frozenset())

    def share_known(self, text: str) -> float | None:
        """Share of the letters of a text that stand in known words; None for a text without letters."""
        words = _LETTERS.findall(text)
        letters = sum(map(len, words))
        if letters == 0:
            return None
        return sum(len(word) for word in words if self._knows_all(word)) / letters

    def are_said_by(self, text: str) -> bool:
        """Whether a text says words: half of its letters stand in known ones, and one of these is no short one."""
        long = any(len(word) >= LONG_WORD and self._knows_all(word) for word in _LETTERS.findall(text))
        return long and (self.share_known(text) or 0.0) >= 0.5

    def share_of(self, language: str, text: str) -> float:
        """Share of the letters of a text that stand in words of a language; 0 for a text without letters."""
        words = _LETTERS.findall(text)
        letters = sum(map(len, words))
        return sum(len(word) for word in words if language in self.languages(word)) / max(letters, 1)

    def _knows_all(self, word: str) -> bool:
        """Whether a word is known, or both sides of its apostrophe are."""
        parts = re.split("['’]", word)
        return word in self or (len(parts) == 2 and parts[1] in self)


def fold_word(word: str) -> str:
    """A word without case and accents."""
    return fold_accents(word.casefold())


def _is_word(word: str) -> bool:
    return len(word) <= MAX_WORD and (len(word) > 1 or word in _LONE_LETTERS)


@lru_cache(maxsize=1)
def _builtin() -> SignWords:
    folder = resources.files("shared.models").joinpath("phrases")
    words: dict[str, list[str]] = {language: _SMALL_COUNT * small.split() for language, small in _SMALL_WORDS.items()}
    for language in LANGUAGES:
        for line in folder.joinpath(f"{language}.tsv").read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                source, _, rest = line.partition("\t")
                english, _, variants = rest.partition("\t")
                words[language] += _parts(source) + _parts(variants)
                words[ENGLISH] += _parts(english)
    others = folder.joinpath("other-words.tsv").read_text(encoding="utf-8").splitlines()
    return SignWords(words, (word for word in others if word and not word.startswith("#")))


def _parts(text: str) -> list[str]:
    """The words of a text; what stands on both sides of an apostrophe is two."""
    return [part for word in _LETTERS.findall(text) for part in re.split("['’]", word)]

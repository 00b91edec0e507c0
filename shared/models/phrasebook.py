"""The phrasebook: common signs and their idiomatic English, found in spite of one reading error.

Signs are a closed world: a few hundred phrases per language are most of what a traveller sees, and exactly those that
small translators get confidently wrong ("Saída" is an exit, not a departure). The entries live in ``phrases/*.tsv``,
one file a language, written for Wayword and editable by hand.

A lookup has three steps, and each may only answer when the one before it did not:

1. **Exact**: equal after `text.normalise_for_match` (case, accents, spaces, punctuation, width).
2. **Lookalike**: equal after letters that look the same are folded together (``l 1 I``, ``O 0``, ``rn m``, katakana ロ
   and the kanji 口). Any number of them: a recogniser that confuses them does so throughout.
3. **One edit**: one letter substituted, missing or too many. Letters that a recogniser confuses are believed from five
   letters on; other edits need a longer phrase and stay away from word ends, where inflection lives (puerto/puerta).
   Korean is compared letter (jamo) by letter. `phrase_errors` has the rules.

A wrong match is worse than none. So steps 2 and 3 refuse when the misread word is a word of its own (of any language
of the phrasebook, of its English side, or of ``phrases/other-words.tsv``), when two phrases with different translations
are equally near, and when the edit touches a digit, a negation, or a character of contrast (男/女, 北/南, 入/出).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from shared.errors import StorageError, UsageError
from shared.models.phrase_errors import Alphabet, alphabet_of, edit_score, single_edit, skeleton
from shared.models.text import match_tokens

_EDIT_LENGTH: Final[Mapping[Alphabet, int]] = {Alphabet.ALPHABETIC: 5, Alphabet.HANGUL: 4, Alphabet.HAN_KANA: 4}
"""Shortest phrase, in characters, that may be matched with an edit."""
_LOOKALIKE_LENGTH: Final[Mapping[Alphabet, int]] = {Alphabet.ALPHABETIC: 5, Alphabet.HANGUL: 4, Alphabet.HAN_KANA: 2}
"""Shortest phrase, in characters, that may be matched through lookalike folding."""
_OTHER_WORDS: Final = "other-words.tsv"

_EXACT_SCORE: Final = 1.0
_BARE_SCORE: Final = 0.99
"""Accents are missing from the text, as is usual in capitals."""
_OTHER_ACCENTS_SCORE: Final = 0.96
"""The text has accents, but others: perhaps a word of another language."""
_LOOKALIKE_SCORE: Final = 0.94
_AMBIGUITY_MARGIN: Final = 0.03
"""Two inexact matches nearer to each other than this, with different translations, are both refused."""
_MAX_MATCH_CHARACTERS: Final = 96
"""Longer texts are no signs of the phrasebook; the longest phrase has about 80 characters."""


@dataclass(frozen=True)
class PhraseMatch:
    """A phrase found for a text.

    Attributes:
        source: the phrase as the phrasebook writes it (the variant that matched).
        translation: its English.
        language: ISO 639-1 code of the phrase.
        score: 1.0 for an exact match with accents, 0.94 for lookalikes, less for an edit; above 0.8 always.
        exact: True when no reading error had to be assumed.
    """

    source: str
    translation: str
    language: str
    score: float
    exact: bool


@dataclass(frozen=True)
class Phrase:
    """One phrase of one language; a variant is a phrase of its own with the same translation."""

    source: str
    translation: str
    language: str
    tokens: tuple[str, ...]
    accented: tuple[str, ...]

    @property
    def key(self) -> str:
        return "".join(self.tokens)


class Phrasebook:
    """Phrases of several languages into English, indexed for lookup.

    Args:
        phrases: what `read_phrases` yields. Phrases of one language with equal keys must have equal translations.
        other_words: words that are near a phrase and no misreading of it.
    """

    def __init__(self, phrases: Iterable[Phrase], *, other_words: Iterable[str] = ()) -> None:
        self._phrases = tuple(phrases)
        self._other_words = {token for word in other_words for token in match_tokens(word)}
        self.languages: tuple[str, ...] = tuple(sorted({phrase.language for phrase in self._phrases}))
        """ISO 639-1 codes of the source languages, sorted."""
        self._by_key: dict[str, list[Phrase]] = defaultdict(list)
        self._by_skeleton: dict[str, list[Phrase]] = defaultdict(list)
        self._by_deletion: dict[str, list[tuple[str, Phrase]]] = defaultdict(list)
        self._words: dict[str, set[str]] = {language: set() for language in self.languages}
        self._english: set[str] = set()
        for phrase in self._phrases:
            self._index(phrase)

    @classmethod
    def builtin(cls) -> Phrasebook:
        """The phrasebook that ships with Wayword, read once per process."""
        return _builtin()

    @classmethod
    def from_folder(cls, folder: Path) -> Phrasebook:
        """Read every ``<two-letter language>.tsv`` of a folder, and its ``other-words.tsv`` if there is one.

        Raises:
            UsageError: a line is malformed, or a phrase has two translations in one language.
            StorageError: a file cannot be read.
        """
        files = sorted(folder.glob("??.tsv"))
        phrases = (phrase for file in files for phrase in read_phrases(_read(file), file.stem, str(file)))
        others = folder / _OTHER_WORDS
        return cls(phrases, other_words=_content_lines(_read(others)).values() if others.exists() else ())

    def __len__(self) -> int:
        """Number of phrases, variants included."""
        return len(self._phrases)

    def __iter__(self) -> Iterator[Phrase]:
        return iter(self._phrases)

    def words(self, language: str) -> frozenset[str]:
        """Words (folded as by `text.match_tokens`) of a language's phrases; for ``"en"`` of the translations."""
        return frozenset(self._english if language == "en" else self._words.get(language, ()))

    def lookup(self, text: str, *, language: str | None = None, expected: Sequence[str] = ()) -> PhraseMatch | None:
        """Find the phrase that a text is, or None.

        Args:
            text: the text of one sign, any case, one or more lines.
            language: only phrases of this language; None for all.
            expected: languages the user expects, likeliest first. When `language` is None and a text is an equally good
                phrase in several languages, the first expected language wins; without one, the translation that most
                languages agree on, then the alphabetically first language.
        """
        if len(text) > _MAX_MATCH_CHARACTERS:
            return None
        tokens = tuple(match_tokens(text))
        if not tokens:
            return None
        exact = [phrase for phrase in self._by_key.get("".join(tokens), ()) if language in (None, phrase.language)]
        if exact:
            accented = tuple(match_tokens(text, accents=True))
            matches = [_match(phrase, _accent_score(phrase, accented, tokens), exact=True) for phrase in exact]
            return _best(matches, expected)
        return self._lookup_inexact(tokens, language, expected)

    def exact_languages(self, text: str) -> Mapping[str, float]:
        """Every language in which a text is exactly a phrase, with its score: evidence for language identification."""
        tokens = tuple(match_tokens(text[:_MAX_MATCH_CHARACTERS]))
        accented = tuple(match_tokens(text[:_MAX_MATCH_CHARACTERS], accents=True))
        found: dict[str, float] = {}
        for phrase in self._by_key.get("".join(tokens), ()) if tokens else ():
            found[phrase.language] = max(found.get(phrase.language, 0.0), _accent_score(phrase, accented, tokens))
        return found

    # Inexact matching ---------------------------------------------------------------------------------------------

    def _lookup_inexact(
        self, tokens: tuple[str, ...], language: str | None, expected: Sequence[str]
    ) -> PhraseMatch | None:
        alphabet = alphabet_of("".join(tokens))
        shape = skeleton(tokens)
        matches = [
            _match(phrase, _LOOKALIKE_SCORE, exact=False)
            for phrase in self._by_skeleton.get(shape, ())
            if len(phrase.key) >= _LOOKALIKE_LENGTH[alphabet] and self._is_misread(tokens, phrase)
        ]
        matches += self._edited(tokens, shape, alphabet)
        matches = [match for match in matches if language in (None, match.language)]
        if not matches:
            return None
        best = _best(matches, expected)
        rivals = [match for match in matches if match.score > best.score - _AMBIGUITY_MARGIN]
        if any(match.translation != best.translation for match in rivals):
            return None
        return best

    def _edited(self, tokens: tuple[str, ...], shape: str, alphabet: Alphabet) -> list[PhraseMatch]:
        candidates: dict[Phrase, str] = {}
        for variant in _with_deletions(shape):
            for phrase_shape, phrase in self._by_deletion.get(variant, ()):
                candidates[phrase] = phrase_shape
        matches = []
        for phrase, phrase_shape in candidates.items():
            if min(len(phrase.key), len(phrase_shape)) < _EDIT_LENGTH[alphabet]:
                continue
            if alphabet_of(phrase.key) is not alphabet:
                continue
            edit = single_edit(phrase_shape, shape)
            score = edit_score(edit, phrase.tokens, alphabet) if edit is not None else None
            if score is not None and self._is_misread(tokens, phrase):
                matches.append(_match(phrase, score, exact=False))
        return matches

    def _is_misread(self, tokens: tuple[str, ...], phrase: Phrase) -> bool:
        """False when a word by which the text differs from the phrase is a word of its own."""
        known = (self._english, self._other_words, *self._words.values())
        return not any(token in words for token in set(tokens) - set(phrase.tokens) for words in known)

    def _index(self, phrase: Phrase) -> None:
        self._by_key[phrase.key].append(phrase)
        shape = skeleton(phrase.tokens)
        self._by_skeleton[shape].append(phrase)
        for variant in _with_deletions(shape):
            self._by_deletion[variant].append((shape, phrase))
        self._words[phrase.language].update(phrase.tokens)
        self._english.update(match_tokens(phrase.translation))


def read_phrases(text: str, language: str, name: str) -> Iterator[Phrase]:
    """Parse one phrase file: ``source<TAB>translation<TAB>variants separated by |``; ``#`` starts a comment line.

    Args:
        text: the content of the file.
        language: ISO 639-1 code of the phrases.
        name: how errors call the file.

    Raises:
        UsageError: a line is malformed or contradicts an earlier one; the message has file and line.
    """
    seen: dict[str, tuple[int, str]] = {}
    for number, line in _content_lines(text).items():
        fields = line.split("\t")
        if len(fields) not in (2, 3):
            raise _malformed(name, number, f"{len(fields)} fields instead of 2 or 3")
        sources = [fields[0], *(fields[2].split("|") if len(fields) == 3 else ())]
        translation = fields[1]
        if translation != translation.strip() or not match_tokens(translation):
            raise _malformed(name, number, "the translation is empty or has spaces around it")
        for source in sources:
            phrase = _phrase(source, translation, language)
            if source != source.strip() or not phrase.tokens:
                raise _malformed(name, number, f"the phrase {source!r} is empty or has spaces around it")
            if unicodedata.normalize("NFC", source) != source:
                raise _malformed(name, number, f"the phrase {source!r} is not in Unicode form NFC")
            earlier = seen.get(phrase.key)
            if earlier is None:
                seen[phrase.key] = (number, translation)
                yield phrase
            elif earlier[1] != translation:
                raise _malformed(name, number, f"the phrase {source!r} has another translation in line {earlier[0]}")


def _phrase(source: str, translation: str, language: str) -> Phrase:
    return Phrase(source, translation, language, tuple(match_tokens(source)), tuple(match_tokens(source, accents=True)))


def _content_lines(text: str) -> dict[int, str]:
    """Lines by number (from 1), without the empty ones and the comments."""
    lines = enumerate(text.splitlines(), start=1)
    return {number: line for number, line in lines if line.strip() and not line.startswith("#")}


def _malformed(name: str, line: int, why: str) -> UsageError:
    return UsageError(f"{name}:{line}: {why}", hint="A line is: phrase, TAB, translation, TAB, variants separated by |")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 at byte {error.start}", hint="Save the file as UTF-8") from error
    except OSError as error:
        raise StorageError(f"Cannot read {file}: {error.strerror}") from error


@lru_cache(maxsize=1)
def _builtin() -> Phrasebook:
    with resources.as_file(resources.files("shared.models") / "phrases") as folder:
        return Phrasebook.from_folder(folder)


def _match(phrase: Phrase, score: float, *, exact: bool) -> PhraseMatch:
    return PhraseMatch(phrase.source, phrase.translation, phrase.language, score, exact)


def _accent_score(phrase: Phrase, accented: tuple[str, ...], bare: tuple[str, ...]) -> float:
    if "".join(accented) == "".join(phrase.accented):
        return _EXACT_SCORE
    return _BARE_SCORE if "".join(accented) == "".join(bare) else _OTHER_ACCENTS_SCORE


def _best(matches: Sequence[PhraseMatch], expected: Sequence[str]) -> PhraseMatch:
    votes: dict[str, int] = defaultdict(int)
    for match in matches:
        votes[match.translation] += 1
    rank = {language: index for index, language in enumerate(expected)}

    def order(match: PhraseMatch) -> tuple[float, int, int, str]:
        return -match.score, rank.get(match.language, len(rank)), -votes[match.translation], match.language

    return min(matches, key=order)


def _with_deletions(shape: str) -> set[str]:
    """A skeleton and all its variants with one character missing: two within one edit of each other share one."""
    return {shape} | {shape[:index] + shape[index + 1 :] for index in range(len(shape))}

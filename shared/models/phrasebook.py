"""The phrasebook: common signs and their idiomatic English, found in spite of one reading error.

Signs are a closed world: a few hundred phrases per language are most of what a traveller sees, and exactly those that
small translators get confidently wrong ("Saída" is an exit, not a departure). The entries live in ``phrases/*.tsv``,
one file a language, written for Wayword and editable by hand; `phrase_files` says what a line may be. Phrases with
values in them (times, prices, dates) are templates, ``phrases/templates/*.tsv``; see `phrase_templates`. Signs made of
a pattern and a word ("No X-ing") are multiplied from ``phrases/patterns/*.tsv`` when the phrasebook is loaded; see
`phrase_patterns`. What they give are phrases like all others, save that a written one for the same text is believed.

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
Phrases imported from open data are believed less than those written for signs.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Final

from shared.errors import UsageError
from shared.limits import MAX_PHRASE_CHARACTERS, MAX_PHRASES, MAX_READING_LINES
from shared.models.phrase_errors import Alphabet, alphabet_of, edit_score, single_edit, skeleton
from shared.models.phrase_files import Phrase, Rank, read_phrases
from shared.models.phrase_folder import FolderContent
from shared.models.phrase_index import NeighbourIndex
from shared.models.phrase_template_files import SLOT_MARK, Template
from shared.models.phrase_templates import TemplateMatch, TemplateSet
from shared.models.text import is_untranslatable, match_tokens

__all__ = ["LineMatch", "Phrase", "PhraseMatch", "Phrasebook", "read_phrases"]

_EDIT_LENGTH: Final[Mapping[Alphabet, int]] = {Alphabet.ALPHABETIC: 5, Alphabet.HANGUL: 4, Alphabet.HAN_KANA: 4}
"""Shortest phrase, in characters, that may be matched with an edit."""
_LOOKALIKE_LENGTH: Final[Mapping[Alphabet, int]] = {Alphabet.ALPHABETIC: 5, Alphabet.HANGUL: 4, Alphabet.HAN_KANA: 2}
"""Shortest phrase, in characters, that may be matched through lookalike folding."""

_EXACT_SCORE: Final = 1.0
_BARE_SCORE: Final = 0.99
"""Accents are missing from the text, as is usual in capitals."""
_OTHER_ACCENTS_SCORE: Final = 0.96
"""The text has accents, but others: perhaps a word of another language."""
_LOOKALIKE_SCORE: Final = 0.94
_AMBIGUITY_MARGIN: Final = 0.03
"""Two inexact matches nearer to each other than this, with different translations, are both refused."""
_IMPORTED_DISCOUNT: Final = 0.05
"""Open data names kinds of places, emoji and countries; what a sign means by the word may be something else."""


@dataclass(frozen=True)
class PhraseMatch:
    """A phrase found for a text.

    Attributes:
        source: the phrase as the phrasebook writes it (the variant that matched), with the text's values in a template.
        translation: its English.
        language: ISO 639-1 code of the phrase.
        score: 1.0 for an exact match with accents, 0.94 for lookalikes, less for an edit or an imported phrase; above
            0.78 always.
        exact: True when no reading error had to be assumed.
    """

    source: str
    translation: str
    language: str
    score: float
    exact: bool


@dataclass(frozen=True)
class LineMatch:
    """One line of a sign whose every line is served.

    Attributes:
        text: the line in English; a number or a code as it stands.
        match: the phrase; None for what has nothing to translate.
        lines: how many lines of the sign it is: a phrase may go over several.
    """

    text: str
    match: PhraseMatch | None
    lines: int = 1


class Phrasebook:
    """Phrases of several languages into English, indexed for lookup. Read-only once made.

    Args:
        phrases: what `read_phrases` and `read_patterns` yield. Of two for one text in one language the lower `Rank`
            is believed, then the one that no pattern made, then the earlier.
        templates: what `read_templates` yields, in the order of belief.
        other_words: words that are near a phrase and no misreading of it.

    Raises:
        UsageError: there are more than `MAX_PHRASES`.
    """

    def __init__(
        self,
        phrases: Iterable[Phrase],
        *,
        templates: Iterable[Template] = (),
        other_words: Iterable[str] = (),
    ) -> None:
        self._phrases: list[Phrase] = []
        self._by_key: dict[str, tuple[int, ...]] = {}
        self._words: dict[str, set[str]] = defaultdict(set)
        self._english: set[str] = set()
        self._other_words = {token for word in other_words for token in match_tokens(word)}
        skeletons: list[str] = []
        for phrase in sorted(phrases, key=attrgetter("rank", "from_pattern")):
            self._add(phrase, skeletons)
        # Word by word, because tens of thousands of translations have a few thousand words.
        for word in {word for phrase in self._phrases for word in phrase.translation.split()}:
            self._english.update(match_tokens(word))
        self._index = NeighbourIndex(skeletons)
        self._templates = TemplateSet(sorted(templates, key=lambda template: template.rank))
        for template in self._templates.templates:
            self._words[template.language].update(token for token in template.tokens if token != SLOT_MARK)
        self.languages: tuple[str, ...] = tuple(sorted(self._words))
        """ISO 639-1 codes of the source languages, sorted."""

    @classmethod
    def builtin(cls) -> Phrasebook:
        """The phrasebook that ships with Wayword, read once per process."""
        return _builtin()

    @classmethod
    def builtin_with(cls, folder: Path) -> Phrasebook:
        """The phrasebook that ships with Wayword, and on top of it a user's folder (see `from_folder`).

        A phrase of the user's replaces one that ships for the same text; imported files rank below both.

        Raises:
            UsageError: a file of the folder is malformed.
            StorageError: the folder or a file of it cannot be read.
        """
        own = FolderContent(folder, Rank.OWN)
        shipped = _builtin()
        return cls(
            [*own.phrases, *shipped],
            templates=[*own.templates, *shipped._templates.templates],
            other_words=[*own.other_words, *shipped._other_words],
        )

    @classmethod
    def from_folder(cls, folder: Path) -> Phrasebook:
        """Read the phrase files of a folder, its ``templates``, ``patterns`` and ``other-words.tsv`` if there are any.

        Raises:
            UsageError: a line is malformed, or a phrase has two translations in one file.
            StorageError: a file cannot be read.
        """
        content = FolderContent(folder, Rank.BUILTIN)
        return cls(content.phrases, templates=content.templates, other_words=content.other_words)

    def __len__(self) -> int:
        """Number of phrases, variants included and templates not."""
        return len(self._phrases)

    def __iter__(self) -> Iterator[Phrase]:
        return iter(self._phrases)

    @property
    def templates(self) -> tuple[Template, ...]:
        """All templates, each variant and choice of alternatives one."""
        return self._templates.templates

    def words(self, language: str) -> frozenset[str]:
        """Words (folded as by `text.match_tokens`) of a language's phrases; for ``"en"`` of the translations."""
        return frozenset(self._english if language == "en" else self._words.get(language, ()))

    def lookup(self, text: str, *, language: str | None = None, expected: Sequence[str] = ()) -> PhraseMatch | None:
        """Find the phrase that a text is, or None.

        Args:
            text: the text of one sign, any case, one or more lines. Lines are best joined by line feeds: numbers of
                two lines are then never one.
            language: only phrases of this language; None for all.
            expected: languages the user expects, likeliest first. When `language` is None and a text is an equally good
                phrase in several languages, the first expected language wins; without one, the translation that most
                languages agree on, then the alphabetically first language.
        """
        if len(text) > MAX_PHRASE_CHARACTERS:
            return None
        tokens = tuple(match_tokens(text))
        if not tokens:
            return None
        matches = self._exact(text, tokens, language)
        return _best(matches, expected) if matches else self._lookup_inexact(text, tokens, language, expected)

    def lookup_lines(
        self, lines: Sequence[str], *, language: str | None = None, expected: Sequence[str] = ()
    ) -> tuple[LineMatch, ...] | None:
        """A sign line by line, when every line of it is a phrase, part of one, or has nothing to translate.

        For signs whose whole text is no phrase (`lookup` says that): opening hours under a name of days, prices under
        one another. A phrase may go over up to three lines. All phrases are of one language where that can be.

        Args:
            lines: in reading order; blank ones are ignored.
            language: as for `lookup`.
            expected: as for `lookup`.

        Returns:
            The pieces in order, or None when any line is served by nothing, or all have nothing to translate.
        """
        kept = [line for line in lines if line.strip()]
        if not kept or len(kept) > MAX_READING_LINES or max(map(len, kept)) > MAX_PHRASE_CHARACTERS:
            return None
        whole = self._cover(kept, language, expected)
        if whole is None or language is not None:
            return whole
        # A second look, with the language in front in which most lines are phrases.
        counts: dict[str, int] = defaultdict(int)
        for piece in whole:
            for code in self.exact_languages(piece.match.source) if piece.match is not None else ():
                counts[code] += 1
        likely = sorted(counts, key=lambda code: (-counts[code], code))
        return self._cover(kept, None, [*expected, *likely]) if len(likely) > 1 else whole

    def exact_languages(self, text: str) -> Mapping[str, float]:
        """Every language in which a text is exactly a phrase, with its score: evidence for language identification."""
        shown = text[:MAX_PHRASE_CHARACTERS]
        tokens = tuple(match_tokens(shown))
        found: dict[str, float] = {}
        for match in self._exact(shown, tokens, None, every=True) if tokens else ():
            found[match.language] = max(found.get(match.language, 0.0), match.score)
        return found

    # Building -----------------------------------------------------------------------------------------------------

    def _add(self, phrase: Phrase, skeletons: list[str]) -> None:
        tokens = phrase.tokens
        key = "".join(tokens)
        same = self._by_key.get(key, ())
        if same and any(self._phrases[number].language == phrase.language for number in same):
            return
        if len(self._phrases) >= MAX_PHRASES:
            raise UsageError(f"more than {MAX_PHRASES} phrases", hint="Remove some of the phrase files")
        self._by_key[key] = (*same, len(self._phrases))
        self._phrases.append(phrase)
        skeletons.append(skeleton(tokens))
        self._words[phrase.language].update(tokens)

    # Exact matching -----------------------------------------------------------------------------------------------

    def _exact(
        self, text: str, tokens: tuple[str, ...], language: str | None, *, every: bool = False
    ) -> list[PhraseMatch]:
        """Phrases that the text is; templates where no phrase written for signs is (with `every`, also where one is).

        With `every`, only templates with words count: a bare price is no evidence of a language.
        """
        accented = tuple(match_tokens(text, accents=True))
        numbers = self._by_key.get("".join(tokens), ())
        phrases = [self._phrases[number] for number in numbers]
        matches = [
            _match(phrase, _accent_score(phrase.accented, accented, tokens), exact=True)
            for phrase in phrases
            if language in (None, phrase.language)
        ]
        if every or not any(phrase.rank < Rank.IMPORTED for phrase in phrases if language in (None, phrase.language)):
            matches += [
                _template_match(found, _template_score(found), exact=True)
                for found in self._templates.exact(text, language)
                if found.template.fixed or not every
            ]
        return matches

    def _cover(
        self, lines: Sequence[str], language: str | None, expected: Sequence[str]
    ) -> tuple[LineMatch, ...] | None:
        pieces: list[LineMatch] = []
        index = 0
        while index < len(lines):
            piece = self._longest(lines[index : index + _MAX_LINES_OF_A_PHRASE], language, expected)
            if piece is None:
                return None
            pieces.append(piece)
            index += piece.lines
        return tuple(pieces) if any(piece.match is not None for piece in pieces) else None

    def _longest(self, lines: Sequence[str], language: str | None, expected: Sequence[str]) -> LineMatch | None:
        """The first line or lines as one phrase, the most lines first."""
        for count in range(len(lines), 0, -1):
            match = self.lookup("\n".join(lines[:count]), language=language, expected=expected)
            if match is not None:
                return LineMatch(match.translation, match, count)
        return LineMatch(lines[0].strip(), None) if is_untranslatable(lines[0]) else None

    # Inexact matching ---------------------------------------------------------------------------------------------

    def _lookup_inexact(
        self, text: str, tokens: tuple[str, ...], language: str | None, expected: Sequence[str]
    ) -> PhraseMatch | None:
        matches = self._near(tokens, language) or [
            _template_match(found, score, exact=False)
            for found, score in self._templates.near(text, language)
            if self._is_misread(found.reading.tokens, found.template.tokens)
        ]
        if not matches:
            return None
        best = _best(matches, expected)
        rivals = [match for match in matches if match.score > best.score - _AMBIGUITY_MARGIN]
        if any(match.translation != best.translation for match in rivals):
            return None
        return best

    def _near(self, tokens: tuple[str, ...], language: str | None) -> list[PhraseMatch]:
        alphabet = alphabet_of("".join(tokens))
        shape = skeleton(tokens)
        matches = []
        others = set()
        for number in self._index.near(shape):
            phrase = self._phrases[number]
            if language not in (None, phrase.language):
                continue
            score = _near_score(phrase.tokens, shape, alphabet)
            if score is None:
                others.add(phrase.translation)
            elif self._is_misread(tokens, phrase.tokens):
                matches.append(_match(phrase, score, exact=False))
        if not matches or max(match.score for match in matches) >= _LOOKALIKE_SCORE - _IMPORTED_DISCOUNT:
            return matches
        # Another phrase is as near, though by an edit that is not believed: the text may be that one.
        return [] if others - {match.translation for match in matches} else matches

    def _is_misread(self, tokens: tuple[str, ...], expected: tuple[str, ...]) -> bool:
        """False when a word by which the text differs from the phrase is a word of its own."""
        known = (self._english, self._other_words, *self._words.values())
        return not any(token in words for token in set(tokens) - set(expected) for words in known)


_MAX_LINES_OF_A_PHRASE: Final = 3


@lru_cache(maxsize=1)
def _builtin() -> Phrasebook:
    # Tens of thousands of objects that all stay: looking through them for garbage takes a third of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with resources.as_file(resources.files("shared.models") / "phrases") as folder:
            return Phrasebook.from_folder(folder)
    finally:
        if collecting:
            gc.enable()


def _near_score(expected: tuple[str, ...], shape: str, alphabet: Alphabet) -> float | None:
    """How much a phrase with these words is believed for a text of this skeleton; None when it is not."""
    key = "".join(expected)
    expected_shape = skeleton(expected)
    if shape == expected_shape:
        return _LOOKALIKE_SCORE if len(key) >= _LOOKALIKE_LENGTH[alphabet] else None
    if min(len(key), len(expected_shape)) < _EDIT_LENGTH[alphabet] or alphabet_of(key) is not alphabet:
        return None
    edit = single_edit(expected_shape, shape)
    return edit_score(edit, expected, alphabet) if edit is not None else None


def _match(phrase: Phrase, score: float, *, exact: bool) -> PhraseMatch:
    if phrase.rank is Rank.IMPORTED:
        score -= _IMPORTED_DISCOUNT
    return PhraseMatch(phrase.source, phrase.translation, phrase.language, score, exact)


def _template_match(found: TemplateMatch, score: float, *, exact: bool) -> PhraseMatch:
    return PhraseMatch(found.source, found.translation, found.template.language, score, exact)


def _template_score(found: TemplateMatch) -> float:
    return _accent_score(found.template.accented, found.reading.accented(), found.reading.tokens)


def _accent_score(phrase: Sequence[str], accented: Sequence[str], bare: Sequence[str]) -> float:
    if "".join(accented) == "".join(phrase):
        return _EXACT_SCORE
    return _BARE_SCORE if "".join(accented) == "".join(bare) else _OTHER_ACCENTS_SCORE


def _best(matches: Sequence[PhraseMatch], expected: Sequence[str]) -> PhraseMatch:
    votes: dict[str, int] = defaultdict(int)
    for match in matches:
        votes[match.translation] += 1
    rank = {language: index for index, language in reversed(list(enumerate(expected)))}

    def order(match: PhraseMatch) -> tuple[float, int, int, str]:
        return -match.score, rank.get(match.language, len(expected)), -votes[match.translation], match.language

    return min(matches, key=order)

"""Texts that fit a template, such as ``Aberto das 9h às 18h30``; `phrase_template_files` says what templates are.

A text is read as fixed words and values in every way it can be (`phrase_grammar.Grammar.spans`); the fixed words then
match as phrases do, with case, accents, spaces and one reading error forgiven, and every value must be one of its
slot's kind. A reading error next to a value is never forgiven, because it may be a digit that was misread.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Final

from shared.models.phrase_errors import Alphabet, alphabet_of, edit_score, single_edit, skeleton
from shared.models.phrase_grammar import Grammar, grammar
from shared.models.phrase_index import NeighbourIndex
from shared.models.phrase_locale import name_key, vocabulary
from shared.models.phrase_template_files import (
    MAX_SLOTS,
    PLACE,
    SLOT,
    SLOT_MARK,
    Template,
    piece_tokens,
    tokens_between,
)
from shared.models.phrase_values import Slot, Value, ordinal
from shared.models.text import fold_accents, match_tokens

_AS_WRITTEN: Final = frozenset({Slot.CODE, Slot.PHONE})
_MAX_STEPS: Final = 400
"""Steps of one search for values in a text; a sign needs fewer than fifty."""
_MAX_INEXACT_READINGS: Final = 8
_UNSPACED: Final = ("ja", "zh", "ko")
_NAME_LENGTH: Final = 5
"""Shortest name of a day or month that is found although letters in it were misread."""


@dataclass(frozen=True, slots=True)
class TemplateMatch:
    """A template that a text fits.

    Attributes:
        template: which.
        translation: its English with the values.
        source: the template with the text's values.
        reading: the text as it was taken apart.
    """

    template: Template
    translation: str
    source: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class Reading:
    """A text taken apart into words and values.

    Attributes:
        tokens: folded words, with `SLOT_MARK` for each value.
        spans: the values, folded.
        written: the values as written.
        pieces: the text before, between and after the values, as written.
    """

    tokens: tuple[str, ...]
    spans: tuple[str, ...]
    written: tuple[str, ...]
    pieces: tuple[str, ...]

    def accented(self) -> tuple[str, ...]:
        """The tokens with their accents."""
        return tokens_between(self.pieces, accents=True)


class TemplateSet:
    """Templates of several languages, indexed for lookup.

    Args:
        templates: what `read_templates` yields; of two that fit a text the earlier is believed.
    """

    def __init__(self, templates: Iterable[Template]) -> None:
        self.templates = tuple(templates)
        families: dict[str, list[Template]] = defaultdict(list)
        for template in self.templates:
            families[_family(template.language)].append(template)
        self._families = {name: _Family(members) for name, members in families.items()}

    def exact(self, text: str, language: str | None) -> list[TemplateMatch]:
        """Templates whose words a text has exactly, save case, accents and spaces.

        Args:
            text: at most `MAX_PHRASE_CHARACTERS`.
            language: only templates of this language; None for all.
        """
        return [match for family in self._of(text, language) for match in family.exact(text, language)]

    def near(self, text: str, language: str | None) -> list[tuple[TemplateMatch, float]]:
        """Templates that a text fits with one reading error, and how much each is believed."""
        return [found for family in self._of(text, language) for found in family.near(text, language)]

    def _of(self, text: str, language: str | None) -> Iterator[_Family]:
        names = [_family(language)] if language is not None else _families_of_script(text)
        yield from (self._families[name] for name in names if name in self._families)


class _Family:
    """Templates of languages whose values are looked for together: those in letters, or one in Han, kana or Hangul."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self._templates = templates
        self._grammar = grammar(frozenset(template.language for template in templates))
        self._by_key: dict[str, list[Template]] = defaultdict(list)
        for template in templates:
            self._by_key[template.key].append(template)
        self._keys = sorted(self._by_key)
        shapes = [skeleton(template.tokens) for template in templates]
        self._index = NeighbourIndex(shapes)
        self._outlines = {_outline(shape) for shape in shapes}
        names = {
            name
            for language in {template.language for template in templates}
            for kind in ("days", "months")
            for name in vocabulary(language).written[kind]
            if len(name_key(name)) >= _NAME_LENGTH and name_key(name).isascii()
        }
        self._names = {skeleton([name_key(name)]): name_key(name) for name in names}

    def exact(self, text: str, language: str | None) -> list[TemplateMatch]:
        matches = []
        for reading in _Search(self._grammar, text, self._may_begin).readings():
            for template in self._by_key.get("".join(reading.tokens), ()):
                if language not in (None, template.language):
                    continue
                if (match := _fill(template, reading, self._grammar)) is not None:
                    matches.append(match)
        return matches

    def near(self, text: str, language: str | None) -> list[tuple[TemplateMatch, float]]:
        repaired = self._repair_names(text)
        if repaired != text:
            named = [(match, _GUESSED_SCORE) for match in self.exact(repaired, language)]
            if named:
                return named
        search = _Search(self._grammar, repaired, lambda prefix: True, thorough=False)
        readings = islice(search.readings(), _MAX_INEXACT_READINGS)
        return [found for reading in readings for found in self._near_reading(reading, language)]

    def _near_reading(self, reading: Reading, language: str | None) -> Iterator[tuple[TemplateMatch, float]]:
        if len(reading.tokens) == len(reading.spans):
            return  # no words
        shape = skeleton(reading.tokens)
        if not self._may_be_near(shape):
            return
        alphabet = alphabet_of("".join(reading.tokens))
        for number in self._index.near(shape):
            template = self._templates[number]
            if language not in (None, template.language) or len(template.slots) != len(reading.spans):
                continue
            score = _near_score(template, shape, alphabet)
            match = _fill(template, reading, self._grammar) if score is not None else None
            if match is not None and score is not None:
                yield match, score

    def _may_be_near(self, shape: str) -> bool:
        """A quick check before the index is asked: one edit changes one of the outer lengths, and by one."""
        slots, before, after = _outline(shape)
        near = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
        return any((slots, before + first, after + last) in self._outlines for first, last in near)

    def _may_begin(self, prefix: str) -> bool:
        index = bisect_left(self._keys, prefix)
        return index < len(self._keys) and self._keys[index].startswith(prefix)

    def _repair_names(self, text: str) -> str:
        """The text with names of days and months in place of words that look like them."""

        def repair(match: re.Match[str]) -> str:
            if len(match[0]) < _NAME_LENGTH:
                return match[0]
            word = "".join(match_tokens(match[0]))
            name = self._names.get(skeleton([word])) if len(word) >= _NAME_LENGTH else None
            return match[0] if name is None or name == word else name

        return _WORD.sub(repair, unicodedata.normalize("NFKC", text))


_LINE_BREAK: Final = "¶"
_NUMBER_ON_NEXT_LINE: Final = re.compile(r"(?<![$€£¥₩\s])\s*[\r\n]\s*(?=\d)")
_GROWING: Final = re.compile(
    "[\u00df\u0130\u0149\u01e2\u01e3\u01f0\u01fc\u01fd\u0390\u03b0\u0587œæŒÆ\u1e96-\u1e9e\u1f00-\u1fff\ufb00-\ufb17]"
)
"""Letters that become two when they are folded."""
_WORD: Final = re.compile(r"[^\W_]+")
_GUESSED_SCORE: Final = 0.93
_LOOKALIKE_SCORE: Final = 0.94
_SHORTEST: Final = {Alphabet.ALPHABETIC: 5, Alphabet.HANGUL: 4, Alphabet.HAN_KANA: 3}
"""Fixed characters that a template needs before a reading error in them is forgiven."""


@dataclass
class _Search:
    """All ways to take a text apart, longest values first.

    Attributes:
        grammar: of the languages in question.
        text: as read.
        may_begin: whether anything wanted begins with these words and marks; what does not is not followed.
        thorough: try every end of a value, not the longest and the shortest only.
    """

    grammar: Grammar
    text: str
    may_begin: Callable[[str], bool]
    thorough: bool = True
    _steps: int = 0
    _original: str = field(init=False)
    _folded: str = field(init=False)
    _places: list[int] | None = field(init=False)

    def __post_init__(self) -> None:
        # 18h at the end of a line and 24 on the next are not 18:24.
        lines = _NUMBER_ON_NEXT_LINE.sub(f" {_LINE_BREAK} ", unicodedata.normalize("NFKC", self.text))
        self._original = " ".join(lines.split())
        self._folded, self._places = _fold_with_places(self._original)

    def readings(self) -> Iterator[Reading]:
        yield from self._from(0, 0, "", [], [])

    def _from(
        self, start: int, scan: int, prefix: str, pieces: list[tuple[int, int]], spans: list[tuple[int, int]]
    ) -> Iterator[Reading]:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            return
        found = self.grammar.spans(self._folded, scan) if len(spans) < MAX_SLOTS else None
        if found is None:
            if spans:
                yield self._reading([*pieces, (start, len(self._folded))], spans)
            return
        place = found.start
        before = prefix + "".join(piece_tokens(self._folded[start:place], False))
        if not self.may_begin(before):
            return
        # A digit inside a word is more often a misread letter than a value.
        if found.glued:
            yield from self._from(start, place + 1, prefix, pieces, spans)
        if self.may_begin(before + SLOT_MARK):
            for end in found.ends if self.thorough else dict.fromkeys((found.ends[0], found.ends[-1])):
                yield from self._from(end, end, before + SLOT_MARK, [*pieces, (start, place)], [*spans, (place, end)])
        if found.optional and not found.glued:
            yield from self._from(start, place + 1, prefix, pieces, spans)

    def _reading(self, pieces: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> Reading:
        return Reading(
            tokens_between([self._folded[start:end] for start, end in pieces]),
            tuple(self._folded[start:end].strip() for start, end in spans),
            tuple(self._as_written(start, end).strip() for start, end in spans),
            tuple(self._as_written(start, end) for start, end in pieces),
        )

    def _as_written(self, start: int, end: int) -> str:
        if self._places is None:
            return self._original[start:end]
        return self._original[self._places[start] : self._places[end]]


def _fill(template: Template, reading: Reading, own: Grammar) -> TemplateMatch | None:
    """The template with the values of a text, or None when one of them is no value of its slot."""
    values: list[Value] = []
    for slot, span, written in zip(template.slots, reading.spans, reading.written, strict=True):
        value = own.english(slot, span, template.language)
        if value is None or (slot is Slot.CODE and written.isalpha() and not written.isupper()):
            return None
        values.append(Value(written) if slot in _AS_WRITTEN else value)
    if not template.fixed and not (any(value.firm for value in values) and _has_letter(reading.written)):
        return None
    translation = _english(template.translation, values)
    if translation is None:
        return None
    source = SLOT.sub("{}", template.source).format(*reading.written)
    return TemplateMatch(template, translation, source, reading)


def _english(translation: str, values: Sequence[Value]) -> str | None:
    """The English with its values; None when a form does not fit its value."""
    parts: list[str] = []
    end = 0
    for place in PLACE.finditer(translation):
        text = _form(values[int(place[1]) - 1], place[2] or "")
        if text is None:
            return None
        parts += [translation[end : place.start()], text]
        end = place.end()
    filled = "".join([*parts, translation[end:]])
    return filled[0].upper() + filled[1:]


def _form(value: Value, form: str) -> str | None:
    match form:
        case "":
            return value.text
        case "plural":
            return value.plural or value.text
        case "ordinal":
            return ordinal(value.whole) if value.whole is not None else None
        case "tenths":
            return str(value.whole * 10) if value.whole is not None and 0 < value.whole < 10 else None
        case "zhe":
            return _taken_off(value.text)
        case _:
            one, many = form.split("/")
            return one if value.whole == 1 else many


def _taken_off(discount: str) -> str | None:
    """What is off at a Chinese discount, in percent: 8折 and 80折 pay 80 %, so 20."""
    number = float(discount.replace(",", ""))
    paid = number * 10 if number < 10 else number
    return f"{100 - paid:g}" if 0 < paid < 100 else None


def _near_score(template: Template, shape: str, alphabet: Alphabet) -> float | None:
    """How much a template is believed for a text with this skeleton."""
    expected = skeleton(template.tokens)
    if min(len(template.fixed), len(expected) - len(template.slots)) < _SHORTEST[alphabet]:
        return None
    if shape == expected:
        return _LOOKALIKE_SCORE
    edit = single_edit(expected, shape)
    if edit is None:
        return None
    neighbours = (expected + " ")[max(edit.position - 1, 0) : edit.position + 2]
    if SLOT_MARK in neighbours or SLOT_MARK in (edit.expected, edit.found):
        return None
    return edit_score(edit, template.tokens, alphabet, ignored=len(template.slots))


def _outline(shape: str) -> tuple[int, int, int]:
    """How many values a skeleton has, and how many characters stand before the first and after the last."""
    return shape.count(SLOT_MARK), shape.index(SLOT_MARK), len(shape) - shape.rindex(SLOT_MARK) - 1


def _family(language: str) -> str:
    return language if language in _UNSPACED else "letters"


def _families_of_script(text: str) -> list[str]:
    kana = any("\u3041" <= character <= "\u30ff" or "\uff66" <= character <= "\uff9d" for character in text)
    if any("\uac00" <= character <= "\ud7a3" for character in text):
        return ["ko"]
    if kana:
        return ["ja"]
    if alphabet_of(text) is Alphabet.HAN_KANA:
        return ["ja", "zh"]
    return ["letters"]


def _has_letter(texts: Iterable[str]) -> bool:
    return any(character.isalpha() for text in texts for character in text)


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    return fold_accents(character.casefold())


def _fold_with_places(text: str) -> tuple[str, list[int] | None]:
    """A text folded, and for every character of it (and its end) where it comes from; None when that is the same."""
    if text.isascii():
        return text.lower(), None
    whole = fold_accents(text.casefold())
    if len(whole) == len(text) and not _GROWING.search(text):
        return whole, None
    folded: list[str] = []
    places: list[int] = []
    for index, character in enumerate(text):
        letters = _fold_character(character)
        folded.append(letters)
        places += [index] * len(letters)
    return "".join(folded), [*places, len(text)]

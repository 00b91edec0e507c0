"""Pattern files: signs made of a pattern and a word, such as ``Proibido {act}`` with ``fumar`` and ``pescar``.

A file ``phrases/patterns/<language>.tsv`` has words and patterns, in any order; ``#`` starts a comment line. Every
pattern is multiplied with every word of its class when the phrasebook is loaded::

    @act<TAB>fumar ; fume<TAB>smoking ; smoke
    @act<TAB>pescar ; pesque<TAB>fishing ; fish
    Proibido {act}<TAB>No {act}<TAB>É proibido {act}|Não é permitido {act}
    Por favor não {act.2}<TAB>Please do not {act.2}

* A word: ``@class``, TAB, its source forms separated by `` ; ``, TAB, its English forms separated by `` ; ``. Wordings
  of one source form are separated by ``|``.
* A pattern: source, TAB, English, and optionally TAB and variants of the source separated by ``|``. The source, each
  variant and the English have exactly one slot, of one class: ``{act}`` is form 1, ``{act.2}`` form 2. Source and
  English may use different forms.
* The English gets a large first letter, and spaces are collapsed.

What a pattern makes ranks below what is written out in the same folder: of two phrases for one text in one language
the phrasebook keeps the written one, and of two that patterns make the first.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shared.limits import MAX_PATTERN_PHRASES, MAX_PHRASE_CHARACTERS
from shared.models.phrase_files import Phrase, Rank, content_lines, malformed, phrase_tokens
from shared.models.text import capitalise_first

PATTERNS_FOLDER: Final = "patterns"
_WORD_MARK: Final = "@"
_WORD_HINT: Final = "A word is: @class, TAB, source forms separated by ' ; ', TAB, English forms separated by ' ; '"
_PATTERN_HINT: Final = "A pattern is: source with one {class} or {class.2}, TAB, English with the same, TAB, variants"
_CLASS: Final = re.compile(r"[a-z][a-z0-9_]*")
_ODD_SPACES: Final = re.compile(r"[^\S\t]{2,}|[^\S\t ]")
_SLOT: Final = re.compile(r"\{([a-z][a-z0-9_]*)(?:\.([1-9]))?\}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word that patterns are filled with.

    Attributes:
        line: where it stands in its file, from 1.
        sources: its forms, each with one or more wordings.
        english: its English forms.
    """

    line: int
    sources: tuple[tuple[str, ...], ...]
    english: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SlottedText:
    """A text with one slot.

    Attributes:
        before: what stands before the slot.
        after: what stands behind it.
        word_class: of the words that fill it.
        form: which form of the word, from 0.
    """

    before: str
    after: str
    word_class: str
    form: int

    def fill(self, word: str) -> str:
        """The text with a word in its slot."""
        return f"{self.before}{word}{self.after}"

    def tokens(self, word: str) -> tuple[str, ...]:
        """`text.match_tokens` of the text with the word."""
        if self.before[-1:] in {"", " "} and self.after[:1] in {"", " "}:
            # Words between spaces stay what they are, and the same ones come again and again.
            return _tokens(self.before) + _tokens(word) + _tokens(self.after)
        return phrase_tokens(self.fill(word))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line with a pattern.

    Attributes:
        line: where it stands in its file, from 1.
        sources: the pattern and its variants.
        english: its English.
    """

    line: int
    sources: tuple[SlottedText, ...]
    english: SlottedText


@dataclass(frozen=True)
class PatternFile:
    """A pattern file, checked: every slot has words, and every word the form that is asked for.

    Attributes:
        name: how errors call it.
        words: of each class, in the order of the file.
        patterns: in the order of the file.
    """

    name: str
    words: Mapping[str, Sequence[Word]]
    patterns: Sequence[Pattern]

    def expand(self, language: str, rank: Rank = Rank.BUILTIN) -> Iterator[Phrase]:
        """Every pattern with every word of its class; texts that come twice are made twice.

        Args:
            language: ISO 639-1 code of the phrases.
            rank: whose they are.

        Raises:
            UsageError: a phrase gets longer than `MAX_PHRASE_CHARACTERS`.
        """
        for pattern in self.patterns:
            for word in self.words[pattern.english.word_class]:
                translation = capitalise_first(pattern.english.fill(word.english[pattern.english.form]))
                for source in pattern.sources:
                    for wording in word.sources[source.form]:
                        text = source.fill(wording)
                        if max(len(text), len(translation)) > MAX_PHRASE_CHARACTERS:
                            why = f"with the word of line {word.line} more than {MAX_PHRASE_CHARACTERS} characters"
                            raise malformed(self.name, pattern.line, why, _PATTERN_HINT)
                        yield Phrase(text, translation, language, rank, source.tokens(wording), from_pattern=True)


def read_patterns(text: str, language: str, name: str, rank: Rank = Rank.BUILTIN) -> Iterator[Phrase]:
    """The phrases that a pattern file makes, one after the other; see `parse_patterns` and `PatternFile.expand`."""
    yield from parse_patterns(text, name).expand(language, rank)


def parse_patterns(text: str, name: str) -> PatternFile:
    """Parse one pattern file; see the module for what a line may be.

    Args:
        text: the content of the file.
        name: how errors call the file.

    Raises:
        UsageError: a line is malformed, a class or a form is missing, or the patterns make more than
            `MAX_PATTERN_PHRASES` phrases; the message has file and line.
    """
    words: dict[str, list[Word]] = defaultdict(list)
    patterns: list[Pattern] = []
    for number, line in content_lines(text, name):
        if _ODD_SPACES.search(line):
            line = _ODD_SPACES.sub(" ", line)
        fields = line.split("\t")
        if not unicodedata.is_normalized("NFC", line):
            raise malformed(name, number, "not in Unicode form NFC", _PATTERN_HINT)
        if line.startswith(_WORD_MARK):
            word_class, word = _word(fields, name, number)
            words[word_class].append(word)
        else:
            patterns.append(_pattern(fields, name, number))
    made = 0
    for pattern in patterns:
        _check_forms(pattern, words, name)
        chosen = words[pattern.english.word_class]
        made += sum(len(word.sources[source.form]) for word in chosen for source in pattern.sources)
        if made > MAX_PATTERN_PHRASES:
            why = f"up to here the patterns make more than {MAX_PATTERN_PHRASES} phrases"
            raise malformed(name, pattern.line, why, "Remove patterns, variants or words")
    return PatternFile(name, dict(words), patterns)


def _word(fields: Sequence[str], name: str, line: int) -> tuple[str, Word]:
    if len(fields) != 3:
        raise malformed(name, line, f"a word of {len(fields)} fields instead of 3", _WORD_HINT)
    word_class = fields[0].removeprefix(_WORD_MARK)
    if not _CLASS.fullmatch(word_class):
        raise malformed(name, line, f"{word_class!r} is no name of a class", "A name is small letters, digits and _")
    sources = tuple(tuple(form.split("|")) for form in fields[1].split(" ; "))
    english = tuple(fields[2].split(" ; "))
    for form in (*(wording for wordings in sources for wording in wordings), *english):
        if form != form.strip() or not any(map(str.isalnum, form)):
            raise malformed(name, line, f"the form {form!r} is empty or has spaces around it", _WORD_HINT)
        if set(form) & set("{};|"):
            raise malformed(name, line, f"a mark that separates forms, or a brace, in {form!r}", _WORD_HINT)
    return word_class, Word(line, sources, english)


def _pattern(fields: Sequence[str], name: str, line: int) -> Pattern:
    if len(fields) not in (2, 3):
        raise malformed(name, line, f"a pattern of {len(fields)} fields instead of 2 or 3", _PATTERN_HINT)
    variants = fields[2].split("|") if len(fields) == 3 else []
    if "|" in fields[0] or "|" in fields[1]:
        raise malformed(name, line, "variants stand in the third field", _PATTERN_HINT)
    sources = tuple(_slotted(text, name, line) for text in (fields[0], *variants))
    english = _slotted(fields[1], name, line)
    for source in sources:
        if source.word_class != english.word_class:
            why = f"the slots {{{source.word_class}}} and {{{english.word_class}}} are of two classes"
            raise malformed(name, line, why, _PATTERN_HINT)
    return Pattern(line, sources, english)


def _slotted(text: str, name: str, line: int) -> SlottedText:
    if text != text.strip():
        raise malformed(name, line, f"{text!r} has spaces around it", _PATTERN_HINT)
    slots = list(_SLOT.finditer(text))
    if set(_SLOT.sub("", text)) & set("{}"):
        raise malformed(name, line, f"a slot is {{class}} or {{class.2}}, unlike in {text!r}", _PATTERN_HINT)
    if len(slots) != 1:
        raise malformed(name, line, f"{len(slots) or 'no'} slots in {text!r} instead of one", _PATTERN_HINT)
    slot = slots[0]
    return SlottedText(text[: slot.start()], text[slot.end() :], slot[1], int(slot[2] or 1) - 1)


def _check_forms(pattern: Pattern, words: Mapping[str, Sequence[Word]], name: str) -> None:
    word_class = pattern.english.word_class
    if word_class not in words:
        known = ", ".join(sorted(words)) or "none"
        raise malformed(name, pattern.line, f"no word of the class {word_class!r}", f"Classes with words: {known}")
    form = max(source.form for source in pattern.sources)
    for word in words[word_class]:
        if form >= len(word.sources):
            why = f"form {form + 1} of the source is missing from the word in line {word.line}"
            raise malformed(name, pattern.line, why, _WORD_HINT)
        if pattern.english.form >= len(word.english):
            why = f"form {pattern.english.form + 1} of the English is missing from the word in line {word.line}"
            raise malformed(name, pattern.line, why, _WORD_HINT)


@lru_cache(maxsize=2048)
def _tokens(part: str) -> tuple[str, ...]:
    return phrase_tokens(part)

"""Phrase files: what a line may be, and what is refused with its file and line.

A file ``pt.tsv`` has one phrase a line: phrase, TAB, English, and optionally TAB and variants separated by ``|``.
Lines that begin with ``#`` are comments. ``pt.osm.tsv``, with a name between language and ending, is an imported file:
its phrases rank below those written for signs, and of two that contradict each other the earlier file wins.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Final

from shared.errors import StorageError, UsageError
from shared.limits import MAX_PHRASE_CHARACTERS, MAX_PHRASE_FILE_BYTES, MAX_PHRASE_LINE_CHARACTERS
from shared.models.text import match_tokens

OTHER_WORDS: Final = "other-words.tsv"
LINE_HINT: Final = "A line is: phrase, TAB, translation, TAB, variants separated by |"


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters save TAB, and the separators and marks of direction that no editor shows."""


class Rank(IntEnum):
    """Whose phrase it is; of two for one text the lower number is believed."""

    OWN = 0
    """The user's."""
    BUILTIN = 1
    IMPORTED = 2


@dataclass(frozen=True, slots=True)
class Phrase:
    """One phrase of one language; a variant is a phrase of its own with the same translation.

    Attributes:
        source: as the phrasebook writes it.
        translation: its English.
        language: ISO 639-1 code.
        rank: whose it is.
        tokens: words as `text.match_tokens` folds them; worked out when not given.
        from_pattern: a pattern made it, so it ranks below what is written out (see `phrase_patterns`).
    """

    source: str
    translation: str
    language: str
    rank: Rank = Rank.BUILTIN
    tokens: tuple[str, ...] = field(default=(), compare=False, repr=False)
    from_pattern: bool = False

    def __post_init__(self) -> None:
        if not self.tokens:
            object.__setattr__(self, "tokens", phrase_tokens(self.source))

    @property
    def accented(self) -> tuple[str, ...]:
        """The same with their accents."""
        return tuple(match_tokens(self.source, accents=True))

    @property
    def key(self) -> str:
        """The words without spaces."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class PhraseFile:
    """A file of phrases in a folder.

    Attributes:
        path: where it is.
        language: ISO 639-1 code of its phrases.
        imported: its name says that it comes from open data.
    """

    path: Path
    language: str
    imported: bool


def phrase_files(folder: Path) -> list[PhraseFile]:
    """The phrase files of a folder: ``pt.tsv``, and after them ``pt.osm.tsv``; by name."""
    own = [PhraseFile(path, path.stem, False) for path in sorted(folder.glob("??.tsv"))]
    imported = [PhraseFile(path, path.name[:2], True) for path in sorted(folder.glob("??.*.tsv"))]
    return own + imported


def read_phrases(text: str, language: str, name: str, rank: Rank = Rank.BUILTIN) -> Iterator[Phrase]:
    """Parse one phrase file: ``source<TAB>translation<TAB>variants separated by |``; ``#`` starts a comment line.

    Args:
        text: the content of the file.
        language: ISO 639-1 code of the phrases.
        name: how errors call the file.
        rank: whose phrases they are.

    Raises:
        UsageError: a line is malformed or contradicts an earlier one; the message has file and line.
    """
    seen: dict[str, tuple[int, str]] = {}
    for number, line in content_lines(text, name):
        fields = line.split("\t")
        if len(fields) not in (2, 3):
            raise malformed(name, number, f"{len(fields)} fields instead of 2 or 3")
        sources = [fields[0], *(fields[2].split("|") if len(fields) == 3 else ())]
        translation = fields[1]
        if translation != translation.strip() or not any(map(str.isalnum, translation)):
            raise malformed(name, number, "the translation is empty or has spaces around it")
        for source in sources:
            tokens = phrase_tokens(source)
            key = "".join(tokens)
            if source != source.strip() or not key:
                raise malformed(name, number, f"the phrase {source!r} is empty or has spaces around it")
            if max(len(source), len(translation)) > MAX_PHRASE_CHARACTERS:
                raise malformed(name, number, f"a phrase of more than {MAX_PHRASE_CHARACTERS} characters")
            if not unicodedata.is_normalized("NFC", source):
                raise malformed(name, number, f"the phrase {source!r} is not in Unicode form NFC")
            earlier = seen.get(key)
            if earlier is None:
                seen[key] = (number, translation)
                yield Phrase(source, translation, language, rank, tokens)
            elif earlier[1] != translation:
                raise malformed(name, number, f"the phrase {source!r} has another translation in line {earlier[0]}")


def phrase_tokens(text: str) -> tuple[str, ...]:
    """`text.match_tokens`, for texts of which a hundred thousand have a few thousand words."""
    return tuple(chain.from_iterable(map(_word_tokens, text.split())))


@lru_cache(maxsize=8192)
def _word_tokens(word: str) -> tuple[str, ...]:
    return tuple(map(sys.intern, match_tokens(word)))


def content_lines(text: str, name: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers (from 1), without the empty ones and the comments.

    Raises:
        UsageError: a line is longer than `MAX_PHRASE_LINE_CHARACTERS`, or has a control character.
    """
    # Not splitlines: it also breaks at characters that a phrase may not have, and hides them.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = line.removesuffix("\r")
        if len(line) > MAX_PHRASE_LINE_CHARACTERS:
            raise malformed(name, number, f"more than {MAX_PHRASE_LINE_CHARACTERS} characters")
        if not line.strip() or line.startswith("#"):
            continue
        bad = _CONTROL.search(line)
        if bad is not None:
            raise malformed(name, number, f"the control character U+{ord(bad[0]):04X}")
        yield number, line


def malformed(name: str, line: int, why: str, hint: str = LINE_HINT) -> UsageError:
    """The error for one line of a phrase file."""
    return UsageError(f"{name}:{line}: {why}", hint=hint)


def read_file(file: Path) -> str:
    """The text of a phrase file.

    Raises:
        UsageError: it is not UTF-8 or larger than `MAX_PHRASE_FILE_BYTES`.
        StorageError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_PHRASE_FILE_BYTES + 1)
    except OSError as error:
        raise StorageError(f"Cannot read {file}: {error.strerror}") from error
    if len(content) > MAX_PHRASE_FILE_BYTES:
        raise UsageError(f"{file}: larger than {MAX_PHRASE_FILE_BYTES // 1_000_000} MB", hint="Split the file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}:{line}: not UTF-8 at byte {error.start}", hint="Save the file as UTF-8") from error

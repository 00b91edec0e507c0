"""Template files: phrases with places for values, such as ``Aberto das {time} às {time}``.

A line of ``phrases/templates/<language>.tsv`` is a template, TAB, its English, and optionally TAB and variants
separated by ``|``::

    Aberto [das/de] {time} [às/a] {time}<TAB>Open from {1} to {2}
    Fechado [às/aos] {days}<TAB>Closed on {1:plural}

* ``{time}`` in the source is a slot; its kind is one of `phrase_values.Slot`. The unit belongs to the value: ``2 km``
  is a ``{distance}``, ``9h30`` a ``{time}``, ``12,50 €`` a ``{price}``.
* ``[a/b]`` in the source is any of its alternatives, ``[a/]`` is ``a`` or nothing.
* ``{1}`` in the English is the value of the first slot, and every slot must be used. ``{1:plural}`` makes one weekday
  plural, ``{1:ordinal}`` gives 2nd, ``{1:day/days}`` one of two words after the number, ``{1:tenths}`` ten times the
  number (３割), ``{1:zhe}`` what a Chinese discount takes off (8折 is 20).
* A variant has the same slots in the same order as its template.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

from shared.limits import MAX_PHRASE_CHARACTERS
from shared.models.phrase_files import Rank, content_lines, malformed
from shared.models.phrase_values import Slot
from shared.models.text import match_tokens

SLOT_MARK: Final = "\ue000"
"""Stands for a value among the words of a template; a private character, so that no text has it."""
_HINT: Final = "A line is: template with {slots}, TAB, English with {1}, TAB, variants separated by |"
SLOT: Final = re.compile(r"\{(\w+)\}")
PLACE: Final = re.compile(r"\{(\d)(?::([^{}]*))?\}")
_NOT_IN_WORDS: Final = re.compile(r"[{}\[\]\d]")
_CHOICE: Final = re.compile(r"\[([^\[\]]*)\]")
_MAX_EXPANSIONS: Final = 256
MAX_SLOTS: Final = 6


@dataclass(frozen=True, slots=True)
class Template:
    """One template; a variant, or one choice of alternatives, is a template of its own.

    Attributes:
        source: with its slots in braces.
        translation: English with ``{1}``, ``{2:ordinal}``.
        language: ISO 639-1 code.
        slots: kinds of its values, in order.
        tokens: folded words, with `SLOT_MARK` for each value.
        accented: the same with accents.
        rank: whose it is.
    """

    source: str
    translation: str
    language: str
    slots: tuple[Slot, ...]
    tokens: tuple[str, ...]
    accented: tuple[str, ...]
    rank: Rank = Rank.BUILTIN

    @property
    def key(self) -> str:
        """Words and marks without spaces."""
        return "".join(self.tokens)

    @property
    def fixed(self) -> str:
        """The words alone, without spaces."""
        return self.key.replace(SLOT_MARK, "")


def read_templates(text: str, language: str, name: str, rank: Rank = Rank.BUILTIN) -> Iterator[Template]:
    """Parse one template file; see the module for what a line may be.

    Args:
        text: the content of the file.
        language: ISO 639-1 code of the templates.
        name: how errors call the file.
        rank: whose templates they are.

    Raises:
        UsageError: a line is malformed or contradicts an earlier one; the message has file and line.
    """
    seen: dict[tuple[str, tuple[Slot, ...]], tuple[int, str]] = {}
    for number, line in content_lines(text, name):
        fields = line.split("\t")
        if len(fields) not in (2, 3):
            raise malformed(name, number, f"{len(fields)} fields instead of 2 or 3", _HINT)
        translation = fields[1]
        checked: set[int] = set()
        for source in [fields[0], *(fields[2].split("|") if len(fields) == 3 else ())]:
            for expanded in _expand(source, name, number):
                template = _template(expanded, translation, language, rank, name, number)
                if len(template.slots) not in checked:
                    _check_translation(translation, len(template.slots), name, number)
                    checked.add(len(template.slots))
                same = template.key, template.slots
                earlier = seen.get(same)
                if earlier is None:
                    seen[same] = (number, translation)
                    yield template
                elif earlier[1] != translation:
                    raise malformed(
                        name, number, f"the template {source!r} has another translation in line {earlier[0]}", _HINT
                    )


def _template(source: str, translation: str, language: str, rank: Rank, name: str, number: int) -> Template:
    try:
        slots = tuple(Slot(kind) for kind in SLOT.findall(source))
    except ValueError as error:
        kinds = ", ".join(slot.value for slot in Slot)
        raise malformed(name, number, f"an unknown slot in {source!r}", f"Slots: {kinds}") from error
    pieces = SLOT.split(source)[::2]  # every other piece is the name of a slot
    if not slots or len(slots) > MAX_SLOTS:
        raise malformed(name, number, f"{len(slots)} slots in {source!r}, where 1 to {MAX_SLOTS} may be", _HINT)
    if any(_NOT_IN_WORDS.search(piece) for piece in pieces):
        raise malformed(name, number, f"a digit or an unmatched bracket among the words of {source!r}", _HINT)
    if not unicodedata.is_normalized("NFC", source) or len(source) > MAX_PHRASE_CHARACTERS:
        raise malformed(name, number, f"{source!r} is too long or not in Unicode form NFC", _HINT)
    tokens, accented = tokens_between(pieces), tokens_between(pieces, accents=True)
    return Template(source, translation, language, slots, tokens, accented, rank)


def _check_translation(translation: str, slots: int, name: str, number: int) -> None:
    if translation != translation.strip() or not translation or len(translation) > MAX_PHRASE_CHARACTERS:
        raise malformed(name, number, "the translation is empty, too long, or has spaces around it", _HINT)
    used = set()
    for place, form in PLACE.findall(translation):
        index = int(place) - 1
        if not 0 <= index < slots:
            raise malformed(name, number, f"the translation uses {{{place}}} of {slots} slots", _HINT)
        if form not in {"", "plural", "ordinal", "tenths", "zhe"} and form.count("/") != 1:
            raise malformed(name, number, f"an unknown form {form!r}", _HINT)
        used.add(index)
    if len(used) != slots:
        raise malformed(name, number, "the translation leaves out a value", _HINT)
    if any(character in "{}" for character in PLACE.sub("", translation)):
        raise malformed(name, number, "an unmatched brace in the translation", _HINT)


def _expand(source: str, name: str, number: int) -> list[str]:
    """A template once for each choice of its alternatives."""
    pieces = _CHOICE.split(source)
    choices = [piece.split("/") if index % 2 else [piece] for index, piece in enumerate(pieces)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MAX_EXPANSIONS:
        raise malformed(name, number, f"more than {_MAX_EXPANSIONS} combinations of alternatives", _HINT)
    return list(dict.fromkeys(" ".join("".join(chosen).split()) for chosen in product(*choices)))


def tokens_between(pieces: Iterable[str], *, accents: bool = False) -> tuple[str, ...]:
    """The words of some pieces, with `SLOT_MARK` between one piece and the next."""
    tokens: list[str] = []
    for index, piece in enumerate(pieces):
        if index:
            tokens.append(SLOT_MARK)
        tokens += piece_tokens(piece, accents)
    return tuple(tokens)


@lru_cache(maxsize=8192)
def piece_tokens(piece: str, accents: bool) -> tuple[str, ...]:
    return tuple(match_tokens(piece, accents=accents))

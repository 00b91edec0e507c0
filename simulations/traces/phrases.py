"""What is written on the signs of the labelled set, and what counts as a right translation of it.

Phrases come from the built-in phrasebook, the sign test set (its development half for training and calibration, its
report half for the test only), phrase lists of a folder, numbers, and names of places. A phrase belongs to one part,
whichever source it comes from: its text decides.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np

from shared.errors import InputError, WaywordError
from shared.models.phrase_files import Rank
from shared.models.phrasebook import Phrasebook
from simulations.bench.reading.scoring import BENCH_HINT
from simulations.bench.sign_phrases import LANGUAGES, Half, fold, load
from simulations.calibrate import GOOD_CHRF, a_number, same_line
from simulations.rendered_lines import Part, part_of
from simulations.traces.places import NAMES
from simulations.traces.records import TracePart

LANGUAGE_WEIGHTS: Final[Mapping[str, float]] = {
    "pt": 0.28, "es": 0.12, "fr": 0.12, "de": 0.10, "it": 0.08, "ja": 0.10, "zh": 0.08, "ko": 0.05, "en": 0.07,
}  # fmt: skip
"""How often a sign is in a language. An assumption: somebody at home in Lisbon who travels in Europe and Asia."""
SOURCE_WEIGHTS: Final[Mapping[str, float]] = {
    "phrasebook": 0.38, "signs": 0.32, "list": 0.12, "number": 0.1, "name": 0.08,
}  # fmt: skip
"""How often a phrase is from a source. An assumption; what a language lacks is left out and the rest scaled up."""
WRITTEN_OUT: Final = 0.75
"""Share of the phrasebook's phrases that are written for signs, rather than imported or made from patterns."""
PRIVATE_SHARE: Final = 0.2
"""Share of the numbers that are somebody's: telephone, account, card."""
LONGEST: Final = 44
"""Longest phrase of the phrasebook and of the lists, in characters."""
LONGEST_EASTERN: Final = 16
"""The same where words are not spaced, or syllables are blocks."""
MOST_WORDS: Final = 6
"""Of a phrase from a list: signs are short."""
EASTERN: Final = frozenset({"ja", "zh", "ko"})
MAX_LIST_BYTES: Final = 64 * 1024 * 1024
"""Largest phrase list read, unpacked."""
_OTHERS: Final = "phrasebook, imported or made from patterns"
_PARTS: Final = {Part.FIT: TracePart.TRAIN, Part.SELECT: TracePart.CALIBRATION, Part.REPORT: TracePart.TEST}
_TYPOGRAPHY: Final = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"',
                                    "»": '"', "–": "-", "—": "-", "‐": "-", "−": "-", "¡": "", "¿": ""})  # fmt: skip
_IN_AMOUNTS: Final = re.compile(r"(?<=[€$£¥₩])\s+(?=\d)|(?<=\d)\s+(?=[€$£¥₩%])")
_AT_WORD_ENDS: Final = re.compile(r"""(?<![^\s])["'(\[.,;:!?、。・！？…]+|["')\].,;:!?、。・！？…]+(?![^\s])""")


@dataclass(frozen=True)
class SignText:
    """A phrase on a sign.

    Attributes:
        text: as it may be written, before capitals and line breaks are chosen; lines separated by a line feed.
        language: ISO 639-1.
        source: where it is from: "phrasebook", "signs", the name of a list, "number" or "name".
        answers: acceptable English.
        near: whether a translation near to an answer is acceptable too (chrF of at least `calibrate.GOOD_CHRF`).
    """

    text: str
    language: str
    source: str
    answers: tuple[str, ...]
    near: bool = False

    @property
    def phrase(self) -> str:
        """Identifies it: the same wherever the text is used."""
        return f"{self.language}-{zlib.crc32(key_of(self.text).encode()):08x}"

    @cached_property
    def folded(self) -> frozenset[str]:
        """The answers in the form in which they are compared."""
        return frozenset(fold(answer) for answer in self.answers)

    def accepts(self, translation: str) -> bool:
        """Whether a translation is acceptable."""
        if not translation.strip():
            return False
        return fold(translation) in self.folded or (self.near and _chrf(translation, self.answers) >= GOOD_CHRF)


def key_of(text: str) -> str:
    """A text without what does not make it another phrase: case, line breaks, spaces and width."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_matches(truth: str, text: str) -> bool:
    """Whether a sign was read right: the same letters, digits and (of Latin text) word spaces.

    Case, line breaks, the form of quotes and dashes, `¡` and `¿` (which no recogniser can write), arrows and other
    pictograms, the space between a number and its currency or percent sign, and punctuation at the ends of words do not
    matter.
    """
    return bool(text.strip()) and same_line(plain(truth), plain(text))


def accepts(phrases: Sequence[SignText], translation: str) -> bool:
    """Whether the translation of a whole sign is acceptable: that of each of its phrases, in order.

    The translation's lines may be dealt to the phrases in any way that keeps their order; where every answer is fixed,
    one phrase may also follow another on the same line.
    """
    if len(phrases) == 1:
        return phrases[0].accepts(translation)
    lines = translation.split("\n")
    for cuts in combinations(range(1, len(lines)), len(phrases) - 1):
        groups = ["\n".join(lines[a:b]) for a, b in zip((0, *cuts), (*cuts, len(lines)), strict=True)]
        if all(phrase.accepts(group) for phrase, group in zip(phrases, groups, strict=True)):
            return True
    return all(not phrase.near for phrase in phrases) and is_chain([p.folded for p in phrases], fold(translation))


def is_chain(answers: Sequence[frozenset[str]], text: str) -> bool:
    """Whether a folded text is one answer of each set, one after the other."""
    rests = {text}
    for choices in answers:
        rests = {
            rest[len(choice) :].lstrip()
            for rest in rests
            for choice in choices
            if rest == choice or rest.startswith(f"{choice} ")
        }
    return "" in rests


def plain(text: str) -> str:
    """A text without what `text_matches` does not look at, but for case and line breaks."""
    text = _IN_AMOUNTS.sub("", unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY))
    return _AT_WORD_ENDS.sub(" ", "".join(" " if _is_pictogram(character) else character for character in text))


def _is_pictogram(character: str) -> bool:
    return unicodedata.category(character) == "So" or "\u2190" <= character <= "\u21ff"


def _chrf(translation: str, answers: Sequence[str]) -> float:
    try:
        from sacrebleu import sentence_chrf
    except ImportError as error:
        raise WaywordError("judging phrases of lists needs sacrebleu", hint=BENCH_HINT) from error
    return max(float(sentence_chrf(translation.casefold(), [answer.casefold()]).score) for answer in answers)


class PhraseStock:
    """All phrases, by part, language and source.

    Args:
        corpora: folder of phrase lists (``NAME.LANGUAGE-en.tsv.gz``); None for none.

    Raises:
        InputError: the folder holds no such list, or one is damaged or too large.
    """

    def __init__(self, corpora: Path | None = None) -> None:
        signs = [(code, phrase) for code in LANGUAGES for phrase in load(code)]
        self._parts = {key_of(phrase.source): _sign_part(phrase.source, phrase.half) for _, phrase in signs}
        self._stock: dict[tuple[TracePart, str, str], list[SignText]] = defaultdict(list)
        for code, phrase in signs:
            self._put(SignText(phrase.source, code, "signs", phrase.answers), "signs")
        for kind, text in _book():
            self._put(text, kind)
        for language, names in NAMES.items():
            for name, *others in names:
                self._put(SignText(name, language, "name", (name, *others)), "name")
        if corpora is not None:
            for text in phrase_lists(corpora):
                self._put(text, "list")

    def part_of(self, text: str) -> TracePart:
        """The part a text may be used in."""
        key = key_of(text)
        return self._parts.get(key) or _PARTS[part_of(key)]

    def draw(self, rng: np.random.Generator, part: TracePart, language: str) -> SignText:
        """A phrase of a part in a language."""
        while True:
            kinds = [kind for kind in SOURCE_WEIGHTS if kind == "number" or self._stock.get((part, language, kind))]
            weights = np.array([SOURCE_WEIGHTS[kind] for kind in kinds])
            kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
            if kind == "number":
                number = a_private_number(rng) if rng.random() < PRIVATE_SHARE else a_number(rng)
                if self.part_of(number) is part:
                    return SignText(number, language, "number", (number,))
                continue
            if kind == "phrasebook" and rng.random() >= WRITTEN_OUT and self._stock.get((part, language, _OTHERS)):
                kind = _OTHERS
            texts = self._stock[part, language, kind]
            return texts[int(rng.integers(len(texts)))]

    def sizes(self) -> Mapping[str, int]:
        """How many phrases there are: "part language source"."""
        return {" ".join((part.value, language, kind)): len(v) for (part, language, kind), v in self._stock.items()}

    def _put(self, text: SignText, kind: str) -> None:
        self._stock[self.part_of(text.text), text.language, kind].append(text)


def a_private_number(rng: np.random.Generator) -> str:
    """A telephone, account or card number; the digits are drawn by chance."""
    digits = "".join(str(int(digit)) for digit in rng.integers(0, 10, 20))
    forms = (
        f"Tel. +351 {digits[:3]} {digits[3:6]} {digits[6:9]}",
        f"Tel: {digits[:2]} {digits[2:6]} {digits[6:10]}",
        f"+{1 + int(digits[0])}{digits[1]} {digits[2:5]} {digits[5:9]}",
        f"IBAN PT50 {digits[:4]} {digits[4:8]} {digits[8:12]} {digits[12:16]} {digits[16:20]} 1",
        f"{digits[:4]} {digits[4:8]} {digits[8:12]} {digits[12:16]}",
    )
    return forms[int(rng.integers(len(forms)))]


def _sign_part(source: str, half: Half) -> TracePart:
    """The development half trains and calibrates, the report half only tests."""
    if half is Half.REPORT:
        return TracePart.TEST
    return TracePart.CALIBRATION if zlib.crc32(key_of(source).encode()) // 4 % 3 == 0 else TracePart.TRAIN


def _book() -> Iterator[tuple[str, SignText]]:
    """The phrasebook's phrases, written for signs or not; their English sides are the English signs."""
    english: dict[str, SignText] = {}
    for phrase in sorted(Phrasebook.builtin(), key=lambda p: (p.language, p.source)):
        if not 2 <= len(phrase.source) <= (LONGEST_EASTERN if phrase.language in EASTERN else LONGEST):
            continue
        written = phrase.rank is Rank.BUILTIN and not phrase.from_pattern
        if phrase.language in LANGUAGE_WEIGHTS:
            text = SignText(phrase.source, phrase.language, "phrasebook", (phrase.translation,))
            yield "phrasebook" if written else _OTHERS, text
        if written and 2 <= len(phrase.translation) <= LONGEST:
            english.setdefault(
                key_of(phrase.translation), SignText(phrase.translation, "en", "phrasebook", (phrase.translation,))
            )
    yield from (("phrasebook", text) for text in english.values())


def phrase_lists(folder: Path) -> Iterator[SignText]:
    """The short phrases of every list of a folder (``NAME.LANGUAGE-en.tsv.gz``).

    Raises:
        InputError: the folder holds no such list, or one is damaged or too large.
    """
    found = False
    for path in sorted(folder.glob("*.*-en.tsv.gz")):
        name, code = path.name.removesuffix("-en.tsv.gz").rsplit(".", 1)
        language = re.split("[-_]", code)[0]
        if language in LANGUAGE_WEIGHTS:
            found = True
            yield from _list(path, name, language)
    if not found:
        raise InputError(f"{folder} holds no *.LANGUAGE-en.tsv.gz", hint="point --corpora at a folder of phrase lists")


def _list(path: Path, name: str, language: str) -> Iterator[SignText]:
    try:
        with gzip.open(path, "rb") as packed:
            data = packed.read(MAX_LIST_BYTES + 1)
        lines = data.decode().splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"the phrase list {path} is damaged") from error
    if len(data) > MAX_LIST_BYTES:
        raise InputError(f"the phrase list {path} is larger than {MAX_LIST_BYTES} bytes")
    longest = LONGEST_EASTERN if language in EASTERN else LONGEST
    seen: set[str] = set()
    for line in lines:
        source, tab, english = line.partition("\t")
        key = key_of(source)
        if not tab or key in seen or key == key_of(english) or not 2 <= len(source) <= longest:
            continue
        if len(source.split()) <= MOST_WORDS and any(character.isalpha() for character in source):
            seen.add(key)
            yield SignText(source, language, name, (english,), near=True)

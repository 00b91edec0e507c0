"""Lines of a sign and what a translator makes of them: where sentences go on, what must be kept, what is a loop.

Pure functions, no state.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.models.language_evidence import SMALL_WORDS
from shared.models.text import is_upper, match_tokens

_GOING_ON: Final[Mapping[str, re.Pattern[str]]] = {
    "ja": re.compile(r"[のをにはがでとへもや、]$"),
}
"""Ends of a line after which its sentence goes on, in languages without small words."""
_CONTINUED: Final[Mapping[str, re.Pattern[str]]] = {
    "ja": re.compile(r"^[のをにはがでとへも]"),
}
"""Beginnings of a line that go on with the sentence before."""
_WHITHER: Final[Mapping[str, frozenset[str]]] = {
    "pt": frozenset({"para", "até"}),
    "es": frozenset({"para", "hacia", "a"}),
    "fr": frozenset({"vers", "pour"}),
    "de": frozenset({"nach", "zu", "zum", "zur"}),
    "it": frozenset({"per", "verso"}),
}
"""Words that begin what a finished notice leads to: "Saída / para o jardim"."""
_NUMBER: Final = re.compile(r"\d+")
_NUMBER_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
        "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "first": "1", "second": "2", "third": "3",
    },
}  # fmt: skip
_GROUPING: Final = re.compile(r"(?<=\d)[.,' ](?=\d{3}(?!\d))")
_COPIED: Final = re.compile(
    r"(?:https?://|www\.)\S+|\S+@\S+\.\w+"
    r"|(?:☎|℡|\b(?:tel|tél|fone|fax|whatsapp)\b)[.:]?\s*\+?\d[\d\s()./-]{4,}\d|\+\d[\d\s()./-]{5,}\d",
    re.IGNORECASE,
)
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_WORD_IN: Final = re.compile(r"[^\W\d_]+")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a line; `copied` where it is an address or a telephone number."""

    text: str
    copied: bool


def clean(line: str) -> str:
    """A line without control characters, marks of direction and halves of surrogates, single spaces."""
    return " ".join(_CONTROL.sub(" ", line).split())


def goes_on(line: str, following: str, language: str | None) -> bool:
    """Whether a sentence goes on from one line of a sign into the next, so that neither may be read alone."""
    if language is None or line.endswith((".", "!", "?", ":", "。", "！", "？")):
        return False
    if line.endswith(("-", ",")):
        return True
    if language in _GOING_ON:
        return bool(_GOING_ON[language].search(line) or _CONTINUED[language].search(following))
    small = SMALL_WORDS.get(language, "").split()
    ends, begins = match_tokens(line, accents=True)[-1:], match_tokens(following, accents=True)[:1]
    if ends and ends[0] in small:
        return True
    if begins and begins[0] in small:
        return True
    # In mixed case a new notice begins with a capital, save after a line that itself did not.
    first = next((letter for letter in following if letter.isalpha()), "")
    return first.islower() and not is_upper(line) and line[:1].isupper()


def leads_on(following: str, language: str | None) -> bool:
    """Whether a line only says where what stands before it leads to."""
    begins = match_tokens(following, accents=True)[:1]
    return bool(begins) and begins[0] in _WHITHER.get(language or "", frozenset())


def digits_kept(source: str, translation: str, target: str) -> bool:
    """Whether every number of a text is in its translation, in digits or, where that can be checked, as a word.

    A time may change its form (15h, 3 pm), so hours after noon count as both, and a number its grouping (1.000, 1,000).
    """
    wanted = _numbers(source)
    if not wanted:
        return True
    words = _NUMBER_WORDS.get(target, {})
    shown = _WORD_IN.sub(lambda match: words.get(match[0], match[0]), translation.lower())
    found = _numbers(shown)
    missing = wanted - found
    afternoon = Counter({str(int(number) - 12): count for number, count in missing.items() if _is_afternoon(number)})
    missing = Counter({number: count for number, count in missing.items() if not _is_afternoon(number)})
    return not missing and not afternoon - found


def has_loop(translation: str, source: str) -> bool:
    """Whether a translation repeats a word or two at once, and the source does not: "Toll toll"."""
    return _loops(translation) > _loops(source)


def without_loops(translation: str) -> str:
    """The translation with immediate repetitions of a word, or of two, taken out."""
    words = translation.split()
    for size in (2, 1):
        kept: list[str] = []
        for word in words:
            kept.append(word)
            if len(kept) >= 2 * size and _same(kept[-size:], kept[-2 * size : -size]):
                del kept[-size:]
        words = kept
    return " ".join(words)


def stretches(text: str) -> list[Stretch]:
    """A text divided at addresses and telephone numbers, which are shown as they stand."""
    found: list[Stretch] = []
    end = 0
    for match in _COPIED.finditer(text):
        found += [Stretch(text[end : match.start()].strip(), False), Stretch(match[0].strip(), True)]
        end = match.end()
    found.append(Stretch(text[end:].strip(), False))
    return [stretch for stretch in found if stretch.text]


def copied_share(source: str, translation: str) -> float:
    """Share of the translation's words that stand in the source too, 0..1: names, or words the engine did not know."""
    words = [word.casefold() for word in _WORD.findall(translation)]
    known = {word.casefold() for word in _WORD.findall(source)}
    return sum(word in known for word in words) / len(words) if words else 0.0


def overlap(first: str, second: str) -> float:
    """Share of common words in all words of two texts, 0..1 (Jaccard)."""
    one, other = set(match_tokens(first)), set(match_tokens(second))
    return len(one & other) / len(one | other) if one | other else 0.0


def _numbers(text: str) -> Counter[str]:
    plain = _GROUPING.sub("", unicodedata.normalize("NFKC", text))
    return Counter(number.lstrip("0") or "0" for number in _NUMBER.findall(plain))


def _is_afternoon(number: str) -> bool:
    return len(number) == 2 and 13 <= int(number) <= 23


def _loops(text: str) -> int:
    words = match_tokens(text)
    singles = sum(first == second and len(first) > 2 for first, second in itertools.pairwise(words))
    pairs = list(itertools.pairwise(words))
    return singles + sum(first == second for first, second in zip(pairs, pairs[2:], strict=False))


def _same(first: list[str], second: list[str]) -> bool:
    keys = [["".join(match_tokens(word)) for word in words] for words in (first, second)]
    return keys[0] == keys[1] and len("".join(keys[0])) > 2

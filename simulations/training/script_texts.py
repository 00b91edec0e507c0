"""Texts for training the script classifier: names of places, languages, days and shops, per script.

Everywhere the names of CLDR as Babel ships them (languages, territories, currencies, months, time zones' cities);
where a folder of tab-separated phrase lists is given (`LANGUAGE-en.tsv.gz`, a phrase in its first column), those too.
One text in ten, told by its checksum, is held apart.
"""

from __future__ import annotations

import gzip
import random
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from babel import Locale

from shared.models.script import Script, is_everyday_han, script_of

LOCALES: Final[Mapping[str, tuple[str, ...]]] = {
    Script.LATIN: (
        "en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "cs", "sk", "hu", "ro", "tr", "hr",
        "sl", "lt", "lv", "et", "vi", "id", "ms", "ca", "eu", "gl", "is", "ga", "cy", "sq", "az", "uz", "sw", "fil",
    ),
    Script.HAN: ("zh", "zh_Hant", "ja"),
    Script.KANA: ("ja",),
    Script.HANGUL: ("ko",),
    Script.CYRILLIC: ("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "mn"),
    Script.GREEK: ("el",),
    Script.ARABIC: ("ar", "fa", "ur", "ps"),
    Script.HEBREW: ("he",),
    Script.DEVANAGARI: ("hi", "mr", "ne"),
    Script.THAI: ("th",),
    "georgian": ("ka",),
    "armenian": ("hy",),
    "bengali": ("bn",),
    "tamil": ("ta",),
    "telugu": ("te",),
    "khmer": ("km",),
    "lao": ("lo",),
    "myanmar": ("my",),
    "sinhala": ("si",),
    "ethiopic": ("am",),
}  # fmt: skip
"""CLDR locales whose names are written in a script."""
OTHERS: Final = tuple(name for name in LOCALES if name not in tuple(Script))
"""Scripts that are classified as OTHER."""

_CORPORA: Final[Mapping[str, str]] = {
    "ja": Script.KANA, "zh": Script.HAN, "zh_CN": Script.HAN, "zh-CN": Script.HAN, "zh-TW": Script.HAN,
    "ko": Script.HANGUL, "de": Script.LATIN, "fr": Script.LATIN, "es": Script.LATIN, "it": Script.LATIN,
    "pt": Script.LATIN, "pt-BR": Script.LATIN,
}  # fmt: skip
_MAX_OF_A_CORPUS: Final = 4000
_HELD_APART: Final = 10
_LONGEST: Final = 60
"""Characters of a text; lines of signs are shorter."""
_LATIN_LOOKALIKES: Final = frozenset("АВЕЗІКМНОРСТУХЅЈаеорсухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧοικνυ")
"""Cyrillic and Greek letters that look like Latin ones: a word of these alone is in no script to the eye."""
_LANGUAGE_OF_FILE: Final = re.compile(r"^[a-z-]+\.(?P<language>[A-Za-z_-]+?)-en\.tsv\.gz$")


def is_held_apart(text: str) -> bool:
    """Whether a text is kept for calibration and evaluation."""
    return zlib.crc32(text.encode()) % _HELD_APART == 0


class TextShelf:
    """Texts by script, either those trained on or those held apart.

    Args:
        corpora: folder with phrase lists, or None.
        held_apart: which share to hold.
    """

    def __init__(self, corpora: Path | None, *, held_apart: bool) -> None:
        self._corpora = corpora
        self._held_apart = held_apart
        self._texts: dict[str, list[str]] = {}

    def texts(self, name: str) -> list[str]:
        """Every text of a script, in order."""
        if name not in self._texts:
            found = texts_of(name, self._corpora)
            self._texts[name] = [text for text in found if is_held_apart(text) is self._held_apart]
        return self._texts[name]

    def pick(self, rng: random.Random, name: str) -> str:
        """What a sign might say: a phrase or some of its words, in capitals at times, with a number at times."""
        if name == Script.COMMON:
            return common_text(rng)
        text = rng.choice(self.texts(name))
        if name in (Script.HANGUL, Script.HAN, Script.KANA) and rng.random() < 0.2:
            text = self._scrambled(rng, name)
        text = _shortened(rng, text, name)
        if name in (Script.LATIN, Script.CYRILLIC, Script.GREEK, "armenian") and rng.random() < 0.45:
            text = text.upper() if rng.random() < 0.8 else text.title()
        if name not in (Script.LATIN,) and rng.random() < 0.1:
            text = self._with_latin(rng, text)
        if rng.random() < 0.12:
            number = common_text(rng)
            text = f"{text} {number}" if rng.random() < 0.5 else f"{number} {text}"
        return text

    def _with_latin(self, rng: random.Random, text: str) -> str:
        """A word in Latin script beside it, shorter than itself: what stays is mostly the other script."""
        words = [word for word in rng.choice(self.texts(Script.LATIN)).split() if len(word) <= max(2, len(text) // 2)]
        if not words:
            return text
        word = rng.choice(words)
        return f"{word} {text}" if rng.random() < 0.5 else f"{text} {word}"

    def _scrambled(self, rng: random.Random, name: str) -> str:
        """Characters of the script in any order: a name says nothing of its neighbours."""
        length = rng.choice((1, 2, 2, 3, 3, 4, 5, 6, 8))
        if name == Script.HAN and rng.random() < 0.5:
            return "".join(rng.choice(EVERYDAY_HAN) for _ in range(length))
        pool = "".join(rng.choice(self.texts(name)) for _ in range(6))
        letters = [character for character in pool if script_of(character) == name] or list("の")
        return "".join(rng.choice(letters) for _ in range(length))


EVERYDAY_HAN: Final = tuple(chr(code) for code in range(0x4E00, 0x9FA6) if is_everyday_han(chr(code)))


def common_text(rng: random.Random) -> str:
    """Numbers, times, prices and codes without letters."""
    number = rng.randrange(10 ** rng.randint(1, 4))
    return rng.choice(
        (
            f"{number}",
            f"{number % 24}:{rng.randrange(60):02}",
            f"{number % 24:02}:00-{rng.randrange(24):02}:30",
            f"{number % 100},{rng.randrange(100):02} €",
            f"€{number % 100}.{rng.randrange(100):02}",
            f"${number % 100}",
            f"¥{number * 10:,}",
            f"£{number % 50}.{rng.randrange(100):02}",
            f"{number % 100}%",
            f"-{number % 90}%",
            f"+{rng.randrange(1, 99)} {rng.randrange(1000)} {rng.randrange(10000):04}",
            f"{rng.randrange(1000):03}-{rng.randrange(10000):04}",
            f"{rng.randrange(1, 32)}.{rng.randrange(1, 13)}.{rng.randrange(1990, 2030)}",
            f"{rng.randrange(1990, 2030)}/{rng.randrange(1, 13)}/{rng.randrange(1, 32)}",
            f"({number % 100})",
            f"{number % 30}/{rng.randrange(30)}",
        )
    )


@lru_cache(maxsize=64)
def texts_of(name: str, corpora: Path | None) -> tuple[str, ...]:
    """Every text in a script, in order: reading the names of a language takes a quarter of a second."""
    east_asian = (Script.HAN, Script.KANA)
    sources = east_asian if name in east_asian else (name,)
    found = [text for source in sources for locale in LOCALES[source] for text in _names(locale)]
    found += [text for source, text in _phrases(corpora, sources)]
    tidy = {" ".join(text.split()) for text in found}
    return tuple(sorted(text for text in tidy if len(text) <= _LONGEST and _belongs(text, name)))


def _belongs(text: str, name: str) -> bool:
    """Whether a text's letters are all in a script, Han among kana excepted, and can be told from Latin ones."""
    scripts = {script_of(character) for character in text} - {Script.COMMON}
    if name == Script.KANA:
        return Script.KANA in scripts and scripts <= {Script.HAN, Script.KANA}
    wanted = Script(name) if name in tuple(Script) else Script.OTHER
    return scripts == {wanted} and not all(letter in _LATIN_LOOKALIKES for letter in text if letter.isalpha())


def _names(code: str) -> Iterator[str]:
    locale = Locale.parse(code)
    for names in (locale.languages, locale.territories, locale.currencies, locale.scripts):
        yield from (str(value) for value in names.values())
    for calendar in (locale.days, locale.months, locale.quarters):
        for context in calendar.values():
            for width in context.values():
                yield from (str(value) for value in width.values())
    for zone in locale.time_zones.values():
        if "city" in zone:
            yield str(zone["city"])
    for zone in locale.meta_zones.values():
        for names in zone.values():
            if isinstance(names, Mapping):
                yield from (str(value) for value in names.values())


def _phrases(folder: Path | None, wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
    if folder is None:
        return
    for path in sorted(folder.glob("*.tsv.gz")):
        match = _LANGUAGE_OF_FILE.match(path.name)
        name = _CORPORA.get(match["language"]) if match else None
        if name is None or name not in wanted:
            continue
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found: Sequence[str] = [line.split("\t", 1)[0] for line in lines]
        step = max(1, len(found) // _MAX_OF_A_CORPUS)
        for text in found[::step]:
            yield name, text


def _shortened(rng: random.Random, text: str, name: str) -> str:
    """Some neighbouring words, or some neighbouring characters where words are not spaced."""
    limit = rng.choice((2, 4, 6, 8, 10, 14, 18, 24, 32))
    if len(text) <= limit:
        return text
    words = text.split()
    if len(words) > 1:
        first = rng.randrange(len(words))
        kept = words[first]
        for word in words[first + 1 :]:
            if len(kept) + 1 + len(word) > limit:
                break
            kept += " " + word
        text = kept if any(character.isalpha() for character in kept) else text
    if name in (Script.HAN, Script.KANA) and len(text) > limit:
        first = rng.randrange(len(text) - limit + 1)
        cut = text[first : first + limit]
        if name == Script.HAN or any(script_of(character) is Script.KANA for character in cut):
            return cut
    return text

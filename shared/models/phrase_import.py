"""Phrases from open data that the user has downloaded: OpenStreetMap preset names, and CLDR names and annotations.

Nothing is downloaded here and none of the data is part of Wayword. What comes out are phrase files ``pt.osm.tsv`` and
``pt.cldr.tsv`` that say where they come from and under which licence; their phrases rank below those written for signs.

* OSM: the npm package ``@openstreetmap/id-tagging-schema`` (ISC), ``dist/translations/<locale>.json``:
  ``{locale: {"presets": {"presets": {id: {"name": ...}}}}}``, English in ``en.json`` by the same ids.
* CLDR: the npm packages ``cldr-localenames-full`` (``main/<locale>/territories.json`` and ``languages.json``) and
  ``cldr-annotations-full`` (``annotations/<locale>/annotations.json``), Unicode-3.0.

Only names that can be a sign by themselves are kept. Dropped are: one short word, because it is one reading error away
from too many others; a name with brackets, digits or other marks; a name that two English names share; a name that is
the same in English; and the parts of emoji names that describe a picture (skin tones, hair).
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from shared.errors import StorageError, UsageError, reason_of
from shared.files import replace_file
from shared.limits import MAX_OPEN_DATA_FILE_BYTES, MAX_PHRASE_CHARACTERS
from shared.models.phrase_errors import Alphabet, alphabet_of
from shared.models.text import capitalise_first, match_tokens

LANGUAGES: Final = ("de", "es", "fr", "it", "ja", "ko", "pt", "zh")
"""Languages that are imported when none is named."""
_OSM_LOCALES: Final[Mapping[str, tuple[str, ...]]] = {"pt": ("pt-BR", "pt"), "zh": ("zh-CN", "zh-TW", "zh-HK", "zh")}
_CLDR_LOCALES: Final[Mapping[str, tuple[str, ...]]] = {"pt": ("pt", "pt-PT"), "zh": ("zh", "zh-Hant")}
"""Locales of one language, the first most believed; other languages have one of their own name."""
_SHORTEST_WORD: Final = {Alphabet.ALPHABETIC: 4, Alphabet.HANGUL: 2, Alphabet.HAN_KANA: 2}
"""Shortest single word that is kept, in characters."""
_SEPARATORS: Final = " / "
_MARKS: Final = frozenset('()[]{}<>*#%@+=:;|\\"“”„«»、。')
_SKIN_AND_HAIR: Final = frozenset(range(0x1F3FB, 0x1F400)) | frozenset(range(0x1F9B0, 0x1F9B4)) | {0x200D}


class Source(StrEnum):
    """Open data that can be imported."""

    OSM = "osm"
    CLDR = "cldr"


class Dropped(StrEnum):
    """Why a name was not imported."""

    SHORT = "one short word"
    MARKS = "brackets, digits or marks"
    SAME = "the same in English"
    AMBIGUOUS = "several English names"
    LONG = "too long"


@dataclass(frozen=True)
class Imported:
    """What one file got.

    Attributes:
        path: the file written.
        language: ISO 639-1 code.
        phrases: how many.
        dropped: how many names were dropped, by reason.
    """

    path: Path
    language: str
    phrases: int
    dropped: Mapping[Dropped, int]


@dataclass
class _Collector:
    """Pairs of one language, sorted into those kept and those dropped."""

    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    refused: dict[str, Dropped] = field(default_factory=dict)
    dropped: Counter[Dropped] = field(default_factory=Counter)

    def add(self, source: str, english: str, *, believed: bool) -> None:
        """Take a name or drop it; a second English for a name of a less believed locale is simply not taken."""
        english = capitalise_first(" ".join(english.split(_SEPARATORS)[0].split()))
        for name in source.split(_SEPARATORS):
            name = unicodedata.normalize("NFC", " ".join(name.split()))
            key = "".join(match_tokens(name))
            why = _why_dropped(name, english)
            earlier = self.pairs.get(key)
            if why is not None:
                self.dropped[why] += 1
            elif earlier is None and key not in self.refused:
                self.pairs[key] = name, english
            elif earlier is not None and match_tokens(earlier[1]) != match_tokens(english) and believed:
                del self.pairs[key]
                self.refused[key] = Dropped.AMBIGUOUS
                self.dropped[Dropped.AMBIGUOUS] += 2


def import_phrases(source: Source, folder: Path, out: Path, languages: Iterable[str] = LANGUAGES) -> list[Imported]:
    """Write one phrase file for each language.

    Args:
        source: what kind of data it is.
        folder: the unpacked npm package, or a folder that holds it (for CLDR: both packages, or either).
        out: folder to write to; made if it is not there.
        languages: ISO 639-1 codes; one that the data does not have is left out.

    Raises:
        UsageError: the folder does not hold such data, or a file of it has another structure.
        StorageError: a file cannot be read or written.
    """
    collect = _collect_osm if source is Source.OSM else _collect_cldr
    results = []
    for language in languages:
        collector = _Collector()
        notes = collect(folder, language, collector)
        if not notes:
            continue
        path = out / f"{language}.{source.value}.tsv"
        _write(path, notes, collector.pairs.values())
        results.append(Imported(path, language, len(collector.pairs), dict(collector.dropped)))
    if not results:
        raise UsageError(f"{folder} has no names for {', '.join(languages)}", hint="Give the unpacked npm package")
    return results


def _collect_osm(folder: Path, language: str, collector: _Collector) -> list[str]:
    translations = _find(folder, ("dist/translations", "package/dist/translations", "."), "en.json")
    if translations is None:
        raise UsageError(
            f"{folder} holds no dist/translations/en.json",
            hint="Unpack the npm package @openstreetmap/id-tagging-schema and give its folder",
        )
    english = _presets(translations / "en.json", "en")
    used = []
    for index, locale in enumerate(_OSM_LOCALES.get(language, (language,))):
        path = translations / f"{locale}.json"
        if not path.exists():
            continue
        used.append(path.name)
        for preset, name in _presets(path, locale).items():
            if preset in english:
                collector.add(name, english[preset], believed=index == 0)
    if not used:
        return []
    version = _version(translations.parent.parent / "package.json")
    return [
        f"Source: OpenStreetMap preset names, @openstreetmap/id-tagging-schema{version}, dist/translations: "
        + ", ".join(used),
        "Licence: ISC, Copyright (c) iD Contributors",
    ]


def _collect_cldr(folder: Path, language: str, collector: _Collector) -> list[str]:
    names = _find(folder, (".", "package", "cldr-localenames-full"), "main/en/territories.json")
    annotations = _find(folder, (".", "package", "cldr-annotations-full"), "annotations/en/annotations.json")
    if names is None and annotations is None:
        raise UsageError(
            f"{folder} holds neither main/en/territories.json nor annotations/en/annotations.json",
            hint="Unpack the npm packages cldr-localenames-full and cldr-annotations-full and give their folder",
        )
    used = []
    for index, locale in enumerate(_CLDR_LOCALES.get(language, (language,))):
        pairs: list[tuple[str, str]] = []
        for kind in ("territories", "languages") if names is not None else ():
            pairs += _pair(_display_names(names, locale, kind), _display_names(names, "en", kind))  # type: ignore[arg-type]
        if annotations is not None:
            pairs += _pair(_annotations(annotations, locale), _annotations(annotations, "en"))
        if pairs:
            used.append(locale)
        for source, english in pairs:
            collector.add(source, english, believed=index == 0)
    if not used:
        return []
    packages = [
        f"{name}{_version(place / 'package.json')}"
        for name, place in (("cldr-localenames-full", names), ("cldr-annotations-full", annotations))
        if place is not None
    ]
    return [
        f"Source: Unicode CLDR, {', '.join(packages)}, locales: {', '.join(used)}",
        "Licence: Unicode-3.0, Copyright (c) Unicode, Inc.",
    ]


def _why_dropped(name: str, english: str) -> Dropped | None:
    tokens = match_tokens(name)
    if max(len(name), len(english)) > MAX_PHRASE_CHARACTERS:
        return Dropped.LONG
    unusual = any(character in _MARKS or character.isdigit() or not character.isprintable() for character in name)
    if unusual or not tokens or any(character in "()[]{}|" or not character.isprintable() for character in english):
        return Dropped.MARKS
    if tokens == match_tokens(english) or not match_tokens(english):
        return Dropped.SAME
    if len(tokens) == 1 and len(tokens[0]) < _SHORTEST_WORD[alphabet_of(tokens[0])]:
        return Dropped.SHORT
    return None


def _presets(path: Path, locale: str) -> dict[str, str]:
    presets = _descend(path, _read(path), (locale, "presets", "presets"))
    return {
        key: value["name"]
        for key, value in presets.items()
        if isinstance(value, dict) and isinstance(value.get("name"), str)
    }


def _display_names(package: Path, locale: str, kind: str) -> dict[str, str]:
    path = package / "main" / locale / f"{kind}.json"
    if not path.exists():
        return {}
    names = _descend(path, _read(path), ("main", locale, "localeDisplayNames", kind))
    return {key: value for key, value in names.items() if isinstance(value, str)}


def _annotations(package: Path, locale: str) -> dict[str, str]:
    """Names of emoji, by the emoji; for people without skin tones and hair."""
    path = package / "annotations" / locale / "annotations.json"
    if not path.exists():
        return {}
    found = {}
    for emoji, value in _descend(path, _read(path), ("annotations", "annotations")).items():
        spoken = value.get("tts") if isinstance(value, dict) else None
        if isinstance(spoken, list) and spoken and isinstance(spoken[0], str) and _is_thing(emoji):
            found[emoji] = spoken[0]
    return found


def _is_thing(emoji: str) -> bool:
    """Emoji, not the names of brackets, arrows and mathematical signs."""
    codes = [ord(character) for character in emoji]
    return bool(codes) and codes[0] >= 0x1F000 and not any(code in _SKIN_AND_HAIR for code in codes)


def _pair(names: Mapping[str, str], english: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, english[key]) for key, name in names.items() if key in english]


def _find(folder: Path, places: Iterable[str], file: str) -> Path | None:
    return next((folder / place for place in places if (folder / place / file).exists()), None)


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_OPEN_DATA_FILE_BYTES + 1)
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {reason_of(error)}") from error
    if len(content) > MAX_OPEN_DATA_FILE_BYTES:
        raise UsageError(f"{path}: larger than {MAX_OPEN_DATA_FILE_BYTES // 1_000_000} MB")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: no JSON: {reason_of(error)}") from error


def _descend(path: Path, document: Any, keys: Iterable[str]) -> dict[str, Any]:
    place = document
    for key in keys:
        place = place.get(key) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise UsageError(f"{path}: there is no {' > '.join(keys)}", hint="The file has another structure")
    return place


def _version(package: Path) -> str:
    """``" 6.19.2"`` from a package.json; empty where there is none."""
    if not package.exists():
        return ""
    document = _read(package)
    version = document.get("version") if isinstance(document, dict) else None
    return f" {version}" if isinstance(version, str) and version.isprintable() and len(version) < 40 else ""


def _write(path: Path, notes: Iterable[str], pairs: Iterable[tuple[str, str]]) -> None:
    lines = [
        "# Imported by: wayword-phone phrases import. The next import overwrites this file; write your own phrases",
        f"# into {path.name[:2]}.tsv. Form of a line: phrase<TAB>English.",
        *(f"# {note}" for note in notes),
        *(f"{source}\t{english}" for source, english in sorted(pairs)),
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, ("\n".join(lines) + "\n").encode("utf-8"))
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {reason_of(error)}") from error

"""Which of Tesseract's languages are tried for a script, or for a language that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.models.script import LANGUAGE_SCRIPTS, Script

NAME: Final = r"[A-Za-z_]{3,16}(?:/[A-Za-z_]{3,32})?"
"""What a language's name looks like: "kor", "chi_sim", "script/Hangul"."""
MAX_TRIED: Final = 2
"""Languages of one call: each adds its own time."""

BY_SCRIPT: Final[Mapping[Script, tuple[str, ...]]] = {
    Script.LATIN: ("eng", "fra"),
    Script.HAN: ("chi_sim", "chi_tra"),
    Script.KANA: ("jpn",),
    Script.HANGUL: ("kor",),
    Script.CYRILLIC: ("rus", "ukr", "bul", "srp"),
    Script.GREEK: ("ell",),
    Script.ARABIC: ("ara", "fas", "urd"),
    Script.HEBREW: ("heb",),
    Script.DEVANAGARI: ("hin", "mar", "nep"),
    Script.THAI: ("tha",),
}
"""Tesseract's names of the languages of a script, the most widely written first."""

BY_LANGUAGE: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("eng",), "pt": ("por",), "es": ("spa",), "fr": ("fra",), "de": ("deu",), "it": ("ita",), "nl": ("nld",),
    "ja": ("jpn",), "zh": ("chi_sim", "chi_tra"), "ko": ("kor",), "ru": ("rus",), "uk": ("ukr",), "bg": ("bul",),
    "sr": ("srp",), "el": ("ell",), "ar": ("ara",), "fa": ("fas",), "ur": ("urd",), "he": ("heb",), "hi": ("hin",),
    "mr": ("mar",), "ne": ("nep",), "th": ("tha",), "ka": ("kat",), "hy": ("hye",), "bn": ("ben",), "ta": ("tam",),
    "te": ("tel",), "km": ("khm",), "lo": ("lao",), "my": ("mya",), "si": ("sin",), "am": ("amh",),
}  # fmt: skip
"""Tesseract's names of a language, by ISO 639-1."""

SCRIPTS_BY_OSD: Final[Mapping[str, tuple[Script, tuple[str, ...]]]] = {
    "Latin": (Script.LATIN, BY_SCRIPT[Script.LATIN]),
    "Han": (Script.HAN, BY_SCRIPT[Script.HAN]),
    "HanS": (Script.HAN, BY_SCRIPT[Script.HAN]),
    "HanT": (Script.HAN, ("chi_tra", "chi_sim")),
    "Japanese": (Script.KANA, BY_SCRIPT[Script.KANA]),
    "Katakana": (Script.KANA, BY_SCRIPT[Script.KANA]),
    "Hiragana": (Script.KANA, BY_SCRIPT[Script.KANA]),
    "Hangul": (Script.HANGUL, BY_SCRIPT[Script.HANGUL]),
    "Korean": (Script.HANGUL, BY_SCRIPT[Script.HANGUL]),
    "Cyrillic": (Script.CYRILLIC, BY_SCRIPT[Script.CYRILLIC]),
    "Greek": (Script.GREEK, BY_SCRIPT[Script.GREEK]),
    "Arabic": (Script.ARABIC, BY_SCRIPT[Script.ARABIC]),
    "Hebrew": (Script.HEBREW, BY_SCRIPT[Script.HEBREW]),
    "Devanagari": (Script.DEVANAGARI, BY_SCRIPT[Script.DEVANAGARI]),
    "Thai": (Script.THAI, BY_SCRIPT[Script.THAI]),
    "Georgian": (Script.OTHER, ("kat",)),
    "Armenian": (Script.OTHER, ("hye",)),
    "Bengali": (Script.OTHER, ("ben",)),
    "Tamil": (Script.OTHER, ("tam",)),
    "Telugu": (Script.OTHER, ("tel",)),
    "Khmer": (Script.OTHER, ("khm",)),
    "Lao": (Script.OTHER, ("lao",)),
    "Myanmar": (Script.OTHER, ("mya",)),
    "Sinhala": (Script.OTHER, ("sin",)),
    "Ethiopic": (Script.OTHER, ("amh",)),
}
"""Scripts by the names that Tesseract's own detection of scripts (`osd`) gives them, and languages written in each."""


def languages_for(
    script: Script, source: str | None, installed: frozenset[str], *, listed: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Tesseract's languages to try on a line, at most `MAX_TRIED`; empty where none fits.

    Args:
        script: of the line.
        source: language of the text, ISO 639-1, None when unknown; ignored where it is written otherwise.
        installed: what Tesseract has.
        listed: languages of a script that is none of `BY_SCRIPT`.
    """
    written = LANGUAGE_SCRIPTS.get(source or "", frozenset({Script.LATIN}))
    if script in written or script is Script.OTHER:
        told = tuple(name for name in BY_LANGUAGE.get(source or "", ()) if name in installed)
        if told:
            return told[:MAX_TRIED]
    return tuple(name for name in listed or BY_SCRIPT.get(script, ()) if name in installed)[:MAX_TRIED]


def readable_scripts(installed: frozenset[str]) -> frozenset[Script]:
    """Scripts of which some language is installed."""
    return frozenset(script for script, names in BY_SCRIPT.items() if installed.intersection(names))

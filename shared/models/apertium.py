"""Apertium as a second engine, an external process, for directions that no pack serves.

Apertium (Forcada et al., *Apertium: a free/open-source platform for rule-based machine translation*, 2011) is installed
by the system's package manager, or not; Wayword only looks whether it is there. Rules and dictionaries give no
probabilities, but they say which words they do not know: those come back with a star, which is taken off and counted.

Text goes to the process on its standard input and never through a shell's hands as a command; the direction is one that
Apertium itself has listed. Time and output of a call are bounded, and a process that exceeds them is ended with all its
children.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.errors import TranslatorFailed
from shared.models.bergamot.translator import Translation, cut_text
from shared.models.child_process import ChildFailed, answer_of

COMMAND: Final = "apertium"
CALL_SECONDS: Final = 10.0
"""Longest time one call may take; a sign takes about 0.1 s of CPU."""
MAX_OUTPUT_BYTES: Final = 64 * 1024
"""Most bytes read from one call: a text has at most 512 characters."""
MAX_DIRECTIONS: Final = 512

_MODE: Final = re.compile(r"([a-z]{2,3})-([a-z]{2,3})")
_CODES: Final[Mapping[str, str]] = {
    "afr": "af", "arg": "an", "bel": "be", "bul": "bg", "cat": "ca", "cym": "cy", "dan": "da", "deu": "de",
    "eng": "en", "epo": "eo", "eus": "eu", "fra": "fr", "glg": "gl", "hin": "hi", "ind": "id", "isl": "is", "ita": "it",
    "kaz": "kk", "mkd": "mk", "mlt": "mt", "nld": "nl", "nno": "nn", "nob": "no", "oci": "oc", "pol": "pl", "por": "pt",
    "ron": "ro", "rus": "ru", "slv": "sl", "spa": "es", "srd": "sc", "swe": "sv", "tat": "tt", "tur": "tr", "ukr": "uk",
    "urd": "ur", "zlm": "ms",
}  # fmt: skip
"""ISO 639-3 codes, by which Apertium names most of its directions, as ISO 639-1."""
_MARKS: Final = re.compile(r"[*@#](?=\w)")
"""What Apertium puts before a word it does not know (*), cannot transfer (@) or cannot inflect (#)."""
_OWN_SYNTAX: Final = re.compile(r"[*@#^$\[\]{}<>\\|~]")
"""Characters of Apertium's own stream format, and its marks: signs lose nothing without them."""
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class EngineName:
    """What stands for an engine that is no pack where a pack's name and version are shown."""

    name: str
    version: str = ""


class ApertiumTranslator:
    """One direction of an installed Apertium. Keeps nothing between calls; several threads may use it at once.

    Args:
        mode: Apertium's name of the direction, one that `installed_modes` lists.
        direction: (source, target), ISO 639-1.
        version: of the installation.
        command: the program; found by `installed_modes`.
        seconds: longest time of one call.

    Raises:
        ValueError: `mode` is not of the form of a direction.
    """

    def __init__(
        self,
        mode: str,
        direction: tuple[str, str],
        *,
        version: str = "",
        command: str = COMMAND,
        seconds: float = CALL_SECONDS,
    ) -> None:
        if not _MODE.fullmatch(mode):
            raise ValueError(f"{mode!r} names no direction")
        self._mode = mode
        self._command = command
        self._seconds = seconds
        self.direction = direction
        self.pack = EngineName(f"{COMMAND}-{direction[0]}-{direction[1]}", version)

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        """Translate a text; `beam` is there for the likeness with other engines.

        Returns:
            The translation without log-probabilities. `source_tokens` counts words, `unknown_tokens` those of them that
            Apertium does not know and left as they were.

        Raises:
            TranslatorFailed: the process fails, answers too much, or not in time.
        """
        plain = " ".join(_OWN_SYNTAX.sub(" ", cut_text(text)).split())
        if not plain:
            return Translation("", (), 0)
        # A last full stop of its own would be a difference from every other engine; -n leaves the text alone.
        output = run_bounded(
            [self._command, "-n", self._mode], plain + "\n", seconds=self._seconds, max_bytes=MAX_OUTPUT_BYTES
        )
        translated = " ".join(_MARKS.sub("", output).split())
        return Translation(translated, (), len(_WORD.findall(plain)), len(_MARKS.findall(output)))


def installed_modes(command: str = COMMAND) -> dict[tuple[str, str], str]:
    """Apertium's name of every direction it is installed for, by ISO 639-1 codes; empty where it is not installed.

    Variants of a language (``es-pt_BR``) are left out. A program that is there and fails counts as not installed.
    """
    program = shutil.which(command)
    if program is None:
        return {}
    try:
        output = run_bounded([program, "-l"], "", seconds=CALL_SECONDS, max_bytes=MAX_OUTPUT_BYTES)
    except TranslatorFailed:
        # Without a list there is no direction that could be offered.
        return {}
    modes: dict[tuple[str, str], str] = {}
    for line in output.split()[:MAX_DIRECTIONS]:
        match = _MODE.fullmatch(line)
        codes = tuple(_iso_code(code) for code in match.groups()) if match else ()
        if len(codes) == 2 and all(codes) and codes[0] != codes[1]:
            modes.setdefault((codes[0], codes[1]), line)
    return modes


def installed_version(command: str = COMMAND) -> str:
    """The version that Apertium says it has, such as "3.8.3"; empty where it says none."""
    program = shutil.which(command)
    if program is None:
        return ""
    try:
        output = run_bounded([program, "-V"], "", seconds=CALL_SECONDS, max_bytes=MAX_OUTPUT_BYTES)
    except TranslatorFailed:
        return ""
    found = re.search(r"\d+(?:\.\d+)+", output)
    return found[0] if found else ""


def run_bounded(command: list[str], text: str, *, seconds: float, max_bytes: int) -> str:
    """What a program answers to a text on its standard input.

    Args:
        command: program and arguments; no shell reads them.
        text: at most a pipe's buffer (64 KiB) is written without a reader; callers stay far below.
        seconds: longest time from start to end.
        max_bytes: longest answer.

    Raises:
        TranslatorFailed: it cannot be started, ends with an error, answers too much, or not in time.
    """
    try:
        answer = answer_of(command, text.encode("utf-8", "replace"), seconds=seconds, max_bytes=max_bytes)
    except ChildFailed as error:
        raise TranslatorFailed(str(error)) from error
    return answer.decode("utf-8", "replace")


def _iso_code(code: str) -> str:
    return code if len(code) == 2 else _CODES.get(code, "")

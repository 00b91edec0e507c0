"""Type faces: which one can write a text, how wide a line of it is, and its ink.

OpenCV's built-in face has Latin, Greek, Cyrillic, Hebrew, Chinese, Japanese and Korean, one glyph a character. What
needs shaping (Arabic, Thai, the scripts of India) is drawn by HarfBuzz, through Pillow, from a font file that the
settings name or that fontconfig knows. `cv2.FontFace` could open font files too, but it neither shapes nor survives a
file that is no font.
"""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, features

from glasses import bidi
from shared.errors import UsageError
from shared.models.script import Script, dominant_script, script_of

CAP_HEIGHT: Final = 0.74
"""Height of a capital letter in the built-in sans face, as a share of the font size (measured on "H")."""
WEIGHT: Final = 500
FONTCONFIG_TIMEOUT_S: Final = 2.0
_MEASURE_SIZE: Final = 64
_NOT_A_CHARACTER: Final = "\U0010fffe"
"""No font has a glyph for it: what is drawn in its place stands for every missing glyph."""
_SAMPLE: Final = 48

Mask = npt.NDArray[np.uint8]
"""Coverage by ink, 0..255, shape (height, width)."""


class Face(Protocol):
    """Writes single lines. Widths are in font sizes; the face is the same at every size."""

    def __hash__(self) -> int:
        """By identity: what is measured with a face is remembered for it."""
        ...

    def has(self, character: str) -> bool:
        """Whether it can write a character."""
        ...

    def width(self, line: str) -> float:
        """Advance width of a line."""
        ...

    def draw(self, mask: Mask, line: str, x: float, baseline: float, size: int, *, right_to_left: bool) -> None:
        """Add a line's ink to a mask, in place; `x` is its left end, in pixels."""
        ...


class BuiltInFace:
    """OpenCV's "sans", with its built-in fall-back for what that lacks."""

    def has(self, character: str) -> bool:
        return _built_in_has(character)

    def width(self, line: str) -> float:
        return _built_in_width(line)

    def draw(self, mask: Mask, line: str, x: float, baseline: float, size: int, *, right_to_left: bool) -> None:
        shown = bidi.visual(line, right_to_left=right_to_left)
        cv2.putText(mask, shown, (round(x), round(baseline)), (255,), _built_in(), size, WEIGHT)


@cache
def _built_in() -> cv2.FontFace:
    return cv2.FontFace("sans")


@lru_cache(maxsize=4096)
def _built_in_width(line: str) -> float:
    (_, _, width, _) = cv2.getTextSize((0, 0), line, (0, 0), _built_in(), _MEASURE_SIZE, WEIGHT)
    return float(width) / _MEASURE_SIZE


@lru_cache(maxsize=4096)
def _built_in_has(character: str) -> bool:
    if script_of(character) in _SHAPED or unicodedata.category(character).startswith("M"):
        return False  # it has some of them, but sets one beside the other
    # What it lacks it draws as a question mark.
    return character == "?" or not np.array_equal(_sample(character), _sample("?"))


def _sample(character: str) -> Mask:
    mask = np.zeros((2 * _SAMPLE, 3 * _SAMPLE), np.uint8)
    cv2.putText(mask, character, (_SAMPLE, round(1.4 * _SAMPLE)), (255,), _built_in(), _SAMPLE, WEIGHT)
    return mask


class FileFace:
    """A font file, shaped by HarfBuzz.

    Raises:
        OSError: the file is missing, or no font.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._font = lru_cache(maxsize=16)(self._load)
        self._missing = self._glyph(_NOT_A_CHARACTER)

    def _load(self, size: int) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(str(self.path), size, layout_engine=ImageFont.Layout.RAQM)

    def _glyph(self, character: str) -> tuple[tuple[int, int], bytes]:
        mask = self._font(_SAMPLE).getmask(character)
        return mask.size, bytes(mask)

    def has(self, character: str) -> bool:
        # A mark without its letter is drawn on a dotted circle, or not at all; it is there when its script is.
        return unicodedata.category(character).startswith("M") or self._glyph(character) != self._missing

    def width(self, line: str) -> float:
        direction = "rtl" if bidi.is_right_to_left(line) else "ltr"
        return self._font(_MEASURE_SIZE).getlength(line, direction=direction) / _MEASURE_SIZE

    def draw(self, mask: Mask, line: str, x: float, baseline: float, size: int, *, right_to_left: bool) -> None:
        picture = Image.new("L", (mask.shape[1], mask.shape[0]))
        direction = "rtl" if right_to_left else "ltr"
        ImageDraw.Draw(picture).text(
            (x, baseline), line, fill=255, font=self._font(size), anchor="ls", direction=direction
        )
        np.maximum(mask, np.asarray(picture), out=mask)


_SHAPED: Final = frozenset({Script.ARABIC, Script.DEVANAGARI, Script.THAI})
"""Scripts that are wrong without shaping, of those the project tells apart."""
_POINTS: Final = ("COMBINING", "ARABIC", "HEBREW", "VARIATION")
"""Names of the marks that are left out begin so (UnicodeData.txt)."""
BUILT_IN: Final = BuiltInFace()


@dataclass(frozen=True, slots=True)
class Wording:
    """A text that can be written.

    Attributes:
        text: cleaned, see `cleaned`; may be empty.
        face: writes every character of it.
        right_to_left: its direction.
    """

    text: str
    face: Face
    right_to_left: bool


def cleaned(text: str) -> str:
    """A text without what has no place on a sign: control and formatting characters, pictures (emoji), broken bytes.

    Letters are composed (NFC), lines kept, runs of spaces made one. Hebrew and Arabic lose their vowel points: signs
    do not have them, and they would be hardly visible.
    """
    lines = []
    for line in unicodedata.normalize("NFC", text).splitlines():
        # A tab is a control character, and a space all the same.
        kept = [" " if character.isspace() else character for character in line if _has_place(character)]
        words = "".join(kept).split()
        if words:
            lines.append(" ".join(words))
    return "\n".join(lines)


@lru_cache(maxsize=4096)
def _has_place(character: str) -> bool:
    kind = unicodedata.category(character)
    if character.isspace():
        return True
    if kind in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return False
    if kind in ("Mn", "Me"):
        # Of an accent that no letter has with it, the letter is kept. Vowels of other scripts are no points.
        return not unicodedata.name(character, "").startswith(_POINTS)
    # A picture that the built-in face lacks says nothing that a word does not. Letters and prices are never left out.
    return kind not in ("So", "Sk") or BUILT_IN.has(character)


class Fonts:
    """Finds a face for a text. Not thread-safe.

    Args:
        font: a font file for what the built-in face cannot write, tried before those of fontconfig; None for none.

    Raises:
        UsageError: the font file cannot be opened, or Pillow has no HarfBuzz.
    """

    def __init__(self, font: Path | None = None) -> None:
        self._own = None if font is None else _open(font)
        if font is not None and self._own is None:
            raise UsageError(f"{font} cannot be used as a font", hint="name a TrueType or OpenType file")
        self._found: dict[Script, FileFace | None] = {}
        self._chosen = lru_cache(maxsize=256)(self._choose)

    def wording(self, text: str) -> Wording | Script:
        """A text with a face that can write all of it, or the script that no face has."""
        return self._chosen(text)

    def _choose(self, text: str) -> Wording | Script:
        clean = cleaned(text)
        right_to_left = bidi.is_right_to_left(clean)
        characters = {character for character in clean if not character.isspace()}
        missing = sorted(character for character in characters if not BUILT_IN.has(character))
        if not missing:
            return Wording(clean, BUILT_IN, right_to_left)
        script = dominant_script("".join(missing))
        if self._own is not None and all(self._own.has(character) for character in characters):
            return Wording(clean, self._own, right_to_left)
        if script not in self._found:
            path = _match(missing)
            self._found[script] = None if path is None else _open(path)
        installed = self._found[script]
        if installed is not None and all(installed.has(character) for character in characters):
            return Wording(clean, installed, right_to_left)
        return script


def _open(path: Path) -> FileFace | None:
    """A font file as a face; None when it is none, or Pillow came without HarfBuzz."""
    if not features.check("raqm"):
        return None
    try:
        return FileFace(path)
    except OSError:
        return None


def _match(characters: list[str]) -> Path | None:
    """The installed font file that fontconfig would take for some characters; None without fontconfig."""
    program = shutil.which("fc-match")
    if program is None:
        return None
    # Bold, for letters on signs are: a regular face is too thin beside the built-in one at `WEIGHT`.
    pattern = "sans:bold:charset=" + " ".join(f"{ord(character):x}" for character in characters)
    try:
        answer = subprocess.run(
            [program, "--format=%{file}", pattern],
            capture_output=True,
            timeout=FONTCONFIG_TIMEOUT_S,
            check=True,
            encoding="utf-8",
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return Path(answer.stdout) if answer.stdout else None

"""Text that fits: measuring, wrapping and drawing with OpenCV's built-in fonts, and colours that can be read."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.geometry import ImageBgr

CAP_HEIGHT: Final = 0.74
"""Height of a capital letter in the built-in sans face, as a share of the font size (measured on "H")."""
LINE_PITCH: Final = 1.18
"""Distance of baselines, as a share of the font size."""
OVERHANG: Final = 0.24
"""Room for descenders below the last baseline and for accents above the first capital, share of the font size."""
WEIGHT: Final = 500
MINIMUM_CONTRAST: Final = 4.5
"""WCAG 2.2, success criterion 1.4.3."""
WHITE: Final = (255, 255, 255)
BLACK: Final = (16, 16, 16)
_MEASURE_SIZE: Final = 64

Colour = tuple[int, int, int]


@cache
def _face() -> cv2.FontFace:
    return cv2.FontFace("sans")


@lru_cache(maxsize=4096)
def _unit_width(text: str) -> float:
    """Width of a text, in font sizes."""
    (_, _, width, _) = cv2.getTextSize((0, 0), text, (0, 0), _face(), _MEASURE_SIZE, WEIGHT)
    return float(width) / _MEASURE_SIZE


@dataclass(frozen=True, slots=True)
class Layout:
    """A text broken into lines at a font size.

    Attributes:
        lines: top to bottom.
        size: of the font, in pixels.
        width: of the widest line, in pixels.
        height: from the top of an accented capital to the bottom of a descender, in pixels.
    """

    lines: tuple[str, ...]
    size: int
    width: float
    height: float

    @property
    def cap_height(self) -> float:
        """Height of a capital letter, in pixels."""
        return self.size * CAP_HEIGHT


def _is_ideographic(character: str) -> bool:
    """Whether a line may break before and after the character (UAX #14, class ID, roughly)."""
    return unicodedata.east_asian_width(character) in "WF"


def _words(text: str) -> list[tuple[str, bool]]:
    """Unbreakable pieces, each with whether a space precedes it."""
    pieces: list[tuple[str, bool]] = []
    for word in text.split():
        space = True
        run = ""
        for character in word:
            if _is_ideographic(character):
                if run:
                    pieces.append((run, space))
                    run, space = "", False
                pieces.append((character, space))
                space = False
            else:
                run += character
        if run:
            pieces.append((run, space))
    return pieces


def _wrap(paragraphs: list[list[tuple[str, bool]]], width: float) -> list[str] | None:
    """Break greedily at `width` (in font sizes); None when a piece is wider."""
    lines: list[str] = []
    for pieces in paragraphs:
        line = ""
        for piece, space in pieces:
            longer = f"{line} {piece}" if line and space else line + piece
            if _unit_width(longer) <= width:
                line = longer
                continue
            if not line or _unit_width(piece) > width:
                return None
            lines.append(line)
            line = piece
        if line:
            lines.append(line)
    return lines


def _layout(lines: list[str], size: int) -> Layout:
    width = max((_unit_width(line) for line in lines), default=0.0) * size
    height = (CAP_HEIGHT + 2 * OVERHANG + LINE_PITCH * (len(lines) - 1)) * size
    return Layout(tuple(lines), size, width, height)


def fit(text: str, width: float, height: float, largest: int) -> Layout | None:
    """The largest font size, and the line breaks, at which a text fits a box.

    Line breaks of the text are kept when that costs no font size.

    Args:
        text: not empty.
        width: of the box, in pixels.
        height: of the box, in pixels.
        largest: font size not to exceed, in pixels.

    Returns:
        None when the text fits at no size of 3 pixels or more.
    """
    flowing = [_words(text)]
    kept = [_words(line) for line in text.splitlines() if line.strip()]
    best: Layout | None = None
    for paragraphs in (kept, flowing):
        low, high = 2, max(3, largest)
        found: Layout | None = None
        while low < high:
            size = (low + high + 1) // 2
            lines = _wrap(paragraphs, width / size)
            layout = None if not lines else _layout(lines, size)
            if layout is not None and layout.height <= height:
                found, low = layout, size
            else:
                high = size - 1
        if found is not None and (best is None or found.size > best.size):
            best = found
    return best


def flow(text: str, width: float, size: int) -> Layout:
    """Break a text at about `width` pixels at a given font size; a longer word widens the box."""
    pieces = _words(text)
    widest = max((_unit_width(piece) for piece, _ in pieces), default=0.0)
    lines = _wrap([pieces], max(width / size, widest + 1e-6)) or [text]
    return _layout(lines, size)


def draw(image: ImageBgr, layout: Layout, colour: Colour) -> None:
    """Draw a layout centred on an image, in place."""
    height, width = image.shape[:2]
    top = (height - layout.height) / 2 + OVERHANG * layout.size
    for index, line in enumerate(layout.lines):
        x = (width - _unit_width(line) * layout.size) / 2
        baseline = top + (CAP_HEIGHT + LINE_PITCH * index) * layout.size
        cv2.putText(image, line, (round(x), round(baseline)), colour, _face(), layout.size, WEIGHT)


def luminance(colour: npt.ArrayLike) -> float:
    """Relative luminance of a BGR colour (0..255), 0..1 (WCAG 2.2)."""
    channels = np.asarray(colour, dtype=np.float64)[::-1] / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Contrast ratio of two BGR colours, 1..21 (WCAG 2.2)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def ink_for(background: npt.ArrayLike) -> Colour:
    """Black or white, whichever stands out more; at least `MINIMUM_CONTRAST` on any colour but a few mid greys."""
    return WHITE if contrast(WHITE, background) >= contrast(BLACK, background) else BLACK


def paper_for(background: npt.ArrayLike) -> Colour:
    """The background itself, moved away from the ink until the contrast is at least `MINIMUM_CONTRAST`."""
    colour = np.asarray(background, dtype=np.float64)
    ink = ink_for(colour)
    target = np.zeros(3) if ink == WHITE else np.full(3, 255.0)
    for share in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        moved = colour + (target - colour) * share
        if contrast(ink, moved) >= MINIMUM_CONTRAST:
            break
    blue, green, red = (int(value) for value in np.clip(np.round(moved), 0, 255))
    return (blue, green, red)

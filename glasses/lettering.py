"""Text in rows that fits a box: measuring, wrapping, balancing and drawing."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from glasses.colours import Colour
from glasses.faces import CAP_HEIGHT, Face, Mask, Wording
from shared.geometry import ImageBgr
from shared.models.script import Script, script_of

LINE_PITCH: Final = 1.18
"""Distance of baselines, as a share of the font size."""
OVERHANG: Final = 0.24
"""Room for descenders below the last baseline and for accents above the first capital, share of the font size."""
SMALLEST: Final = 3
"""Font size below which nothing is tried, in pixels."""
KEEP_SHARE: Final = 0.85
"""Line breaks are kept as long as the letters are at least so large as with the best ones."""
BALANCE_STEPS: Final = 6
SMALL_KANA: Final = frozenset("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ")
NOT_FIRST: Final = SMALL_KANA | frozenset("、。，．・：；？！」』）】〕］｝〉》ー々…‥,.:;?!)]}»”’%")
"""No line begins with these (JIS X 4051, characters not starting a line, abridged)."""
NOT_LAST: Final = frozenset("「『（【〔［｛〈《([{«“‘¿¡")
"""No line ends with these (JIS X 4051, characters not ending a line, abridged)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is never broken: a word, or an ideograph with the punctuation that belongs to it.

    Attributes:
        text: not empty.
        space: whether a space precedes it.
        width: in font sizes.
        gap: width of that space, in font sizes.
    """

    text: str
    space: bool
    width: float
    gap: float


@dataclass(frozen=True, slots=True)
class Layout:
    """A text broken into lines at a font size.

    Attributes:
        wording: whose face writes it.
        lines: in logical order; rows from top to bottom, columns from right to left.
        size: of the font, in pixels.
        width: in pixels; of rows, that of the widest.
        height: in pixels; of rows, from the top of an accented capital to the bottom of a descender.
        columns: whether the lines run downwards.
    """

    wording: Wording
    lines: tuple[str, ...]
    size: int
    width: float
    height: float
    columns: bool = False

    @property
    def cap_height(self) -> float:
        """Height of a capital letter, in pixels."""
        return self.size * CAP_HEIGHT


def is_ideographic(character: str) -> bool:
    """Whether a line may break before and after the character (UAX #14, class ID, roughly)."""
    return unicodedata.east_asian_width(character) in "WF"


@lru_cache(maxsize=64)
def pieces_of(text: str, face: Face) -> tuple[Piece, ...]:
    """The unbreakable pieces of a text."""
    pieces: list[Piece] = []
    gap = face.width("a a") - face.width("aa")
    for word in text.split():
        space, run = True, ""
        for part in _parts(word):
            ties = bool(run) and (part[0] in NOT_FIRST or run[-1] in NOT_LAST)
            if run and not ties:
                pieces.append(Piece(run, space, face.width(run), gap))
                space, run = False, ""
            run += part
        pieces.append(Piece(run, space, face.width(run), gap))
    return tuple(pieces)


def _parts(word: str) -> list[str]:
    """Ideographs one by one, everything else in runs. Korean is broken at its spaces."""
    parts: list[str] = []
    broken = True
    for character in word:
        ideographic = is_ideographic(character) and script_of(character) is not Script.HANGUL
        if broken or ideographic:
            parts.append(character)
        else:
            parts[-1] += character
        broken = ideographic
    return parts


def _wrap(paragraphs: Sequence[Sequence[Piece]], width: float) -> list[str] | None:
    """Break greedily at `width` (in font sizes); None when a piece is wider."""
    lines: list[str] = []
    for pieces in paragraphs:
        line: list[str] = []
        used = 0.0
        for piece in pieces:
            if piece.width > width:
                return None
            gap = piece.gap if piece.space and line else 0.0
            if line and used + gap + piece.width > width:
                lines.append("".join(line))
                line, used, gap = [], 0.0, 0.0
            line.append(f" {piece.text}" if gap else piece.text)
            used += gap + piece.width
        if line:
            lines.append("".join(line))
    return lines


def _height(lines: int, size: float) -> float:
    return (CAP_HEIGHT + 2 * OVERHANG + LINE_PITCH * (lines - 1)) * size


def _layout(wording: Wording, lines: Sequence[str], size: int) -> Layout:
    width = max((wording.face.width(line) for line in lines), default=0.0) * size
    return Layout(wording, tuple(lines), size, width, _height(len(lines), size))


def _balanced(paragraphs: Sequence[Sequence[Piece]], lines: list[str], width: float) -> list[str]:
    """The same number of lines, as equally long as greedy breaking can make them."""
    low, high = 0.5 * width, width
    for _ in range(BALANCE_STEPS):
        middle = (low + high) / 2
        narrower = _wrap(paragraphs, middle)
        if narrower is not None and len(narrower) == len(lines):
            lines, high = narrower, middle
        else:
            low = middle
    return lines


def _largest(
    wording: Wording, paragraphs: Sequence[Sequence[Piece]], width: float, height: float, sizes: range
) -> Layout | None:
    low, high = 0, len(sizes)
    found: Layout | None = None
    while low < high:
        middle = (low + high) // 2
        size = sizes[middle]
        lines = _wrap(paragraphs, width / size)
        if lines and _height(len(lines), size) <= height:
            lines = _balanced(paragraphs, lines, width / size) if len(lines) > 1 else lines
            layout = _layout(wording, lines, size)
            # Pieces are measured alone: kerning and rounding may make a line a little wider than its pieces.
            if layout.width <= width:
                found, low = layout, middle + 1
                continue
        high = middle
    return found


def fit(
    wording: Wording,
    width: float,
    height: float,
    largest: int,
    *,
    smallest: int = SMALLEST,
    keep: Sequence[str] = (),
) -> Layout | None:
    """The largest font size, and the line breaks, at which a text fits a box.

    Line breaks of the text are kept when that costs no font size.

    Args:
        wording: not empty.
        width: of the box, in pixels.
        height: of the box, in pixels.
        largest: font size not to exceed, in pixels.
        smallest: font size not to go below, in pixels.
        keep: lines the text was broken into before; they are kept unless better ones are clearly larger
            (`KEEP_SHARE`).

    Returns:
        None when the text fits at no such size.
    """
    face = wording.face
    sizes = range(smallest, max(smallest, largest) + 1)
    flowing = pieces_of(wording.text, face)
    # However it is broken, it has this area: a text far too long is not tried at all.
    if sum(piece.width for piece in flowing) * LINE_PITCH * smallest**2 > width * height:
        return None
    kept = [pieces_of(line, face) for line in wording.text.split("\n")]
    best = _largest(wording, kept, width, height, sizes)
    if len(kept) > 1:
        reflowed = _largest(wording, [flowing], width, height, sizes)
        if reflowed is not None and (best is None or reflowed.size > best.size):
            best = reflowed
    if best is None or not keep or tuple(keep) == best.lines:
        return best
    widest = max(face.width(line) for line in keep)
    size = int(min(width / widest, height / _height(len(keep), 1.0), largest))
    return _layout(wording, keep, size) if size >= KEEP_SHARE * best.size and size >= smallest else best


@lru_cache(maxsize=64)
def flow(wording: Wording, width: float, size: int) -> Layout:
    """Break a text at about `width` pixels at a given font size; a longer word widens the box."""
    pieces = pieces_of(wording.text, wording.face)
    limit = max([width / size, *(piece.width for piece in pieces)])
    lines = _wrap([pieces], limit) or [wording.text]
    return _layout(wording, _balanced([pieces], lines, limit), size)


def in_one_line(wording: Wording, width: float, largest: int) -> Layout:
    """A text on one line that is never broken, at the largest font size up to `largest` at which it fits `width`."""
    size = max(SMALLEST, min(largest, int(width / max(wording.face.width(wording.text), 1e-6))))
    return _layout(wording, [wording.text], size)


def draw(layout: Layout, width: int, height: int) -> Mask:
    """The ink of a layout in rows, centred on a box of `width` x `height` pixels."""
    mask = np.zeros((height, width), np.uint8)
    top = (height - layout.height) / 2 + OVERHANG * layout.size
    face, right_to_left = layout.wording.face, layout.wording.right_to_left
    for index, line in enumerate(layout.lines):
        x = (width - face.width(line) * layout.size) / 2
        baseline = top + (CAP_HEIGHT + LINE_PITCH * index) * layout.size
        face.draw(mask, line, x, baseline, layout.size, right_to_left=right_to_left)
    return mask


def tinted(mask: Mask, paper: Colour, ink: Colour) -> ImageBgr:
    """Ink on paper, where a mask says how much."""
    share = np.arange(256, dtype=np.float64)[:, None, None] / 255
    table = np.round(np.array(paper) * (1 - share) + np.array(ink) * share).astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR), table), dtype=np.uint8)

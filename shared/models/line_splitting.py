"""Which characters of a row belong to one line: cells that were found as one are separated.

Menus and tables have nothing but a gap between their cells. The recogniser says where along the line it saw each
character; what decides is the white between two neighbours, in ems:

* a word space of ordinary type is a quarter, that of Chinese and Japanese a whole character: what is wider separates
  cells, unless all letters of the line are spaced out so;
* a number behind a Chinese or Japanese text, a little apart, is a price: both are written without spaces.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import Final

import numpy as np

from shared.geometry import Quad, side_lengths
from shared.models.recognition import Recognition

CELL_GAP: Final = 0.9
"""Least white between cells, in ems: sizes of the type."""
WIDE_CELL_GAP: Final = 1.3
"""The same between two Chinese, Japanese or Korean characters: more than the ideographic space."""
PRICE_GAP: Final = 0.38
"""The same between such a character and a price."""
SEEN_PRICE_GAP: Final = 0.15
"""The same where the recogniser answers with a space."""
SPACED_OUT: Final = 1.9
"""Cells are at least so many median distances between neighbours apart."""
EM: Final = 0.8
"""Size of the type in heights of a line as detectors find it."""
NARROW_CHARACTER: Final = 0.52
"""Width of a character that is not a square one, in ems, about."""


def cell_starts(look: Recognition, *, width: float, height: float) -> list[int]:
    """Index of the first character of each cell of a line.

    Args:
        look: what was read, with positions; without them the line is one cell.
        width: of the line, in pixels.
        height: of the line, in pixels.
    """
    solid = [index for index, character in enumerate(look.text) if not character.isspace()]
    if len(look.positions) != len(look.text) or len(solid) < 2:
        return [0]
    letters = "".join(look.text[index] for index in solid)
    em = em_of(look, width=width, height=height)
    distances = np.diff([look.positions[index] for index in solid]) * (width / em)
    usual = float(np.median(distances))
    starts = [0]
    for place, distance in enumerate(distances):
        first, second = letters[place], letters[place + 1]
        white = float(distance) - (character_width(first) + character_width(second)) / 2
        if _price_between(letters, place):
            spaced = solid[place + 1] - solid[place] > 1  # the recogniser saw the gap too
            apart = white > (SEEN_PRICE_GAP if spaced else PRICE_GAP)
        else:
            apart = white > cell_gap(first, second) and distance > SPACED_OUT * usual
        if apart:
            starts.append(solid[place + 1])
    return starts


def em_of(look: Recognition, *, width: float, height: float) -> float:
    """Size of a line's type, in pixels: the usual distance of its square characters, or a share of its height.

    Detectors leave more or less room around a line, so its own characters are the better measure; not when they are
    spaced out.
    """
    steps = [
        (right - left) * width
        for (first, left), (second, right) in pairwise(zip(look.text, look.positions, strict=False))
        if is_wide(first) and is_wide(second)
    ]
    usual = EM * height
    return min(max(float(np.median(steps)), 0.6 * usual), usual) if len(steps) > 1 else usual


def _price_between(letters: str, place: int) -> bool:
    """Whether a price begins after a character of a Chinese or Japanese text, or ends at it before more such text."""
    first, second = letters[place], letters[place + 1]
    if is_wide(first) and second.isdigit():
        number = "".join(takewhile(lambda character: not is_wide(character), letters[place + 1 :]))
        return is_number(number)
    if first.isdigit() and is_wide(second):
        # A number at the start of a line counts something: only one that follows a text is its price.
        return any(is_wide(character) for character in letters[:place])
    return is_wide(first) and is_number(letters[place + 1 :])


def split_line(look: Recognition, quad: Quad) -> list[tuple[Recognition, Quad]]:
    """The cells of a line, each with what it says and its place.

    Args:
        look: see `cell_starts`.
        quad: the line, its first corner where reading starts.
    """
    width, height = side_lengths(quad)
    starts = cell_starts(look, width=width, height=height)
    if len(starts) == 1:
        return [(look, quad)]
    parts = []
    reach = 0.5 * height / width  # half a character, and some room
    for start, end in zip(starts, [*starts[1:], len(look.text)], strict=True):
        end = start + len(look.text[start:end].rstrip())
        left = 0.0 if start == 0 else _edge(look.positions, start, before=True, reach=reach)
        right = 1.0 if end == len(look.text) else _edge(look.positions, end - 1, before=False, reach=reach)
        if right <= left:
            return [(look, quad)]  # characters read beyond the end of the line, all in one place: no cells
        places = tuple((place - left) / (right - left) for place in look.positions[start:end])
        part = _recognition(look.text[start:end], look.character_confidences[start:end], places)
        parts.append((part, between(quad, left, right)))
    return parts


def _edge(positions: Sequence[float], index: int, *, before: bool, reach: float) -> float:
    """Where a cell ends beside its outer character: at most half-way to the next cell's."""
    if before:
        return max(positions[index] - reach, (positions[index] + positions[index - 1]) / 2, 0.0)
    return min(positions[index] + reach, (positions[index] + positions[index + 1]) / 2, 1.0)


def between(quad: Quad, left: float, right: float) -> Quad:
    """The part of a line between two shares of its width."""
    top, bottom = quad[1] - quad[0], quad[2] - quad[3]
    corners = [quad[0] + left * top, quad[0] + right * top, quad[3] + right * bottom, quad[3] + left * bottom]
    return np.asarray(corners, dtype=np.float32)


def cell_gap(first: str, second: str) -> float:
    """Least white between two characters of different cells, in ems."""
    return WIDE_CELL_GAP if is_wide(first) and is_wide(second) else CELL_GAP


def character_width(character: str) -> float:
    """Width of a character, in ems, about."""
    return 1.0 if is_wide(character) else NARROW_CHARACTER


def is_wide(character: str) -> bool:
    """Whether a character fills a square (UAX #11, East Asian Width)."""
    return unicodedata.east_asian_width(character) in {"W", "F"}


def is_number(text: str) -> bool:
    """Whether a text is a number or a price: digits, and at most so many letters as the name of a currency."""
    digits = sum(character.isdigit() for character in text)
    return digits > 0 and sum(character.isalpha() for character in text) <= min(digits, 3)


def _recognition(text: str, confidences: tuple[float, ...], places: tuple[float, ...]) -> Recognition:
    return Recognition(text, sum(confidences) / len(confidences), min(confidences), confidences, places)

"""Chinese, Japanese and Korean in columns: characters stand upright from top to bottom, columns go from right to left.

What lies on its side in a column (brackets, dashes, the long-vowel mark, runs of Latin letters) is turned a quarter
clockwise, numbers of one or two digits stand in one cell, and commas, full stops and small kana move to the upper right
of theirs (UAX #50, orientations U, R, Tu and Tr).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from glasses.faces import Face, Mask, Wording
from glasses.lettering import LINE_PITCH, NOT_FIRST, NOT_LAST, SMALL_KANA, SMALLEST, Layout, is_ideographic
from shared.models.script import Script, scripts_of

CELL: Final = 1.083
"""Height of a character's cell, in font sizes: the advance of the built-in face's ideographs (measured)."""
MIDDLE: Final = 0.396
"""The middle of an ideograph lies so far above the baseline, in font sizes (measured on 永)."""
MARGIN: Final = 0.12
"""Room around the columns, in font sizes."""
EAST_ASIAN_SHARE: Final = 0.5
"""A text with at least this share of its letters in Han, kana or Hangul may stand in columns."""
SHORT_NUMBER: Final = 2
"""Digits that stand side by side in one cell."""
SPACE: Final = 0.4
"""Length of a space, in font sizes."""
TURNED: Final = frozenset("ー〜～…‥—–―-‐=＝:：;；「」『』（）【】〔〕［］｛｝〈〉《》()[]{}<>")
RAISED: Final = frozenset("、。，．")
RAISE: Final = 0.7
"""Commas and full stops move so far to the right and up, in font sizes: from the lower left to the upper right."""
SMALL_KANA_SHIFT: Final = 0.12


@dataclass(frozen=True, slots=True)
class _Cell:
    """What is not broken in a column; `length` downwards in font sizes."""

    text: str
    turned: bool
    length: float


def suits(text: str) -> bool:
    """Whether a text is one that is also written in columns."""
    shares = scripts_of(text)
    east_asian = sum(shares.get(script, 0.0) for script in (Script.HAN, Script.KANA, Script.HANGUL))
    return east_asian >= EAST_ASIAN_SHARE


def _cells(text: str, face: Face) -> list[_Cell]:
    cells: list[_Cell] = []
    for word in text.split():
        if cells:
            cells.append(_Cell(" ", turned=False, length=SPACE))
        run = ""
        for character in f"{word}\n":
            upright = is_ideographic(character) or character in TURNED
            if run and (upright or character == "\n"):
                cells.append(_run(run, face))
                run = ""
            if character == "\n":
                break
            if upright:
                length = face.width(character) if not is_ideographic(character) else CELL
                cells.append(_Cell(character, character in TURNED, length))
            else:
                run += character
    return cells


def _run(run: str, face: Face) -> _Cell:
    if len(run) <= SHORT_NUMBER and (run.isdigit() or len(run) == 1):
        return _Cell(run, turned=False, length=CELL)
    return _Cell(run, turned=True, length=face.width(run) + 0.1)


def _tied(cells: Sequence[_Cell]) -> list[list[_Cell]]:
    """Cells that stay in one column: punctuation with the character it belongs to."""
    groups: list[list[_Cell]] = []
    for cell in cells:
        if groups and (cell.text[0] in NOT_FIRST or groups[-1][-1].text[-1] in NOT_LAST):
            groups[-1].append(cell)
        else:
            groups.append([cell])
    return groups


def _wrap(groups: Sequence[Sequence[_Cell]], limit: float) -> list[list[_Cell]] | None:
    """Break greedily at `limit` (in font sizes); None when a group is longer."""
    columns: list[list[_Cell]] = []
    used = limit
    for group in groups:
        length = _length(group)
        if length > limit:
            return None
        if used + length > limit:
            columns.append([])
            used = 0.0
        if columns[-1] or group[0].text != " ":
            columns[-1] += group
            used += length
    return [column for column in columns if column]


def _length(cells: Sequence[_Cell]) -> float:
    return sum(cell.length for cell in cells)


def _extent(columns: Sequence[Sequence[_Cell]]) -> tuple[float, float]:
    """Width and height, in font sizes."""
    height = max(_length(column) for column in columns)
    return CELL + LINE_PITCH * (len(columns) - 1) + 2 * MARGIN, height + 2 * MARGIN


def fit(wording: Wording, width: float, height: float, largest: int, *, smallest: int = SMALLEST) -> Layout | None:
    """The largest font size, and the breaks, at which a text fits a box in columns.

    Args:
        wording: not empty.
        width: of the box, in pixels.
        height: of the box, in pixels.
        largest: font size not to exceed, in pixels.
        smallest: font size not to go below, in pixels.

    Returns:
        None when the text fits at no such size.
    """
    groups = _tied(_cells(wording.text, wording.face))
    # However it is broken, it has this area: a text far too long is not tried at all.
    if sum(_length(group) for group in groups) * LINE_PITCH * smallest**2 > width * height:
        return None
    sizes = range(smallest, max(smallest, largest) + 1)
    low, high = 0, len(sizes)
    found: Layout | None = None
    while low < high:
        middle = (low + high) // 2
        size = sizes[middle]
        columns = _wrap(groups, height / size - 2 * MARGIN)
        across, down = _extent(columns) if columns else (math.inf, math.inf)
        if columns and across * size <= width:
            lines = tuple("".join(cell.text for cell in column) for column in columns)
            found, low = Layout(wording, lines, size, across * size, down * size, columns=True), middle + 1
        else:
            high = middle
    return found


def draw(layout: Layout, width: int, height: int) -> Mask:
    """The ink of a layout in columns, centred on a box of `width` x `height` pixels."""
    mask = np.zeros((height, width), np.uint8)
    size, face = layout.size, layout.wording.face
    x = (width + layout.width) / 2 - (MARGIN + CELL / 2) * size
    top = (height - layout.height) / 2 + MARGIN * size
    for line in layout.lines:
        y = top
        for cell in _cells(line, face):
            middle = y + cell.length * size / 2
            if cell.turned:
                _draw_turned(mask, face, cell, x, middle, size)
            else:
                _draw_upright(mask, face, cell, x, middle, size)
            y += cell.length * size
        x -= LINE_PITCH * size
    return mask


def _draw_upright(mask: Mask, face: Face, cell: _Cell, x: float, y: float, size: int) -> None:
    if cell.text in RAISED:
        x, y = x + RAISE * size, y - RAISE * size
    elif cell.text in SMALL_KANA:
        x, y = x + SMALL_KANA_SHIFT * size, y - SMALL_KANA_SHIFT * size
    # A number of two digits is a little wider than its cell, and would touch the next column.
    size = max(1, int(min(size, size * CELL / max(face.width(cell.text), 1e-6))))
    left = x - face.width(cell.text) * size / 2
    face.draw(mask, cell.text, left, y + MIDDLE * size, size, right_to_left=False)


def _draw_turned(mask: Mask, face: Face, cell: _Cell, x: float, y: float, size: int) -> None:
    """Draw a run lying on its right side, its middle at (x, y)."""
    length, across = round(face.width(cell.text) * size) + 2, round(1.5 * size)
    lying = np.zeros((across, length), np.uint8)
    face.draw(lying, cell.text, 1, across / 2 + MIDDLE * size, size, right_to_left=False)
    standing = np.rot90(lying, k=-1)
    left, top = round(x - across / 2), round(y - length / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + across, mask.shape[1]), min(top + length, mask.shape[0])
    if x0 < x1 and y0 < y1:
        window = mask[y0:y1, x0:x1]
        np.maximum(window, standing[y0 - top : y1 - top, x0 - left : x1 - left], out=window)

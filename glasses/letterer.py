"""How a text is lettered on a sign: in rows, in columns or turned, and how large; or not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from glasses import columns, lettering
from glasses.colours import Colour, ink_for, paper_for
from glasses.faces import CAP_HEIGHT, Mask, Wording
from glasses.lettering import Layout
from shared.geometry import Quad, side_lengths
from shared.models.rectify import VERTICAL_RATIO

TEXT_SHARE: Final = 0.94
"""Text takes at most this share of its sign's width (of its height where it is turned)."""
SIGN_LIKE_RATIO: Final = 1.3
"""Letters get at most so much larger than the sign's own."""
OVERSAMPLING: Final = 2.0
"""Letters are drawn so much larger than they appear, so that the warp does not blur them."""
BUFFER_SIDE: Final = 1600
REDRAW_RATIO: Final = 1.2
"""A label is lettered anew when the sign appears so much larger or smaller: in between it is only warped."""
ASPECT_RATIO: Final = 1.4
"""It is also lettered anew when its shape has changed so much: seen from the front after all, or grown."""
TURN_GAIN: Final = 1.5
"""A text is turned by a quarter where its letters get so much larger by it: turned words are read more slowly."""
STAY_TURNED_GAIN: Final = 1.2


@dataclass(frozen=True, slots=True)
class Lettered:
    """A text's letters, drawn once upright, to be warped onto every frame.

    Attributes:
        layout: its lines, at the size the sign had.
        size: width and height of the sign when it was lettered, in pixels of the frame.
        mask: the ink.
        paper: BGR.
        ink: BGR.
        turned: whether it is read downwards, a quarter clockwise.
    """

    layout: Layout
    size: tuple[float, float]
    mask: Mask
    paper: Colour
    ink: Colour
    turned: bool

    def fits(self, quad: Quad, legible: float) -> bool:
        """Whether it only needs to be warped to lie on a quad, and can be read there."""
        width, height = side_lengths(quad)
        ratio = height / self.size[1]
        aspect = (width / height) / (self.size[0] / self.size[1])
        return (
            1 / REDRAW_RATIO < ratio < REDRAW_RATIO
            and 1 / ASPECT_RATIO < aspect < ASPECT_RATIO
            and self.layout.cap_height * min(ratio, ratio * aspect) >= legible
        )

    def corners(self, quad: Quad) -> Quad:
        """The corners of a quad in the order of the mask's: top left first."""
        return np.roll(quad, -1, axis=0) if self.turned else quad


def letter(
    wording: Wording,
    quad: Quad,
    text_height: float,
    background: npt.NDArray[np.float64],
    legible: float,
    before: Lettered | None,
) -> Lettered | None:
    """Letter a text on a sign.

    Args:
        wording: not empty.
        quad: of the sign in the frame.
        text_height: of the sign's own lines, in pixels of the frame.
        background: BGR of the sign, 0..255, shape (3,).
        legible: lowest height of a capital, in pixels of the frame.
        before: how the text was lettered so far; its line breaks and direction are kept unless it clearly pays.

    Returns:
        None when the letters would be too small to read.
    """
    width, height = side_lengths(quad)
    largest = max(4, round(SIGN_LIKE_RATIO * text_height))
    smallest = math.ceil(legible / CAP_HEIGHT)
    if largest < smallest:
        return None
    layout, turned = _choose(wording, width, height, (smallest, largest), before)
    if layout is None:
        return None
    across, down = (height, width) if turned else (width, height)
    scale = min(OVERSAMPLING, BUFFER_SIDE / max(width, height))
    size = max(2, round(across * scale)), max(2, round(down * scale))
    fine = replace(
        layout, size=max(2, int(layout.size * scale)), width=layout.width * scale, height=layout.height * scale
    )
    mask = columns.draw(fine, *size) if layout.columns else lettering.draw(fine, *size)
    paper = paper_for(background)
    return Lettered(layout, (width, height), mask, paper, ink_for(paper), turned)


def _choose(
    wording: Wording, width: float, height: float, sizes: tuple[int, int], before: Lettered | None
) -> tuple[Layout | None, bool]:
    smallest, largest = sizes
    tall = height >= VERTICAL_RATIO * width
    if tall and columns.suits(wording.text):
        layout = columns.fit(wording, width, TEXT_SHARE * height, largest, smallest=smallest)
        if layout is not None:
            return layout, False
    keep = before.layout.lines if before is not None and not before.layout.columns else ()
    turned_before = before is not None and before.turned
    rows = lettering.fit(
        wording, TEXT_SHARE * width, height, largest, smallest=smallest, keep=() if turned_before else keep
    )
    if not tall:
        return rows, False
    turned = lettering.fit(
        wording, TEXT_SHARE * height, width, largest, smallest=smallest, keep=keep if turned_before else ()
    )
    gain = STAY_TURNED_GAIN if turned_before else TURN_GAIN
    if turned is not None and (rows is None or turned.size > gain * rows.size):
        return turned, True
    return rows, False

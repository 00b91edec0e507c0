"""What the wearer is asked while a phone pairs: a solid box over the lower edge of the augmented view.

The number has to be read at a glance and compared with the one on the phone, so it is large and has a paper of its own:
what lies behind it does not matter, and no label is drawn after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from glasses import lettering
from glasses.colours import BLACK, WHITE
from glasses.faces import Fonts, Wording
from glasses.lettering import Layout
from shared.geometry import ImageBgr

QUESTION: Final = "Same on the phone? Press yes or no"
NOTE: Final = "Pairing mode"
NUMBER_SHARE: Final = 0.2
"""Font size of the number, as a share of the view's height; less where the view is narrow."""
QUESTION_SHARE: Final = 0.066
NOTE_SHARE: Final = 0.05
"""Capitals of 13 px on a display of 360: above the 9 px of `overlay.LEGIBLE_CAP_PX`."""
WIDTH_SHARE: Final = 0.9
"""Text is never wider than this share of the view."""
_PAD: Final = 0.5  # around the text, in font sizes of the smaller text
_MARGIN_SHARE: Final = 0.04  # between box and edge of the view, share of its height


@dataclass(frozen=True, slots=True)
class Pairing:
    """What the wearer is to know while pairing mode is open.

    Attributes:
        number: six digits to compare; empty while there are none yet.
    """

    number: str = ""


class Banner:
    """Draws it; what was drawn last is kept, so that a frame costs a copy of the box, or nothing.

    Args:
        fonts: of the letters.
    """

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts
        self._key: tuple[Pairing, tuple[int, int]] | None = None
        self._box: ImageBgr = np.zeros((0, 0, 3), np.uint8)

    def draw(self, image: ImageBgr, pairing: Pairing | None) -> None:
        """Draw onto an image (uint8 of shape (height, width, 3)), in place; None draws nothing."""
        if pairing is None:
            return
        shape = (image.shape[0], image.shape[1])
        if self._key != (pairing, shape):
            self._box = self._render(pairing, shape)
            self._key = (pairing, shape)
        height, width = self._box.shape[:2]
        x = (shape[1] - width) // 2
        y = max(0, shape[0] - height - round(_MARGIN_SHARE * shape[0]))
        image[y : y + height, x : x + width] = self._box

    def _render(self, pairing: Pairing, shape: tuple[int, int]) -> ImageBgr:
        if pairing.number:
            grouped = f"{pairing.number[:3]} {pairing.number[3:]}"
            rows = [self._row(grouped, NUMBER_SHARE, shape), self._row(QUESTION, QUESTION_SHARE, shape)]
        else:
            rows = [self._row(NOTE, NOTE_SHARE, shape)]
        pad = round(_PAD * rows[-1].size)
        width = min(shape[1], max(round(row.width) for row in rows) + 2 * pad)
        masks = [lettering.draw(row, width, round(row.height)) for row in rows]
        edge = np.zeros((pad // 2, width), np.uint8)
        mask = np.vstack([edge, *masks, edge])[: shape[0]]
        line = max(1, round(shape[0] / 240))
        mask[:line] = mask[-line:] = 255
        mask[:, :line] = mask[:, -line:] = 255
        return lettering.tinted(mask, BLACK, WHITE)

    def _row(self, text: str, share: float, shape: tuple[int, int]) -> Layout:
        wording = self._fonts.wording(text)
        assert isinstance(wording, Wording), "the built-in face has Latin letters and digits"
        return lettering.in_one_line(wording, WIDTH_SHARE * shape[1], round(share * shape[0]))

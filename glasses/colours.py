"""Colours that can be read: ink and paper with a contrast that the standard asks for."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
"""BGR, 0..255."""

MINIMUM_CONTRAST: Final = 4.5
"""WCAG 2.2, success criterion 1.4.3."""
WHITE: Final[Colour] = (255, 255, 255)
BLACK: Final[Colour] = (16, 16, 16)


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
    colour = np.clip(np.nan_to_num(np.asarray(background, dtype=np.float64)), 0, 255)
    ink = ink_for(colour)
    target = np.zeros(3) if ink == WHITE else np.full(3, 255.0)
    for share in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        moved = colour + (target - colour) * share
        if contrast(ink, moved) >= MINIMUM_CONTRAST:
            break
    blue, green, red = (int(value) for value in np.round(moved))
    return (blue, green, red)

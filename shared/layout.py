"""Which lines of a frame form one sign. Pure geometry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.geometry import Quad

SIGN_GAP: Final = 1.0
"""Lines of one sign are less than this many line heights apart."""
SIGN_HEIGHT_RATIO: Final = 2.5
"""Lines of one sign differ in height by less than this factor."""


def group_signs(quads: Sequence[Quad]) -> list[list[int]]:
    """Indices of the lines of each sign: a line joins the sign whose last line lies just above it.

    Args:
        quads: lines in reading order, in pixels of one picture.

    Returns:
        One list of indices per sign, in the order of their first lines.
    """
    signs: list[list[int]] = []
    for index, quad in enumerate(quads):
        for sign in signs:
            if _continues(quads[sign[-1]], quad):
                sign.append(index)
                break
        else:
            signs.append([index])
    return signs


def _continues(above: Quad, below: Quad) -> bool:
    """Whether the box around one line may be the next line of the other's sign."""
    (left_a, top_a), (right_a, bottom_a) = above.min(axis=0), above.max(axis=0)
    (left_b, top_b), (right_b, bottom_b) = below.min(axis=0), below.max(axis=0)
    lower, higher = sorted((max(float(bottom_a - top_a), 1.0), max(float(bottom_b - top_b), 1.0)))
    gap = float(top_b - bottom_a)
    shared_width = float(min(right_a, right_b) - max(left_a, left_b))
    return higher / lower < SIGN_HEIGHT_RATIO and -lower / 2 < gap < SIGN_GAP * lower and shared_width > 0

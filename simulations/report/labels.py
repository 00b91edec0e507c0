"""Where the labels of marks go so that they cover neither marks nor each other. Pure, and the same every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LETTER_10PX: Final = 5.3
"""Width of a letter at 10 px, in pixels, for room only."""
HEIGHT: Final = 11.0
_MARK: Final = 5.5
"""Half a mark with its halo."""
_LEADER: Final = 16.0
"""A label further from its mark than this needs a line to it."""
_FAR: Final = 0.7
"""Cost of a pixel between a mark and its label; covering costs by the square pixel, see `place_labels`."""
_RINGS: Final = (7.0, 12.0, 18.0, 26.0, 36.0, 48.0, 62.0)
_DIRECTIONS: Final = (
    (1.0, -0.5), (1.0, 0.5), (-1.0, -0.5), (-1.0, 0.5), (0.0, -1.0), (0.0, 1.0), (1.0, 0.0), (-1.0, 0.0),
    (0.7, -1.0), (0.7, 1.0), (-0.7, -1.0), (-0.7, 1.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area in common."""
        if self.right <= other.left or other.right <= self.left or self.bottom <= other.top or other.bottom <= self.top:
            return 0.0
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height

    def outside(self, bounds: Box) -> float:
        """Area beyond the bounds."""
        return (self.right - self.left) * (self.bottom - self.top) - self.overlap(bounds)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one label stands.

    Attributes:
        x, y: of its baseline, where `anchor` says.
        anchor: "start", "middle" or "end", the side nearest to the mark, so that a wrong guess of its width shows on
            the other.
        box: what it covers.
        leader: whether a line has to lead to its mark.
    """

    x: float
    y: float
    anchor: str
    box: Box
    leader: bool


def place_labels(
    marks: Sequence[tuple[float, float]], labels: Sequence[str], bounds: Box, *, taken: Sequence[Box] = ()
) -> list[Place | None]:
    """Place the labels one after the other, each where it is in the way least, and nearest of equals.

    Args:
        marks: places of all marks, pixels; the label of the same index belongs to each.
        labels: empty for a mark without one.
        bounds: within which labels stand if they can.
        taken: what else should not be covered much, such as whiskers.

    Returns:
        A place for each label; None for an empty one.
    """
    solid = [Box(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in marks]
    written: list[Box] = []
    places: list[Place | None] = []
    for (x, y), label in zip(marks, labels, strict=True):
        if not label:
            places.append(None)
            continue
        best: tuple[float, Place] | None = None
        for ring in _RINGS:
            if best is not None and best[0] <= _FAR * ring:
                break  # nothing further out can cost less
            for across, down in _DIRECTIONS:
                place = _candidate(x, y, label, ring, across, down)
                cost = (
                    4.0 * sum(place.box.overlap(other) for other in (*solid, *written))
                    + 20.0 * place.box.outside(bounds)
                    + 0.6 * sum(place.box.overlap(other) for other in taken)
                    + _FAR * ring
                )
                if best is None or cost < best[0] - 1e-9:
                    best = cost, place
        assert best is not None
        written.append(best[1].box)
        places.append(best[1])
    return places


def _candidate(x: float, y: float, label: str, ring: float, across: float, down: float) -> Place:
    width = len(label) * LETTER_10PX
    middle_x, middle_y = x + across * ring, y + down * ring
    anchor, share = ("start", 0.0) if across > 0 else ("end", 1.0) if across < 0 else ("middle", 0.5)
    left = middle_x - share * width
    top = middle_y - HEIGHT / 2
    box = Box(left, top, left + width, top + HEIGHT)
    return Place(middle_x, top + HEIGHT - 2.5, anchor, box, math.hypot(across * ring, down * ring) > _LEADER)

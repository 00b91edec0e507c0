"""Pieces of one line that were found apart: spaced-out letters, and the characters of a loosely set column.

Pure geometry. Only short pieces, about as wide as high, are joined: a word is no piece. A chain runs along a row or
down a column, whichever has the smaller gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.geometry import Quad
from shared.layout import LineAxes, axes_of

PIECE_RATIO: Final = 1.7
"""A piece is at most so many times as long as high."""
SIZE_RATIO: Final = 1.45
"""Pieces of one chain differ at most so much in size."""
GAP_SIZES: Final = 0.9
"""Largest gap between two pieces, in their sizes."""
OFFSET_SIZES: Final = 0.25
"""How far a piece may be off the chain's direction, in its sizes."""
LONGEST_CHAIN: Final = 24
"""Pieces of one chain; longer ones are texture."""

Points = npt.NDArray[np.float64]


def chains(quads: Sequence[Quad]) -> list[list[int]]:
    """Pieces that may be one line, in the order in which they follow each other.

    Args:
        quads: of everything found, in pixels of one picture.

    Returns:
        Indices of the pieces of each chain, two or more, rightwards or downwards; no piece is in two chains.
    """
    axes = [axes_of(quad) for quad in quads]
    pieces = [index for index, line in enumerate(axes) if 0 < line.length <= PIECE_RATIO * line.height]
    centres = np.array([line.centre for line in axes])
    sizes = np.array([(line.length + line.height) / 2 for line in axes])
    following: dict[int, _Step] = {}
    for index in pieces:
        steps = [_next(index, downwards, centres, sizes, axes) for downwards in (False, True)]
        best = min((step for step in steps if step is not None), key=lambda step: step.gap, default=None)
        if best is not None:
            following[index] = best
    before = {(step.target, step.downwards): index for index, step in following.items()}
    taken: set[int] = set()
    found = []
    # From the smallest gap on: where a row and a column compete for a piece, the closer neighbours have it.
    for start in sorted(following, key=lambda index: following[index].gap):
        if start in taken:
            continue
        downwards = following[start].downwards
        chain = [start]
        while len(chain) < LONGEST_CHAIN:
            step = following.get(chain[-1])
            if step is None or step.downwards != downwards or step.target in taken or step.target in chain:
                break
            chain.append(step.target)
        while len(chain) < LONGEST_CHAIN:
            earlier = before.get((chain[0], downwards))
            if earlier is None or earlier in taken or earlier in chain:
                break
            chain.insert(0, earlier)
        if len(chain) > 1:
            found.append(chain)
            taken.update(chain)
    return found


def joined(quads: Sequence[Quad]) -> Quad:
    """The line around the pieces of a chain, read from the first to the last.

    Args:
        quads: of the pieces, in order.
    """
    points = np.concatenate(quads).astype(np.float64)
    along = quads[-1].mean(axis=0).astype(np.float64) - quads[0].mean(axis=0)
    along /= max(float(np.linalg.norm(along)), 1e-9)
    across = np.array([-along[1], along[0]])
    u, v = points @ along, points @ across
    corners = [(u.min(), v.min()), (u.max(), v.min()), (u.max(), v.max()), (u.min(), v.max())]
    return np.asarray([x * along + y * across for x, y in corners], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Step:
    gap: float
    target: int
    downwards: bool


def _next(index: int, downwards: bool, centres: Points, sizes: Points, axes: Sequence[LineAxes]) -> _Step | None:
    """The nearest piece to the right or below, and the gap in sizes.

    None where there is none, and where the nearest of anything in that direction is no fitting piece.
    """
    offset = centres - centres[index]
    ahead, aside = (offset[:, 1], offset[:, 0]) if downwards else (offset[:, 0], offset[:, 1])
    size = sizes[index]
    near = np.flatnonzero((ahead > 0.3 * size) & (np.abs(aside) < OFFSET_SIZES * size + 0.12 * np.abs(ahead)))
    if not len(near):
        return None
    other = int(near[np.argmin(ahead[near])])
    gap = float(ahead[other] - (size + sizes[other]) / 2) / float(min(size, sizes[other]))
    fits = axes[other].length <= PIECE_RATIO * axes[other].height
    alike = max(size, sizes[other]) <= SIZE_RATIO * min(size, sizes[other])
    return _Step(gap, other, downwards) if fits and alike and gap < GAP_SIZES else None

"""Plates: signs as they are painted, seen straight on and sharp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from shared.errors import InputError
from shared.geometry import ImageBgr, Quad
from shared.models.script import Script
from simulations.rendered_lines import Ink
from simulations.traces.typefaces import SIZE, Typeface, script_of

COLOURS: Final = (
    ((140, 60, 20), (250, 250, 250)),
    ((60, 120, 20), (250, 250, 250)),
    ((235, 240, 240), (25, 25, 25)),
    ((245, 245, 245), (150, 60, 20)),
    ((245, 245, 245), (40, 30, 190)),
    ((30, 30, 30), (90, 230, 255)),
    ((40, 200, 250), (20, 20, 20)),
    ((40, 30, 190), (245, 245, 245)),
    ((200, 220, 235), (40, 40, 110)),
    ((70, 55, 45), (225, 225, 225)),
    ((35, 70, 95), (190, 225, 240)),
    ((120, 150, 160), (60, 75, 80)),
)
"""Ground and ink, BGR: enamel, paint, chalk, wood, worn metal."""


@dataclass(frozen=True)
class Plate:
    """A painted sign.

    Attributes:
        picture: BGR uint8 of shape (height, width, 3).
        quads: of each line in it, clockwise from the top-left corner, in pixels.
    """

    picture: ImageBgr
    quads: tuple[Quad, ...]

    @property
    def letter_height(self) -> float:
        """Height of the ink of its lowest line, in pixels."""
        return min(float(quad[3, 1] - quad[0, 1]) for quad in self.quads)


def paint(lines: Sequence[str], sizes: Sequence[float], typeface: Typeface, rng: np.random.Generator) -> Plate:
    """Paint a sign.

    Args:
        lines: top to bottom.
        sizes: of each line, as a share of the largest.
        typeface: that can write them.
        rng: colours, spacing, alignment, border, wear and pictogram are drawn from it.

    Raises:
        InputError: the typeface cannot write a line.
    """
    spaced = script_of("\n".join(lines)) is Script.LATIN
    tracking = float(rng.uniform(0.1, 0.45)) if spaced and rng.random() < 0.1 else 0.0
    space = float(rng.uniform(0.45, 0.95)) if spaced and not tracking and rng.random() < 0.4 else 1.0
    inks = []
    for line, size in zip(lines, sizes, strict=True):
        ink = typeface.ink(line, tracking=tracking, space=space) if tracking else typeface.ink(line, space=space)
        ink = typeface.ink(line) if ink is None else ink
        if ink is None:
            raise InputError(f"the typeface {typeface.family} cannot write a line of the set")
        inks.append(_scaled(ink, size))
    gap = float(rng.uniform(0.45, 0.8)) * SIZE * float(np.mean(sizes))
    margins = [float(share) * SIZE for share in rng.uniform((0.35, 0.35, 0.3, 0.3), 1.1)]
    symbol = _symbol(rng, sum(ink.shape[0] for ink in inks) + gap * (len(inks) - 1)) if rng.random() < 0.2 else None
    aside = 0.0 if symbol is None else symbol.shape[1] + 0.5 * SIZE
    widest = max(ink.shape[1] for ink in inks)
    width = round(margins[2] + aside + widest + margins[3])
    height = round(margins[0] + sum(ink.shape[0] for ink in inks) + gap * (len(inks) - 1) + margins[1])
    centred = rng.random() < 0.6
    sheet = np.zeros((height, width), np.float32)
    quads = []
    y = margins[0]
    for ink in inks:
        x = margins[2] + aside + ((widest - ink.shape[1]) / 2 if centred else 0.0)
        quads.append(_put(sheet, ink, round(x), round(y)))
        y += ink.shape[0] + gap
    if symbol is not None:
        _put(sheet, symbol, round(margins[2]), max(0, (height - symbol.shape[0]) // 2))
    if rng.random() < 0.4:
        thick = int(rng.integers(3, 8))
        inset = int(rng.integers(2, max(3, round(min(margins) * 0.35))))
        cv2.rectangle(sheet, (inset, inset), (width - 1 - inset, height - 1 - inset), 1.0, thick)
    return Plate(_coloured(sheet, rng), tuple(quads))


def _coloured(sheet: Ink, rng: np.random.Generator) -> ImageBgr:
    """Ink and ground in colours, worn and unevenly lit by chance."""
    ground, letters = (np.array(colour, np.float32) for colour in COLOURS[int(rng.integers(len(COLOURS)))])
    ground = np.clip(ground + rng.normal(0, 12, 3), 0, 255)
    letters = np.clip(letters + rng.normal(0, 8, 3), 0, 255)
    if rng.random() < 0.2:  # faded
        letters = ground + (letters - ground) * float(rng.uniform(0.35, 0.8))
    height, width = sheet.shape
    picture = (ground + (letters - ground) * sheet[..., np.newaxis]).astype(np.float32)
    coarse = rng.normal(0, float(rng.uniform(0, 9)), (max(2, height // 24), max(2, width // 24))).astype(np.float32)
    dirt = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    slope = np.linspace(0, float(rng.uniform(-30, 30)), width, dtype=np.float32)
    picture += np.asarray(dirt, np.float32)[..., np.newaxis] + slope[np.newaxis, :, np.newaxis]
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _symbol(rng: np.random.Generator, height: float) -> Ink:
    """An arrow or a ring with a bar, as high as the text or two lines of it."""
    side = round(min(max(height, SIZE), 2.5 * SIZE))
    ink = np.zeros((side, side), np.float32)
    middle, thick = side // 2, max(4, side // 10)
    if rng.random() < 0.5:
        start, end = ((side - 1, middle), (0, middle)) if rng.random() < 0.5 else ((0, middle), (side - 1, middle))
        cv2.arrowedLine(ink, start, end, 1.0, thick, cv2.LINE_AA, tipLength=0.4)
    else:
        cv2.circle(ink, (middle, middle), middle - thick, 1.0, thick, cv2.LINE_AA)
        cv2.line(ink, (side // 5, side // 5), (side - side // 5, side - side // 5), 1.0, thick, cv2.LINE_AA)
    return ink


def _scaled(ink: Ink, size: float) -> Ink:
    if size == 1.0:
        return ink
    shape = (max(2, round(ink.shape[1] * size)), max(3, round(ink.shape[0] * size)))
    return np.asarray(cv2.resize(ink, shape, interpolation=cv2.INTER_AREA), np.float32)


def _put(sheet: Ink, ink: Ink, x: int, y: int) -> Quad:
    """Lay ink on a sheet; returns the quad around it."""
    h, w = min(ink.shape[0], sheet.shape[0] - y), min(ink.shape[1], sheet.shape[1] - x)
    np.maximum(sheet[y : y + h, x : x + w], ink[:h, :w], out=sheet[y : y + h, x : x + w])
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)

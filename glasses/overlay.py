"""Draws what signs mean onto the frame: on the sign where it can be read there, beside it where it cannot.

Provisional answers have a dashed amber outline, settled ones a solid green one. A sign that has no answer, or whose
text is left as it is, keeps its own letters under a thin outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses import lettering
from glasses.lettering import Colour, Layout
from shared.geometry import Homography, ImageBgr, Quad, area, side_lengths

AMBER: Final[Colour] = (0, 176, 255)
GREEN: Final[Colour] = (96, 200, 64)
GREY: Final[Colour] = (190, 190, 190)
COVER: Final = 0.97
"""Opacity of the fill: nearly covers the sign's own letters, so that the two texts cannot be confused."""
GROW: Final = 0.12
"""The fill reaches so much beyond the lines, as a share of the text height."""
LEGIBLE_CAP_PX: Final = 11.0
LEGIBLE_CAP_SHARE: Final = 0.0125
"""Capitals lower than this (pixels, or share of the frame's height if that is more) are enlarged beside the sign."""
BOX_CAP_SHARE: Final = 1.25
"""Capitals in a box beside the sign are so much higher than the lowest legible ones."""
BOX_WIDTH_SHARE: Final = 0.3
"""Boxes are wrapped at this share of the frame's width."""
REDRAW_RATIO: Final = 1.2
"""A label is lettered anew when the sign appears so much larger or smaller: in between it is only warped."""
BUFFER_SIDE: Final = 1600
CROWDED_SHARE: Final = 0.1
"""A box that would cover this share of another label is left out."""
SLOTS: Final = (
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (2, 0),
    (1, 1),
    (2, 1),
    (1, 2),
    (2, 2),
    (0, 3),
    (0, 4),
    (1, 3),
    (2, 3),
    (1, 4),
    (2, 4),
)
"""Places for a box around its sign: column (over, right, left) and row (over, below, above, further), best first."""
MAX_DASHES: Final = 400
"""Dashes and gaps of one side of an outline."""
SIGN_LIKE_RATIO: Final = 1.3
"""Letters get at most so much larger than the sign's own."""


class LabelStyle(Enum):
    """How sure the label is."""

    PENDING = "pending"
    UNCHANGED = "unchanged"
    PROVISIONAL = "provisional"
    SETTLED = "settled"

    @property
    def colour(self) -> Colour:
        """Of its outline."""
        return {LabelStyle.PROVISIONAL: AMBER, LabelStyle.SETTLED: GREEN}.get(self, GREY)


@dataclass(frozen=True, slots=True)
class Label:
    """What is to be drawn for one sign.

    Attributes:
        key: stays the same from frame to frame.
        quad: around the sign's lines in this frame.
        text_height: of the sign's own lines in this frame, in pixels.
        text: the translation; empty for PENDING and UNCHANGED.
        style: how sure it is.
        background: BGR of the sign, 0..255, shape (3,).
        strength: 1 for a followed sign, down to 0 as it fades.
    """

    key: tuple[int, int]
    quad: Quad
    text_height: float
    text: str
    style: LabelStyle
    background: npt.NDArray[np.float64]
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class _Lettered:
    """A label's letters, drawn once upright and warped onto every frame."""

    text: str
    size: tuple[float, float]
    buffer: ImageBgr
    cap_height: float


@dataclass(frozen=True, slots=True)
class _Box:
    """A box beside a sign; x0, y0, x1, y1 in pixels."""

    rectangle: tuple[int, int, int, int]
    layout: Layout
    slot: int


Rectangle = tuple[int, int, int, int]


def _shared_area(first: Rectangle, second: Rectangle) -> int:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0, width) * max(0, height)


def _bounds(quad: Quad, shape: tuple[int, int], pad: int = 4) -> Rectangle:
    low = np.floor(quad.min(axis=0)).astype(int) - pad
    high = np.ceil(quad.max(axis=0)).astype(int) + pad + 1
    height, width = shape
    return (
        int(np.clip(low[0], 0, width)),
        int(np.clip(low[1], 0, height)),
        int(np.clip(high[0], 0, width)),
        int(np.clip(high[1], 0, height)),
    )


def grown(quad: Quad, pixels: float) -> Quad:
    """Move every side of a quad outwards by about `pixels`."""
    right = quad[1] + quad[2] - quad[0] - quad[3]
    down = quad[2] + quad[3] - quad[0] - quad[1]
    right = right / max(float(np.linalg.norm(right)), 1e-6) * pixels
    down = down / max(float(np.linalg.norm(down)), 1e-6) * pixels
    return np.asarray(quad + np.stack([-right - down, right - down, right + down, down - right]), dtype=np.float32)


class Overlay:
    """Draws labels; remembers how it lettered and placed them, so that they stay calm from frame to frame."""

    def __init__(self) -> None:
        self._lettered: dict[tuple[int, int], _Lettered] = {}
        self._boxed: dict[tuple[int, int], int] = {}

    def draw(self, frame: ImageBgr, labels: Sequence[Label]) -> ImageBgr:
        """Draw labels onto a copy of a frame (uint8 of shape (height, width, 3))."""
        image = frame.copy()
        shape = (image.shape[0], image.shape[1])
        labels = [label for label in labels if label.strength > 0 and self._visible(label, shape)]
        # Small ones last: a large sign's label does not hide them.
        labels.sort(key=lambda label: -area(label.quad))
        keys = {label.key for label in labels}
        self._lettered = {key: value for key, value in self._lettered.items() if key in keys}
        self._boxed = {key: value for key, value in self._boxed.items() if key in keys}
        boxed: list[Label] = []
        taken: list[Rectangle] = []
        for label in labels:
            label = replace(label, quad=grown(label.quad, GROW * label.text_height))
            lettered = self._letter(label, shape[0]) if label.text else None
            if label.text and lettered is None:
                boxed.append(label)
                continue
            self._with_strength(image, label, label.quad, lettered)
            if label.text:
                taken.append(_bounds(label.quad, shape, pad=0))
        others = {label.key: _bounds(label.quad, shape, pad=0) for label in labels}
        for label in boxed:
            self._outline(image, label.quad, label.style, label.strength)
        for label in boxed:
            box = self._place(label, shape, taken, [other for key, other in others.items() if key != label.key])
            if box is None:
                self._boxed.pop(label.key, None)
                continue
            self._boxed[label.key] = box.slot
            taken.append(box.rectangle)
            self._draw_box(image, label, box)
        return image

    @staticmethod
    def _visible(label: Label, shape: tuple[int, int]) -> bool:
        if not np.isfinite(label.quad).all() or not cv2.isContourConvex(label.quad):
            return False
        x0, y0, x1, y1 = _bounds(label.quad, shape, pad=0)
        return x1 - x0 > 2 and y1 - y0 > 2

    # On the sign -----------------------------------------------------------------------------------------

    def _letter(self, label: Label, frame_height: int) -> _Lettered | None:
        """Letters for a label on its sign; None when they would be too small to read."""
        width, height = side_lengths(label.quad)
        legible = max(LEGIBLE_CAP_PX, LEGIBLE_CAP_SHARE * frame_height)
        # A label changes between on-the-sign and beside it only when it clearly pays.
        legible *= 1.1 if label.key in self._boxed else 0.95
        known = self._lettered.get(label.key)
        if known is not None and known.text == label.text:
            ratio = height / known.size[1]
            if 1 / REDRAW_RATIO < ratio < REDRAW_RATIO and known.cap_height * ratio >= legible:
                return known
        largest = max(4, round(SIGN_LIKE_RATIO * label.text_height))
        layout = lettering.fit(label.text, 0.94 * width, height, largest)
        if layout is None or layout.cap_height < legible:
            return None
        # Lettered at twice the size, so that the warp does not blur the letters.
        scale = min(2.0, BUFFER_SIDE / max(width, height))
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        buffer = np.empty((size[1], size[0], 3), np.uint8)
        paper = lettering.paper_for(label.background)
        buffer[:] = paper
        fine = lettering.fit(label.text, 0.94 * size[0], size[1], round(largest * scale))
        if fine is None:
            return None
        lettering.draw(buffer, fine, lettering.ink_for(paper))
        lettered = _Lettered(label.text, (width, height), buffer, fine.cap_height / scale)
        self._lettered[label.key] = lettered
        return lettered

    def _with_strength(self, image: ImageBgr, label: Label, quad: Quad, lettered: _Lettered | None) -> None:
        if lettered is not None:
            self._warp_onto(image, lettered.buffer, quad, COVER * label.strength)
        self._outline(image, quad, label.style, label.strength)

    @staticmethod
    def _warp_onto(image: ImageBgr, buffer: ImageBgr, quad: Quad, opacity: float) -> None:
        x0, y0, x1, y1 = _bounds(quad, (image.shape[0], image.shape[1]))
        height, width = buffer.shape[:2]
        corners = np.array(
            [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]], np.float32
        )
        local = np.asarray(quad - np.array([x0, y0], np.float32), dtype=np.float32)
        matrix: Homography = np.asarray(cv2.getPerspectiveTransform(corners, local), dtype=np.float64)
        size = (x1 - x0, y1 - y0)
        letters = cv2.warpPerspective(
            buffer, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)
        mask = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillConvexPoly(mask, np.round(local * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
        share = (mask.astype(np.float32) * (opacity / 255))[:, :, None]
        window = image[y0:y1, x0:x1]
        window[:] = np.round(window * (1 - share) + letters * share).astype(np.uint8)

    @staticmethod
    def _outline(image: ImageBgr, quad: Quad, style: LabelStyle, strength: float) -> None:
        """A closed outline: dashed and amber, solid and green, or thin and grey."""
        shape = (image.shape[0], image.shape[1])
        x0, y0, x1, y1 = _bounds(quad, shape)
        thickness = max(1, round(shape[0] / 480)) if style in (LabelStyle.PROVISIONAL, LabelStyle.SETTLED) else 1
        window = image[y0:y1, x0:x1]
        before = window.copy()
        local = quad - np.array([x0, y0], np.float32)
        if style is LabelStyle.PROVISIONAL:
            for start, end in zip(local, np.roll(local, -1, axis=0), strict=True):
                length = float(np.linalg.norm(end - start))
                # A side that reaches far out of the frame has no more dashes than one that fills it.
                dash = max(5.0, shape[0] / 100, length / MAX_DASHES)
                for at in np.arange(0, length, 2 * dash):
                    first = start + (end - start) * (at / max(length, 1e-6))
                    last = start + (end - start) * (min(at + dash, length) / max(length, 1e-6))
                    points = np.round(np.stack([first, last]) * 16).astype(np.int32)
                    cv2.polylines(window, [points], False, style.colour, thickness, cv2.LINE_AA, 4)
        else:
            points = np.round(local * 16).astype(np.int32)
            cv2.polylines(window, [points], True, style.colour, thickness, cv2.LINE_AA, 4)
        if strength < 1:
            window[:] = cv2.addWeighted(window, strength, before, 1 - strength, 0)

    # Beside the sign -------------------------------------------------------------------------------------

    def _place(
        self, label: Label, shape: tuple[int, int], taken: Sequence[Rectangle], others: Sequence[Rectangle]
    ) -> _Box | None:
        """Where a box fits: over the sign if possible, else beside it; None when it is too crowded there."""
        height, width = shape
        cap = BOX_CAP_SHARE * max(LEGIBLE_CAP_PX, LEGIBLE_CAP_SHARE * height)
        size = round(cap / lettering.CAP_HEIGHT)
        layout = lettering.flow(label.text, BOX_WIDTH_SHARE * width, size)
        box_width, box_height = round(layout.width + 0.6 * size), round(layout.height + 0.3 * size)
        if box_width >= width or box_height >= height:
            return None
        x0, y0, x1, y1 = _bounds(label.quad, shape, pad=2)
        middle_x, middle_y = (x0 + x1 - box_width) // 2, (y0 + y1 - box_height) // 2
        columns = (middle_x, x1, x0 - box_width)
        rows = (middle_y, y1, y0 - box_height, y1 + box_height, y0 - 2 * box_height)
        # Nearest first: over the sign, just below, just above, to the sides, and further away.
        corners = [(columns[column], rows[row]) for column, row in SLOTS]
        best: tuple[float, _Box] | None = None
        for slot, (x, y) in enumerate(corners):
            x = int(np.clip(x, 0, width - box_width))
            y = int(np.clip(y, 0, height - box_height))
            rectangle = (x, y, x + box_width, y + box_height)
            if any(_shared_area(rectangle, one) > CROWDED_SHARE * _smaller(rectangle, one) for one in taken):
                continue
            cost = sum(_shared_area(rectangle, one) for one in others) / (box_width * box_height) + 0.04 * slot
            if self._boxed.get(label.key) == slot:
                cost -= 0.5
            if best is None or cost < best[0]:
                best = (cost, _Box(rectangle, layout, slot))
        return None if best is None else best[1]

    @staticmethod
    def _draw_box(image: ImageBgr, label: Label, box: _Box) -> None:
        x0, y0, x1, y1 = box.rectangle
        paper = lettering.paper_for(label.background)
        picture = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        picture[:] = paper
        lettering.draw(picture, box.layout, lettering.ink_for(paper))
        opacity = COVER * label.strength
        window = image[y0:y1, x0:x1]
        window[:] = cv2.addWeighted(picture, opacity, window, 1 - opacity, 0)
        corners = np.array([[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]], np.float32)
        Overlay._outline(image, corners, label.style, label.strength)


def _smaller(first: Rectangle, second: Rectangle) -> int:
    return min((first[2] - first[0]) * (first[3] - first[1]), (second[2] - second[0]) * (second[3] - second[1]))

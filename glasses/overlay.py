"""Draws what signs mean onto the frame: on the sign where it can be read there, beside it where it cannot.

Provisional answers have a dashed amber outline, settled ones a solid green one. A sign that has no answer, whose text
is left as it is, or whose translation no face can write, keeps its own letters under a thin outline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses import callouts, lettering
from glasses.callouts import Rectangle, bounds
from glasses.colours import Colour, ink_for, paper_for
from glasses.faces import CAP_HEIGHT, Fonts, Mask, Wording
from glasses.letterer import Lettered, letter
from glasses.stabiliser import PoseState
from shared.geometry import Homography, ImageBgr, Quad, area, side_lengths
from shared.models.script import Script

AMBER: Final[Colour] = (0, 176, 255)
GREEN: Final[Colour] = (96, 200, 64)
GREY: Final[Colour] = (190, 190, 190)
COVER: Final = 0.97
"""Opacity of the fill: nearly covers the sign's own letters, so that the two texts cannot be confused."""
GROW: Final = 0.12
"""The fill reaches so much beyond the lines, as a share of the text height."""
LEGIBLE_CAP_PX: Final = 9.0
"""Lowest capitals that are lettered on a sign: those of a 7 x 9 matrix, which ISO 9241-3 asks for in running text.

Measured: of labels drawn at 640x360 on slanted signs the small recogniser reads every one from 7.5 px (Latin) and 8 px
(Japanese) up, 79 and 75 % at 6 and 6.7 px.
"""
LEGIBLE_CAP_SHARE: Final = 0.0125
"""Capitals lower than this (pixels, or share of the frame's height if that is more) are enlarged beside the sign."""
LEAVE_SHARE, RETURN_SHARE = 0.95, 1.1
"""A label changes between on-the-sign and beside it only when it clearly pays: shares of the legible height."""
RETRY_RATIO: Final = 1.05
"""Whether a text can go on its sign is tried again when the sign is so much wider or higher."""
BOX_CAP_SHARE: Final = 1.25
"""Capitals in a box beside the sign are so much higher than the lowest legible ones."""
BOX_WIDTH_SHARE: Final = 0.3
"""Boxes are wrapped at this share of the frame's width."""
MAX_DASHES: Final = 400
"""Dashes and gaps of one side of an outline."""
MAX_REACH: Final = 50.0
"""A quad that reaches so many frame sizes out of the frame comes from a broken pose."""
MIN_AREA: Final = 4.0
"""Square pixels of a quad that can be seen."""

Key = tuple[int, int]
"""Names a label: region id, and index of its line where each line has a label."""


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
        state: how its pose was found.
        quality: of its pose, 0..1.
        strength: 1 for a followed sign, down to 0 as it fades; see `glasses.steadying`.
        previous: the text that gives way to `text`.
        mix: share of `text` in that, 0..1.
    """

    key: Key
    quad: Quad
    text_height: float
    text: str
    style: LabelStyle
    background: npt.NDArray[np.float64]
    state: PoseState = PoseState.TRACKED
    quality: float = 1.0
    strength: float = 1.0
    previous: str = ""
    mix: float = 1.0

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """The texts to be seen, oldest first, with their shares."""
        parts = ((self.previous, 1.0 - self.mix), (self.text, self.mix))
        return tuple((text, share) for text, share in parts if text and share > 0)


@dataclass(frozen=True, slots=True)
class _Boxed:
    """A text that goes beside its sign."""

    label: Label
    wording: Wording
    share: float


def grown(quad: Quad, pixels: float) -> Quad:
    """Move every side of a quad outwards by about `pixels`."""
    right = quad[1] + quad[2] - quad[0] - quad[3]
    down = quad[2] + quad[3] - quad[0] - quad[1]
    right = right / max(float(np.linalg.norm(right)), 1e-6) * pixels
    down = down / max(float(np.linalg.norm(down)), 1e-6) * pixels
    return np.asarray(quad + np.stack([-right - down, right - down, right + down, down - right]), dtype=np.float32)


def _visible(label: Label, shape: tuple[int, int]) -> bool:
    quad = label.quad
    if not (np.isfinite(quad).all() and np.isfinite(label.text_height) and label.strength > 0):
        return False
    if np.abs(quad).max() > MAX_REACH * max(shape) or area(quad) < MIN_AREA or not cv2.isContourConvex(quad):
        return False
    x0, y0, x1, y1 = bounds(quad, shape, pad=0)
    return x1 - x0 > 2 and y1 - y0 > 2


class Overlay:
    """Draws labels; remembers how it lettered and placed them, so that they stay calm from frame to frame.

    Args:
        fonts: of the letters.
    """

    def __init__(self, fonts: Fonts | None = None) -> None:
        self._fonts = fonts or Fonts()
        self._lettered: dict[tuple[Key, str], Lettered] = {}
        self._refused: dict[tuple[Key, str], tuple[float, float]] = {}
        self._boxed: dict[Key, int] = {}
        self._unwritable: dict[Key, Script] = {}

    @property
    def unwritable(self) -> Mapping[Key, Script]:
        """Labels of the last frame that keep the sign's own letters, and the script no face could write."""
        return self._unwritable

    def draw(self, frame: ImageBgr, labels: Sequence[Label]) -> ImageBgr:
        """Draw labels onto a copy of a frame (uint8 of shape (height, width, 3))."""
        image = frame.copy()
        shape = (image.shape[0], image.shape[1])
        labels = [
            replace(label, quad=grown(label.quad, GROW * label.text_height))
            for label in labels
            if _visible(label, shape)
        ]
        # Small ones last: a large sign's label does not hide them.
        labels.sort(key=lambda label: -area(label.quad))
        self._forget(labels)
        boxed: list[_Boxed] = []
        taken: list[Rectangle] = []
        for label in labels:
            on_sign, beside = self._arrange(label, shape[0])
            if on_sign:
                _cover(image, label, on_sign)
                taken.append(bounds(label.quad, shape, pad=0))
            _outline(image, label.quad, self._style(label), label.strength)
            boxed += beside
        # Those that have a place keep it: newcomers look for one around them.
        boxed.sort(key=lambda one: one.label.key not in self._boxed)
        rectangles = {label.key: bounds(label.quad, shape, pad=0) for label in labels}
        self._draw_boxes(image, boxed, taken, rectangles)
        return image

    def _forget(self, labels: Sequence[Label]) -> None:
        """Of labels no longer drawn nothing is kept."""
        keys = {label.key for label in labels}
        wanted = {(label.key, text) for label in labels for text, _ in label.parts}
        self._lettered = {key: value for key, value in self._lettered.items() if key in wanted}
        self._refused = {key: value for key, value in self._refused.items() if key in wanted}
        self._boxed = {key: value for key, value in self._boxed.items() if key in keys}
        self._unwritable = {}

    def _style(self, label: Label) -> LabelStyle:
        return LabelStyle.UNCHANGED if label.key in self._unwritable else label.style

    def _arrange(self, label: Label, frame_height: int) -> tuple[list[tuple[Lettered, float]], list[_Boxed]]:
        """What of a label's texts goes on the sign and what beside it, with their shares."""
        on_sign: list[tuple[Lettered, float]] = []
        beside: list[_Boxed] = []
        legible = max(LEGIBLE_CAP_PX, LEGIBLE_CAP_SHARE * frame_height)
        legible *= RETURN_SHARE if label.key in self._boxed else LEAVE_SHARE
        for text, share in label.parts:
            wording = self._fonts.wording(text)
            if isinstance(wording, Script):
                self._unwritable[label.key] = wording
            elif wording.text:
                lettered = self._letter(label, text, wording, legible)
                if lettered is None:
                    beside.append(_Boxed(label, wording, share))
                else:
                    on_sign.append((lettered, share))
        if not beside:
            self._boxed.pop(label.key, None)
        return on_sign, beside

    def _letter(self, label: Label, text: str, wording: Wording, legible: float) -> Lettered | None:
        known = self._lettered.get((label.key, text))
        if known is not None and known.fits(label.quad, legible):
            return known
        size = side_lengths(label.quad)
        refused = self._refused.get((label.key, text))
        if refused is not None and max(size[0] / refused[0], size[1] / refused[1]) < RETRY_RATIO:
            return None
        lettered = letter(wording, label.quad, label.text_height, label.background, legible, known)
        if lettered is None:
            self._refused[label.key, text] = size
        else:
            self._lettered[label.key, text] = lettered
            self._refused.pop((label.key, text), None)
        return lettered

    def _draw_boxes(
        self, image: ImageBgr, boxed: Sequence[_Boxed], taken: list[Rectangle], signs: Mapping[Key, Rectangle]
    ) -> None:
        """Draw boxes beside their signs, as far as there is room."""
        shape = (image.shape[0], image.shape[1])
        size = round(BOX_CAP_SHARE * max(LEGIBLE_CAP_PX, LEGIBLE_CAP_SHARE * shape[0]) / CAP_HEIGHT)
        occupied: dict[Key, list[Rectangle]] = {}
        for one in boxed:
            key = one.label.key
            layout = lettering.flow(one.wording, BOX_WIDTH_SHARE * shape[1], size)
            placed = callouts.place(
                one.label.quad,
                (round(layout.width + 0.6 * size), round(layout.height + 0.3 * size)),
                shape,
                # The text that gives way and the one that comes may lie on each other.
                taken=taken + [spot for other, spots in occupied.items() if other != key for spot in spots],
                others=[rectangle for other, rectangle in signs.items() if other != key],
                before=self._boxed.get(key),
            )
            if placed is None:
                self._boxed.pop(key, None)
                continue
            rectangle, self._boxed[key] = placed
            occupied.setdefault(key, []).append(rectangle)
            width, height = rectangle[2] - rectangle[0], rectangle[3] - rectangle[1]
            mask = lettering.draw(layout, width, height)
            _draw_box(image, one.label, mask, rectangle, one.share)


def _opacity(strength: float) -> float:
    """Of paper and letters. Half covered, two texts are seen and none is read: a fading label hurries through that."""
    return COVER * (1 - (1 - strength) ** 2)


def _cover(image: ImageBgr, label: Label, parts: Sequence[tuple[Lettered, float]]) -> None:
    """Lay one text, or two of which one gives way, on a sign."""
    x0, y0, x1, y1 = bounds(label.quad, (image.shape[0], image.shape[1]))
    size = (x1 - x0, y1 - y0)
    local = np.asarray(label.quad - np.array([x0, y0], np.float32), dtype=np.float32)
    total = sum(share for _, share in parts)
    letters = np.zeros((size[1], size[0]), np.uint8)
    for lettered, share in parts:
        height, width = lettered.mask.shape
        corners = np.array(
            [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]], np.float32
        )
        target = np.ascontiguousarray(lettered.corners(local))
        matrix: Homography = np.asarray(cv2.getPerspectiveTransform(corners, target), dtype=np.float64)
        warped = cv2.warpPerspective(lettered.mask, matrix, size, flags=cv2.INTER_LINEAR)
        letters = np.asarray(cv2.addWeighted(letters, 1.0, warped, share / total, 0), dtype=np.uint8)
    newest = parts[-1][0]
    cover = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(cover, np.round(local * 16).astype(np.int32), (255,), cv2.LINE_AA, 4)
    weight = cover.astype(np.float32) * np.float32(_opacity(label.strength) * total / 255)
    window = image[y0:y1, x0:x1]
    window[:] = cv2.blendLinear(lettering.tinted(letters, newest.paper, newest.ink), window, weight, 1 - weight)


def _outline(image: ImageBgr, quad: Quad, style: LabelStyle, strength: float) -> None:
    """A closed outline: dashed and amber, solid and green, or thin and grey."""
    shape = (image.shape[0], image.shape[1])
    x0, y0, x1, y1 = bounds(quad, shape)
    thickness = max(1, round(shape[0] / 480)) if style in (LabelStyle.PROVISIONAL, LabelStyle.SETTLED) else 1
    window = image[y0:y1, x0:x1]
    before = window.copy() if strength < 1 else window
    local = quad - np.array([x0, y0], np.float32)
    dashed = style is LabelStyle.PROVISIONAL
    lines = _dashes(local, shape[0]) if dashed else local[None]
    cv2.polylines(
        window, list(np.round(lines * 16).astype(np.int32)), not dashed, style.colour, thickness, cv2.LINE_AA, 4
    )
    if strength < 1:
        window[:] = cv2.addWeighted(window, strength, before, 1 - strength, 0)


def _dashes(quad: Quad, frame_height: int) -> npt.NDArray[np.float32]:
    """Both ends of every dash, of shape (n, 2, 2)."""
    dashes = []
    for start, end in zip(quad, quad[[1, 2, 3, 0]], strict=True):
        length = max(math.dist(start, end), 1e-6)
        # A side that reaches far out of the frame has no more dashes than one that fills it.
        dash = max(5.0, frame_height / 100, length / MAX_DASHES)
        firsts = np.arange(0, length, 2 * dash)
        ends = np.stack([firsts, np.minimum(firsts + dash, length)], axis=1) / length
        dashes.append(start + (end - start) * ends[:, :, None])
    return np.concatenate(dashes).astype(np.float32)


def _draw_box(image: ImageBgr, label: Label, mask: Mask, rectangle: Rectangle, share: float) -> None:
    x0, y0, x1, y1 = rectangle
    paper = paper_for(label.background)
    opacity = share * _opacity(label.strength)
    window = image[y0:y1, x0:x1]
    window[:] = cv2.addWeighted(lettering.tinted(mask, paper, ink_for(paper)), opacity, window, 1 - opacity, 0)
    corners = np.array([[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]], np.float32)
    _outline(image, corners, label.style, share * label.strength)

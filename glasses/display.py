"""The display: a frame at its resolution, with the labels on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from glasses.banner import Banner, Pairing
from glasses.faces import Fonts
from glasses.overlay import Key, Label, Overlay
from glasses.settings import GlassesSettings
from glasses.stabiliser import PoseState
from glasses.steadying import SteadyLabels, TextShown
from shared.geometry import ImageBgr
from shared.models.script import Script

MAX_NOTICES: Final = 1024
"""Labels that are remembered as told about; more are told about again."""


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A translation that is not shown, for no face can write its script; the sign keeps its own text."""

    key: Key
    script: Script


@dataclass(frozen=True, slots=True)
class Shown:
    """What came to be seen with one frame.

    Attributes:
        image: uint8 of shape (height, width, 3).
        texts: new on the display.
        unwritable: translations that could not be shown, each told about once.
    """

    image: ImageBgr
    texts: Sequence[TextShown]
    unwritable: Sequence[Unwritable]


def display_size(frame: tuple[int, int], display: tuple[int, int]) -> tuple[int, int]:
    """Width and height at which a frame is shown: as large as fits the display, its aspect kept, never enlarged.

    Args:
        frame: width and height of the frame, in pixels.
        display: width and height of the display, in pixels.
    """
    scale = min(1.0, display[0] / frame[0], display[1] / frame[1])
    return max(1, round(frame[0] * scale)), max(1, round(frame[1] * scale))


class Display:
    """Draws frames with their labels. Used from one thread only.

    Args:
        settings: of the glasses.
        still: whether the source is one picture: it keeps its resolution, and its labels need no steadying.

    Raises:
        UsageError: the font of the settings cannot be used.
    """

    def __init__(self, settings: GlassesSettings, *, still: bool) -> None:
        self._size = None if still else (settings.display_width, settings.display_height)
        fonts = Fonts(settings.font)
        self._overlay = Overlay(fonts)
        self._banner = Banner(fonts)
        self._still = still
        self._steady = SteadyLabels(
            fade_s=settings.fade_s,
            hold_s=0.0 if still else settings.text_hold_s,
            cross_fade_s=0.0 if still else settings.cross_fade_s,
        )
        self._told: set[tuple[Key, Script]] = set()

    def draw(self, frame: ImageBgr, labels: Sequence[Label], captured: float, pairing: Pairing | None = None) -> Shown:
        """Draw one frame.

        Args:
            frame: uint8 of shape (height, width, 3).
            labels: in pixels of the frame.
            captured: capture time of the frame, monotonic seconds, not before that of the last one.
            pairing: what the wearer is asked, over everything else; None for nothing.
        """
        drawn, texts = self._steady.update(labels, captured)
        if self._still:
            # A still is drawn when something is new, not to be watched: each picture of it is complete.
            drawn = [replace(label, strength=1.0) for label in drawn if label.state is not PoseState.LOST]
        if self._size is not None:
            frame, drawn = _scaled(frame, drawn, self._size)
        image = self._overlay.draw(frame, drawn)
        self._banner.draw(image, pairing)
        return Shown(image, texts, self._notices())

    def _notices(self) -> list[Unwritable]:
        new = [(key, script) for key, script in self._overlay.unwritable.items() if (key, script) not in self._told]
        if len(self._told) > MAX_NOTICES:
            self._told.clear()
        self._told.update(new)
        return [Unwritable(key, script) for key, script in new]


def _scaled(frame: ImageBgr, labels: Sequence[Label], display: tuple[int, int]) -> tuple[ImageBgr, list[Label]]:
    """A frame and its labels in pixels of the display."""
    height, width = frame.shape[:2]
    size = display_size((width, height), display)
    if size == (width, height):
        return frame, list(labels)
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    ratio = np.array([size[0] / width, size[1] / height], np.float32)
    moved = [
        replace(
            label,
            # Pixel centres are integers.
            quad=np.asarray((label.quad + 0.5) * ratio - 0.5, dtype=np.float32),
            text_height=label.text_height * float(ratio[1]),
        )
        for label in labels
    ]
    return np.asarray(small, dtype=np.uint8), moved

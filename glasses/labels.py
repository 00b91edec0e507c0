"""From what is known about a sign to what is drawn for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from glasses.exchange import Rendering, SignReading
from glasses.overlay import Label, LabelStyle
from glasses.regions import outer_quad
from glasses.signs import Sign, text_height
from shared.geometry import Quad, side_lengths, transform

MINIMUM_CONFIDENCE: Final = 0.3
"""A text less likely right than this is not covered by a translation of it."""


def _pieces(sign: Sign) -> list[tuple[Quad, float, str]]:
    """Quads in keyframe pixels with their text height and translation: one, or one per line of a whole frame."""
    reading = sign.reading
    translation = "" if reading is None else reading.translation
    if not sign.found.whole_frame:
        return [(sign.outer, text_height(sign.found.lines), translation)]
    lines = [] if reading is None else [line for line in reading.lines if line.quad is not None]
    quads = [line.quad for line in lines if line.quad is not None]
    if not quads:
        return []
    parts = translation.splitlines()
    if len(parts) == len(quads):
        return [(quad, side_lengths(quad)[1], part) for quad, part in zip(quads, parts, strict=True)]
    return [(outer_quad(quads), float(np.median([side_lengths(quad)[1] for quad in quads])), translation)]


def _doubtful(reading: SignReading) -> bool:
    """Whether the sign itself tells the wearer more than its translation would."""
    if reading.confidence.get("recognition", 1.0) < MINIMUM_CONFIDENCE:
        return True
    said, shown = reading.text.splitlines(), reading.translation.splitlines()
    return 2 * sum(line in shown for line in said) > len(said)


def _style(sign: Sign) -> LabelStyle:
    if sign.reading is None:
        return LabelStyle.PENDING
    if sign.reading.rendering is not Rendering.TRANSLATED or _doubtful(sign.reading):
        return LabelStyle.UNCHANGED
    return LabelStyle.SETTLED if sign.reading.rank.settled else LabelStyle.PROVISIONAL


def _nothing_there(sign: Sign) -> bool:
    """Whether the phone read no letters: a door knob, a pictogram, a pattern. An outline would only distract."""
    return sign.reading is not None and not sign.reading.text.strip()


def labels_of(signs: Iterable[Sign], now: float, fade_s: float) -> list[Label]:
    """The labels of all signs that are in view, or fading.

    Args:
        signs: known signs.
        now: capture time of the frame, monotonic seconds.
        fade_s: a lost sign's label is gone after this.
    """
    labels = []
    for sign in signs:
        gone = not sign.in_view and now - sign.seen > fade_s
        if gone or _nothing_there(sign):
            continue
        style = _style(sign)
        for index, (quad, height, translation) in enumerate(_pieces(sign)):
            with np.errstate(all="ignore"):
                # A broken pose gives a quad at infinity, which the overlay leaves out.
                here = transform(sign.pose.homography, quad)
                scale = side_lengths(here)[1] / max(side_lengths(quad)[1], 1e-6)
            labels.append(
                Label(
                    key=(sign.region_id, index),
                    quad=here,
                    text_height=height * scale,
                    text=translation.strip() if style in (LabelStyle.PROVISIONAL, LabelStyle.SETTLED) else "",
                    style=style if translation.strip() or style is LabelStyle.PENDING else LabelStyle.UNCHANGED,
                    background=sign.found.background,
                    state=sign.pose.state,
                    quality=sign.pose.quality,
                )
            )
    return labels

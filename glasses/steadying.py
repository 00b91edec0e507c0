"""Keeps labels calm: texts that change seldom and softly, strengths that neither blink nor stay.

The rules, with all times from the frames' capture times:

- A label grows to full strength in `RISE_S`. It is drawn weaker while its place is only predicted, weaker still the
  longer that lasts, and is gone `fade_s` after it was lost. A gap shorter than a part of that (`HOLD_SHARE`) is not
  seen at all.
- A new text that says the same in other spelling is not shown: only the outline tells that the answer is settled.
- A text that differs replaces the shown one in one cross-fade, and not before that has been there for `hold_s`.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from glasses.overlay import Key, Label, LabelStyle
from glasses.stabiliser import PoseState

RISE_S: Final = 0.15
"""From nothing to full strength: fast enough not to be waited for, slow enough not to be a flash."""
HOLD_SHARE: Final = 0.2
"""A label starts to fade when it was not measured for this share of `fade_s`."""
PREDICTED_FADES: Final = 3.0
"""A place that is only predicted is drawn until so many times `fade_s` have passed."""
DOUBTFUL_QUALITY, TRUSTED_QUALITY = 0.5, 0.6
"""Below the first a pose is doubted until it is above the second again (zero-mean normalised cross-correlation)."""
DOUBTFUL_STRENGTH: Final = 0.6
FIRST_FRAME_S: Final = 1 / 30
"""A label in the very first frame is taken to have been there for so long."""
SILENT: Final = ".,:;!?…·、。，．：；！？¡¿\"'“”„‘’«»‹›「」『』"
"""Punctuation around a text that does not change what it says; signs like - or % do."""


def same_words(first: str, second: str) -> bool:
    """Whether two texts say the same: equal after NFKC, case folding, and trimming of spaces and punctuation."""
    return _words(first) == _words(second)


def _words(text: str) -> list[str]:
    words = unicodedata.normalize("NFKC", text).casefold().split()
    return [stripped for word in words if (stripped := word.strip(SILENT))]


@dataclass(frozen=True, slots=True)
class TextShown:
    """A text that the wearer sees from now on in place of what was there; empty for the sign's own text."""

    key: Key
    text: str


@dataclass(slots=True)
class _Shown:
    """What is known of one label on the display.

    Attributes:
        strength: in the last frame.
        measured: when its place was last measured.
        lost: since when it is lost; None while it is not.
        doubtful: whether its pose is.
        text: the newest text to be seen.
        style: of its outline.
        since: when that text came.
        began: when the change to it did: after the frame before.
        previous: the text before it.
    """

    strength: float
    measured: float
    lost: float | None
    doubtful: bool
    text: str
    style: LabelStyle
    since: float
    began: float
    previous: str


class SteadyLabels:
    """Turns what should be drawn into what is drawn. One frame after the other; not thread-safe.

    Args:
        fade_s: a label is gone so long after its sign was lost.
        hold_s: a text is left for at least so long before another replaces it.
        cross_fade_s: time that takes; 0 for none.
    """

    def __init__(self, *, fade_s: float, hold_s: float, cross_fade_s: float) -> None:
        self._fade_s = fade_s
        self._hold_s = hold_s
        self._cross_fade_s = cross_fade_s
        self._shown: dict[Key, _Shown] = {}
        self._last: float | None = None

    def update(self, labels: Sequence[Label], now: float) -> tuple[list[Label], list[TextShown]]:
        """The labels of one frame with their strength and texts, and which texts are new on the display.

        Args:
            labels: of the frame; what is missing is forgotten.
            now: capture time of the frame, monotonic seconds.
        """
        step = FIRST_FRAME_S if self._last is None else max(0.0, now - self._last)
        self._last = now
        known, self._shown = self._shown, {}
        drawn: list[Label] = []
        changes: list[TextShown] = []
        for label in labels:
            shown = known.get(label.key)
            if shown is None:
                if label.state is PoseState.LOST:
                    continue
                shown = _Shown(0.0, now, None, False, "", LabelStyle.PENDING, -math.inf, -math.inf, "")
            self._shown[label.key] = shown
            self._follow(shown, label, now, step)
            if self._reword(shown, label, now, step):
                changes.append(TextShown(label.key, shown.text))
            mix = self._mix(now - shown.began)
            drawn.append(
                replace(
                    label,
                    text=shown.text,
                    style=shown.style,
                    strength=shown.strength,
                    previous=shown.previous if mix < 1 else "",
                    mix=mix,
                )
            )
        return drawn, changes

    def _follow(self, shown: _Shown, label: Label, now: float, step: float) -> None:
        """Move a label's strength towards what its pose allows, no faster than the eye takes for calm."""
        if label.state is PoseState.TRACKED:
            shown.measured = now
            limit = TRUSTED_QUALITY if shown.doubtful else DOUBTFUL_QUALITY
            shown.doubtful = not label.quality >= limit
        hold = HOLD_SHARE * self._fade_s
        unmeasured = now - shown.measured
        shown.lost = None if label.state is not PoseState.LOST else now if shown.lost is None else shown.lost
        if shown.lost is not None:
            target = 0.0 if unmeasured > hold else shown.strength
        else:
            target = DOUBTFUL_STRENGTH if shown.doubtful else 1.0
            target *= 1 - max(0.0, unmeasured - hold) / (PREDICTED_FADES * self._fade_s - hold)
        # Together with the hold a lost label is gone in time, also where frames are missing.
        fall = step / (self._fade_s - hold)
        shown.strength = min(max(target, shown.strength - fall), shown.strength + step / RISE_S)
        shown.strength = min(1.0, max(0.0, shown.strength))
        if shown.lost is not None and now - shown.lost >= self._fade_s:
            shown.strength = 0.0

    def _mix(self, seconds: float) -> float:
        """Share of a text that began to come so long ago."""
        return 1.0 if seconds >= self._cross_fade_s else max(0.0, seconds) / self._cross_fade_s

    def _reword(self, shown: _Shown, label: Label, now: float, step: float) -> bool:
        """Take a new style, and a new text when its time has come; tells whether the text changed."""
        if same_words(shown.text, label.text):
            shown.style = label.style
            return False
        if now - shown.since < self._hold_s + self._cross_fade_s:
            return False  # the outline stays that of the text it is around
        shown.previous, shown.text, shown.style = shown.text, label.text, label.style
        shown.since = now
        # Where frames are rare there is none to spend on half a change.
        shown.began = now - step
        return True

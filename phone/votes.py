"""Several looks at one sign: what the phone remembers of each, so that they can vote.

The glasses send a sign again when more of it can be seen or when they have come closer (`glasses/signs.py`), with its
region id and a later capture time. Lines of the looks are paired by their order and by how alike they read: their
places differ, because the head has moved. A look counts by its characters' probabilities and by its height, so that one
from near outweighs one from afar (`voting.weight_of`). What is remembered is bounded, and forgotten after seconds.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from shared.clock import Clock
from shared.models.seen_lines import Look
from shared.models.voting import Voice, similarity, vote, weight_of

LIFE_S: Final = 30.0
"""How long a look counts: a few steps towards a sign."""
MAX_REGIONS: Final = 64
"""Signs remembered; above it the one not seen for longest is forgotten."""
MAX_LOOKS: Final = 4
"""Looks at one sign that vote, the newest among them."""
SAME_LINE: Final = 0.5
"""Lines less alike than this are not readings of the same line."""
NEIGHBOURS: Final = 4
"""How far a line may have moved up or down in its sign, in lines."""


@dataclass(frozen=True, slots=True)
class LineLook:
    """One look at one line.

    Attributes:
        look: what it gave.
        height_px: height of the line as the camera saw it, in pixels.
    """

    look: Look
    height_px: float

    @property
    def voice(self) -> Voice:
        """Its voice in a vote."""
        return Voice(self.look.recognition, weight_of(self.look.recognition, self.height_px))


@dataclass(frozen=True, slots=True)
class VotedLine:
    """What the looks at a line say together.

    Attributes:
        look: the newest one, with the text of the vote.
        agreement: how far they agree, 0..1; None where there was one only.
    """

    look: Look
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class _SignLook:
    """One look at a sign: when it was taken, on the glasses' clock and on the phone's, and its lines."""

    captured_us: int
    frame_id: int
    time: float
    lines: tuple[LineLook | None, ...]


class SignVotes:
    """Remembers looks at signs and lets them vote; not for two threads at once.

    Args:
        clock: by which looks are forgotten.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: OrderedDict[int, deque[_SignLook]] = OrderedDict()

    def __len__(self) -> int:
        """Signs remembered."""
        return len(self._looks)

    def vote(
        self, *, region_id: int, frame_id: int, captured_us: int, lines: Sequence[LineLook | None]
    ) -> list[VotedLine | None]:
        """Remember a look at a sign, and let it vote with those before.

        Args:
            region_id: of the sign, unique in a run of the glasses.
            frame_id: of the look; the same look read again replaces itself.
            captured_us: when it was taken, on the glasses' clock.
            lines: in reading order; None for those that were too small to be read.

        Returns:
            One answer a line; None for those that were not read.
        """
        now = self._clock.monotonic()
        self._forget(now)
        looks = self._looks.setdefault(region_id, deque(maxlen=MAX_LOOKS))
        self._looks.move_to_end(region_id)
        if looks and (captured_us < looks[-1].captured_us or frame_id < looks[-1].frame_id):
            looks.clear()  # time runs backwards: another run of the glasses, in which the id is another sign's
        if looks and looks[-1].frame_id == frame_id:
            looks.pop()
        believed = tuple(line if line is not None and _is_believed(line.look) else None for line in lines)
        partners = [_pairs(believed, look.lines) for look in looks]
        voted = [
            None if line is None else self._voted(line, believed[index], [found[index] for found in partners])
            for index, line in enumerate(lines)
        ]
        looks.append(_SignLook(captured_us, frame_id, now, believed))
        while len(self._looks) > MAX_REGIONS:
            self._looks.popitem(last=False)
        return voted

    def _voted(self, line: LineLook, believed: LineLook | None, others: Sequence[LineLook | None]) -> VotedLine:
        voices = [other.voice for other in others if other is not None]
        if believed is None or not voices:
            return VotedLine(line.look)
        result = vote([believed.voice, *reversed(voices)])
        return VotedLine(replace(line.look, recognition=result.recognition), result.agreement)

    def _forget(self, now: float) -> None:
        for region_id, looks in list(self._looks.items()):
            while looks and now - looks[0].time > LIFE_S:
                looks.popleft()
            if not looks:
                del self._looks[region_id]


def _is_believed(look: Look) -> bool:
    """Whether a look may vote: text in a script the recogniser has."""
    return look.script.readable and bool(look.recognition.text)


def _pairs(lines: Sequence[LineLook | None], before: Sequence[LineLook | None]) -> list[LineLook | None]:
    """For each line the one of an earlier look that is the same: in the same order, as alike as possible in all.

    The best monotone alignment (Needleman and Wunsch 1970) with likeness as the gain of a pair.
    """
    gains = [
        [_gain(line, other) if abs(row - column) <= NEIGHBOURS else 0.0 for column, other in enumerate(before)]
        for row, line in enumerate(lines)
    ]
    best = [[0.0] * (len(before) + 1) for _ in range(len(lines) + 1)]
    for row in range(1, len(lines) + 1):
        for column in range(1, len(before) + 1):
            paired = best[row - 1][column - 1] + gains[row - 1][column - 1]
            best[row][column] = max(paired, best[row - 1][column], best[row][column - 1])
    found: list[LineLook | None] = [None] * len(lines)
    row, column = len(lines), len(before)
    while row and column:
        if best[row][column] == best[row - 1][column]:
            row -= 1
        elif best[row][column] == best[row][column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            found[row] = before[column]
    return found


def _gain(line: LineLook | None, other: LineLook | None) -> float:
    if line is None or other is None:
        return 0.0
    one, two = line.look.recognition.text, other.look.recognition.text
    if 2 * min(len(one), len(two)) < max(len(one), len(two)):
        return 0.0
    alike = similarity(one, two)
    return alike if alike >= SAME_LINE else 0.0

"""Several readings of one line become one: a vote, character by character.

After ROVER (Fiscus, A Post-Processing System to Yield Reduced Word Error Rates, ASRU 1997), with characters in place of
words: readings are aligned one after the other into slots, each slot holds what every reading says there (a character,
or nothing), and the heaviest wins. A voice weighs its character's probability times the weight of its reading. What is
read alike by all is more likely right than what is not: `Vote.agreement` says how far they agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final

from shared.models.recognition import Recognition

MAX_ALIGNED: Final = 96
"""Longer readings, in characters, are not aligned: the one that is believed most wins whole. Aligning two lines of 96
characters takes about 5 ms; lines of signs have 5 to 40."""
MAX_READINGS: Final = 8
"""Of more readings the heaviest are taken."""
LEAST_SHARE: Final = 0.5
"""A reading with less than this share of the weight of the heaviest is not heard: that a poor look reads something else
tells nothing about a good one."""
_SUBSTITUTION: Final = 1.0
_CASE: Final = 0.4
"""Cost of aligning a letter with itself in the other case."""
_SPACE: Final = 0.6
"""Cost of a space that the other reading lacks."""
_SPACE_AS_LETTER: Final = 1.5
"""Cost of aligning a space with a letter: both are better left alone."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One reading of a line.

    Attributes:
        recognition: what it says.
        weight: how much it counts, above 0; see `weight_of`.
    """

    recognition: Recognition
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Vote:
    """What several readings say together.

    Attributes:
        recognition: text of the vote; a character's probability is the highest among the readings that have it.
        agreement: how alike the other readings are, by weight, 0..1; None where only one was heard.
        readings: how many were heard.
    """

    recognition: Recognition
    agreement: float | None
    readings: int


@dataclass(slots=True)
class _Slot:
    """What the readings say at one place: by character its weight, and the best (probability, place, evidence)."""

    weights: dict[str, float] = field(default_factory=dict)
    best: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    def add(self, character: str, weight: float, glyph: tuple[float, float, float]) -> None:
        self.weights[character] = self.weights.get(character, 0.0) + weight
        self.best[character] = max(self.best.get(character, glyph), glyph)

    @property
    def leader(self) -> str:
        """The heaviest character; "" for none. Of equals the one that came first."""
        return max(self.weights, key=self.weights.__getitem__)


def weight_of(recognition: Recognition, height_px: float) -> float:
    """How much a reading counts: a power of its mean character probability, times its height.

    The power was chosen on rendered looks: one good look outweighs two poor ones that happen to agree. Height counts up
    to what the recogniser uses.

    Args:
        recognition: the reading.
        height_px: of the line as the camera saw it, in pixels.
    """
    return max(recognition.confidence, 0.01) ** 4 * min(max(height_px, 4.0), 48.0) / 48.0


def vote(voices: Sequence[Voice]) -> Vote:
    """Combine readings of the same line.

    Args:
        voices: at least one; of several equally heavy ones the first counts most.

    Raises:
        ValueError: there is none.
    """
    if not voices:
        raise ValueError("nobody votes")
    ranked = sorted(voices, key=lambda voice: -voice.weight)[:MAX_READINGS]
    spoken = [voice for voice in ranked if voice.recognition.text] or ranked[:1]
    heard = [voice for voice in spoken if voice.weight >= LEAST_SHARE * spoken[0].weight]
    if len(heard) == 1:
        return Vote(heard[0].recognition, None, 1)
    if any(len(voice.recognition.text) > MAX_ALIGNED for voice in heard):
        chosen = heard[0].recognition
    else:
        chosen = _elected(heard, heard[0])
    return Vote(chosen, _agreement(chosen.text, heard), len(heard))


def similarity(one: str, other: str) -> float:
    """How alike two texts are, 0..1: 1 minus their weighted edit distance over the longer length.

    Texts too long to be aligned are alike or not.
    """
    if one == other:
        return 1.0
    longest = max(len(one), len(other))
    if longest > MAX_ALIGNED or not one or not other:
        return 0.0
    return max(0.0, 1.0 - _costs(list(one), other)[-1][-1] / longest)


def _elected(ranked: Sequence[Voice], first: Voice) -> Recognition:
    if all(voice.recognition.text == first.recognition.text for voice in ranked):
        slots = _slots(ranked[0], 0.0)
        for voice in ranked[1:]:
            for slot, (character, weight, glyph) in zip(slots, _glyphs(voice), strict=True):
                slot.add(character, weight, glyph)
    else:
        slots = _slots(first, 0.0)
        told = first.weight
        for voice in ranked:
            if voice is not first:
                slots = _joined(slots, voice, told)
                told += voice.weight
    weighed = all(len(voice.recognition.space_evidence) == len(voice.recognition.text) for voice in ranked)
    elected = _recognition(slots)
    return elected if weighed else replace(elected, space_evidence=())


def _glyphs(voice: Voice) -> list[tuple[str, float, tuple[float, float, float]]]:
    """Of each character of a reading: itself, its weight, and (probability, position, space evidence)."""
    look = voice.recognition
    known = len(look.positions) == len(look.text)
    weighed = len(look.space_evidence) == len(look.text)
    glyphs = []
    for index, character in enumerate(look.text):
        probability = look.character_confidences[index]
        glyph = (
            probability,
            look.positions[index] if known else -1.0,
            look.space_evidence[index] if weighed else 0.0,
        )
        glyphs.append((character, voice.weight * probability, glyph))
    return glyphs


def _slots(voice: Voice, silent: float) -> list[_Slot]:
    slots = []
    for character, weight, glyph in _glyphs(voice):
        slot = _Slot()
        if silent:
            slot.add("", silent, (0.0, -1.0, 0.0))
        slot.add(character, weight, glyph)
        slots.append(slot)
    return slots


def _joined(slots: list[_Slot], voice: Voice, told: float) -> list[_Slot]:
    """Slots after one more reading; `told` is the weight of those before, which say nothing in a new slot."""
    leaders = [slot.leader for slot in slots]
    glyphs = _glyphs(voice)
    costs = _costs(leaders, voice.recognition.text)
    new = _slots(voice, told * _mean(voice))
    silence = voice.weight * _mean(voice)
    joined: list[_Slot] = []
    row, column = len(slots), len(glyphs)
    while row or column:
        here = costs[row][column]
        if row and column and here == costs[row - 1][column - 1] + _change(leaders[row - 1], glyphs[column - 1][0]):
            row, column = row - 1, column - 1
            slots[row].add(*glyphs[column])
            joined.append(slots[row])
        elif row and here == costs[row - 1][column] + _gap(leaders[row - 1]):
            row -= 1
            slots[row].add("", silence, (0.0, -1.0, 0.0))
            joined.append(slots[row])
        else:
            column -= 1
            joined.append(new[column])
    return joined[::-1]


def _mean(voice: Voice) -> float:
    """Nothing is said with the mean probability of what is said: no network names the probability of no character."""
    return voice.recognition.confidence


def _costs(leaders: Sequence[str], text: str) -> list[list[float]]:
    """Weighted edit distances of all beginnings of slots and text."""
    rows = [[0.0]]
    for character in text:
        rows[0].append(rows[0][-1] + _gap(character))
    for leader in leaders:
        above = rows[-1]
        without = _gap(leader)
        row = [above[0] + without]
        for column, character in enumerate(text):
            row.append(
                min(
                    above[column] + _change(leader, character),
                    above[column + 1] + without,
                    row[column] + _gap(character),
                )
            )
        rows.append(row)
    return rows


def _change(one: str, other: str) -> float:
    if one == other:
        return 0.0
    if one == "":
        return _gap(other)
    if one == " " or other == " ":
        return _SPACE_AS_LETTER
    return _CASE if one.casefold() == other.casefold() else _SUBSTITUTION


def _gap(character: str) -> float:
    """Cost of a character that the other reading does not have."""
    return 0.0 if character == "" else _SPACE if character == " " else 1.0


def _recognition(slots: Sequence[_Slot]) -> Recognition:
    won = [(character, slot.best[character]) for slot in slots if (character := slot.leader)]
    while won and won[0][0].isspace():
        won.pop(0)
    while won and won[-1][0].isspace():
        won.pop()
    if not won:
        return Recognition("", 0.0, 0.0, ())
    confidences = tuple(glyph[0] for _, glyph in won)
    # Places are of different pictures of the line, so they may not rise by themselves.
    positions = tuple(accumulate((glyph[1] for _, glyph in won), max))
    return Recognition(
        "".join(character for character, _ in won),
        sum(confidences) / len(confidences),
        min(confidences),
        confidences,
        positions if all(glyph[1] >= 0.0 for _, glyph in won) else (),
        tuple(glyph[2] for _, glyph in won),
    )


def _agreement(text: str, ranked: Sequence[Voice]) -> float:
    """Mean similarity of the readings with the vote's text, by weight; a reading that won whole does not count."""
    others = list(ranked)
    for index, voice in enumerate(others):
        if voice.recognition.text == text:
            del others[index]
            break
    total = sum(voice.weight for voice in others)
    return sum(voice.weight * similarity(text, voice.recognition.text) for voice in others) / total

"""The visual order of a line that is read from right to left, wholly or in part.

The Unicode Bidirectional Algorithm (UAX #9) for one line without explicit directional formatting
characters: rules P2-P3, W1-W7, N0-N2, I1-I2 and L1-L4. Each line is resolved alone, with the direction of its text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from itertools import groupby
from typing import Final

PAIRS: Final = "()[]{}<>«»‹›≤≥≪≫〈〉《》「」『』【】〔〕〖〗（）［］｛｝＜＞"
"""Opening and closing characters in turn: each is the mirror of the other."""
MIRROR: Final = dict(zip(PAIRS, "".join(PAIRS[i + 1] + PAIRS[i] for i in range(0, len(PAIRS), 2)), strict=True))
_OPENING: Final = frozenset("([{〈《「『【〔〖（［｛")
"""Those of `PAIRS` that are brackets (BidiBrackets.txt)."""
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})
_NEUTRAL: Final = frozenset({"B", "S", "WS", "ON"})
_MAX_OPEN: Final = 63
"""Brackets open at once (BD16)."""


def is_right_to_left(text: str) -> bool:
    """Whether the first strong character of a text is read from right to left (P2, P3)."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind == "L" or kind in _RIGHT_TO_LEFT:
            return kind != "L"
    return False


def visual(line: str, *, right_to_left: bool) -> str:
    """The characters of a line from left to right as they are drawn, brackets mirrored.

    Args:
        line: in logical order, without line breaks and formatting characters.
        right_to_left: the direction of the text it belongs to.
    """
    base = int(right_to_left)
    kinds = [unicodedata.bidirectional(character) or "L" for character in line]
    if not base and not any(kind in ("R", "AL", "AN") for kind in kinds):
        return line
    levels = _levels(line, kinds, base)
    shown = [MIRROR.get(char, char) if level % 2 else char for char, level in zip(line, levels, strict=True)]
    order = list(range(len(line)))
    for level in range(max(levels, default=0), 0, -1):  # L2
        start = 0
        for deep, run in groupby([levels[index] >= level for index in order]):
            end = start + len(list(run))
            if deep:
                order[start:end] = order[start:end][::-1]
            start = end
    return "".join(shown[index] for index in order)


def _levels(line: str, original: list[str], base: int) -> list[int]:
    start = "R" if base else "L"
    kinds = _resolve_weak(list(original), start)
    _resolve_brackets(line, kinds, original, start)
    _resolve_neutral(kinds, start)
    levels = [base + _step(kind, base) for kind in kinds]
    for index in range(len(line) - 1, -1, -1):  # L1
        if original[index] not in ("WS", "S", "B"):
            break
        levels[index] = base
    return levels


def _step(kind: str, base: int) -> int:
    """I1, I2."""
    if base:
        return 0 if kind == "R" else 1
    return {"R": 1, "AN": 2, "EN": 2}.get(kind, 0)


def _resolve_weak(kinds: list[str], start: str) -> list[str]:
    previous = start
    for index, kind in enumerate(kinds):  # W1
        if kind == "NSM":
            kinds[index] = previous
        previous = kinds[index]
    _after_strong(kinds, start, lambda kind, strong: "AN" if kind == "EN" and strong == "AL" else kind)  # W2
    kinds = ["R" if kind == "AL" else kind for kind in kinds]  # W3
    for index in range(1, len(kinds) - 1):  # W4
        before, kind, after = kinds[index - 1 : index + 2]
        if before == after and ((kind == "CS" and before in ("EN", "AN")) or (kind == "ES" and before == "EN")):
            kinds[index] = before
    position = 0
    for kind, run in groupby(list(kinds)):  # W5
        length = len(list(run))
        neighbours = kinds[max(0, position - 1) : position] + kinds[position + length : position + length + 1]
        if kind == "ET" and "EN" in neighbours:
            kinds[position : position + length] = ["EN"] * length
        position += length
    kinds = ["ON" if kind in ("ES", "ET", "CS", "BN") else kind for kind in kinds]  # W6
    _after_strong(kinds, start, lambda kind, strong: "L" if kind == "EN" and strong == "L" else kind)  # W7
    return kinds


def _after_strong(kinds: list[str], start: str, rule: Callable[[str, str], str]) -> None:
    """Apply a rule that looks at a character and the last strong one before it, in place."""
    strong = start
    for index, kind in enumerate(kinds):
        if kind in ("L", "R", "AL"):
            strong = kind
        kinds[index] = rule(kind, strong)


def _direction(kind: str) -> str | None:
    """Numbers count as right to left (N0, N1); None for neutrals."""
    return {"L": "L", "R": "R", "EN": "R", "AN": "R"}.get(kind)


def _bracket_pairs(line: str, kinds: list[str]) -> list[tuple[int, int]]:
    """BD16."""
    waiting: list[tuple[str, int]] = []
    pairs: list[tuple[int, int]] = []
    for index, character in enumerate(line):
        if kinds[index] != "ON" or character not in MIRROR:
            continue
        if character in _OPENING:
            if len(waiting) == _MAX_OPEN:
                return []
            waiting.append((MIRROR[character], index))
        elif MIRROR[character] in _OPENING:
            for depth in range(len(waiting) - 1, -1, -1):
                if waiting[depth][0] == character:
                    pairs.append((waiting[depth][1], index))
                    del waiting[depth:]
                    break
    return sorted(pairs)


def _resolve_brackets(line: str, kinds: list[str], original: list[str], start: str) -> None:
    """N0, in place."""
    for opening, closing in _bracket_pairs(line, kinds):
        inside = {_direction(kind) for kind in kinds[opening + 1 : closing]} - {None}
        if not inside:
            continue
        chosen = start
        if start not in inside:
            before = next((_direction(kind) for kind in reversed(kinds[:opening]) if _direction(kind)), start)
            chosen = start if before == start else str(before)
        for bracket in (opening, closing):
            kinds[bracket] = chosen
            after = bracket + 1
            while after < len(kinds) and original[after] == "NSM":
                kinds[after] = chosen
                after += 1


def _resolve_neutral(kinds: list[str], start: str) -> None:
    """N1, N2, in place."""
    position = 0
    for neutral, run in groupby([kind in _NEUTRAL for kind in kinds]):
        length = len(list(run))
        if neutral:
            before = _direction(kinds[position - 1]) if position else start
            after = _direction(kinds[position + length]) if position + length < len(kinds) else start
            kinds[position : position + length] = [str(before) if before == after else start] * length
        position += length

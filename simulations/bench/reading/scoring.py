"""Labelled photographs, and how well readings match their labels. Every reading bench scores with these functions.

A folder of photographs with `ground_truth.json` (file → language and lines) is a test set: nothing here or elsewhere in
the project is fitted on it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from shared.errors import InputError, WaywordError
from shared.models.script import Script, dominant_script

BENCH_HINT: Final = "run: pip install 'wayword[bench]'"
CONTAINED_FROM: Final = 4
"""Shortest line, in characters, that may count as contained in a reading."""
NEAR_SHARE: Final = 1 / 3
"""A reading with at most this share of wrong characters is a poor reading of a line, not an invention."""


@dataclass(frozen=True)
class Photo:
    """A photograph and the lines on it.

    Attributes:
        path: of the picture file.
        language: of its text, ISO 639-1, with a script subtag for Chinese.
        lines: what is written on it.
        kind: of photograph, as its label says.
    """

    path: Path
    language: str
    lines: tuple[str, ...]
    kind: str = ""


@dataclass
class Score:
    """What one system read on one or more photographs.

    Attributes:
        lines: labelled lines.
        read: of them, those that equal a reading or are contained in one.
        exact: those that equal a reading, white space and case aside.
        edits: character edits to the nearest reading, at most a line's own length.
        characters: of all lines.
        latin: lines in Latin script.
        spaced: of them, those that equal a reading with its word spaces.
        spaces: word spaces of the Latin lines that were read exactly.
        spaces_read: word spaces in their readings.
        spaces_right: of these, those at the right place.
    """

    lines: int = 0
    read: int = 0
    exact: int = 0
    edits: int = 0
    characters: int = 0
    latin: int = 0
    spaced: int = 0
    spaces: int = 0
    spaces_read: int = 0
    spaces_right: int = 0

    def add(self, other: Score) -> None:
        """Sum two scores."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def share(self) -> float:
        """Lines read / lines."""
        return self.read / max(self.lines, 1)

    @property
    def exact_share(self) -> float:
        """Lines read exactly / lines."""
        return self.exact / max(self.lines, 1)

    @property
    def spaced_share(self) -> float:
        """Latin lines read exactly with their spaces / Latin lines."""
        return self.spaced / max(self.latin, 1)

    @property
    def cer(self) -> float:
        """Character error rate: edits to the nearest reading, at most a line's own length, over characters."""
        return self.edits / max(self.characters, 1)

    @property
    def space_precision(self) -> float:
        """Right word spaces / word spaces read."""
        return self.spaces_right / max(self.spaces_read, 1)

    @property
    def space_recall(self) -> float:
        """Right word spaces / word spaces there are."""
        return self.spaces_right / max(self.spaces, 1)

    @property
    def space_f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.spaces_right / max(self.spaces + self.spaces_read, 1)


def load_photos(folder: Path, only: str | None) -> list[Photo]:
    """The labelled photographs of a folder.

    Raises:
        InputError: there is no ground_truth.json, or it names no photograph that is there.
    """
    truth = folder / "ground_truth.json"
    if not truth.is_file():
        raise InputError(f"{folder} has no ground_truth.json", hint="name a folder of labelled photographs")
    entries: dict[str, dict[str, Any]] = json.loads(truth.read_text(encoding="utf-8"))
    photos = [
        Photo(
            folder / name,
            str(entry["lang"]),
            tuple(str(line["text"]) for line in entry["lines"]),
            str(entry.get("kind", "")),
        )
        for name, entry in sorted(entries.items())
        if (folder / name).is_file() and (only is None or only in name)
    ]
    if not photos:
        raise InputError(f"{truth} names no photograph that is there")
    return photos


def score_lines(lines: Sequence[str], readings: Sequence[str]) -> Score:
    """Score readings against the lines of one photograph."""
    score = Score()
    for line in lines:
        score.add(score_line(line, readings))
    return score


def score_line(line: str, readings: Sequence[str]) -> Score:
    """Score one labelled line against everything read."""
    want = fold(line)
    read = [fold(text) for text in readings if fold(text)]
    exact = want in read
    contained = len(want) >= CONTAINED_FROM and any(want in text for text in read)
    score = Score(
        lines=1,
        read=exact or contained,
        exact=exact,
        edits=0 if contained else min([len(want), *(edit_distance(want, text) for text in read)]),
        characters=len(want),
    )
    if dominant_script(line) is not Script.LATIN:
        return score
    score.latin = 1
    there = spaces_of(line)
    # Of several readings with these letters the one with the best spaces counts, for every system alike.
    same = [spaces_of(text) for text in readings if fold(text) == want]
    if same:
        best = max(same, key=lambda spaces: (spaces == there, len(spaces & there) - len(spaces ^ there)))
        score.spaced = best == there
        score.spaces, score.spaces_read, score.spaces_right = len(there), len(best), len(best & there)
    return score


def spaces_of(text: str) -> frozenset[int]:
    """Where the word spaces are: after how many folded characters."""
    places, count = [], 0
    for word in unicodedata.normalize("NFKC", text).casefold().split():
        count += len(word)
        places.append(count)
    return frozenset(places[:-1])


def invented(lines: Sequence[str], readings: Sequence[str]) -> list[str]:
    """Readings with letters that resemble no labelled line: what a reader makes up from a script it cannot read.

    On a photograph with more text than its labels say, honest readings of the rest count too: look at them.
    """
    wanted = [fold(line) for line in lines]
    found = []
    for reading in readings:
        text = fold(reading)
        if not any(character.isalpha() for character in text) or any(text in line or line in text for line in wanted):
            continue
        if all(edit_distance(text, line) > NEAR_SHARE * max(len(text), len(line)) for line in wanted):
            found.append(reading)
    return found


def fold(text: str) -> str:
    """NFKC, case folding, no white space."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def edit_distance(one: str, other: str) -> int:
    """Levenshtein distance.

    Raises:
        WaywordError: the package of the benchmarks is not installed.
    """
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as error:
        raise WaywordError("scoring needs rapidfuzz", hint=BENCH_HINT) from error
    return int(Levenshtein.distance(one, other))

"""Labelled photographs as signs: a test set, of which nothing is fitted or chosen.

The glasses find the signs of a photograph as they do with ``--image``. The labels say what is written, line by line,
but not where, and often not all of it. So a line of the labels belongs to the sign of which some reading, whoever's,
resembles it most and has at most a third of its characters wrong; a line between two lines of a sign belongs to that
sign too, unless it belongs to another. Signs without a labelled line are left out, and so are labelled lines that
nobody read; both are counted in the notes. A sign's text is right when every line of it was read, with its word spaces;
where the labels are complete, nothing else may have been read.

English for the lines is that of `simulations.bench.photo_references`. A sign of which some line has none is not judged
by its translation.
"""

from __future__ import annotations

import json
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glasses.camera import read_picture, shrink
from shared.layout import line_height
from shared.models.script import Script, dominant_script
from simulations.bench.photo_references import load
from simulations.bench.reading.scoring import CONTAINED_FROM, NEAR_SHARE, Photo, edit_distance, load_photos
from simulations.bench.reading.scoring import fold as fold_line
from simulations.bench.sign_phrases import fold
from simulations.traces.phrases import is_chain, key_of, plain
from simulations.traces.pipelines import Judge, Pipelines, StripTrace
from simulations.traces.records import SignTrace, TracePart, View
from simulations.traces.rendered import LOOKS, SIGN_SECONDS, Traced

SIGNS: Final = 1000
"""Numbers kept for the signs of one photograph."""
References = Mapping[str, Mapping[tuple[int, ...], frozenset[str]]]
"""By file and indices of lines: acceptable English, folded."""


@dataclass(frozen=True)
class PhotoJudge:
    """The truth about one sign of a photograph.

    Attributes:
        lines: of it.
        complete: whether all that is written on the photograph is labelled.
        answers: for every text of the sign; None where some line has none.
    """

    lines: tuple[str, ...]
    complete: bool
    answers: tuple[frozenset[str], ...] | None

    def text_right(self, text: str) -> bool:
        """Whether every line was read, and, where that can be known, nothing else."""
        if not all(_is_read(line, text) for line in self.lines):
            return False
        return not self.complete or len(_letters(text)) == sum(len(_letters(line)) for line in self.lines)

    def translation_right(self, translation: str) -> bool:
        """Whether every text of the sign is translated acceptably, in whatever order."""
        assert self.answers is not None
        if not translation.strip():
            return False  # an answer of nothing but an article would accept it
        lines = translation.split("\n")
        runs = {fold(" ".join(lines[a:b])) for a in range(len(lines)) for b in range(a + 1, len(lines) + 1)}
        return all(runs & answers for answers in self.answers) or is_chain(self.answers, fold(translation))

    def judge(self) -> Judge:
        """For the pipelines; without answers no translation is right."""
        return Judge(self.text_right, self.translation_right if self.answers is not None else lambda _: False)


class PhotoSet:
    """The photographs of a folder, by number.

    Args:
        folder: with ground_truth.json.
        references: acceptable English; the project's own when None.

    Raises:
        InputError: the folder has no labels, or the references are malformed.
    """

    def __init__(self, folder: Path, references: References | None = None) -> None:
        self.photos: Sequence[Photo] = load_photos(folder, None)
        entries = json.loads((folder / "ground_truth.json").read_text(encoding="utf-8"))
        self._complete = {name: bool(entry.get("complete", False)) for name, entry in entries.items()}
        self._references = own_references() if references is None else references

    def __len__(self) -> int:
        return len(self.photos)

    def truth(self, photo: Photo, indices: Sequence[int]) -> PhotoJudge:
        """The truth about a sign that has some of a photograph's lines."""
        lines = tuple(photo.lines[index] for index in indices)
        return PhotoJudge(
            lines,
            self._complete.get(photo.path.name, False) and len(lines) == len(photo.lines),
            self._answers(photo, indices),
        )

    def _answers(self, photo: Photo, indices: Sequence[int]) -> tuple[frozenset[str], ...] | None:
        known = self._references.get(photo.path.name, {})
        # Lines that are translated together come first: their single rows, if any, say less.
        groups = [key for key in sorted(known, key=lambda key: (-len(key), key)) if set(key) <= set(indices)]
        answers: list[tuple[int, frozenset[str]]] = []
        left = set(indices)
        for group in groups:
            if set(group) <= left:
                left -= set(group)
                answers.append((group[0], known[group]))
        if photo.language == "en":  # it says already what it means
            answers += [(index, frozenset({fold(photo.lines[index])})) for index in left]
            left = set()
        return None if left else tuple(found for _, found in sorted(answers, key=lambda one: one[0]))

    def notes(self, done: Sequence[Traced]) -> list[str]:
        """What was left out."""
        looks = [look for one in done for look in one.looks]
        lines = sum(len(photo.lines) for photo in self.photos)
        return [
            f"{len(self.photos)} photographs, {lines} labelled lines: {len(looks)} signs recorded, "
            f"{sum(one.partial for one in done)} left out because they resemble no labelled line; "
            f"{sum(one.unseen for one in done)} labelled lines belong to no sign, for the glasses did not find them or "
            f"nobody read them; {sum(not look.judged for look in looks)} signs have no English to compare with and "
            "count as translated right when their text is"
        ]


def trace_photo(photos: PhotoSet, number: int, pipelines: Pipelines) -> Traced:
    """Every sign of a photograph through everything."""
    photo = photos.photos[number]
    frame, looked, detection_ms = pipelines.look(
        shrink(read_picture(photo.path), pipelines.longest_side),
        frame_id=number * LOOKS + 1,
        captured=number * SIGN_SECONDS + 1,
    )
    blank = Judge(lambda _: False, lambda _: False)
    strips = [
        pipelines.run(frame, found, region_id=number * SIGNS + index + 1, judge=blank)
        for index, found in enumerate(looked.found[:SIGNS])
    ]
    dealt = deal(photo.lines, [strip.readings for strip in strips])
    looks = []
    for index, (found, strip) in enumerate(zip(looked.found, strips, strict=False)):
        if not dealt[index]:
            continue
        truth = photos.truth(photo, dealt[index])
        looks.append(
            _record(
                photo,
                dealt[index],
                truth,
                strip,
                sign=number * SIGNS + index,
                height_px=min(line_height(line.quad) for line in found.lines),
                still_bytes=pipelines.still_bytes(frame),
                detection_ms=detection_ms,
            )
        )
    matched = sum(len(lines) for lines in dealt)
    return Traced(number, tuple(looks), unseen=len(photo.lines) - matched, partial=len(strips) - len(looks))


def _record(
    photo: Photo,
    indices: Sequence[int],
    truth: PhotoJudge,
    strip: StripTrace,
    *,
    sign: int,
    height_px: float,
    still_bytes: int,
    detection_ms: float,
) -> SignTrace:
    judged = strip.judged(truth.judge())
    if truth.answers is None:
        judged = judged.by_text()
    text = "\n".join(truth.lines)
    return SignTrace(
        sign=sign,
        look=0,
        part=TracePart.PHOTO,
        phrase=f"photo-{zlib.crc32(key_of(text).encode()):08x}",
        language=photo.language.split("-")[0],
        truth=text,
        view=View(light="photo", height_px=round(height_px, 3)),
        lines=len(indices),
        strip_bytes=strip.strip_bytes,
        still_bytes=still_bytes,
        detection_ms=detection_ms,
        local=judged.local,
        cloud=judged.cloud,
        source="photo",
        judged=truth.answers is not None,
    )


def deal(lines: Sequence[str], readings: Sequence[Sequence[str]]) -> list[list[int]]:
    """To which sign each labelled line belongs.

    Args:
        lines: of the labels.
        readings: for every sign found, all lines that anybody read on it.

    Returns:
        For every sign the indices of its lines, ascending.
    """
    folded = [[fold_line(text) for text in texts if fold_line(text)] for texts in readings]
    pairs = sorted(
        (cost, line, sign)
        for line, text in enumerate(lines)
        for sign, texts in enumerate(folded)
        if (cost := min((_unlike(fold_line(text), read) for read in texts), default=1.0)) <= NEAR_SHARE
    )
    owner: dict[int, int] = {}
    for _, line, sign in pairs:
        same = any(owner.get(other) == sign and fold_line(lines[other]) == fold_line(lines[line]) for other in owner)
        if line not in owner and not same:
            owner[line] = sign
    for line in range(len(lines)):
        before = next((owner[k] for k in range(line - 1, -1, -1) if k in owner), None)
        after = next((owner[k] for k in range(line + 1, len(lines)) if k in owner), None)
        if line not in owner and before is not None and before == after:
            owner[line] = before
    return [[line for line in range(len(lines)) if owner.get(line) == sign] for sign in range(len(readings))]


def _unlike(line: str, reading: str) -> float:
    """Share of wrong characters, 0 for a line that is contained in a reading."""
    if len(line) >= CONTAINED_FROM and line in reading:
        return 0.0
    return edit_distance(line, reading) / max(len(line), len(reading), 1)


def _is_read(line: str, text: str) -> bool:
    """Whether a line is in a text, as words where words are spaced."""
    if dominant_script(line) is Script.LATIN:
        want, words = plain(line).casefold().split(), plain(text).casefold().split()
        return any(words[start : start + len(want)] == want for start in range(len(words) - len(want) + 1))
    letters = _letters(line)
    if len(letters) >= CONTAINED_FROM:
        return letters in _letters(text)
    return any(letters == _letters(part) for part in text.split("\n"))


def _letters(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", plain(text)).casefold().split())


def own_references() -> References:
    """The project's English for the photographs.

    Raises:
        InputError: it is malformed.
    """
    return {
        photo: {tuple(sorted(one.lines)): frozenset(map(fold, one.answers)) for one in references}
        for photo, references in load().items()
    }

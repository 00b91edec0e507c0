"""The rendered labelled set: every sign of it follows from the seed and its number, and from nothing else.

A sign has one to three phrases of one language on one to four lines, painted in one typeface; phrases and typeface are
of the sign's part. A third of the signs is seen two or three times, each time from nearer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from simulations.rendered_lines import in_some_case
from simulations.traces.phrases import EASTERN, LANGUAGE_WEIGHTS, PhraseStock, SignText, accepts, text_matches
from simulations.traces.plates import Plate, paint
from simulations.traces.records import TracePart
from simulations.traces.scenes import Scene, Sighting, first_view, largest_height, next_view, take
from simulations.traces.typefaces import TypefaceStock

PART_WEIGHTS: Final[Mapping[TracePart, float]] = {
    TracePart.TRAIN: 0.4,
    TracePart.CALIBRATION: 0.27,
    TracePart.TEST: 0.33,
}
"""How many signs each part has."""
PHRASE_COUNTS: Final = (0.76, 0.18, 0.06)
"""Shares of signs with one, two and three phrases."""
LOOK_COUNTS: Final = (0.66, 0.22, 0.12)
"""Shares of signs seen once, twice and three times."""
MAX_LINES: Final = 4
LONG_LINE: Final = 18
"""Longer phrases are more often than not broken into two lines, in characters; half of that in Eastern scripts."""
SMALLER: Final = (0.55, 1.0)
"""Size of the lines of every further phrase, as a share of the first one's."""
TRIES: Final = 50
T = TypeVar("T")


@dataclass(frozen=True)
class LabelledSign:
    """A sign and its truth.

    Attributes:
        number: of the sign in its set.
        seed: of the set.
        part: what it may be used for.
        language: ISO 639-1.
        phrases: on it, top to bottom.
        lines: as written.
        plate: the sign as painted.
        looks: how it is seen, once a look.
    """

    number: int
    seed: int
    part: TracePart
    language: str
    phrases: tuple[SignText, ...]
    lines: tuple[str, ...]
    plate: Plate
    looks: tuple[Sighting, ...]

    @property
    def truth(self) -> str:
        """What is written, lines joined by a line feed."""
        return "\n".join(self.lines)

    @property
    def phrase(self) -> str:
        """Identifies what is written."""
        return "+".join(phrase.phrase for phrase in self.phrases)

    @property
    def source(self) -> str:
        """Where its phrases are from."""
        return "+".join(sorted({phrase.source for phrase in self.phrases}))

    def scene(self, look: int) -> Scene:
        """What the camera sees at a look."""
        return take(self.plate, self.looks[look], np.random.default_rng([self.seed, self.number, 2, look]))

    def text_right(self, text: str) -> bool:
        """Whether a reading is right."""
        return text_matches(self.truth, text)

    def translation_right(self, translation: str) -> bool:
        """Whether a translation is acceptable."""
        return accepts(self.phrases, translation)


class LabelledSet:
    """Signs by their number.

    Args:
        stock: what may be written.
        typefaces: and how.
        seed: of everything drawn by chance.
    """

    def __init__(self, stock: PhraseStock, typefaces: TypefaceStock, *, seed: int) -> None:
        self._stock = stock
        self._typefaces = typefaces
        self._seed = seed

    def sign(self, number: int) -> LabelledSign:
        """The sign of a number, the same whenever it is asked for.

        Raises:
            InputError: no font writes it.
        """
        rng = np.random.default_rng([self._seed, number, 0])
        part = _chosen(rng, PART_WEIGHTS)
        language = _chosen(rng, LANGUAGE_WEIGHTS)
        phrases, lines, sizes = self._written(rng, part, language)
        typeface = self._typefaces.draw(rng, part, "\n".join(lines))
        plate = paint(lines, sizes, typeface, np.random.default_rng([self._seed, number, 1]))
        views = [first_view(rng, typeface.family)]
        for _ in range(int(rng.choice(len(LOOK_COUNTS), p=LOOK_COUNTS))):
            nearer = next_view(views[-1], rng)
            if nearer.height_px > largest_height(plate):
                break  # it would not fit into the view
            views.append(nearer)
        return LabelledSign(number, self._seed, part, language, phrases, lines, plate, tuple(views))

    def _written(
        self, rng: np.random.Generator, part: TracePart, language: str
    ) -> tuple[tuple[SignText, ...], tuple[str, ...], tuple[float, ...]]:
        """Phrases, and lines with their sizes."""
        count = 1 + int(rng.choice(len(PHRASE_COUNTS), p=PHRASE_COUNTS))
        phrases: list[SignText] = []
        lines: list[str] = []
        sizes: list[float] = []
        for _ in range(TRIES):
            if len(phrases) == count:
                break
            phrase = self._stock.draw(rng, part, language)
            broken = _lines_of(phrase, rng)
            repeated = any(phrase.phrase == other.phrase for other in phrases)
            if repeated or (phrases and len(lines) + len(broken) > MAX_LINES):
                continue
            size = float(rng.uniform(*SMALLER)) if phrases and rng.random() < 0.7 else 1.0
            phrases.append(phrase)
            lines += broken
            sizes += [size] * len(broken)
        return tuple(phrases), tuple(lines), tuple(sizes)


def _chosen(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _lines_of(phrase: SignText, rng: np.random.Generator) -> list[str]:
    """A phrase as a sign writes it: in some case, on one or more lines."""
    text = phrase.text if phrase.source == "number" or phrase.language in EASTERN else in_some_case(phrase.text, rng)
    if "\n" in text:
        return [line.strip() for line in text.split("\n") if line.strip()]
    longest = LONG_LINE // 2 if phrase.language in EASTERN else LONG_LINE
    if len(text) <= longest or (len(text) < 2 * longest and rng.random() < 0.35):
        return [text]
    return _broken(text, min(3, 2 + len(text) // (3 * longest)))


def _broken(text: str, count: int) -> list[str]:
    """A text on at most so many lines of about the same length, broken between words where there are any."""
    words: Sequence[str] = text.split(" ")
    glue = " "
    if len(words) == 1:
        if len(text) > LONG_LINE or text.isascii():
            return [text]
        words, glue = list(text), ""
    lines = [words[0]]
    for word in words[1:]:
        full = len(lines[-1]) + len(glue) + len(word) / 2 > len(text) / count
        if full and len(lines) < count:
            lines.append(word)
        else:
            lines[-1] += glue + word
    return lines

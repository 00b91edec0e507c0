"""Reading one line of text: a CTC recogniser.

Encoding version 1 (PaddleOCR's): BGR, height 48, width ``ceil(48 * width / height)``, ``(x / 255 - 0.5) / 0.5``, zeros
on the right up to a multiple of 8 and at least the pack's ``min_width``, or 64. The network answers with probabilities
(already softmaxed) of blank (index 0), each dictionary character in order, and the space last.

Greedy CTC decoding (Graves et al., Connectionist Temporal Classification, ICML 2006): the best class of each step,
repeats merged, blanks dropped. A character's confidence is the probability of the first step of its run.

The networks drop word spaces at times, and see one between letters that are set wide. So the decoder also says how
likely each gap is to be a word space, from what greedy decoding throws away: the probability of a space between two
characters, and how wide the gap in the picture is beside the other gaps of the line. `word_spaces` decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from shared.errors import PackCorrupt, PackUnsupported, StorageError
from shared.geometry import ImageBgr
from shared.limits import MAX_CROP_SIDE, MAX_RECOGNITION_WIDTH
from shared.models.device import Device
from shared.models.images import require_bgr
from shared.models.manifest import Task
from shared.models.packs import InstalledPack
from shared.models.session import open_session

MODEL_FILE: Final = "model.onnx"
DICTIONARY_FILE: Final = "dictionary.txt"
HEIGHT: Final = 48
"""Rows of the network's input."""
_WIDTH_STEP: Final = 8  # the network halves the width three times
_BLANK: Final = 0
SPACE_WEIGHTS: Final = (0.85, 19.0, 8.0)
"""Of the signals of a word space: logit of the network's probability of a space, and how much wider than the line's
median are the blank between two characters and the distance of their middles, in line heights. Logistic regression on
rendered lines, rounded; `wayword-sim bench lines` shows what it does."""
SPACE_BIAS: Final = -2.0
_END_OF_LATIN: Final = 0x0250
_FLOOR: Final = 1e-5
"""Least probability of a space that is told from none."""
_MAX_LOGIT: Final = 11.5
"""Logit of the least probability."""
_LEAST_GAPS: Final = 3
"""From so many gaps on, the others of a line say how its letters are set."""
_WIDER: Final = (-0.3, 0.4)
"""A gap is at most so much narrower or wider than the median: a gap between two columns is no surer a space."""
_BLANK_SHARE: Final = 0.3
"""A column is blank when its contrast is below this share of the way from the emptiest columns to the fullest."""
_LEAST_MARK: Final = 2
_WIDEST_MARK: Final = 12
"""Width of an opening exclamation mark, in columns of the input: a line of 48 rows has marks of 3 to 10."""
_ROWS: Final = slice(5, 43)
"""Rows in which ink is looked for: not the border of a sign above and below."""


@dataclass(frozen=True)
class Recognition:
    """What one line says.

    Attributes:
        text: as read, without space around it; empty when nothing was read.
        confidence: mean probability of its characters, 0..1; 0 for an empty text.
        minimum_confidence: the smallest of them.
        character_confidences: one per character of `text`.
        positions: where each of them was recognised, as a share of the line's width; empty when not known.
        space_evidence: for each of them the log-odds that a word space is before it, from the picture and the network,
            not from the text; for a space those of the character after it; empty when not known.
        mark_before: whether there is ink as narrow as a mark before the first character, of which nothing was read;
            looked for only where the text ends in "!" or "?", for the opening mark of Spanish.
    """

    text: str
    confidence: float
    minimum_confidence: float
    character_confidences: tuple[float, ...]
    positions: tuple[float, ...] = ()
    space_evidence: tuple[float, ...] = ()
    mark_before: bool = False

    def rewritten(self, text: str, origins: Sequence[int]) -> Recognition:
        """The same line with some characters replaced, inserted or left out.

        Args:
            text: what it says then.
            origins: for each character of `text` the index of the one it was read as; -1 for an inserted one, which is
                as sure as its less sure neighbour.

        Raises:
            ValueError: there are not as many origins as characters.
        """
        if len(text) != len(origins):
            raise ValueError("every character needs an origin")
        if text == self.text:
            return self
        if not text.strip():
            return Recognition("", 0.0, 0.0, ())
        confidences = _carried(self.character_confidences, origins, min)
        return Recognition(
            text,
            sum(confidences) / len(confidences),
            min(confidences),
            confidences,
            _carried(self.positions, origins, lambda pair: sum(pair) / len(pair)),
            _carried(self.space_evidence, origins, max),
            self.mark_before and origins[0] == 0,
        )


@dataclass(frozen=True, slots=True)
class EncodedLine:
    """One line as the network sees it.

    Attributes:
        tensor: float32 of shape (1, 3, 48, columns).
        width: columns that the line takes; the others are padding.
    """

    tensor: npt.NDArray[np.float32]
    width: int

    @property
    def columns(self) -> int:
        """Columns of the tensor: lines of equal columns can be read in one call of the network."""
        return int(self.tensor.shape[3])


class LineRecogniser(Protocol):
    """What reads lines: a network in this thread, or one that many threads share."""

    @property
    def pack(self) -> InstalledPack:
        """The pack it was loaded from."""
        ...

    @property
    def alphabet(self) -> frozenset[str]:
        """Every character it can answer with."""
        ...

    def recognise(self, crops: Sequence[ImageBgr]) -> list[Recognition]:
        """Read lines of text; see `TextRecogniser.recognise`."""
        ...


class TextRecogniser:
    """Reads lines of text; build one with `load`.

    Lines are read one at a time: on one CPU thread a batch gains nothing, and padding a short line to the longest
    one's width costs time and changes what is read.

    Raises:
        PackUnsupported: the pack is no recogniser, or its dictionary does not fit its model.
        PackCorrupt: its model or dictionary cannot be loaded.
    """

    def __init__(self, pack: InstalledPack, *, threads: int = 1, device: Device = Device.CPU) -> None:
        if pack.manifest.task is not Task.RECOGNITION:
            raise PackUnsupported(f"pack {pack.name} is for {pack.manifest.task}, not recognition")
        self._pack = pack
        self._min_width = round(pack.setting("min_width"))
        self._session = open_session(pack.path(MODEL_FILE), threads=threads, device=device)
        characters = read_dictionary(pack.path(DICTIONARY_FILE))
        # Index 0 is the blank, which stands for no character.
        self._characters = np.array(["", *characters, " "], dtype=np.str_)
        classes = self._session.output_shape()[-1]
        if classes is not None and classes != len(self._characters):
            raise PackUnsupported(
                f"pack {pack.name} knows {len(characters)} characters, but its model has {classes} classes"
            )
        self._alphabet = frozenset(characters) | {" "}

    @classmethod
    def load(cls, pack: InstalledPack, *, threads: int = 1, device: Device = Device.CPU) -> TextRecogniser:
        """Load the model and dictionary of a recognition pack; see the class for what it raises."""
        return cls(pack, threads=threads, device=device)

    @property
    def pack(self) -> InstalledPack:
        """The pack it was loaded from."""
        return self._pack

    @property
    def alphabet(self) -> frozenset[str]:
        """Every character it can answer with."""
        return self._alphabet

    @property
    def on_gpu(self) -> bool:
        """Whether the network runs on a GPU."""
        return self._session.on_gpu

    def recognise(self, crops: Sequence[ImageBgr]) -> list[Recognition]:
        """Read lines of text.

        Args:
            crops: one upright line each, uint8 of shape (height, width, 3), cut out with `rectify`.

        Returns:
            One answer per crop, in the same order.

        Raises:
            InputError: a crop is not BGR, has no pixel, or is too large.
            PackUnsupported: the model does not answer as a recogniser does.
        """
        lines = self.encoded(crops)
        return [self.decoded(line, self.probabilities(line.tensor)[0]) for line in lines]

    def encoded(self, crops: Sequence[ImageBgr]) -> list[EncodedLine]:
        """The first of the three steps of `recognise`; may run in another thread than the second.

        Raises:
            InputError: a crop is not BGR, has no pixel, or is too large.
        """
        for crop in crops:  # all before the first is read: a batch is read whole or not at all
            require_bgr(crop, what="a line", max_side=MAX_CROP_SIDE)
        return [EncodedLine(encode(crop, self._min_width), scaled_width(crop)) for crop in crops]

    def probabilities(self, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The second step: what the network says of lines of equal columns.

        Args:
            tensor: float32 of shape (lines, 3, 48, columns).

        Returns:
            float32 of shape (lines, steps, classes).

        Raises:
            PackUnsupported: the model does not answer as a recogniser does.
        """
        (answer,) = self._session.run({self._session.input_names[0]: tensor})
        if answer.ndim != 3 or answer.shape[0] != len(tensor) or answer.shape[2] != len(self._characters):
            raise PackUnsupported(f"the model of pack {self._pack.name} answers with shape {answer.shape}")
        return answer

    def decoded(self, line: EncodedLine, probabilities: npt.NDArray[np.float32]) -> Recognition:
        """The third step: what a line says.

        Args:
            line: as encoded.
            probabilities: of the network, float32 of shape (steps, classes).
        """
        answer = decode(probabilities, self._characters, columns=line.columns / line.width)
        if not _has_word_spaces(answer.text) or len(answer.positions) < 2:
            return answer
        seen = line.tensor[0]
        middles = np.array(answer.positions) * line.width
        evidence = space_evidence(answer.text, middles, probabilities[:, -1], seen, line.width)
        marked = answer.text[-1] in "!?" and has_mark_before(seen[:, :, : line.width], float(middles[0]))
        return replace(answer, space_evidence=evidence, mark_before=marked)


def encode(crop: ImageBgr, min_width: int) -> npt.NDArray[np.float32]:
    """The network's input for one line: float32 of shape (1, 3, 48, columns)."""
    width = scaled_width(crop)
    columns = max(min_width, math.ceil(width / _WIDTH_STEP) * _WIDTH_STEP)
    scaled = cv2.resize(crop, (width, HEIGHT)).astype(np.float32)
    tensor = np.zeros((1, 3, HEIGHT, columns), dtype=np.float32)
    tensor[0, :, :, :width] = (scaled * (2.0 / 255.0) - 1.0).transpose(2, 0, 1)
    return tensor


def scaled_width(crop: ImageBgr) -> int:
    """Columns that a line takes in the network's input, padding aside."""
    height, width = crop.shape[:2]
    return int(min(MAX_RECOGNITION_WIDTH, math.ceil(HEIGHT * width / height)))


def decode(
    probabilities: npt.NDArray[np.float32], characters: npt.NDArray[np.str_], *, columns: float = 1.0
) -> Recognition:
    """Greedy CTC decoding of one line.

    Args:
        probabilities: float32 of shape (steps, classes).
        characters: the character of each class; class 0 is the blank.
        columns: what the steps span, padding included, in widths of the line.
    """
    best = probabilities.argmax(axis=1)
    starts = np.ones(len(best), dtype=bool)
    starts[1:] = best[1:] != best[:-1]
    kept = np.flatnonzero(starts & (best != _BLANK))
    text = characters[best[kept]]
    solid = np.flatnonzero(~np.char.isspace(text))
    if len(solid) == 0:
        return Recognition("", 0.0, 0.0, ())
    kept, text = kept[solid[0] : solid[-1] + 1], text[solid[0] : solid[-1] + 1]
    confidences = tuple(float(value) for value in probabilities[kept, best[kept]])
    ends = np.append(np.flatnonzero(starts)[1:], len(best))
    middles = (kept + ends[np.searchsorted(ends, kept, side="right")]) / 2
    positions = tuple(min(float(value), 1.0) for value in middles * (columns / len(best)))
    return Recognition("".join(text), sum(confidences) / len(confidences), min(confidences), confidences, positions)


def space_evidence(
    text: str,
    middles: npt.NDArray[np.float64],
    spaces: npt.NDArray[np.float32],
    line: npt.NDArray[np.float32],
    width: int,
) -> tuple[float, ...]:
    """Log-odds that a word space is before each character.

    Args:
        text: as decoded.
        middles: of each character, in columns of the network's input, rising.
        spaces: the network's probability of a space, by step.
        line: what the network saw, float32 of shape (3, 48, columns).
        width: columns of it that the line takes; the others are padding.

    Returns:
        One value a character. The first character's says that there is none.
    """
    solid = [index for index, character in enumerate(text) if not character.isspace()]
    evidence = np.full(len(text), -_MAX_LOGIT)
    if len(solid) >= 2:
        middles = middles[solid]
        steps = middles * (len(spaces) / line.shape[2])
        likeliest = np.minimum(_between(spaces, steps), 1.0).astype(np.float64)
        logits = np.log((likeliest + _FLOOR) / (1.0 + _FLOOR - likeliest))
        if len(logits) >= _LEAST_GAPS:
            # Most gaps look like spaces to the network: the letters are set wide, and only a still wider gap is one.
            logits -= max(_median(logits), 0.0)
        odds = SPACE_BIAS + SPACE_WEIGHTS[0] * logits
        for weight, widths in zip(
            SPACE_WEIGHTS[1:], (blank_widths(line[..., :width], middles), np.diff(middles)), strict=True
        ):
            odds += weight * np.clip((widths - _median(widths)) / HEIGHT, *_WIDER)
        for index, value in zip(solid[1:], odds, strict=True):
            evidence[index] = value
            if text[index - 1].isspace():
                evidence[index - 1] = value
    return tuple(round(float(value), 3) for value in evidence)


def blank_widths(line: npt.NDArray[np.float32], middles: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The widest blank between each two neighbouring characters, in columns.

    Args:
        line: float32 of shape (3, 48, columns).
        middles: of the characters, in columns, rising.
    """
    blank = _blank_columns(line)
    blank[np.clip(np.rint(middles).astype(int), 0, len(blank) - 1)] = False  # a character's middle is its own
    columns = np.arange(len(blank))
    run = columns - np.maximum.accumulate(np.where(blank, -1, columns))  # blank columns up to and including this one
    return np.asarray(_between(run, middles), np.int64)


def has_mark_before(line: npt.NDArray[np.float32], middle: float) -> bool:
    """Whether ink as narrow as a mark is apart from the first character, and before it.

    Args:
        line: float32 of shape (3, 48, columns).
        middle: of the first character, in columns.
    """
    ink = ~_blank_columns(line)
    ink[: _LEAST_MARK // 2] = False  # what sticks to the edge of the crop is no mark
    place = min(max(round(middle), 0), len(ink) - 1)
    runs = np.flatnonzero(np.diff(np.concatenate([[False], ink[: place + 1], [False]])))
    starts, ends = runs[::2], runs[1::2]
    # The last run is the first character's, when its middle has ink; "O" and "U" may have none there.
    widths = (ends - starts)[:-1] if ink[place] else ends - starts
    return bool(len(widths) == 1 and _LEAST_MARK <= widths[0] <= _WIDEST_MARK)


def _blank_columns(line: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which columns of a line have no ink."""
    grey = cv2.blur(line[0] + line[1] + line[2], (1, 3))[_ROWS]
    contrast = grey.max(axis=0) - grey.min(axis=0)
    ranked = np.sort(contrast)
    low, high = ranked[len(ranked) // 20], ranked[len(ranked) * 4 // 5]
    return np.asarray(contrast < low + _BLANK_SHARE * (high - low), np.bool_)


def _between(values: npt.NDArray[Any], places: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """The largest value between each two neighbouring places, both included; one fewer than places."""
    last = len(values) - 1
    first = np.clip(places[:-1].astype(int), 0, last)
    end = np.clip(places[1:].astype(int) + 1, first + 1, last + 1)
    bounds = np.column_stack([first, end]).ravel()
    return np.maximum.reduceat(np.append(values, values[-1]), bounds)[::2]


def _median(values: npt.NDArray[Any]) -> float:
    """The upper median: exact enough, and a tenth of the time of NumPy's for as few values."""
    return float(np.sort(values)[len(values) // 2])


def _has_word_spaces(text: str) -> bool:
    """Whether a text has letters of Latin script, in which words are spaced; digits alone are not enough."""
    return any(character.isalpha() and ord(character) < _END_OF_LATIN for character in text)


def _carried(
    values: Sequence[float], origins: Sequence[int], between: Callable[[list[float]], float]
) -> tuple[float, ...]:
    """Values of characters by where they came from; an inserted one gets what `between` makes of its neighbours'."""
    if not values:
        return ()
    carried = []
    for place, origin in enumerate(origins):
        if origin >= 0:
            carried.append(values[origin])
            continue
        before = next((values[other] for other in reversed(origins[:place]) if other >= 0), None)
        after = next((values[other] for other in origins[place + 1 :] if other >= 0), None)
        carried.append(between([value for value in (before, after) if value is not None] or [min(values)]))
    return tuple(carried)


def read_dictionary(path: Path) -> list[str]:
    """The characters of a recognition model: UTF-8, one a line, in the order of the model's outputs.

    Raises:
        PackCorrupt: no UTF-8, or a line is not one character.
        StorageError: the file cannot be read.
    """
    try:
        # Only line feeds end a line: some of the characters are line separators themselves to str.splitlines().
        lines = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise PackCorrupt(f"{path.name} of pack {path.parent.name} is not UTF-8") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    characters = [line.removesuffix("\r") for line in lines]
    for number, character in enumerate(characters, start=1):
        if len(character) != 1:
            raise PackCorrupt(f"line {number} of {path.name} of pack {path.parent.name} is not one character")
    return characters

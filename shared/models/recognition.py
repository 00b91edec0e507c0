"""Reading one line of text: a CTC recogniser.

Encoding version 1 (PaddleOCR's): BGR, height 48, width ``ceil(48 * width / height)``, ``(x / 255 - 0.5) / 0.5``, zeros
on the right up to a multiple of 8 and at least the pack's ``min_width``. The network answers with probabilities
(already softmaxed) of blank (index 0), each dictionary character in order, and the space last.

Greedy CTC decoding (Graves et al., Connectionist Temporal Classification, ICML 2006): the best class of each step,
repeats merged, blanks dropped. A character's confidence is the probability of the first step of its run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.errors import PackCorrupt, PackUnsupported, StorageError
from shared.geometry import ImageBgr
from shared.limits import MAX_CROP_SIDE, MAX_RECOGNITION_WIDTH
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


@dataclass(frozen=True)
class Recognition:
    """What one line says.

    Attributes:
        text: as read, without space around it; empty when nothing was read.
        confidence: mean probability of its characters, 0..1; 0 for an empty text.
        minimum_confidence: the smallest of them.
        character_confidences: one per character of `text`.
    """

    text: str
    confidence: float
    minimum_confidence: float
    character_confidences: tuple[float, ...]


class TextRecogniser:
    """Reads lines of text; build one with `load`.

    Lines are read one at a time: on one CPU thread a batch gains nothing, and padding a short line to the longest
    one's width costs time and changes what is read.

    Raises:
        PackUnsupported: the pack is no recogniser, or its dictionary does not fit its model.
        PackCorrupt: its model or dictionary cannot be loaded.
    """

    def __init__(self, pack: InstalledPack, *, threads: int = 1) -> None:
        if pack.manifest.task is not Task.RECOGNITION:
            raise PackUnsupported(f"pack {pack.name} is for {pack.manifest.task}, not recognition")
        self._pack = pack
        self._min_width = round(pack.setting("min_width"))
        self._session = open_session(pack.path(MODEL_FILE), threads=threads)
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
    def load(cls, pack: InstalledPack, *, threads: int = 1) -> TextRecogniser:
        """Load the model and dictionary of a recognition pack; see the class for what it raises."""
        return cls(pack, threads=threads)

    @property
    def pack(self) -> InstalledPack:
        """The pack it was loaded from."""
        return self._pack

    @property
    def alphabet(self) -> frozenset[str]:
        """Every character it can answer with."""
        return self._alphabet

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
        for crop in crops:  # all before the first is read: a batch is read whole or not at all
            require_bgr(crop, what="a line", max_side=MAX_CROP_SIDE)
        return [self._read(crop) for crop in crops]

    def _read(self, crop: ImageBgr) -> Recognition:
        (probabilities,) = self._session.run({self._session.input_names[0]: encode(crop, self._min_width)})
        if probabilities.ndim != 3 or probabilities.shape[2] != len(self._characters):
            raise PackUnsupported(f"the model of pack {self._pack.name} answers with shape {probabilities.shape}")
        return decode(probabilities[0], self._characters)


def encode(crop: ImageBgr, min_width: int) -> npt.NDArray[np.float32]:
    """The network's input for one line: float32 of shape (1, 3, 48, columns)."""
    height, width = crop.shape[:2]
    scaled_width = min(MAX_RECOGNITION_WIDTH, math.ceil(HEIGHT * width / height))
    columns = max(min_width, math.ceil(scaled_width / _WIDTH_STEP) * _WIDTH_STEP)
    scaled = cv2.resize(crop, (scaled_width, HEIGHT)).astype(np.float32)
    tensor = np.zeros((1, 3, HEIGHT, columns), dtype=np.float32)
    tensor[0, :, :, :scaled_width] = (scaled * (2.0 / 255.0) - 1.0).transpose(2, 0, 1)
    return tensor


def decode(probabilities: npt.NDArray[np.float32], characters: npt.NDArray[np.str_]) -> Recognition:
    """Greedy CTC decoding of one line.

    Args:
        probabilities: float32 of shape (steps, classes).
        characters: the character of each class; class 0 is the blank.
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
    return Recognition("".join(text), sum(confidences) / len(confidences), min(confidences), confidences)


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

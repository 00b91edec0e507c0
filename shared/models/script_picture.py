"""Which script a picture of a line shows, told from the picture and not from what a recogniser made of it.

A small convolutional network of our own, trained on rendered lines by ``wayword-sim train script``; its recipe and its
measured figures are in ``data/script.json``. It answers for ten scripts, for the other scripts as one (OTHER), for
lines without letters such as prices (COMMON), and for pictures without text: pictograms and textures.

Encoding version 1: grey (ITU-R BT.601), height 32, width ``32 * width / height`` rounded to a multiple of 8 between 32
and 512 (longer lines are squeezed), less its mean, divided by its standard deviation or by 8 grey levels where it has
less, and inverted where it is skewed to the bright side: letters cover less than their ground, so they come out dark
most of the time. The network answers with probabilities: the temperature that calibrates them (Guo et al., On
Calibration of Modern Neural Networks, ICML 2017) is in its weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.errors import PackUnsupported
from shared.geometry import ImageBgr
from shared.limits import MAX_CROP_SIDE
from shared.models.images import require_bgr
from shared.models.script import Script
from shared.models.session import OnnxSession, open_session

ENCODING_VERSION: Final = 1
HEIGHT: Final = 32
"""Rows of the network's input."""
WIDTH_STEP: Final = 8
"""The network halves the width three times."""
MIN_WIDTH: Final = 32
MAX_WIDTH: Final = 512
NO_TEXT: Final = "no_text"
CLASSES: Final = (*(script.value for script in Script), NO_TEXT)
"""What the network's outputs stand for, in their order; its metadata must say the same."""
_MODEL: Final = "data/script.onnx"
_LEAST_DEVIATION: Final = 8.0
"""Grey levels: a plain wall's noise is not blown up to look like strokes."""


@dataclass(frozen=True)
class PictureScript:
    """What a picture shows; all probabilities together are 1.

    Attributes:
        probabilities: of each script; COMMON is text without letters, OTHER a script with no name here. KANA stands for
            Japanese with any kana, and a script stands for a line that has words in it beside Latin ones.
        no_text: of a pictogram, a texture or anything else that is no text.
    """

    probabilities: Mapping[Script, float]
    no_text: float

    @property
    def script(self) -> Script | None:
        """The likeliest script; None when no text is likelier than any."""
        best = max(self.probabilities, key=lambda script: self.probabilities[script])
        return best if self.probabilities[best] >= self.no_text else None

    def beyond(self, scripts: Collection[Script]) -> float:
        """Probability that the picture shows a script that is none of these."""
        return sum(
            probability
            for script, probability in self.probabilities.items()
            if script is not Script.COMMON and script not in scripts
        )


class ScriptClassifier:
    """Tells the script of lines; build one with `builtin`.

    Args:
        path: the network.

    Raises:
        PackCorrupt: the file is no model.
        PackUnsupported: it is of another version, or for other classes.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._session: OnnxSession = open_session(path, threads=threads)
        metadata = self._session.metadata
        if metadata.get("encoding_version") != str(ENCODING_VERSION) or metadata.get("classes") != " ".join(CLASSES):
            raise PackUnsupported(f"{path.name} is no script classifier of this version")

    @classmethod
    def builtin(cls, *, threads: int = 1) -> ScriptClassifier:
        """The classifier that ships with this version; see the class for what it raises."""
        with resources.as_file(resources.files("shared.models").joinpath(_MODEL)) as path:
            return cls(path, threads=threads)

    def classify(self, crops: Sequence[ImageBgr]) -> list[PictureScript]:
        """Tell the scripts of lines, one after the other: lines differ in width, and padding would show in the answer.

        Args:
            crops: one line each, uint8 of shape (height, width, 3), cut out and turned as for the recogniser.

        Returns:
            One answer per crop, in the same order.

        Raises:
            InputError: a crop is not BGR, has no pixel, or is too large.
            PackUnsupported: the model does not answer as a script classifier does.
        """
        for crop in crops:  # all before the first: a batch is answered whole or not at all
            require_bgr(crop, what="a line", max_side=MAX_CROP_SIDE)
        return [self._classify(crop) for crop in crops]

    def _classify(self, crop: ImageBgr) -> PictureScript:
        outputs = self._session.run({self._session.input_names[0]: encode(crop)})
        if len(outputs) != 1 or outputs[0].shape != (1, len(CLASSES)):
            raise PackUnsupported("the script classifier's model does not answer as one")
        return as_picture_script(outputs[0][0])


def as_picture_script(probabilities: npt.NDArray[np.float32]) -> PictureScript:
    """The network's answer for one line, float32 of shape (classes,), by name."""
    *scripts, no_text = (float(value) for value in probabilities)
    return PictureScript(dict(zip(Script, scripts, strict=True)), no_text)


def encode(crop: ImageBgr) -> npt.NDArray[np.float32]:
    """The network's input for one line, uint8 of shape (height, width, 3): float32 of shape (1, 1, 32, columns)."""
    return normalise(scale(np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), dtype=np.uint8)))[np.newaxis, np.newaxis]


def scale(grey: npt.NDArray[np.uint8], *, step: int = WIDTH_STEP) -> npt.NDArray[np.uint8]:
    """A grey picture at the network's height, and at a width that is a multiple of `step`."""
    height, width = grey.shape
    columns = round(HEIGHT * width / height / step) * step
    columns = min(max(columns, MIN_WIDTH), MAX_WIDTH)
    shrinks = height > HEIGHT
    scaled = cv2.resize(grey, (columns, HEIGHT), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(scaled, dtype=np.uint8)


def normalise(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Grey levels less their mean, in standard deviations, letters dark; over the last two axes."""
    values = grey.astype(np.float32)
    centred = values - values.mean(axis=(-2, -1), keepdims=True)
    deviation = np.maximum(centred.std(axis=(-2, -1), keepdims=True), np.float32(_LEAST_DEVIATION))
    scaled = centred / deviation
    bright = np.power(scaled, 3).mean(axis=(-2, -1), keepdims=True) > 0
    return np.asarray(np.where(bright, -scaled, scaled), dtype=np.float32)

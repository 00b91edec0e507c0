"""Telling upright lines from upside-down ones.

Encoding version 1 (PaddleOCR's): BGR, height 48, width ``ceil(48 * width / height)`` up to 192, zeros on the right,
``(x / 255 - 0.5) / 0.5``. The network answers with the probabilities of 0 and 180 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.errors import PackUnsupported
from shared.geometry import ImageBgr
from shared.limits import MAX_CROP_SIDE
from shared.models.images import require_bgr
from shared.models.manifest import Task
from shared.models.packs import InstalledPack
from shared.models.session import open_session

MODEL_FILE: Final = "model.onnx"
_HEIGHT: Final = 48
_WIDTH: Final = 192
_TURNED: Final = 1  # class of 180 degrees


class OrientationClassifier:
    """Finds the lines that stand on their heads; build one with `load`.

    Raises:
        PackUnsupported: the pack is no orientation classifier.
        PackCorrupt: its model cannot be loaded.
    """

    def __init__(self, pack: InstalledPack, *, threads: int = 1) -> None:
        if pack.manifest.task is not Task.ORIENTATION:
            raise PackUnsupported(f"pack {pack.name} is for {pack.manifest.task}, not orientation")
        self.pack = pack
        self._threshold = pack.setting("threshold")
        self._session = open_session(pack.path(MODEL_FILE), threads=threads)

    @classmethod
    def load(cls, pack: InstalledPack, *, threads: int = 1) -> OrientationClassifier:
        """Load the model of an orientation pack; see the class for what it raises."""
        return cls(pack, threads=threads)

    def upside_down(self, crops: Sequence[ImageBgr]) -> list[bool]:
        """Whether each line is surely upside down; a doubtful one counts as upright.

        Args:
            crops: one horizontal line each, uint8 of shape (height, width, 3).

        Raises:
            InputError: a crop is not BGR, has no pixel, or is too large.
            PackUnsupported: the model does not answer as a classifier does.
        """
        if not crops:
            return []
        batch = np.stack([_encode(require_bgr(crop, what="a line", max_side=MAX_CROP_SIDE)) for crop in crops])
        (probabilities,) = self._session.run({self._session.input_names[0]: batch})
        if probabilities.shape != (len(crops), 2):
            raise PackUnsupported(f"the model of pack {self.pack.name} answers with shape {probabilities.shape}")
        return [bool(turned) for turned in probabilities[:, _TURNED] >= self._threshold]


def _encode(crop: ImageBgr) -> npt.NDArray[np.float32]:
    height, width = crop.shape[:2]
    columns = min(_WIDTH, math.ceil(_HEIGHT * width / height))
    scaled = cv2.resize(crop, (columns, _HEIGHT)).astype(np.float32)
    tensor = np.zeros((3, _HEIGHT, _WIDTH), dtype=np.float32)
    tensor[:, :, :columns] = (scaled * (2.0 / 255.0) - 1.0).transpose(2, 0, 1)
    return tensor

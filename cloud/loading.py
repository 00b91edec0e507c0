"""From installed packs to readers that are ready to work."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from cloud.readers import LargeReader
from cloud.validation import LineJob, ReadJob
from shared.clock import Clock
from shared.errors import PackMissing
from shared.messages.wayword.v1 import types_pb2
from shared.models.apertium_use import ApertiumUse
from shared.models.detection import TextDetector
from shared.models.language import warm_up as warm_up_language
from shared.models.orientation import OrientationClassifier
from shared.models.packs import InstalledPack, PackStore
from shared.models.phrasebook import Phrasebook
from shared.models.recognition import TextRecogniser
from shared.models.script_picture import ScriptClassifier
from shared.models.sign_reader import LARGE, SignReader
from shared.models.sign_translation import SignTranslator
from shared.models.sign_words import SignWords
from shared.models.translators import load_translators

DETECTION_PACK: Final = "ocr-tiny-det"
"""Lines are found as the glasses and the phone find them, only closer up: it keeps the cells of a row apart."""
SECOND_DETECTION_PACK: Final = "ocr-small-det"
"""Adds what the other one misses; used where it is installed."""
RECOGNITION_PACK: Final = "ocr-small-rec"
ORIENTATION_PACK: Final = "ocr-cls"
_WARM_WIDTH: Final = 400
_WARM_HEIGHT: Final = 64


def load_readers(store: PackStore, *, workers: int, clock: Clock, beam: int) -> list[LargeReader]:
    """One reader per worker, each with sessions of its own and every installed translation pack.

    Raises:
        PackMissing: an OCR pack of the service is not installed.
        PackError: a pack is broken or of a kind this runtime does not know.
    """
    detection, recognition, orientation = (
        _required(store, name) for name in (DETECTION_PACK, RECOGNITION_PACK, ORIENTATION_PACK)
    )
    second = store.get(SECOND_DETECTION_PACK) if SECOND_DETECTION_PACK in store.names() else None
    phrasebook = Phrasebook.builtin()
    readers = []
    for _ in range(workers):
        # Packs only: a process for each sign is nothing for a service that answers many at once.
        translators = load_translators(store, apertium=ApertiumUse.OFF)
        readers.append(
            LargeReader(
                reader=SignReader(
                    detector=TextDetector.load(detection, threads=1),
                    second=TextDetector.load(second, threads=1) if second is not None else None,
                    recogniser=TextRecogniser.load(recognition, threads=1),
                    orientation=OrientationClassifier.load(orientation),
                    scripts=ScriptClassifier.builtin(),
                    plan=LARGE,
                ),
                translator=SignTranslator(phrasebook, translators),
                clock=clock,
                beam=beam,
            )
        )
    return readers


def warm_up(reader: LargeReader, *, clock: Clock) -> float:
    """Run a reader twice, so that no caller pays for first-call set-up.

    Returns:
        Seconds the second run took: a first estimate of the work behind one strip line.
    """
    picture = np.full((_WARM_HEIGHT, _WARM_WIDTH, 3), 255, np.uint8)
    cv2.putText(picture, "Wayword", (20, 48), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 3)
    _, encoded = cv2.imencode(".webp", picture)
    corners = np.array([[0, 0], [_WARM_WIDTH, 0], [_WARM_WIDTH, _WARM_HEIGHT], [0, _WARM_HEIGHT]], np.float32)
    job = ReadJob(
        lines=(LineJob(encoded.tobytes(), corners, None, 1.0),),
        encoding=types_pb2.IMAGE_ENCODING_WEBP,
        is_frame=False,
        source=None,
        target="en",
    )
    warm_up_language()
    SignWords.builtin()
    reader(job)
    started = clock.monotonic()
    reader(job)
    return clock.monotonic() - started


def _required(store: PackStore, name: str) -> InstalledPack:
    try:
        return store.get(name)
    except PackMissing as error:
        raise PackMissing(
            error.message, hint="run: wayword-phone packs install, or name a store with --packs"
        ) from error

"""From installed packs to readers that are ready to work."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from cloud.reading.batched_recognition import BatchedRecogniser
from cloud.reading.batcher import ON_CPU, ON_GPU
from cloud.reading.ensemble import SecondEngine
from cloud.reading.ensemble_loading import load_second_engine, what_is_read
from cloud.reading.readers import LargeReader
from cloud.reading.translation import PlannedTranslator
from cloud.reading.validation import LineJob, ReadJob
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import PackMissing
from shared.messages.wayword.v1 import types_pb2
from shared.models.apertium_use import ApertiumUse
from shared.models.detection import TextDetector
from shared.models.device import Device
from shared.models.language import warm_up as warm_up_language
from shared.models.orientation import OrientationClassifier
from shared.models.packs import InstalledPack, PackStore, default_store_root
from shared.models.phrasebook import Phrasebook
from shared.models.recognition import LineRecogniser, TextRecogniser
from shared.models.script_picture import ScriptClassifier
from shared.models.sign_reader import LARGE, SignReader
from shared.models.sign_words import SignWords
from shared.models.translators import load_translators

DETECTION_PACK: Final = "ocr-tiny-det"
"""Lines are found as the glasses and the phone find them, only closer up: it keeps the cells of a row apart."""
SECOND_DETECTION_PACK: Final = "ocr-small-det"
"""Adds what the other one misses; used where it is installed."""
RECOGNITION_PACK: Final = "ocr-small-rec"
ORIENTATION_PACK: Final = "ocr-cls"
GPU_SESSIONS: Final = 2
"""One computes while the other's lines are copied. A judgement, not a measurement."""
_WARM_WIDTH: Final = 400
_WARM_HEIGHT: Final = 64


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """What the service computes with.

    Attributes:
        recogniser: shared by all readers; to be closed when they have ended.
        readers: one per worker.
        seconds_per_line: first estimate of the work behind one strip line.
        second_engine: what it reads, in one line; empty for none.
    """

    recogniser: BatchedRecogniser
    readers: Sequence[LargeReader]
    seconds_per_line: float
    second_engine: str = ""


def load_models(
    settings: CloudSettings, *, clock: Clock, on_engine_failure: Callable[[str], None] = lambda _: None
) -> LoadedModels:
    """Load and warm up everything that the settings ask for.

    Args:
        settings: of the service.
        clock: of deadlines and measurements.
        on_engine_failure: told in one line when the second engine failed, from any thread.

    Raises:
        PackMissing: an OCR pack of the service is not installed.
        PackError: a pack is broken or of a kind this runtime does not know.
        UsageError: a GPU is asked for and cannot be used.
    """
    store = PackStore(settings.packs if settings.packs is not None else default_store_root())
    recogniser = load_recogniser(store, settings, clock=clock)
    second_engine = load_second_engine(store, settings, recogniser, clock=clock, on_failure=on_engine_failure)
    readers = load_readers(
        store,
        workers=settings.workers,
        clock=clock,
        beam=settings.beam,
        recogniser=recogniser,
        device=settings.device,
        rerank_weight=settings.rerank_weight,
        second_engine=second_engine,
    )
    seconds_per_line = max(warm_up(reader, clock=clock) for reader in readers)
    return LoadedModels(recogniser, readers, seconds_per_line, what_is_read(second_engine))


def load_recogniser(store: PackStore, settings: CloudSettings, *, clock: Clock) -> BatchedRecogniser:
    """The recogniser that all workers share. Close it when they have ended.

    On the CPU there are as many sessions of one thread as cores: two such answer more lines a second than one of two
    threads, and more than the cores would only take turns. On a GPU there are `GPU_SESSIONS`.

    Args:
        store: has its pack.
        settings: device, and what overrides the rule.
        clock: of the deadlines.

    Raises:
        PackMissing: the pack is not installed.
        PackError: it is broken or of a kind this runtime does not know.
        UsageError: a GPU is asked for and cannot be used.
    """
    pack = _required(store, RECOGNITION_PACK)
    first = TextRecogniser.load(pack, threads=1, device=settings.device)
    plan = ON_GPU if first.on_gpu else ON_CPU
    plan = replace(
        plan,
        max_batch=plan.max_batch if settings.max_batch is None else settings.max_batch,
        linger_s=plan.linger_s if settings.linger_ms is None else settings.linger_ms / 1e3,
    )
    sessions = settings.sessions
    if sessions is None:
        sessions = GPU_SESSIONS if first.on_gpu else len(os.sched_getaffinity(0))
    others = [TextRecogniser.load(pack, threads=1, device=settings.device) for _ in range(sessions - 1)]
    return BatchedRecogniser([first, *others], clock=clock, plan=plan)


def load_readers(
    store: PackStore,
    *,
    workers: int,
    clock: Clock,
    beam: int,
    recogniser: LineRecogniser | None = None,
    device: Device = Device.CPU,
    rerank_weight: float = 0.0,
    second_engine: SecondEngine | None = None,
) -> list[LargeReader]:
    """One reader per worker, each with every installed translation pack and sessions of its own.

    Args:
        store: has the packs.
        workers: how many readers.
        clock: measures stages.
        beam: width of the translator's search.
        recogniser: shared by all; None for one of its own for each.
        device: what lines are found on, and read where each has a recogniser of its own. The other models are too
            small to gain by a GPU.
        rerank_weight: of the reverse direction among candidate translations, 0..1; 0 to leave them as they are.
        second_engine: reads again what the readers are not sure of, shared by all; None for nothing.

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
                    detector=TextDetector.load(detection, threads=1, device=device),
                    second=TextDetector.load(second, threads=1, device=device) if second is not None else None,
                    recogniser=(
                        TextRecogniser.load(recognition, threads=1, device=device) if recogniser is None else recogniser
                    ),
                    orientation=OrientationClassifier.load(orientation),
                    scripts=ScriptClassifier.builtin(),
                    plan=LARGE,
                ),
                translator=PlannedTranslator(phrasebook, translators, rerank_weight=rerank_weight),
                clock=clock,
                beam=beam,
                second_engine=second_engine,
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

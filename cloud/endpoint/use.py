"""When the endpoint is asked, and what of an answer it may change.

It is asked after our own models, outside their worker threads, and only where they are at a loss: nothing translates
the direction, or the calibrated confidence of the translation is below `ASK_BELOW`; a vision model also where nothing
here reads the script, or the reading itself is that unsure. The phrasebook is never overruled: people wrote it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from rapidfuzz import fuzz

from cloud.endpoint.mode import Mode
from cloud.endpoint.model import Endpoint, LineAnswer
from cloud.reading.pictures import decoded
from cloud.reading.validation import LineJob, ReadJob, TextJob
from cloud.refusals import Refusal
from shared.clock import Clock
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.models.phrasebook import Phrasebook
from shared.models.rectify import crop_inner
from shared.models.sign_translation import SignTranslation, SignTranslator, TranslationEngine

ASK_BELOW: Final = 0.5
"""Confidence below which our own translation, or reading, is more likely wrong than right: it costs little to be taken
back. A judgement: fitting it would take the endpoint's own answers, which differ from model to model."""
BELIEVED: Final = 0.7
"""Confidence given to a translation or a reading of the endpoint that passed every check. A judgement, on the low side
because nothing here has measured that model."""
LIKENESS: Final = 0.5
"""Least share of common characters of the endpoint's reading and ours, where ours is unsure and not impossible."""
PACK_NAME: Final = "endpoint"
"""Pack name of what the endpoint translated or read; the version is the model's name."""
JPEG_QUALITY: Final = 90

_NO_TRANSLATION: Final = frozenset({types_pb2.UNREADABLE_DIRECTION, types_pb2.UNREADABLE_LANGUAGE_UNKNOWN})
_NO_READING: Final = frozenset({types_pb2.UNREADABLE_SCRIPT, types_pb2.UNREADABLE_LOW_CONFIDENCE})
_OWN_MODELS: Final = frozenset({types_pb2.ENGINE_TRANSLATOR, types_pb2.ENGINE_MIXED})

logger = logging.getLogger("wayword.cloud")


class EndpointUse:
    """Improves answers. Use from one event loop.

    Args:
        endpoint: to ask.
        model: its name, shown as a version.
        clock: measures.
    """

    def __init__(self, endpoint: Endpoint, *, model: str, clock: Clock) -> None:
        self._endpoint = endpoint
        self._model = model
        self._clock = clock

    async def improve_reading(self, reading: types_pb2.Reading, job: ReadJob) -> None:
        """Change the reading where the endpoint knows better. Never raises but for a cancellation.

        Args:
            reading: our own answer, as it will be sent.
            job: what it answers.
        """
        if not job.plan.endpoint:
            return
        started = self._clock.monotonic()
        try:
            changed = await self._read(reading, job) or await self._translated(
                reading, [line.text for line in reading.lines], job.deadline
            )
        except Exception as error:  # noqa: BLE001  # our own answer stands, whatever happens out there
            logger.warning("the endpoint failed with %s", type(error).__name__)
            return
        if changed:
            self._note_time(reading, started)

    async def improve_translation(self, reply: cloud_pb2.TranslateReply, job: TextJob) -> None:
        """Change the translation where the endpoint knows better. Never raises but for a cancellation.

        Args:
            reply: our own answer, as it will be sent.
            job: what it answers.
        """
        if not job.plan.endpoint:
            return
        started = self._clock.monotonic()
        try:
            changed = await self._translated(reply, job.lines, job.deadline)
        except Exception as error:  # noqa: BLE001  # likewise
            logger.warning("the endpoint failed with %s", type(error).__name__)
            return
        if changed:
            self._note_time(reply, started)

    async def _translated(
        self, message: types_pb2.Reading | cloud_pb2.TranslateReply, lines: Sequence[str], deadline: float
    ) -> bool:
        if not needs_translation(message):
            return False
        kept = [line for line in lines if line.strip()]
        direction = message.direction
        found = await self._endpoint.translate(
            kept, source=direction.source or None, target=direction.target, deadline=deadline
        )
        if found is None:
            return False
        self._put(message, "\n".join(found))
        return True

    async def _read(self, reading: types_pb2.Reading, job: ReadJob) -> bool:
        # A frame never leaves: it shows more than the sign.
        if self._endpoint.mode is not Mode.VISION or job.is_frame or not needs_reading(reading):
            return False
        pictures = await asyncio.to_thread(_cut_out, job.lines)
        target = reading.direction.target
        found = await self._endpoint.read(pictures, source=job.source, target=target, deadline=job.deadline)
        if found is None:
            return False
        text = "\n".join(line.text for line in found)
        unsure = reading.unreadable not in _NO_READING
        if unsure and fuzz.ratio(_folded(text), _folded(reading.text)) < 100 * LIKENESS:
            logger.info("a reading of the endpoint is not believed: it has little in common with our own")
            return False
        known = await asyncio.to_thread(_known, [line.text for line in found], job.source, target)
        self._put_lines(reading, found, job.lines)
        if known.engine is TranslationEngine.PHRASEBOOK and known.reason is None:
            self._put(reading, known.translation)
            reading.engine = types_pb2.ENGINE_PHRASEBOOK
            reading.direction.source = known.source or ""
            reading.translation_pack.CopyFrom(types_pb2.PackRef(name=known.pack_name))
        else:
            self._put(reading, "\n".join(line.translation for line in found))
        return True

    def _put_lines(self, reading: types_pb2.Reading, found: Sequence[LineAnswer], jobs: Sequence[LineJob]) -> None:
        reading.text = "\n".join(line.text for line in found)
        del reading.lines[:]
        for line, job in zip(found, jobs, strict=True):
            quad = None if job.quad is None else types_pb2.Quad(xy=[float(value) for value in job.quad.reshape(-1)])
            reading.lines.add(text=line.text, quad=quad, recognition_confidence=BELIEVED)
        reading.recognition_pack.CopyFrom(types_pb2.PackRef(name=PACK_NAME, version=self._model))
        reading.confidence.recognition = BELIEVED
        reading.confidence.ClearField("script")

    def _put(self, message: types_pb2.Reading | cloud_pb2.TranslateReply, translation: str) -> None:
        message.translation = translation
        message.engine = types_pb2.ENGINE_TRANSLATOR
        message.unreadable = types_pb2.UNREADABLE_UNSPECIFIED
        message.translation_pack.CopyFrom(types_pb2.PackRef(name=PACK_NAME, version=self._model))
        message.confidence.translation = BELIEVED

    def _note_time(self, message: types_pb2.Reading | cloud_pb2.TranslateReply, started: float) -> None:
        message.stage_times.add(stage="endpoint", milliseconds=(self._clock.monotonic() - started) * 1e3)


def needs_translation(message: types_pb2.Reading | cloud_pb2.TranslateReply) -> bool:
    """Whether our own models are at a loss for a translation."""
    if message.unreadable in _NO_TRANSLATION:
        return True
    return message.engine in _OWN_MODELS and message.confidence.translation < ASK_BELOW


def needs_reading(reading: types_pb2.Reading) -> bool:
    """Whether our own models are at a loss for the text itself."""
    if not reading.lines:
        return reading.unreadable in _NO_READING
    return reading.confidence.recognition < ASK_BELOW


def _known(lines: Sequence[str], source: str | None, target: str) -> SignTranslation:
    """What the phrasebook alone says of a sign."""
    return SignTranslator(Phrasebook.builtin(), {}).translate_sign(lines, source=source, target=target)


def _cut_out(lines: Sequence[LineJob]) -> list[bytes]:
    """The text of each line and no margin, encoded anew: nothing of the file that came goes out.

    Returns:
        JPEG files; empty where a picture cannot be decoded.
    """
    found = []
    for line in lines:
        try:
            image = decoded(line.image, is_frame=False)
        except Refusal:
            return []
        if line.inner is not None:
            image = crop_inner(image, line.inner)
        _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        found.append(encoded.tobytes())
    return found


def _folded(text: str) -> str:
    return "".join(text.casefold().split())

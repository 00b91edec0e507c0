"""The memory of places before a strip is read, and after: the next visitor gets the answer the first ones paid for."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from cloud.callers import Scope
from cloud.calls import Call
from cloud.places.sharing import SharedPlaces
from shared.clock import Clock
from shared.errors import InputError
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.places.cells import check_cell
from shared.places.matching import Glimpse, text_key
from shared.places.messages import RECALLED, engine_of, recalled, trust_in
from shared.places.pictures import strip_hash
from shared.places.reading import PlaceReading, check_reading

MIN_LEARNT: Final = 0.5
"""Readings less likely to be right than this are not learnt. A judgement."""
_STAGES: Final = ("recognition", "script", "language", "translation")


class PlaceRecall:
    """The `PlaceMemory` of `cloud.reading.service`. Only calls that name a place cell have to do with it.

    Args:
        places: what is known.
        clock: measures the recall.
    """

    def __init__(self, places: SharedPlaces, *, clock: Clock) -> None:
        self._places = places
        self._clock = clock

    async def recall(self, request: cloud_pb2.ReadStripRequest, call: Call) -> types_pb2.Reading | None:
        """What others read on this sign; None where that is not known, or is no surer than what the phone read.

        Raises:
            InputError: the place cell is malformed.
            StorageError: the store fails.
        """
        cell = _cell_of(request, call)
        if cell is None:
            return None
        started = self._clock.monotonic()

        async def look() -> Glimpse:
            return Glimpse(request.local_text, await _hash_of(request.strip))

        found = await self._places.find(cell, request.direction.target, look)
        if found is None:
            return None
        known, match = found
        trust = trust_in(known, match)
        same = text_key(known.reading.text) == text_key(request.local_text)
        sure = _right(request.local_confidence) if request.HasField("local_confidence") else 0.0
        if not same and request.local_text and trust < sure:
            return None
        taken_ms = (self._clock.monotonic() - started) * 1e3
        return recalled(request.strip, known, trust=trust, milliseconds=taken_ms, tier=types_pb2.TIER_CLOUD)

    async def learn(self, request: cloud_pb2.ReadStripRequest, reading: types_pb2.Reading, call: Call) -> None:
        """Count an answer as the calling device's reading.

        Raises:
            InputError: the place cell is malformed.
            StorageError: the store fails.
        """
        cell = _cell_of(request, call)
        if cell is None or not call.caller.device or not learnable(reading):
            return
        learnt = PlaceReading(
            cell=cell,
            text=reading.text,
            translation=reading.translation,
            source=reading.direction.source,
            target=request.direction.target,
            picture_hash=await _hash_of(request.strip),
            confidence=_right(reading.confidence),
            engine=engine_of(reading.engine),
        )
        await self._places.remember(check_reading(learnt), device=call.caller.device)


def learnable(reading: types_pb2.Reading) -> bool:
    """Whether a computed answer says something worth remembering."""
    was_recalled = any(stage.stage == RECALLED for stage in reading.stage_times)
    whole = bool(reading.text.strip() and reading.translation.strip()) and not reading.unreadable
    return whole and not was_recalled and _right(reading.confidence) >= MIN_LEARNT


def _cell_of(request: cloud_pb2.ReadStripRequest, call: Call) -> str | None:
    """The place cell of a call that may use places; None where it names none."""
    if not request.HasField("place_cell") or request.strip.is_frame or Scope.PLACES not in call.caller.scopes:
        return None
    return check_cell(request.place_cell)


async def _hash_of(strip: types_pb2.Strip) -> int | None:
    try:
        return await asyncio.to_thread(strip_hash, strip)  # it decodes pictures
    except InputError:
        return None  # reading it will say what is wrong with it


def _right(confidence: types_pb2.Confidence) -> float:
    """P(text and translation are right): the product of the stages that ran."""
    return math.prod(float(getattr(confidence, stage)) for stage in _STAGES if confidence.HasField(stage))

"""Places as they travel: `wayword.v1.PlaceSign` and the domain's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.messages.wayword.v1 import places_pb2, types_pb2
from shared.places.matching import Kind, Match
from shared.places.reading import KnownSign, PlaceEngine, PlaceReading, check_reading

RECALLED: Final = "place"
"""Stage of a reading that was recalled; its time is that of the recall. Names its packs, too, which nobody used."""

ENGINES: Final[Mapping[PlaceEngine, types_pb2.Engine.ValueType]] = {
    PlaceEngine.UNKNOWN: types_pb2.ENGINE_UNSPECIFIED,
    PlaceEngine.PHRASEBOOK: types_pb2.ENGINE_PHRASEBOOK,
    PlaceEngine.TRANSLATOR: types_pb2.ENGINE_TRANSLATOR,
    PlaceEngine.COPY: types_pb2.ENGINE_COPY,
    PlaceEngine.MIXED: types_pb2.ENGINE_MIXED,
}
_OF_MESSAGE: Final = {message: engine for engine, message in ENGINES.items()}
MAX_SHOWN_DEVICES: Final = 255
"""More than this many devices are not told apart: the message caps the number."""


def engine_of(message: types_pb2.Engine.ValueType) -> PlaceEngine:
    """An engine, unknown where this version does not know it."""
    return _OF_MESSAGE.get(message, PlaceEngine.UNKNOWN)


def to_message(known: KnownSign) -> places_pb2.PlaceSign:
    """A sign that is shared."""
    message = reading_message(known.reading)
    message.trust = known.trust
    message.devices = min(known.devices, MAX_SHOWN_DEVICES)
    return message


def reading_message(reading: PlaceReading) -> places_pb2.PlaceSign:
    """A reading that is contributed."""
    return places_pb2.PlaceSign(
        cell=reading.cell,
        text=reading.text,
        translation=reading.translation,
        direction=types_pb2.Direction(source=reading.source, target=reading.target),
        picture_hash=reading.picture_hash,
        confidence=reading.confidence,
        engine=ENGINES[reading.engine],
    )


def reading_of(message: places_pb2.PlaceSign) -> PlaceReading:
    """A reading as others sent it.

    Raises:
        InputError: it is malformed.
    """
    return check_reading(
        PlaceReading(
            cell=message.cell,
            text=message.text,
            translation=message.translation,
            source=message.direction.source,
            target=message.direction.target,
            picture_hash=message.picture_hash if message.HasField("picture_hash") else None,
            confidence=message.confidence,
            engine=engine_of(message.engine),
        )
    )


def known_of(message: places_pb2.PlaceSign) -> KnownSign:
    """A shared sign as the cloud sent it; its trust is held within 0..1 and its devices within the cap.

    Raises:
        InputError: it is malformed.
    """
    trust = message.trust if 0.0 <= message.trust <= 1.0 else 0.0
    return KnownSign(reading_of(message), trust, min(message.devices, MAX_SHOWN_DEVICES))


def trust_in(known: KnownSign, match: Match) -> float:
    """P(what is known is right and of this sign): the trust, times how alike they are unless the texts are equal."""
    return known.trust if match.kind is Kind.EXACT else known.trust * match.score


def recalled(
    strip: types_pb2.Strip, known: KnownSign, *, trust: float, milliseconds: float, tier: types_pb2.Tier.ValueType
) -> types_pb2.Reading:
    """A known sign as the answer to a strip.

    Nobody recognised anything: the packs are named "place", recognition is as sure as the trust, and the other stages,
    which did not run, say nothing.

    Args:
        strip: that is answered.
        known: what is known of its sign.
        trust: see `trust_in`.
        milliseconds: that the recall took.
        tier: whose memory it was.
    """
    reading = known.reading
    message = types_pb2.Reading(
        frame_id=strip.frame_id,
        region_id=strip.region_id,
        captured_us=strip.captured_us,
        text=reading.text,
        translation=reading.translation,
        direction=types_pb2.Direction(source=reading.source, target=reading.target),
        tier=tier,
        recognition_pack=types_pb2.PackRef(name=RECALLED),
        engine=ENGINES[reading.engine],
        state=types_pb2.READING_STATE_REFINED if tier == types_pb2.TIER_CLOUD else types_pb2.READING_STATE_KEPT,
        confidence=types_pb2.Confidence(recognition=trust),
        stage_times=[types_pb2.StageTime(stage=RECALLED, milliseconds=milliseconds)],
    )
    if reading.engine is not PlaceEngine.COPY:
        message.translation_pack.name = RECALLED
    texts = reading.text.split("\n")
    if len(texts) == len(strip.lines):
        # Line for line where they are as many; where each of several lies is not known otherwise.
        for text, line in zip(texts, strip.lines, strict=True):
            message.lines.add(text=text, quad=line.quad, recognition_confidence=trust)
    return message

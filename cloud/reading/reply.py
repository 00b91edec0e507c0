"""From a sign as read to the message the phone gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cloud.reading.readers import LineReading, Rejection, SignReading
from shared.geometry import Quad
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.models.calibration import Calibration, LineSignals
from shared.models.packs import InstalledPack
from shared.models.sign_translation import NoTranslation, SignTranslation, TranslationEngine

ENGINES: Final[Mapping[TranslationEngine, types_pb2.Engine.ValueType]] = {
    TranslationEngine.NONE: types_pb2.ENGINE_NONE,
    TranslationEngine.PHRASEBOOK: types_pb2.ENGINE_PHRASEBOOK,
    TranslationEngine.TRANSLATOR: types_pb2.ENGINE_TRANSLATOR,
    TranslationEngine.COPY: types_pb2.ENGINE_COPY,
    TranslationEngine.MIXED: types_pb2.ENGINE_MIXED,
}
REJECTIONS: Final[Mapping[Rejection, types_pb2.Unreadable.ValueType]] = {
    Rejection.NO_TEXT: types_pb2.UNREADABLE_NO_TEXT,
    Rejection.TOO_SMALL: types_pb2.UNREADABLE_TOO_SMALL,
    Rejection.SCRIPT: types_pb2.UNREADABLE_SCRIPT,
    Rejection.LOW_CONFIDENCE: types_pb2.UNREADABLE_LOW_CONFIDENCE,
}
REASONS: Final[Mapping[NoTranslation, types_pb2.Unreadable.ValueType]] = {
    NoTranslation.NO_TEXT: types_pb2.UNREADABLE_NO_TEXT,
    NoTranslation.LANGUAGE_UNKNOWN: types_pb2.UNREADABLE_LANGUAGE_UNKNOWN,
    NoTranslation.DIRECTION_UNSUPPORTED: types_pb2.UNREADABLE_DIRECTION,
    NoTranslation.TEXT_TOO_LONG: types_pb2.UNREADABLE_DIRECTION,
    NoTranslation.NO_OUTPUT: types_pb2.UNREADABLE_LOW_CONFIDENCE,
}


def reading_message(
    request: cloud_pb2.ReadStripRequest,
    sign: SignReading,
    *,
    recognition_pack: InstalledPack,
    calibration: Calibration,
) -> types_pb2.Reading:
    """The final answer for one region.

    Args:
        request: names the frame, the region and the target language.
        sign: what was read.
        recognition_pack: of the reader that read it.
        calibration: turns raw scores into probabilities.
    """
    translation = sign.translation
    message = types_pb2.Reading(
        frame_id=request.strip.frame_id,
        region_id=request.strip.region_id,
        text="\n".join(line.recognition.text for line in sign.lines),
        translation=translation.translation,
        direction=types_pb2.Direction(source=translation.source or "", target=request.direction.target),
        tier=types_pb2.TIER_CLOUD,
        recognition_pack=_read_by(sign, recognition_pack),
        engine=ENGINES[translation.engine],
        state=types_pb2.READING_STATE_REFINED,
        confidence=_confidence(sign, recognition_pack.name, calibration),
        stage_times=[types_pb2.StageTime(stage=name, milliseconds=ms) for name, ms in sign.stages.items()],
    )
    if translation.pack_name:
        message.translation_pack.CopyFrom(
            types_pb2.PackRef(name=translation.pack_name, version=translation.pack_version)
        )
    if sign.rejection is not None:
        message.unreadable = REJECTIONS[sign.rejection]
    elif translation.reason is not None:
        message.unreadable = REASONS[translation.reason]
    for line in sign.lines:
        message.lines.add(
            text=line.recognition.text,
            quad=_quad(line.quad),
            recognition_confidence=_recognised(line, recognition_pack.name, calibration),
        )
    return message


def translation_message(
    request: cloud_pb2.TranslateRequest, translation: SignTranslation, *, calibration: Calibration
) -> cloud_pb2.TranslateReply:
    """The answer to a text.

    Args:
        request: as received.
        translation: of its lines.
        calibration: turns raw scores into probabilities.
    """
    reply = cloud_pb2.TranslateReply(
        idempotency_key=request.idempotency_key,
        translation=translation.translation,
        direction=types_pb2.Direction(source=translation.source or "", target=request.direction.target),
        engine=ENGINES[translation.engine],
    )
    if translation.pack_name:
        reply.translation_pack.CopyFrom(types_pb2.PackRef(name=translation.pack_name, version=translation.pack_version))
    if translation.reason is not None:
        reply.unreadable = REASONS[translation.reason]
    _add_translated(reply.confidence, translation, calibration)
    return reply


def _confidence(sign: SignReading, pack_name: str, calibration: Calibration) -> types_pb2.Confidence:
    """Each stage by its least sure line: a sign is right when all of its lines are."""
    confidence = types_pb2.Confidence()
    if not sign.lines:
        return confidence
    confidence.detection = min(line.detection_confidence for line in sign.lines)
    confidence.recognition = min(_recognised(line, pack_name, calibration) for line in sign.lines)
    confidence.script = min(line.script.probability for line in sign.lines)
    _add_translated(confidence, sign.translation, calibration)
    return confidence


def _add_translated(confidence: types_pb2.Confidence, translation: SignTranslation, calibration: Calibration) -> None:
    """How sure language and translation are."""
    if translation.language_probability is not None:
        confidence.language = translation.language_probability
    if translation.engine is not TranslationEngine.NONE:
        signals = translation.signals
        confidence.translation = calibration.translation(
            translation.engine.value,
            mean_log_probability=signals.mean_log_probability,
            min_log_probability=signals.minimum_log_probability,
            phrase_score=signals.phrase_score,
            quality=signals.quality,
        )


def _read_by(sign: SignReading, pack: InstalledPack) -> types_pb2.PackRef:
    """What read the lines: the reader's pack, another recogniser, or several, each named once."""
    names = dict.fromkeys(
        (pack.name, pack.version) if line.read_by is None else (line.read_by.name, line.read_by.version)
        for line in sign.lines
    ) or {(pack.name, pack.version): None}
    return types_pb2.PackRef(name="+".join(name for name, _ in names), version="+".join(value for _, value in names))


def _recognised(line: LineReading, pack_name: str, calibration: Calibration) -> float:
    if line.chance is not None:
        return line.chance
    return calibration.line(pack_name, LineSignals.of(line.recognition, height_px=line.height_px))


def _quad(quad: Quad) -> types_pb2.Quad:
    return types_pb2.Quad(xy=[float(value) for value in quad.reshape(-1)])

"""What a sign means to the phone: from the translator's answer or the cloud's, and why there may be none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from phone.cascade.inputs import Trouble
from phone.readings import ENGINES, NO_TRANSLATION, LocalLine, Meaning
from shared.messages.wayword.v1 import types_pb2
from shared.models.calibration import Calibration
from shared.models.sign_translation import SignTranslation, TranslationEngine

PARTLY_TRANSLATED: Final = 0.5
"""Cap on the confidence of a translation that left some lines as they were."""
_ENGINE_OF_MESSAGE: Final = {
    message: engine for engine, message in ENGINES.items() if engine is not TranslationEngine.NONE
}


def to_meaning(translation: SignTranslation, calibration: Calibration) -> Meaning:
    """A sign's translation with calibrated confidence."""
    signals = translation.signals
    confidence = calibration.translation(
        translation.engine.value,
        mean_log_probability=signals.mean_log_probability,
        min_log_probability=signals.minimum_log_probability,
        phrase_score=signals.phrase_score,
        quality=signals.quality,
    )
    if translation.reason is not None:
        confidence = min(confidence, PARTLY_TRANSLATED)
    language = translation.language_probability
    return Meaning(
        translation=translation.translation,
        engine=translation.engine,
        reason=translation.reason,
        source=translation.source,
        # No probability: no language was needed, as for a price, or nothing is known of it.
        language=(1.0 if translation.engine is not TranslationEngine.NONE else 0.0) if language is None else language,
        confidence=confidence,
        pack_name=translation.pack_name,
        pack_version=translation.pack_version,
        phrase_score=signals.phrase_score,
        mean_log_probability=signals.mean_log_probability,
        minimum_log_probability=signals.minimum_log_probability,
        quality=signals.quality,
    )


def cloud_meaning(cloud: types_pb2.Reading) -> Meaning | None:
    """What the cloud says a text means; None where no engine that this version knows translated it."""
    engine = _ENGINE_OF_MESSAGE.get(cloud.engine)
    if engine is None:
        return None
    return Meaning(
        translation=cloud.translation,
        engine=engine,
        reason=None,
        source=cloud.direction.source or None,
        language=cloud.confidence.language if cloud.confidence.HasField("language") else 1.0,
        confidence=cloud.confidence.translation if cloud.confidence.HasField("translation") else 1.0,
        pack_name=cloud.translation_pack.name,
        pack_version=cloud.translation_pack.version,
        from_cloud=True,
    )


def trouble_of(lines: Sequence[LocalLine], meaning: Meaning) -> Trouble | None:
    """Why a sign has no text or no translation: the reason that a wearer, or the cloud, can do most about first."""
    if any(line.trouble is None for line in lines):
        if meaning.engine is TranslationEngine.NONE and meaning.reason is not None:
            return NO_TRANSLATION[meaning.reason]
        return None
    reasons = {line.trouble for line in lines}
    for trouble in (Trouble.SCRIPT, Trouble.TOO_SMALL, Trouble.LOW_CONFIDENCE):
        if trouble in reasons:
            return trouble
    return Trouble.NO_TEXT

"""What the phone makes of a sign, and how that is said to the glasses and to the cascade."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from phone.cascade.inputs import Recogniser, Signals, Trouble
from phone.cascade.privacy import find_private
from phone.cascade.privacy_names import NO_OPTIONS, PrivacyOptions
from phone.ledger_rows import Sign
from shared.geometry import Quad
from shared.messages.wayword.v1 import types_pb2
from shared.models.estimate import Estimate
from shared.models.script import Script
from shared.models.sign_evidence import LineEvidence, SignEvidence
from shared.models.sign_translation import NoTranslation, TranslationEngine

ENGINES: Final[Mapping[TranslationEngine, types_pb2.Engine.ValueType]] = {
    TranslationEngine.NONE: types_pb2.ENGINE_NONE,
    TranslationEngine.PHRASEBOOK: types_pb2.ENGINE_PHRASEBOOK,
    TranslationEngine.TRANSLATOR: types_pb2.ENGINE_TRANSLATOR,
    TranslationEngine.COPY: types_pb2.ENGINE_COPY,
    TranslationEngine.MIXED: types_pb2.ENGINE_MIXED,
}
UNREADABLE: Final[Mapping[Trouble, types_pb2.Unreadable.ValueType]] = {
    Trouble.NO_TEXT: types_pb2.UNREADABLE_NO_TEXT,
    Trouble.TOO_SMALL: types_pb2.UNREADABLE_TOO_SMALL,
    Trouble.SCRIPT: types_pb2.UNREADABLE_SCRIPT,
    Trouble.LOW_CONFIDENCE: types_pb2.UNREADABLE_LOW_CONFIDENCE,
    Trouble.DIRECTION: types_pb2.UNREADABLE_DIRECTION,
    Trouble.LANGUAGE_UNKNOWN: types_pb2.UNREADABLE_LANGUAGE_UNKNOWN,
}
NO_TRANSLATION: Final[Mapping[NoTranslation, Trouble]] = {
    NoTranslation.NO_TEXT: Trouble.NO_TEXT,
    NoTranslation.LANGUAGE_UNKNOWN: Trouble.LANGUAGE_UNKNOWN,
    NoTranslation.DIRECTION_UNSUPPORTED: Trouble.DIRECTION,
    NoTranslation.TEXT_TOO_LONG: Trouble.DIRECTION,
    # A text that the translator has nothing to say about was most likely misread.
    NoTranslation.NO_OUTPUT: Trouble.LOW_CONFIDENCE,
}


@dataclass(frozen=True, slots=True)
class LocalLine:
    """One line as the phone read it.

    Attributes:
        text: what it says; empty when nothing was read.
        quad: in pixels of the frame.
        recognition: P(the text is right), calibrated.
        script: P(the recogniser knows the script on the sign).
        detection: the detector's confidence, 0..1.
        trouble: why the line is withheld from the wearer; None when it is shown.
        sign: lines with the same number belong together.
        foreign_script: script that the picture shows and the recogniser cannot write; None where that is not known.
        evidence: what the reading was seen to be like; None where nobody took it down.
    """

    text: str
    quad: Quad
    recognition: float
    script: float
    detection: float
    trouble: Trouble | None
    sign: int = 0
    foreign_script: Script | None = None
    evidence: LineEvidence | None = None


@dataclass(frozen=True, slots=True)
class Meaning:
    """The translation of a sign.

    Attributes:
        translation: lines joined by a line feed; empty with engine NONE.
        engine: what produced it.
        reason: why the sign, or a part of it, is not translated; None when all of it is.
        source: language of the sign; None when unknown, or when no language is needed.
        language: P(the language is right); 1 where none is needed.
        confidence: P(the translation is right, given the text), calibrated; 0 with engine NONE.
        pack_name: translation pack or "phrasebook"; empty for COPY and NONE.
        pack_version: of the pack.
        from_cloud: whether the cloud translated this text on an earlier day.
        phrase_score: the worst of the phrasebook's matches, 0..1; None without any.
        mean_log_probability: of the translator's tokens; None without a translator.
        minimum_log_probability: of the least sure of them; None without a translator.
        quality: estimated P(acceptable) of what the translator said; None without one.
    """

    translation: str
    engine: TranslationEngine
    reason: NoTranslation | None
    source: str | None
    language: float
    confidence: float
    pack_name: str
    pack_version: str
    from_cloud: bool = False
    phrase_score: float | None = None
    mean_log_probability: float | None = None
    minimum_log_probability: float | None = None
    quality: float | None = None


NO_MEANING: Final = Meaning("", TranslationEngine.NONE, NoTranslation.NO_TEXT, None, 1.0, 0.0, "", "")


@dataclass(frozen=True, slots=True)
class LocalReading:
    """Phase one: what the phone makes of one strip.

    Attributes:
        frame_id: of the strip.
        region_id: of the strip.
        captured_us: of the strip, on the glasses' clock; goes back with the answer and says which strip it is.
        lines: every line looked at, withheld ones included, in reading order.
        meaning: translation of the lines shown.
        target: language wanted.
        trouble: why there is no text or no translation; None when there are both.
        recogniser: which one read it.
        recognition_pack: its pack's name and version.
        stage_ms: milliseconds of each stage, in order.
        outgoing: what the cloud would be sent: the strip, or strips cut out of a whole frame.
        cache_key: under which the meaning is remembered; None when it must not be.
    """

    frame_id: int
    region_id: int
    captured_us: int
    lines: tuple[LocalLine, ...]
    meaning: Meaning
    target: str
    trouble: Trouble | None
    recogniser: Recogniser
    recognition_pack: tuple[str, str]
    stage_ms: tuple[tuple[str, float], ...]
    outgoing: types_pb2.Strip
    cache_key: str | None

    @property
    def text(self) -> str:
        """The lines shown, joined by a line feed."""
        return "\n".join(line.text for line in self.lines if line.trouble is None)

    @property
    def recognition(self) -> float:
        """P(the text is right): a sign is as sure as its least sure line, for its lines err together."""
        return min((line.recognition for line in self.lines), default=0.0)

    @property
    def script(self) -> float:
        """P(the recogniser knows the script): of the least sure line."""
        return min((line.script for line in self.lines if line.text), default=1.0)

    @property
    def foreign_script(self) -> Script | None:
        """What the first line is written in of those that the recogniser cannot write; None where nobody can tell."""
        return next((line.foreign_script for line in self.lines if line.foreign_script is not None), None)

    @property
    def detection(self) -> float:
        """The detector's confidence in the least sure line."""
        return min((line.detection for line in self.lines), default=0.0)

    @property
    def private_text(self) -> str:
        """Everything read, withheld lines too: what looks private there is just as private."""
        return "\n".join(line.text for line in self.lines)

    @property
    def evidence(self) -> SignEvidence | None:
        """What the metamodel looks at; None where no line was looked at."""
        lines = tuple(line.evidence for line in self.lines if line.evidence is not None)
        if not lines:
            return None
        meaning = self.meaning
        return SignEvidence(
            recogniser=self.recognition_pack[0],
            lines=lines,
            source=meaning.source,
            language=meaning.language,
            engine=meaning.engine.value,
            complete=meaning.engine is not TranslationEngine.NONE and meaning.reason is None,
            translation=meaning.confidence,
            phrase_score=meaning.phrase_score,
            mean_log_probability=meaning.mean_log_probability,
            minimum_log_probability=meaning.minimum_log_probability,
            quality=meaning.quality,
            from_cloud=meaning.from_cloud,
        )


def to_message(reading: LocalReading, state: types_pb2.ReadingState.ValueType) -> types_pb2.Reading:
    """The phone's answer to the glasses."""
    meaning = reading.meaning
    message = types_pb2.Reading(
        frame_id=reading.frame_id,
        region_id=reading.region_id,
        captured_us=reading.captured_us,
        text=reading.text,
        translation=meaning.translation,
        direction=types_pb2.Direction(source=meaning.source or "", target=reading.target),
        tier=types_pb2.TIER_PHONE,
        recognition_pack=types_pb2.PackRef(name=reading.recognition_pack[0], version=reading.recognition_pack[1]),
        engine=ENGINES[meaning.engine],
        state=state,
        unreadable=UNREADABLE[reading.trouble] if reading.trouble else types_pb2.UNREADABLE_UNSPECIFIED,
        lines=[
            types_pb2.ReadLine(
                text=line.text,
                quad=types_pb2.Quad(xy=line.quad.reshape(-1).tolist()),
                recognition_confidence=line.recognition,
            )
            for line in reading.lines
            if line.trouble is None
        ],
        stage_times=[types_pb2.StageTime(stage=stage, milliseconds=ms) for stage, ms in reading.stage_ms],
    )
    if meaning.pack_name:
        message.translation_pack.CopyFrom(types_pb2.PackRef(name=meaning.pack_name, version=meaning.pack_version))
    confidence = message.confidence
    if reading.lines:
        confidence.detection = reading.detection
        confidence.recognition = reading.recognition
        confidence.script = reading.script
    if reading.text:
        confidence.language = meaning.language
        confidence.translation = meaning.confidence
    return message


def to_signals(
    reading: LocalReading,
    *,
    request_bytes: int,
    direction_refused: bool,
    estimate: Estimate | None = None,
    privacy: PrivacyOptions = NO_OPTIONS,
) -> Signals:
    """What the cascade looks at."""
    return Signals(
        recognition=reading.recognition,
        script=reading.script,
        language=reading.meaning.language,
        translation=reading.meaning.confidence,
        trouble=reading.trouble,
        recogniser=reading.recogniser,
        private=find_private(reading.private_text, privacy),
        request_bytes=request_bytes,
        whole_frame=reading.outgoing.is_frame,
        foreign_script=reading.foreign_script,
        direction_refused=direction_refused,
        estimate=estimate,
        sign_key=sign_key(reading.captured_us, reading.frame_id, reading.region_id),
    )


def sign_key(captured_us: int, frame_id: int, region_id: int) -> int:
    """A number that tells a strip from others and looks random, the same in every run."""
    name = f"{captured_us} {frame_id} {region_id}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())


def to_ledger_sign(reading: LocalReading) -> Sign:
    """Which sign a ledger row is about."""
    return Sign(
        reading.frame_id,
        reading.region_id,
        reading.meaning.engine.value,
        reading.meaning.source or "",
        reading.target,
        reading.text,
    )


def probability_right(reading: types_pb2.Reading) -> float:
    """P(text and translation are right) of any tier's reading: the product of its calibrated stages.

    Stages that did not run count as certain. Detection is left out: it says where, not what.
    """
    confidence = reading.confidence
    product = 1.0
    for stage in ("recognition", "script", "language", "translation"):
        if confidence.HasField(stage):
            product *= float(getattr(confidence, stage))
    return product


def is_better(cloud: types_pb2.Reading, local: types_pb2.Reading) -> bool:
    """Whether the cloud's reading should replace the phone's on the glasses.

    It must not take a translation away, and what it says must be at least as likely right.
    """
    if not cloud.text or (local.translation and not cloud.translation):
        return False
    if cloud.translation and not local.translation:
        return True
    return probability_right(cloud) >= probability_right(local)

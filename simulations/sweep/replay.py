"""The phone's models replaced by their traces: phase one answers what the real pipeline answered, and takes as long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from phone.cache import TranslationCache, cache_key
from phone.cascade.inputs import Recogniser, Trouble
from phone.cascade.privacy import PrivateKind
from phone.meanings import cloud_meaning
from phone.readings import NO_MEANING, LocalLine, LocalReading, Meaning, to_message
from shared.messages.wayword.v1 import types_pb2
from shared.models.sign_evidence import LineEvidence
from shared.models.sign_translation import NoTranslation, TranslationEngine
from simulations.sweep.book import TraceBook, number_in, private_text, word_of
from simulations.sweep.computing import compute
from simulations.traces.records import LocalTrace, SignTrace

_QUAD: Final = np.array([[0, 0], [100, 0], [100, 30], [0, 30]], np.float32)
_ENGINES: Final[tuple[str, ...]] = ("traced",)
_TABLE_ENGINES: Final = frozenset({TranslationEngine.PHRASEBOOK, TranslationEngine.COPY})
_REASONS: Final = {
    Trouble.LANGUAGE_UNKNOWN: NoTranslation.LANGUAGE_UNKNOWN,
    Trouble.DIRECTION: NoTranslation.DIRECTION_UNSUPPORTED,
    Trouble.NO_TEXT: NoTranslation.NO_TEXT,
}
_PACKS: Final = {
    TranslationEngine.PHRASEBOOK: ("phrasebook", ""),
    TranslationEngine.COPY: ("", ""),
    TranslationEngine.NONE: ("", ""),
}


@dataclass(slots=True)
class Work:
    """What one device computed.

    Attributes:
        seconds: of computing.
        runs: of the recogniser, one a sign.
    """

    seconds: float = 0.0
    runs: int = 0

    def add(self, seconds: float) -> None:
        """One more run."""
        self.seconds += seconds
        self.runs += 1


@dataclass(slots=True)
class Verdicts:
    """Whether what the phone said of a look is right: known to the simulation, never to the product.

    Attributes:
        local: by frame and region, of the phone's own reading.
    """

    local: dict[tuple[int, int], bool] = field(default_factory=dict)

    def of(self, frame_id: int, region_id: int) -> bool:
        """Whether the phone's reading of a look was right; no reading is not."""
        return self.local.get((frame_id, region_id), False)


class TraceReader:
    """`phone.daemon.StripReader` out of traces.

    Args:
        book: what is replayed.
        compute_factor: how much longer this device computes than the machine of the traces.
        verdicts: told whether each answer is right.
        cache: translations remembered; None to remember none.
        table_only: whether only the phrasebook and what needs no translation may answer. A reading that the translator
            had a part in takes its time all the same: a trace does not tell the two apart.
        work: adds up what was computed.
        target: the wearer's language.
        on_read: told of every look that is read.
    """

    def __init__(
        self,
        book: TraceBook,
        *,
        compute_factor: float,
        verdicts: Verdicts,
        cache: TranslationCache | None,
        table_only: bool = False,
        work: Work | None = None,
        target: str = "en",
        on_read: Callable[[types_pb2.Strip, SignTrace], None] | None = None,
    ) -> None:
        self._book = book
        self._factor = compute_factor
        self._verdicts = verdicts
        self._cache = cache
        self._table_only = table_only
        self.work = work or Work()
        self._target = target
        self._on_read = on_read
        self._readings: dict[tuple[int, Recogniser], tuple[LocalReading, str | None]] = {}
        self._translation_right: dict[str, bool] = {}

    def read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        """See `StripReader.read`.

        Raises:
            InputError: the strip holds no trace.
        """
        number = number_in(strip.lines[0].image)
        trace = self._book[number]
        local = trace.local[recogniser.value]
        seconds = local.milliseconds / 1e3 * self._factor
        compute(seconds)
        self.work.add(seconds)
        if self._on_read is not None:
            self._on_read(strip, trace)
        known = self._readings.get((number, recogniser))
        if known is None:
            reading = local_reading(trace, local, recogniser, target=self._target, table_only=self._table_only)
            known = self._readings[number, recogniser] = (reading, self._key(trace, local, reading))
        template, key = known
        meaning, translation_right = template.meaning, local.translation_right
        if self._table_only and meaning.engine is TranslationEngine.NONE:
            translation_right = False
        if self._cache is not None and key is not None:
            remembered = self._cache.get(key)
            if remembered is not None:
                meaning, translation_right = remembered, self._translation_right[key]
            elif meaning.engine is not TranslationEngine.NONE:
                self._cache.put(key, meaning)
                self._translation_right[key] = translation_right
        self._verdicts.local[strip.frame_id, strip.region_id] = local.text_right and translation_right
        return replace(
            template,
            frame_id=strip.frame_id,
            region_id=strip.region_id,
            captured_us=strip.captured_us,
            meaning=meaning,
            trouble=None if meaning is not template.meaning and meaning.from_cloud else template.trouble,
            outgoing=strip,
            cache_key=key,
        )

    def remember(self, reading: LocalReading, cloud: types_pb2.Reading) -> None:
        """Keep the cloud's translation of a text that both tiers read alike, as `phone.reading.LocalReader` does."""
        key = reading.cache_key
        if self._cache is None or key is None or cloud.text != reading.text or not cloud.translation:
            return
        meaning = cloud_meaning(cloud)
        if meaning is None:
            return
        trace = self._book[number_in(reading.outgoing.lines[0].image)]
        self._translation_right[key] = trace.cloud.translation_right
        self._cache.put(key, meaning)

    def _key(self, trace: SignTrace, local: LocalTrace, reading: LocalReading) -> str | None:
        if not reading.text or local.private is not None:
            return None
        return cache_key([line.text for line in shown(reading)], target=self._target, engines=_ENGINES, expected=())


def shown(reading: LocalReading) -> list[LocalLine]:
    """The lines that the wearer sees."""
    return [line for line in reading.lines if line.trouble is None]


def words_of(trace: SignTrace, text: str) -> list[str]:
    """Words in the place of the lines of a text: equal lines of one phrase give equal words, whoever read them."""
    return [word_of(trace.phrase, line) for line in text.split("\n")] if text else []


def local_reading(
    trace: SignTrace, local: LocalTrace, recogniser: Recogniser, *, target: str, table_only: bool
) -> LocalReading:
    """What phase one made of a look, as the phone's own type; numbers of the strip are 0."""
    evidence = local.evidence
    lines = [_line(line) for line in evidence.lines] if evidence is not None else []
    words = words_of(trace, local.text)
    places = [index for index, line in enumerate(lines) if line.trouble is None]
    for place, word in zip(places, words, strict=False):
        lines[place] = replace(lines[place], text=word)
    if places and len(words) > len(places):
        lines[places[-1]] = replace(lines[places[-1]], text="\n".join(words[len(places) - 1 :]))
    if local.private is not None:
        _make_private(lines, PrivateKind(local.private))
    meaning = NO_MEANING if evidence is None else _meaning(trace, local)
    trouble = None if local.trouble is None else Trouble(local.trouble)
    if table_only and meaning.engine not in _TABLE_ENGINES:
        meaning, trouble = replace(NO_MEANING, reason=NoTranslation.DIRECTION_UNSUPPORTED), trouble or Trouble.DIRECTION
    reading = LocalReading(
        frame_id=0,
        region_id=0,
        captured_us=0,
        lines=tuple(lines),
        meaning=meaning,
        target=target,
        trouble=trouble,
        recogniser=recogniser,
        recognition_pack=(evidence.recogniser if evidence is not None else recogniser.value, ""),
        stage_ms=(("recognise", local.milliseconds),),
        outgoing=types_pb2.Strip(),
        cache_key=None,
    )
    spare = local.answer_bytes - to_message(reading, types_pb2.READING_STATE_KEPT).ByteSize()
    if spare > 0 and meaning.translation:
        reading = replace(reading, meaning=replace(meaning, translation=meaning.translation + "x" * spare))
    return reading


def _line(evidence: LineEvidence) -> LocalLine:
    trouble = None
    text = "word"
    if evidence.withheld:
        trouble = Trouble.LOW_CONFIDENCE if evidence.characters else Trouble.NO_TEXT
        text = "?" * len(evidence.characters)
    return LocalLine(
        text, _QUAD, evidence.recognition, evidence.script_probability, evidence.detection, trouble, evidence=evidence
    )


def _make_private(lines: list[LocalLine], kind: PrivateKind) -> None:
    """Put a text of a private kind where the private one was."""
    if lines:
        lines[-1] = replace(lines[-1], text=private_text(kind))


def _meaning(trace: SignTrace, local: LocalTrace) -> Meaning:
    evidence = local.evidence
    assert evidence is not None
    engine = TranslationEngine(local.engine)
    pack = _PACKS.get(engine, ("translator", "1"))
    trouble = None if local.trouble is None else Trouble(local.trouble)
    reason = None if evidence.complete else _REASONS.get(trouble or Trouble.LANGUAGE_UNKNOWN, NoTranslation.NO_OUTPUT)
    return Meaning(
        translation="" if engine is TranslationEngine.NONE else word_of(trace.phrase, "in English", local.translation),
        engine=engine,
        reason=reason,
        source=local.source,
        language=evidence.language,
        confidence=evidence.translation,
        pack_name=pack[0],
        pack_version=pack[1],
        from_cloud=evidence.from_cloud,
        phrase_score=evidence.phrase_score,
        mean_log_probability=evidence.mean_log_probability,
        minimum_log_probability=evidence.minimum_log_probability,
        quality=evidence.quality,
    )

"""Phase one: from a strip to text and translation with the phone's small models."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from phone.battery import Battery
from phone.cache import TranslationCache, cache_key
from phone.cascade.policy import Recogniser, Trouble
from phone.cascade.privacy import find_private
from phone.readings import NO_MEANING, NO_TRANSLATION, LocalLine, LocalReading, Meaning
from phone.settings import RecogniserChoice
from phone.strips import Cut, cut_lines, open_frame, open_strip
from shared.clock import Clock
from shared.errors import InputError, PackMissing
from shared.layout import group_signs
from shared.messages.wayword.v1 import types_pb2
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.calibration import Calibration
from shared.models.detection import TextDetector
from shared.models.language import warm_up as warm_up_language
from shared.models.manifest import Task
from shared.models.orientation import OrientationClassifier
from shared.models.packs import PackStore
from shared.models.phrasebook import Phrasebook
from shared.models.recognition import Recognition, TextRecogniser
from shared.models.script import check_script
from shared.models.sign_translation import SignTranslation, SignTranslator, TranslationEngine, combine
from shared.stages import StageTimes

FLOOR_HEIGHT_PX: Final = 10.0
"""Lower lines are not even tried: below about 12 px no measured model reads text."""
FLOOR_MEAN: Final = 0.5
"""Below this mean character probability a reading is noise and is withheld."""
TURN_BELOW: Final = 0.8
"""Lines less sure than this may stand on their head: the orientation classifier is asked."""
PARTLY_TRANSLATED: Final = 0.5
"""Cap on the confidence of a translation that left some lines as they were."""
LOW_BATTERY_PERCENT: Final = 20
"""Below it, and not charging, the automatic choice of the recogniser saves energy."""

_PACKS: Final = {
    Recogniser.TINY: ("ocr-tiny-rec", "ocr-tiny-det"),
    Recogniser.SMALL: ("ocr-small-rec", "ocr-small-det"),
}
_ORIENTATION_PACK: Final = "ocr-cls"
_INSTALL_HINT: Final = "run: wayword-phone packs install"


def installed_recognisers(store: PackStore) -> frozenset[Recogniser]:
    """Recognisers whose pack is in the store.

    Raises:
        PackCorrupt: a manifest cannot be read.
    """
    names = {manifest.name for manifest in store.installed()}
    return frozenset(recogniser for recogniser, (pack, _) in _PACKS.items() if pack in names)


def choose_recogniser(choice: RecogniserChoice, *, battery: Battery, installed: Collection[Recogniser]) -> Recogniser:
    """The recogniser to use now.

    Raises:
        PackMissing: the wanted one, or any, is not installed.
    """
    if choice is not RecogniserChoice.AUTO:
        wanted = Recogniser(choice.value)
        if wanted not in installed:
            raise PackMissing(f"the pack {_PACKS[wanted][0]} is not installed", hint=_INSTALL_HINT)
        return wanted
    if not installed:
        raise PackMissing("no text recogniser is installed", hint=_INSTALL_HINT)
    saving = battery.percent is not None and battery.percent < LOW_BATTERY_PERCENT and not battery.charging
    preferred = Recogniser.TINY if saving else Recogniser.SMALL
    return preferred if preferred in installed else next(iter(installed))


def load_translators(store: PackStore, *, target: str | None = None) -> dict[tuple[str, str], BergamotTranslator]:
    """Every installed translator, or those into one language.

    Raises:
        PackError: a pack is corrupt or unsupported.
    """
    return {
        manifest.direction: BergamotTranslator.load(store.get(manifest.name))
        for manifest in store.installed()
        if manifest.task is Task.TRANSLATION
        and manifest.direction is not None
        and (target is None or manifest.direction[1] == target)
    }


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """What the wearer set.

    Attributes:
        target: language to translate into, ISO 639-1.
        expected: languages likely here, to help identify short text.
        beam: width of the translator's search.
    """

    target: str = "en"
    expected: tuple[str, ...] = ()
    beam: int = 1


class LocalReader:
    """Reads and translates one strip at a time; not for two threads at once. Models load when first needed.

    Args:
        store: where the packs are.
        options: what the wearer set.
        clock: measures stages.
        cache: translations remembered; None to remember none.

    Raises:
        PackError: a translation pack is corrupt or unsupported.
    """

    def __init__(
        self, store: PackStore, *, options: ReaderOptions, clock: Clock, cache: TranslationCache | None = None
    ) -> None:
        self._store = store
        self._options = options
        self._clock = clock
        self._cache = cache
        self._calibration = Calibration.builtin()
        self._names = frozenset(manifest.name for manifest in store.installed())
        self._translators = load_translators(store, target=options.target)
        self._translator = SignTranslator(Phrasebook.builtin(), self._translators)
        self._engines = [f"{item.pack.name}-{item.pack.version}" for item in self._translators.values()]
        self._recognisers: dict[Recogniser, TextRecogniser] = {}
        self._detectors: dict[str, TextDetector] = {}
        self._orientation: OrientationClassifier | None = None

    @property
    def targets(self) -> frozenset[str]:
        """Languages that something installed translates into."""
        return self._translator.targets

    def warm_up(self, recogniser: Recogniser) -> None:
        """Load and run every model once, so that the first sign does not wait for what later ones find ready.

        Raises:
            PackError: a pack is missing, corrupt or unsupported.
        """
        blank = np.full((48, 160, 3), 255, np.uint8)
        self._recogniser(recogniser).recognise([blank])
        self._orientation_classifier()
        warm_up_language()
        for translator in self._translators.values():
            translator.translate("a")

    def read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        """Read and translate one strip, or one whole frame.

        Raises:
            InputError: the strip is malformed or its pictures cannot be decoded.
            PackError: a model failed or is missing.
        """
        try:
            return self._read(strip, recogniser)
        except cv2.error as error:
            # Geometry that passes every check and still is impossible, such as crossed quads.
            raise InputError("the geometry of the strip is impossible") from error

    def _read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        watch = StageTimes(self._clock)
        outgoing = strip
        if strip.is_frame:
            cuts, outgoing = self._cut_frame(strip, recogniser, watch)
        else:
            with watch.measure("decode"):
                cuts = open_strip(strip)
        with watch.measure("recognise"):
            lines = self._recognise(cuts, recogniser)
        shown = [line for line in lines if line.trouble is None]
        with watch.measure("translate"):
            meaning, key = self._translate(shown, whole_frame=strip.is_frame)
        pack = self._recogniser(recogniser).pack
        return LocalReading(
            frame_id=strip.frame_id,
            region_id=strip.region_id,
            captured_us=strip.captured_us,
            lines=tuple(lines),
            meaning=meaning,
            target=self._options.target,
            trouble=_trouble(lines, meaning),
            recogniser=recogniser,
            recognition_pack=(pack.name, pack.version),
            stage_ms=tuple(watch.milliseconds.items()),
            outgoing=outgoing,
            cache_key=key,
        )

    def remember(self, reading: LocalReading, cloud: types_pb2.Reading) -> None:
        """Keep the cloud's translation of a text that both tiers read alike, so that it is not asked again."""
        if self._cache is None or reading.cache_key is None or cloud.text != reading.text or not cloud.translation:
            return
        engine = _ENGINE_OF_MESSAGE.get(cloud.engine)
        if engine is None:
            return
        meaning = Meaning(
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
        self._cache.put(reading.cache_key, meaning)

    def _cut_frame(
        self, strip: types_pb2.Strip, recogniser: Recogniser, watch: StageTimes
    ) -> tuple[list[Cut], types_pb2.Strip]:
        """Lines found in a whole frame; what leaves is these lines, or the frame itself if none was found."""
        with watch.measure("decode"):
            image, corners = open_frame(strip)
        with watch.measure("detect"):
            found = self._detector(recogniser).detect(image, longest_side=max(image.shape[:2]))
            cuts, outgoing = cut_lines(image, corners, found, strip)
        return cuts, outgoing if outgoing.lines else strip

    def _recognise(self, cuts: Sequence[Cut], recogniser: Recogniser) -> list[LocalLine]:
        model = self._recogniser(recogniser)
        legible = [cut for cut in cuts if cut.height_px >= FLOOR_HEIGHT_PX]
        read = {id(cut): look for cut, look in zip(legible, self._look(legible, model), strict=True)}
        return [self._line(cut, read.get(id(cut)), model) for cut in cuts]

    def _look(self, cuts: Sequence[Cut], model: TextRecogniser) -> list[Recognition]:
        """Recognise crops; those that are unsure and stand on their head are turned and read again."""
        if not cuts:
            return []
        looks = model.recognise([cut.crop for cut in cuts])
        unsure = [index for index, look in enumerate(looks) if look.confidence < TURN_BELOW]
        classifier = self._orientation_classifier() if unsure else None
        if classifier is None:
            return looks
        heads = classifier.upside_down([cuts[index].crop for index in unsure])
        turned = [index for index, upside_down in zip(unsure, heads, strict=True) if upside_down]
        if turned:
            again = model.recognise([np.ascontiguousarray(cuts[index].crop[::-1, ::-1]) for index in turned])
            for index, look in zip(turned, again, strict=True):
                if look.text and look.confidence > looks[index].confidence:
                    looks[index] = look
        return looks

    def _line(self, cut: Cut, look: Recognition | None, model: TextRecogniser) -> LocalLine:
        if look is None:
            return LocalLine("", cut.quad, 0.0, 1.0, cut.detection, Trouble.TOO_SMALL)
        text = look.text.strip()
        if not text:
            return LocalLine("", cut.quad, 0.0, 1.0, cut.detection, Trouble.NO_TEXT)
        script = check_script(
            look.text, look.character_confidences, model.alphabet, expected_languages=self._options.expected
        )
        right = self._calibration.recognition(
            model.pack.name,
            mean=look.confidence,
            minimum=look.minimum_confidence,
            length=len(text),
            height_px=cut.height_px,
        )
        trouble = None
        if not script.readable:
            trouble = Trouble.SCRIPT
        elif look.confidence < FLOOR_MEAN:
            trouble = Trouble.LOW_CONFIDENCE
        return LocalLine(text, cut.quad, right, script.probability, cut.detection, trouble)

    def _translate(self, lines: Sequence[LocalLine], *, whole_frame: bool) -> tuple[Meaning, str | None]:
        """The meaning of the lines shown, from memory where it is known, and the key it is remembered under."""
        if not lines:
            return NO_MEANING, None
        texts = [line.text for line in lines]
        options = self._options
        key = None
        if self._cache is not None and not whole_frame and find_private("\n".join(texts)) is None:
            key = cache_key(texts, target=options.target, engines=self._engines, expected=options.expected)
            remembered = self._cache.get(key)
            if remembered is not None:
                return remembered, key
        groups = group_signs([line.quad for line in lines]) if whole_frame else [list(range(len(lines)))]
        meaning = to_meaning(
            combine([self._translate_sign([texts[index] for index in group]) for group in groups]), self._calibration
        )
        if self._cache is not None and key is not None and meaning.engine is not TranslationEngine.NONE:
            self._cache.put(key, meaning)
        return meaning, key

    def _translate_sign(self, texts: Sequence[str]) -> SignTranslation:
        options = self._options
        return self._translator.translate_sign(
            texts, source=None, target=options.target, beam=options.beam, expected=options.expected
        )

    def _recogniser(self, recogniser: Recogniser) -> TextRecogniser:
        if recogniser not in self._recognisers:
            self._recognisers[recogniser] = TextRecogniser.load(self._store.get(_PACKS[recogniser][0]))
        return self._recognisers[recogniser]

    def _detector(self, recogniser: Recogniser) -> TextDetector:
        """The detector of the same size, or the one that is installed."""
        name = _PACKS[recogniser][1]
        if name not in self._names:
            name = next((pack for _, pack in _PACKS.values() if pack in self._names), name)
        if name not in self._detectors:
            self._detectors[name] = TextDetector.load(self._store.get(name))
        return self._detectors[name]

    def _orientation_classifier(self) -> OrientationClassifier | None:
        """None where its pack is not installed: it is a help, not a need."""
        if self._orientation is None and _ORIENTATION_PACK in self._names:
            self._orientation = OrientationClassifier.load(self._store.get(_ORIENTATION_PACK))
        return self._orientation


_ENGINE_OF_MESSAGE: Final = {
    types_pb2.ENGINE_PHRASEBOOK: TranslationEngine.PHRASEBOOK,
    types_pb2.ENGINE_TRANSLATOR: TranslationEngine.TRANSLATOR,
    types_pb2.ENGINE_COPY: TranslationEngine.COPY,
    types_pb2.ENGINE_MIXED: TranslationEngine.MIXED,
}


def to_meaning(translation: SignTranslation, calibration: Calibration) -> Meaning:
    """A sign's translation with calibrated confidence."""
    signals = translation.signals
    confidence = calibration.translation(
        translation.engine.value,
        mean_log_probability=signals.mean_log_probability,
        min_log_probability=signals.minimum_log_probability,
        phrase_score=signals.phrase_score,
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
    )


def _trouble(lines: Sequence[LocalLine], meaning: Meaning) -> Trouble | None:
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

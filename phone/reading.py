"""Phase one: from a strip to text and translation with the phone's small models."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from phone.battery import Battery
from phone.cache import TranslationCache, cache_key, engine_names
from phone.cascade.inputs import Recogniser, Trouble
from phone.cascade.privacy import find_private
from phone.evidence import line_evidence
from phone.meanings import cloud_meaning, to_meaning, trouble_of
from phone.readings import NO_MEANING, LocalLine, LocalReading, Meaning
from phone.settings import RecogniserChoice
from phone.strips import open_frame, open_strip, strip_of
from phone.votes import LineLook, SignVotes
from shared.clock import Clock
from shared.errors import InputError, PackError, PackMissing
from shared.geometry import ImageBgr, Quad, transform
from shared.layout import read_blocks
from shared.messages.wayword.v1 import types_pb2
from shared.models.apertium_use import ApertiumUse
from shared.models.calibration import Calibration, LineSignals
from shared.models.detection import DetectedLine, TextDetector
from shared.models.language import warm_up as warm_up_language
from shared.models.line_splitting import is_number
from shared.models.metamodel import Metamodel
from shared.models.orientation import OrientationClassifier
from shared.models.packs import PackStore
from shared.models.phrasebook import Phrasebook
from shared.models.recognition import TextRecogniser
from shared.models.risk import RiskCertificate
from shared.models.script import Script
from shared.models.script_picture import ScriptClassifier
from shared.models.seen_lines import Look, SeenLine
from shared.models.sign_reader import LOW_POWER, NORMAL, SignReader
from shared.models.sign_translation import SignTranslation, SignTranslator, TranslationEngine, combine
from shared.models.sign_words import SignWords
from shared.models.translators import load_translators
from shared.models.translators import warm_up as warm_up_translators
from shared.stages import StageTimes

FLOOR_HEIGHT_PX: Final = 10.0
"""Lower lines are not even tried: below about 12 px no measured model reads text."""
FLOOR_MEAN: Final = 0.5
"""Below this mean character probability a reading is noise and is withheld."""
LOW_BATTERY_PERCENT: Final = 20
"""Below it, and not charging, the automatic choice of the recogniser saves energy."""

_PACKS: Final = {
    # Both find lines as the glasses do; the small detector costs more and joins the cells of a menu.
    Recogniser.TINY: ("ocr-tiny-rec", "ocr-tiny-det"),
    Recogniser.SMALL: ("ocr-small-rec", "ocr-tiny-det"),
}
RECOGNITION_PACKS: Final[Mapping[Recogniser, str]] = {recogniser: pack for recogniser, (pack, _) in _PACKS.items()}
"""Name of each recogniser's pack."""
_PLANS: Final = {Recogniser.TINY: LOW_POWER, Recogniser.SMALL: NORMAL}
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


def certificates_of(metamodel: Metamodel) -> dict[Recogniser, RiskCertificate]:
    """What the metamodel certifies of each recogniser's readings; those of which it certifies none are left out."""
    found = {recogniser: metamodel.certificate_of(pack) for recogniser, pack in RECOGNITION_PACKS.items()}
    return {recogniser: certificate for recogniser, certificate in found.items() if certificate is not None}


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """What the wearer set.

    Attributes:
        target: language to translate into, ISO 639-1.
        expected: languages likely here, to help identify short text.
        beam: width of the translator's search.
        phrasebook_folder: phrase files of the wearer's own; None for none.
        apertium: whether Apertium may be used.
        check_back: whether an unsure translation is translated back.
    """

    target: str = "en"
    expected: tuple[str, ...] = ()
    beam: int = 1
    phrasebook_folder: Path | None = None
    apertium: ApertiumUse = ApertiumUse.AUTO
    check_back: bool = False


class LocalReader:
    """Reads and translates one strip at a time; not for two threads at once. Models load when first needed.

    Args:
        store: where the packs are.
        options: what the wearer set.
        clock: measures stages.
        cache: translations remembered; None to remember none.

    Raises:
        UsageError: a phrase file of the wearer's is malformed.
        StorageError: their folder cannot be read.
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
        self.problems: list[PackError] = []
        """Why translation packs that are installed are not used."""
        self._translators = load_translators(
            store, target=options.target, apertium=options.apertium, on_problem=self.problems.append
        )
        folder = options.phrasebook_folder
        phrasebook = Phrasebook.builtin() if folder is None else Phrasebook.builtin_with(folder)
        self._phrasebook = phrasebook
        self._translator = SignTranslator(phrasebook, self._translators, check_back=options.check_back)
        self._engines = engine_names(phrasebook, self._translators)
        self._readers: dict[Recogniser, SignReader] = {}
        self._votes = SignVotes(clock)
        self._detectors: dict[str, TextDetector] = {}
        self._orientation: OrientationClassifier | None = None
        self._scripts = ScriptClassifier.builtin()

    def alphabet(self, recogniser: Recogniser) -> frozenset[str]:
        """Every character a recogniser can answer with.

        Raises:
            PackError: its pack is missing, corrupt or unsupported.
        """
        return self._reader(recogniser).recogniser.alphabet

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
        self._reader(recogniser).read_crops([blank])
        SignWords.builtin()
        warm_up_language(self._phrasebook)
        warm_up_translators(self._translators)

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

    def read_picture(self, image: ImageBgr, recogniser: Recogniser) -> list[LocalLine]:
        """Every line of a whole picture, sign after sign, withheld ones included; nothing is translated.

        Args:
            image: BGR uint8 of shape (height, width, 3).
            recogniser: which one reads.

        Raises:
            InputError: the picture is not BGR.
            PackError: a model failed or is missing.
        """
        reader = self._reader(recogniser)
        return self._lines_seen(reader, self._see(reader, image, reader.find(image)))

    def _read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        watch = StageTimes(self._clock)
        reader = self._reader(recogniser)
        lines, outgoing = (self._read_frame if strip.is_frame else self._read_strip)(strip, reader, watch)
        shown = [line for line in lines if line.trouble is None]
        with watch.measure("translate"):
            meaning, key = self._translate(shown, whole_frame=strip.is_frame)
        pack = reader.recogniser.pack
        return LocalReading(
            frame_id=strip.frame_id,
            region_id=strip.region_id,
            captured_us=strip.captured_us,
            lines=tuple(lines),
            meaning=meaning,
            target=self._options.target,
            trouble=trouble_of(lines, meaning),
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
        meaning = cloud_meaning(cloud)
        if meaning is not None:
            self._cache.put(reading.cache_key, meaning)

    def _read_frame(
        self, strip: types_pb2.Strip, reader: SignReader, watch: StageTimes
    ) -> tuple[list[LocalLine], types_pb2.Strip]:
        """Lines found in a whole frame; what leaves is these lines, or the frame itself if none was found."""
        with watch.measure("decode"):
            image, to_frame = open_frame(strip)
        with watch.measure("detect"):
            found = reader.find(image)
        with watch.measure("recognise"):
            seen = self._see(reader, image, found)
            lines = self._lines_seen(reader, seen)
            outgoing = strip_of(image, to_frame, seen, strip)
        return [replace(line, quad=transform(to_frame, line.quad)) for line in lines], outgoing

    def _read_strip(
        self, strip: types_pb2.Strip, reader: SignReader, watch: StageTimes
    ) -> tuple[list[LocalLine], types_pb2.Strip]:
        """The lines of one sign, as the glasses cut them."""
        with watch.measure("decode"):
            cuts = open_strip(strip)
        with watch.measure("recognise"):
            legible = [cut for cut in cuts if cut.height_px >= FLOOR_HEIGHT_PX]
            looks = iter(reader.read_crops([cut.crop for cut in legible], languages=self._options.expected))
            voted = self._votes.vote(
                region_id=strip.region_id,
                frame_id=strip.frame_id,
                captured_us=strip.captured_us,
                lines=[
                    LineLook(next(looks), cut.height_px) if cut.height_px >= FLOOR_HEIGHT_PX else None for cut in cuts
                ],
            )
            lines = []
            for cut, line in zip(cuts, voted, strict=True):
                agreement = None if line is None else line.agreement
                for part, quad in [(None, cut.quad)] if line is None else reader.cells(line.look, cut.quad):
                    lines.append(
                        self._line(
                            part,
                            reader,
                            quad=quad,
                            height_px=cut.height_px,
                            detection=cut.detection,
                            agreement=agreement,
                            crop=cut.crop,
                        )
                    )
        # The glasses grouped the lines they saw; cells that were one line to them are texts of their own.
        return lines if len(lines) == len(cuts) else _numbered(lines), strip

    def _see(self, reader: SignReader, image: ImageBgr, found: Sequence[DetectedLine]) -> list[SeenLine]:
        return reader.read_lines(image, found, languages=self._options.expected)

    def _lines_seen(self, reader: SignReader, seen: Sequence[SeenLine]) -> list[LocalLine]:
        return [
            replace(
                self._line(
                    line.look if line.height_px >= FLOOR_HEIGHT_PX else None,
                    reader,
                    quad=line.quad,
                    height_px=line.height_px,
                    detection=line.detection,
                ),
                sign=line.sign,
            )
            for line in seen
        ]

    def _line(
        self,
        look: Look | None,
        reader: SignReader,
        *,
        quad: Quad,
        height_px: float,
        detection: float,
        agreement: float | None = None,
        crop: ImageBgr | None = None,
    ) -> LocalLine:
        """What one look at a line is worth; None where the line was too small to be looked at."""
        signals = (
            None
            if look is None or not look.recognition.text.strip()
            else LineSignals.of(look.recognition, height_px=height_px, agreement=agreement)
        )
        if look is None or signals is None:
            trouble, foreign = (Trouble.TOO_SMALL if look is None else Trouble.NO_TEXT), None
            if look is not None and crop is not None and (foreign := self._foreign(look, reader, crop)) is not None:
                trouble = Trouble.SCRIPT
            seen = line_evidence(
                None, None, height_px=height_px, detection=detection, right=0.0, crop=crop, withheld=True
            )
            return LocalLine("", quad, 0.0, 1.0, detection, trouble, foreign_script=foreign, evidence=seen)
        right = self._calibration.line(reader.recogniser.pack.name, signals)
        reason = None
        foreign = None
        if not look.script.readable:
            reason, foreign = Trouble.SCRIPT, look.foreign_script(reader.recogniser.alphabet)
        elif look.recognition.confidence < FLOOR_MEAN:
            reason = Trouble.LOW_CONFIDENCE
        seen = line_evidence(
            look,
            signals,
            height_px=height_px,
            detection=detection,
            right=right,
            crop=crop,
            withheld=reason is not None,
        )
        text = look.recognition.text.strip()
        return LocalLine(
            text, quad, right, look.script.probability, detection, reason, foreign_script=foreign, evidence=seen
        )

    def _foreign(self, look: Look, reader: SignReader, crop: ImageBgr) -> Script | None:
        """The script of a line in which nothing was read, where the recogniser cannot write it: it may read nothing."""
        if look.picture is None:
            (picture,) = self._scripts.classify([crop])
            look = replace(look, picture=picture)
        return look.foreign_script(reader.recogniser.alphabet)

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
        groups = [list(sign) for _, sign in groupby(range(len(lines)), key=lambda index: lines[index].sign)]
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

    def _reader(self, recogniser: Recogniser) -> SignReader:
        """Recogniser and detector of one size; the orientation classifier is a help, not a need."""
        if recogniser not in self._readers:
            recognition, detection = _PACKS[recogniser]
            self._readers[recogniser] = SignReader(
                detector=partial(self._detector, detection),
                recogniser=TextRecogniser.load(self._store.get(recognition)),
                orientation=self._orientation_classifier(),
                scripts=self._scripts,
                plan=_PLANS[recogniser],
            )
        return self._readers[recogniser]

    def _detector(self, name: str) -> TextDetector:
        """The detector of that name, or the one that is installed; most strips need none."""
        if name not in self._names:
            name = next((pack for _, pack in _PACKS.values() if pack in self._names), name)
        if name not in self._detectors:
            self._detectors[name] = TextDetector.load(self._store.get(name))
        return self._detectors[name]

    def _orientation_classifier(self) -> OrientationClassifier | None:
        if self._orientation is None and _ORIENTATION_PACK in self._names:
            self._orientation = OrientationClassifier.load(self._store.get(_ORIENTATION_PACK))
        return self._orientation


def _numbered(lines: Sequence[LocalLine]) -> list[LocalLine]:
    """Lines text after text, numbered by the texts they belong to."""
    blocks = read_blocks([line.quad for line in lines], numbers=[is_number(line.text) for line in lines])
    return [replace(lines[index], sign=number) for number, block in enumerate(blocks) for index in block]

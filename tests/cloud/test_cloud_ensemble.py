"""The cloud's second engine: who is asked about an unsure line, with how much time, and what is said of who read it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from cloud.plans import ReadPlan
from cloud.reading.ensemble import Combined, SecondEngine, UnsureLine, script_shown
from cloud.reading.ensemble_loading import engines_table, find_tesseract, load_second_engine
from cloud.reading.loading import load_readers
from cloud.reading.readers import LargeReader, LineReading, SignReading
from cloud.reading.reply import reading_message
from cloud.reading.validation import LineJob, ReadJob
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import RecogniserFailed
from shared.geometry import ImageBgr
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.models.apertium import EngineName
from shared.models.calibration import FEATURES, Calibration, LogisticModel
from shared.models.ensemble import PREFERRING, TESSERACT, Ensemble
from shared.models.ensemble_use import Combining
from shared.models.packs import PackStore
from shared.models.recognition import Recognition, TextRecogniser
from shared.models.script import Script, ScriptCheck
from shared.models.script_picture import PictureScript, ScriptClassifier
from shared.models.seen_lines import Look
from shared.models.sign_translation import SignTranslation, TranslationEngine
from shared.models.tesseract import DEFAULT, FIRST_SECONDS, Preparation, Tesseract

LATIN_AND_HAN = frozenset({Script.LATIN, Script.HAN, Script.KANA})
HANGUL, THAI, LATIN, SIGN = 10, 20, 30, 40
"""Brightness of a line's picture, which stands for what it shows."""
SHOWS = {HANGUL: Script.HANGUL, THAI: Script.THAI, LATIN: Script.LATIN}
TEXTS = {HANGUL: "출입구", THAI: "ทางออก", LATIN: "SALIDA"}


class Now(SystemClock):
    """Stands still."""

    def monotonic(self) -> float:
        return 100.0


class FakeScripts(ScriptClassifier):
    """Tells the script by a line's brightness."""

    def __init__(self) -> None:
        pass

    def classify(self, crops: Sequence[ImageBgr]) -> list[PictureScript]:
        return [picture(SHOWS.get(int(crop[0, 0, 0]))) for crop in crops]


class FakeTesseract(Tesseract):
    """Reads what a line's brightness stands for, and remembers what it was asked."""

    def __init__(self, *, fails: bool = False) -> None:
        languages = frozenset({"kor", "tha", "eng"})
        super().__init__("tesseract", version="5.9.1", languages=languages, clock=Now(), processes=1)
        self._fails = fails
        self.asked: list[tuple[int, tuple[str, ...], float]] = []

    def read(
        self,
        crops: Sequence[ImageBgr],
        languages: Sequence[str],
        *,
        seconds: float,
        preparation: Preparation = DEFAULT,
    ) -> list[Recognition]:
        del preparation
        self.asked.append((len(crops), tuple(languages), seconds))
        if self._fails:
            raise RecogniserFailed("it did not answer")
        return [recognition(TEXTS.get(int(crop[0, 0, 0]), "")) for crop in crops]


def picture(script: Script | None) -> PictureScript:
    return PictureScript({one: 0.95 if one is script else 0.004 for one in Script}, 0.95 if script is None else 0.01)


def recognition(text: str, confidence: float = 0.9) -> Recognition:
    return Recognition(text, confidence, confidence, (confidence,) * len(text))


def unsure(shows: int, *, readable: bool = False, text: str = "出入") -> UnsureLine:
    look = Look(recognition(text, 0.6), ScriptCheck(Script.HAN, 0.4, readable))
    return UnsureLine(np.full((40, 120, 3), shows, np.uint8), look, 40.0)


def engine(tesseract: Tesseract | None, *, failures: list[str] | None = None, voice: float = 0.0) -> SecondEngine:
    return SecondEngine(
        first=("ocr-small-rec", LATIN_AND_HAN),
        small=None,
        tesseract=tesseract,
        scripts=FakeScripts(),
        calibration=Calibration.builtin(),
        ensemble=Ensemble(
            Combining.RULE,
            {"any": LogisticModel((0.0,) * len(FEATURES), 2.0)},
            LogisticModel((0.0,) * len(PREFERRING), 0.0),
            {TESSERACT: voice},
            0.2,
        ),
        clock=Now(),
        on_failure=(failures if failures is not None else []).append,
    )


def shown(combined: Sequence[Combined]) -> list[tuple[str, str]]:
    return [(one.look.recognition.text, one.read_by.name if one.read_by else "") for one in combined]


def test_lines_in_one_script_share_a_process_and_each_says_what_read_it() -> None:
    tesseract = FakeTesseract()
    lines = [unsure(HANGUL), unsure(THAI), unsure(HANGUL)]
    combined = engine(tesseract).combine(lines, source=None, deadline=math.inf)
    assert shown(combined) == [
        ("출입구", "tesseract-kor"),
        ("ทางออก", "tesseract-tha"),
        ("출입구", "tesseract-kor"),
    ]
    assert [(count, languages) for count, languages, _ in tesseract.asked] == [(2, ("kor",)), (1, ("tha",))]
    assert combined[0].read_by is not None
    assert combined[0].read_by.version == "5.9.1"
    assert combined[0].chance == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_neither_a_pictogram_nor_a_script_that_the_packs_read_starts_a_process() -> None:
    tesseract = FakeTesseract()
    combined = engine(tesseract).combine([unsure(SIGN), unsure(LATIN)], source=None, deadline=math.inf)
    assert shown(combined) == [("出入", ""), ("出入", "")]
    assert tesseract.asked == []


def test_beside_the_packs_it_is_asked_only_where_it_has_a_voice() -> None:
    tesseract = FakeTesseract()
    line = unsure(LATIN, readable=True, text="SALLDA")
    engine(tesseract, voice=0.5).combine([line], source=None, deadline=math.inf)
    assert [languages for _, languages, _ in tesseract.asked] == [("eng",)]


def test_a_process_gets_the_time_that_is_left_and_is_not_started_with_less_than_it_takes() -> None:
    tesseract = FakeTesseract()
    second = engine(tesseract)
    assert shown(second.combine([unsure(HANGUL)], source=None, deadline=100.0 + FIRST_SECONDS)) == [("出入", "")]
    assert tesseract.asked == []
    second.combine([unsure(HANGUL)], source=None, deadline=102.0)
    ((_, _, seconds),) = tesseract.asked
    assert FIRST_SECONDS < seconds < 2.0


def test_a_process_that_fails_leaves_the_packs_reading_and_is_told() -> None:
    failures: list[str] = []
    combined = engine(FakeTesseract(fails=True), failures=failures).combine(
        [unsure(HANGUL), unsure(THAI)], source=None, deadline=math.inf
    )
    assert shown(combined) == [("出入", ""), ("出入", "")]
    assert failures == ["it did not answer", "it did not answer"]


def test_the_callers_language_counts_unless_the_picture_rules_it_out() -> None:
    vague = PictureScript({**dict.fromkeys(Script, 0.05), Script.HAN: 0.4, Script.HANGUL: 0.1}, 0.05)
    assert script_shown(vague, None, LATIN_AND_HAN) is None
    assert script_shown(vague, "ko", LATIN_AND_HAN) is Script.HANGUL
    assert script_shown(picture(Script.THAI), "ko", LATIN_AND_HAN) is Script.THAI
    assert script_shown(picture(Script.COMMON), None, LATIN_AND_HAN) is None
    assert script_shown(picture(None), None, LATIN_AND_HAN) is None
    assert script_shown(picture(Script.LATIN), "fr", LATIN_AND_HAN) is Script.LATIN


def test_a_sign_names_every_recogniser_that_read_a_line_of_it(pack_store: PackStore) -> None:
    pack = pack_store.get("ocr-small-rec")
    quad = np.array([[0, 0], [99, 0], [99, 39], [0, 39]], np.float32)
    line = LineReading(quad, recognition("Ausgang"), ScriptCheck(Script.LATIN, 1.0, True), 1.0)
    sign = SignReading((line,), None, SignTranslation("", TranslationEngine.NONE), 0, {})
    named = EngineName("tesseract-kor", "5.9.1")
    mixed = replace(sign, lines=(line, replace(line, read_by=named, chance=0.25)))
    request = cloud_pb2.ReadStripRequest()
    told = reading_message(request, mixed, recognition_pack=pack, calibration=Calibration.builtin()).recognition_pack
    assert (told.name, told.version) == (f"{pack.name}+tesseract-kor", f"{pack.version}+5.9.1")
    told = reading_message(request, sign, recognition_pack=pack, calibration=Calibration.builtin()).recognition_pack
    assert (told.name, told.version) == (pack.name, pack.version)


def test_a_line_of_another_recogniser_is_as_sure_as_that_ones_calibration_says(pack_store: PackStore) -> None:
    quad = np.array([[0, 0], [99, 0], [99, 39], [0, 39]], np.float32)
    line = LineReading(
        quad,
        recognition("출입구"),
        ScriptCheck(Script.HANGUL, 1.0, True),
        1.0,
        read_by=EngineName("tesseract-kor", "5.9.1"),
        chance=0.25,
    )
    sign = SignReading((line,), None, SignTranslation("", TranslationEngine.NONE), 0, {})
    message = reading_message(
        cloud_pb2.ReadStripRequest(),
        sign,
        recognition_pack=pack_store.get("ocr-small-rec"),
        calibration=Calibration.builtin(),
    )
    assert message.confidence.recognition == 0.25
    assert message.lines[0].recognition_confidence == 0.25


def large_reader(store: PackStore, second: SecondEngine | None) -> LargeReader:
    (reader,) = load_readers(store, workers=1, clock=SystemClock(), beam=1, second_engine=second)
    return reader


def picture_of(text: str) -> ImageBgr:
    image = np.full((64, 360, 3), 240, np.uint8)
    cv2.putText(image, text, (20, 48), (20, 20, 60), cv2.FontFace("uni"), 40, 500)
    return image


def job(image: ImageBgr, *, plan: ReadPlan | None = None) -> ReadJob:
    height, width = image.shape[:2]
    quad = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    encoded = cv2.imencode(".webp", image)[1].tobytes()
    line = LineJob(encoded, quad, None, 1.0)
    return ReadJob((line,), types_pb2.IMAGE_ENCODING_WEBP, False, None, "en", plan=plan or ReadPlan())


@pytest.mark.parametrize(
    ("upright", "turned", "read"),
    [
        ({Script.KANA: 0.4, Script.HANGUL: 0.1}, {Script.HANGUL: 0.9}, True),
        ({Script.HANGUL: 0.6}, {Script.HANGUL: 0.9}, False),  # is read as it is
        ({Script.LATIN: 0.8}, {Script.HANGUL: 0.7}, False),
        ({Script.KANA: 0.3}, {Script.HANGUL: 0.4}, False),
        ({Script.KANA: 0.3}, {Script.OTHER: 0.9}, False),
    ],
)
def test_a_line_that_the_packs_put_on_its_head_is_read_the_other_way_up(
    monkeypatch: pytest.MonkeyPatch, upright: dict[Script, float], turned: dict[Script, float], read: bool
) -> None:
    def classify(_: FakeScripts, crops: Sequence[ImageBgr]) -> list[PictureScript]:
        shows = [turned if int(crop[0, 0, 0]) == HANGUL else upright for crop in crops]
        return [PictureScript({**dict.fromkeys(Script, 0.01), **shown}, 0.01) for shown in shows]

    monkeypatch.setattr(FakeScripts, "classify", classify)
    line = unsure(SIGN)
    line.crop[-1, -1] = HANGUL
    put_on_head = replace(line, look=replace(line.look, upside_down=True))
    combined, left = engine(FakeTesseract()).combine([put_on_head, line], source=None, deadline=math.inf)
    assert combined.turned is read
    assert not left.turned  # the packs had left it as it was
    if read:
        assert shown([combined]) == [("출입구", "tesseract-kor")]


def test_korean_is_read_and_translated_where_tesseract_can_unless_the_plan_says_no(pack_store: PackStore) -> None:
    settings = CloudSettings.load(None)
    tesseract = find_tesseract(settings, clock=SystemClock())
    if tesseract is None or "kor" not in tesseract.languages:
        pytest.skip("Tesseract with Korean is not installed")
    recogniser = TextRecogniser.load(pack_store.get("ocr-small-rec"))
    reader = large_reader(pack_store, load_second_engine(pack_store, settings, recogniser, clock=SystemClock()))
    sign = reader(job(picture_of("출입구")))
    assert [line.recognition.text for line in sign.lines] == ["출입구"]
    assert sign.lines[0].read_by is not None
    assert sign.lines[0].read_by.name == "tesseract-kor"
    assert sign.translation.source == "ko"
    assert "ntrance" in sign.translation.translation
    assert reader(job(picture_of("출입구"), plan=ReadPlan(second_engine=False))).lines == ()
    (line,) = reader(job(picture_of("화장실 안내"))).lines  # which the packs take to be on its head
    assert line.recognition.text == "화장실 안내"
    assert line.quad[0, 0] < line.quad[1, 0]
    assert line.quad[0, 1] < line.quad[3, 1]


def test_the_table_of_engines_says_what_reads_each_script(pack_store: PackStore) -> None:
    off = engines_table(CloudSettings.load(None, tesseract="off", packs=pack_store.root), clock=SystemClock())
    assert any(line.split() == ["latin", "ocr-small-rec"] for line in off)
    assert any(line.split() == ["hangul", "-"] for line in off)
    assert "tesseract is switched off in the settings" in off
    if shutil.which("tesseract") is not None:
        on = engines_table(CloudSettings.load(None, packs=pack_store.root), clock=SystemClock())
        assert any("tesseract-" in line for line in on)
    missing = CloudSettings.load(None, tesseract_path="/nowhere/tesseract", packs=pack_store.root)
    assert any("/nowhere/tesseract" in line for line in engines_table(missing, clock=SystemClock()))

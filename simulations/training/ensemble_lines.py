"""Rendered lines in every script, and what each recogniser of the cloud says of them.

Lines are drawn and spoilt by what trains the script classifier (`script_pictures`), from the same three sets of texts
and fonts: `training` fits, `calibration` selects, `evaluation` reports; the last two have texts and font families that
the first has not. Hebrew is drawn with its letters in their order, which the classifier's own lines do without.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from cloud.reading.ensemble import script_shown, writable_scripts
from cloud.reading.loading import ORIENTATION_PACK, RECOGNITION_PACK
from cloud.reading.readers import FLOOR_HEIGHT_PX, FLOOR_MEAN, LineReading
from shared.geometry import ImageBgr
from shared.limits import MAX_STRIP_LINES
from shared.models.detection import TextDetector
from shared.models.ensemble import Readings, tesseract_look
from shared.models.orientation import OrientationClassifier
from shared.models.packs import PackStore
from shared.models.recognition import Recognition, TextRecogniser
from shared.models.restoration import restored
from shared.models.script import Script, check_script
from shared.models.script_picture import CLASSES, ScriptClassifier
from shared.models.seen_lines import Look
from shared.models.sign_reader import LARGE, SignReader
from shared.models.tesseract import DEFAULT, Preparation, Tesseract
from shared.models.tesseract_languages import BY_SCRIPT, languages_for
from simulations.training.script import SETS, Recipe
from simulations.training.script_fonts import PROBES, FontFile, find_fonts, is_shaped
from simulations.training.script_pictures import compose, draw_text, seen_by_a_camera
from simulations.training.script_texts import TextShelf

SMALL_PACK: Final = "ocr-tiny-rec"
SCRIPTS: Final = tuple(BY_SCRIPT)
_CLASS_STRIDE: Final = 100_000
"""Seeds of one class in a set: more lines than anybody renders."""
_SECONDS: Final = 60.0
"""Longest time of one process here, where nobody waits."""


@dataclass(frozen=True, slots=True)
class Line:
    """A rendered line.

    Attributes:
        script: of its text.
        truth: what is written.
        image: uint8 of shape (height, width, 3).
    """

    script: Script
    truth: str
    image: ImageBgr


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line and what is said of it.

    Attributes:
        line: as rendered.
        readings: of all recognisers; of Tesseract only where it would be asked.
        sure: whether the packs are sure, and nobody else is asked.
        told: script that Tesseract was asked for; None where it was not.
    """

    line: Line
    readings: Readings
    sure: bool
    told: Script | None


class Fonts:
    """Font families by the script they can write: those of a set or, where `lenient`, any for a script without.

    Args:
        files: found in the recipe's folders.
        held_apart: the share of the families to hold: those trained on, or those kept apart.
        lenient: whether a family of the other share is better than none.
    """

    def __init__(self, files: Sequence[FontFile], *, held_apart: bool, lenient: bool) -> None:
        self._families: dict[Script, list[list[FontFile]]] = {}
        self.borrowed: set[Script] = set()
        for script in SCRIPTS:
            shares: dict[bool, dict[str, list[FontFile]]] = {True: defaultdict(list), False: defaultdict(list)}
            for font in files:
                if font.writes(PROBES[script]):
                    shares[font.held_apart][font.family].append(font)
            found = shares[held_apart]
            if not found and lenient:
                found = shares[not held_apart]
                self.borrowed.add(script)
            self._families[script] = list(found.values())

    def can_write(self, script: Script) -> bool:
        """Whether there is a family for a script."""
        return bool(self._families[script])

    def pick(self, rng: random.Random, script: Script, text: str) -> FontFile | None:
        """A font for a text; None when eight tries found none that has all its characters."""
        families = self._families[script]
        for _ in range(8 if families else 0):
            font = rng.choice(rng.choice(families))
            if font.writes(text):
                return font
        return None


@lru_cache(maxsize=4)
def _files(folders: tuple[Path, ...]) -> list[FontFile]:
    return find_fonts(folders)


@lru_cache(maxsize=4)
def fonts_of(recipe: Recipe, name: str, *, lenient: bool = False) -> Fonts:
    """The fonts of a set."""
    return Fonts(_files(recipe.fonts), held_apart=name != "training", lenient=lenient)


@lru_cache(maxsize=2)
def _texts(corpora: Path | None, *, held_apart: bool) -> TextShelf:
    return TextShelf(corpora, held_apart=held_apart)


def render(recipe: Recipe, name: str, script: Script, count: int, *, lenient: bool = False) -> list[Line]:
    """So many lines of a set, none lower than what the cloud reads; none at all for a script without a font."""
    fonts, texts = fonts_of(recipe, name, lenient=lenient), _texts(recipe.corpora, held_apart=name != "training")
    if not fonts.can_write(script):
        return []
    first = SETS[name] + recipe.seed * 10_000_000 + CLASSES.index(script) * _CLASS_STRIDE
    lines: list[Line] = []
    for seed in range(first, first + _CLASS_STRIDE):
        if len(lines) == count:
            break
        rng = random.Random(seed)
        noise = np.random.default_rng(rng.getrandbits(32))
        text = texts.pick(rng, script)
        font = fonts.pick(rng, script, text)
        if font is None:
            continue
        ink = draw_text(text, font, rng, shaped=is_shaped(script) or script is Script.HEBREW)
        if ink is None:
            continue
        grey = seen_by_a_camera(compose(ink, [], rng, noise), rng, noise)
        if grey.shape[0] >= FLOOR_HEIGHT_PX:
            lines.append(Line(script, text, np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)))
    return lines


@dataclass
class Costs:
    """Wall-clock seconds and lines of one recogniser; everything here runs on one thread, or waits for one process."""

    seconds: float = 0.0
    lines: int = 0

    @property
    def ms(self) -> float:
        """A line."""
        return 1e3 * self.seconds / max(self.lines, 1)


class Recognisers:
    """Everything that reads a line in the cloud.

    Args:
        store: has the packs.
        tesseract: None for packs alone.
    """

    def __init__(self, store: PackStore, tesseract: Tesseract | None) -> None:
        recogniser = TextRecogniser.load(store.get(RECOGNITION_PACK), threads=1)
        self.pack, self.writable = writable_scripts(recogniser)
        self._scripts = ScriptClassifier.builtin()
        self._reader = SignReader(
            detector=_no_detector,
            recogniser=recogniser,
            orientation=OrientationClassifier.load(store.get(ORIENTATION_PACK)),
            scripts=self._scripts,
            plan=LARGE,
        )
        self._small = TextRecogniser.load(store.get(SMALL_PACK), threads=1)
        self._tesseract = tesseract
        self.costs: dict[str, Costs] = defaultdict(Costs)

    def read(self, lines: Sequence[Line]) -> list[ReadLine]:
        """What everybody says of lines; those that the packs are sure of are read by nobody else."""
        found = [self._read_by_packs(line) for line in lines]
        answers = self._read_by_tesseract([one.line.image for one in found], [one.told for one in found])
        return [
            replace(one, readings=replace(one.readings, tesseract=self._judged(one, answer)))
            for one, answer in zip(found, answers, strict=True)
        ]

    def _read_by_packs(self, line: Line) -> ReadLine:
        height = float(line.image.shape[0])
        started = time.perf_counter()
        (look,) = self._reader.read_crops([line.image])
        self._spent(self.pack, started, 1)
        quad = np.zeros((4, 2), np.float32)
        sure = LineReading(quad, look.recognition, look.script, 1.0).sure
        if sure:
            return ReadLine(line, Readings(look, self.pack, height), sure, None)
        picture = look.picture or self._scripts.classify([line.image])[0]
        look = replace(look, picture=picture)
        started = time.perf_counter()
        whole = restored(self._small.recognise([line.image])[0])
        self._spent(SMALL_PACK, started, 1)
        check = check_script(whole.text, whole.character_confidences, self._small.alphabet, picture=picture)
        again = Look(whole, check, picture=picture)
        told = None if look.shows_no_text else script_shown(picture, None, self.writable)
        return ReadLine(line, Readings(look, self.pack, height, again, SMALL_PACK), sure, told)

    def _read_by_tesseract(self, images: Sequence[ImageBgr], told: Sequence[Script | None]) -> list[Recognition | None]:
        answers: list[Recognition | None] = [None] * len(images)
        if self._tesseract is None:
            return answers
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, script in enumerate(told):
            if script is not None and (languages := languages_for(script, None, self._tesseract.languages)):
                groups[languages].append(index)
        for languages, members in groups.items():
            for start in range(0, len(members), MAX_STRIP_LINES):
                chosen = members[start : start + MAX_STRIP_LINES]
                started = time.perf_counter()
                read = self._tesseract.read([images[index] for index in chosen], languages, seconds=_SECONDS)
                self._spent("tesseract", started, len(chosen))
                for index, line in zip(chosen, read, strict=True):
                    answers[index] = line
        return answers

    def _judged(self, one: ReadLine, answer: Recognition | None) -> Look | None:
        if answer is None or one.told is None:
            return None
        return tesseract_look(answer, one.told, picture=one.readings.packs.picture)

    def _spent(self, name: str, started: float, lines: int) -> None:
        self.costs[name].seconds += time.perf_counter() - started
        self.costs[name].lines += lines


def shown(look: Look) -> str:
    """What the cloud shows of a look; empty where it withholds it."""
    readable = look.script.readable and look.recognition.confidence >= FLOOR_MEAN
    return look.recognition.text if readable else ""


def read_prepared(
    tesseract: Tesseract, lines: Sequence[Line], preparation: Preparation = DEFAULT
) -> list[tuple[Line, str]]:
    """Lines as Tesseract reads them in the languages of their script, however they are prepared."""
    found: list[tuple[Line, str]] = []
    for script in SCRIPTS:
        members = [line for line in lines if line.script is script]
        languages = languages_for(script, None, tesseract.languages)
        for start in range(0, len(members) if languages else 0, MAX_STRIP_LINES):
            chosen = members[start : start + MAX_STRIP_LINES]
            read = tesseract.read([line.image for line in chosen], languages, seconds=_SECONDS, preparation=preparation)
            found += [(line, one.text) for line, one in zip(chosen, read, strict=True)]
    return found


def detected(tesseract: Tesseract, lines: Sequence[Line]) -> list[tuple[Line, Script | None]]:
    """The script of lines as Tesseract's own detection has it."""
    return [(line, told[0] if (told := tesseract.script(line.image, seconds=_SECONDS)) else None) for line in lines]


def read_set(
    recipe: Recipe,
    name: str,
    scripts: Sequence[Script],
    count: int,
    recognisers: Recognisers,
    progress: Callable[[str], None],
) -> list[ReadLine]:
    """So many lines of every script of a set, read."""
    found: list[ReadLine] = []
    for script in scripts:
        found += recognisers.read(render(recipe, name, script, count))
        progress(f"{name}: {count} lines in {script.value}")
    return found


def _no_detector() -> TextDetector:
    raise AssertionError("lines that are rendered need no detector")

"""The systems compared: each takes a photograph and answers with the lines it would show."""

from __future__ import annotations

import csv
import io
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np

from cloud.reading.loading import load_readers
from phone.cascade.policy import Recogniser
from phone.reading import LocalReader, ReaderOptions
from shared.clock import SystemClock
from shared.errors import WaywordError
from shared.geometry import ImageBgr, Quad
from shared.models.packs import PackStore
from shared.models.recognition import TextRecogniser
from shared.models.script import LANGUAGE_SCRIPTS, Script, alphabet_scripts
from simulations.bench.reading.scoring import BENCH_HINT

TESSERACT_LANGUAGES: Final = {
    "pt": "por",
    "es": "spa",
    "fr": "fra",
    "de": "deu",
    "it": "ita",
    "ja": "jpn",
    "ko": "kor",
    "zh": "chi_sim",
    "zh-Hans": "chi_sim",
    "zh-Hant": "chi_tra",
}
TESSERACT_SECONDS: Final = 300.0
"""Time limit of one call."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One line that a system shows.

    Attributes:
        text: as shown.
        quad: where, in pixels of the photograph.
    """

    text: str
    quad: Quad


class Reader(Protocol):
    """One system, loaded."""

    def read(self, image: ImageBgr, language: str) -> list[Shown]:
        """Lines shown for one photograph; `language` is the label's, for systems that must be told."""
        ...

    def reads(self, language: str) -> bool:
        """Whether it has the scripts of a language."""
        ...


@dataclass(frozen=True, slots=True)
class ArmKind:
    """How to build one arm.

    Attributes:
        name: on the command line and in the tables.
        load: builds it; raises WaywordError with the reason when it cannot run here.
        external: whether its CPU time is that of child processes.
    """

    name: str
    load: Callable[[PackStore], Reader]
    external: bool = False


@dataclass
class CpuMeter:
    """Adds up CPU seconds of this process, or of its children that have ended."""

    external: bool
    seconds: float = 0.0
    each: list[float] = field(default_factory=list)

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Add what is used inside."""
        start = self._now()
        yield
        self.each.append(self._now() - start)
        self.seconds += self.each[-1]

    def _now(self) -> float:
        if not self.external:
            return time.process_time()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime


def has_scripts(language: str, scripts: frozenset[Script]) -> bool:
    """Whether a language can be written with these scripts; regional variants count as the language."""
    return LANGUAGE_SCRIPTS.get(language.split("-")[0], frozenset({Script.LATIN})) <= scripts


class PhoneArm:
    """The phone's phase one on the whole photograph, one thread."""

    def __init__(self, store: PackStore, recogniser: Recogniser) -> None:
        self._reader = LocalReader(store, options=ReaderOptions(), clock=SystemClock())
        self._recogniser = recogniser
        self._reader.warm_up(recogniser)

    def read(self, image: ImageBgr, language: str) -> list[Shown]:
        """Lines without trouble."""
        lines = self._reader.read_picture(image, self._recogniser)
        return [Shown(line.text, line.quad) for line in lines if line.trouble is None]

    def reads(self, language: str) -> bool:
        """Whether the recogniser's alphabet has the language's scripts."""
        return has_scripts(language, alphabet_scripts(self._reader.alphabet(self._recogniser)))


class CloudArm:
    """The cloud's large reader on the whole photograph, one worker, one thread."""

    def __init__(self, store: PackStore) -> None:
        (self._reader,) = load_readers(store, workers=1, clock=SystemClock(), beam=1)
        self._scripts = alphabet_scripts(TextRecogniser.load(self._reader.recognition_pack).alphabet)

    def read(self, image: ImageBgr, language: str) -> list[Shown]:
        """Lines that are not rejected; the reader is not told the language."""
        lines = self._reader.read_picture(image)
        return [Shown(line.recognition.text, line.quad) for line in lines if line.rejection is None]

    def reads(self, language: str) -> bool:
        """Whether the recogniser's alphabet has the language's scripts."""
        return has_scripts(language, self._scripts)


class RapidOcrArm:
    """The `rapidocr` package with its own models and settings, but for one thread."""

    def __init__(self, store: PackStore) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise WaywordError("rapidocr is not installed", hint=BENCH_HINT) from error
        threads = "EngineConfig.onnxruntime.intra_op_num_threads"
        self._engine = RapidOCR(params={"Global.log_level": "error", threads: 1})
        # Its recogniser is the one our small pack is made of.
        self._scripts = alphabet_scripts(TextRecogniser.load(store.get("ocr-small-rec")).alphabet)

    def read(self, image: ImageBgr, language: str) -> list[Shown]:
        """Everything it answers."""
        result = self._engine(image)
        boxes = result.boxes if result.boxes is not None else ()
        return [
            Shown(str(text), np.asarray(box, np.float32)) for text, box in zip(result.txts or (), boxes, strict=True)
        ]

    def reads(self, language: str) -> bool:
        """Whether the recogniser's alphabet has the language's scripts."""
        return has_scripts(language, self._scripts)


class TesseractArm:
    """The Tesseract command, told the photograph's language, one thread.

    Args:
        mode: page segmentation mode: 3 is automatic, 11 sparse text.
    """

    def __init__(self, mode: int) -> None:
        command = shutil.which("tesseract")
        if command is None:
            raise WaywordError("tesseract is not installed", hint="run: apt-get install tesseract-ocr")
        self._command = command
        self._mode = mode
        listed = subprocess.run([command, "--list-langs"], capture_output=True, text=True, check=False, timeout=30)
        self._installed = frozenset(listed.stdout.split()[1:])

    def read(self, image: ImageBgr, language: str) -> list[Shown]:
        """Words of each line joined, as its TSV output groups them.

        Raises:
            WaywordError: it failed, or took longer than `TESSERACT_SECONDS`.
        """
        languages = [name for name in (TESSERACT_LANGUAGES.get(language), "eng") if name in self._installed]
        picture = cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()
        arguments = [self._command, "-", "-", "--psm", str(self._mode), "-l", "+".join(languages), "tsv"]
        environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
        try:
            done = subprocess.run(
                arguments, input=picture, capture_output=True, check=True, timeout=TESSERACT_SECONDS, env=environment
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise WaywordError(f"tesseract failed: {error}") from error
        return lines_of_tsv(done.stdout.decode("utf-8", errors="replace"))

    def reads(self, language: str) -> bool:
        """Whether the language is installed."""
        return TESSERACT_LANGUAGES.get(language, "eng") in self._installed


def lines_of_tsv(text: str) -> list[Shown]:
    """Lines of Tesseract's TSV output; empty words are dropped."""
    lines: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["level"] == "5" and row["text"] and row["text"].strip():
            key = tuple(row[name] for name in ("page_num", "block_num", "par_num", "line_num"))
            lines.setdefault(key, []).append(row)
    shown = []
    for words in lines.values():
        left, top = (min(int(word[name]) for word in words) for name in ("left", "top"))
        right = max(int(word["left"]) + int(word["width"]) for word in words)
        bottom = max(int(word["top"]) + int(word["height"]) for word in words)
        quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
        shown.append(Shown(" ".join(word["text"] for word in words), quad))
    return shown


KINDS: Final = (
    ArmKind("ours-low", lambda store: PhoneArm(store, Recogniser.TINY)),
    ArmKind("ours-normal", lambda store: PhoneArm(store, Recogniser.SMALL)),
    ArmKind("ours-cloud", CloudArm),
    ArmKind("rapidocr", RapidOcrArm),
    ArmKind("tesseract-11", lambda store: TesseractArm(11), external=True),
    ArmKind("tesseract-3", lambda store: TesseractArm(3), external=True),
)


def load_image(path: Path) -> ImageBgr:
    """Decode a photograph.

    Raises:
        WaywordError: it cannot be decoded.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise WaywordError(f"{path} cannot be decoded")
    return np.asarray(image, np.uint8)

"""Tesseract as a second recogniser, an external process, for scripts that no pack reads.

Tesseract (Smith, *An Overview of the Tesseract OCR Engine*, ICDAR 2007; its LSTM engine since version 4) is installed
by the system's package manager, or not; Wayword only looks whether it is there and which languages it has.

Starting it takes most of the time of a line, so the lines of one sign go into one process, as the pages of a TIFF on
its standard input. One line a page (page segmentation mode 7), one thread, nothing is kept between calls. Pictures are
encoded here and language names come from Tesseract's own list, so nothing of a caller's is seen by it but pixels. Time
and output of a call are bounded, and so is the number of processes at once.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.clock import Clock
from shared.errors import PackMissing, RecogniserFailed
from shared.geometry import ImageBgr
from shared.limits import MAX_CROP_SIDE, MAX_STRIP_LINES, MAX_TEXT_CHARACTERS
from shared.models.child_process import ChildFailed, answer_of
from shared.models.images import require_bgr
from shared.models.recognition import Recognition
from shared.models.script import Script, script_of
from shared.models.tesseract_languages import NAME, SCRIPTS_BY_OSD

COMMAND: Final = "tesseract"
ASK_SECONDS: Final = 10.0
"""Longest time it may take to say its version and languages."""
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Most bytes read from one call: 24 lines of 512 characters, each a word of its own, make 0.6 MB."""
MAX_LANGUAGES: Final = 256
FIRST_SECONDS: Final = 0.4
"""What a call counts as before one was measured: two languages take about as much on one core."""
SMOOTHING: Final = 0.2
"""Weight of the newest call in the running mean of seconds."""
PROBE_S: Final = 60.0
"""After so long without a call what was measured counts no more where it is longer than `FIRST_SECONDS`: else one slow
call, such as the first one from a cold disk, would be the last."""
_MAX_COLUMNS: Final = 2560
"""Widest page; longer lines are squeezed into it, as they are for the packs."""
_MIN_COLUMNS: Final = 16
_GAPS: Final = {Script.HAN: 0.6, Script.KANA: 0.6, Script.THAI: 0.6, Script.HANGUL: 0.15}
"""Scripts whose words Tesseract answers in pieces, and from what gap on these are words of their own, in line heights.
Judgements, not measurements: readings are scored without their spaces."""
_LEAST_OSD: Final = 5
"""Characters that suffice for Tesseract to tell a script: its own least number is for pages."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a line is prepared. The defaults were chosen on rendered lines (``wayword-sim train ensemble --preparing``).

    Attributes:
        height: rows of the line, in pixels.
        margin: rows and columns of plain ground around it.
        median_ground: whether the margin has the line's median grey; otherwise it repeats the line's edge.
        dark_letters: whether lines that look bright on dark are inverted.
        binary: whether a line is made black and white (Otsu, 1979).
        mode: page segmentation mode; 7 is one line, 6 a block, 13 one line taken as it is.
    """

    height: int = 40
    margin: int = 12
    median_ground: bool = True
    dark_letters: bool = True
    binary: bool = False
    mode: int = 7


DEFAULT: Final = Preparation()


class Tesseract:
    """An installed Tesseract; several threads may use it at once. Build one with `find`.

    Args:
        command: the program.
        version: that it says it has.
        languages: whose data are installed.
        clock: measures calls.
        processes: most that run at once; further calls wait for their turn, within their time.
    """

    def __init__(
        self, command: str, *, version: str, languages: frozenset[str], clock: Clock, processes: int = 1
    ) -> None:
        self._command = command
        self.version = version
        self.languages = languages
        self._clock = clock
        self._slots = threading.BoundedSemaphore(processes)
        self._lock = threading.Lock()
        self._seconds: dict[str, tuple[float, float]] = {}
        """Mean seconds of a call, and when the last one ended, by its languages."""

    @classmethod
    def find(cls, command: str = COMMAND, *, clock: Clock, processes: int = 1) -> Tesseract:
        """The one that is installed.

        Args:
            command: its path, or its name to be looked for on PATH.
            clock: measures calls.
            processes: most that run at once.

        Raises:
            PackMissing: there is none, or it has no language.
            RecogniserFailed: it does not say its version and its languages.
        """
        program = shutil.which(command)
        if program is None:
            raise PackMissing(f"there is no {command}", hint="run: apt-get install tesseract-ocr")
        version = re.search(rb"\d+(?:\.\d+)+", _ask(program, "--version"))
        if version is None:
            raise RecogniserFailed(f"{command} does not say its version")
        _, *listed = _ask(program, "--list-langs").decode("utf-8", "replace").splitlines() or [""]
        languages = frozenset([name for name in listed if re.fullmatch(NAME, name)][:MAX_LANGUAGES])
        if not languages - {"osd"}:
            raise PackMissing(f"{command} has no language", hint="install one, such as tesseract-ocr-kor")
        return cls(program, version=version[0].decode(), languages=languages, clock=clock, processes=processes)

    def typical_seconds(self, languages: Sequence[str]) -> float:
        """How long a call in these languages takes on average."""
        with self._lock:
            seconds, at = self._seconds.get("+".join(languages), (FIRST_SECONDS, -math.inf))
        return min(seconds, FIRST_SECONDS) if self._clock.monotonic() - at >= PROBE_S else seconds

    def read(
        self,
        crops: Sequence[ImageBgr],
        languages: Sequence[str],
        *,
        seconds: float,
        preparation: Preparation = DEFAULT,
    ) -> list[Recognition]:
        """Read lines of text, all in one process.

        Args:
            crops: at most `MAX_STRIP_LINES` upright lines, uint8 of shape (height, width, 3).
            languages: Tesseract's names of the languages tried, installed ones; the first one counts most.
            seconds: longest time until the answer.
            preparation: how lines are prepared.

        Returns:
            One answer per crop, in the same order. A character's probability is its word's, which Tesseract gives as a
            certainty in per cent; it is not calibrated. Positions and word space evidence are not known.

        Raises:
            InputError: a crop is not BGR, has no pixel, or is too large.
            RecogniserFailed: a language is not installed, or the process fails, or not in time.
            ValueError: there are too many crops.
        """
        if len(crops) > MAX_STRIP_LINES:
            raise ValueError(f"{len(crops)} lines for one process, at most {MAX_STRIP_LINES}")
        for crop in crops:
            require_bgr(crop, what="a line", max_side=MAX_CROP_SIDE)
        if not languages or not set(languages) <= self.languages:
            raise RecogniserFailed(f"no such languages are installed: {'+'.join(languages)}")
        if not crops:
            return []
        pages = [prepared(crop, preparation) for crop in crops]
        named = "+".join(languages)
        with self._turn(seconds) as left:
            answer = self._run(named, ["--psm", str(preparation.mode)], ["tsv"], tiff_of(pages), left)
        return lines_of_tsv(answer, len(pages))

    def script(self, crop: ImageBgr, *, seconds: float) -> tuple[Script, tuple[str, ...]] | None:
        """What script a line is in, as Tesseract's own detection of scripts says (`osd`), and languages written in it.

        Made for pages: short lines have too few characters for it, and then it says nothing.

        Raises:
            InputError: the crop is not BGR, has no pixel, or is too large.
            RecogniserFailed: not in time. What else goes wrong, too few characters among it, counts as no answer.
        """
        require_bgr(crop, what="a line", max_side=MAX_CROP_SIDE)
        if "osd" not in self.languages:
            return None
        options = ["--psm", "0", "-c", f"min_characters_to_try={_LEAST_OSD}"]
        started = self._clock.monotonic()
        with self._turn(seconds) as left:
            try:
                answer = self._run("osd", options, [], tiff_of([prepared(crop, DEFAULT)]), left)
            except RecogniserFailed:
                if self._clock.monotonic() - started >= seconds:
                    raise
                return None
        found = re.search(r"^Script: (\w+)$", answer, re.MULTILINE)
        return SCRIPTS_BY_OSD.get(found[1]) if found else None

    def name(self, languages: Sequence[str]) -> str:
        """What stands for it where a pack's name is shown, such as "tesseract-kor"."""
        return f"{COMMAND}-{'+'.join(languages)}"

    @contextmanager
    def _turn(self, seconds: float) -> Iterator[float]:
        """Wait for a process to be allowed; gives the time that is left then."""
        started = self._clock.monotonic()
        if seconds <= 0 or not self._slots.acquire(timeout=seconds):
            raise RecogniserFailed("tesseract was busy for as long as there was time")
        try:
            left = seconds - (self._clock.monotonic() - started)
            if left <= 0:
                raise RecogniserFailed("tesseract was busy for as long as there was time")
            yield left
        finally:
            self._slots.release()

    def _run(self, named: str, options: Sequence[str], outputs: Sequence[str], picture: bytes, seconds: float) -> str:
        command = [self._command, "stdin", "stdout", *options, "-l", named, *outputs]
        started = self._clock.monotonic()
        try:
            answer = answer_of(
                command, picture, seconds=seconds, max_bytes=MAX_ANSWER_BYTES, environment=_environment()
            )
        except ChildFailed as error:
            self._measured(named, self._clock.monotonic() - started, answered=False)
            raise RecogniserFailed(str(error)) from error
        self._measured(named, self._clock.monotonic() - started)
        return answer.decode("utf-8", "replace")

    def _measured(self, named: str, seconds: float, *, answered: bool = True) -> None:
        """One call took so long; one without an answer tells something only if that is more than was thought."""
        with self._lock:
            before, _ = self._seconds.get(named, (seconds if answered else FIRST_SECONDS, 0.0))
            if answered or seconds > before:
                self._seconds[named] = (before + SMOOTHING * (seconds - before), self._clock.monotonic())


def prepared(crop: ImageBgr, how: Preparation) -> npt.NDArray[np.uint8]:
    """A line as Tesseract reads it best: grey, letters dark, of a fixed height, with plain ground around it.

    Args:
        crop: uint8 of shape (height, width, 3).
        how: see `Preparation`.

    Returns:
        uint8 of shape (height + 2 * margin, columns).
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    rows, columns = grey.shape
    width = min(max(round(columns * how.height / rows), _MIN_COLUMNS), _MAX_COLUMNS)
    shrinks = rows > how.height
    grey = cv2.resize(grey, (width, how.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    # Letters cover less than their ground: a line skewed to the bright side has bright letters.
    if how.dark_letters and np.power(grey.astype(np.float32) - grey.mean(), 3).mean() > 0:
        grey = cv2.bitwise_not(grey)
    if how.binary:
        _, grey = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    margins = (how.margin,) * 4
    if how.median_ground:
        page = cv2.copyMakeBorder(grey, *margins, cv2.BORDER_CONSTANT, value=float(np.median(grey)))
    else:
        page = cv2.copyMakeBorder(grey, *margins, cv2.BORDER_REPLICATE)
    return np.asarray(page, np.uint8)


def tiff_of(pages: Sequence[npt.NDArray[np.uint8]]) -> bytes:
    """Grey pictures as the pages of one uncompressed TIFF (Adobe, *TIFF Revision 6.0*, 1992, section 4).

    Args:
        pages: uint8 of shape (height, width) each.
    """
    parts = [b"II*\0", struct.pack("<I", 8)]
    place = 8
    for number, page in enumerate(pages):
        height, width = page.shape
        fields = (
            (256, width),
            (257, height),
            (258, 8),  # bits per sample
            (259, 1),  # not compressed
            (262, 1),  # black is zero
            (273, place + 2 + 9 * 12 + 4),  # where the pixels are
            (277, 1),  # samples per pixel
            (278, height),  # rows per strip
            (279, page.size),  # bytes of the strip
        )
        pixels = page.tobytes() + bytes(page.size % 2)  # a directory begins on a word
        following = place + 2 + 9 * 12 + 4 + len(pixels)
        directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
        last = number == len(pages) - 1
        parts += [struct.pack("<H", len(fields)), directory, struct.pack("<I", 0 if last else following), pixels]
        place = following
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    confidence: float
    left: int
    right: int
    height: int


def lines_of_tsv(answer: str, count: int) -> list[Recognition]:
    """The lines in Tesseract's TSV output, one a page; rows that are none of its words are passed over.

    Args:
        answer: a heading, then rows of level, page, block, paragraph, line, word, left, top, width, height,
            confidence in per cent, and text, separated by tabs.
        count: of the pages asked about.
    """
    pages: list[list[_Word]] = [[] for _ in range(count)]
    for row in answer.split("\n"):
        cells = row.rstrip("\r").split("\t", 11)
        if len(cells) != 12 or cells[0] != "5" or not cells[11].strip():
            continue
        try:
            page, left, width, height = int(cells[1]), int(cells[6]), int(cells[8]), int(cells[9])
            confidence = min(max(float(cells[10]) / 100.0, 0.0), 1.0)
        except ValueError:
            continue
        if 1 <= page <= count and confidence == confidence:  # not nan
            pages[page - 1].append(_Word(cells[11].strip(), confidence, left, left + width, height))
    return [_joined(words) for words in pages]


def _joined(words: Sequence[_Word]) -> Recognition:
    text = ""
    confidences: list[float] = []
    before: _Word | None = None
    for word in words:
        if before is not None and _apart(before, word):
            text += " "
            confidences.append(min(before.confidence, word.confidence))
        text += word.text
        confidences += [word.confidence] * len(word.text)
        before = word
    text, confidences = text[:MAX_TEXT_CHARACTERS].rstrip(), confidences[:MAX_TEXT_CHARACTERS]
    if not text:
        return Recognition("", 0.0, 0.0, ())
    confidences = confidences[: len(text)]
    return Recognition(text, sum(confidences) / len(confidences), min(confidences), tuple(confidences))


def _apart(one: _Word, other: _Word) -> bool:
    """Whether a space is between two words as Tesseract sees them."""
    last, first = one.text[-1], other.text[0]
    if any(letter.isascii() and letter.isalnum() for letter in (last, first)):
        return True
    # A mark, or a vowel sign that Unicode counts as no letter, stands where the letters beside it stand.
    gaps = [_GAPS[script] for script in map(script_of, one.text + other.text) if script in _GAPS]
    return not gaps or other.left - one.right > max(gaps) * max(one.height, other.height)


def _ask(program: str, what: str) -> bytes:
    try:
        return answer_of(
            [program, what], b"", seconds=ASK_SECONDS, max_bytes=MAX_ANSWER_BYTES, environment=_environment()
        )
    except ChildFailed as error:
        raise RecogniserFailed(str(error)) from error


def _environment() -> dict[str, str]:
    """One thread; and where the data are, if the system's administrator moved them."""
    data = os.environ.get("TESSDATA_PREFIX")
    return {"OMP_THREAD_LIMIT": "1", **({"TESSDATA_PREFIX": data} if data else {})}

"""The large reader's second opinion: other recognisers read what it is unsure of, and the readings are combined.

The packs' small recogniser reads Latin, Han and kana. A line that it is not sure of may be in a script that it does
not have: what the picture shows, what the caller says of the language and, for rarer scripts, what Tesseract's own
detection says decide which of Tesseract's languages are tried. Lines of one sign in the same languages go into one
process.

Nothing here is started without the time that it usually takes, and whatever goes wrong leaves the packs' reading.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from shared.clock import Clock
from shared.errors import RecogniserFailed
from shared.geometry import ImageBgr
from shared.limits import MAX_STRIP_LINES
from shared.models.apertium import EngineName
from shared.models.calibration import Calibration
from shared.models.ensemble import TESSERACT, Ensemble, Readings, tesseract_look
from shared.models.ensemble_use import Combining
from shared.models.recognition import LineRecogniser
from shared.models.restoration import restored
from shared.models.script import LANGUAGE_SCRIPTS, Script, alphabet_scripts, check_script
from shared.models.script_picture import PictureScript, ScriptClassifier
from shared.models.seen_lines import Look
from shared.models.tesseract import Tesseract
from shared.models.tesseract_languages import languages_for, readable_scripts

LEAST_PICTURE: Final = 0.5
"""Probability from which the picture alone says what script a line is in."""
NOT_RULED_OUT: Final = 0.05
"""Probability that the picture must give to the script of the language the caller names."""
SPARE: Final = 1.5
"""A process is started when there is so many times its usual time left: a judgement, as others use the cores too."""
RESERVE_S: Final = 0.15
"""Kept for the translation and the answer, in seconds: a judgement."""
LONGEST_S: Final = 10.0
"""Longest time of one process, whatever the deadline: a judgement, far above what the lines of a sign take."""


@dataclass(frozen=True, slots=True)
class UnsureLine:
    """A line that the packs are not sure of.

    Attributes:
        crop: one line from left to right, upright as it was read, uint8 of shape (height, width, 3).
        look: what the packs say.
        height_px: of the line in the frame.
        turned: whether `crop` was turned by half a turn after the packs read it.
    """

    crop: ImageBgr
    look: Look
    height_px: float
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Combined:
    """What is shown of a line.

    Attributes:
        look: text and script check.
        read_by: the recogniser that says so; None for the packs' first one.
        chance: P(right), calibrated for that recogniser; None where the first pack's calibration serves.
        turned: whether the line is on its head in the crop that the packs read.
    """

    look: Look
    read_by: EngineName | None = None
    chance: float | None = None
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """What Tesseract is asked about one line."""

    script: Script
    languages: tuple[str, ...]


class SecondEngine:
    """Reads unsure lines again with other recognisers; several threads may use it at once.

    Args:
        first: pack of the recogniser whose lines come here, and the scripts it can write.
        small: another pack's recogniser as a further look; None for none.
        tesseract: None where it is not installed or not wanted.
        scripts: tells scripts from pictures.
        calibration: of the packs.
        ensemble: weights.
        how: rule or weights; None for the ensemble's default.
        clock: of deadlines.
        on_failure: told in one line, without content, when a process failed.
    """

    def __init__(
        self,
        *,
        first: tuple[str, frozenset[Script]],
        small: LineRecogniser | None,
        tesseract: Tesseract | None,
        scripts: ScriptClassifier,
        calibration: Calibration,
        ensemble: Ensemble,
        clock: Clock,
        how: Combining | None = None,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pack, self._writable = first
        self._small = small
        self._tesseract = tesseract
        self._scripts = scripts
        self._calibration = calibration
        self._ensemble = ensemble
        self._how = ensemble.default if how is None else how
        self._clock = clock
        self._on_failure = on_failure

    @property
    def tesseract(self) -> Tesseract | None:
        """The installed one, if any."""
        return self._tesseract

    @property
    def writable(self) -> frozenset[Script]:
        """Scripts that the first pack can write."""
        return self._writable

    @property
    def scripts(self) -> frozenset[Script]:
        """Scripts that can be read, the first pack's among them."""
        return self._writable | (readable_scripts(self._tesseract.languages) if self._tesseract else frozenset())

    def combine(self, lines: Sequence[UnsureLine], *, source: str | None, deadline: float) -> list[Combined]:
        """What is shown of each line.

        Args:
            lines: of one sign, or of one picture.
            source: language of the text, ISO 639-1, None when unknown.
            deadline: on the clock, by which the caller must have the answer.

        Raises:
            InputError: a crop is not BGR, has no pixel, or is too large.
            PackError: a pack's model failed. A failed Tesseract leaves the packs' readings.
        """
        lines = [self._upright(self._with_picture(line)) for line in lines]
        tasks = [self._task(line, source, deadline) for line in lines]
        answers = self._ask_tesseract(lines, tasks, source, deadline)
        return [
            self._combined(line, task, self._again(line, source), answer)
            for line, task, answer in zip(lines, tasks, answers, strict=True)
        ]

    def _with_picture(self, line: UnsureLine) -> UnsureLine:
        if line.look.picture is not None:
            return line
        (picture,) = self._scripts.classify([line.crop])
        return replace(line, look=replace(line.look, picture=picture))

    def _upright(self, line: UnsureLine) -> UnsureLine:
        """A line that the packs turned as it was before, where only so it shows a script that the packs lack.

        The packs turn a line by what they make of it, which is chance in a script that they do not have. One that they
        left as it was is left here too: on its head, Han may pass for Hangul.
        """
        look = line.look
        if self._tesseract is None or not look.upside_down or look.script.readable or look.picture is None:
            return line
        likeliest = max(*look.picture.probabilities.values(), look.picture.no_text)
        if look.picture.script in self._lacking and likeliest >= LEAST_PICTURE:
            return line
        crop = np.ascontiguousarray(line.crop[::-1, ::-1])
        (picture,) = self._scripts.classify([crop])
        shown = picture.script
        if shown not in self._lacking or picture.probabilities[shown] < max(likeliest, LEAST_PICTURE):
            return line
        return replace(line, crop=crop, look=replace(look, picture=picture), turned=True)

    @property
    def _lacking(self) -> frozenset[Script]:
        """Scripts with a name that the first pack cannot write."""
        return frozenset(Script) - self._writable - {Script.COMMON, Script.OTHER}

    def _task(self, line: UnsureLine, source: str | None, deadline: float) -> Task | None:
        """What Tesseract is asked; None where the packs' reading stands."""
        picture = line.look.picture
        if self._tesseract is None or picture is None or line.look.shows_no_text:
            return None
        script = script_shown(picture, source, self._writable)
        listed: tuple[str, ...] = ()
        if script is Script.OTHER:
            told = self._detected(line, deadline)
            if told is not None:
                script, listed = told
        if script is None or (script in self._writable and not self._is_asked_beside_packs):
            return None
        languages = languages_for(script, source, self._tesseract.languages, listed=listed)
        return Task(script, languages) if languages else None

    @property
    def _is_asked_beside_packs(self) -> bool:
        """Whether Tesseract reads what the packs can write too."""
        return self._how is Combining.WEIGHTS or self._ensemble.voices.get(TESSERACT, 0.0) > 0.0

    def _detected(self, line: UnsureLine, deadline: float) -> tuple[Script, tuple[str, ...]] | None:
        """What Tesseract's own detection says of a script without a name here; only such an answer is believed."""
        seconds = self._time_for(("osd",), deadline)
        if self._tesseract is None or seconds is None:
            return None
        try:
            told = self._tesseract.script(line.crop, seconds=seconds)
        except RecogniserFailed as error:
            self._on_failure(error.message)
            return None
        return told if told is not None and told[0] is Script.OTHER else None

    def _ask_tesseract(
        self, lines: Sequence[UnsureLine], tasks: Sequence[Task | None], source: str | None, deadline: float
    ) -> list[Look | None]:
        """Tesseract's reading of each line; None where it was not asked, or did not answer in time."""
        answers: list[Look | None] = [None] * len(lines)
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, task in enumerate(tasks):
            if task is not None:
                groups[task.languages].append(index)
        for languages, members in groups.items():
            for start in range(0, len(members), MAX_STRIP_LINES):
                chosen = members[start : start + MAX_STRIP_LINES]
                seconds = self._time_for(languages, deadline)
                if self._tesseract is None or seconds is None:
                    continue
                try:
                    read = self._tesseract.read([lines[index].crop for index in chosen], languages, seconds=seconds)
                except RecogniserFailed as error:
                    self._on_failure(error.message)
                    continue
                for index, line in zip(chosen, read, strict=True):
                    task = tasks[index]
                    if task is not None:
                        answers[index] = tesseract_look(
                            line,
                            task.script,
                            languages=() if source is None else (source,),
                            picture=lines[index].look.picture,
                        )
        return answers

    def _time_for(self, languages: Sequence[str], deadline: float) -> float | None:
        """Seconds that a process may take; None where there is too little time to start one."""
        if self._tesseract is None:
            return None
        left = deadline - self._clock.monotonic() - RESERVE_S
        return min(left, LONGEST_S) if left >= SPARE * self._tesseract.typical_seconds(languages) else None

    def _again(self, line: UnsureLine, source: str | None) -> Look | None:
        """The other pack's look, where it has a voice and may be able to write what the picture shows."""
        small, look = self._small, line.look
        if small is None or not look.script.readable or self._ensemble.voices.get(small.pack.name, 0.0) <= 0.0:
            return None
        (read,) = small.recognise([line.crop])
        whole = restored(read)
        check = check_script(
            whole.text,
            whole.character_confidences,
            small.alphabet,
            expected_languages=() if source is None else (source,),
            picture=look.picture,
        )
        return Look(whole, check, picture=look.picture)

    def _combined(self, line: UnsureLine, task: Task | None, again: Look | None, answer: Look | None) -> Combined:
        """The packs' reading, the vote's, or Tesseract's."""
        small = self._small.pack if self._small is not None else None
        readings = Readings(
            line.look, self._pack, line.height_px, again, small.name if small is not None else "", answer
        )
        choice = self._ensemble.choose(readings, self._how, self._calibration)
        if choice.recogniser == TESSERACT and self._tesseract is not None and task is not None:
            named = EngineName(self._tesseract.name(task.languages), self._tesseract.version)
            return Combined(choice.look, named, choice.chance, line.turned)
        if small is not None and choice.recogniser == small.name:
            return Combined(choice.look, EngineName(small.name, small.version), choice.chance)
        return Combined(choice.look)


def script_shown(picture: PictureScript, source: str | None, writable: frozenset[Script]) -> Script | None:
    """The script that a line is most likely in; None where neither the picture nor the caller tells.

    Args:
        picture: what the picture shows.
        source: language of the text as the caller says, ISO 639-1; believed of a script that the packs lack unless the
            picture rules that out.
        writable: scripts that the packs have.
    """
    told = LANGUAGE_SCRIPTS.get(source or "", frozenset()) - writable
    likely = sorted(told, key=lambda script: -picture.probabilities[script])
    if likely and picture.probabilities[likely[0]] >= NOT_RULED_OUT:
        return likely[0]
    best = picture.script
    if best is None or best is Script.COMMON or picture.probabilities[best] < LEAST_PICTURE:
        return None
    return best


def writable_scripts(recogniser: LineRecogniser) -> tuple[str, frozenset[Script]]:
    """A recogniser's pack and the scripts it can write, as `SecondEngine` takes them."""
    return recogniser.pack.name, alphabet_scripts(recogniser.alphabet)

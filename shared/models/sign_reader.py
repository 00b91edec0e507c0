"""From a picture, or a line cut from one, to text: the one composition of detector, recogniser and script check.

Phone and cloud read with it, each with its own plan of what reading may cost:

1. lines are found (`line_finding`), the surest first when there are too many;
2. each is straightened and recognised;
3. a line that is not sure is looked at again: turned, with more or less around it, found anew; the look whose
   characters are surest, in a script the text can plausibly be in, wins;
4. cells of a row that were found as one line are separated (`line_splitting`);
5. lines are put into reading order, sign after sign (`shared.layout`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from shared.errors import InputError
from shared.geometry import ImageBgr, Quad, side_lengths
from shared.limits import MAX_READING_LINES
from shared.models.detection import DetectedLine, TextDetector
from shared.models.line_finding import FindingPlan, find_lines
from shared.models.line_merging import chains, joined
from shared.models.line_splitting import split_line
from shared.models.orientation import OrientationClassifier
from shared.models.recognition import LineRecogniser, Recognition
from shared.models.rectify import as_read, rectify
from shared.models.restoration import restored
from shared.models.script import check_script, needs_picture
from shared.models.script_picture import PictureScript, ScriptClassifier
from shared.models.seen_lines import Look, SeenLine, in_order
from shared.models.sign_words import SignWords

TURN_BELOW: Final = 0.9
"""Lines less sure than this may stand on their head."""
HOPELESS: Final = 0.3
"""A line less sure than this is not looked at with more or less around it: it would not be shown even then."""
SURELY_BETTER: Final = 0.02
"""A further look must be believed by so much more than the one before."""
SHORT_RATIO: Final = 2.6
"""A line at most so many times as long as high may have been turned for nothing, or not turned: "1" and "!" are
higher than wide, and two Chinese characters make a column as well as a row."""
JOINING_COST: Final = 0.05
"""How much less sure a line may be than its pieces, and still be read as one."""
LEAST_LETTERS: Final = 0.7
"""A line must have this share of the characters of its pieces."""


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """How much work reading may cost.

    Attributes:
        finding: of lines.
        turn_below: score below which a line is tried in other directions.
        margins: further crops tried when a line stays unsure: picture around the line, in line heights; negative ones
            cut into it.
        unsure_below: score below which these are tried.
    """

    finding: FindingPlan
    turn_below: float = TURN_BELOW
    margins: tuple[float, ...] = ()
    unsure_below: float = 0.0


LOW_POWER: Final = ReadingPlan(FindingPlan(side=960))
"""The phone on a low battery."""
NORMAL: Final = ReadingPlan(FindingPlan(side=960, small_px=14.0, tiles=1), margins=(0.12,), unsure_below=0.85)
"""The phone."""
LARGE: Final = ReadingPlan(
    FindingPlan(side=1280, small_px=24.0, tile_side=1280, tiles=9, everywhere=True),
    margins=(-0.08, 0.1, 0.2),
    unsure_below=0.97,
)
"""The cloud, where time matters less."""


class SignReader:
    """Reads pictures and lines; not for two threads at once.

    Args:
        detector: finds lines in pictures, or loads what does: who reads strips only never needs it.
        second: another detector that looks at whole pictures too; None for one look.
        recogniser: reads lines.
        orientation: tells which lines stand on their head; None to find out by reading them both ways.
        scripts: tells what script a picture shows; None to go by what was read.
        plan: what reading may cost.
    """

    def __init__(
        self,
        *,
        detector: TextDetector | Callable[[], TextDetector],
        second: TextDetector | None = None,
        recogniser: LineRecogniser,
        orientation: OrientationClassifier | None,
        scripts: ScriptClassifier | None,
        plan: ReadingPlan,
    ) -> None:
        self._detector = detector
        self._second = second
        self._recogniser = recogniser
        self._orientation = orientation
        self._scripts = scripts
        self.plan = plan

    @property
    def recogniser(self) -> LineRecogniser:
        """What reads the lines."""
        return self._recogniser

    @property
    def detector(self) -> TextDetector:
        """What finds the lines, loaded when first needed.

        Raises:
            PackError: it cannot be loaded.
        """
        if not isinstance(self._detector, TextDetector):
            self._detector = self._detector()
        return self._detector

    def find(self, image: ImageBgr) -> list[DetectedLine]:
        """The lines of a picture.

        Raises:
            InputError: it is no BGR picture.
            PackUnsupported: the model does not answer as a detector does.
        """
        return find_lines(self.detector, image, self.plan.finding, second=self._second)

    def read_lines(
        self, image: ImageBgr, found: Sequence[DetectedLine], *, languages: Sequence[str] = ()
    ) -> list[SeenLine]:
        """Read lines found in a picture.

        Args:
            image: uint8 of shape (height, width, 3).
            found: what `find` answered.
            languages: expected ones, ISO 639-1.

        Returns:
            At most `limits.MAX_READING_LINES`, sign after sign, each in reading order. A line in which nothing was read
            has an empty text.

        Raises:
            InputError: it is no BGR picture.
            PackUnsupported: a model does not answer as it should.
        """
        seen: list[SeenLine] = []
        for line, (look, quad) in self._best_looks(image, found, languages):
            for part, place in self.cells(look, quad, languages=languages):
                seen.append(SeenLine(place, part, line.confidence))
        return in_order(seen[:MAX_READING_LINES])

    def cells(self, look: Look, quad: Quad, *, languages: Sequence[str] = ()) -> list[tuple[Look, Quad]]:
        """The cells of a line, each with its place; the line alone where it is one text.

        Args:
            look: what it says.
            quad: the line, its first corner where reading starts; turned here where the look is.
            languages: expected ones, ISO 639-1.
        """
        place = np.roll(quad, 2, axis=0) if look.upside_down else quad
        return [
            (look if part is look.recognition else self._judged(part, languages, look.picture), where)
            for part, where in split_line(look.recognition, place)
        ]

    def _best_looks(
        self, image: ImageBgr, found: Sequence[DetectedLine], languages: Sequence[str]
    ) -> list[tuple[DetectedLine, tuple[Look, Quad]]]:
        """Every line with its best look; pieces that read better as one line are one."""
        found = found[:MAX_READING_LINES]
        pieces = {index: self._look(image, line, languages) for index, line in enumerate(found)}
        lines = list(enumerate(found))
        for chain in chains([line.quad for line in found]):
            looks = [look for index in chain if (look := pieces[index]) is not None]
            whole = DetectedLine(
                joined([found[index].quad for index in chain]), min(found[index].confidence for index in chain)
            )
            together = self._look(image, whole, languages)
            letters = sum(len(look.recognition.text) for look, _ in looks)
            if together is None or len(together[0].recognition.text) < LEAST_LETTERS * letters:
                continue
            if together[0].score >= sum(look.score for look, _ in looks) / max(len(looks), 1) - JOINING_COST:
                pieces[chain[0]] = together
                lines[chain[0]] = (chain[0], whole)
                pieces.update(dict.fromkeys(chain[1:], None))
        return [(line, look) for index, line in lines if (look := pieces[index]) is not None]

    def _look(self, image: ImageBgr, line: DetectedLine, languages: Sequence[str]) -> tuple[Look, Quad] | None:
        """The best look at one line, and its quad as read; None where there is no picture of it."""
        quad = as_read(line.quad)
        crop = _straight(image, quad)
        if crop is None:
            return None
        best = self._short(image, quad, self.read_crops([crop], languages=languages)[0], languages)
        if best[0].shows_no_text or not HOPELESS < best[0].score < self.plan.unsure_below:
            return best
        return self._look_wider(image, best, languages)

    def read_crops(self, crops: Sequence[ImageBgr], *, languages: Sequence[str] = ()) -> list[Look]:
        """Read lines that were cut out already.

        Args:
            crops: one line each, running from left to right, uint8 of shape (height, width, 3).
            languages: expected ones, ISO 639-1.

        Returns:
            One look a crop, in the same order; lines on their head are turned.

        Raises:
            InputError: a crop is not BGR, has no pixel, or is too large.
            PackUnsupported: a model does not answer as it should.
        """
        recognitions = self._recogniser.recognise(crops)
        looks = [
            self._checked(recognition, languages, crop) for recognition, crop in zip(recognitions, crops, strict=True)
        ]
        unsure = [index for index, look in enumerate(looks) if self._may_be_turned(look)]
        if self._orientation is not None and unsure:
            heads = self._orientation.upside_down([crops[index] for index in unsure])
            unsure = [index for index, upside_down in zip(unsure, heads, strict=True) if upside_down]
        for index in unsure:
            crop = _turned(crops[index])
            look = replace(self._checked(self._recogniser.recognise([crop])[0], languages, crop), upside_down=True)
            if look.score > looks[index].score:
                looks[index] = look
        return looks

    def _may_be_turned(self, look: Look) -> bool:
        return look.score < self.plan.turn_below and not look.shows_no_text

    def _short(self, image: ImageBgr, quad: Quad, look: Look, languages: Sequence[str]) -> tuple[Look, Quad]:
        """The line as it was cut, or a short one that is read better the other way round: a row or a column."""
        width, height = side_lengths(quad)
        if not self._may_be_turned(look) or width > SHORT_RATIO * height:
            return look, quad
        other = np.roll(quad, 1, axis=0)
        crop = _straight(image, other)
        if crop is None:
            return look, quad
        again = self.read_crops([crop], languages=languages)[0]
        return (again, other) if again.score > look.score + SURELY_BETTER else (look, quad)

    def _look_wider(self, image: ImageBgr, first: tuple[Look, Quad], languages: Sequence[str]) -> tuple[Look, Quad]:
        """Cut an unsure line with more or less around it, and keep the surest look."""
        best, quad = first
        for margin in self.plan.margins:
            crop = _straight(image, grown(quad, margin))
            if crop is None:
                continue
            crop = _turned(crop) if best.upside_down else crop
            look = self._checked(self._recogniser.recognise([crop])[0], languages, crop)
            look = replace(look, upside_down=best.upside_down)
            if look.score > best.score + SURELY_BETTER:
                best = look
        return best, quad

    def _checked(self, recognition: Recognition, languages: Sequence[str], crop: ImageBgr) -> Look:
        """What was read in a crop, and whether to believe it; the picture is looked at where that is in doubt."""
        recognition = restored(recognition)
        picture = None
        if (
            self._scripts is not None
            and recognition.text
            and needs_picture(
                recognition.text,
                recognition.character_confidences,
                says_words=SignWords.builtin().are_said_by(recognition.text),
            )
        ):
            (picture,) = self._scripts.classify([crop])
        return self._judged(recognition, languages, picture)

    def _judged(self, recognition: Recognition, languages: Sequence[str], picture: PictureScript | None) -> Look:
        script = check_script(
            recognition.text,
            recognition.character_confidences,
            self._recogniser.alphabet,
            expected_languages=languages,
            picture=picture,
        )
        return Look(recognition, script, picture=picture)


def grown(quad: Quad, margin: float) -> Quad:
    """A line with so many heights more on every side; fewer when negative."""
    width, height = side_lengths(quad)
    along = (quad[1] + quad[2] - quad[0] - quad[3]) / 2
    across = (quad[3] + quad[2] - quad[0] - quad[1]) / 2
    right = along * (margin * height / max(width, 1.0))
    down = across * margin
    outwards = np.array([-right - down, right - down, right + down, down - right])
    return np.asarray(quad + outwards, dtype=np.float32)


def _turned(crop: ImageBgr) -> ImageBgr:
    return np.ascontiguousarray(crop[::-1, ::-1])


def _straight(image: ImageBgr, quad: Quad) -> ImageBgr | None:
    """The crop of a quad as its corners say; None for a sliver at the picture's edge, or a line as long as a frieze."""
    try:
        return rectify(image, quad, turn=False)[0]
    except InputError:
        return None

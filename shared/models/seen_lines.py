"""Lines as they were seen and read, and the order they are read in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from shared.geometry import Quad, side_lengths
from shared.layout import read_blocks
from shared.models.line_splitting import is_number
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck, alphabet_scripts
from shared.models.script_picture import PictureScript

LIKELY: Final = 0.5
"""Probability from which a picture is said to show a script."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at one line gave.

    Attributes:
        recognition: text and character probabilities.
        script: what script the text is in, and whether the recogniser can read it.
        upside_down: whether the line was turned by 180 degrees to be read so.
        picture: what script the picture shows, where that was asked.
    """

    recognition: Recognition
    script: ScriptCheck
    upside_down: bool = False
    picture: PictureScript | None = None

    @property
    def shows_no_text(self) -> bool:
        """Whether the picture is more likely a pictogram or a texture than text."""
        return self.picture is not None and self.picture.script is None

    def foreign_script(self, alphabet: frozenset[str]) -> Script | None:
        """The script of the picture, where it is likely one that an alphabet cannot write; None where nobody looked.

        Args:
            alphabet: characters the recogniser can write.
        """
        if self.picture is None or (shown := self.picture.script) is None:
            return None
        likely = self.picture.probabilities[shown] >= LIKELY
        return shown if likely and shown is not Script.COMMON and shown not in alphabet_scripts(alphabet) else None

    @property
    def score(self) -> float:
        """How much this look is to be believed, 0..1: mean character probability times script plausibility."""
        return self.recognition.confidence * self.script.probability if self.recognition.text.strip() else 0.0


@dataclass(frozen=True, slots=True)
class SeenLine:
    """One line of a picture.

    Attributes:
        quad: in pixels of the picture, clockwise from the corner where reading starts.
        look: what it says.
        detection: the detector's confidence, 0..1.
        sign: lines with the same number belong together; signs are numbered in reading order.
    """

    quad: Quad
    look: Look
    detection: float
    sign: int = 0

    @property
    def height_px(self) -> float:
        """Height of the letters' line, in pixels of the picture."""
        return min(side_lengths(self.quad))


def in_order(lines: Sequence[SeenLine]) -> list[SeenLine]:
    """Lines text after text, each in reading order, with their texts numbered."""
    numbers = [is_number(line.look.recognition.text) for line in lines]
    blocks = read_blocks([line.quad for line in lines], numbers=numbers)
    return [replace(lines[index], sign=number) for number, block in enumerate(blocks) for index in block]

"""Typefaces of the labelled set: font files of any folder and OpenCV's built-in faces, dealt to the parts by family."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from shared.errors import InputError
from shared.models.script import Script, scripts_of
from simulations.rendered_lines import Ink, Part, ink_of_file, part_of, pieces_of, trimmed
from simulations.traces.records import TracePart
from simulations.training.script_fonts import PROBES, FontFile, find_fonts

SIZE: Final = 72
"""Font size at which a line is drawn, in pixels; no sign is seen from nearer than that."""
MAX_WIDTH: Final = 48 * SIZE
SCRIPTS: Final = (Script.HANGUL, Script.KANA, Script.HAN, Script.LATIN)
"""Scripts that signs are written in, rarest among fonts first."""
_WEIGHTS: Final = (400, 500, 600, 700, 800)
_PARTS: Final = {Part.FIT: TracePart.TRAIN, Part.SELECT: TracePart.CALIBRATION, Part.REPORT: TracePart.TEST}
_OPENCV: Final = {
    "sans": frozenset({Script.LATIN}),
    "italic": frozenset({Script.LATIN}),
    "uni": frozenset(SCRIPTS),
}


@dataclass(frozen=True)
class Typeface:
    """One way to write.

    Attributes:
        family: name; a family belongs to one part.
        font: file; None for one of OpenCV's faces.
        face: OpenCV's name for it, without a file.
        weight: of OpenCV's face, 100..900.
    """

    family: str
    font: FontFile | None = None
    face: str = ""
    weight: int = 400

    def writes(self, text: str) -> bool:
        """Whether every line of a text can be drawn."""
        return all(self.ink(line) is not None for line in text.split("\n"))

    def ink(self, text: str, *, tracking: float = 0.0, space: float = 1.0) -> Ink | None:
        """Draw a line, cut to its ink; None where it cannot be drawn.

        Args:
            text: one line.
            tracking: space added after every letter, in font sizes.
            space: width of word spaces, as a share of the font's own.

        Returns:
            How much ink, 0..1, shape (height, width).
        """
        if self.font is not None:
            if not self.font.writes(text):
                return None
            return ink_of_file(text, self.font, size=SIZE, max_width=MAX_WIDTH, tracking=tracking, space=space)
        image = np.zeros((3 * SIZE, MAX_WIDTH, 3), np.uint8)
        face, x = cv2.FontFace(self.face), SIZE / 2
        for piece in pieces_of(text, tracking=tracking):
            end, _ = cv2.putText(image, piece, (round(x), 2 * SIZE), (255, 255, 255), face, SIZE, self.weight)
            x += (end[0] - round(x)) * (space if piece.isspace() else 1.0) + tracking * SIZE
            if x > MAX_WIDTH - SIZE:
                return None
        return trimmed(image[..., 0].astype(np.float32) / 255.0)


class TypefaceStock:
    """Typefaces by part and script.

    Families are dealt by a hash of their names, after every part got one of each script where there are enough.

    Args:
        fonts: files; OpenCV's faces are always there.
    """

    def __init__(self, fonts: Sequence[FontFile] = ()) -> None:
        writes: dict[str, set[Script]] = {f"OpenCV {name}": set(scripts) for name, scripts in _OPENCV.items()}
        self._fonts: dict[str, list[FontFile]] = defaultdict(list)
        for font in fonts:
            scripts = {script for script in SCRIPTS if font.writes(PROBES[script])}
            if scripts:
                writes.setdefault(font.family, set()).update(scripts)
                self._fonts[font.family].append(font)
        self.parts = _dealt(writes)
        self._families = {
            (part, script): sorted(f for f, scripts in writes.items() if script in scripts and self.parts[f] is part)
            for part in (TracePart.TRAIN, TracePart.CALIBRATION, TracePart.TEST)
            for script in SCRIPTS
        }
        self.shared = tuple(script for script in SCRIPTS if any(not self._of(part, script) for part in _PARTS.values()))
        """Scripts with too few families for three parts: OpenCV's face writes them in every part."""

    @classmethod
    def of_folders(cls, folders: Sequence[Path]) -> TypefaceStock:
        """With every font file below some folders.

        Raises:
            InputError: a folder is not there.
        """
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"{folder} is no folder", hint="name a folder of TrueType or OpenType fonts")
        return cls(find_fonts(folders))

    def families(self) -> Mapping[str, int]:
        """How many families each part has for each script: "part script"."""
        return {f"{part.value} {script.value}": len(found) for (part, script), found in self._families.items()}

    def draw(self, rng: np.random.Generator, part: TracePart, text: str) -> Typeface:
        """A typeface of a part that can write a text.

        Raises:
            InputError: there is none, nor can OpenCV write it.
        """
        script = script_of(text)
        families = self._of(part, script)
        for _ in range(8 if families else 0):
            family = families[int(rng.integers(len(families)))]
            found = self._of_family(family, rng)
            if found.writes(text):
                return found
        for family in families:
            found = self._of_family(family, rng)
            if found.writes(text):
                return found
        found = Typeface("OpenCV uni", face="uni", weight=int(rng.choice(_WEIGHTS)))
        if not found.writes(text):
            raise InputError("no font can write a text of the set")
        return found

    def _of(self, part: TracePart, script: Script) -> list[str]:
        return self._families[part, script]

    def _of_family(self, family: str, rng: np.random.Generator) -> Typeface:
        fonts = self._fonts.get(family)
        if fonts:
            return Typeface(family, fonts[int(rng.integers(len(fonts)))])
        return Typeface(family, face=family.removeprefix("OpenCV "), weight=int(rng.choice(_WEIGHTS)))


def script_of(text: str) -> Script:
    """The script a font must have to write a text."""
    shares = scripts_of(text)
    return next((script for script in (Script.HANGUL, Script.KANA, Script.HAN) if script in shares), Script.LATIN)


def _dealt(writes: Mapping[str, set[Script]]) -> dict[str, TracePart]:
    """A part for every family."""
    parts: dict[str, TracePart] = {}
    for script in SCRIPTS:
        families = sorted((f for f in writes if script in writes[f]), key=lambda f: (zlib.crc32(f.encode()), f))
        if len(families) < len(_PARTS):
            continue
        for part in (TracePart.TEST, TracePart.CALIBRATION, TracePart.TRAIN):
            free = [family for family in families if family not in parts]
            if free and not any(parts.get(family) is part for family in families):
                parts[next((f for f in free if _PARTS[part_of(f)] is part), free[0])] = part
    return {family: parts.get(family) or _PARTS[part_of(family)] for family in writes}

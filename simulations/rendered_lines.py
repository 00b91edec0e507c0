"""Rendered lines of text whose truth is known: what word spaces, punctuation, voting and calibration are judged on.

A line is drawn in a font (files of any folder, or OpenCV's built-in faces), set wide at times, put on a plate with a
border at times, and then seen from a distance, blurred, noisy and compressed. Texts and font families are dealt to
three parts by a hash of their names: what one part fits, another selects and the third reports.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from shared.errors import InputError
from shared.geometry import ImageBgr
from shared.models.script import Script, dominant_script, scripts_of
from simulations.signs import degrade
from simulations.training.script_fonts import PROBES, FontFile, find_fonts, open_font

HEIGHTS: Final = (48, 40, 28, 20, 16, 12, 9, 7)
"""Heights of the crops in pixels, from near to unreadable."""
LATIN_LANGUAGES: Final = ("pt", "es", "fr", "de", "it")
_EASTERN_LANGUAGES: Final = {Script.HAN: ("zh",), Script.KANA: ("ja",), Script.HANGUL: ("ko",)}
_SCRIPTS: Final = (Script.LATIN, Script.HAN, Script.KANA, Script.HANGUL)
_SIZE: Final = 64
"""Font size at which a line is drawn, in pixels."""
_MAX_WIDTH: Final = 60 * _SIZE
_COLOURS: Final = (
    ((140, 60, 20), (250, 250, 250)),
    ((60, 120, 20), (250, 250, 250)),
    ((235, 240, 240), (25, 25, 25)),
    ((30, 30, 30), (90, 230, 255)),
    ((40, 200, 250), (20, 20, 20)),
    ((40, 30, 190), (245, 245, 245)),
    ((200, 220, 235), (40, 40, 110)),
    ((70, 55, 45), (225, 225, 225)),
)
"""Ground and ink, BGR."""
Ink = npt.NDArray[np.float32]


class Part(StrEnum):
    """What a sample is for."""

    FIT = "fit"
    SELECT = "select"
    REPORT = "report"


def part_of(name: str) -> Part:
    """The part of a text or a font family: half of them fit, a quarter each selects and reports."""
    return (Part.FIT, Part.FIT, Part.SELECT, Part.REPORT)[zlib.crc32(name.encode()) % 4]


def held_apart(name: str) -> bool:
    """Whether a text or a font family only reports."""
    return part_of(name) is Part.REPORT


@dataclass(frozen=True, slots=True)
class RenderedLine:
    """A picture of a line and its truth.

    Attributes:
        image: BGR uint8 of shape (height, width, 3).
        text: what is written.
        height_px: of the crop.
        spaced_out: whether its letters are set wide.
    """

    image: ImageBgr
    text: str
    height_px: int
    spaced_out: bool


@dataclass(frozen=True, slots=True)
class Look:
    """How a line is seen once.

    Attributes:
        height: of the crop, in pixels.
        blur: Gaussian sigma in pixels.
        noise: of the sensor, in grey levels.
        motion: horizontal motion blur in pixels.
    """

    height: int
    blur: float
    noise: float
    motion: int

    @classmethod
    def random(cls, rng: np.random.Generator, heights: Sequence[int] = HEIGHTS) -> Look:
        """One drawn by chance."""
        return cls(
            height=heights[int(rng.integers(len(heights)))],
            blur=float(rng.uniform(0.2, 1.1)),
            noise=float(rng.uniform(2, 9)),
            motion=int(rng.integers(0, 5)),
        )


@dataclass(frozen=True, slots=True)
class _Setting:
    """How letters are set.

    Attributes:
        tracking: space added after every letter, in font sizes.
        space: width of word spaces, as a share of the font's own.
    """

    tracking: float = 0.0
    space: float = 1.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> _Setting:
        """Wide at times, with tight word spaces more often: signs are set to fit."""
        tracking = float(rng.uniform(0.15, 0.6)) if rng.random() < 0.12 else 0.0
        space = float(rng.uniform(0.35, 0.9)) if rng.random() < 0.5 and not tracking else 1.0
        return cls(tracking, space)


class Typesetter:
    """Draws lines.

    Args:
        fonts: files; OpenCV's faces where none of a part can write a script.
    """

    def __init__(self, fonts: Sequence[FontFile] = ()) -> None:
        self._families: dict[tuple[Part, Script], dict[str, list[FontFile]]] = defaultdict(lambda: defaultdict(list))
        for font in fonts:
            for script in _SCRIPTS:
                if font.writes(PROBES[script]):
                    self._families[part_of(font.family), script][font.family].append(font)

    @classmethod
    def of_folders(cls, folders: Sequence[Path]) -> Typesetter:
        """With every font file below some folders.

        Raises:
            InputError: a folder is not there.
        """
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"{folder} is no folder")
        return cls(find_fonts(folders))

    def families(self) -> Mapping[str, int]:
        """How many font families each part has for each script."""
        return {f"{part.value} {script.value}": len(found) for (part, script), found in sorted(self._families.items())}

    def plate(self, text: str, rng: np.random.Generator, part: Part) -> tuple[ImageBgr, bool]:
        """A sharp picture of a line, and whether its letters are set wide."""
        shares = scripts_of(text)
        script = next((s for s in (Script.KANA, Script.HANGUL, Script.HAN) if s in shares), Script.LATIN)
        setting = _Setting.random(rng) if script is Script.LATIN else _Setting()
        return _plate(self._ink(text, rng, part, script, setting), rng), setting.tracking > 0

    def line(
        self, text: str, rng: np.random.Generator, part: Part, *, heights: Sequence[int] = HEIGHTS
    ) -> RenderedLine:
        """A line seen once."""
        plate, spaced_out = self.plate(text, rng, part)
        look = Look.random(rng, heights)
        return RenderedLine(seen(plate, look, rng), text, look.height, spaced_out)

    def _ink(self, text: str, rng: np.random.Generator, part: Part, script: Script, setting: _Setting) -> Ink:
        families = list(self._families.get((part, script), {}).values())
        for _ in range(8 if families else 0):
            fonts = families[int(rng.integers(len(families)))]
            font = fonts[int(rng.integers(len(fonts)))]
            ink = (
                ink_of_file(
                    text, font, size=_SIZE, max_width=_MAX_WIDTH, tracking=setting.tracking, space=setting.space
                )
                if font.writes(text)
                else None
            )
            if ink is not None:
                return ink
        return _ink_of_face(text, rng, script, setting)


def seen(plate: ImageBgr, look: Look, rng: np.random.Generator) -> ImageBgr:
    """A plate from afar."""
    return degrade(plate, rng, height=look.height, blur=look.blur, noise=look.noise, motion=look.motion)


def texts_of(folder: Path, languages: Sequence[str], *, limit: int, seed: int) -> list[str]:
    """Phrases of two to six words from phrase lists (``NAME.LANGUAGE-en.tsv.gz``), as many of each language.

    Raises:
        InputError: the folder has no such list.
    """
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    for language in languages:
        found = sorted({text for path in sorted(folder.glob(f"*.{language}*-en.tsv.gz")) for text in _phrases(path)})
        rng.shuffle(found)
        texts += found[: limit // len(languages)]
    if not texts:
        raise InputError(f"{folder} holds no *.{languages[0]}-en.tsv.gz", hint="name a folder of phrase lists")
    rng.shuffle(texts)
    return texts


def in_some_case(text: str, rng: np.random.Generator) -> str:
    """As signs write it: in capitals at times, each word with a capital at times."""
    draw = rng.random()
    if draw < 0.4:
        return text.upper()
    if draw < 0.5:
        return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))
    return text


def _phrases(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            words = line.partition("\t")[0].split()
            # A run of words, not the sentence: signs are short.
            count = 2 + zlib.crc32(line.encode()) % 4
            text = " ".join(words[:count])
            if len(words) >= 2 and len(text) <= 36 and dominant_script(text) is Script.LATIN:
                yield text


def pieces_of(text: str, *, tracking: float) -> list[str]:
    """What is drawn at once: letters set wide one by one, otherwise words, so that they keep the font's kerning."""
    return list(text) if tracking else re.findall(r"\s|\S+", text)


def ink_of_file(
    text: str, font: FontFile, *, size: int, max_width: int, tracking: float = 0.0, space: float = 1.0
) -> Ink | None:
    """A line drawn in a font file, cut to its ink; None where it is too wide, has none, or the file fails.

    Args:
        text: one line.
        font: the file.
        size: of the font, in pixels.
        max_width: of the line, in pixels.
        tracking: space added after every letter, in font sizes.
        space: width of word spaces, as a share of the font's own.
    """
    face = open_font(font.path, font.face, size, shaped=False)
    pieces = pieces_of(text, tracking=tracking)
    try:
        widths = [face.getlength(piece) * (space if piece.isspace() else 1.0) + tracking * size for piece in pieces]
        if sum(widths) > max_width:
            return None
        image = Image.new("L", (int(sum(widths)) + 2 * size, 3 * size))
        draw, x = ImageDraw.Draw(image), float(size)
        for piece, width in zip(pieces, widths, strict=True):
            draw.text((x, 2 * size), piece, font=face, fill=255, anchor="ls")
            x += width
    except (OSError, ValueError):
        return None
    return trimmed(np.asarray(image, np.float32) / 255.0)


def _ink_of_face(text: str, rng: np.random.Generator, script: Script, setting: _Setting) -> Ink:
    name = "uni" if script is not Script.LATIN else ("sans", "italic", "uni")[int(rng.integers(3))]
    face, weight = cv2.FontFace(name), int(rng.choice((400, 500, 600, 700, 800)))
    pieces = pieces_of(text, tracking=setting.tracking)
    image = np.zeros((3 * _SIZE, _MAX_WIDTH, 3), np.uint8)
    x = float(_SIZE)
    for piece in pieces:
        end, _ = cv2.putText(image, piece, (round(x), 2 * _SIZE), (255, 255, 255), face, _SIZE, weight)
        width = (end[0] - round(x)) * (setting.space if piece.isspace() else 1.0)
        x += width + setting.tracking * _SIZE
    ink = trimmed(image[..., 0].astype(np.float32) / 255.0)
    if ink is None:
        raise InputError(f"no font can write {text!r}")
    return ink


def trimmed(ink: Ink) -> Ink | None:
    """Ink without the empty rows and columns around it; None where there is hardly any."""
    rows, columns = np.flatnonzero(ink.max(axis=1) > 0.2), np.flatnonzero(ink.max(axis=0) > 0.2)
    if len(rows) < 3 or len(columns) < 2:
        return None
    return np.ascontiguousarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _plate(ink: Ink, rng: np.random.Generator) -> ImageBgr:
    """Ink on a plate, cut with some room, at times through the plate's border."""
    ground, letters = (np.array(colour, np.float32) for colour in _COLOURS[int(rng.integers(len(_COLOURS)))])
    up, down, left, right = (round(float(share) * _SIZE) for share in rng.uniform((0.04, 0.04, 0.1, 0.1), 0.3))
    padded = cv2.copyMakeBorder(ink, up, down, left, right, cv2.BORDER_CONSTANT, value=0.0)
    if rng.random() < 0.1:  # the border of a sign, at one end of the line
        thick = int(rng.integers(3, 7))
        bar = np.zeros((padded.shape[0], left // 2 + thick), np.float32)
        bar[:, :thick] = 1.0
        padded = np.hstack([bar, padded] if rng.random() < 0.5 else [padded, bar[:, ::-1]])
    picture = ground + (letters - ground) * padded[..., np.newaxis]
    return np.clip(picture, 0, 255).astype(np.uint8)

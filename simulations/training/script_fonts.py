"""Fonts for training the script classifier: which file can write what, and which are held apart.

Any folder of TrueType or OpenType fonts will do. A font's glyphs are compared with its picture of a character that no
font has, so no font library but Pillow is needed.
"""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from shared.errors import InputError
from shared.models.script import Script

PROBES: Final[Mapping[str, str]] = {
    Script.LATIN: "AaeéGgñßRrüzŠ",
    Script.HAN: "出入口人生店中",
    Script.KANA: "あのをアンガパー",
    Script.HANGUL: "가나출입구한국음",
    Script.CYRILLIC: "АБЖйщыюяД",
    Script.GREEK: "ΑΓΔΩαγδωέ",
    Script.ARABIC: "ابتجدسعمنه",
    Script.HEBREW: "אבגדהשתם",
    Script.DEVANAGARI: "अकखगतनमहरी",
    Script.THAI: "กขคงทยสหอ",
    "symbols": "→★☎✈♿",
    "icons": "\uf001\uf013\uf0f4\uf1b9",
    "georgian": "აბგდევ",
    "armenian": "ԱԲԳաբգ",
    "bengali": "অকখগতন",
    "tamil": "அகஙசதந",
    "telugu": "అకఖగతన",
    "khmer": "កខគងតន",
    "lao": "ກຂຄງຕນ",
    "myanmar": "ကခဂငတန",
    "sinhala": "අකගතනම",
    "ethiopic": "ሀለሐመሠረ",
}
"""Characters a font must all have to be used for a script, or another set of characters."""

_HELD_APART: Final = 4
"""One font family in so many is never trained on."""
_PROBE_SIZE: Final = 20
_ABSENT: Final = "\U000efffd"
_SHAPED: Final = frozenset(
    {Script.ARABIC, Script.DEVANAGARI, Script.THAI, "bengali", "tamil", "telugu", "khmer", "lao", "myanmar", "sinhala"}
)


class FontFile:
    """One face of one font file."""

    def __init__(self, path: Path, face: int = 0) -> None:
        self.path = path
        self.face = face
        self._glyphs: dict[str, bool] = {}

    @cached_property
    def family(self) -> str:
        """The first two words of its name: weights and widths of a family belong together."""
        name = self._probe.getname()[0] or self.path.stem
        return " ".join(name.split()[:2])

    @cached_property
    def held_apart(self) -> bool:
        """Whether its family is kept for calibration and evaluation."""
        return zlib.crc32(self.family.encode()) % _HELD_APART == 1

    def writes(self, text: str) -> bool:
        """Whether it has a glyph for every character."""
        return all(self._has(character) for character in set(text) if not character.isspace())

    def _has(self, character: str) -> bool:
        if character not in self._glyphs:
            picture = _picture(self._probe, character)
            self._glyphs[character] = picture is not None and picture != self._absent
        return self._glyphs[character]

    @cached_property
    def _probe(self) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(str(self.path), _PROBE_SIZE, index=self.face, layout_engine=ImageFont.Layout.BASIC)

    @cached_property
    def _absent(self) -> bytes | None:
        return _picture(self._probe, _ABSENT)


class FontShelf:
    """Fonts by what they can write, each family as likely as the next.

    Args:
        fonts: the files.
        held_apart: the share of the families to hold: those trained on, or those kept apart.

    Raises:
        InputError: some script has no font.
    """

    def __init__(self, fonts: Iterable[FontFile], *, held_apart: bool) -> None:
        shelf: dict[str, dict[str, list[FontFile]]] = defaultdict(lambda: defaultdict(list))
        for font in fonts:
            if font.held_apart is held_apart:
                for name, probe in PROBES.items():
                    if font.writes(probe):
                        shelf[name][font.family].append(font)
        missing = [name for name in PROBES if name in tuple(Script) and not shelf[name]]
        if missing:
            raise InputError(f"no font {'held apart' if held_apart else 'to train on'} writes {', '.join(missing)}")
        self._shelf = {name: list(families.values()) for name, families in shelf.items()}

    def names(self) -> Sequence[str]:
        """What can be written."""
        return [name for name, families in self._shelf.items() if families]

    def families(self, name: str) -> int:
        """How many families can write it."""
        return len(self._shelf.get(name, ()))

    def pick(self, rng: random.Random, name: str, text: str) -> FontFile | None:
        """A font for a text; None when eight tries found none that has all its characters."""
        for _ in range(8):
            font = rng.choice(rng.choice(self._shelf[name]))
            if font.writes(text):
                return font
        return None


def find_fonts(folders: Sequence[Path]) -> list[FontFile]:
    """Every font file below some folders, in an order that does not depend on the file system.

    A collection counts once: its faces differ in regional forms only. Files Pillow cannot open, or cannot draw with
    (bitmap fonts), are left out.
    """
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES):
        font = FontFile(path)
        try:
            usable = font.family and (font.writes("A1") or font.writes(PROBES["icons"]) or font.writes("→★"))
        except OSError:
            continue
        if usable or any(font.writes(probe) for probe in PROBES.values()):
            found.append(font)
    return found


_SUFFIXES: Final = frozenset({".ttf", ".otf", ".ttc"})


@lru_cache(maxsize=512)
def open_font(path: Path, face: int, size: int, *, shaped: bool) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels; `shaped` for scripts whose letters join or stack."""
    layout = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    return ImageFont.truetype(str(path), size, index=face, layout_engine=layout)


def is_shaped(name: str) -> bool:
    """Whether a script's letters join or stack."""
    return name in _SHAPED


def _picture(font: ImageFont.FreeTypeFont, character: str) -> bytes | None:
    """The character's picture, or None when nothing is drawn."""
    image = Image.new("L", (2 * _PROBE_SIZE, 2 * _PROBE_SIZE))
    try:
        ImageDraw.Draw(image).text((8, 8), character, font=font, fill=255)
    except (OSError, ValueError):
        return None
    data = image.tobytes()
    return data if any(data) else None

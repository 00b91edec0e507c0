"""Pictures of lines for training the script classifier: rendered text, pictograms and textures, as a camera sees them.

Everything is grey, as the classifier is. One seed gives one picture. What happens to a line, in order: it is drawn on a
plain or textured ground in either polarity, with neighbours above and below at times, outlined or shadowed at times;
cropped more or less tightly, at times through its first or last letters; warped; darkened on one side; scaled down to
10-48 rows; blurred, moved, made noisy; and compressed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from shared.models.script import Script
from shared.models.script_picture import CLASSES, NO_TEXT
from simulations.training.script_fonts import FontFile, FontShelf, is_shaped, open_font
from simulations.training.script_nothing import ground, nothing
from simulations.training.script_texts import OTHERS, TextShelf

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

SHARES: Final = {
    Script.LATIN: 0.15,
    Script.HAN: 0.12,
    Script.KANA: 0.12,
    Script.HANGUL: 0.11,
    Script.CYRILLIC: 0.08,
    Script.GREEK: 0.06,
    Script.ARABIC: 0.06,
    Script.HEBREW: 0.05,
    Script.DEVANAGARI: 0.05,
    Script.THAI: 0.06,
    Script.OTHER: 0.03,
    Script.COMMON: 0.04,
    NO_TEXT: 0.07,
}
"""How often each class is drawn. Latin, Han, kana and Hangul are what a traveller's strips show most and what is most
alike; calibration holds for a mixture like this one."""
_STACKED: Final = {Script.HAN: 0.14, Script.KANA: 0.14, Script.HANGUL: 0.12}
"""Share of vertical lines: their characters lie on their backs, see `shared.models.rectify.as_read`."""


@dataclass(frozen=True)
class Example:
    """One picture and what it shows.

    Attributes:
        grey: uint8 of shape (height, width).
        label: index into `CLASSES`.
        text: what is written; empty for no text.
    """

    grey: Grey
    label: int
    text: str


class Renderer:
    """Draws examples.

    Args:
        fonts: what to write with.
        texts: what to write.
    """

    def __init__(self, fonts: FontShelf, texts: TextShelf) -> None:
        self._fonts = fonts
        self._texts = texts
        self._others = [name for name in OTHERS if name in fonts.names() and texts.texts(name)]
        self._classes = [name for name in SHARES if name != Script.OTHER or self._others]

    def example(self, seed: int, *, label: str | None = None) -> Example:
        """The example of a seed; of one class where a label is given."""
        rng = random.Random(seed)
        if label is None:
            label = rng.choices(self._classes, [SHARES[name] for name in self._classes])[0]
        noise = np.random.default_rng(rng.getrandbits(32))
        if label == NO_TEXT:
            picture, text = nothing(rng, noise, self._fonts), ""
        else:
            picture, text = self._line(rng, noise, label)
        return Example(seen_by_a_camera(picture, rng, noise), CLASSES.index(label), text)

    def _line(self, rng: random.Random, noise: np.random.Generator, label: str) -> tuple[Floats, str]:
        name = rng.choice(self._others) if label == Script.OTHER else label
        while True:
            text = self._texts.pick(rng, name)
            # Digits are written in the fonts of every script.
            shelf = rng.choice(_DIGIT_FONTS) if name == Script.COMMON else name
            font = self._fonts.pick(rng, shelf, text)
            if font is None:
                continue
            stacked = rng.random() < _STACKED.get(Script(label), 0.0) and " " not in text
            mask = draw_stacked(text, font, rng) if stacked else draw_text(text, font, rng, shaped=is_shaped(name))
            if mask is None:
                continue
            neighbours = []
            if rng.random() < 0.25:
                neighbours = [self._neighbour(rng, name, font) for _ in range(2)]
            return compose(mask, neighbours, rng, noise), text

    def _neighbour(self, rng: random.Random, name: str, font: FontFile) -> Floats | None:
        text = self._texts.pick(rng, name)
        return draw_text(text, font, rng, shaped=is_shaped(name)) if font.writes(text) else None


_DIGIT_FONTS: Final = (Script.LATIN, Script.LATIN, Script.HAN, Script.HANGUL, Script.CYRILLIC)


def draw_text(text: str, font: FontFile, rng: random.Random, *, shaped: bool, size: int | None = None) -> Floats | None:
    """A line's ink, 0..1, cut to its bounds; None when it has none or is absurdly long."""
    size = size or rng.choice((24, 32, 40, 48))
    try:
        face = open_font(font.path, font.face, size, shaped=shaped)
        left, top, right, bottom = face.getbbox(text)
    except (OSError, ValueError):
        return None
    width, height = int(right - left) + 4, int(bottom - top) + 4
    if not (6 <= width <= 40 * size and 5 <= height <= 4 * size):
        return None
    image = Image.new("L", (width, height))
    spaced = not shaped and rng.random() < 0.1
    if spaced:
        image = _spaced(text, font, size, rng, height, int(top))
    else:
        ImageDraw.Draw(image).text((2 - left, 2 - top), text, font=face, fill=255)
    return _trimmed(np.asarray(image, dtype=np.float32) / 255.0)


def _spaced(text: str, font: FontFile, size: int, rng: random.Random, height: int, top: int) -> Image.Image:
    """Letters set wide apart, as on façades."""
    face = open_font(font.path, font.face, size, shaped=False)
    gap = rng.uniform(0.1, 0.5) * size
    advances = [face.getlength(character) + gap for character in text]
    image = Image.new("L", (int(sum(advances)) + 8 + size, height))
    draw, x = ImageDraw.Draw(image), 4.0
    for character, advance in zip(text, advances, strict=True):
        draw.text((x, 2 - top), character, font=face, fill=255)
        x += advance
    return image


def draw_stacked(text: str, font: FontFile, rng: random.Random) -> Floats | None:
    """The ink of a vertical line as the recogniser sees it: turned a quarter anticlockwise."""
    size = rng.choice((24, 32, 40))
    pitch = size * rng.uniform(1.0, 1.4)
    face = open_font(font.path, font.face, size, shaped=False)
    image = Image.new("L", (2 * size, int(pitch * len(text)) + size))
    draw = ImageDraw.Draw(image)
    for index, character in enumerate(text):
        draw.text((size, 4 + pitch * index), character, font=face, fill=255, anchor="ma")
    return _trimmed(np.rot90(np.asarray(image, dtype=np.float32) / 255.0))


def _trimmed(ink: Floats) -> Floats | None:
    rows, columns = np.flatnonzero(ink.max(axis=1) > 0.2), np.flatnonzero(ink.max(axis=0) > 0.2)
    if len(rows) < 3 or len(columns) < 2:
        return None
    return np.ascontiguousarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def compose(ink: Floats, neighbours: list[Floats | None], rng: random.Random, noise: np.random.Generator) -> Floats:
    """A line's ink on a ground, cropped as detectors crop."""
    height, width = ink.shape
    pad = height  # all that a crop may show around the line
    canvas = np.zeros((height + 2 * pad, width + 2 * pad), np.float32)
    canvas[pad : pad + height, pad : pad + width] = ink
    pitch = round(height * rng.uniform(1.15, 1.6))
    for direction, other in zip((-1, 1), neighbours, strict=False):
        if other is not None and rng.random() < 0.7:
            _paste(canvas, other, pad + direction * pitch, pad + rng.randint(-width // 4, width // 4))
    weight = rng.random()
    if weight < 0.12:
        canvas = cv2.dilate(canvas, np.ones((2, 2), np.uint8)).astype(np.float32)
    elif weight < 0.2:
        canvas = (cv2.dilate(canvas, np.ones((3, 3), np.uint8)) - canvas * rng.uniform(0.6, 1)).astype(np.float32)
    light, dark = rng.uniform(130, 255), rng.uniform(0, 110)
    if rng.random() < 0.15:  # little contrast
        dark = light - rng.uniform(25, 60)
    paper, letters = (light, dark) if rng.random() < 0.55 else (dark, light)
    picture = ground(canvas.shape, paper, rng, noise)
    if rng.random() < 0.12:
        shift = max(1, height // 14)
        shadow = np.roll(canvas, (shift, rng.choice((-shift, shift))), axis=(0, 1))
        picture += (rng.uniform(0, 255) - picture) * shadow * rng.uniform(0.3, 0.8)
    picture += (letters - picture) * canvas
    up, down = (rng.uniform(-0.06, 0.32) for _ in range(2))
    left, right = (rng.uniform(-0.05, 0.35) for _ in range(2))
    if rng.random() < 0.12:
        left -= rng.uniform(0, 0.6)
    if rng.random() < 0.12:
        right -= rng.uniform(0, 0.6)
    if width < 2 * height:
        left, right = max(left, 0.0), max(right, 0.0)
    y0, y1 = round(pad - up * height), round(pad + height + down * height)
    x0, x1 = round(pad - left * height), round(pad + width + right * height)
    picture = _warped(picture, y0, y1, x0, x1, rng)
    if rng.random() < 0.12:
        _border(picture, letters, rng)
    return picture


def _paste(canvas: Floats, ink: Floats, top: int, left: int) -> None:
    """Draw ink onto a canvas, cut where it leaves it."""
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + ink.shape[0], canvas.shape[0]), min(left + ink.shape[1], canvas.shape[1])
    if y1 > y0 and x1 > x0:
        part = ink[y0 - top : y1 - top, x0 - left : x1 - left]
        np.maximum(canvas[y0:y1, x0:x1], part, out=canvas[y0:y1, x0:x1])


def _warped(picture: Floats, y0: int, y1: int, x0: int, x1: int, rng: random.Random) -> Floats:
    """Cut a rectangle whose corners are a little off, as a detector's are."""
    height, width = y1 - y0, x1 - x0
    jitter = rng.choice((0.0, 0.04, 0.08, 0.14)) * height
    slant = rng.uniform(-0.25, 0.25) * height if rng.random() < 0.25 else 0.0
    corners = np.array([[x0 + slant, y0], [x1 + slant, y0], [x1, y1], [x0, y1]], np.float32)
    corners += np.array([[rng.uniform(-jitter, jitter) for _ in range(2)] for _ in range(4)], np.float32)
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    warped = cv2.warpPerspective(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.float32)


def _border(picture: Floats, level: float, rng: random.Random) -> None:
    """The edge of a sign, inside the crop."""
    height, width = picture.shape
    thickness = max(1, round(height * rng.uniform(0.02, 0.08)))
    for side in range(4):
        if rng.random() < 0.5:
            start, end = ((0, 0), (width, 0)), ((0, height - 1), (width, height - 1))
            first, last = (start, end, ((0, 0), (0, height)), ((width - 1, 0), (width - 1, height)))[side]
            cv2.line(picture, first, last, level, thickness)


def seen_by_a_camera(picture: Floats, rng: random.Random, noise: np.random.Generator) -> Grey:
    """What light, distance, optics, motion, the sensor and compression do."""
    height, width = picture.shape
    if rng.random() < 0.3:
        ramp = np.linspace(rng.uniform(0.35, 1), 1, width, dtype=np.float32)
        picture = picture * (ramp if rng.random() < 0.5 else ramp[::-1])
        if rng.random() < 0.4:
            edge = rng.randrange(width)
            picture[:, edge:] *= rng.uniform(0.4, 0.9)  # a cast shadow
    rows = rng.choice((10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48))
    columns = max(4, round(width * rows / height * rng.uniform(0.8, 1.25)))
    if rng.random() < 0.3 or rows > height:
        small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_LINEAR)
    else:
        small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    blur = rng.choice((0.0, 0.0, 0.4, 0.7, 1.0)) * rows / 20
    if blur > 0.2:
        small = cv2.GaussianBlur(small, (0, 0), min(blur, 2.0))
    if rng.random() < 0.15:
        length = rng.randint(2, max(2, rows // 8))
        small = cv2.blur(small, (length, 1) if rng.random() < 0.6 else (1, length))
    work = np.asarray(small, dtype=np.float32) + noise.normal(0, rng.choice((0, 1, 3, 6, 10)), small.shape)
    grey: Grey = np.clip(work, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        quality = rng.randint(25, 95)
        flag, kind = (cv2.IMWRITE_JPEG_QUALITY, ".jpg") if rng.random() < 0.5 else (cv2.IMWRITE_WEBP_QUALITY, ".webp")
        encoded = cv2.imencode(kind, grey, [flag, quality])[1]
        grey = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    if rng.random() < 0.3:
        grey = np.asarray(cv2.resize(grey, None, fx=2.0, fy=2.0, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    return grey

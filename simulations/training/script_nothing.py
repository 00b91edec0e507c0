"""Pictures without text: pictograms from symbol fonts, drawn shapes, and textures of streets."""

from __future__ import annotations

import math
import random
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from simulations.training.script_fonts import PROBES, FontShelf, open_font

Floats = npt.NDArray[np.float32]

_SYMBOL_RANGES: Final = (
    (0x2190, 0x21FF), (0x2300, 0x23FF), (0x25A0, 0x25FF), (0x2600, 0x26FF), (0x2700, 0x2775), (0x2794, 0x27BF),
    (0x2900, 0x297F), (0x2B00, 0x2BFF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF),
)  # fmt: skip
"""Arrows, technical and geometric symbols, dingbats, pictographs; enclosed letters and digits are text."""
_ICON_RANGES: Final = ((0xF000, 0xF2E0), (0xF101, 0xF6FF))
_ICON_FAMILIES: Final = ("Awesome", "Material")
_SIZE: Final = 64


def nothing(rng: random.Random, noise: np.random.Generator, fonts: FontShelf) -> Floats:
    """A pictogram, some shapes or a texture: grey levels, float32 of shape (height, width)."""
    kind = rng.random()
    if kind < 0.4:
        return _pictograms(rng, noise, fonts)
    if kind < 0.6:
        return _shapes(rng, noise)
    return _texture(rng, noise)


def ground(shape: tuple[int, ...], level: float, rng: random.Random, noise: np.random.Generator) -> Floats:
    """What a line is written on: plain two times in three, else a faint texture."""
    height, width = shape[:2]
    picture = np.full((height, width), level, np.float32)
    if rng.random() < 0.65:
        return picture
    strength = rng.uniform(0.05, 0.35)
    texture = _texture(rng, noise)
    scaled = cv2.resize(texture, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(picture + (scaled - scaled.mean()) * strength, dtype=np.float32)


def _levels(rng: random.Random) -> tuple[float, float]:
    light, dark = rng.uniform(130, 255), rng.uniform(0, 110)
    return (light, dark) if rng.random() < 0.5 else (dark, light)


def _pictograms(rng: random.Random, noise: np.random.Generator, fonts: FontShelf) -> Floats:
    names = [name for name in ("symbols", "icons") if name in fonts.names()]
    cells: list[Floats] = []
    wanted = rng.choice((1, 1, 1, 2, 3, 5))
    for _ in range(200):
        if not names or len(cells) == wanted:
            break
        name = rng.choice(names)
        first, last = rng.choice(_SYMBOL_RANGES if name == "symbols" else _ICON_RANGES)
        character = chr(rng.randint(first, last))
        font = fonts.pick(rng, name, PROBES[name])
        if font is None or not font.writes(character):
            continue
        if name == "icons" and not any(word in font.family for word in _ICON_FAMILIES):
            continue  # text fonts keep letters and digits there
        image = Image.new("L", (2 * _SIZE, 2 * _SIZE))
        face = open_font(font.path, font.face, _SIZE, shaped=False)
        ImageDraw.Draw(image).text((_SIZE, _SIZE), character, font=face, fill=255, anchor="mm")
        ink = np.asarray(image, dtype=np.float32) / 255.0
        rows, columns = np.flatnonzero(ink.max(axis=1) > 0.2), np.flatnonzero(ink.max(axis=0) > 0.2)
        if len(rows) > 6 and len(columns) > 6:
            cells.append(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    if not cells:
        return _shapes(rng, noise)
    return _arranged(cells, rng, noise)


def _arranged(cells: list[Floats], rng: random.Random, noise: np.random.Generator) -> Floats:
    """Cells side by side on a ground."""
    height = max(cell.shape[0] for cell in cells)
    gap = round(height * rng.uniform(0.1, 0.6))
    margin = round(height * rng.uniform(0.0, 0.35)) + 1
    width = sum(cell.shape[1] for cell in cells) + gap * (len(cells) - 1)
    ink = np.zeros((height + 2 * margin, width + 2 * margin), np.float32)
    x = margin
    for cell in cells:
        y = margin + (height - cell.shape[0]) // 2
        ink[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
        x += cell.shape[1] + gap
    paper, colour = _levels(rng)
    picture = ground(ink.shape, paper, rng, noise)
    picture += (colour - picture) * ink
    return picture


def _shapes(rng: random.Random, noise: np.random.Generator) -> Floats:
    cells = []
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        cell = np.zeros((_SIZE, _SIZE), np.float32)
        rng.choice((_arrow, _roundel, _person, _polygon, _logo))(cell, rng)
        turned = np.rot90(cell, rng.randrange(4))
        cells.append(np.ascontiguousarray(turned))
    return _arranged(cells, rng, noise)


def _arrow(cell: Floats, rng: random.Random) -> None:
    thickness = rng.randint(3, 12)
    tail = (rng.randint(4, 20), rng.randint(20, 44))
    if rng.random() < 0.3:
        cv2.line(cell, (tail[0], 60), tail, 1.0, thickness)
    cv2.arrowedLine(cell, tail, (60, rng.choice((tail[1], 32, 8))), 1.0, thickness, tipLength=rng.uniform(0.25, 0.5))


def _roundel(cell: Floats, rng: random.Random) -> None:
    radius = rng.randint(20, 30)
    cv2.circle(cell, (32, 32), radius, 1.0, rng.choice((-1, 3, 6, 9)))
    kind = rng.randrange(4)
    ink = 0.0 if cell[32, 32] > 0 else 1.0
    if kind == 0:
        cv2.rectangle(cell, (14, 27), (50, 37), ink, -1)
    elif kind == 1:
        cv2.line(cell, (14, 14), (50, 50), ink, rng.randint(3, 8))
    elif kind == 2:
        cv2.line(cell, (14, 14), (50, 50), ink, 6)
        cv2.line(cell, (50, 14), (14, 50), ink, 6)


def _person(cell: Floats, rng: random.Random) -> None:
    cv2.circle(cell, (32, 10), rng.randint(5, 8), 1.0, -1)
    if rng.random() < 0.5:
        cv2.rectangle(cell, (24, 20), (40, 42), 1.0, -1)
    else:
        cv2.fillPoly(cell, [np.array([[32, 18], [18, 46], [46, 46]], np.int32)], 1.0)
    for x in (27, 37):
        cv2.line(cell, (x, 40), (x + rng.randint(-8, 8), 62), 1.0, 5)
    for x in (22, 42):
        cv2.line(cell, (32, 22), (x + rng.randint(-10, 10), 40), 1.0, 4)


def _polygon(cell: Floats, rng: random.Random) -> None:
    sides, turn = rng.choice((3, 3, 4, 5, 6, 8)), rng.uniform(0, math.tau)
    points = [
        (32 + 28 * math.cos(turn + math.tau * k / sides), 32 + 28 * math.sin(turn + math.tau * k / sides))
        for k in range(sides)
    ]
    outline = np.array(points, np.int32)
    if rng.random() < 0.5:
        cv2.fillPoly(cell, [outline], 1.0)
    else:
        cv2.polylines(cell, [outline], True, 1.0, rng.randint(3, 8))


def _logo(cell: Floats, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        centre = (rng.randint(12, 52), rng.randint(12, 52))
        axes = (rng.randint(4, 28), rng.randint(4, 28))
        start = rng.randint(0, 360)
        thickness = rng.choice((-1, 2, 4, 7))
        cv2.ellipse(cell, centre, axes, rng.randint(0, 180), start, start + rng.randint(60, 360), 1.0, thickness)


def _texture(rng: random.Random, noise: np.random.Generator) -> Floats:
    """A piece of a street: bricks, stripes, a fence, leaves, windows, cloth, plain noise."""
    height = 64
    width = round(height * rng.choice((0.7, 1, 1.5, 2, 3, 4, 6, 9)))
    paper, ink = _levels(rng)
    picture = np.full((height, width), paper, np.float32)
    kind = rng.randrange(9)
    if kind == 0:
        _bricks(picture, ink, rng)
    elif kind == 1:
        _stripes(picture, ink, rng)
    elif kind == 2:
        _grid(picture, ink, rng)
    elif kind == 3:
        _leaves(picture, rng)
    elif kind == 4:
        picture[:] = _clouds(height, width, rng, noise)
    elif kind == 5:
        picture += np.linspace(0, rng.uniform(-120, 120), width, dtype=np.float32)
    elif kind == 6:
        _facade(picture, ink, rng)
    elif kind == 7:
        _scribble(picture, ink, rng)
    else:
        _clutter(picture, rng)
    return picture + noise.normal(0, rng.choice((0, 2, 8)), picture.shape).astype(np.float32)


def _bricks(picture: Floats, ink: float, rng: random.Random) -> None:
    height, width = picture.shape
    rows, ratio, joint = rng.randint(2, 8), rng.uniform(1.5, 4), rng.randint(1, 4)
    tall = height / rows
    for row in range(rows + 1):
        cv2.line(picture, (0, round(row * tall)), (width, round(row * tall)), ink, joint)
        x = (row % 2) * tall * ratio / 2
        while x < width:
            cv2.line(picture, (round(x), round(row * tall)), (round(x), round((row + 1) * tall)), ink, joint)
            x += tall * ratio


def _stripes(picture: Floats, ink: float, rng: random.Random) -> None:
    height, width = picture.shape
    step, slant = rng.uniform(5, 40), rng.choice((0.0, 0.0, 0.5, 1.0, -1.0))
    x = -height * 1.0
    while x < width + height:
        cv2.line(picture, (round(x), 0), (round(x + slant * height), height), ink, max(1, round(step * 0.4)))
        x += step * (rng.uniform(0.6, 1.4) if rng.random() < 0.3 else 1.0)


def _grid(picture: Floats, ink: float, rng: random.Random) -> None:
    height, width = picture.shape
    step = rng.uniform(6, 30)
    for index in range(1, round(width / step) + 1):
        cv2.line(picture, (round(index * step), 0), (round(index * step), height), ink, rng.randint(1, 3))
    for index in range(1, round(height / step) + 1):
        cv2.line(picture, (0, round(index * step)), (width, round(index * step)), ink, rng.randint(1, 3))


def _leaves(picture: Floats, rng: random.Random) -> None:
    height, width = picture.shape
    for _ in range(rng.randint(30, 30 + width // 2)):
        centre = (rng.randrange(width), rng.randrange(height))
        axes = (rng.randint(2, 12), rng.randint(1, 6))
        cv2.ellipse(picture, centre, axes, rng.randint(0, 180), 0, 360, rng.uniform(10, 245), -1)


def _clouds(height: int, width: int, rng: random.Random, noise: np.random.Generator) -> Floats:
    """Noise of several scales."""
    picture = np.full((height, width), 128.0, np.float32)
    for scale in (2, 4, 8, 16, 32):
        coarse = noise.normal(0, 1, (max(2, height // scale), max(2, width // scale))).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * rng.uniform(0, 30)
    return picture


def _facade(picture: Floats, ink: float, rng: random.Random) -> None:
    height, width = picture.shape
    x = rng.randint(-10, 10)
    tall, wide, gap = rng.randint(20, 56), rng.randint(8, 40), rng.randint(4, 30)
    while x < width:
        top = (height - tall) // 2
        cv2.rectangle(picture, (x, top), (x + wide, top + tall), ink, rng.choice((-1, 2, 4)))
        if rng.random() < 0.5:
            cv2.line(picture, (x + wide // 2, top), (x + wide // 2, top + tall), float(picture[0, 0]), 2)
        x += wide + gap


def _scribble(picture: Floats, ink: float, rng: random.Random) -> None:
    """Branches, cables and cracks."""
    height, width = picture.shape
    for _ in range(rng.randint(1, 8)):
        points = [(rng.randrange(-20, width + 20), rng.randrange(-10, height + 10)) for _ in range(rng.randint(2, 5))]
        cv2.polylines(picture, [np.array(points, np.int32)], False, ink, rng.randint(1, 5), cv2.LINE_AA)


def _clutter(picture: Floats, rng: random.Random) -> None:
    """Corners of things: overlapping rectangles, discs and triangles."""
    height, width = picture.shape
    for _ in range(rng.randint(2, 14)):
        level = rng.uniform(0, 255)
        x, y = rng.randrange(width), rng.randrange(height)
        kind = rng.randrange(3)
        if kind == 0:
            cv2.rectangle(picture, (x, y), (x + rng.randint(4, 90), y + rng.randint(4, 60)), level, -1)
        elif kind == 1:
            cv2.circle(picture, (x, y), rng.randint(3, 40), level, rng.choice((-1, 2, 5)))
        else:
            points = [(x + rng.randint(-50, 50), y + rng.randint(-50, 50)) for _ in range(3)]
            cv2.fillPoly(picture, [np.array(points, np.int32)], level)

"""Rendered boards with the layouts lines are lost in: menus, columns, tables, turned, small and faint text.

This is what the reading pipeline was developed on, so that the photographs stay a test set. OpenCV's built-in faces
draw every script needed; font files may be named for more variety.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from shared.geometry import Homography, ImageBgr, Quad, transform
from shared.models.script import Script, scripts_of
from simulations.calibrate import sign_phrases
from simulations.facades import shop_fronts

WIDTH, HEIGHT = 1280, 960
GROUNDS: Final = ((235, 240, 240), (30, 30, 30), (140, 60, 20), (60, 120, 20), (200, 220, 235), (40, 30, 150))
"""Colours of boards, BGR."""
DISHES: Final = {
    "pt": ("Bacalhau à Brás", "Caldo verde", "Arroz de marisco", "Frango assado", "Sopa do dia", "Pudim", "Café"),
    "es": ("Tortilla española", "Gazpacho", "Croquetas de jamón", "Pulpo a la gallega", "Flan", "Agua mineral"),
    "fr": ("Soupe à l'oignon", "Steak frites", "Salade niçoise", "Crème brûlée", "Tarte aux pommes", "Vin rouge"),
    "de": ("Schweinebraten", "Kartoffelsalat", "Currywurst", "Käsespätzle", "Apfelstrudel", "Weißbier"),
    "it": ("Spaghetti alla carbonara", "Risotto ai funghi", "Insalata mista", "Tiramisù", "Acqua naturale"),
    "zh": ("牛肉面", "炒饭", "宫保鸡丁", "酸辣汤", "小笼包", "青菜", "红烧肉", "米饭", "豆浆", "水饺", "麻婆豆腐"),
    "ja": (
        "天ぷらそば",
        "カツ丼",
        "親子丼",
        "味噌汁",
        "焼き魚定食",
        "うどん",
        "ラーメン",
        "唐揚げ",
        "枝豆",
        "生ビール",
    ),
}


@dataclass
class Board:
    """A picture and what is written on it.

    Attributes:
        kind: which layout.
        language: ISO 639-1.
        image: BGR uint8.
        texts: of the lines, in reading order.
        quads: where they are, clockwise from where reading starts.
        signs: for each line the sign it belongs to.
    """

    kind: str
    language: str
    image: ImageBgr
    texts: list[str] = field(default_factory=list)
    quads: list[Quad] = field(default_factory=list)
    signs: list[int] = field(default_factory=list)

    def add(self, text: str, quad: Quad, sign: int) -> None:
        """Note a line."""
        self.texts.append(text)
        self.quads.append(quad)
        self.signs.append(sign)


class Painter:
    """Draws boards, each different.

    Args:
        seed: of everything random.
        fonts: font files by the script they are for; the built-in faces where there is none.
    """

    def __init__(self, seed: int, fonts: Mapping[Script, Sequence[str]] | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self._fonts = fonts or {}
        phrases = sign_phrases()
        self._phrases = {
            language: [phrase.source for phrase in phrases if phrase.language == language and len(phrase.source) >= 3]
            for language in DISHES
        }

    def one_of(self, items: Sequence[str]) -> str:
        """A random item."""
        return items[int(self.rng.integers(len(items)))]

    def language(self, *names: str) -> str:
        """A random language."""
        return self.one_of(names or tuple(DISHES))

    def phrases(self, language: str, count: int, longest: int = 28) -> list[str]:
        """Random phrases of a language."""
        pool = [phrase for phrase in self._phrases[language] if len(phrase) <= longest]
        return [self.one_of(pool) for _ in range(count)]

    def face(self, text: str) -> cv2.FontFace:
        """A face that has the letters of a text."""
        shares = scripts_of(text)
        script = next((s for s in (Script.KANA, Script.HANGUL, Script.HAN) if s in shares), Script.LATIN)
        names = self._fonts.get(script, ())
        if names and self.rng.random() < 0.8:
            return cv2.FontFace(self.one_of(names))
        return cv2.FontFace("uni" if script is not Script.LATIN or self.rng.random() < 0.5 else "sans")

    def blank(self, kind: str, language: str, *, width: int = WIDTH, height: int = HEIGHT) -> tuple[Board, Colour]:
        """An empty board and the colour to write on it."""
        ground = np.array(GROUNDS[int(self.rng.integers(len(GROUNDS)))], np.float64)
        ink = np.array((20, 20, 20) if ground.mean() > 128 else (245, 245, 245), np.float64)
        if kind == "faint":
            ink = ground + 0.22 * (ink - ground)
        shade = np.linspace(1.0, self.rng.uniform(0.75, 1.0), width)[None, :, None]
        image = np.clip(np.ones((height, 1, 1)) * shade * ground, 0, 255).astype(np.uint8)
        return Board(kind, language, image), (int(ink[0]), int(ink[1]), int(ink[2]))

    def write(
        self, board: Board, text: str, at: tuple[float, float], size: int, ink: Colour, sign: int, face: cv2.FontFace
    ) -> float:
        """Write a line with its left end of the base line at `at`; returns where it ends."""
        end = draw(board.image, text, at, size, ink, face)
        x, y = at
        top, bottom = y - 0.86 * size, y + 0.22 * size
        board.add(text, np.array([[x, top], [end, top], [end, bottom], [x, bottom]], np.float32), sign)
        return end

    def column(
        self, board: Board, text: str, at: tuple[float, float], size: int, ink: Colour, sign: int, face: cv2.FontFace
    ) -> None:
        """Write a column downwards from `at`, its top centre."""
        x, y = at
        pitch = 1.08 * size
        for index, letter in enumerate(text):
            (left, _, width, _), _ = extent(letter, size, face)
            turn = letter == "ー"  # the long-vowel bar stands upright in a column
            middle = y + (index + 0.5) * pitch
            if turn:
                cv2.line(
                    board.image,
                    (round(x), round(middle - 0.36 * size)),
                    (round(x), round(middle + 0.36 * size)),
                    ink,
                    max(2, size // 14),
                    cv2.LINE_AA,
                )
            else:
                draw(board.image, letter, (x - width / 2 - left, middle + 0.36 * size), size, ink, face)
        half, low = 0.56 * size, y + len(text) * pitch
        corners = [[x + half, y], [x + half, low], [x - half, low], [x - half, y]]
        board.add(text, np.array(corners, np.float32), sign)


Colour = tuple[int, int, int]


def draw(image: ImageBgr, text: str, at: tuple[float, float], size: int, ink: Colour, face: cv2.FontFace) -> float:
    """Draw a line of text; returns its right end."""
    (end, _), _ = cv2.putText(image, text, (round(at[0]), round(at[1])), ink, face, size, 450)
    return float(end)


def extent(text: str, size: int, face: cv2.FontFace) -> tuple[tuple[int, int, int, int], int]:
    """Bounding box of a text at the origin, and its advance, in pixels."""
    box = cv2.getTextSize((4096, 4096), text, (0, 0), face, size, 450)
    return (int(box[0]), int(box[1]), int(box[2]), int(box[3])), int(box[0]) + int(box[2])


def menu(painter: Painter) -> Board:
    """Dishes and prices in one or two columns."""
    language = painter.language()
    asian = language in {"zh", "ja"}
    board, ink = painter.blank("menu", language)
    columns = int(painter.rng.integers(1, 4 if asian else 3))
    size = int(painter.rng.integers(20, 36))
    pitch = painter.rng.uniform(1.3, 1.8) * size
    face = painter.face(DISHES[language][0])
    width = WIDTH / columns
    for column in range(columns):
        left = column * width + 0.05 * width
        for row in range(int((HEIGHT - 60) / pitch)):
            base = 60 + row * pitch
            end = painter.write(board, painter.one_of(DISHES[language]), (left, base), size, ink, column, face)
            price = f"{int(painter.rng.integers(2, 30))}{'0' if asian else ',50'}"
            at = max(end + 2.0 * size, left + 0.72 * width)
            if at + 3 * size < (column + 1) * width:
                painter.write(board, price, (at, base), size, ink, column, face)
    return board


def price_list(painter: Painter) -> Board:
    """Dishes with their prices close behind them, in one to three columns; some names end with a number themselves."""
    language = painter.language("zh", "ja")
    board, ink = painter.blank("prices", language)
    size = int(painter.rng.integers(24, 38))
    pitch = painter.rng.uniform(1.3, 1.7) * size
    face = painter.face(DISHES[language][0])
    gap = painter.rng.uniform(0.45, 1.2) * size
    left = 60.0
    for column in range(int(painter.rng.integers(1, 4))):
        widest = 0.0
        for row in range(int(painter.rng.integers(4, 14))):
            dish = painter.one_of(DISHES[language]) + ("2" if painter.rng.random() < 0.1 else "")
            end = painter.write(board, dish, (left, 80 + row * pitch), size, ink, column, face)
            price = str(int(painter.rng.integers(3, 60)) * 10)
            end = painter.write(board, price, (end + gap, 80 + row * pitch), size, ink, column, face)
            widest = max(widest, end)
        left = widest + 1.5 * size
        if left > WIDTH - 9 * size:
            break
    return board


def grid(painter: Painter) -> Board:
    """Cells close beside each other, as on the boards of food stalls: nothing but a gap between them."""
    language = painter.language("zh", "ja", "pt", "it")
    board, ink = painter.blank("grid", language)
    size = int(painter.rng.integers(26, 44))
    face = painter.face(DISHES[language][0])
    gap = size * painter.rng.uniform(1.4, 2.5)
    pitch = size * painter.rng.uniform(1.25, 1.7)
    top, left = painter.rng.uniform(70, 300), painter.rng.uniform(40, 400)
    for row in range(min(int((HEIGHT - top) / pitch), int(painter.rng.integers(4, 13)))):
        x = left
        while True:
            text = painter.one_of(DISHES[language])
            width = extent(text, size, face)[1]
            if x + width > WIDTH - 30:
                break
            x = painter.write(board, text, (x, top + row * pitch), size, ink, len(board.texts), face) + gap
    return board


def notice(painter: Painter, kind: str = "notice") -> Board:
    """A few lines that belong together, one or two such signs."""
    language = painter.language()
    board, ink = painter.blank(kind, language)
    size = int(painter.rng.integers(24, 64))
    face = painter.face(DISHES[language][0])
    top = 120.0
    for sign in range(int(painter.rng.integers(1, 3))):
        longest = int(WIDTH / (1.2 * size)) if language in {"zh", "ja"} else int(WIDTH / (0.75 * size))
        for text in painter.phrases(language, int(painter.rng.integers(2, 5)), min(28, longest)):
            shown = text.upper() if painter.rng.random() < 0.3 else text
            painter.write(board, shown, (90, top), size, ink, sign, face)
            top += 1.35 * size
        top += 2.5 * size
        if top > HEIGHT - 5 * size:
            break
    return board


def columns(painter: Painter) -> Board:
    """Chinese or Japanese columns, from right to left."""
    language = painter.language("zh", "ja")
    board, ink = painter.blank("columns", language)
    size = int(painter.rng.integers(34, 80))
    face = painter.face(DISHES[language][0])
    x = WIDTH - 120.0
    while x > 2 * size:
        longest = int((HEIGHT - 200) / (1.08 * size))
        words = [*painter.phrases(language, 1, longest), painter.one_of(DISHES[language])]
        text = painter.one_of(words)
        painter.column(board, text[:longest], (x, 80), size, ink, 0, face)
        x -= painter.rng.uniform(1.5, 2.2) * size
        if painter.rng.random() < 0.2:
            break
    return board


def stacked(painter: Painter) -> Board:
    """Latin letters below each other."""
    language = painter.language("pt", "es", "fr", "de", "it")
    board, ink = painter.blank("stacked", language)
    size = int(painter.rng.integers(50, 90))
    face = painter.face("A")
    for index in range(3):
        word = painter.one_of(("HOTEL", "BAR", "CAFE", "PARKING", "CINEMA", "MUSEU", "TAXI", "PIZZA", "FARMACIA"))
        painter.column(board, word, (220 + 380 * index, 80), size, ink, index, face)
    return board


def small(painter: Painter) -> Board:
    """Small print on a large photograph."""
    language = painter.language()
    board, ink = painter.blank("small", language, width=2560, height=1920)
    size = int(painter.rng.integers(18, 30))
    face = painter.face(DISHES[language][0])
    x, top = painter.rng.uniform(100, 1200), painter.rng.uniform(100, 1000)
    for index, text in enumerate(painter.phrases(language, 8)):
        painter.write(board, text, (x, top + index * 1.5 * size), size, ink, 0, face)
    painter.write(board, painter.phrases(language, 1, 12)[0], (200, 1700), 120, ink, 1, face)
    return board


def turned(painter: Painter) -> Board:
    """A notice turned by a right angle, upside down, or slanting."""
    board = notice(painter, "turned")
    degrees = float(painter.rng.choice([90, 180, 270, 12, -12, 25, -25]))
    return warp(board, rotation(board.image, degrees), board.image.shape[1] + 200, board.image.shape[1] + 200)


def faint(painter: Painter) -> Board:
    """Letters hardly darker than their ground."""
    return notice(painter, "faint")


def oblique(painter: Painter) -> Board:
    """A notice or a menu seen from the side."""
    board = notice(painter, "oblique") if painter.rng.random() < 0.5 else menu(painter)
    board.kind = "oblique"
    height, width = board.image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + painter.rng.uniform(-0.14, 0.14, (4, 2)).astype(np.float32) * (width, height)
    moved -= moved.min(axis=0) - 20
    homography = np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), np.float64)
    right, bottom = moved.max(axis=0)
    return warp(board, homography, int(right) + 20, int(bottom) + 20)


def street(painter: Painter) -> Board:
    """Small signs on the fronts of a street, each on a plate of its own, or painted on the wall."""
    language = painter.language()
    board, _ = painter.blank("street", language)
    front = shop_fronts(painter.rng)
    board.image = np.ascontiguousarray(cv2.resize(front[:800, :1067], (WIDTH, HEIGHT)))
    face = painter.face(DISHES[language][0])
    for sign in range(6):
        size = int(painter.rng.integers(14, 56))
        x, y = 40 + (sign % 2) * 620.0, 80.0 + (sign // 2) * 310
        ground = GROUNDS[int(painter.rng.integers(len(GROUNDS)))]
        ink = (20, 20, 20) if sum(ground) > 384 else (245, 245, 245)
        longest = int(520 / (1.1 * size)) if language in {"zh", "ja"} else int(520 / (0.65 * size))
        lines = painter.phrases(language, int(painter.rng.integers(1, 4)), max(longest, 6))
        if painter.rng.random() < 0.7:
            widest = max(extent(line, size, face)[1] for line in lines)
            corner = (round(x + widest + 0.6 * size), round(y + (len(lines) + 0.4) * 1.3 * size))
            cv2.rectangle(board.image, (round(x - 0.6 * size), round(y - 0.6 * size)), corner, ground, -1)
        for index, text in enumerate(lines):
            painter.write(board, text, (x, y + (index + 0.6) * 1.3 * size), size, ink, sign, face)
    return board


def korean(painter: Painter) -> Board:
    """A script that no default pack reads, with a number."""
    board, ink = painter.blank("unreadable", "ko")
    face = painter.face("가")
    for index, text in enumerate(("출입금지", "화장실은 이층에", "주차장 입구", "비상구 안내")):
        painter.write(board, text, (120, 150 + index * 150), int(painter.rng.integers(40, 90)), ink, index, face)
    return board


KINDS: Final[tuple[Callable[[Painter], Board], ...]] = (
    menu,
    price_list,
    grid,
    notice,
    columns,
    stacked,
    small,
    turned,
    faint,
    oblique,
    street,
    korean,
)


def rotation(image: ImageBgr, degrees: float) -> Homography:
    """Turn about the middle, into a square picture with room to spare."""
    height, width = image.shape[:2]
    turn = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0), np.float64)
    matrix = np.vstack([turn, [0.0, 0.0, 1.0]])
    matrix[:2, 2] += ((width + 200) / 2 - width / 2, (width + 200) / 2 - height / 2)
    return matrix


def warp(board: Board, homography: Homography, width: int, height: int) -> Board:
    """The board seen through a homography."""
    ground = tuple(int(value) for value in np.median(board.image.reshape(-1, 3), axis=0))
    image = cv2.warpPerspective(
        board.image, homography, (width, height), flags=cv2.INTER_AREA, borderValue=(ground[0], ground[1], ground[2])
    )
    quads = [transform(homography, quad) for quad in board.quads]
    return Board(board.kind, board.language, np.asarray(image, np.uint8), board.texts, quads, board.signs)


def photographed(board: Board, rng: np.random.Generator) -> Board:
    """What a camera makes of it: somewhere in a street, from an angle, blurred, noisy and compressed."""
    scene = shop_fronts(rng)
    height, width = board.image.shape[:2]
    side = max(height, width)
    rows, columns = (round(1.15 * size) for size in (height, width))
    backdrop = np.asarray(cv2.resize(scene, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners * rng.uniform(0.75, 1.0) + rng.uniform(-0.05, 0.05, (4, 2)) * side + 0.07 * side
    homography = np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), np.float64)
    size = (columns, rows)
    drawn = cv2.warpPerspective(board.image, homography, size, flags=cv2.INTER_AREA)
    inside = cv2.warpPerspective(np.ones((height, width), np.uint8), homography, size, flags=cv2.INTER_NEAREST)
    sharp = np.where(inside[..., None] > 0, drawn, backdrop).astype(np.float64)
    picture = cv2.GaussianBlur(sharp, (0, 0), rng.uniform(0.5, 1.2))
    light = np.linspace(rng.uniform(0.5, 1.0), rng.uniform(0.7, 1.1), columns)[None, :, None]
    noisy = np.clip(picture * light + rng.normal(0, rng.uniform(2, 8), picture.shape), 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", noisy, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 92))))[1]
    image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    quads = [transform(homography, quad) for quad in board.quads]
    return Board(board.kind, board.language, image, board.texts, quads, board.signs)


def paint(count: int, seed: int, fonts: Mapping[Script, Sequence[str]] | None = None) -> list[Board]:
    """So many boards of every kind."""
    painter = Painter(seed, fonts)
    return [photographed(kind(painter), painter.rng) for kind in KINDS for _ in range(count)]


def write_folder(boards: Sequence[Board], folder: Path) -> None:
    """Write boards as a folder of labelled photographs."""
    truth = {}
    for index, board in enumerate(boards):
        name = f"{board.kind}-{index:03d}.png"
        cv2.imwrite(str(folder / name), board.image)
        truth[name] = {"lang": board.language, "kind": board.kind, "lines": [{"text": text} for text in board.texts]}
    (folder / "ground_truth.json").write_text(json.dumps(truth, ensure_ascii=False), encoding="utf-8")

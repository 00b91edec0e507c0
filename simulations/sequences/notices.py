"""What is written on the boards of the sequences, and how it is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from shared.geometry import ImageBgr, Quad
from simulations.sequences.surfaces import Grey
from simulations.signs import STYLES, SignStyle, render_sign

TEXT_PX: Final = 72
"""Font size in the textures: no text is seen larger from where the wearer starts."""
SMALL_PRINT: Final = 0.6
"""Font size of the lines below a headline, as a share of the headline's."""

SINGLE: Final = (
    ("Saída de emergência",),
    ("Casa de banho",),
    ("Salida",),
    ("Zapatería Moderna",),
    ("Défense de stationner",),
    ("Pharmacie",),
    ("Ausfahrt freihalten",),
    ("Buchhandlung am Markt",),
    ("Uscita di sicurezza",),
    ("Platform 7",),
    ("禁煙席",),
    ("自転車通行止め",),
    ("비상구",),
    ("出口由此去",),
)
POSTERS: Final = (
    ("Concerto de Natal", "Sábado às 21 horas", "Entrada livre"),
    ("Mercado municipal", "Aberto de terça a domingo"),
    ("Se alquila piso", "Tres dormitorios", "Tel. 620 418 975"),
    ("Horario de verano", "Lunes a viernes", "8.30 – 14.00"),
    ("Vide-grenier", "Dimanche 14 juin", "Place de l'église", "de 8 h à 17 h"),
    ("Travaux en cours", "Circulation interdite"),
    ("Betreten verboten", "Eltern haften für ihre Kinder"),
    ("Stadtbibliothek", "Montag geschlossen", "Di bis Fr 10 – 18 Uhr"),
    ("Please mind the step", "Watch your head"),
    ("Lost cat", "Grey, answers to Momo", "Call 555 0138"),
    ("本日のおすすめ", "天ぷらそば", "九百八十円"),
    ("工事中", "ご迷惑をおかけします"),
    ("営業時間", "午前十時から", "午後七時まで"),
    ("주차금지", "위반시 견인합니다"),
    ("开放时间", "周一至周五", "上午九点"),
)


@dataclass(frozen=True)
class Notice:
    """A sign as a picture.

    Attributes:
        texture: uint8 of shape (rows, columns).
        lines: quads of its lines in texture pixels.
    """

    texture: Grey
    lines: tuple[Quad, ...]


def single(text: tuple[str, ...], style: SignStyle) -> Notice:
    """One line on a board: as thin as signs get."""
    texture, quads = render_sign(text, style, size=TEXT_PX)
    return Notice(_grey(texture), tuple(quads))


def poster(text: tuple[str, ...], style: SignStyle) -> Notice:
    """A headline and smaller lines below it, centred."""
    plain = SignStyle(style.background, style.foreground, style.face, style.weight)
    head, head_quads = render_sign(text[:1], plain, size=TEXT_PX)
    body, body_quads = render_sign(text[1:], plain, size=round(SMALL_PRINT * TEXT_PX))
    top = head.shape[0] - round(0.35 * TEXT_PX)
    shape = (top + body.shape[0], max(head.shape[1], body.shape[1]), 3)
    texture = np.full(shape, style.background, np.uint8)
    quads: list[Quad] = []
    for part, part_quads, y in ((head, head_quads, 0), (body, body_quads, top)):
        x = (shape[1] - part.shape[1]) // 2
        part_height = min(part.shape[0], top) if y == 0 else part.shape[0]
        texture[y : y + part_height, x : x + part.shape[1]] = part[:part_height]
        quads.extend(np.asarray(quad + np.array([x, y]), np.float32) for quad in part_quads)
    return Notice(_grey(texture), tuple(quads))


def panel(left: Notice, right: Notice, rng: np.random.Generator) -> tuple[Grey, tuple[tuple[Quad, ...], ...]]:
    """Two notices side by side on one panel: one plane, two signs.

    Returns:
        The texture, and the lines of each notice in it.
    """
    gap, edge = round(rng.uniform(0.6, 1.6) * TEXT_PX), round(0.5 * TEXT_PX)
    rows = max(left.texture.shape[0], right.texture.shape[0]) + 2 * edge
    columns = left.texture.shape[1] + gap + right.texture.shape[1] + 2 * edge
    texture = np.full((rows, columns), int(rng.integers(90, 170)), np.uint8)
    placed: list[tuple[Quad, ...]] = []
    x = edge
    for notice in (left, right):
        height, width = notice.texture.shape
        y = int(rng.integers(edge, rows - height - edge + 1))
        texture[y : y + height, x : x + width] = notice.texture
        placed.append(tuple(np.asarray(quad + np.array([x, y]), np.float32) for quad in notice.lines))
        x += width + gap
    return weathered(texture, rng), tuple(placed)


def weathered(texture: Grey, rng: np.random.Generator) -> Grey:
    """Uneven light, stains and scratches, as faint as on boards that can still be read."""
    rows, columns = texture.shape
    light = rng.normal(0, 1, (4, 6)).astype(np.float32)
    stains = rng.normal(0, 1, (rows // 8 + 2, columns // 8 + 2)).astype(np.float32)
    shade = 7 * cv2.resize(light, (columns, rows), interpolation=cv2.INTER_CUBIC)
    shade = shade + 3 * cv2.resize(stains, (columns, rows), interpolation=cv2.INTER_LINEAR)
    shade = shade + rng.normal(0, 2, texture.shape)
    return np.asarray(np.clip(texture + shade, 0, 255), np.uint8)


def any_style(rng: np.random.Generator) -> SignStyle:
    """One of the styles of street signs, at a weight of its own."""
    style = STYLES[int(rng.integers(len(STYLES)))]
    weight = int(np.clip(style.weight + rng.integers(-150, 151), 300, 900))
    return SignStyle(style.background, style.foreground, style.face, weight, style.border)


def _grey(texture: ImageBgr) -> Grey:
    return np.asarray(cv2.cvtColor(texture, cv2.COLOR_BGR2GRAY), np.uint8)

"""The square the wearer stands in: sign boards at several depths, walls behind them, now and then a passer-by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from shared.geometry import Quad
from simulations.facades import shop_fronts
from simulations.scene import FOCAL, HEIGHT, WIDTH
from simulations.sequences import notices
from simulations.sequences.notices import TEXT_PX, Notice
from simulations.sequences.surfaces import MARGIN, Grey, Passage, Surface, hang

NEAREST_M: Final = 2.5
FARTHEST_M: Final = 7.0
STEEPEST_YAW_DEG: Final = 25.0
STEEPEST_PITCH_DEG: Final = 8.0
SMALLEST_TEXT_PX: Final = 14.0
LARGEST_TEXT_PX: Final = 70.0
WALL_M: Final = (8.2, 10.0)
SQUARE_HALF_WIDTH_M: Final = 11.5
WALL_HEIGHT_M: Final = 12
PATH_M: Final = 0.25
"""Nothing hangs so close to the line straight ahead: the wearer may walk along it."""
GAP_PX: Final = 14
EDGE_PX: Final = 24
"""Distance of boards in view from the edge of the frame: the head sways."""


@dataclass(frozen=True)
class Sign:
    """One sign: a region of the stabiliser.

    Attributes:
        board: index of its board.
        lines: quads of its lines in pixels of the board's texture.
    """

    board: int
    lines: tuple[Quad, ...]


@dataclass(frozen=True)
class World:
    """Everything there is to see.

    Attributes:
        backdrop: the wall ahead, which goes on for ever where it would end.
        sides: the walls to both sides.
        boards: farthest first.
        signs: by region id.
        passer: someone who walks past in front of the signs.
    """

    backdrop: Surface
    sides: tuple[Surface, ...]
    boards: tuple[Surface, ...]
    signs: Mapping[int, Sign]
    passer: Surface | None

    @property
    def in_front(self) -> tuple[Surface, ...]:
        """What may hide something: the boards, farthest first, then the passer-by."""
        return self.boards if self.passer is None else (*self.boards, self.passer)


def build_world(rng: np.random.Generator, *, passer: bool = False) -> World:
    """Draw a world: five to seven boards, the signs of one of which share a plane; most in view from the start.

    Args:
        rng: the source of everything random.
        passer: whether someone walks past.
    """
    inside = int(rng.integers(4, 6))
    outside = int(rng.integers(1, 3))
    depths = rng.permutation(np.linspace(NEAREST_M, FARTHEST_M, inside + outside) + rng.uniform(-0.2, 0.2))
    depths = np.clip(depths, NEAREST_M, FARTHEST_M)
    singles: list[tuple[str, ...]] = [notices.SINGLE[i] for i in rng.permutation(len(notices.SINGLE))]
    posters: list[tuple[str, ...]] = [notices.POSTERS[i] for i in rng.permutation(len(notices.POSTERS))]
    layout = _Layout(rng)
    hung: list[tuple[float, Surface, tuple[tuple[Quad, ...], ...]]] = []
    for index in range(inside + outside):
        lines: tuple[tuple[Quad, ...], ...]
        if index == 0:
            pair = [notices.poster(posters.pop(), notices.any_style(rng)) for _ in range(2)]
            texture, lines = notices.panel(pair[0], pair[1], rng)
        else:
            notice = _any_notice(rng, singles, posters)
            texture, lines = notices.weathered(notice.texture, rng), (notice.lines,)
        side = 0 if index < inside else (1 if index % 2 else -1)
        board = layout.place(texture, float(depths[index]), side, smallest=20.0 if index == 0 else SMALLEST_TEXT_PX)
        if board is not None:
            hung.append((float(depths[index]), board, lines))
    hung.sort(key=lambda item: -item[0])
    signs: dict[int, Sign] = {}
    for number, (_, _, lines) in enumerate(hung):
        for sign_lines in lines:
            moved = tuple(np.asarray(quad + np.float32(MARGIN), np.float32) for quad in sign_lines)
            signs[len(signs) + 1] = Sign(number, moved)
    backdrop, sides = _walls(rng)
    return World(backdrop, sides, tuple(item[1] for item in hung), signs, _passer(rng) if passer else None)


def _any_notice(rng: np.random.Generator, singles: list[tuple[str, ...]], posters: list[tuple[str, ...]]) -> Notice:
    if rng.random() < 0.45:
        return notices.single(singles.pop(), notices.any_style(rng))
    return notices.poster(posters.pop(), notices.any_style(rng))


class _Layout:
    """Finds places for boards so that none hides another from the start.

    Places are rectangles in a picture larger than the frame, in pixels from its centre.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._taken: list[tuple[float, float, float, float]] = []

    def place(self, texture: Grey, depth: float, side: int, *, smallest: float) -> Surface | None:
        """Hang a board; None if there is no room.

        Args:
            texture: of the board.
            depth: metres.
            side: 0 for a place in view, 1 and -1 for one just outside to the right and left.
            smallest: text height to go down to, in pixels, when there is no room for more.
        """
        rng = self._rng
        height = float(np.exp(rng.uniform(np.log(smallest), np.log(LARGEST_TEXT_PX))))
        yaw, pitch = rng.uniform(-STEEPEST_YAW_DEG, STEEPEST_YAW_DEG), rng.uniform(-1, 1) * STEEPEST_PITCH_DEG
        for attempt in range(400):
            if attempt % 25 == 24:
                height = max(height * 0.88, smallest)
            width, tall = texture.shape[1] * height / TEXT_PX, texture.shape[0] * height / TEXT_PX
            y = rng.uniform(-1, 1) * max(HEIGHT / 2 - EDGE_PX - tall / 2, 0)
            if side:
                x = side * (WIDTH / 2 + rng.uniform(10, 120) + width / 2)
            else:
                x = rng.uniform(-1, 1) * max(WIDTH / 2 - EDGE_PX - width / 2, 0)
            centre = (x * depth / FOCAL, y * depth / FOCAL, depth)
            board = hang(texture, centre, width * depth / FOCAL, yaw_deg=yaw, pitch_deg=pitch)
            seen = board.points(board.corners, np.zeros(4))
            pixels = FOCAL * seen[:, :2] / seen[:, 2:]
            box = (*pixels.min(axis=0), *pixels.max(axis=0))
            if self._free(box, depth, within_view=side == 0):
                self._taken.append(box)
                return board
        return None

    def _free(self, box: tuple[float, float, float, float], depth: float, *, within_view: bool) -> bool:
        x0, y0, x1, y1 = box
        if y0 < -HEIGHT / 2 or y1 > HEIGHT / 2 or (within_view and (x0 < -WIDTH / 2 or x1 > WIDTH / 2)):
            return False
        path = PATH_M * FOCAL / depth
        if x0 < path and x1 > -path and y0 < path and y1 > -path and depth < 5.0:
            return False
        return all(
            x0 > right + GAP_PX or x1 < left - GAP_PX or y0 > below + GAP_PX or y1 < above - GAP_PX
            for left, above, right, below in self._taken
        )


def _walls(rng: np.random.Generator) -> tuple[Surface, tuple[Surface, ...]]:
    ahead = float(rng.uniform(*WALL_M))
    length = 24
    level = 0.3  # the middle of the walls, below eye level: feet on the pavement
    backdrop = hang(_wall_texture(rng, length), (0.0, level, ahead), float(length), wall=True)
    sides = []
    for side in (-1, 1):
        texture = _wall_texture(rng, 13)
        centre = (side * SQUARE_HALF_WIDTH_M, level, ahead - 6.5)
        sides.append(hang(texture, centre, 13.0, yaw_deg=-90.0 * side, wall=True))
    return backdrop, tuple(sides)


def _wall_texture(rng: np.random.Generator, length_m: int) -> Grey:
    """Shop fronts with what hangs, leans and grows in front of them; grey, no letters."""
    wall = np.asarray(
        cv2.cvtColor(shop_fronts(rng, length_m=length_m, height_m=WALL_HEIGHT_M), cv2.COLOR_BGR2GRAY), np.uint8
    )
    rows, columns = wall.shape
    for _ in range(9 * length_m):
        x, y = int(rng.integers(columns)), int(rng.normal(0.5, 0.2) * rows)
        shade = int(rng.integers(30, 230))
        kind = int(rng.integers(5))
        if kind == 0:  # pipes and cables
            end = (x + int(rng.integers(-200, 201)), y + int(rng.integers(-30, 31)))
            cv2.line(wall, (x, y), end, shade, int(rng.integers(1, 5)), cv2.LINE_AA)
        elif kind == 1:  # boxes, letter boxes, meters, shutters
            w, h = (int(side) for side in rng.integers(10, 70, 2))
            cv2.rectangle(wall, (x, y), (x + w, y + h), shade, -1)
            for slat in range(y + 4, y + h - 2, 6):
                cv2.line(wall, (x + 2, slat), (x + w - 2, slat), max(shade - 40, 0), 1)
        elif kind == 2:  # lamps and plates
            radius = int(rng.integers(4, 22))
            cv2.circle(wall, (x, y), radius, shade, -1, cv2.LINE_AA)
            cv2.circle(wall, (x, y), radius, 255 - shade, 2, cv2.LINE_AA)
        elif kind == 3:  # plants
            for _ in range(25):
                leaf = (x + int(rng.normal(0, 18)), y + int(rng.normal(0, 24)))
                axes = (int(rng.integers(3, 9)), int(rng.integers(2, 5)))
                cv2.ellipse(wall, leaf, axes, float(rng.uniform(0, 180)), 0, 360, int(rng.integers(40, 130)), -1)
        else:  # torn posters and stains
            corners = np.array([x, y]) + rng.integers(-45, 46, (4, 2))
            cv2.fillConvexPoly(wall, cv2.convexHull(corners.astype(np.int32)), shade, cv2.LINE_AA)
    grain = rng.normal(0, 5, (rows, columns)).astype(np.float32)
    return np.asarray(np.clip(wall + cv2.GaussianBlur(grain, (3, 3), 0) * 2, 0, 255), np.uint8)


def _passer(rng: np.random.Generator) -> Surface:
    """Someone of average size, 1.8 m away, who crosses the view every few seconds."""
    rows, columns = 760, 300
    cover = np.zeros((rows, columns), np.uint8)
    middle = columns // 2
    cv2.ellipse(cover, (middle, 66), (44, 60), 0, 0, 360, 255, -1)
    cv2.ellipse(cover, (middle, 190), (112, 66), 0, 0, 360, 255, -1)
    cv2.rectangle(cover, (middle - 112, 190), (middle + 112, 470), 255, -1)
    cv2.rectangle(cover, (middle - 92, 470), (middle + 92, rows), 255, -1)
    texture = np.full((rows, columns), 90, np.uint8)
    stripe = int(rng.integers(14, 26))
    for start in range(0, columns, 2 * stripe):  # a checked shirt
        texture[130:470, start : start + stripe] = int(rng.integers(120, 180))
    for start in range(130, 470, 2 * stripe):
        texture[start : start + stripe] = texture[start : start + stripe] // 2 + 20
    texture[:130] = 165
    texture[:48] = 35
    texture[470:] = 50
    texture[470:, middle - 4 : middle + 4] = 25
    for x in (middle - 17, middle + 17):
        cv2.circle(texture, (x, 66), 5, 40, -1, cv2.LINE_AA)
    texture = notices.weathered(texture, rng)
    passage = Passage(
        speed=float(rng.uniform(1.1, 1.4)),
        reach=2.0,
        period=float(rng.uniform(4.2, 5.0)),
        phase=float(rng.uniform(0, 1)),
    )
    cover = np.asarray(cv2.GaussianBlur(cover, (5, 5), 0), np.uint8)
    return hang(texture, (0.0, 0.6, 1.8), 0.75, cover=cover, passage=passage)

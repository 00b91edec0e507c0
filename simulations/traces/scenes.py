"""A sign in the world: before a facade, turned away, at a distance, in some light, through a moving camera.

Frames are as large as the glasses' live frames. All ranges are assumptions about a wearer who walks past signs; they
were chosen so that near signs are read and far ones are not, before any policy was run on the set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from shared.geometry import Homography, ImageBgr, Quad, transform
from simulations.facades import shop_fronts
from simulations.traces.plates import Plate
from simulations.traces.records import View

FRAME_SIZE: Final = (1280, 720)
"""Width and height in pixels."""
FOCAL_PX: Final = 1000.0
"""65 degrees across, as a wide-angle phone or glasses camera has."""
HEIGHTS_PX: Final = (9.0, 60.0)
"""Heights of the letters of a sign's lowest line at the first look; their logarithm is uniform."""
CLOSER: Final = (1.6, 2.1)
"""How much nearer the next look is: the glasses send a sign again from 1.6 on (`glasses.signs.CLOSER_SCALE`)."""
LARGEST_SHARE: Final = 0.86
"""Of the frame's sides that a sign takes at most."""
EDGE_PX: Final = 8
FACADES: Final = 12
_Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Light:
    """A kind of light. Pairs are lower and upper bounds.

    Attributes:
        share: how often it is.
        exposure: brightness of the picture.
        noise: grey levels.
        motion: mean length of the motion blur where there is any, in pixels: exposures get longer in the dark.
        tint: factors of blue, green and red.
    """

    share: float
    exposure: tuple[float, float]
    noise: tuple[float, float]
    motion: float
    tint: tuple[float, float, float]


LIGHTS: Final[Mapping[str, Light]] = {
    "day": Light(0.44, (0.85, 1.1), (1.0, 3.0), 2.0, (1.0, 1.0, 1.0)),
    "shade": Light(0.26, (0.5, 0.85), (2.0, 5.0), 2.5, (1.06, 1.0, 0.95)),
    "dusk": Light(0.18, (0.3, 0.6), (4.0, 9.0), 4.0, (1.1, 0.97, 0.92)),
    "night": Light(0.12, (0.16, 0.4), (6.0, 14.0), 5.5, (0.75, 0.95, 1.1)),
}
STILL: Final = 0.4
"""Share of the looks without motion blur: the glasses choose a frame at rest where they can."""
LONGEST_MOTION: Final = 14.0


@dataclass(frozen=True)
class Sighting:
    """How a sign is to be seen once; see `records.View` for the units."""

    light: str
    font: str
    height_px: float
    noise: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    blur_px: float = 0.0
    motion_px: float = 0.0

    def view(self, height_px: float) -> View:
        """For the record, with the height the letters came to have."""
        return View(
            light=self.light,
            font=self.font,
            height_px=round(height_px, 3),
            blur_px=round(self.blur_px, 3),
            motion_px=round(self.motion_px, 3),
            noise=round(self.noise, 3),
            yaw_deg=round(self.yaw_deg, 3),
            pitch_deg=round(self.pitch_deg, 3),
            roll_deg=round(self.roll_deg, 3),
        )


@dataclass(frozen=True)
class Scene:
    """What the camera saw once.

    Attributes:
        frame: BGR uint8 of shape (720, 1280, 3).
        quads: of the sign's lines, in pixels.
        view: how.
    """

    frame: ImageBgr
    quads: tuple[Quad, ...]
    view: View


def largest_height(plate: Plate) -> float:
    """Height of a sign's lowest letters when it just fits into the frame, seen straight on, in pixels."""
    height, width = plate.picture.shape[:2]
    return plate.letter_height * LARGEST_SHARE * float(min(FRAME_SIZE[0] / width, FRAME_SIZE[1] / height))


def first_view(rng: np.random.Generator, font: str) -> Sighting:
    """How a sign is seen at first."""
    names = list(LIGHTS)
    name = names[int(rng.choice(len(names), p=[light.share for light in LIGHTS.values()]))]
    low, high = (math.log(height) for height in HEIGHTS_PX)
    return _shaken(
        Sighting(
            light=name,
            font=font,
            height_px=math.exp(float(rng.uniform(low, high))),
            noise=float(rng.uniform(*LIGHTS[name].noise)),
            yaw_deg=float(np.clip(rng.normal(0, 24), -55, 55)),
            pitch_deg=float(np.clip(rng.normal(0, 9), -25, 25)),
            roll_deg=float(np.clip(rng.normal(0, 3.5), -12, 12)),
        ),
        rng,
    )


def next_view(view: Sighting, rng: np.random.Generator) -> Sighting:
    """The same sign some steps later: nearer, a little more from the side, shaken anew."""
    nearer = replace(
        view,
        height_px=view.height_px * float(rng.uniform(*CLOSER)),
        yaw_deg=float(np.clip(view.yaw_deg * 1.15 + rng.normal(0, 3), -60, 60)),
        pitch_deg=float(np.clip(view.pitch_deg + rng.normal(0, 3), -28, 28)),
        roll_deg=float(rng.normal(0, 3)),
    )
    return _shaken(nearer, rng)


def _shaken(view: Sighting, rng: np.random.Generator) -> Sighting:
    """Focus and motion of one moment."""
    motion = min(float(rng.exponential(LIGHTS[view.light].motion)), LONGEST_MOTION) if rng.random() >= STILL else 0.0
    return replace(view, blur_px=float(np.clip(rng.lognormal(-0.4, 0.45), 0.3, 2.5)), motion_px=motion)


def take(plate: Plate, view: Sighting, rng: np.random.Generator) -> Scene:
    """Look at a plate once.

    Args:
        plate: the sign.
        view: how; its letters are lower than asked for where the sign would not fit into the frame.
        rng: place in the frame, facade, lamps, direction of the motion and noise are drawn from it.
    """
    height, width = plate.picture.shape[:2]
    scale = min(view.height_px, largest_height(plate)) / plate.letter_height
    placed, size = _placed(width, height, scale, view)
    shrink = min(1.0, LARGEST_SHARE * FRAME_SIZE[0] / size[0], LARGEST_SHARE * FRAME_SIZE[1] / size[1])
    if shrink < 1.0:
        scale *= shrink * 0.98
        placed, size = _placed(width, height, scale, view)
    room = [max(side - 2 * EDGE_PX - extent, 0.0) for side, extent in zip(FRAME_SIZE, size, strict=True)]
    shift = np.eye(3)
    shift[:2, 2] = [EDGE_PX + float(rng.random()) * free for free in room]
    to_frame = shift @ placed
    # Twice the size it is seen at: fine lines neither vanish nor flicker when it is warped.
    finer = min(1.0, 2.0 * scale)
    picture = np.asarray(
        cv2.resize(plate.picture, None, fx=finer, fy=finer, interpolation=cv2.INTER_AREA), dtype=np.uint8
    )
    finer_x, finer_y = picture.shape[1] / width, picture.shape[0] / height
    warp = to_frame @ np.diag([1 / finer_x, 1 / finer_y, 1.0])
    lit = _lit(_on_facade(picture, warp, rng), view, rng)
    quads = tuple(transform(to_frame, quad) for quad in plate.quads)
    return Scene(lit, quads, view.view(scale * plate.letter_height))


def _placed(width: int, height: int, scale: float, view: Sighting) -> tuple[Homography, tuple[float, float]]:
    """From the plate to a frame in which its box begins at the origin, and the box's size."""
    yaw, pitch, roll = (math.radians(angle) for angle in (view.yaw_deg, view.pitch_deg, view.roll_deg))
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    turn = about_z @ about_x @ about_y
    # The plate lies at the focal length, where one of its (scaled) pixels is one of the frame's.
    plane = np.stack([turn[:, 0] * scale, turn[:, 1] * scale, np.array([0.0, 0.0, FOCAL_PX])], axis=1)
    centred = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    project = np.diag([FOCAL_PX, FOCAL_PX, 1.0]) @ plane @ centred
    corners = transform(project, np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32))
    low, high = corners.min(axis=0), corners.max(axis=0)
    to_origin = np.array([[1, 0, -float(low[0])], [0, 1, -float(low[1])], [0, 0, 1]])
    return to_origin @ project, (float(high[0] - low[0]), float(high[1] - low[1]))


def _on_facade(picture: npt.NDArray[np.uint8], warp: Homography, rng: np.random.Generator) -> _Float:
    """The plate on a wall, with the shadow it throws."""
    front = _facade(int(rng.integers(FACADES)))
    share = float(rng.uniform(0.35, 0.9))
    h = round(front.shape[0] * share)
    w = min(round(h * FRAME_SIZE[0] / FRAME_SIZE[1]), front.shape[1])
    x, y = int(rng.integers(front.shape[1] - w + 1)), int(rng.integers(front.shape[0] - h + 1))
    frame = np.asarray(cv2.resize(front[y : y + h, x : x + w], FRAME_SIZE), np.float32)
    mask = cv2.warpPerspective(np.full(picture.shape[:2], 1.0, np.float32), warp, FRAME_SIZE, flags=cv2.INTER_LINEAR)
    if rng.random() < 0.6:
        deep = int(rng.integers(2, 9))
        shadow = cv2.GaussianBlur(np.roll(mask, (deep, deep), (0, 1)), (0, 0), 1 + deep / 2)
        frame *= 1 - 0.45 * np.asarray(shadow, np.float32)[..., np.newaxis]
    sign = cv2.warpPerspective(picture, warp, FRAME_SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(frame + (sign.astype(np.float32) - frame) * mask[..., np.newaxis], np.float32)


def _lit(frame: _Float, view: Sighting, rng: np.random.Generator) -> ImageBgr:
    """Light, optics, motion and sensor."""
    light = LIGHTS[view.light]
    exposure = float(rng.uniform(*light.exposure))
    frame = frame * (exposure * np.array(light.tint, np.float32))
    frame *= _lamps(view.light, rng)[..., np.newaxis]
    frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), view.blur_px), np.float32)
    if view.motion_px >= 1.0:
        frame = np.asarray(cv2.filter2D(frame, -1, _streak(view.motion_px, float(rng.uniform(0, math.pi)))), np.float32)
    # Half of the noise is shared by the channels, as demosaicking makes it.
    shared = rng.standard_normal(frame.shape[:2], dtype=np.float32)[..., np.newaxis]
    own = rng.standard_normal(frame.shape, dtype=np.float32)
    frame += view.noise * (0.8 * shared + 0.6 * own)
    return np.asarray(np.clip(frame, 0, 255), np.uint8)


def _lamps(light: str, rng: np.random.Generator) -> _Float:
    """Uneven light: a slope by day, a lamp at night."""
    width, height = FRAME_SIZE
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    angle = float(rng.uniform(0, 2 * math.pi))
    slope = 1 + float(rng.uniform(0, 0.2)) * (math.cos(angle) * x + math.sin(angle) * y)
    if light not in {"dusk", "night"}:
        return np.asarray(slope, np.float32)
    at_x, at_y, wide = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.9, 0.5)), float(rng.uniform(0.5, 1.2))
    lamp = float(rng.uniform(0.2, 1.0)) * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * wide**2))
    return np.asarray(slope * (0.75 + lamp), np.float32)


def _streak(length: float, angle: float) -> _Float:
    """Kernel of a straight motion blur."""
    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-length / 2, length / 2, 8 * reach + 1):
        x, y = reach + step * math.cos(angle), reach + step * math.sin(angle)
        x0, y0 = math.floor(x), math.floor(y)
        for column, row, share in (
            (x0, y0, (x0 + 1 - x) * (y0 + 1 - y)),
            (x0 + 1, y0, (x - x0) * (y0 + 1 - y)),
            (x0, y0 + 1, (x0 + 1 - x) * (y - y0)),
            (x0 + 1, y0 + 1, (x - x0) * (y - y0)),
        ):
            kernel[row, column] += share
    return np.asarray(kernel / kernel.sum(), np.float32)


@lru_cache(maxsize=FACADES)
def _facade(number: int) -> ImageBgr:
    return shop_fronts(np.random.default_rng([number, 77]), length_m=18)

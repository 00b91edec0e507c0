"""A street to walk along: shop fronts with signs in five languages, seen by a camera on a moving head.

The camera is a pinhole of 1280x720 pixels with a focal length of 1000 px (65 degrees across). World axes: x along the
street, y down, z towards the shop fronts; metres. Every surface is a textured plane, so the truth (where each line of
each sign is in each frame) follows from the same homographies that draw the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from shared.geometry import Homography, ImageBgr, Quad, transform
from simulations.facades import shop_fronts
from simulations.signs import STYLES, SignStyle, render_sign

WIDTH, HEIGHT, FOCAL = 1280, 720, 1000.0
EXPOSURE_S = 1 / 90
CAMERA: Homography = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
UNIT_SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
BACKDROP_WIDTH = 10.0
"""Surfaces at least this wide, in metres, are walls: they fill the view and need no outline."""
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """A textured rectangle in the world.

    Attributes:
        texture: uint8 BGR.
        centre: metres.
        width: metres along the texture's x; the height follows from its aspect.
        yaw_deg: rotation about the vertical axis; 0 faces the wearer.
    """

    texture: ImageBgr
    centre: tuple[float, float, float]
    width: float
    yaw_deg: float = 0.0

    @cached_property
    def mipmaps(self) -> list[ImageBgr]:
        """The texture halved again and again: minification without aliasing."""
        levels = [self.texture]
        while min(levels[-1].shape[:2]) > 32:
            levels.append(np.asarray(cv2.pyrDown(levels[-1]), np.uint8))
        return levels

    @property
    def height(self) -> float:
        """Metres."""
        rows, columns = self.texture.shape[:2]
        return self.width * int(rows) / int(columns)

    def to_image(self, rotation: Vector, position: Vector) -> Homography:
        """Homography from texture coordinates in 0..1 to pixels, for a camera at `position`."""
        yaw = math.radians(self.yaw_deg)
        across = np.array([math.cos(yaw), 0, -math.sin(yaw)]) * self.width
        down = np.array([0, 1.0, 0]) * self.height
        corner = np.array(self.centre) - across / 2 - down / 2 - position
        return CAMERA @ rotation @ np.stack([across, down, corner], axis=1)


@dataclass(frozen=True)
class StreetSign:
    """A sign and what a good answer would say.

    Attributes:
        lines: the text on it.
        language: ISO 639-1 code.
        surface: where it hangs.
        quads: its lines in texture pixels.
    """

    lines: tuple[str, ...]
    language: str
    surface: Surface
    quads: list[Quad] = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Camera position in metres and world-to-camera rotation."""

    position: Vector
    rotation: Vector


@dataclass(frozen=True, slots=True)
class _Placard:
    language: str
    lines: tuple[str, ...]
    style: SignStyle
    centre: tuple[float, float, float]
    width: float
    yaw_deg: float = 0.0


def _placards() -> list[_Placard]:
    """The signs of the walk, in the order they are met. Boards stand nearer than the wall: several planes, parallax."""
    blue, green, white, black, yellow, red, cream, slate = STYLES
    return [
        _Placard("pt", ("Saída de emergência",), green, (0.2, -0.75, 5.6), 1.9),
        _Placard("pt", ("Cuidado com o degrau",), yellow, (-0.75, 0.35, 4.3), 1.15, 14),
        _Placard("pt", ("O museu abre", "às nove horas"), white, (1.05, 0.3, 5.2), 1.2, -6),
        _Placard("es", ("Prohibido fumar",), red, (3.9, -0.7, 5.6), 1.5),
        _Placard("es", ("Cerrado por vacaciones",), white, (4.9, 0.3, 4.6), 1.3, -12),
        _Placard("fr", ("Sortie de secours",), green, (8.1, -0.75, 5.6), 1.6),
        _Placard("fr", ("Boulangerie",), cream, (7.5, 0.3, 4.8), 1.2, 10),
        _Placard("de", ("Zutritt verboten",), black, (11.6, -0.7, 5.6), 1.6),
        _Placard("de", ("Bitte Tür schließen",), blue, (12.2, 0.35, 4.6), 1.3, -10),
        _Placard("ja", ("立入禁止",), yellow, (15.2, -0.7, 5.6), 1.1),
        _Placard("ja", ("お手洗い",), slate, (15.8, 0.3, 4.8), 0.9, -8),
    ]


# (seconds, metres along the street, yaw in degrees): the wearer strolls, stops where something is written, looks.
_WAYPOINTS: tuple[tuple[float, float, float], ...] = (
    (0.0, -0.6, 4.0),
    (1.0, 0.0, 2.0),
    (4.2, 0.25, 0.0),
    (5.8, 3.6, 14.0),
    (6.6, 4.1, 3.0),
    (9.2, 4.3, 0.0),
    (10.8, 7.2, 12.0),
    (11.6, 7.7, 1.0),
    (14.2, 7.9, 0.0),
    (15.8, 11.2, 14.0),
    (16.6, 11.8, 2.0),
    (19.2, 12.0, -1.0),
    (20.6, 14.8, 12.0),
    (21.4, 15.3, 2.0),
    (24.5, 15.5, 0.0),
)
WALK_SECONDS = _WAYPOINTS[-1][0]


class StreetWalk:
    """The street and the walk through it, drawn on demand.

    Args:
        seed: of textures, sway and sensor noise; the same seed gives the same street.
    """

    def __init__(self, seed: int = 7) -> None:
        self.seed = seed
        self._rng = np.random.default_rng(seed)
        self.signs: list[StreetSign] = []
        for placard in _placards():
            texture, quads = render_sign(placard.lines, placard.style, size=72)
            surface = Surface(texture, placard.centre, placard.width, placard.yaw_deg)
            self.signs.append(StreetSign(placard.lines, placard.language, surface, quads))
        self._wall = Surface(shop_fronts(self._rng), (7.5, -0.4, 6.0), 30.0)
        self._phases = self._rng.uniform(0, 2 * math.pi, 12)

    @property
    def duration(self) -> float:
        """Length of the walk in seconds."""
        return WALK_SECONDS

    def pose(self, t: float) -> HeadPose:
        """Where the head is `t` seconds into the walk (clamped to its ends).

        Between way-points the head moves on a minimum-jerk profile (Flash & Hogan 1985). On top: postural sway below
        1 Hz, step bob at 1.9 Hz while walking, and a faint tremor at 8 Hz.
        """
        t = min(max(t, 0.0), WALK_SECONDS)
        index = max(i for i, way in enumerate(_WAYPOINTS) if way[0] <= t)
        if index == len(_WAYPOINTS) - 1:
            along, yaw, speed = _WAYPOINTS[-1][1], _WAYPOINTS[-1][2], 0.0
        else:
            (t0, x0, yaw0), (t1, x1, yaw1) = _WAYPOINTS[index], _WAYPOINTS[index + 1]
            u = (t - t0) / (t1 - t0)
            s = 10 * u**3 - 15 * u**4 + 6 * u**5
            along, yaw = x0 + (x1 - x0) * s, yaw0 + (yaw1 - yaw0) * s
            speed = abs(x1 - x0) / (t1 - t0) * 30 * u**2 * (1 - u) ** 2
        gait = min(speed, 1.5) / 1.5
        p = self._phases
        wave = 2 * math.pi * t
        sway = [
            0.35 * math.sin(0.31 * wave + p[i])
            + 0.2 * math.sin(0.73 * wave + p[i + 3])
            + 0.02 * math.sin(8.0 * wave + p[i + 6])
            for i in range(3)
        ]
        yaw += sway[0] + gait * 1.1 * math.sin(0.95 * wave)
        pitch = 0.7 * sway[1] + gait * 0.8 * math.sin(1.9 * wave + 0.6)
        roll = 0.6 * sway[2] + gait * 0.5 * math.sin(0.95 * wave)
        position = np.array(
            [
                along + gait * 0.015 * math.sin(0.95 * wave),
                0.02 * math.sin(0.27 * wave + p[9]) + gait * 0.02 * math.sin(1.9 * wave),
                0.03 * math.sin(0.19 * wave + p[10]),
            ]
        )
        return HeadPose(position, _rotation(yaw, pitch, roll))

    def render(self, t: float) -> ImageBgr:
        """The frame whose exposure is centred on `t`: uint8 BGR of shape (720, 1280, 3), with motion blur and noise."""
        travel = self._travel(t)
        samples = int(np.clip(math.ceil(travel / 2.5), 1, 4))
        if samples == 1:
            frame = self._draw(self.pose(t))
        else:
            total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
            for i in range(samples):
                cv2.accumulate(self._draw(self.pose(t + ((i + 0.5) / samples - 0.5) * EXPOSURE_S)), total)
            frame = np.asarray(total / samples, np.uint8)
        # One noise plane, added to all channels at a random offset: photon noise is mostly luminance, and it is cheap.
        dx, dy = self._rng.integers(0, 64, 2)
        noise = self._noise[dy : dy + HEIGHT, dx : dx + WIDTH]
        return np.asarray(cv2.add(frame, noise, dtype=cv2.CV_8U), np.uint8)

    def sign_quads(self, t: float) -> dict[int, list[Quad]]:
        """Index of each sign with a line in view at `t`, and its lines' quads in frame pixels."""
        pose = self.pose(t)
        visible: dict[int, list[Quad]] = {}
        for index, sign in enumerate(self.signs):
            homography = sign.surface.to_image(pose.rotation, pose.position) @ _unit(sign.surface.texture)
            quads = [transform(homography, quad) for quad in sign.quads]
            if all(((q >= 0) & (q < [WIDTH, HEIGHT])).all() for q in quads):
                visible[index] = quads
        return visible

    @cached_property
    def _noise(self) -> npt.NDArray[np.int16]:
        grey = self._rng.normal(0, 2.2, (HEIGHT + 64, WIDTH + 64, 1)).round().astype(np.int16)
        return np.repeat(grey, 3, axis=2)

    def _travel(self, t: float) -> float:
        """Image motion of the centre of the wall over the exposure, in pixels."""
        ends = []
        for side in (-0.5, 0.5):
            pose = self.pose(t + side * EXPOSURE_S)
            point = CAMERA @ pose.rotation @ (np.array([self.pose(t).position[0], 0.0, 5.5]) - pose.position)
            ends.append(point[:2] / point[2])
        return float(np.linalg.norm(ends[1] - ends[0]))

    def _draw(self, pose: HeadPose) -> ImageBgr:
        frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        for surface in (self._wall, *(sign.surface for sign in self.signs)):
            _paint(frame, surface, pose)
        return frame


def _rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Vector:
    """World-to-camera rotation; positive yaw looks along +x, positive pitch looks down."""
    yaw, pitch, roll = (math.radians(angle) for angle in (yaw_deg, pitch_deg, roll_deg))
    about_y = np.array([[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y)


def _unit(texture: ImageBgr) -> Homography:
    """From texture pixels (integer centres) to 0..1."""
    height, width = texture.shape[:2]
    return np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1]])


def _paint(frame: ImageBgr, surface: Surface, pose: HeadPose) -> None:
    """Draw one surface over `frame`, at the mipmap level that matches its size on screen."""
    to_image = surface.to_image(pose.rotation, pose.position)
    corners = to_image @ np.concatenate([UNIT_SQUARE.T, np.ones((1, 4))])
    if (corners[2] < 0.2).any() and surface.width < BACKDROP_WIDTH:
        return  # behind the wearer
    in_front = corners[:, corners[2] > 0.2]
    if in_front.shape[1] == 4:
        pixels = in_front[:2] / in_front[2]
        x0, y0 = np.maximum(np.floor(pixels.min(axis=1)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(pixels.max(axis=1)).astype(int) + 2, [WIDTH, HEIGHT])
    else:
        x0, y0, x1, y1 = 0, 0, WIDTH, HEIGHT
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    distance = max(surface.centre[2] - pose.position[2], 0.5)
    pixels_per_texel = FOCAL * surface.width / (distance * surface.texture.shape[1])
    level = int(np.clip(math.floor(-math.log2(max(pixels_per_texel, 1e-3)) + 0.3), 0, len(surface.mipmaps) - 1))
    texture = surface.mipmaps[level]
    shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], float)
    homography = shift @ to_image @ _unit(texture)
    size = (int(x1 - x0), int(y1 - y0))
    patch = cv2.warpPerspective(texture, homography, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    region = frame[y0:y1, x0:x1]
    outline = (
        (transform(shift @ to_image, np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)) * 16).round().astype(np.int32)
    )
    if surface.width >= 10:
        region[:] = patch
        return
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillConvexPoly(mask, outline, 255, lineType=cv2.LINE_AA, shift=4)
    blend = mask[..., None].astype(np.uint16)
    region[:] = ((patch * blend + region * (255 - blend)) // 255).astype(np.uint8)

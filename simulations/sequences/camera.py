"""A camera on the head: where it sees a point of the world, and the pictures it takes.

Rays are (x, y, 1) in camera axes. The truth is where the pixels are: a point is seen, through the lens, in the row that
is exposed at the time at which the point is seen in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from simulations.scene import FOCAL, HEIGHT, WIDTH
from simulations.sequences.motion import Trajectory, Vector
from simulations.sequences.surfaces import Grey, Surface
from simulations.sequences.world import World

CENTRE: Final = np.array([WIDTH / 2, HEIGHT / 2])
"""Principal point, pixels."""
MIDDLE_ROW: Final = (HEIGHT - 1) / 2
NEAR_M: Final = 0.15
"""What reaches nearer than this to the plane of the camera is not drawn: it is beside or behind the wearer."""
FAR_M: Final = 1000.0
LARGEST_STEP_PX: Final = 1.5
MOST_STEPS: Final = 16
KNOT_PX: Final = 8
"""Maps from the frame to textures are exact at every eighth pixel and linear between: off by < 0.01 px."""
KNOT_OFFSET: Final = (KNOT_PX - 1) / 2
LENS_ROUNDS: Final = 32
"""Of the fixed point that inverts the lens; each shrinks the error about fivefold in the corners."""
SAME_TIME_S: Final = 1e-9
MOST_ROUNDS: Final = 24
"""Of the fixed point that finds the row a point is seen in. It converges within a few where the point is in the frame;
far out of it, a point may be seen in two rows in turns."""
STEEPEST: Final = 2.0
"""Squared tangent of the angle to the axis beyond which the lens is taken to bend no further: the polynomial of the
lens would fold over there, far outside the frame."""
NOISE_MARGIN: Final = 256


@dataclass(frozen=True)
class Camera:
    """A camera; the default has a global shutter and no distortion.

    Attributes:
        exposure_s: of a row.
        readout_s: from the first row to the last; 0 is a global shutter.
        k1: of the radial distortion 1 + k1 r^2 + k2 r^4 (Brown 1966, as OpenCV has it).
        k2: likewise.
        read_noise: standard deviation in grey levels.
        shot_noise: variance per grey level of signal.
        brightness: factor on what textures say.
        unsteady: whether the automatic exposure is at work.
    """

    exposure_s: float = 0.01
    readout_s: float = 0.0
    k1: float = 0.0
    k2: float = 0.0
    read_noise: float = 1.5
    shot_noise: float = 0.03
    brightness: float = 1.0
    unsteady: bool = False

    @property
    def plain(self) -> bool:
        """Whether a plane is seen through a homography."""
        return self.readout_s == 0 and self.k1 == 0 and self.k2 == 0

    def bend(self, rays: Vector) -> Vector:
        """Pixels (n, 2) where rays x, y (n, 2) come out of the lens."""
        squared = np.minimum((rays**2).sum(axis=-1, keepdims=True), STEEPEST)
        return np.asarray(FOCAL * rays * (1 + squared * (self.k1 + squared * self.k2)) + CENTRE)

    def unbend(self, pixels: Vector) -> Vector:
        """Rays x, y (n, 2) that come out of the lens at pixels (n, 2)."""
        bent = (pixels - CENTRE) / FOCAL
        rays = bent.copy()
        if self.k1 or self.k2:
            for _ in range(LENS_ROUNDS):
                squared = np.minimum((rays**2).sum(axis=-1, keepdims=True), STEEPEST)
                rays = bent / (1 + squared * (self.k1 + squared * self.k2))
        return np.asarray(rays)

    def row_delay(self, rows: Vector) -> Vector:
        """Seconds by which rows are exposed later than the middle one; rows outside the frame as the nearest one."""
        return np.asarray((np.clip(rows, 0, HEIGHT - 1) - MIDDLE_ROW) * (self.readout_s / HEIGHT))

    def see(
        self, surface: Surface, texture_points: npt.NDArray[np.floating], trajectory: Trajectory, when: float
    ) -> tuple[Vector, Vector, Vector]:
        """Where and when a frame shows points of a surface.

        Args:
            surface: it.
            texture_points: (n, 2).
            trajectory: of the camera.
            when: the middle row's exposure, seconds.

        Returns:
            Pixels (n, 2), depths along the axis of the camera (n,) in metres, and times (n,). Pixels mean something
            only where the depth is positive.
        """
        points = np.asarray(texture_points, np.float64)
        times = np.array([when])  # one time for all, until a rolling shutter tells them apart
        rotation, position = trajectory.pose(when)
        for _ in range(MOST_ROUNDS):
            away = surface.points(points, times) - position
            seen = away @ rotation[0].T if len(times) == 1 else np.einsum("nij,nj->ni", rotation, away)
            depth = seen[:, 2]
            pixels = self.bend(seen[:, :2] / np.maximum(depth, 1e-6)[:, None])
            again = when + self.row_delay(pixels[:, 1])
            if np.abs(again - times).max(initial=0) < SAME_TIME_S:
                break
            times = again
            rotation, position = trajectory.at(times)
        return pixels, depth, again


@dataclass(frozen=True)
class Painter:
    """Draws what a camera sees of a world from a trajectory."""

    camera: Camera
    world: World
    trajectory: Trajectory
    _recent: dict[float, tuple[Vector, Vector, Vector]] = field(default_factory=dict, init=False, repr=False)

    def exposed(self, when: float) -> npt.NDArray[np.float32]:
        """The frame around `when`, averaged over the exposure, without noise: float32 of shape (720, 1280)."""
        steps = self.steps(when)
        total = np.zeros((HEIGHT, WIDTH), np.float32)
        for step in range(steps):
            shift = ((step + 0.5) / steps - 0.5) * self.camera.exposure_s
            cv2.accumulate(self.instant(when + shift), total)
        return np.asarray(total / np.float32(steps))

    def steps(self, when: float) -> int:
        """How many instants stand for the exposure: the picture moves by at most 1.5 px between two of them."""
        ends = when + self.camera.exposure_s * np.array([-0.5, 0.5])
        most = 0.0
        for surface in (self.world.backdrop, *self.world.sides, *self.world.in_front):
            before, after = (self.camera.see(surface, surface.corners, self.trajectory, float(end)) for end in ends)
            ahead = (before[1] > NEAR_M) & (after[1] > NEAR_M)
            inside = ((before[0] > 0) & (before[0] < [WIDTH, HEIGHT])).all(axis=1)
            travel = np.linalg.norm(after[0] - before[0], axis=1)
            most = max(most, float(travel[ahead & inside].max(initial=0)))
        middle = self.trajectory.at(ends)[0]
        angle = np.arccos(np.clip((np.trace(middle[0] @ middle[1].T) - 1) / 2, -1, 1))
        most = max(most, float(angle) * FOCAL)
        return int(np.clip(np.ceil(most / LARGEST_STEP_PX), 1, MOST_STEPS))

    def instant(self, when: float) -> Grey:
        """What is seen when the middle row is exposed for an instant at `when`: uint8 of shape (720, 1280)."""
        backdrop = self.world.backdrop
        (frame,) = self._warp(backdrop, backdrop.levels[0][:1], 0, (0, 0, WIDTH, HEIGHT), when, cv2.BORDER_REPLICATE)
        for surface in (*self.world.sides, *self.world.in_front):
            self._paint(frame, surface, when)
        return frame

    def _paint(self, frame: Grey, surface: Surface, when: float) -> None:
        """Draw a surface over the frame, at the reduction of its texture that fits its size there."""
        box = self._box(surface, when)
        if box is None:
            return
        level = self._level(surface, box, when)
        grey, cover = self._warp(surface, surface.levels[level], level, box, when, cv2.BORDER_CONSTANT)
        x0, y0, x1, y1 = box
        below = frame[y0:y1, x0:x1]
        shown = cv2.multiply(grey, cover, scale=1 / 255)
        left = cv2.multiply(below, cv2.bitwise_not(cover), scale=1 / 255)
        below[:] = cv2.add(shown, left)

    def _box(self, surface: Surface, when: float) -> tuple[int, int, int, int] | None:
        """The part of the frame it may be in; None when there is none."""
        rotation, position = self.trajectory.pose(when)
        outline = surface.outline
        toward = surface.origins(np.array([when]))[0] - position[0]
        if surface.normal @ toward <= 0:
            return None  # seen from behind
        corners = surface.points(outline, np.full(len(outline), when)) - position[0]
        seen = corners @ rotation[0].T
        spare = 2 if self.camera.plain else 6
        if (seen[:, 2] >= NEAR_M).all():
            pixels = self.camera.see(surface, outline, self.trajectory, when)[0]
        elif surface.wall and (ahead := _clipped(seen)) is not None:
            pixels, spare = self.camera.bend(ahead), 4 * spare
        else:
            return None
        x0, y0 = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - spare, 0)
        x1, y1 = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + spare + 1, [WIDTH, HEIGHT])
        return (int(x0), int(y0), int(x1), int(y1)) if x1 - x0 > 1 and y1 - y0 > 1 else None

    def _level(self, surface: Surface, box: tuple[int, int, int, int], when: float) -> int:
        """Which reduction has about one texture pixel to a pixel in the middle of the box."""
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        probes = self.camera.unbend(np.array([[x, y], [x + 1, y], [x, y + 1]]))
        inverse = _inverse(surface, np.array([when]), self.trajectory.pose(when))[0]
        mapped = np.concatenate([probes, np.ones((3, 1))], axis=1) @ inverse.T
        texture = mapped[:, :2] / np.maximum(mapped[:, 2:], 1 / FAR_M)
        (a, b), (c, d) = texture[1:] - texture[0]
        per_pixel = np.sqrt(max(abs(a * d - b * c), 1e-9))
        return int(np.clip(np.floor(np.log2(per_pixel) + 0.4), 0, len(surface.levels) - 1))

    def _warp(
        self,
        surface: Surface,
        planes: Grey,
        level: int,
        box: tuple[int, int, int, int],
        when: float,
        border: int,
    ) -> list[Grey]:
        """Planes (n, rows, columns) of the texture, of the given reduction, as seen in a part of the frame."""
        x0, y0, x1, y1 = box
        if self.camera.plain:
            inverse = _inverse(surface, np.array([when]), self.trajectory.pose(when))[0]
            to_ray = np.array([[1, 0, x0 - CENTRE[0]], [0, 1, y0 - CENTRE[1]], [0, 0, FOCAL]]) / FOCAL
            shrink = np.diag([0.5**level, 0.5**level, 1.0])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            mapping = shrink @ inverse @ to_ray
            if (np.array([[0, 0, 1], [x1 - x0, 0, 1], [0, y1 - y0, 1], [x1 - x0, y1 - y0, 1]]) @ mapping[2]).min() > 0:
                size = (x1 - x0, y1 - y0)
                return [
                    np.asarray(cv2.warpPerspective(plane, mapping, size, flags=flags, borderMode=border), np.uint8)
                    for plane in planes
                ]
        # Knots lie where cv2.resize takes the centres of its source pixels to be, one more on each side.
        columns = np.arange(x0 // KNOT_PX - 1, x1 // KNOT_PX + 2)
        rows = np.arange(y0 // KNOT_PX - 1, y1 // KNOT_PX + 2)
        left, top = int(columns[0]) + 1, int(rows[0]) + 1
        rays = self._knots[top : top + len(rows), left : left + len(columns)]
        times, rotations, positions = self._row_poses(when)
        exposed = slice(top, top + len(rows))
        inverse = _inverse(surface, times[exposed], (rotations[exposed], positions[exposed]))
        mapped = np.einsum("rij,rcj->rci", inverse, rays)
        coarse = mapped[..., :2] / np.maximum(mapped[..., 2:], 1 / FAR_M) * 0.5**level
        coarse = np.clip(coarse, -1e5, 1e5).astype(np.float32)
        fine = cv2.resize(coarse, (len(columns) * KNOT_PX, len(rows) * KNOT_PX), interpolation=cv2.INTER_LINEAR)
        x, y = x0 - int(columns[0]) * KNOT_PX, y0 - int(rows[0]) * KNOT_PX
        part = fine[y : y + y1 - y0, x : x + x1 - x0]
        # Two maps, not one with two channels: OpenCV 5.0 misreads the latter when the second map is an empty array.
        across, down = (np.ascontiguousarray(part[..., axis], np.float32) for axis in (0, 1))
        return [
            np.asarray(cv2.remap(plane, across, down, cv2.INTER_LINEAR, borderMode=border), np.uint8)
            for plane in planes
        ]

    def _row_poses(self, when: float) -> tuple[Vector, Vector, Vector]:
        """Times, rotations and positions at which the rows of the knots are exposed; the same for all surfaces."""
        if when not in self._recent:
            rows = np.arange(-1, HEIGHT // KNOT_PX + 2, dtype=np.float64) * KNOT_PX + KNOT_OFFSET
            times = np.asarray(when + self.camera.row_delay(rows), np.float64)
            self._recent.clear()
            self._recent[when] = (times, *self.trajectory.at(times))
        return self._recent[when]

    @cached_property
    def _knots(self) -> Vector:
        """Rays (x, y, 1) of every eighth pixel, with one more knot outside each side of the frame."""
        columns = np.arange(-1, WIDTH // KNOT_PX + 2) * KNOT_PX + KNOT_OFFSET
        rows = np.arange(-1, HEIGHT // KNOT_PX + 2) * KNOT_PX + KNOT_OFFSET
        grid = np.stack(np.meshgrid(columns, rows), axis=2)
        rays = self.camera.unbend(grid.reshape(-1, 2))
        return np.concatenate([rays, np.ones((len(rays), 1))], axis=1).reshape(*grid.shape[:2], 3)


def _inverse(surface: Surface, times: Vector, poses: tuple[Vector, Vector]) -> Vector:
    """From rays (x, y, 1) to homogeneous texture points (u, v, 1 / depth) at `times` (n,) with `poses`: (n, 3, 3)."""
    rotation, position = poses
    plane = np.empty((len(times), 3, 3))
    plane[:, :, 0], plane[:, :, 1] = surface.across, surface.down
    plane[:, :, 2] = surface.origins(times) - position
    return np.asarray(np.linalg.inv(plane) @ np.swapaxes(rotation, 1, 2))


def _clipped(seen: Vector) -> Vector | None:
    """Rays x, y (n, 2) of the part of a polygon (n, 3) in camera axes that is ahead; None when nothing is."""
    kept: list[Vector] = []
    for a, b in zip(seen, np.roll(seen, -1, axis=0), strict=True):
        if a[2] >= NEAR_M:
            kept.append(a)
        if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
            kept.append(a + (b - a) * (NEAR_M - a[2]) / (b[2] - a[2]))
    return np.array([point[:2] / point[2] for point in kept]) if kept else None


class Sensor:
    """Noise and gain: from light to grey levels.

    Args:
        camera: its noise and brightness.
        rng: of the noise; the same state gives the same frames.
    """

    def __init__(self, camera: Camera, rng: np.random.Generator) -> None:
        self._rng = rng
        self._brightness = camera.brightness
        # Drawing 900,000 normal numbers takes longer than drawing the frame: one plane of them is shown anew, shifted.
        self._noise = rng.standard_normal((HEIGHT + NOISE_MARGIN, WIDTH + NOISE_MARGIN), np.float32)
        signal = np.arange(256)
        self._sigma = np.sqrt(camera.read_noise**2 + camera.shot_noise * signal).astype(np.float32)

    def expose(self, light: npt.NDArray[np.float32], gain: float) -> Grey:
        """Grey levels uint8 of shape (720, 1280) for a frame's light, multiplied by `gain`."""
        signal = np.asarray(light * np.float32(self._brightness * gain), np.float32)
        sigma = cv2.LUT(np.asarray(cv2.convertScaleAbs(signal), np.uint8), self._sigma)
        x, y = (int(shift) for shift in self._rng.integers(0, NOISE_MARGIN, 2))
        noise = self._noise[y : y + HEIGHT, x : x + WIDTH]
        return np.asarray(cv2.add(signal, cv2.multiply(noise, sigma), dtype=cv2.CV_8U), np.uint8)


def gains(rng: np.random.Generator, times: Vector) -> Vector:
    """Factors on the brightness at `times` (n,), rising: the light changes by jumps and slowly, exposure catches up.

    Jumps of up to a third either way every few seconds decay within half a second; a slow swing of a tenth is left.
    """
    factor = 1 + 0.1 * np.sin(2 * np.pi * times / rng.uniform(5, 9) + rng.uniform(0, 2 * np.pi))
    jump = float(times[0]) + rng.uniform(1.5, 2.5)
    while jump < times[-1]:
        size = rng.uniform(0.18, 0.35) * (1 if rng.random() < 0.5 else -1)
        since = times - jump
        factor = factor * np.where(since >= 0, 1 + size * np.exp(-np.maximum(since, 0) / 0.5), 1.0)
        jump += rng.uniform(1.5, 3.5)
    return np.asarray(factor)

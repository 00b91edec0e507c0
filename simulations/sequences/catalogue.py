"""The sequences by name."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from glasses.stabiliser import GyroSamples
from shared.geometry import Quad
from simulations.scene import HEIGHT, WIDTH
from simulations.sequences import FRAME_RATE, RegionTruth, SequenceFrame
from simulations.sequences.camera import NEAR_M, Camera, Painter, Sensor, gains
from simulations.sequences.gyro import Gyro
from simulations.sequences.motion import LONGEST_S, HeadMotion, Trajectory, Vector
from simulations.sequences.world import World, build_world

LEAD_S: Final = 0.05
"""Time of the first frame: its exposure, its readout and its gyro readings begin before it."""
INSIDE_SHARE: Final = 0.75
HIDDEN_SHARE: Final = 0.25
PROBES: Final = (12, 4)
"""Points across and down a line that are looked at to tell how much of it is hidden."""


@dataclass(frozen=True, slots=True)
class _Recipe:
    move: Callable[[HeadMotion], HeadMotion]
    camera: Camera = field(default_factory=Camera)
    passer: bool = False


def _glances(motion: HeadMotion) -> HeadMotion:
    return motion.look_away(130, by_deg=(12, 22), away_s=(0.2, 0.5), back_s=(0.8, 1.6))


_RECIPES: Final[Mapping[str, _Recipe]] = {
    "read": _Recipe(lambda head: head),
    "walk": _Recipe(lambda head: head.walk()),
    "turn": _Recipe(lambda head: head.look_around(90, reach_deg=24, least_deg=12, dwell_s=(0.5, 1.0))),
    "fast": _Recipe(lambda head: head.look_around(180, reach_deg=30, least_deg=20, dwell_s=(0.5, 1.0))),
    "side": _Recipe(lambda head: head.side_step()),
    "occlusion": _Recipe(lambda head: head, Camera(unsteady=True), passer=True),
    "lowlight": _Recipe(
        lambda head: head.walk(),
        Camera(exposure_s=1 / 40, read_noise=5.0, shot_noise=0.3, brightness=0.7, unsteady=True),
    ),
    "rolling": _Recipe(lambda head: _glances(head.walk()), Camera(readout_s=0.016)),
    "lens": _Recipe(
        lambda head: head.walk().look_around(90, reach_deg=20, least_deg=10, dwell_s=(0.7, 1.4)),
        Camera(k1=-0.08),
    ),
    "exit": _Recipe(lambda head: head.look_away(150, by_deg=(48, 55), away_s=(0.5, 1.2), back_s=(1.5, 2.2))),
}
NAMES: Final[tuple[str, ...]] = tuple(_RECIPES)


class WorldSequence:
    """A sequence drawn from a world, a head and a camera; see `simulations.sequences.Sequence`.

    Attributes:
        name: one of `NAMES`.
        seed: of everything random.
        planes: index of the plane each region lies on, by region id; for reports, not for trackers.
        camera: what it is taken with.
        trajectory: where the camera is.
        world: what it sees.
    """

    def __init__(self, name: str, seed: int, count: int) -> None:
        recipe = _RECIPES[name]
        self.name = name
        self.seed = seed
        self._count = count
        self.camera = recipe.camera
        self.world: World = build_world(self._rng(0), passer=recipe.passer)
        self.planes: Mapping[int, int] = {region: sign.board for region, sign in self.world.signs.items()}
        self.trajectory: Trajectory = recipe.move(HeadMotion(self._rng(1)).stand()).trajectory()
        self._gyro = Gyro(lambda times: self.trajectory.at(times)[0], self._rng(2), LEAD_S + count / FRAME_RATE)

    @property
    def readout_s(self) -> float:
        """Seconds from the exposure of the first row to that of the last."""
        return self.camera.readout_s

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(self.name.encode()), purpose])

    def __len__(self) -> int:
        """Number of frames."""
        return self._count

    def captured(self, frame_id: int) -> float:
        """When a frame is taken, in seconds."""
        return LEAD_S + frame_id / FRAME_RATE

    def frames(self) -> Iterator[SequenceFrame]:
        """All frames from the first on; the same each time."""
        painter = Painter(self.camera, self.world, self.trajectory)
        sensor = Sensor(self.camera, self._rng(3))
        all_times = LEAD_S + np.arange(int(LONGEST_S * FRAME_RATE)) / FRAME_RATE
        gain = gains(self._rng(4), all_times) if self.camera.unsteady else np.ones(len(all_times))
        for frame_id in range(self._count):
            when = self.captured(frame_id)
            luma = sensor.expose(painter.exposed(when), float(gain[frame_id]))
            yield SequenceFrame(frame_id, when, luma, self.gyro(frame_id), self.truth(when))

    def gyro(self, frame_id: int) -> GyroSamples:
        """The readings that come with a frame: those since the frame before."""
        return self._gyro.between(self.captured(frame_id - 1), self.captured(frame_id))

    def truth(self, when: float) -> dict[int, RegionTruth]:
        """Where every sign is in a frame taken at `when`, by region id; without those behind the wearer."""
        position = self.trajectory.pose(when)[1][0]
        lines: dict[int, tuple[Quad, ...]] = {}
        targets: dict[int, tuple[Vector, Vector]] = {}
        for region, sign in self.world.signs.items():
            board = self.world.boards[sign.board]
            if board.normal @ (board.origin - position) <= 0:
                continue
            corners = 4 * len(sign.lines)
            points = np.concatenate([*sign.lines, board.corners, *(_grid(quad) for quad in sign.lines)])
            pixels, depth, times = self.camera.see(board, points, self.trajectory, when)
            if depth[: corners + 4].min() < NEAR_M:
                continue
            lines[region] = tuple(np.asarray(quad, np.float32) for quad in pixels[:corners].reshape(-1, 4, 2))
            inside = ((pixels[:corners] >= 0) & (pixels[:corners] <= [WIDTH - 1, HEIGHT - 1])).all(axis=1)
            if inside.mean() >= INSIDE_SHARE:
                probed = slice(corners + 4, None)
                targets[region] = board.points(points[probed], times[probed]), times[probed]
        visible = self._unhidden(targets)
        return {region: RegionTruth(quads, region in visible) for region, quads in lines.items()}

    def _unhidden(self, targets: Mapping[int, tuple[Vector, Vector]]) -> set[int]:
        """Which signs have little in front of them, of those whose points (n, 3) are looked at at times (n,)."""
        if not targets:
            return set()
        regions = np.concatenate([np.full(len(times), region) for region, (_, times) in targets.items()])
        boards = np.concatenate([np.full(len(times), self.planes[region]) for region, (_, times) in targets.items()])
        points = np.concatenate([points for points, _ in targets.values()])
        times = np.concatenate([times for _, times in targets.values()])
        eyes = self.trajectory.at(times)[1]
        hidden = np.zeros(len(times), bool)
        for number, surface in enumerate(self.world.in_front):
            hidden |= surface.hides(eyes, points, times) & (boards != number)
        return {region for region in targets if hidden[regions == region].mean() < HIDDEN_SHARE}


def _grid(quad: Quad) -> Vector:
    """Points spread over an upright rectangle, (n, 2)."""
    across, down = PROBES
    u, v = np.meshgrid((np.arange(across) + 0.5) / across, (np.arange(down) + 0.5) / down)
    corner, size = quad[0].astype(np.float64), (quad[2] - quad[0]).astype(np.float64)
    return np.asarray(np.stack([u.ravel(), v.ravel()], axis=1) * size + corner)


def sequence(name: str, seed: int, seconds: float = 10.0) -> WorldSequence:
    """A sequence by its name; a shorter one is the start of a longer one.

    Args:
        name: one of `NAMES`.
        seed: of world, movement, noise and gyro; no less than 0.
        seconds: up to `motion.LONGEST_S` less a second.

    Raises:
        ValueError: no such sequence, or too long or too short.
    """
    if name not in _RECIPES:
        raise ValueError(f"no sequence {name!r}; there are {', '.join(NAMES)}")
    count = round(seconds * FRAME_RATE)
    if not 1 <= count <= (LONGEST_S - 1) * FRAME_RATE:
        raise ValueError(f"{seconds} s is not between one frame and {LONGEST_S - 1:.0f} s")
    return WorldSequence(name, seed, count)

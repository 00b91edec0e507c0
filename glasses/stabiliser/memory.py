"""What the frame path and the mapper share: reduced frames, templates and planes, as plain arrays in one buffer.

The buffer is private memory, or memory shared between processes. Who writes what: the frame path writes frames, planes
and, now and then, a copy of the planes for the mapper, a survey; the mapper writes templates that no plane uses yet.
Neither waits for the other: frames and surveys carry a number that is -1 while they are written, and whoever reads them
looks at it before and after. (Who starts the frame path anew ends all planes first.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from glasses.stabiliser.limits import LEVELS, PLANES, POINTS, REGIONS_PER_PLANE, REMEMBERED_FRAMES, TEMPLATES
from glasses.stabiliser.pyramid import FrameGeometry

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

ALIGNMENT = 64
"""Arrays begin at multiples of this: a cache line."""


class Ring(NamedTuple):
    """Reduced frames, the newest overwriting the oldest; frame n lies at n modulo the length.

    Attributes:
        half: level 0, shape (n, height, width).
        quarter: level 1.
        eighth: level 2.
        number: serial number of the frame at each place, -1 for none; shape (n,).
        frame_id: the caller's name for it.
        captured: monotonic seconds.
        motion: previous frame → this one, working pixels, shape (n, 3, 3).
        known: whether the motion was measured.
    """

    half: Bytes
    quarter: Bytes
    eighth: Bytes
    number: Ints
    frame_id: Ints
    captured: Floats
    motion: Floats
    known: Ints


class Templates(NamedTuple):
    """Points of keyframes, and what the alignment needs to know of them; t templates, levels, points.

    Attributes:
        points: in use, shape (t, levels).
        x: position in the keyframe in working pixels, shape (t, levels, points).
        y: likewise.
        value: grey level there.
        jacobian: change of the grey level with each of the 8 parameters, shape (t, levels, 8, points).
        region: index of the region a point belongs to.
        normal: the sum of the outer products of the Jacobian, shape (t, levels, 8, 8).
        frame: centre x, centre y and scale of the coordinates the parameters are meant in, shape (t, levels, 3).
        dof: degrees of freedom the points can bear, shape (t, levels).
        prior: how narrowly each parameter is expected around its prediction, one over its variance; (t, levels, 8).
    """

    points: Ints
    x: Singles
    y: Singles
    value: Singles
    jacobian: Singles
    region: Ints
    normal: Floats
    frame: Floats
    dof: Ints
    prior: Floats


class Planes(NamedTuple):
    """How the planes are that are followed; p planes with up to r regions each.

    Attributes:
        active: whether the place is in use, shape (p,).
        serial: a number no other plane has had.
        template: which template it is compared with.
        homography: keyframe → newest frame, working pixels, shape (p, 3, 3).
        before: keyframe → the frame before.
        drift: how the plane moves against the view: working pixels right and down a frame, and growth a frame, (p, 3).
        state: see `glasses.stabiliser.planes`.
        fails: frames since it was measured.
        quality: correlation with the keyframe when last measured, fading from then on.
        best: the highest quality of late, fading slowly.
        slack: how many frames' worth of change the prediction may be off by.
        regions: how many it has.
        region_id: the caller's names, -1 for a region that was removed, shape (p, r).
        region_quality: correlation of each region with the keyframe, fading mean.
        covered: whether a region is left out because something lies over it.
    """

    active: Ints
    serial: Ints
    template: Ints
    homography: Floats
    before: Floats
    drift: Floats
    state: Ints
    fails: Ints
    quality: Floats
    best: Floats
    slack: Floats
    regions: Ints
    region_id: Ints
    region_quality: Floats
    covered: Ints


class Shapes(NamedTuple):
    """What belongs to a plane for good.

    Attributes:
        hull: corners of a box around its regions in the keyframe, working pixels, shape (p, 4, 2).
        box: corners around each region in the plane's keyframe, shape (p, r, 4, 2).
        base: region's own keyframe → the plane's keyframe, working pixels, shape (p, r, 3, 3).
        region_keyframe: frame id of each region's own keyframe, shape (p, r).
    """

    hull: Floats
    box: Floats
    base: Floats
    region_keyframe: Ints


SURVEYS = 4
"""Copies of the planes for the mapper, written in turn: it reads one while the frame path writes the next."""


def _plane_fields(prefix: str) -> Iterator[tuple[str, tuple[int, ...], type[np.generic]]]:
    p, r = PLANES, REGIONS_PER_PLANE
    for name in ("active", "serial", "template", "state", "fails", "regions"):
        yield f"{prefix}.{name}", (p,), np.int64
    yield f"{prefix}.quality", (p,), np.float64
    yield f"{prefix}.best", (p,), np.float64
    yield f"{prefix}.slack", (p,), np.float64
    yield f"{prefix}.homography", (p, 3, 3), np.float64
    yield f"{prefix}.before", (p, 3, 3), np.float64
    yield f"{prefix}.drift", (p, 3), np.float64
    yield f"{prefix}.region_id", (p, r), np.int64
    yield f"{prefix}.covered", (p, r), np.int64
    yield f"{prefix}.region_quality", (p, r), np.float64


def _fields(geometry: FrameGeometry) -> Iterator[tuple[str, tuple[int, ...], type[np.generic]]]:
    n, t, p, r = REMEMBERED_FRAMES, TEMPLATES, PLANES, REGIONS_PER_PLANE
    for name, (width, height) in zip(("half", "quarter", "eighth"), geometry.sizes, strict=True):
        yield f"ring.{name}", (n, height, width), np.uint8
    yield "ring.number", (n,), np.int64
    yield "ring.frame_id", (n,), np.int64
    yield "ring.captured", (n,), np.float64
    yield "ring.motion", (n, 3, 3), np.float64
    yield "ring.known", (n,), np.int64
    yield "templates.points", (t, LEVELS), np.int64
    for name in ("x", "y", "value"):
        yield f"templates.{name}", (t, LEVELS, POINTS), np.float32
    yield "templates.jacobian", (t, LEVELS, 8, POINTS), np.float32
    yield "templates.region", (t, LEVELS, POINTS), np.int64
    yield "templates.normal", (t, LEVELS, 8, 8), np.float64
    yield "templates.frame", (t, LEVELS, 3), np.float64
    yield "templates.dof", (t, LEVELS), np.int64
    yield "templates.prior", (t, LEVELS, 8), np.float64
    yield from _plane_fields("planes")
    for index in range(SURVEYS):
        yield from _plane_fields(f"survey{index}")
    yield "survey.number", (SURVEYS,), np.int64
    yield "shapes.hull", (p, 4, 2), np.float64
    yield "shapes.box", (p, r, 4, 2), np.float64
    yield "shapes.base", (p, r, 3, 3), np.float64
    yield "shapes.region_keyframe", (p, r), np.int64


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def memory_bytes(geometry: FrameGeometry) -> int:
    """Size of the buffer `Memory` needs."""
    return sum(_rounded(int(np.prod(shape)) * np.dtype(kind).itemsize) for _, shape, kind in _fields(geometry))


class Memory:
    """The arrays over a buffer.

    Args:
        geometry: of the frames.
        buffer: of at least `memory_bytes`; None for private memory. Whoever makes a buffer writes zeros all over it and
            calls `clear` once.
    """

    def __init__(self, geometry: FrameGeometry, buffer: memoryview | None = None) -> None:
        self.geometry = geometry
        size = memory_bytes(geometry)
        whole = np.empty(size, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8, size)
        if buffer is None:
            whole.fill(0)  # touched here: a page that is new to the process costs a frame milliseconds
        arrays: dict[str, npt.NDArray[Any]] = {}
        at = 0
        for name, shape, kind in _fields(geometry):
            length = int(np.prod(shape)) * np.dtype(kind).itemsize
            arrays[name] = whole[at : at + length].view(kind).reshape(shape)
            at += _rounded(length)
        self.ring = Ring(**{name: arrays[f"ring.{name}"] for name in Ring._fields})
        self.templates = Templates(**{name: arrays[f"templates.{name}"] for name in Templates._fields})
        self.planes = Planes(**{name: arrays[f"planes.{name}"] for name in Planes._fields})
        self.shapes = Shapes(**{name: arrays[f"shapes.{name}"] for name in Shapes._fields})
        self.survey_number: Ints = arrays["survey.number"]
        self.surveys = [
            Planes(**{name: arrays[f"survey{index}.{name}"] for name in Planes._fields}) for index in range(SURVEYS)
        ]
        if buffer is None:
            self.clear()

    def clear(self) -> None:
        """Forget all frames and planes."""
        self.ring.number.fill(-1)
        self.survey_number.fill(-1)
        self.planes.active.fill(0)

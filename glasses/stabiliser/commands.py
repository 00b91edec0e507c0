"""What the frame path and the mapper tell each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.geometry import Homography

Box = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Survey:
    """To the mapper: a copy of the planes was written.

    Attributes:
        number: of the frame.
        place: which copy.
    """

    number: int
    place: int


@dataclass(frozen=True, slots=True)
class Follow:
    """To the mapper: follow a region from a remembered frame on.

    Attributes:
        region_id: the caller's name.
        quads: its lines, working pixels, float64 (n, 4, 2).
        frame_id: of its keyframe.
        generation: how often the region was removed before.
    """

    region_id: int
    quads: Box
    frame_id: int
    generation: int


@dataclass(frozen=True, slots=True)
class Forget:
    """To the mapper: a region was removed."""

    region_id: int


@dataclass(frozen=True, slots=True)
class PlaneRegion:
    """A region of a new plane.

    Attributes:
        region_id: the caller's name.
        keyframe: frame id of the region's own keyframe.
        generation: how often the region had been removed when it was followed; an older one is not wanted any more.
        base: that keyframe → the plane's keyframe, working pixels.
        box: corners around it in the plane's keyframe, (4, 2).
    """

    region_id: int
    keyframe: int
    generation: int
    base: Homography
    box: Box


@dataclass(frozen=True, slots=True)
class NewPlane:
    """A plane to follow from now on.

    Attributes:
        serial: no other plane has had it.
        template: where its template is.
        homography: its keyframe → frame `number` of the install, working pixels.
        hull: corners of a box around its regions in its keyframe, (4, 2).
        regions: at least one.
        drift: how it moves against the view, see `memory.Planes`, (3,).
        quality: correlation in that frame; negative when it was not found there.
    """

    serial: int
    template: int
    homography: Homography
    hull: Box
    regions: tuple[PlaneRegion, ...]
    drift: npt.NDArray[np.float64]
    quality: float


@dataclass(frozen=True, slots=True)
class Install:
    """To the frame path: planes take the place of others, all at once.

    Attributes:
        number: of the frame the new planes' homographies are for.
        retire: serials of planes that end.
        planes: that begin.
    """

    number: int
    retire: tuple[int, ...]
    planes: tuple[NewPlane, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """To the frame path: a lost plane is here.

    Attributes:
        serial: which one.
        homography: its keyframe → frame `number`, working pixels.
        number: of a remembered frame.
        drift: how it moves against the view, see `memory.Planes`, (3,).
    """

    serial: int
    homography: Homography
    number: int
    drift: npt.NDArray[np.float64]


ToMapper = Survey | Follow | Forget
FromMapper = Install | Found

"""The frame path: from a Y plane to the poses of all regions. Nothing else may sit between the two.

Per frame: reduce the picture into the ring, find how the head turned, carry every plane there and align it, write down
where the regions are. All arrays exist beforehand; everything that takes longer or has no bound (new templates, late
results, lost planes, merging and splitting) is the mapper's, whose results are taken in between two frames. The
division is that of Klein & Murray, "Parallel Tracking and Mapping for Small AR Workspaces" (ISMAR 2007).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from glasses.stabiliser.alignment import Scratch
from glasses.stabiliser.commands import Box, Follow, Forget, Found, FromMapper, Install, NewPlane, Survey
from glasses.stabiliser.gyro import GyroBuffer
from glasses.stabiliser.limits import PLANES, POINTS, REGIONS_PER_PLANE, REMEMBERED_FRAMES
from glasses.stabiliser.memory import SURVEYS, Memory
from glasses.stabiliser.planes import LOST, LOST_AFTER, NEW_SLACK, PREDICTED, TRACKED, carry, collect, step
from glasses.stabiliser.pyramid import FrameGeometry, checked_quads
from glasses.stabiliser.view_rotation import KNOWN, ViewScratch, view_homography, view_rotation
from shared.errors import FrameRefused
from shared.geometry import Homography, Quad

DEFAULT_FOCAL_SHARE: Final = 0.8
"""Focal length as a share of the frame's width where it is not known: 64 degrees across. The view's rotation is only
a prediction, and an error of a fifth in this shifts it by less than the alignment's reach."""
SURVEY_EVERY: Final = 3
"""Frames between two surveys for the mapper."""
SOFT: Final = (3, 3)
"""Size of the blur, pixels of level 2."""
GYRO_NOW_S: Final = 0.0075
"""How far back the gyro's readings tell how fast the head turns now: a reading or two at 200 Hz."""
GENERATIONS: Final = 4096
"""Removed regions whose removal is remembered: the mapper may still be at work on them."""
CUT_S: Final = 0.5
"""After a pause longer than this nothing is known about the motion between two frames."""
STATES: Final = {TRACKED: PoseState.TRACKED, PREDICTED: PoseState.PREDICTED, LOST: PoseState.LOST}


class FramePath:
    """Follows planes from frame to frame.

    Args:
        memory: shared with the mapper.
        focal_px: focal length in pixels of the frame; None when it is not known, and the gyro is then not used.
        gyro_offset: seconds to add to the gyro's times to get the frames' clock.
        readout_s: seconds from the first row's exposure to the last one's; 0 for a global shutter.
    """

    def __init__(
        self, memory: Memory, *, focal_px: float | None = None, gyro_offset: float = 0.0, readout_s: float = 0.0
    ) -> None:
        self._memory = memory
        self._geometry: FrameGeometry = memory.geometry
        self._focal_known = focal_px is not None
        focal = DEFAULT_FOCAL_SHARE * self._geometry.width if focal_px is None else focal_px
        self._focal = focal / self._geometry.factor
        self._gyro = GyroBuffer(gyro_offset)
        self._readout = readout_s
        self._turning = np.zeros(3)
        self._skew = np.eye(3)
        self._number = int(memory.ring.number.max())
        self._previous = self._number % REMEMBERED_FRAMES if self._number >= 0 else -1
        self._survey = 0
        self._scratch = Scratch(POINTS)
        self._view_scratch = ViewScratch()
        self._matrices = np.zeros((10, 3, 3))
        self._quality = np.zeros(REGIONS_PER_PLANE)
        self._nothing = np.zeros(REGIONS_PER_PLANE, np.int64)
        self._order = np.zeros(PLANES, np.int64)
        width, height = self._geometry.sizes[2]
        self._soft = [np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)]
        if self._previous >= 0:
            self._soften(memory.ring.eighth[self._previous], self._number)
        self._by_gyro, self._last, self._rotation = np.eye(3), np.eye(3), np.eye(3)
        self._to_working = self._geometry.scaling
        self._to_frame = np.asarray(np.linalg.inv(self._to_working), np.float64)
        most = PLANES * REGIONS_PER_PLANE
        self._ids = np.zeros(most, np.int64)
        self._states = np.zeros(most, np.int64)
        self._keyframes = np.zeros(most, np.int64)
        self._qualities = np.zeros(most)
        self._homographies = np.zeros((most, 3, 3))
        self._generations: dict[int, int] = {}

    @property
    def number(self) -> int:
        """Serial number of the newest frame, -1 before the first."""
        return self._number

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """Find every region in a new frame; see `glasses.stabiliser.Stabiliser.observe`.

        Raises:
            FrameRefused: wrong shape or type, or older than the one before. Nothing has changed then.
        """
        geometry, ring = self._geometry, self._memory.ring
        geometry.check(luma)
        first = self._previous < 0
        if not np.isfinite(captured):
            raise FrameRefused("a frame's time must be finite")
        if not first and (frame_id <= ring.frame_id[self._previous] or captured <= ring.captured[self._previous]):
            raise FrameRefused(
                f"frame {frame_id} at {captured:.6f} s is not later than frame "
                f"{ring.frame_id[self._previous]} at {ring.captured[self._previous]:.6f} s"
            )
        if gyro is not None and self._focal_known:
            self._gyro.take(gyro)
        number = self._number + 1
        place = number % REMEMBERED_FRAMES
        ring.number[place] = -1  # whoever reads this place now, notices
        half, quarter, eighth = ring.half[place], ring.quarter[place], ring.eighth[place]
        geometry.reduce(luma, half, quarter, eighth)
        self._soften(eighth, number)
        known = False
        if first:
            ring.motion[place] = np.eye(3)
        else:
            known = self._find_motion(place, captured)
        ring.known[place] = known
        ring.frame_id[place], ring.captured[place] = frame_id, captured
        ring.number[place] = number
        planes, scratch = self._memory.planes, self._scratch
        step(
            half, quarter, eighth, planes, self._memory.shapes, self._memory.templates, ring.motion[place], known,
            number, self._quality, self._nothing, self._order,
            scratch.sampled, scratch.residual, scratch.usable, self._matrices, scratch.matrices,
        )  # fmt: skip
        self._number, self._previous = number, place
        motion: Homography | None = None
        if known:
            motion = self._to_frame @ ring.motion[place] @ self._to_working
            motion /= motion[2, 2]
        return View(frame_id, captured, dict(self._poses()), motion)

    def _soften(self, eighth: Luma, number: int) -> None:
        """Blur level 2 for the view's rotation: what is as fine as a pixel does not survive being seen half a pixel
        further on."""
        cv2.blur(eighth, SOFT, dst=self._soft[number % 2], borderType=cv2.BORDER_REPLICATE)

    def _find_motion(self, place: int, captured: float) -> bool:
        """Write the motion from the frame before into the ring; whether it was measured."""
        ring, scratch = self._memory.ring, self._view_scratch
        before = float(ring.captured[self._previous])
        if captured - before > CUT_S:
            # Too long ago to expect anything; the picture may still tell.
            self._last[:] = np.eye(3)
        by_gyro = self._focal_known and self._gyro.rotation(before, captured, self._by_gyro)
        focal = self._focal / 4
        match = view_rotation(
            self._soft[self._number % 2], self._soft[(self._number + 1) % 2], focal, by_gyro, self._by_gyro, self._last,
            self._rotation, scratch.points, scratch.profiles, scratch.matrices,
        )  # fmt: skip
        self._last[:] = self._rotation
        height, width = ring.half[place].shape
        view_homography(self._rotation, self._focal, width, height, ring.motion[place])
        if self._readout:
            before_skew = self._skew
            self._skew = self._skew_of(captured, captured - before, by_gyro)
            ring.motion[place] = self._skew @ ring.motion[place] @ np.linalg.inv(before_skew)
        return bool(by_gyro or match > KNOWN)

    def _skew_of(self, captured: float, interval: float, by_gyro: bool) -> Homography:
        """What a rolling shutter does to the picture of a turning head, working pixels: each row is seen earlier or
        later than the middle one, and so shifted by how far the head turns in that time."""
        turned = np.asarray(cv2.Rodrigues(self._rotation)[0].ravel() / interval, np.float64)
        # The rotation between two frames is that of half a frame ago.
        now = 1.5 * turned - 0.5 * self._turning
        self._turning = turned
        if by_gyro and self._gyro.rotation(captured - GYRO_NOW_S, captured, self._by_gyro):
            now = np.asarray(cv2.Rodrigues(self._by_gyro)[0].ravel() / GYRO_NOW_S, np.float64)
        height = self._geometry.sizes[0][1]
        a_row = self._readout / height * self._focal
        right, down = a_row * now[1], -a_row * now[0]
        middle = (height - 1) / 2
        return np.array([[1, right, -right * middle], [0, 1 + down, -down * middle], [0, 0, 1.0]])

    def _poses(self) -> Iterator[tuple[int, Pose]]:
        height, width = self._memory.ring.half.shape[1:]
        count = collect(
            self._memory.planes, self._memory.shapes, width, height, self._to_working, self._to_frame,
            self._ids, self._states, self._keyframes, self._qualities, self._homographies, self._matrices,
        )  # fmt: skip
        homographies = self._homographies[:count].copy()
        for index in range(count):
            yield (
                int(self._ids[index]),
                Pose(
                    homographies[index],
                    STATES[int(self._states[index])],
                    float(self._qualities[index]),
                    int(self._keyframes[index]),
                ),
            )

    # Between two frames ---------------------------------------------------------------------------------------

    def survey(self) -> Survey | None:
        """Write a copy of the planes for the mapper, every `SURVEY_EVERY` frames; None when it is not time."""
        if self._number % SURVEY_EVERY or self._number < 0:
            return None
        place = self._survey % SURVEYS
        self._survey += 1
        self._memory.survey_number[place] = -1
        for source, target in zip(self._memory.planes, self._memory.surveys[place], strict=True):
            target[:] = source
        self._memory.survey_number[place] = self._number
        return Survey(self._number, place)

    def take(self, commands: Sequence[FromMapper]) -> None:
        """Do what the mapper says."""
        for command in commands:
            if isinstance(command, Install):
                self._install(command)
            else:
                self._found(command)

    def follow(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> Follow:
        """The order to the mapper to follow a region.

        Raises:
            RegionRefused: see `glasses.stabiliser.Stabiliser.add`.
        """
        working = checked_quads(quads, self._geometry)
        return Follow(region_id, working, frame_id, self._generations.get(region_id, 0))

    def remove(self, region_id: int) -> Forget:
        """Forget a region; returns the order to the mapper to do the same."""
        generation = self._generations.pop(region_id, 0) + 1
        self._generations[region_id] = generation
        if len(self._generations) > GENERATIONS:
            self._generations.pop(next(iter(self._generations)))
        self._drop(region_id)
        return Forget(region_id)

    def _drop(self, region_id: int) -> None:
        """Take a region off the plane it is on; a plane without regions ends."""
        planes = self._memory.planes
        planes.region_id[planes.region_id == region_id] = -1
        for k in np.flatnonzero(planes.active):
            if (planes.region_id[k, : planes.regions[k]] < 0).all():
                planes.active[k] = 0

    def _carried(
        self, homography: Homography, number: int, hull: Box, drift: npt.NDArray[np.float64]
    ) -> Homography | None:
        """Carry a homography from an older frame to the newest; None when that frame is no longer remembered."""
        if not 0 <= self._number - number < REMEMBERED_FRAMES - 1:
            return None
        carried = np.ascontiguousarray(homography, np.float64).copy()
        for later in range(number + 1, self._number + 1):
            if not carry(carried, self._memory.ring.motion[later % REMEMBERED_FRAMES], hull, drift, self._matrices):
                return None
        return carried

    def _install(self, install: Install) -> None:
        planes = self._memory.planes
        old: dict[int, int] = {int(planes.serial[k]): int(k) for k in np.flatnonzero(planes.active)}
        for serial in install.retire:
            if serial in old:
                planes.active[old[serial]] = 0
        for plane in install.planes:
            carried = self._carried(plane.homography, install.number, plane.hull, plane.drift)
            free = np.flatnonzero(planes.active == 0)
            if carried is None or not len(free):
                continue
            for region in plane.regions:
                self._drop(region.region_id)  # followed anew, it leaves the plane it was on
            self._place(int(free[0]), plane, carried)

    def _place(self, k: int, plane: NewPlane, homography: Homography) -> None:
        planes, shapes = self._memory.planes, self._memory.shapes
        planes.serial[k], planes.template[k] = plane.serial, plane.template
        planes.homography[k] = planes.before[k] = homography
        found = plane.quality > 0
        planes.state[k], planes.fails[k] = (PREDICTED, 1) if found else (LOST, LOST_AFTER)
        planes.quality[k] = max(plane.quality, 0.0)
        planes.regions[k] = len(plane.regions)
        shapes.hull[k] = plane.hull
        planes.drift[k] = plane.drift
        planes.best[k] = 0.0
        planes.slack[k] = NEW_SLACK
        planes.covered[k] = 0
        planes.region_quality[k] = 1.0
        for r, region in enumerate(plane.regions):
            wanted = region.generation == self._generations.get(region.region_id, 0)
            planes.region_id[k, r] = region.region_id if wanted else -1
            shapes.region_keyframe[k, r] = region.keyframe
            shapes.base[k, r], shapes.box[k, r] = region.base, region.box
        planes.active[k] = int((planes.region_id[k, : len(plane.regions)] >= 0).any())

    def _found(self, found: Found) -> None:
        planes = self._memory.planes
        for k in np.flatnonzero(planes.active):
            if planes.serial[k] == found.serial and planes.state[k] != TRACKED:
                carried = self._carried(found.homography, found.number, self._memory.shapes.hull[k], found.drift)
                if carried is not None:
                    planes.homography[k] = planes.before[k] = carried
                    planes.state[k], planes.fails[k] = PREDICTED, 2
                    planes.drift[k] = found.drift
                    planes.slack[k] = NEW_SLACK

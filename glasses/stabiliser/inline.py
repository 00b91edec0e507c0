"""The stabiliser in one process and one thread, in step with its frames: for measurements and tests.

The mapper's answers arrive a fixed number of frames after its orders, as they would from beside; the same frames give
the same poses, whatever else the machine does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from glasses.stabiliser import GyroSamples, Luma, View
from glasses.stabiliser.commands import FromMapper, ToMapper
from glasses.stabiliser.frame_path import FramePath
from glasses.stabiliser.mapper import Mapper
from glasses.stabiliser.memory import Memory
from glasses.stabiliser.pyramid import FrameGeometry
from shared.errors import FrameRefused
from shared.geometry import Quad

MAPPER_DELAY: Final = 2
"""Frames from an order to its answer."""


class InlineStabiliser:
    """Implements `glasses.stabiliser.Stabiliser`. The mapper runs in `run_mapper`, which `observe` calls first.

    Args:
        focal_px: focal length in pixels of the frame; None when it is not known, and the gyro is then not used.
        gyro_offset: seconds to add to the gyro's times.
        readout_s: see `FramePath`.
        mapper_by_caller: the caller runs the mapper itself, between two frames, so that it can time `observe` alone.
    """

    def __init__(
        self,
        *,
        focal_px: float | None = None,
        gyro_offset: float = 0.0,
        readout_s: float = 0.0,
        mapper_by_caller: bool = False,
    ) -> None:
        self._focal = focal_px
        self._offset = gyro_offset
        self._readout = readout_s
        self._by_caller = mapper_by_caller
        self._path: FramePath | None = None
        self._mapper: Mapper | None = None
        self._orders: list[ToMapper] = []
        self._answers: deque[tuple[int, list[FromMapper]]] = deque()
        self.worker_seconds = 0.0

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """See `glasses.stabiliser.Stabiliser.observe`."""
        if self._path is None:
            if getattr(luma, "ndim", 0) != 2:
                raise FrameRefused("a frame must be an array of two dimensions")
            memory = Memory(FrameGeometry.of(luma.shape[1], luma.shape[0]))
            self._path = FramePath(memory, focal_px=self._focal, gyro_offset=self._offset, readout_s=self._readout)
            self._mapper = Mapper(memory, focal_px=self._focal)
        if not self._by_caller:
            self.run_mapper()
        while self._answers and self._answers[0][0] <= self._path.number + 1:
            self._path.take(self._answers.popleft()[1])
        view = self._path.observe(frame_id, luma, captured, gyro)
        survey = self._path.survey()
        if survey is not None:
            self._orders.append(survey)
        return view

    def run_mapper(self) -> float:
        """Let the mapper do what is waiting for it; the seconds of the thread's time it took."""
        if self._path is None or self._mapper is None or not self._orders:
            return 0.0
        start = time.thread_time()
        answers = self._mapper.handle(self._orders)
        self._orders.clear()
        seconds = time.thread_time() - start
        self.worker_seconds += seconds
        if answers:
            self._answers.append((self._path.number + MAPPER_DELAY, answers))
        return seconds

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """See `glasses.stabiliser.Stabiliser.add`."""
        if self._path is not None:
            self._orders.append(self._path.follow(region_id, quads, frame_id))

    def remove(self, region_id: int) -> None:
        """See `glasses.stabiliser.Stabiliser.remove`."""
        if self._path is not None:
            self._orders.append(self._path.remove(region_id))

    @property
    def counters(self) -> Mapping[str, int]:
        """What the mapper has done so far."""
        return {} if self._mapper is None else dict(self._mapper.counters)

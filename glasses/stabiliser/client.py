"""The firmware's end of the stabiliser: frames go to a process of their own through shared memory, poses come back.

The client remembers each region's last pose. When the process dies, its parent starts it anew and the client names the
regions again, from the frame they were last seen in, so that their poses go on from there: callers see a region LOST
for some frames, and nothing else.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from glasses.stabiliser.memory import Memory, memory_bytes
from glasses.stabiliser.packets import (
    LARGEST,
    Add,
    FramePacket,
    RefusedPacket,
    Remove,
    ViewPacket,
    as_quads,
    pack_frame,
    pack_order,
    unpack_answer,
)
from glasses.stabiliser.process import BEGIN, INPUTS, READY, RESTARTED, input_bytes
from glasses.stabiliser.pyramid import FrameGeometry, checked_quads
from shared.clock import Clock
from shared.errors import FrameRefused, StabiliserDown
from shared.geometry import Homography, Quad, transform

START_PATIENCE_S: Final = 300.0
"""The first start of an installation compiles the kernels."""
FRAME_PATIENCE_S: Final = 0.25
"""A frame without an answer after this is answered by the client: everything is lost for now."""
RESTARTS: Final = 5
RESTARTS_WITHIN_S: Final = 10.0
"""More restarts in that time, and the stabiliser is given up."""


@dataclass(slots=True)
class _Region:
    """A region, as far as the firmware was told about it.

    Attributes:
        quads: as it was added, frame pixels.
        keyframe: frame it was added with.
        pose: the newest one; None before the first.
        seen: frame id of that pose.
        resumed: after a restart, the frame it was named again with, and its homography from the keyframe to there.
    """

    quads: tuple[Quad, ...]
    keyframe: int
    pose: Pose | None = None
    seen: int = -1
    resumed: tuple[int, Homography] | None = None


class ProcessStabiliser:
    """Implements `glasses.stabiliser.Stabiliser` with processes of its own. Used from one thread; `close` from any.

    Args:
        clock: source of time.
        focal_px: asked once, when the first frame comes: the focal length in pixels of the frame, None when unknown.
        gyro_offset: seconds to add to the gyro's times to get the frames' clock.
        readout_s: seconds from the first row's exposure to the last one's; 0 for a global shutter.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        focal_px: Callable[[], float | None] = lambda: None,
        gyro_offset: float = 0.0,
        readout_s: float = 0.0,
    ) -> None:
        self._clock = clock
        self._focal = focal_px
        self._offset = gyro_offset
        self._readout = readout_s
        self._geometry: FrameGeometry | None = None
        self._regions: dict[int, _Region] = {}
        self._place = 0
        self._epoch = 0
        self._newest = -1
        self._captured = -np.inf
        self._restarts: deque[float] = deque(maxlen=RESTARTS + 1)
        self._maps: list[mmap.mmap] = []
        self._descriptors: list[int] = []
        self.restarts = 0
        self.last_seconds = 0.0
        """Time the process took for the newest frame, from its arrival there to the answer."""
        self._start()

    # Life -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "glasses.stabiliser.process", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )
        self._ready = False

    def _wait_ready(self) -> None:
        if self._ready:
            return
        self._control.settimeout(START_PATIENCE_S)
        try:
            answer = self._control.recv(64)
        except TimeoutError as error:
            raise StabiliserDown("the stabiliser's process does not start") from error
        if answer != READY:
            raise StabiliserDown(f"the stabiliser's process ended with code {self._process.wait()} before it began")
        self._control.setblocking(False)
        self._ready = True

    def _begin(self, geometry: FrameGeometry) -> None:
        """Give the process its memory and its size of frames."""
        self._wait_ready()
        if not self._maps:
            for size in (input_bytes(geometry), memory_bytes(geometry)):
                descriptor = os.memfd_create("wayword-stabiliser")
                os.ftruncate(descriptor, size)
                self._descriptors.append(descriptor)
                self._maps.append(mmap.mmap(descriptor, size))
            whole = np.frombuffer(self._maps[1], np.uint8)
            whole.fill(0)
            self._memory = Memory(geometry, memoryview(self._maps[1]))
            self._memory.clear()
            self._inputs = np.frombuffer(self._maps[0], np.uint8).reshape(INPUTS, geometry.height, geometry.width)
            self._inputs.fill(0)
        self._frames, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        focal = self._focal()
        known = -1.0 if focal is None else focal
        head = BEGIN.pack(geometry.width, geometry.height, known, self._offset, self._readout)
        with theirs:
            socket.send_fds(self._control, [head], [*self._descriptors, theirs.fileno()])
        self._geometry = geometry

    def close(self) -> None:
        """End the processes."""
        self._control.close()
        if self._geometry is not None:
            self._frames.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    @property
    def process_id(self) -> int:
        """Of the parent process."""
        return self._process.pid

    # The seam ---------------------------------------------------------------------------------------------------

    def buffer(self, width: int, height: int) -> Luma:
        """Where the next frame may be written, so that `observe` need not copy it: uint8 (height, width).

        Raises:
            FrameRefused: another size than before, or one that cannot be followed.
            StabiliserDown: the process cannot be started.
        """
        if self._geometry is None:
            self._begin(FrameGeometry.of(width, height))
        assert self._geometry is not None
        if (width, height) != (self._geometry.width, self._geometry.height):
            raise FrameRefused(f"a frame of {width}x{height} pixels among others of another size")
        place: Luma = self._inputs[self._place]
        return place

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """See `glasses.stabiliser.Stabiliser.observe`.

        Raises:
            FrameRefused: wrong shape or type, or older than the one before.
            StabiliserDown: the process died too often.
        """
        if not isinstance(luma, np.ndarray) or luma.ndim != 2:
            raise FrameRefused("a frame must be an array of two dimensions")
        target = self.buffer(luma.shape[1], luma.shape[0])
        assert self._geometry is not None
        self._geometry.check(luma)
        if not np.isfinite(captured) or frame_id <= self._newest or captured <= self._captured:
            raise FrameRefused(f"frame {frame_id} at {captured:.6f} s is not later than the one before")
        if not np.shares_memory(luma, target):
            target[:] = luma
        self._newest, self._captured = frame_id, captured
        packet = pack_frame(FramePacket(frame_id, self._place, captured, gyro))
        self._place = (self._place + 1) % INPUTS
        answer = self._ask(packet, frame_id)
        if isinstance(answer, RefusedPacket):
            raise FrameRefused(answer.reason)
        if answer is None:
            return View(frame_id, captured, {region_id: self._lost(one) for region_id, one in self._regions.items()})
        self.last_seconds = answer.seconds
        return self._taken(answer.view)

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """See `glasses.stabiliser.Stabiliser.add`.

        Raises:
            RegionRefused: see there.
        """
        if self._geometry is None:
            return
        checked_quads(quads, self._geometry)
        known = self._regions.get(region_id)
        region = _Region(as_quads(quads), frame_id)
        if known is not None:
            region.pose, region.seen = known.pose, known.seen
        self._regions[region_id] = region
        self._tell(Add(region_id, region.quads, frame_id))

    def remove(self, region_id: int) -> None:
        """See `glasses.stabiliser.Stabiliser.remove`."""
        if self._regions.pop(region_id, None) is not None:
            self._tell(Remove(region_id))

    # Packets ----------------------------------------------------------------------------------------------------

    def _tell(self, order: Add | Remove) -> None:
        # Without an answer: when the process is dying, the regions are named again once it is back.
        with contextlib.suppress(OSError):
            self._frames.send(pack_order(order))

    def _ask(self, packet: bytes, frame_id: int) -> ViewPacket | RefusedPacket | None:
        """Send a frame and wait for its answer; None when it does not come."""
        end = self._clock.monotonic() + FRAME_PATIENCE_S
        with contextlib.suppress(OSError):
            self._frames.send(packet)
        while (left := end - self._clock.monotonic()) > 0:
            ready, _, _ = select.select([self._frames, self._control], [], [], left)
            if self._control in ready:
                self._notice_restarts()
                return None
            if self._frames in ready:
                data = self._frames.recv(LARGEST)
                if not data:
                    self._notice_restarts()
                    return None
                answer = unpack_answer(data)
                of = answer.view.frame_id if isinstance(answer, ViewPacket) else answer.frame_id
                if answer.epoch == self._epoch and of == frame_id:
                    return answer
        return None

    @staticmethod
    def _lost(region: _Region) -> Pose:
        if region.pose is None:
            return Pose(np.eye(3), PoseState.LOST, 0.0, region.keyframe)
        return replace(region.pose, state=PoseState.LOST, quality=0.0)

    def _taken(self, view: View) -> View:
        """Turn the process's poses into the caller's: after a restart they begin at a later frame."""
        poses: dict[int, Pose] = {}
        for region_id, pose in view.poses.items():
            region = self._regions.get(region_id)
            if region is None:
                continue
            if region.resumed is not None and pose.keyframe == region.resumed[0]:
                whole = pose.homography @ region.resumed[1]
                pose = replace(pose, homography=whole / whole[2, 2], keyframe=region.keyframe)
            region.pose, region.seen = pose, view.frame_id
            poses[region_id] = pose
        return replace(view, poses=poses)

    # Restarts ---------------------------------------------------------------------------------------------------

    def _notice_restarts(self) -> None:
        """Read what the parent process says; start it anew if it has gone.

        Raises:
            StabiliserDown: too many restarts.
        """
        while True:
            try:
                data = self._control.recv(64)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._replace_parent()
                return
            self._epoch, _ = RESTARTED.unpack(data)
            self._count_restart()
            self._name_again()

    def _count_restart(self) -> None:
        self.restarts += 1
        now = self._clock.monotonic()
        self._restarts.append(now)
        if len(self._restarts) > RESTARTS and now - self._restarts[0] < RESTARTS_WITHIN_S:
            raise StabiliserDown(f"the stabiliser's process died {len(self._restarts)} times in a short while")

    def _replace_parent(self) -> None:
        self._count_restart()
        self._control.close()
        self._frames.close()
        self._process.kill()
        self._process.wait()
        assert self._geometry is not None
        self._memory.planes.active.fill(0)
        self._start()
        self._epoch = 0
        self._begin(self._geometry)
        self._name_again()

    def _name_again(self) -> None:
        """Follow all regions from where they were last seen: that frame is still remembered."""
        for region_id, region in list(self._regions.items()):
            if region.pose is None or region.pose.state is PoseState.LOST or region.pose.keyframe != region.keyframe:
                region.resumed = None
                self._tell(Add(region_id, region.quads, region.keyframe))
                continue
            to_seen = region.pose.homography
            quads = tuple(transform(to_seen, quad) for quad in region.quads)
            region.resumed = (region.seen, to_seen)
            self._tell(Add(region_id, quads, region.seen))

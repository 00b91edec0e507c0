"""Trackers of opencv-contrib behind the stabiliser's seam; they run in a child process with their own OpenCV.

Wayword uses OpenCV 5, which has none of them, and two OpenCVs do not fit into one process. `make bench-stabiliser`
puts the contrib build into a folder of its own, which only the child sees.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from glasses.stabiliser import GyroSamples, Luma, Pose, PoseState, View
from shared.errors import InputError
from shared.geometry import Homography, Quad

FOLDER_VARIABLE: Final = "WAYWORD_CONTRIB"
WORKER: Final = "simulations.bench.stabiliser.contrib_worker"
Box = tuple[float, float, float, float]


def contrib_folder() -> Path:
    """Where the contrib build is looked for: $WAYWORD_CONTRIB, else `contrib` in the virtual environment."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path(sys.prefix) / "contrib"


def why_missing() -> str:
    """The reason why these trackers cannot run; empty when they can."""
    folder = contrib_folder()
    if (folder / "cv2").is_dir():
        return ""
    return "opencv-contrib is not installed; `make bench-stabiliser` does that"


class ContribStabiliser:
    """Implements `glasses.stabiliser.Stabiliser` for regions of one line; a box around it is what is followed.

    The pose of a box is a shift and a scale along each axis. Use as a context manager: it holds a child process.

    Args:
        kind: one of `contrib_worker.KINDS`.

    Attributes:
        observe_cpu: seconds of the child's CPU in the trackers, for the newest frame.
        observe_wall: seconds by the clock, likewise.
        version: of the child's OpenCV.

    Raises:
        InputError: the child does not start.
    """

    def __init__(self, kind: str) -> None:
        environment = dict(os.environ, PYTHONPATH=str(contrib_folder()))
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._boxes: dict[int, tuple[int, Box]] = {}
        self._newest = -1
        self.observe_cpu = 0.0
        self.observe_wall = 0.0
        self.version = str(self._answer()["version"])

    def __enter__(self) -> ContribStabiliser:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pipe(self._child.stdin).close()
        self._child.wait()
        self._pipe(self._child.stdout).close()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise InputError("the child process of opencv-contrib has no pipe")
        return pipe

    def _answer(self) -> dict[str, Any]:
        line = self._pipe(self._child.stdout).readline()
        if not line:
            raise InputError("the child process of opencv-contrib died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ask(self, order: dict[str, Any], pixels: Luma | None = None) -> dict[str, Any]:
        pipe = self._pipe(self._child.stdin)
        pipe.write(json.dumps(order).encode() + b"\n")
        if pixels is not None:
            pipe.write(np.ascontiguousarray(pixels).data)
        pipe.flush()
        return self._answer()

    def observe(self, frame_id: int, luma: Luma, captured: float, gyro: GyroSamples | None = None) -> View:
        """See `Stabiliser.observe`; the gyro is not used."""
        answer = self._ask({"frame": list(luma.shape)}, luma)
        self.observe_cpu, self.observe_wall = answer["cpu"], answer["wall"]
        self._newest = frame_id
        poses = {}
        for region, (keyframe, start) in self._boxes.items():
            now = answer["boxes"].get(str(region))
            if now is None:
                poses[region] = Pose(np.eye(3), PoseState.LOST, 0.0, keyframe)
            else:
                x, y, width, height = now
                homography = _box_motion(start, (x, y, width, height))
                poses[region] = Pose(homography, PoseState.TRACKED, 1.0, keyframe)
        return View(frame_id, captured, poses)

    def add(self, region_id: int, quads: Sequence[Quad], frame_id: int) -> None:
        """See `Stabiliser.add`; the quads are taken for those of the newest frame."""
        points = np.concatenate(list(quads))
        low, high = points.min(axis=0), points.max(axis=0)
        box = [float(value) for value in (*low, *(high - low))]
        answer = self._ask({"add": str(region_id), "box": box})
        if answer["added"]:
            x, y, width, height = answer["box"]
            self._boxes[region_id] = (self._newest, (x, y, width, height))

    def remove(self, region_id: int) -> None:
        """See `Stabiliser.remove`."""
        self._boxes.pop(region_id, None)
        self._ask({"remove": str(region_id)})


def _box_motion(start: Box, now: Box) -> Homography:
    """Shift and scale that take one box to another."""
    across, down = now[2] / start[2], now[3] / start[3]
    return np.array([[across, 0, now[0] - across * start[0]], [0, down, now[1] - down * start[1]], [0, 0, 1.0]])

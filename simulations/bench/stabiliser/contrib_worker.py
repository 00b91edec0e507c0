"""Child process with the trackers of opencv-contrib: `python -P -m simulations.bench.stabiliser.contrib_worker KIND`.

It runs under another OpenCV than the rest of Wayword (PYTHONPATH names its folder), so nothing of Wayword's may be
imported here, and `cv2` is the contrib build's. Orders come on standard input, each a line of JSON, a frame's pixels
after its line; each is answered by a line of JSON on standard output.

| order | answer |
|---|---|
| `{"frame": [height, width]}` + pixels | `{"cpu": s, "wall": s, "boxes": {key: [x, y, w, h]}}`, lost ones left out |
| `{"add": key, "box": [x, y, w, h]}` | `{"added": bool}`; in the newest frame |
| `{"remove": key}` | `{}` |
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, BinaryIO

import cv2
import numpy as np

KINDS = ("kcf", "csrt", "medianflow")
MINIMUM_SIDE_PX = 4


def _tracker(kind: str) -> Any:
    # Looked up by name: the OpenCV that the type checker sees has none of them.
    if kind == "medianflow":
        return getattr(cv2, "legacy").TrackerMedianFlow_create()  # noqa: B009 - absent in OpenCV 5
    return getattr(cv2, {"kcf": "TrackerKCF_create", "csrt": "TrackerCSRT_create"}[kind])()


class Trackers:
    """One tracker for each box.

    Args:
        kind: one of `KINDS`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._trackers: dict[str, Any] = {}
        self._picture: Any = None

    def frame(self, luma: Any) -> dict[str, Any]:
        """Update all boxes; time is that of the updates alone, in seconds."""
        # KCF's colour names need three channels; the conversion is not counted against it.
        self._picture = cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR) if self._kind == "kcf" else luma
        boxes = {}
        wall, cpu = time.perf_counter(), time.thread_time()
        for key, tracker in self._trackers.items():
            try:
                found, box = tracker.update(self._picture)
            except cv2.error:  # a box that has left the picture
                continue
            if found:
                boxes[key] = [float(value) for value in box]
        return {"cpu": time.thread_time() - cpu, "wall": time.perf_counter() - wall, "boxes": boxes}

    def add(self, key: str, box: list[float]) -> dict[str, Any]:
        """Begin with a box of the newest frame, clipped to the picture."""
        if self._picture is None:
            return {"added": False}
        height, width = self._picture.shape[:2]
        left, top = max(round(box[0]), 0), max(round(box[1]), 0)
        right, bottom = min(round(box[0] + box[2]), width), min(round(box[1] + box[3]), height)
        if min(right - left, bottom - top) < MINIMUM_SIDE_PX:
            return {"added": False}
        tracker = _tracker(self._kind)
        try:
            tracker.init(self._picture, (left, top, right - left, bottom - top))
        except cv2.error:
            return {"added": False}
        self._trackers[key] = tracker
        return {"added": True, "box": [left, top, right - left, bottom - top]}

    def remove(self, key: str) -> dict[str, Any]:
        """Forget a box."""
        self._trackers.pop(key, None)
        return {}


def serve(kind: str, orders: BinaryIO, answers: BinaryIO) -> None:
    """Answer orders until there are no more."""
    trackers = Trackers(kind)
    for line in orders:
        order = json.loads(line)
        if "frame" in order:
            height, width = order["frame"]
            answer = trackers.frame(np.frombuffer(orders.read(height * width), np.uint8).reshape(height, width))
        elif "add" in order:
            answer = trackers.add(order["add"], order["box"])
        else:
            answer = trackers.remove(order["remove"])
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    cv2.setNumThreads(1)
    # The first line tells which OpenCV answers.
    sys.stdout.buffer.write(json.dumps({"version": cv2.__version__}).encode() + b"\n")
    sys.stdout.buffer.flush()
    serve(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)

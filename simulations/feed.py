"""The street walk as a camera: a process that serves frames over a socket, newest first, as `glasses.camera` asks.

One byte ``N`` asks for the frame of *now*; the answer is the header ``<4sHHQdfIQ`` (magic ``WWF2``, width, height,
frame id, capture time in seconds of the monotonic clock, focal length in pixels, number of gyro readings, bytes of the
picture), the readings since the frame before (float64 time, and rad/s about x, y and z) and BGR rows. A width of 0 ends
the stream. A slow reader misses frames, as with a real camera, and never gets old ones; it gets all gyro readings.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from shared.clock import Clock, SystemClock
from simulations.scene import FOCAL, HEIGHT, WIDTH, StreetWalk
from simulations.sequences.gyro import angular_rates, biases, noise

HEADER = struct.Struct("<4sHHQdfIQ")
MAGIC = b"WWF2"
GYRO_STEP_S = 1 / 200
MAX_STEP_S = 1 / 12


class HeadGyro:
    """The gyro on the head that walks: noisy, biased readings on the clock of the frames.

    Args:
        walk: says how the head is turned.
    """

    def __init__(self, walk: StreetWalk) -> None:
        self._walk = walk
        self._rng = np.random.default_rng(walk.seed + 1)
        self._bias = biases(self._rng)
        self._before: tuple[float, float] | None = None

    def until(self, t: float, now: float) -> npt.NDArray[np.float64]:
        """Readings since the frame before, float64 (n, 4): time on the frames' clock, and rad/s about x, y and z.

        The walk may go slower than the clock: the head then turns slower, too.

        Args:
            t: seconds into the walk of the present frame.
            now: its capture time, monotonic seconds.
        """
        before, self._before = self._before, (t, now)
        if before is None or now <= before[1]:
            return np.zeros((0, 4))
        steps = max(1, round((now - before[1]) / GYRO_STEP_S))
        moments = np.linspace(before[0], t, steps + 1)
        turned = np.stack([self._walk.pose(float(moment)).rotation for moment in moments])
        rates = angular_rates(turned[:-1], turned[1:], (now - before[1]) / steps)
        times = before[1] + (now - before[1]) * np.arange(steps) / steps
        return np.column_stack([times, rates + self._bias + noise(self._rng, steps)])


def serve(path: Path, walk: StreetWalk, *, clock: Clock, truth: Path | None = None) -> int:
    """Serve one walk to one reader at a time, until its end or until the last reader has gone for good.

    The walk starts with the first request, so a slow start of the other processes costs no signs. A reader that comes
    back (a restarted glasses process) finds the walk where it was. The wearer never moves on by more than `MAX_STEP_S`
    between two frames: a machine too slow for a camera's rate sees the walk in slow motion, not in leaps.

    Args:
        path: unix socket to create.
        walk: the world.
        clock: gives the capture times.
        truth: where to write one JSON line a frame with the quads of the signs in it.

    Returns:
        Number of frames served.
    """
    frames = 0
    t = 0.0
    previous: float | None = None
    gyro = HeadGyro(walk)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(1)
        print("feed: ready", flush=True)
        log = truth.open("w", encoding="utf-8", buffering=1) if truth else None
        try:
            ended = False
            while not ended:
                reader, _ = listener.accept()
                with reader:
                    while _asks(reader):
                        now = clock.monotonic()
                        t += 0.0 if previous is None else min(now - previous, MAX_STEP_S)
                        previous = now
                        if t > walk.duration:
                            reader.sendall(HEADER.pack(MAGIC, 0, 0, frames, now, 0.0, 0, 0))
                            ended = True
                            break
                        frame = walk.render(t)
                        readings = gyro.until(t, now)
                        head = HEADER.pack(MAGIC, WIDTH, HEIGHT, frames, now, FOCAL, len(readings), frame.nbytes)
                        try:
                            reader.sendall(head + readings.tobytes())
                            reader.sendall(frame.data)
                        except (BrokenPipeError, ConnectionResetError):
                            break  # the glasses died: the walk goes on, wait for the next reader
                        if log:
                            signs = {str(k): [q.round(2).tolist() for q in v] for k, v in walk.sign_quads(t).items()}
                            record = {"frame_id": frames, "t": now, "walk": round(t, 4), "signs": signs}
                            log.write(json.dumps(record) + "\n")
                        frames += 1
        finally:
            if log:
                log.close()
            path.unlink(missing_ok=True)
    return frames


def _asks(reader: socket.socket) -> bool:
    """Whether the reader wants another frame; one that died with a frame half read wants none."""
    try:
        return reader.recv(1) == b"N"
    except ConnectionResetError:
        return False


def main() -> int:
    """Entry point of the child process the demo starts."""
    parser = argparse.ArgumentParser(prog="python -m simulations.feed", description="serve the generated street walk")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--truth", type=Path, help="write the signs of every served frame here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    serve(arguments.socket, StreetWalk(arguments.seed), clock=SystemClock(), truth=arguments.truth)
    return 0


if __name__ == "__main__":
    sys.exit(main())

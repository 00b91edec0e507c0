"""The scene feed behaves as a camera does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from glasses.camera import SCENE_HEADER, SCENE_MAGIC
from glasses.stabiliser import GyroSamples
from glasses.stabiliser.gyro import GyroBuffer
from simulations.feed import HEADER, MAGIC, MAX_STEP_S, HeadGyro, serve
from simulations.scene import FOCAL, HEIGHT, WIDTH, StreetWalk


class SteppedClock:
    """Moves on by a fixed step at every look."""

    def __init__(self, step: float) -> None:
        self.now = 100.0
        self.step = step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the feed does not wait")


class ShortWalk(StreetWalk):
    """The first half second."""

    @property
    def duration(self) -> float:
        return 0.5


def request(reader: socket.socket) -> tuple[int, float, bytes]:
    reader.sendall(b"N")
    header = b""
    while len(header) < HEADER.size:
        header += reader.recv(HEADER.size - len(header))
    magic, width, height, frame_id, stamp, focal, readings, size = HEADER.unpack(header)
    assert magic == MAGIC
    assert focal == (FOCAL if width else 0)
    gyro = bytearray()
    while len(gyro) < 32 * readings:
        gyro += reader.recv(32 * readings - len(gyro))
    payload = bytearray()
    while len(payload) < size:
        payload += reader.recv(size - len(payload))
    assert (width, height) in {(WIDTH, HEIGHT), (0, 0)}
    return frame_id, stamp, bytes(payload)


def connect(path: Path, thread: threading.Thread) -> socket.socket:
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    while True:
        try:
            reader.connect(str(path))
            return reader
        except (FileNotFoundError, ConnectionRefusedError):
            assert thread.is_alive()


def test_a_walk_is_served_to_its_end_across_a_reader_that_comes_back(tmp_path: Path) -> None:
    path, truth = tmp_path / "s", tmp_path / "truth.jsonl"
    walk = ShortWalk(1)
    served: list[int] = []
    clock = SteppedClock(MAX_STEP_S * 3)
    thread = threading.Thread(target=lambda: served.append(serve(path, walk, clock=clock, truth=truth)), daemon=True)
    thread.start()
    with connect(path, thread) as reader:
        first = request(reader)
        assert len(first[2]) == WIDTH * HEIGHT * 3
        assert np.frombuffer(first[2], np.uint8).std() > 10
    with connect(path, thread) as reader:
        frames = [request(reader)]
        while frames[-1][2]:
            frames.append(request(reader))
    thread.join(20)
    stamps = [first[1], *(frame[1] for frame in frames)]
    assert stamps == sorted(stamps)
    assert served == [len(frames)]
    records = [json.loads(line) for line in truth.read_text(encoding="utf-8").splitlines()]
    assert [record["frame_id"] for record in records] == list(range(len(frames)))
    assert "0" in records[0]["signs"]
    # The machine is three times too slow: the walk goes on in steps of at most MAX_STEP_S all the same.
    steps = np.diff([record["walk"] for record in records])
    assert np.allclose(steps, MAX_STEP_S, atol=1e-3)


def test_a_reader_that_dies_within_a_frame_does_not_end_the_walk(tmp_path: Path) -> None:
    path = tmp_path / "s"
    clock = SteppedClock(MAX_STEP_S)
    thread = threading.Thread(target=lambda: serve(path, ShortWalk(1), clock=clock), daemon=True)
    thread.start()
    with connect(path, thread) as reader:
        reader.sendall(b"N")
        left = WIDTH * HEIGHT * 3 + HEADER.size - 1000
        while left:
            left -= len(reader.recv(left))
        reader.recv(1, socket.MSG_PEEK)  # the last bytes are here, and are never read: the feed's next look is an error
    with connect(path, thread) as reader:
        while request(reader)[2]:
            pass
    thread.join(20)
    assert not thread.is_alive()


def test_the_header_is_what_the_glasses_expect() -> None:
    assert (HEADER.format, MAGIC) == (SCENE_HEADER.format, SCENE_MAGIC)


def test_the_gyro_turns_with_the_walk_on_the_clock_of_the_frames() -> None:
    walk = StreetWalk(3)
    gyro = HeadGyro(walk)
    assert gyro.until(5.0, 100.0).shape == (0, 4)
    samples = [gyro.until(5.0 + 0.03 * step, 100.0 + 0.06 * step) for step in range(1, 8)]
    readings = np.concatenate(samples)
    assert np.all(np.diff(readings[:, 0]) > 0)
    buffer = GyroBuffer()
    buffer.take(GyroSamples(readings[:, 0], readings[:, 1:]))
    turned = np.zeros((3, 3))
    assert buffer.rotation(100.0, 100.42, turned)
    expected = walk.pose(5.21).rotation @ walk.pose(5.0).rotation.T
    # Half a degree a second of bias and noise, for less than half a second.
    assert np.abs(turned - expected).max() < np.radians(0.5)
    assert np.abs(expected - np.eye(3)).max() > np.radians(1)


def test_the_feed_is_a_process_with_help() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "simulations.feed", "--help"], capture_output=True, text=True, check=True
    )
    assert "--socket" in shown.stdout

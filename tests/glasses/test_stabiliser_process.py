"""The stabiliser in a process of its own: the same poses through shared memory, and life after its death."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from signboards import Wall, errors_between, shift

from glasses.camera import luma_of
from glasses.stabiliser import GyroSamples, Luma, PoseState, View
from glasses.stabiliser.client import RESTARTS, ProcessStabiliser
from glasses.stabiliser.packets import (
    Add,
    FramePacket,
    RefusedPacket,
    Remove,
    ViewPacket,
    pack_frame,
    pack_order,
    pack_refused,
    pack_view,
    unpack_answer,
    unpack_request,
)
from glasses.stabiliser.warm import warm
from shared.clock import SystemClock
from shared.errors import FrameRefused, RegionRefused, StabiliserDown, StorageError
from shared.geometry import Homography, Quad, transform

pytestmark = pytest.mark.timeout(300)  # the first test of a new checkout compiles the kernels

FRAME = 1 / 30
MANY = 600
"""Frames after which a region that has no pose will never have one; each is a round trip, not a wait."""


@pytest.fixture(scope="module")
def wall() -> Wall:
    wall = Wall(2000, 1100)
    wall.sign("Saída de\nemergência", 600, 350)
    return wall


@pytest.fixture
def stabiliser() -> Iterator[ProcessStabiliser]:
    made = ProcessStabiliser(clock=SystemClock(), focal_px=lambda: 1000.0)
    try:
        yield made
    finally:
        made.close()


def _path(step: int) -> Homography:
    return shift(-300 + 40 * np.sin(step / 20), -150)


class Player:
    """Shows a wall to a stabiliser, frame by frame."""

    def __init__(self, stabiliser: ProcessStabiliser, wall: Wall) -> None:
        self.stabiliser = stabiliser
        self.wall = wall
        self.step = -1
        self.quads: list[Quad] = []

    def next(self) -> View:
        self.step += 1
        luma = luma_of(self.wall.seen(_path(self.step)))
        view = self.stabiliser.observe(self.step, luma, self.step * FRAME)
        if self.step == 0:
            self.quads = [transform(_path(0), quad) for quad in self.wall.quads[0]]
            self.stabiliser.add(1, self.quads, 0)
        return view

    def until_tracked(self) -> View:
        for _ in range(MANY):
            view = self.next()
            if 1 in view.poses and view.poses[1].state is PoseState.TRACKED:
                return view
        raise AssertionError(f"not tracked within {MANY} frames")

    def error(self, view: View) -> float:
        there = transform(_path(self.step), self.wall.quads[0][0])
        return errors_between(there, transform(view.poses[1].homography, self.quads[0]))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def test_a_sign_is_followed_and_frames_may_be_written_where_no_copy_is_needed(
    stabiliser: ProcessStabiliser, wall: Wall
) -> None:
    player = Player(stabiliser, wall)
    player.until_tracked()
    for _ in range(20):
        view = player.next()
        assert player.error(view) < 0.5
    assert view.poses[1].keyframe == 0
    place = stabiliser.buffer(1280, 720)
    place[:] = luma_of(wall.seen(_path(player.step)))
    view = stabiliser.observe(player.step + 1, place, (player.step + 1) * FRAME)
    assert player.error(view) < 0.5
    assert stabiliser.last_seconds > 0
    stabiliser.remove(1)
    assert stabiliser.observe(player.step + 2, place, (player.step + 2) * FRAME).poses == {}


@pytest.mark.parametrize("child", [0, 1], ids=["frame path", "mapper"])
def test_when_a_process_dies_another_follows_the_signs_from_where_they_were(
    stabiliser: ProcessStabiliser, wall: Wall, child: int
) -> None:
    player = Player(stabiliser, wall)
    player.until_tracked()
    for _ in range(10):
        player.next()
    os.kill(_children(stabiliser.process_id)[child], signal.SIGKILL)
    while not stabiliser.restarts:
        player.next()
        assert player.step < MANY
    died = player.step
    view = player.until_tracked()
    # Within a second of frames; the pose still begins at the sign's own keyframe.
    assert player.step - died < 30
    assert view.poses[1].keyframe == 0
    assert player.error(view) < 1


def test_when_everything_dies_it_is_started_anew(stabiliser: ProcessStabiliser, wall: Wall) -> None:
    player = Player(stabiliser, wall)
    player.until_tracked()
    os.kill(stabiliser.process_id, signal.SIGKILL)
    while not stabiliser.restarts:
        player.next()
        assert player.step < MANY
    assert player.error(player.until_tracked()) < 1


def test_a_process_that_dies_again_and_again_is_given_up(stabiliser: ProcessStabiliser, wall: Wall) -> None:
    player = Player(stabiliser, wall)
    player.until_tracked()

    def die() -> None:
        before = stabiliser.restarts
        os.kill(_children(stabiliser.process_id)[0], signal.SIGKILL)
        while stabiliser.restarts == before:
            player.next()

    for _ in range(RESTARTS):
        die()
    with pytest.raises(StabiliserDown):
        die()


def test_it_ends_with_the_glasses(wall: Wall) -> None:
    stabiliser = ProcessStabiliser(clock=SystemClock())
    Player(stabiliser, wall).until_tracked()
    pids = [stabiliser.process_id, *_children(stabiliser.process_id)]
    assert len(pids) == 3
    stabiliser.close()
    assert not any(_lives(pid) for pid in pids)


def test_bad_frames_and_quads_are_refused_and_nothing_is_lost(stabiliser: ProcessStabiliser, wall: Wall) -> None:
    player = Player(stabiliser, wall)
    player.until_tracked()
    good = luma_of(wall.seen(_path(player.step)))
    bad: list[tuple[int, Luma, float]] = [
        (player.step, good, 100.0),
        (player.step + 1, good, -1.0),
        (player.step + 1, good, float("nan")),
        (player.step + 1, good[:, ::2], 100.0),
        (player.step + 1, good.astype(np.float32), 100.0),  # type: ignore[arg-type]  # what is to be refused
        (player.step + 1, np.zeros((360, 640), np.uint8), 100.0),
    ]
    for frame_id, luma, captured in bad:
        with pytest.raises(FrameRefused):
            stabiliser.observe(frame_id, luma, captured)
    with pytest.raises(RegionRefused):
        stabiliser.add(2, [np.zeros((4, 2), np.float32)], player.step)
    assert player.error(player.next()) < 0.5
    assert not stabiliser.restarts


def test_a_disk_that_is_full_is_one_line_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("glasses.stabiliser.warm._play", full)
    with pytest.raises(StorageError, match="No space left on device"):
        warm()


def test_packets_arrive_as_they_were_sent() -> None:
    gyro = GyroSamples(np.arange(3.0), np.arange(9.0).reshape(3, 3))
    frame = unpack_request(pack_frame(FramePacket(7, 2, 1.5, gyro)))
    assert isinstance(frame, FramePacket)
    assert (frame.frame_id, frame.place, frame.captured) == (7, 2, 1.5)
    assert frame.gyro is not None
    np.testing.assert_array_equal(frame.gyro.times, gyro.times)
    np.testing.assert_array_equal(frame.gyro.rates, gyro.rates)
    plain = unpack_request(pack_frame(FramePacket(7, 2, 1.5, None)))
    assert isinstance(plain, FramePacket)
    assert plain.gyro is None
    assert unpack_request(pack_order(Remove(4))) == Remove(4)
    order = unpack_request(pack_order(Add(4, (np.eye(4, 2, dtype=np.float32),), 9)))
    assert isinstance(order, Add)
    assert order.frame_id == 9
    empty = unpack_answer(pack_view(ViewPacket(3, View(1, 2.0, {}), 0.5)))
    assert empty == ViewPacket(3, View(1, 2.0, {}, None), 0.5)
    assert unpack_answer(pack_refused(RefusedPacket(1, 2, "why"))) == RefusedPacket(1, 2, "why")


@pytest.mark.parametrize("data", [b"", b"x", b"f", b"v123"])
def test_bytes_that_are_no_packet_are_refused(data: bytes) -> None:
    for unpack in (unpack_request, unpack_answer):
        with pytest.raises(ValueError, match=r"packet|unpack"):
            unpack(data)

"""What crosses between the firmware and the stabiliser's process: packets of bytes over a local socket.

Frames and poses, which cross at every frame, are fixed structures; the rare orders are pickled, for both ends are of
one program and nobody else has the socket.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from glasses.stabiliser import GyroSamples, Pose, PoseState, View
from shared.geometry import Quad

LARGEST: Final = 1 << 17
"""Bytes of a packet."""
FRAME_HEAD: Final = struct.Struct("<cqqdi")
"""Kind, frame id, input place, capture time, gyro readings (-1 for none)."""
VIEW_HEAD: Final = struct.Struct("<cqqdi?d")
"""Kind, epoch, frame id, capture time, poses, whether the motion is known, seconds it took."""
KIND_FRAME, KIND_ORDER, KIND_VIEW, KIND_REFUSED = b"f", b"o", b"v", b"r"
STATES: Final = tuple(PoseState)
MOST_GYRO: Final = 1024
"""Gyro readings of one packet; older ones are left out."""


@dataclass(frozen=True, slots=True)
class Add:
    """Follow a region; see `glasses.stabiliser.Stabiliser.add`."""

    region_id: int
    quads: tuple[Quad, ...]
    frame_id: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget a region."""

    region_id: int


@dataclass(frozen=True, slots=True)
class FramePacket:
    """A frame lies at a place of the input memory."""

    frame_id: int
    place: int
    captured: float
    gyro: GyroSamples | None


@dataclass(frozen=True, slots=True)
class ViewPacket:
    """The answer to a frame.

    Attributes:
        epoch: how often the process had been restarted.
        view: what the frame told.
        seconds: from the packet's arrival to the answer.
    """

    epoch: int
    view: View
    seconds: float


@dataclass(frozen=True, slots=True)
class RefusedPacket:
    """A frame or an order was refused; the text says why."""

    epoch: int
    frame_id: int
    reason: str


def pack_frame(packet: FramePacket) -> bytes:
    """A frame's packet."""
    gyro = packet.gyro
    if gyro is None:
        return FRAME_HEAD.pack(KIND_FRAME, packet.frame_id, packet.place, packet.captured, -1)
    times = np.asarray(gyro.times, np.float64)[-MOST_GYRO:]
    rates = np.asarray(gyro.rates, np.float64)[-MOST_GYRO:]
    if rates.shape != (len(times), 3):
        return FRAME_HEAD.pack(KIND_FRAME, packet.frame_id, packet.place, packet.captured, -1)
    head = FRAME_HEAD.pack(KIND_FRAME, packet.frame_id, packet.place, packet.captured, len(times))
    return head + times.tobytes() + rates.tobytes()


def pack_order(order: Add | Remove) -> bytes:
    """An order's packet."""
    return KIND_ORDER + pickle.dumps(order)


def unpack_request(data: bytes) -> FramePacket | Add | Remove:
    """What the firmware sent.

    Raises:
        ValueError: it is no packet.
    """
    if data[:1] == KIND_ORDER:
        order = pickle.loads(data[1:])
        if not isinstance(order, Add | Remove):
            raise ValueError(f"an order of type {type(order).__name__}")
        return order
    if data[:1] != KIND_FRAME:
        raise ValueError(f"a packet of kind {data[:1]!r}")
    if len(data) < FRAME_HEAD.size:
        raise ValueError(f"a packet of {len(data)} bytes")
    _, frame_id, place, captured, count = FRAME_HEAD.unpack_from(data)
    gyro = None
    if count >= 0:
        values = np.frombuffer(data, np.float64, 4 * count, FRAME_HEAD.size)
        gyro = GyroSamples(values[:count], values[count:].reshape(count, 3))
    return FramePacket(frame_id, place, captured, gyro)


def pack_view(packet: ViewPacket) -> bytes:
    """The packet of what a frame told."""
    view = packet.view
    poses = view.poses
    known = view.motion is not None
    head = VIEW_HEAD.pack(KIND_VIEW, packet.epoch, view.frame_id, view.captured, len(poses), known, packet.seconds)
    parts = [head, np.asarray(view.motion if known else np.eye(3), np.float64).tobytes()]
    if poses:
        whole = np.array(
            [[region, STATES.index(pose.state), pose.keyframe] for region, pose in poses.items()], np.int64
        )
        quality = np.array([pose.quality for pose in poses.values()], np.float64)
        homographies = np.stack([pose.homography for pose in poses.values()])
        parts += [whole.tobytes(), quality.tobytes(), homographies.tobytes()]
    return b"".join(parts)


def pack_refused(packet: RefusedPacket) -> bytes:
    """The packet of a refusal."""
    return KIND_REFUSED + pickle.dumps(packet)


def unpack_answer(data: bytes) -> ViewPacket | RefusedPacket:
    """What the stabiliser's process sent.

    Raises:
        ValueError: it is no packet.
    """
    if data[:1] == KIND_REFUSED:
        refused = pickle.loads(data[1:])
        if not isinstance(refused, RefusedPacket):
            raise ValueError(f"a refusal of type {type(refused).__name__}")
        return refused
    if data[:1] != KIND_VIEW:
        raise ValueError(f"a packet of kind {data[:1]!r}")
    if len(data) < VIEW_HEAD.size:
        raise ValueError(f"a packet of {len(data)} bytes")
    _, epoch, frame_id, captured, count, known, seconds = VIEW_HEAD.unpack_from(data)
    at = VIEW_HEAD.size
    motion = np.frombuffer(data, np.float64, 9, at).reshape(3, 3)
    at += 72
    names = np.frombuffer(data, np.int64, 3 * count, at).reshape(count, 3)
    at += 24 * count
    quality = np.frombuffer(data, np.float64, count, at)
    homographies = np.frombuffer(data, np.float64, 9 * count, at + 8 * count).reshape(count, 3, 3)
    poses: Mapping[int, Pose] = {
        int(names[i, 0]): Pose(homographies[i], STATES[names[i, 1]], float(quality[i]), int(names[i, 2]))
        for i in range(count)
    }
    return ViewPacket(epoch, View(frame_id, captured, poses, motion if known else None), seconds)


def as_quads(quads: Sequence[Quad]) -> tuple[Quad, ...]:
    """Quads that survive the caller's changing them."""
    return tuple(np.array(quad, np.float32) for quad in quads)

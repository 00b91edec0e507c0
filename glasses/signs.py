"""The signs in view: which are known, what became of each, and when one is worth sending again.

The registry lives on the event loop; nothing here waits or draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt

from glasses.exchange import SignReading
from glasses.regions import outer_quad
from glasses.stabiliser import Pose, PoseState
from shared.geometry import Quad, area, side_lengths, transform
from shared.layout import overlap
from shared.models.detection import DetectedLine

SAME_IOU: Final = 0.4
"""Outer quads that overlap so much (intersection over union) are the same sign."""
PART_SHARE: Final = 0.6
"""A detection that lies so far inside a known sign is a part of it."""
GROWN_RATIO: Final = 1.6
"""A known sign of which so much more can be seen (by area) is read anew."""
CLOSER_SCALE: Final = 1.6
"""A poor answer is asked for again when the sign appears so much larger."""
SAME_LOOK: Final = 0.8
"""Correlation of the looks of a lost sign and a detected one, mean over the lines."""
KEEP_LOST_S: Final = 60.0
"""A lost sign's answer is remembered for so long."""
FOLLOW_LOST_S: Final = 4.0
"""The stabiliser tries to find a lost sign for so long; later only detection can."""
MAX_SIGNS: Final = 256
"""Above it the sign lost longest ago is forgotten."""

MAX_STRIPS_REMEMBERED: Final = 16
"""Strips of one sign whose answers are still taken."""

Look = npt.NDArray[np.float32]


class Delivery(Enum):
    """Where a sign's strip is."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Found:
    """One sign as detected in one frame.

    Attributes:
        lines: in reading order, frame pixels.
        background: BGR colour of the sign around its lines, shape (3,).
        looks: of each line (`strips.look_of`).
        whole_frame: it stands for the whole frame, which is sent because the detector is unsure.
    """

    lines: tuple[DetectedLine, ...]
    background: npt.NDArray[np.float64]
    looks: tuple[Look, ...]
    whole_frame: bool = False

    @property
    def outer(self) -> Quad:
        """The quad around its lines."""
        return outer_quad([line.quad for line in self.lines])


@dataclass(slots=True)
class Sign:
    """One sign the glasses know.

    Attributes:
        region_id: unique in a run.
        found: as detected in its keyframe.
        keyframe: id of the frame it was detected in.
        awaited: a newer detection and its frame's id: it becomes the keyframe once the stabiliser has caught up.
        pose: keyframe → newest frame.
        seen: when it was last not lost, monotonic seconds.
        sent_height: text height when it was last sent, in pixels.
        attempts: sends since it was last detected anew, or the phone came back.
        delivery: where its strip is.
        delivered: when the phone had it, monotonic seconds.
        reading: the best answer so far.
        sent: whether it was ever put in line for the phone.
        refused: the phone does not want it; it is not sent again.
        strips_sent: frame id and capture time (microseconds) of its last strips, oldest first.
        followed: whether the stabiliser is looking for it.
    """

    region_id: int
    found: Found
    keyframe: int
    pose: Pose
    seen: float
    outer: Quad
    sent_height: float
    attempts: int = 0
    delivery: Delivery = Delivery.WAITING
    delivered: float | None = None
    reading: SignReading | None = None
    sent: bool = False
    refused: bool = False
    strips_sent: list[tuple[int, int]] = field(default_factory=list)
    followed: bool = True
    awaited: tuple[Found, int] | None = None

    def follow_from(self, found: Found, frame_id: int) -> None:
        """Note that the stabiliser was asked to follow it from a newer detection."""
        self.followed = True
        self.awaited = (found, frame_id)

    def take(self, pose: Pose) -> None:
        """Take its pose in the newest frame; with the first from a newer keyframe, the detection there counts."""
        if self.awaited is not None and pose.keyframe == self.awaited[1]:
            self.found, self.keyframe = self.awaited
            self.outer = self.found.outer
            self.awaited = None
        if pose.keyframe == self.keyframe:
            self.pose = pose

    def lose(self) -> None:
        """Note that the stabiliser does not know where it is."""
        self.pose = replace(self.pose, state=PoseState.LOST, quality=0.0)

    def note_strip(self, frame_id: int, captured_us: int) -> None:
        """Remember that a strip of it is on its way."""
        if (frame_id, captured_us) not in self.strips_sent:
            self.strips_sent.append((frame_id, captured_us))
            del self.strips_sent[:-MAX_STRIPS_REMEMBERED]

    def is_answered_by(self, reading: SignReading) -> bool:
        """Whether a reading is of one of its strips, not of a sign that had its id in an earlier run."""
        return (reading.frame_id, reading.captured_us) in self.strips_sent

    @property
    def settled(self) -> bool:
        """Whether its final answer is there."""
        return self.reading is not None and self.reading.rank.settled

    @property
    def in_view(self) -> bool:
        """Whether the stabiliser knows where it is."""
        return self.pose.state is not PoseState.LOST

    @property
    def now(self) -> Quad:
        """Its outer quad in the newest frame."""
        return transform(self.pose.homography, self.outer)


class Change(Enum):
    """What a detection means for the sign it was matched with."""

    SAME = "same"
    GROWN = "grown"
    RETURNED = "returned"


def text_height(lines: Sequence[DetectedLine]) -> float:
    """Median height of the lines, in pixels."""
    return float(np.median([min(side_lengths(line.quad)) for line in lines]))


def same_look(known: Sequence[Look], seen: Sequence[Look]) -> bool:
    """Whether two signs look the same, line by line."""
    if len(known) != len(seen) or not known:
        return False
    return float(np.mean([float((a * b).sum()) for a, b in zip(known, seen, strict=True)])) > SAME_LOOK


def match(found: Sequence[Found], known: Sequence[tuple[Sign, Quad | None]]) -> list[tuple[Sign, Change] | None]:
    """Which known sign each detected one is.

    Args:
        found: detected in one frame.
        known: signs with their outer quads in that same frame; None for those that are lost.

    Returns:
        For each detected sign the known one, or None when it is new. A known sign is taken once, except that
        several parts of it may be found.
    """
    result: list[tuple[Sign, Change] | None] = [None] * len(found)
    taken: set[int] = set()
    scores: list[tuple[float, int, Sign, Change]] = []
    for index, candidate in enumerate(found):
        outer = candidate.outer
        size = max(area(outer), 1e-6)
        for sign, quad in known:
            if candidate.whole_frame or sign.found.whole_frame:
                continue
            if (quad is None or sign.pose.state is PoseState.PREDICTED) and same_look(
                sign.found.looks, candidate.looks
            ):
                # Its place is not known, or only guessed: a better match by place comes first.
                scores.append((0.0, index, sign, Change.RETURNED))
            if quad is None:
                continue
            common = overlap(outer, quad)
            iou = common / max(size + area(quad) - common, 1e-6)
            if size > GROWN_RATIO * area(quad) and common > PART_SHARE * area(quad):
                scores.append((iou, index, sign, Change.GROWN))
            elif iou > SAME_IOU or common > PART_SHARE * size:
                scores.append((iou, index, sign, Change.SAME))
    for _, index, sign, change in sorted(scores, key=lambda score: -score[0]):
        if result[index] is not None or (sign.region_id in taken and change is not Change.SAME):
            continue
        result[index] = (sign, change)
        taken.add(sign.region_id)
    return result


def worth_resending(sign: Sign, change: Change, seen: Found) -> bool:
    """Whether a known sign that was detected again should be sent again."""
    if sign.delivery in (Delivery.WAITING, Delivery.SENDING):
        return False
    if sign.delivery is Delivery.FAILED or change is Change.GROWN:
        return True
    closer = text_height(seen.lines) >= CLOSER_SCALE * sign.sent_height
    return closer and (sign.reading is None or sign.reading.poor)


class SignRegistry:
    """All signs of a run that are not forgotten, at most `MAX_SIGNS`."""

    def __init__(self) -> None:
        self._signs: dict[int, Sign] = {}
        self._next_id = 1

    def all(self) -> list[Sign]:
        """Every known sign, oldest first."""
        return list(self._signs.values())

    def get(self, region_id: int) -> Sign | None:
        """The sign of a region."""
        return self._signs.get(region_id)

    def of(self, found: Found) -> Sign | None:
        """The sign that is followed from a detection."""
        return next((sign for sign in self._signs.values() if sign.found is found), None)

    def new_id(self) -> int:
        """A region id not used before in this run."""
        region_id = self._next_id
        self._next_id += 1
        return region_id

    def put(self, sign: Sign) -> None:
        """Know a sign."""
        self._signs[sign.region_id] = sign

    def update(self, poses: Mapping[int, Pose], now: float) -> int:
        """Take the poses of a frame; returns how many signs were lost with it."""
        lost = 0
        for sign in self._signs.values():
            pose = poses.get(sign.region_id)
            if pose is None:
                sign.lose()
                continue
            lost += sign.pose.state is not PoseState.LOST and pose.state is PoseState.LOST
            sign.take(pose)
            if sign.in_view:
                sign.seen = now
        return lost

    def unfollowed(self, now: float) -> list[int]:
        """Regions the stabiliser need no longer look for; each is named once."""
        tired = [
            sign
            for sign in self._signs.values()
            if sign.followed and not sign.in_view and now - sign.seen > FOLLOW_LOST_S
        ]
        for sign in tired:
            sign.followed = False
        return [sign.region_id for sign in tired]

    def forget(self, now: float) -> list[int]:
        """Drop what was lost too long ago, or is too many; returns the region ids."""
        gone = [sign for sign in self._signs.values() if not sign.in_view and now - sign.seen > KEEP_LOST_S]
        surplus = len(self._signs) - len(gone) - MAX_SIGNS
        if surplus > 0:
            rest = [sign for sign in self._signs.values() if sign not in gone]
            gone += sorted(rest, key=lambda sign: (sign.in_view, sign.seen))[:surplus]
        for sign in gone:
            del self._signs[sign.region_id]
        return [sign.region_id for sign in gone]

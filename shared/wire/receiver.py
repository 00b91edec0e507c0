"""Receiving side of the link: puts objects together and decides the answers. Pure; times are seconds.

Rules:

1. Fragments are taken in any order within `limits.WINDOW_FRAGMENTS` of the first that is missing. Each lane holds at
   most `limits.MAX_CONCURRENT_TRANSFERS` objects of `limits.MAX_LANE_BYTES` together, untaken ones included; what has
   no room is refused as busy.
2. An ACK states what has arrived, and how many fragments may be in flight: fewer as the lane fills up. It is due after
   `limits.ACK_EVERY_FRAGMENTS` fragments, after `ACK_DELAY_S`, or at once on a new gap, a repeat or a repeated START.
3. A complete object whose checksum holds is handed over once and answered with DONE; the last
   `limits.MAX_REMEMBERED_TRANSFERS` completed transfers are remembered, so that a repeat is answered but not delivered.
4. Nothing a peer sends is fatal: every frame that is not taken yields one `Refusal`.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shared import limits
from shared.link import Lane
from shared.wire.frames import (
    HEADER_BYTES,
    MAX_INDEX,
    MAX_VALUE_BYTES,
    VERSION,
    Ack,
    Cancel,
    Data,
    Done,
    Refuse,
    RefuseReason,
    Start,
    encode,
)

ACK_DELAY_S: Final = 0.015
"""Longest wait for more fragments before an ACK goes out: about one connection interval."""
EXPIRY_GRACE_S: Final = 2.0
"""How long an unfinished transfer outlives the deadline its sender stated, should CANCEL be lost."""


class Refusal(StrEnum):
    """Why a frame was not taken."""

    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown_version"
    OVERSIZE = "oversize"
    NOT_GREETED = "not_greeted"
    WRONG_EPOCH = "wrong_epoch"
    DUPLICATE = "duplicate"
    OUT_OF_WINDOW = "out_of_window"
    UNKNOWN_TRANSFER = "unknown_transfer"
    INCONSISTENT = "inconsistent"
    CORRUPT = "corrupt"
    BUSY = "busy"


@dataclass(slots=True)
class _Incoming:
    start: Start
    expires_at: float
    received: bytearray = field(default_factory=bytearray)
    ahead: dict[int, bytes] = field(default_factory=dict)  # fragments behind a gap
    expected: int = 0  # index of the first that is missing
    unacknowledged: int = 0
    ack_due: float | None = None

    @property
    def fragments(self) -> int:
        return max(1, -(-self.start.length // self.start.fragment_size))

    @property
    def held_bytes(self) -> int:
        return len(self.received) + sum(map(len, self.ahead.values()))

    @property
    def bitmap(self) -> int:
        bits = 0
        for index in self.ahead:
            bits |= 1 << index - self.expected - 1
        return bits

    def fragment_bytes(self, index: int) -> int:
        if index < self.fragments - 1:
            return self.start.fragment_size
        return self.start.length - index * self.start.fragment_size

    def take(self, index: int, payload: bytes) -> None:
        self.ahead[index] = payload
        while self.expected in self.ahead:
            self.received += self.ahead.pop(self.expected)
            self.expected += 1


_Key = tuple[Lane, int]


class Receiver:
    """Receives the objects of all lanes of one peer.

    Args:
        epoch: of this side; stamped on answers.
    """

    def __init__(self, *, epoch: int) -> None:
        self._epoch = epoch
        self.version = VERSION
        """Agreed version of the protocol."""
        self._peer_epoch: int | None = None
        self._incoming: dict[_Key, _Incoming] = {}
        self._completed: OrderedDict[tuple[int | None, Lane, int], None] = OrderedDict()
        self._objects: deque[tuple[Lane, bytes]] = deque()
        self._replies: OrderedDict[_Key, Done | Refuse] = OrderedDict()

    # What the owner asks for -------------------------------------------------------------------------

    def take_object(self) -> bytes | None:
        """The oldest object not yet taken, in the order of completion."""
        return self._objects.popleft()[1] if self._objects else None

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for unfinished and for completed but untaken objects."""
        unfinished = sum(incoming.held_bytes for incoming in self._incoming.values())
        return unfinished + sum(len(payload) for _, payload in self._objects)

    def greet(self, peer_epoch: int) -> bool:
        """A peer said HELLO; True when it is a new one, whose unfinished transfers are forgotten."""
        if peer_epoch == self._peer_epoch:
            return False
        self._peer_epoch = peer_epoch
        self._incoming.clear()
        self._replies.clear()
        return True

    # Time --------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Forget unfinished transfers whose sender must have given them up."""
        for key in [key for key, incoming in self._incoming.items() if incoming.expires_at <= now]:
            del self._incoming[key]

    def wakeup(self, *, connected: bool) -> float | None:
        """When `expire` or `next_reply` will have something to do, if nothing arrives."""
        times = [incoming.expires_at for incoming in self._incoming.values()]
        if connected:
            times += [incoming.ack_due for incoming in self._incoming.values() if incoming.ack_due is not None]
        return min(times, default=None)

    # Frames out --------------------------------------------------------------------------------------

    def next_reply(self, now: float) -> bytes | None:
        """The next DONE, REFUSE or ACK to send."""
        if self._replies:
            return encode(self._replies.popitem(last=False)[1], self.version)
        for (lane, transfer_id), incoming in self._incoming.items():
            if incoming.ack_due is not None and incoming.ack_due <= now:
                incoming.ack_due = None
                incoming.unacknowledged = 0
                credits = self._credits(lane, incoming.start.fragment_size)
                ack = Ack(lane, transfer_id, self._epoch, incoming.expected, credits, incoming.bitmap)
                return encode(ack, self.version)
        return None

    # Frames in ---------------------------------------------------------------------------------------

    def on_start(self, start: Start, now: float) -> Refusal | None:
        """Open a transfer, or state the position of one that is open."""
        key = (start.lane, start.transfer_id)
        if self._was_completed(key):
            self._reply(key, Done(start.lane, start.transfer_id, self._epoch))
            return Refusal.DUPLICATE
        if start.length > limits.MAX_OBJECT_BYTES:
            return self._refuse(key, RefuseReason.TOO_LARGE, Refusal.OVERSIZE)
        if not self._consistent(start):
            return self._refuse(key, RefuseReason.INCONSISTENT, Refusal.INCONSISTENT)
        expires_at = now + min(start.remaining_ms / 1000, limits.MAX_TRANSFER_SECONDS) + EXPIRY_GRACE_S
        incoming = self._incoming.get(key)
        # A START that carries its object is never a question: an earlier one may have lost its tail.
        if incoming is not None and start.payload is None and _same_object(incoming.start, start):
            incoming.expires_at = expires_at
            incoming.ack_due = now
            return None
        # The same id for another object: the sender went round its ids, or fragments anew for another ATT MTU.
        self._incoming.pop(key, None)
        held = self._reserved(start.lane)
        if len(held) >= limits.MAX_CONCURRENT_TRANSFERS or sum(held) + start.length > limits.MAX_LANE_BYTES:
            return self._refuse(key, RefuseReason.BUSY, Refusal.BUSY)
        incoming = _Incoming(start, expires_at, ack_due=now + ACK_DELAY_S)
        if start.payload is None and start.length > 0:
            self._incoming[key] = incoming
            return None
        incoming.received += start.payload or b""
        return self._complete(key, incoming)

    def on_data(self, data: Data, now: float) -> Refusal | None:
        """Take the next fragment of a transfer."""
        key = (data.lane, data.transfer_id)
        if self._was_completed(key):
            self._reply(key, Done(data.lane, data.transfer_id, self._epoch))
            return Refusal.DUPLICATE
        incoming = self._incoming.get(key)
        if incoming is None:
            return self._refuse(key, RefuseReason.UNKNOWN_TRANSFER, Refusal.UNKNOWN_TRANSFER)
        if data.index < incoming.expected or data.index in incoming.ahead:
            incoming.ack_due = now
            return Refusal.DUPLICATE
        if data.index > incoming.expected + limits.WINDOW_FRAGMENTS or data.index >= incoming.fragments:
            incoming.ack_due = now
            return Refusal.OUT_OF_WINDOW
        if len(data.payload) != incoming.fragment_bytes(data.index):
            return Refusal.INCONSISTENT
        new_gap = data.index > incoming.expected and data.index - 1 not in incoming.ahead
        incoming.take(data.index, data.payload)
        if incoming.expected == incoming.fragments:
            del self._incoming[key]
            return self._complete(key, incoming)
        incoming.unacknowledged += 1
        if new_gap or incoming.unacknowledged >= limits.ACK_EVERY_FRAGMENTS:
            incoming.ack_due = now
        elif incoming.ack_due is None:
            incoming.ack_due = now + ACK_DELAY_S
        return None

    def on_cancel(self, cancel: Cancel) -> None:
        """Forget an unfinished transfer."""
        self._incoming.pop((cancel.lane, cancel.transfer_id), None)

    def _complete(self, key: _Key, incoming: _Incoming) -> Refusal | None:
        payload = bytes(incoming.received)
        if zlib.crc32(payload) != incoming.start.checksum:
            return self._refuse(key, RefuseReason.CORRUPT, Refusal.CORRUPT)
        lane, transfer_id = key
        self._completed[self._peer_epoch, lane, transfer_id] = None
        while len(self._completed) > limits.MAX_REMEMBERED_TRANSFERS:
            self._completed.popitem(last=False)
        self._objects.append((lane, payload))
        self._reply(key, Done(lane, transfer_id, self._epoch))
        return None

    def _was_completed(self, key: _Key) -> bool:
        return (self._peer_epoch, *key) in self._completed

    def _reserved(self, lane: Lane) -> list[int]:
        """Bytes of each object the lane holds; an unfinished one counts whole, so that it can always be finished."""
        unfinished = [incoming.start.length for (held, _), incoming in self._incoming.items() if held is lane]
        return unfinished + [len(payload) for held, payload in self._objects if held is lane]

    def _credits(self, lane: Lane, fragment_bytes: int) -> int:
        held = sum(incoming.held_bytes for (on, _), incoming in self._incoming.items() if on is lane)
        held += sum(len(payload) for on, payload in self._objects if on is lane)
        # Never none: what was accepted has its room.
        return max(1, min(limits.WINDOW_FRAGMENTS, (limits.MAX_LANE_BYTES - held) // fragment_bytes))

    def _refuse(self, key: _Key, reason: RefuseReason, refusal: Refusal) -> Refusal:
        self._reply(key, Refuse(*key, self._epoch, reason))
        return refusal

    def _reply(self, key: _Key, reply: Done | Refuse) -> None:
        self._replies[key] = reply
        while len(self._replies) > limits.MAX_PENDING_REPLIES:
            self._replies.popitem(last=False)  # its sender asks again after a timeout

    @staticmethod
    def _consistent(start: Start) -> bool:
        if not 1 <= start.fragment_size <= MAX_VALUE_BYTES - HEADER_BYTES:
            return False
        return -(-start.length // start.fragment_size) <= MAX_INDEX


def _same_object(one: Start, other: Start) -> bool:
    return (one.length, one.checksum, one.fragment_size) == (other.length, other.checksum, other.fragment_size)

"""Sending side of one lane: which frame goes next, and what an answer means. Pure; times are seconds.

Rules:

1. Objects start in the order they were submitted. A transfer is START, then DATA 0, 1, 2, ... without waiting for an
   answer to START, and ends with the peer's DONE; the last fragment counts as unacknowledged until then.
2. At most `window` fragments of the lane are in flight. The next object starts while the last one awaits its DONE.
3. ACK states the receiver's position and is believed, also when it lies behind an earlier one (frames of one
   connection arrive in order, so the receiver has forgotten something).
4. Without progress for a retransmission timeout every transfer of the lane goes back to its last acknowledged
   fragment, and to START where nothing was acknowledged.
5. After a reconnect START is repeated and sending goes on behind the last acknowledged fragment; a peer with a new
   epoch gets everything from the beginning.
6. An object past its deadline is dropped, and CANCEL tells the peer if it had been started.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from shared import limits
from shared.errors import LinkError, TransferExpired, TransferRefused
from shared.link import Lane
from shared.wire.frames import (
    MAX_REMAINING_MS,
    Ack,
    Cancel,
    Data,
    Done,
    Refuse,
    RefuseReason,
    Start,
    encode,
    fragment_size,
)
from shared.wire.timing import DelayWindow, Goodput, RoundTrip

MAX_CORRUPT_REPEATS: Final = 3
"""Times an object is sent again after its checksum failed at the receiver."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer has the whole object."""

    ticket: int
    bytes_on_air: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The object was given up."""

    ticket: int
    error: LinkError


Outcome = Delivered | Failed


@dataclass(slots=True)
class _Transfer:
    ticket: int
    payload: bytes
    deadline: float
    submitted: float
    transfer_id: int = 0
    size: int = 0  # payload bytes of a fragment
    fragments: int = 0
    announce: bool = True  # START goes out before more DATA
    restarted: float | None = None  # when START was repeated because the receiver did not know the transfer
    sent: int = 0  # next fragment to send
    acked: int = 0  # fragments the receiver has, never counting the last one
    reached: int = 0  # fragments sent at least once
    sent_whole: bool = False  # to this peer, in fragments of whatever size
    corrupt: int = 0
    hold_until: float = 0.0
    bytes_on_air: int = 0
    sent_at: dict[int, float] = field(default_factory=dict)  # fragments sent exactly once (Karn's rule)

    @property
    def in_flight(self) -> int:
        return self.sent - self.acked

    def fix_size(self, size: int) -> None:
        self.size = size
        self.fragments = max(1, -(-len(self.payload) // size))
        self.acked = self.reached = 0
        self.rewind()

    def rewind(self) -> None:
        self.sent = self.acked
        self.sent_at.clear()
        self.announce = self.announce or self.acked == 0

    def restart(self) -> None:
        self.acked = 0
        self.rewind()


class TransferIds:
    """Transfer ids of one sender, shared by its lanes; wraps at 16 bits."""

    def __init__(self) -> None:
        self._next = 0

    def take(self) -> int:
        taken, self._next = self._next, (self._next + 1) & 0xFFFF
        return taken


class LaneSender:
    """Sends the objects of one lane.

    Args:
        lane: whose objects.
        epoch: of this side.
        ids: shared by the lanes of this side.
        round_trip: shared by the lanes of this side.
    """

    def __init__(self, lane: Lane, *, epoch: int, ids: TransferIds, round_trip: RoundTrip) -> None:
        self._lane = lane
        self._epoch = epoch
        self._ids = ids
        self._round_trip = round_trip
        self._window = DelayWindow()
        self._credits = limits.WINDOW_FRAGMENTS
        self._waiting: deque[_Transfer] = deque()
        self._active: dict[int, _Transfer] = {}
        self._cancels: deque[int] = deque(maxlen=limits.MAX_PENDING_REPLIES)
        self._outcomes: list[Outcome] = []
        self._timer_from = 0.0  # start of the retransmission timeout
        self.goodput = Goodput()

    # What the owner asks for -------------------------------------------------------------------------

    def submit(self, ticket: int, payload: bytes, *, deadline: float, now: float) -> None:
        """Queue one object; its outcome will carry `ticket`."""
        if len(payload) > limits.MAX_OBJECT_BYTES:
            message = f"an object of {len(payload)} bytes is over the link's cap of {limits.MAX_OBJECT_BYTES}"
            self._outcomes.append(Failed(ticket, TransferRefused(message)))
            return
        if deadline <= now:
            self._outcomes.append(Failed(ticket, TransferExpired("the deadline had passed before sending began")))
            return
        if len(self._waiting) >= limits.MAX_QUEUED_OBJECTS:
            oldest = self._waiting.popleft()
            message = f"dropped for a newer object: {limits.MAX_QUEUED_OBJECTS} were waiting to be sent"
            self._outcomes.append(Failed(oldest.ticket, TransferExpired(message)))
        self._waiting.append(_Transfer(ticket, payload, deadline, now))

    def withdraw(self, ticket: int, now: float) -> None:
        """Forget an object whose sender no longer waits for it; there will be no outcome."""
        for transfer in [t for t in self._waiting if t.ticket == ticket]:
            self._waiting.remove(transfer)
        for transfer in [t for t in self._active.values() if t.ticket == ticket]:
            self._drop(transfer, now, tell_peer=True)

    def outcomes(self) -> list[Outcome]:
        """Outcomes since the last call."""
        taken, self._outcomes = self._outcomes, []
        return taken

    def set_credits(self, fragments: int) -> None:
        """The peer takes so many fragments of this lane in flight; zero still allows one, to ask again."""
        self._credits = max(1, fragments)

    @property
    def in_flight(self) -> int:
        """Fragments sent and not acknowledged."""
        return sum(transfer.in_flight for transfer in self._active.values())

    # Connection --------------------------------------------------------------------------------------

    def resume(self, *, forgotten: bool, max_write: int) -> None:
        """A connection to the peer is up again.

        Args:
            forgotten: the peer has a new epoch and remembers no transfer.
            max_write: largest ATT value now; a transfer whose fragments no longer fit starts over.
        """
        size = fragment_size(max_write)
        self._window = DelayWindow()
        if forgotten:
            self._cancels.clear()
        for transfer in self._active.values():
            transfer.announce = True
            transfer.restarted = None
            transfer.hold_until = 0.0
            transfer.sent_whole = transfer.sent_whole and not forgotten
            if forgotten or transfer.size > size:
                transfer.fix_size(size)
            else:
                transfer.rewind()

    def pause(self) -> None:
        """The connection is gone; nothing is in flight any more."""
        for transfer in self._active.values():
            transfer.rewind()
        self.goodput.pause()

    # Time --------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Drop what is past its deadline."""
        for transfer in [t for t in self._waiting if t.deadline <= now]:
            self._waiting.remove(transfer)
            error = TransferExpired(f"the deadline passed after {now - transfer.submitted:.1f} s in the queue")
            self._outcomes.append(Failed(transfer.ticket, error))
        for transfer in [t for t in self._active.values() if t.deadline <= now]:
            arrived = f"{transfer.acked} of {transfer.fragments} fragments had arrived"
            error = TransferExpired(f"the deadline passed after {now - transfer.submitted:.1f} s, {arrived}")
            self._fail(transfer, error, now, tell_peer=True)

    def check_timeout(self, now: float) -> None:
        """Go back to the last acknowledged fragments when the peer has been silent for too long."""
        if self.in_flight and now >= self._timer_from + self._round_trip.timeout:
            for transfer in self._active.values():
                transfer.rewind()
            self._round_trip.timed_out()

    def wakeup(self, now: float, *, connected: bool) -> float | None:
        """When `expire`, `check_timeout` or `next_frame` will have something to do, if nothing arrives."""
        times = [t.deadline for t in self._transfers()]
        if connected:
            times += [t.hold_until for t in self._active.values() if t.hold_until > now]
            if self.in_flight:
                times.append(self._timer_from + self._round_trip.timeout)
        return min(times, default=None)

    # Frames out --------------------------------------------------------------------------------------

    def next_cancel(self) -> bytes | None:
        """A CANCEL to send, if one is due."""
        if not self._cancels:
            return None
        return encode(Cancel(self._lane, self._cancels.popleft(), self._epoch))

    def next_frame(self, *, max_write: int, now: float) -> bytes | None:
        """The next START or DATA to send, or None while the window is full or nothing waits."""
        in_flight = self.in_flight
        window = limits.WINDOW_FRAGMENTS if self._lane is Lane.CONTROL else self._window.fragments
        if in_flight >= min(window, self._credits):
            return None
        transfer = next((t for t in self._active.values() if t.sent < t.fragments and t.hold_until <= now), None)
        if transfer is None:
            if not self._waiting or len(self._active) >= limits.MAX_CONCURRENT_TRANSFERS:
                return None
            transfer = self._begin(max_write)
        if not in_flight:
            self._timer_from = now
            self.goodput.update(0, busy=True, now=now)
        frame = self._emit(transfer, now)
        transfer.bytes_on_air += len(frame)
        return frame

    def _begin(self, max_write: int) -> _Transfer:
        transfer = self._waiting.popleft()
        transfer.transfer_id = self._ids.take()
        transfer.fix_size(fragment_size(max_write))
        self._active[transfer.transfer_id] = transfer
        return transfer

    def _emit(self, transfer: _Transfer, now: float) -> bytes:
        if transfer.announce:
            transfer.announce = False
            remaining_ms = min(MAX_REMAINING_MS, max(0, round((transfer.deadline - now) * 1000)))
            return encode(
                Start(
                    self._lane,
                    transfer.transfer_id,
                    self._epoch,
                    length=len(transfer.payload),
                    checksum=zlib.crc32(transfer.payload),
                    fragment_size=transfer.size,
                    remaining_ms=remaining_ms,
                )
            )
        index = transfer.sent
        fragment = transfer.payload[index * transfer.size : (index + 1) * transfer.size]
        transfer.sent += 1
        if index >= transfer.reached:
            transfer.reached = index + 1
            transfer.sent_whole = transfer.sent_whole or transfer.reached == transfer.fragments
            transfer.sent_at[index] = now
        return encode(Data(self._lane, transfer.transfer_id, self._epoch, index, fragment))

    # Frames in ---------------------------------------------------------------------------------------

    def on_ack(self, ack: Ack, now: float) -> bool:
        """Take an ACK; False when it acknowledges what was never sent."""
        self.set_credits(ack.credits)
        transfer = self._active.get(ack.transfer_id)
        if transfer is None:
            return True  # given up in the meantime
        if ack.next_index > transfer.reached:
            return False
        position = min(ack.next_index, transfer.fragments - 1)
        if position > transfer.acked:
            self._progress(transfer, position, now)
        elif position < transfer.acked:
            transfer.acked = position
            transfer.rewind()
        return True

    def on_done(self, done: Done, now: float) -> bool:
        """Take a DONE; False when the object had not been sent to its end."""
        transfer = self._active.get(done.transfer_id)
        if transfer is None:
            return True
        if not transfer.sent_whole:
            return False
        self._progress(transfer, transfer.fragments, now)
        del self._active[transfer.transfer_id]
        self._outcomes.append(Delivered(transfer.ticket, transfer.bytes_on_air, now - transfer.submitted))
        return True

    def on_refuse(self, refuse: Refuse, now: float) -> None:
        """Take a REFUSE: try again where that can help, fail otherwise."""
        transfer = self._active.get(refuse.transfer_id)
        if transfer is None:
            return
        match refuse.reason:
            case RefuseReason.BUSY:
                transfer.restart()
                transfer.hold_until = now + self._round_trip.timeout
            case RefuseReason.UNKNOWN_TRANSFER:
                # Every fragment in flight earns one such answer; only the first of them tells something new.
                if transfer.restarted is None or now - transfer.restarted >= self._round_trip.timeout:
                    transfer.restart()
                    transfer.restarted = now
            case RefuseReason.CORRUPT if transfer.corrupt < MAX_CORRUPT_REPEATS:
                transfer.corrupt += 1
                transfer.restart()
            case _:
                message = f"the peer refused an object of {len(transfer.payload)} bytes: {refuse.reason.name}"
                self._fail(transfer, TransferRefused(message), now, tell_peer=False)

    def _progress(self, transfer: _Transfer, position: int, now: float) -> None:
        gained = position - transfer.acked
        acknowledged = min(len(transfer.payload), position * transfer.size) - transfer.acked * transfer.size
        sent_at = transfer.sent_at.get(position - 1)
        for index in [index for index in transfer.sent_at if index < position]:
            del transfer.sent_at[index]
        transfer.acked = position
        transfer.sent = max(transfer.sent, position)
        transfer.restarted = None
        self._timer_from = now
        self._round_trip.progressed()
        if sent_at is not None:
            self._round_trip.sample(now - sent_at)
            self._window.sample(now - sent_at, gained, now)
        self.goodput.update(acknowledged, busy=self.in_flight > 0, now=now)

    def _fail(self, transfer: _Transfer, error: LinkError, now: float, *, tell_peer: bool) -> None:
        self._drop(transfer, now, tell_peer=tell_peer)
        self._outcomes.append(Failed(transfer.ticket, error))

    def _drop(self, transfer: _Transfer, now: float, *, tell_peer: bool) -> None:
        del self._active[transfer.transfer_id]
        if tell_peer:
            self._cancels.append(transfer.transfer_id)
        self.goodput.update(0, busy=self.in_flight > 0, now=now)

    def _transfers(self) -> Iterator[_Transfer]:
        yield from self._waiting
        yield from self._active.values()

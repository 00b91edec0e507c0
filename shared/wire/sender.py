"""Sending side of one lane: which frame goes next, and what an answer means. Pure; times are seconds.

Rules:

1. A transfer is START, then its fragments without waiting for an answer (`shared.wire.transfer`), and ends with the
   peer's DONE. An object that fits into START has no fragments.
2. At most `window` fragments of the lane are in flight, and no more than the peer's credits. The next object starts
   while the last one awaits its DONE. Control objects start in the order they were submitted; of the bulk objects the
   newest does, because what the wearer looks at now counts most.
3. Without progress on a transfer for a retransmission timeout the receiver is asked for its position by START; then
   exactly what is missing is sent again. So it is after a reconnect; a peer with a new epoch gets everything anew.
4. When values grow, a transfer that has only begun starts over in larger fragments.
5. An object past its deadline is dropped, and CANCEL tells the peer if it had been started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from shared import limits
from shared.errors import LinkError, TransferExpired, TransferRefused
from shared.link import Lane
from shared.wire.frames import VERSION, Ack, Cancel, Done, Refuse, RefuseReason, encode
from shared.wire.timing import DelayWindow, Goodput, RoundTrip
from shared.wire.transfer import Progress, Transfer

MAX_CORRUPT_REPEATS: Final = 3
"""Times an object is sent again after its checksum failed at the receiver."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer has the whole object.

    Attributes:
        ticket: of `LaneSender.submit`.
        bytes_on_air: of all frames sent for it.
        bytes_again: payload bytes sent more than once.
        seconds: from `submit` to DONE.
    """

    ticket: int
    bytes_on_air: int
    bytes_again: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The object was given up."""

    ticket: int
    error: LinkError


Outcome = Delivered | Failed


class TransferIds:
    """Transfer ids of one sender, shared by its lanes; wraps at 16 bits."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, in_use: Container[int] = ()) -> int:
        """The next id that is not in use."""
        while self._next in in_use:
            self._next = (self._next + 1) & 0xFFFF
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
        self._waiting: deque[Transfer] = deque()
        self._active: dict[int, Transfer] = {}
        self._cancels: deque[int] = deque(maxlen=limits.MAX_PENDING_REPLIES)
        self._outcomes: list[Outcome] = []
        self.version = VERSION
        """Agreed version of the protocol."""
        self.paced = False
        """Whether the owner keeps the radio's queue short, so that the window need not."""
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
        self._waiting.append(Transfer(ticket, payload, deadline, now))

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
        """Frames sent that await an answer."""
        return sum(transfer.in_flight for transfer in self._active.values())

    @property
    def backlog_bytes(self) -> int:
        """Payload handed in and not known to have arrived."""
        return sum(transfer.remaining_bytes for transfer in self._transfers())

    # Connection --------------------------------------------------------------------------------------

    def resume(self, *, forgotten: bool, max_write: int) -> None:
        """A connection to the peer is up again.

        Args:
            forgotten: the peer has a new epoch and remembers no transfer.
            max_write: largest ATT value now; a transfer whose fragments no longer fit starts over.
        """
        self._window = DelayWindow()
        if forgotten:
            self._cancels.clear()
        for transfer in self._active.values():
            transfer.restarted = None
            transfer.hold_until = 0.0
            transfer.sent_whole = transfer.sent_whole and not forgotten
            if forgotten or not transfer.fits(max_write):
                transfer.begin(max_write)
            else:
                transfer.ask()

    def pause(self) -> None:
        """The connection is gone; nothing is in flight any more."""
        for transfer in self._active.values():
            transfer.ask()
        self.goodput.pause()

    def refit(self, max_write: int) -> None:
        """The size of values changed while connected."""
        for transfer in [t for t in self._active.values() if not t.fits(max_write) or t.gains_by(max_write)]:
            if not transfer.sent_whole:
                # Under a new id: answers to the old fragments are still on their way, and would be misread. What was
                # sent whole keeps its id, by which the receiver knows that it has it.
                del self._active[transfer.transfer_id]
                self._cancels.append(transfer.transfer_id)
                transfer.transfer_id = self._ids.take(self._active)
                self._active[transfer.transfer_id] = transfer
            transfer.begin(max_write)

    # Time --------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Drop what is past its deadline."""
        for transfer in [t for t in self._waiting if t.deadline <= now]:
            self._waiting.remove(transfer)
            error = TransferExpired(f"the deadline passed after {now - transfer.submitted:.1f} s in the queue")
            self._outcomes.append(Failed(transfer.ticket, error))
        for transfer in [t for t in self._active.values() if t.deadline <= now]:
            arrived = f"{transfer.arrived} of {transfer.fragments} fragments had arrived"
            error = TransferExpired(f"the deadline passed after {now - transfer.submitted:.1f} s, {arrived}")
            self._fail(transfer, error, now, tell_peer=True)

    def check_timeout(self, now: float) -> None:
        """Ask for the receiver's position where it has been silent for too long."""
        late = [t for t in self._active.values() if t.awaits and now >= t.timer_from + self._round_trip.timeout]
        for transfer in late:
            transfer.ask()
        if late:
            self._round_trip.timed_out()

    def wakeup(self, now: float, *, connected: bool) -> float | None:
        """When `expire`, `check_timeout` or `next_frame` will have something to do, if nothing arrives."""
        times = [t.deadline for t in self._transfers()]
        if connected:
            times += [t.hold_until for t in self._active.values() if t.hold_until > now]
            times += [t.timer_from + self._round_trip.timeout for t in self._active.values() if t.awaits]
        return min(times, default=None)

    # Frames out --------------------------------------------------------------------------------------

    def next_cancel(self) -> bytes | None:
        """A CANCEL to send, if one is due."""
        if not self._cancels:
            return None
        return encode(Cancel(self._lane, self._cancels.popleft(), self._epoch), self.version)

    def ready(self, now: float) -> bool:
        """Whether `next_frame` would give one."""
        if any(transfer.asks(now) for transfer in self._active.values()):
            return True
        bounded = self._lane is Lane.BULK and not self.paced
        window = self._window.fragments if bounded else limits.WINDOW_FRAGMENTS
        if self.in_flight >= min(window, self._credits):
            return False
        if any(transfer.sendable(now) for transfer in self._active.values()):
            return True
        return bool(self._waiting) and len(self._active) < limits.MAX_CONCURRENT_TRANSFERS

    def next_frame(self, *, max_write: int, now: float) -> bytes | None:
        """The next START or DATA to send, or None while the window is full or nothing waits."""
        if not self.ready(now):
            return None
        transfers = self._active.values()
        transfer = next((t for t in transfers if t.asks(now)), None)
        transfer = transfer or next((t for t in transfers if t.sendable(now)), None) or self._begin(max_write)
        if not self.in_flight:
            self.goodput.update(0, busy=True, now=now)
        if not transfer.awaits:
            transfer.timer_from = now
        frame = encode(transfer.next_frame(self._lane, self._epoch, now), self.version)
        transfer.bytes_on_air += len(frame)
        return frame

    def _begin(self, max_write: int) -> Transfer:
        newest_first = self._lane is Lane.BULK
        transfer = self._waiting.pop() if newest_first else self._waiting.popleft()
        transfer.transfer_id = self._ids.take(self._active)
        transfer.begin(max_write)
        self._active[transfer.transfer_id] = transfer
        return transfer

    # Frames in ---------------------------------------------------------------------------------------

    def on_ack(self, ack: Ack, now: float) -> bool:
        """Take an ACK; False when it acknowledges what was never sent."""
        self.set_credits(ack.credits)
        transfer = self._active.get(ack.transfer_id)
        if transfer is None:
            return True  # given up in the meantime
        if not transfer.plausible(ack):
            return False
        progress = transfer.on_ack(ack, now)
        if progress is not None:
            self._progress(progress, now)
        return True

    def on_done(self, done: Done, now: float) -> bool:
        """Take a DONE; False when the object had not been sent to its end."""
        transfer = self._active.get(done.transfer_id)
        if transfer is None:
            return True
        if not transfer.sent_whole:
            return False
        progress = transfer.on_done(now)
        del self._active[transfer.transfer_id]
        self._progress(progress, now)
        seconds = now - transfer.submitted
        self._outcomes.append(Delivered(transfer.ticket, transfer.bytes_on_air, transfer.payload_again, seconds))
        return True

    def on_refuse(self, refuse: Refuse, now: float) -> None:
        """Take a REFUSE: try again where that can help, fail otherwise."""
        transfer = self._active.get(refuse.transfer_id)
        if transfer is None:
            return
        match refuse.reason:
            case RefuseReason.BUSY:
                transfer.wait(now + self._round_trip.timeout)
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

    def _progress(self, progress: Progress, now: float) -> None:
        self._round_trip.progressed()
        if progress.round_trip is not None:
            self._round_trip.sample(progress.round_trip)
            self._window.sample(progress.round_trip, progress.fragments, now)
        self.goodput.update(progress.payload_bytes, busy=self.in_flight > 0, now=now)

    def _fail(self, transfer: Transfer, error: LinkError, now: float, *, tell_peer: bool) -> None:
        self._drop(transfer, now, tell_peer=tell_peer)
        self._outcomes.append(Failed(transfer.ticket, error))

    def _drop(self, transfer: Transfer, now: float, *, tell_peer: bool) -> None:
        del self._active[transfer.transfer_id]
        if tell_peer:
            self._cancels.append(transfer.transfer_id)
        self.goodput.update(0, busy=self.in_flight > 0, now=now)

    def _transfers(self) -> Iterator[Transfer]:
        yield from self._waiting
        yield from self._active.values()

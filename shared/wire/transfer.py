"""One object on its way out: which fragments are in flight, arrived, lost or still to come. Pure; times are seconds.

Rules:

1. A fragment is *new*, *in flight*, *lost* (to be sent again) or *arrived*. Every emission has a number; frames of one
   connection arrive in order, so when the receiver has a fragment, every fragment of the object that was emitted before
   it and has not arrived never will (as RACK infers from time, RFC 8985).
2. The last fragment stays in flight until DONE, which only the whole object earns.
3. A transfer that *asks* sends START and nothing else until the receiver has stated its position: after a reconnect, a
   timeout or a refusal for lack of room. Asking costs a round trip; not asking would repeat up to a window.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final

from shared.link import Lane
from shared.wire.frames import BITMAP_BITS, MAX_REMAINING_MS, Ack, Data, Start, fragment_size, inline_size

REFRAGMENT_SHARE: Final = 0.25
"""When values grow, a transfer starts over in larger fragments while what arrived is less than this of what remains:
a 64-byte value spends a quarter of itself on headers."""


@dataclass(frozen=True, slots=True)
class Emission:
    """One sending of one fragment.

    Attributes:
        number: counts the emissions of the object.
        at: when.
        first: whether the fragment had never been sent before, so that its acknowledgement measures the round trip
            (Karn's rule).
    """

    number: int
    at: float
    first: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """What an answer told.

    Attributes:
        fragments: newly known to have arrived.
        payload_bytes: of them.
        round_trip: seconds, of the newest that had been sent only once; None if there is none.
    """

    fragments: int
    payload_bytes: int
    round_trip: float | None


@dataclass(slots=True)
class Transfer:
    """An object in a lane's queue, and once it has an id, on its way.

    Attributes:
        ticket: what the owner knows it by.
        payload: the object.
        deadline: when it is worthless.
        submitted: when it was handed in.
        hold_until: nothing is sent before.
        timer_from: start of the retransmission timeout.
        corrupt: times its checksum did not hold at the receiver.
        sent_whole: every fragment has been sent to this peer, in whatever size.
        bytes_on_air: of all frames sent for it.
        payload_again: payload bytes sent more than once.
    """

    ticket: int
    payload: bytes
    deadline: float
    submitted: float
    transfer_id: int = 0
    hold_until: float = 0.0
    timer_from: float = 0.0
    corrupt: int = 0
    sent_whole: bool = False
    bytes_on_air: int = 0
    payload_again: int = 0
    restarted: float | None = None  # when START was repeated because the receiver did not know the transfer
    _size: int = 0
    _fragments: int = 0
    _announce: bool = True
    _asking: bool = False
    _inline: bool = False
    _next: int = 0  # the lowest index never sent in this size
    _acked: int = 0  # every fragment below has arrived
    _ahead: set[int] = field(default_factory=set)  # arrived, behind a gap
    _flying: dict[int, Emission] = field(default_factory=dict)
    _lost: list[int] = field(default_factory=list)  # ascending
    _emissions: int = 0
    _reached: int = 0  # the lowest index never sent in this size, whatever was restarted since
    _high: int = 0  # payload bytes below have been sent at least once, in whatever size

    # State --------------------------------------------------------------------------------------------

    @property
    def fragments(self) -> int:
        """How many there are; at least one."""
        return self._fragments

    @property
    def arrived(self) -> int:
        """Fragments the receiver is known to have."""
        return self._acked + len(self._ahead)

    @property
    def in_flight(self) -> int:
        """Its share of the lane's window. Asking frees nothing: what may be lost may also be on its way."""
        return len(self._flying) + (len(self._lost) + 1 if self._asking else 0)

    @property
    def awaits(self) -> bool:
        """Whether an answer is due."""
        return bool(self._flying) or (self._asking and not self._announce)

    def asks(self, now: float) -> bool:
        """Whether its next frame is a question, which no window holds back."""
        return self._asking and self._announce and self.hold_until <= now

    @property
    def remaining_bytes(self) -> int:
        """Payload not known to have arrived."""
        return max(0, len(self.payload) - self.arrived * self._size) if self._fragments else len(self.payload)

    def sendable(self, now: float) -> bool:
        """Whether there is a frame to send."""
        if self.hold_until > now:
            return False
        if self._announce:
            return True
        # Further ahead an ACK could not tell of it, and the receiver would not take it.
        reach = min(self._fragments, self._acked + BITMAP_BITS + 1)
        return not self._asking and (bool(self._lost) or self._next < reach)

    # Beginning, again ---------------------------------------------------------------------------------

    def begin(self, max_write: int) -> None:
        """(Re)start from nothing, in the fragments that fit `max_write`."""
        self._size = fragment_size(max_write)
        self._fragments = max(1, -(-len(self.payload) // self._size))
        self._inline = len(self.payload) <= inline_size(max_write)
        self.restart()
        self._reached = 0

    def restart(self) -> None:
        """The receiver has nothing: send everything, without asking."""
        self._reached = max(self._reached, self._next)
        self._next = self._acked = 0
        self._ahead.clear()
        self._flying.clear()
        self._lost.clear()
        self._announce = True
        self._asking = False

    def ask(self) -> None:
        """What is in flight may be lost: find out what the receiver has before anything is sent again."""
        if self._inline or self._next == 0:
            self.restart()  # asking costs as much as sending
            return
        self._lost = sorted({*self._lost, *self._flying})
        self._flying.clear()
        self._announce = True
        self._asking = True

    def wait(self, until: float) -> None:
        """The receiver has no room: ask again later, and send nothing before it has."""
        self.restart()
        self._asking = not self._inline
        self.hold_until = until

    def fits(self, max_write: int) -> bool:
        """Whether its fragments can be sent in values of `max_write` bytes."""
        return self._size <= fragment_size(max_write)

    def gains_by(self, max_write: int) -> bool:
        """Whether starting over in larger fragments saves more than it repeats."""
        if fragment_size(max_write) < 2 * self._size or self.sent_whole:
            return False
        return self.arrived * self._size < REFRAGMENT_SHARE * self.remaining_bytes

    # Out ----------------------------------------------------------------------------------------------

    def next_frame(self, lane: Lane, epoch: int, now: float) -> Start | Data:
        """The next frame to send; `sendable` must hold."""
        if self._announce:
            self._announce = False
            if self._inline:
                self._note(0, now)
            return Start(
                lane,
                self.transfer_id,
                epoch,
                length=len(self.payload),
                checksum=zlib.crc32(self.payload),
                fragment_size=self._size,
                remaining_ms=round(1000 * max(0.0, min(self.deadline - now, MAX_REMAINING_MS / 1000))),
                payload=self.payload or None if self._inline else None,
            )
        index = self._lost.pop(0) if self._lost else self._next
        self._note(index, now)
        return Data(lane, self.transfer_id, epoch, index, self._fragment(index))

    def _note(self, index: int, now: float) -> None:
        start, end = index * self._size, min(len(self.payload), (index + 1) * self._size)
        self.payload_again += max(0, min(end, self._high) - start)
        first = start >= self._high and not self.sent_whole
        self._high = max(self._high, end)
        self._next = max(self._next, index + 1)
        self._flying[index] = Emission(self._emissions, now, first)
        self._emissions += 1
        self.sent_whole = self.sent_whole or self._next == self._fragments

    def _fragment(self, index: int) -> bytes:
        return self.payload[index * self._size : (index + 1) * self._size]

    # Answers ------------------------------------------------------------------------------------------

    def plausible(self, ack: Ack) -> bool:
        """Whether an ACK tells only of fragments that were sent."""
        return self._told(ack) <= max(self._next, self._reached)

    @staticmethod
    def _told(ack: Ack) -> int:
        return max(ack.next_index, max(ack.arrived, default=0) + 1 if ack.bitmap else 0)

    def on_ack(self, ack: Ack, now: float) -> Progress | None:
        """Take the receiver's position; `plausible` must hold. None when it tells nothing new."""
        self._asking = False
        if self._told(ack) > self._next:
            # A restart was answered by a receiver that had not forgotten: what it lacks of that was sent, and is lost.
            self._lost = sorted({*self._lost, *range(self._next, self._told(ack))})
            self._next = self._told(ack)
        last = self._fragments - 1
        position = min(ack.next_index, last)
        ahead = {index for index in ack.arrived if position <= index < last}
        # What it had said to have and has no longer, it has forgotten. Believe it.
        forgotten = set(range(position, self._acked)) | {index for index in self._ahead if index >= position}
        self._lost = sorted({*self._lost, *(forgotten - ahead - self._flying.keys())})
        new = (set(range(self._acked, position)) | ahead) - self._ahead - set(range(position, self._acked))
        self._acked = position
        self._ahead = ahead
        emissions = [self._flying.pop(index) for index in new if index in self._flying]
        self._lost = [index for index in self._lost if index >= position and index not in self._ahead]
        seen = list(emissions)
        has_last = last in ack.arrived
        if has_last:
            # It stays in flight until DONE, yet its arrival tells which others were lost.
            if last in self._lost:
                self._lost.remove(last)
                self._flying[last] = Emission(-1, now, first=False)
            seen += [self._flying[last]] if last in self._flying else []
        newest = max((emission.number for emission in seen), default=-1)
        overtaken = [index for index, emission in self._flying.items() if emission.number < newest]
        for index in overtaken:
            if not (has_last and index == last):
                del self._flying[index]
                self._lost.append(index)
        self._lost.sort()
        return self._progress(new, emissions, now)

    def on_done(self, now: float) -> Progress:
        """The receiver has everything."""
        new = set(range(self._acked, self._fragments)) - self._ahead
        emissions = list(self._flying.values())
        self._flying.clear()
        return self._progress(new, emissions, now) or Progress(0, 0, None)

    def _progress(self, new: set[int], emissions: list[Emission], now: float) -> Progress | None:
        if not new:
            return None
        self.timer_from = now
        self.restarted = None
        sent_once = [emission.at for emission in emissions if emission.first]
        payload = sum(len(self._fragment(index)) for index in new)
        return Progress(len(new), payload, now - max(sent_once) if sent_once else None)

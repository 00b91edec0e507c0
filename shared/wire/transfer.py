"""One object on its way out: which fragments are in flight, arrived, lost or still to come. Pure; times are seconds.

Rules:

1. A fragment is *new*, *in flight* or *arrived*, or else *lost*, to be sent again. Every emission has a number; frames
   of one connection arrive in order, so when the receiver has a fragment, every fragment of the object that was emitted
   before it and has not arrived never will (as RACK infers from time, RFC 8985). What the receiver says it has is
   believed, also when it had said to have more or less before.
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
    _refused: bool = False  # the receiver had no room: nothing is on its way
    _next: int = 0  # the lowest index never sent in this size
    _acked: int = 0  # every fragment below has arrived
    _ahead: set[int] = field(default_factory=set)  # arrived, behind a gap
    _flying: dict[int, Emission] = field(default_factory=dict)
    _emissions: int = 0
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
        if self._asking and not self._refused:
            return self._next - self.arrived
        return len(self._flying)

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
        return not self._asking and self._next_index() is not None

    def _next_index(self) -> int | None:
        lost = (i for i in range(self._acked, self._next) if i not in self._flying and i not in self._ahead)
        # Further ahead an ACK could not tell of it, and the receiver would not take it.
        reach = min(self._fragments, self._acked + BITMAP_BITS + 1)
        return next(lost, self._next if self._next < reach else None)

    # Beginning, again ---------------------------------------------------------------------------------

    def begin(self, max_write: int) -> None:
        """(Re)start from nothing, in the fragments that fit `max_write`."""
        self._size = fragment_size(max_write)
        self._fragments = max(1, -(-len(self.payload) // self._size))
        self._inline = len(self.payload) <= inline_size(max_write)
        self._next = 0
        self.restart()

    def restart(self) -> None:
        """The receiver has nothing: send everything, without asking."""
        self._acked = 0
        self._ahead.clear()
        self._flying.clear()
        self._announce = True
        self._asking = self._refused = False

    def ask(self) -> None:
        """What is in flight may be lost: find out what the receiver has before anything is sent again."""
        if self._inline or self._next == 0:
            self.restart()  # asking costs as much as sending
            return
        self._flying.clear()
        self._announce = self._asking = True
        self._refused = False

    def wait(self, until: float) -> None:
        """The receiver has no room: ask again later, and send nothing before it has."""
        self.restart()
        self._asking = self._refused = not self._inline
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
        index = self._next_index()
        assert index is not None
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
        return max(ack.next_index - 1, *ack.arrived, -1) < self._next

    def on_ack(self, ack: Ack, now: float) -> Progress | None:
        """Take the receiver's position; `plausible` must hold. None when it tells nothing new."""
        self._asking = False
        last = self._fragments - 1
        position = min(ack.next_index, last)
        ahead = {index for index in ack.arrived if index < last}
        new = {*range(self._acked, position), *ahead} - self._ahead - set(range(position, self._acked))
        self._acked, self._ahead = position, ahead
        emissions = [self._flying.pop(index) for index in new if index in self._flying]
        newest = max((emission.number for emission in emissions), default=-1)
        if last in ack.arrived:
            # It stays in flight until DONE, yet its arrival tells which others were lost.
            kept = self._flying.pop(last, Emission(-1, now, first=False))
            newest = max(newest, kept.number)
        self._flying = {index: emission for index, emission in self._flying.items() if emission.number > newest}
        if last in ack.arrived:
            self._flying[last] = kept
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

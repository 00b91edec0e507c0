"""One side of the glasses-phone link as a pure state machine: ATT values and times in, ATT values and events out.

Rules:

1. Both sides say HELLO when a connection comes up and repeat it until the peer's HELLO arrives, and again after every
   `PROBE_S` of silence. A HELLO is answered by a HELLO marked as reply. Nothing else is sent or taken before.
2. A peer with the epoch of before goes on where it was; with a new epoch everything unfinished starts over.
3. Answers (ACK, DONE, REFUSE) go before control, control before bulk, frame by frame.
4. Time passes through `tick`; `wakeup` says when the next one matters. After every input the owner calls `next_value`
   until it returns None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from shared import limits
from shared.errors import FrameMalformed
from shared.link import Lane, LinkQuality
from shared.wire import frames
from shared.wire.frames import Ack, Cancel, Data, Done, Hello, Refuse, Start
from shared.wire.receiver import Receiver, Refusal
from shared.wire.sender import LaneSender, Outcome, TransferIds
from shared.wire.timing import RoundTrip

HELLO_REPEAT_S: Final = 0.5
PROBE_S: Final = 5.0
"""After so long a silence HELLO asks whether the peer is there: not every stack tells that a connection has ended."""
STALL_S: Final = 8.0
"""A connection on which nothing has been heard for so long is of no use."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What the peer said of itself in its last HELLO."""

    name: str
    epoch: int
    battery_percent: int | None
    max_write: int


class Session:
    """The link's state on one side, across connections.

    Args:
        epoch: 32 bits drawn at random when the process starts.
        name: shown to the peer, cut to `frames.MAX_NAME_BYTES`.
        battery_percent: asked whenever HELLO is sent; 0..100 or None when unknown.
    """

    def __init__(self, *, epoch: int, name: str, battery_percent: Callable[[], int | None]) -> None:
        self._epoch = epoch
        self._name = name
        self._battery_percent = battery_percent
        self._round_trip = RoundTrip()
        ids = TransferIds()
        self._senders = {lane: LaneSender(lane, epoch=epoch, ids=ids, round_trip=self._round_trip) for lane in Lane}
        self._receiver = Receiver(epoch=epoch)
        self._refusals: Counter[Refusal] = Counter()
        self._tickets = 0
        self._peer: Peer | None = None
        self._max_write: int | None = None  # None while disconnected
        self._heard_at = 0.0  # when the last value was taken, or the connection came up
        self._stall_told = False
        self._greeted = False
        self._greetings = 0
        self._hello_at: float | None = None  # when the next HELLO of our own is due
        self._hello_reply = False

    # What the owner asks for -------------------------------------------------------------------------

    def submit(self, payload: bytes, *, lane: Lane, deadline: float, now: float) -> int:
        """Queue one object; the returned ticket comes back in its `Outcome`."""
        self._tickets += 1
        self._senders[lane].submit(self._tickets, payload, deadline=deadline, now=now)
        return self._tickets

    def withdraw(self, ticket: int, now: float) -> None:
        """Give an object up; no outcome follows."""
        for sender in self._senders.values():
            sender.withdraw(ticket, now)

    def outcomes(self) -> list[Outcome]:
        """What became of submitted objects since the last call."""
        return [outcome for sender in self._senders.values() for outcome in sender.outcomes()]

    def take_object(self) -> bytes | None:
        """The oldest received object not yet taken."""
        return self._receiver.take_object()

    @property
    def greeted(self) -> bool:
        """Whether a peer is connected and has said HELLO."""
        return self._greeted

    @property
    def peer(self) -> Peer | None:
        """The last peer, also after it is gone."""
        return self._peer

    @property
    def refusals(self) -> Mapping[Refusal, int]:
        """Frames not taken, by reason."""
        return self._refusals

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for incoming objects."""
        return self._receiver.buffered_bytes

    def in_flight(self, lane: Lane) -> int:
        """Fragments of a lane sent and not acknowledged."""
        return self._senders[lane].in_flight

    @property
    def quality(self) -> LinkQuality:
        """The link as it is now."""
        return LinkQuality(
            connected=self._greeted,
            goodput_bytes_per_s=self._senders[Lane.BULK].goodput.bytes_per_s,
            round_trip_s=self._round_trip.smoothed,
            peer_battery_percent=self._peer.battery_percent if self._peer else None,
            reconnects=max(0, self._greetings - 1),
            refused_frames=self._refusals.total(),
        )

    # Connection --------------------------------------------------------------------------------------

    def connected(self, *, max_write: int, now: float) -> None:
        """A connection is up.

        Args:
            max_write: largest ATT value in bytes, at least `frames.MIN_VALUE_BYTES`.
            now: current time.
        """
        self._max_write = max_write
        self._heard_at = now
        self._stall_told = False
        self._greeted = False
        self._hello_at = now
        self._hello_reply = False

    def set_max_write(self, max_write: int) -> None:
        """The ATT MTU changed: later transfers use it, and the peer is told."""
        if self._max_write is not None and max_write != self._max_write:
            self._max_write = max_write
            self._hello_reply = True

    def disconnected(self) -> None:
        """The connection is gone; transfers wait for the next one."""
        self._max_write = None
        self._greeted = False
        self._hello_at = None
        for sender in self._senders.values():
            sender.pause()

    def stalled(self, now: float) -> bool:
        """Whether the peer of this connection has been silent for `STALL_S`; True once per connection."""
        stall_at = self._stall_at()
        if stall_at is None or now < stall_at:
            return False
        self._stall_told = True
        return True

    # Time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time pass: deadlines, retransmission timeouts, forgotten transfers."""
        for sender in self._senders.values():
            sender.expire(now)
            if self._greeted:
                sender.check_timeout(now)
        self._receiver.expire(now)

    def wakeup(self, now: float) -> float | None:
        """When `tick` and `next_value` must be called next, if nothing arrives; None for never."""
        times = [sender.wakeup(now, connected=self._greeted) for sender in self._senders.values()]
        times.append(self._receiver.wakeup(connected=self._greeted))
        times += [self._hello_at, self._stall_at()]
        return min((time for time in times if time is not None), default=None)

    # Values in and out -------------------------------------------------------------------------------

    def next_value(self, now: float) -> bytes | None:
        """The next ATT value to send, or None when there is nothing to send now."""
        if self._max_write is None:
            return None
        if self._hello_reply or (self._hello_at is not None and self._hello_at <= now):
            return self._hello(self._max_write, now)
        if not self._greeted:
            return None
        if (reply := self._receiver.next_reply(now)) is not None:
            return reply
        for sender in self._senders.values():  # control first
            if (cancel := sender.next_cancel()) is not None:
                return cancel
        for sender in self._senders.values():
            if (frame := sender.next_frame(max_write=self._max_write, now=now)) is not None:
                return frame
        return None

    def on_value(self, value: bytes, now: float) -> Refusal | None:
        """Take one ATT value from the peer.

        Returns:
            Why it was not taken, None if it was. It has been counted; nothing is ever raised.
        """
        refusal = self._take(value, now)
        if refusal is not None:
            self._refusals[refusal] += 1
        elif self._greeted:
            self._heard_at = now
            self._hello_at = now + PROBE_S
        return refusal

    def _take(self, value: bytes, now: float) -> Refusal | None:
        if len(value) > frames.MAX_VALUE_BYTES:
            return Refusal.OVERSIZE
        if frames.version_of(value) not in (frames.VERSION, None):
            return Refusal.UNKNOWN_VERSION
        try:
            frame = frames.decode(value)
        except FrameMalformed:
            return Refusal.MALFORMED
        if isinstance(frame, Hello):
            return self._on_hello(frame, now)
        if not self._greeted or self._peer is None:
            return Refusal.NOT_GREETED
        if frame.epoch != frames.epoch_tag(self._peer.epoch):
            return Refusal.WRONG_EPOCH
        accepted = True
        match frame:
            case Start():
                return self._receiver.on_start(frame, now)
            case Data():
                return self._receiver.on_data(frame, now)
            case Cancel():
                self._receiver.on_cancel(frame)
            case Ack():
                accepted = self._senders[frame.lane].on_ack(frame, now)
            case Done():
                accepted = self._senders[frame.lane].on_done(frame, now)
            case Refuse():
                self._senders[frame.lane].on_refuse(frame, now)
        return None if accepted else Refusal.OUT_OF_WINDOW

    def _on_hello(self, hello: Hello, now: float) -> Refusal | None:
        if self._max_write is None:
            return Refusal.NOT_GREETED  # a late value of a connection that is gone
        if hello.protocol_version != frames.VERSION:
            return Refusal.UNKNOWN_VERSION
        self._peer = Peer(hello.name, hello.epoch, hello.battery_percent, hello.max_write)
        self._hello_reply = self._hello_reply or not hello.reply
        new_peer = self._receiver.greet(hello.epoch)
        if not self._greeted or new_peer:
            self._greetings += 1
            for sender in self._senders.values():
                sender.resume(forgotten=new_peer, max_write=self._max_write)
        self._greeted = True
        self._senders[Lane.BULK].set_credits(hello.credits)
        return None

    def _hello(self, max_write: int, now: float) -> bytes:
        hello = Hello(
            epoch=self._epoch,
            protocol_version=frames.VERSION,
            credits=limits.WINDOW_FRAGMENTS,
            max_write=max_write,
            battery_percent=self._battery_percent(),
            clock_us=max(0, round(now * 1_000_000)),
            name=self._name,
        )
        if self._hello_at is not None and self._hello_at <= now:
            # Ours is asked for an answer; a reply owed at the same moment is contained in it.
            self._hello_at = now + HELLO_REPEAT_S
            self._hello_reply = False
            return frames.encode(hello)
        self._hello_reply = False
        return frames.encode(replace(hello, reply=True))

    def _stall_at(self) -> float | None:
        if self._max_write is None or self._stall_told:
            return None
        return self._heard_at + STALL_S

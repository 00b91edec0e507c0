"""One side of the glasses-phone link as a pure state machine: ATT values and times in, ATT values and events out.

Rules:

1. Both sides say HELLO when a connection comes up and repeat it until the peer's HELLO arrives, again after every
   `PROBE_S` of silence, and every `REFRESH_S` at the latest. A HELLO is answered by a HELLO marked as reply. Nothing
   else is sent or taken before. The newest version that both speak is spoken; with none in common nothing is.
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
from shared.errors import FrameMalformed, VersionMismatch
from shared.link import DeliveryModel, Lane, LinkQuality
from shared.wire import frames
from shared.wire.estimate import DeliveryEstimator
from shared.wire.frames import Ack, Cancel, Data, Done, Hello, Refuse, Start
from shared.wire.receiver import Receiver, Refusal
from shared.wire.sender import Delivered, LaneSender, Outcome, TransferIds
from shared.wire.timing import ClockOffset, RoundTrip

HELLO_REPEAT_S: Final = 0.5
PROBE_S: Final = 5.0
"""After so long a silence HELLO asks whether the peer is there: not every stack tells that a connection has ended."""
REFRESH_S: Final = 30.0
"""Longest time between two HELLOs: battery and clock offset are not to grow old on a busy link."""
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
        oldest_version, version: of the protocol, that this side speaks.
    """

    def __init__(
        self,
        *,
        epoch: int,
        name: str,
        battery_percent: Callable[[], int | None],
        oldest_version: int = frames.OLDEST_VERSION,
        version: int = frames.VERSION,
    ) -> None:
        self._epoch = epoch
        self._oldest_version = oldest_version
        self._newest_version = version
        self._version = version  # agreed with the peer
        self._mismatch: VersionMismatch | None = None
        self._name = name
        self._battery_percent = battery_percent
        self._round_trip = RoundTrip()
        ids = TransferIds()
        self._senders = {lane: LaneSender(lane, epoch=epoch, ids=ids, round_trip=self._round_trip) for lane in Lane}
        self._receiver = Receiver(epoch=epoch)
        self._refusals: Counter[Refusal] = Counter()
        self._tickets = 0
        self._estimator = DeliveryEstimator()
        self._clock_offset = ClockOffset()
        self._echo_us: int | None = None  # clock of the HELLO that is still to be answered
        self._greeted_at = 0.0  # when our last HELLO went out
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
        if lane is Lane.BULK:
            self._estimator.began(self._tickets, len(payload), self._delivery(now))
        self._senders[lane].submit(self._tickets, payload, deadline=deadline, now=now)
        return self._tickets

    def withdraw(self, ticket: int, now: float) -> None:
        """Give an object up; no outcome follows."""
        for sender in self._senders.values():
            sender.withdraw(ticket, now)
        self._estimator.ended(ticket, None)

    def outcomes(self) -> list[Outcome]:
        """What became of submitted objects since the last call."""
        outcomes = [outcome for sender in self._senders.values() for outcome in sender.outcomes()]
        for outcome in outcomes:
            self._estimator.ended(outcome.ticket, outcome.seconds if isinstance(outcome, Delivered) else None)
        return outcomes

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
        """Frames of a lane sent and not answered, and those that may have been: at most a window but after a receiver
        that takes back what it had acknowledged."""
        return self._senders[lane].in_flight

    @property
    def mismatch(self) -> VersionMismatch | None:
        """Why the connected peer cannot be talked to; None while it can, or has not said HELLO."""
        return self._mismatch

    @property
    def version(self) -> int:
        """Version of the protocol spoken with the last peer."""
        return self._version

    def bulk_waits(self, now: float) -> bool:
        """Whether `next_value` would have bulk to give."""
        return self._greeted and self._senders[Lane.BULK].ready(now)

    def quality(self, now: float) -> LinkQuality:
        """The link as it is now."""
        return LinkQuality(
            connected=self._greeted,
            goodput_bytes_per_s=self._senders[Lane.BULK].goodput.bytes_per_s,
            round_trip_s=self._round_trip.smoothed,
            peer_battery_percent=self._peer.battery_percent if self._peer else None,
            reconnects=max(0, self._greetings - 1),
            refused_frames=self._refusals.total(),
            delivery=self._delivery(now),
            lost_for_s=self._estimator.lost_for(now),
            clock_offset_s=self._clock_offset.seconds,
            clock_error_s=self._clock_offset.error,
        )

    def _delivery(self, now: float) -> DeliveryModel:
        bulk = self._senders[Lane.BULK]
        return self._estimator.model(
            backlog_bytes=bulk.backlog_bytes,
            bytes_per_s=bulk.goodput.bytes_per_s,
            round_trip=self._round_trip.smoothed,
            now=now,
        )

    # Connection --------------------------------------------------------------------------------------

    def connected(self, *, max_write: int, now: float, paced: bool = False) -> None:
        """A connection is up.

        Args:
            max_write: largest ATT value in bytes, at least `frames.MIN_VALUE_BYTES`.
            now: current time.
            paced: whether the owner keeps the radio's queue short by `next_value`'s `bulk`.
        """
        for sender in self._senders.values():
            sender.paced = paced
        self._max_write = max_write
        self._greeted_at = now
        self._heard_at = now
        self._stall_told = False
        self._greeted = False
        self._mismatch = None
        self._echo_us = None
        self._hello_at = now
        self._hello_reply = False

    def set_max_write(self, max_write: int) -> None:
        """The ATT MTU changed: later transfers use it, those that have only begun too, and the peer is told."""
        if self._max_write is not None and max_write != self._max_write:
            if self._greeted:
                for sender in self._senders.values():
                    sender.refit(max_write)
            self._max_write = max_write
            self._hello_reply = True

    def disconnected(self, now: float) -> None:
        """The connection is gone; transfers wait for the next one."""
        if self._greeted:
            self._estimator.interrupted(now)
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

    def next_value(self, now: float, *, bulk: bool = True) -> bytes | None:
        """The next ATT value to send, or None when there is nothing to send now.

        Args:
            now: current time.
            bulk: whether bulk may be sent now; everything else may always.
        """
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
        for lane, sender in self._senders.items():
            if lane is Lane.BULK and not bulk:
                continue
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
            self._hello_at = min(now + PROBE_S, self._greeted_at + REFRESH_S)
        return refusal

    def _take(self, value: bytes, now: float) -> Refusal | None:
        if len(value) > frames.MAX_VALUE_BYTES:
            return Refusal.OVERSIZE
        if frames.version_of(value) not in (frames.HELLO_VERSION, self._version, None):
            return Refusal.UNKNOWN_VERSION
        try:
            frame = frames.decode(value, self._version)
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
        version = min(hello.version, self._newest_version)
        if version < max(hello.oldest_version, self._oldest_version):
            if self._greeted:
                return Refusal.UNKNOWN_VERSION
            ours = f"{self._oldest_version} to {self._newest_version}"
            theirs = f"{hello.oldest_version} to {hello.version}"
            self._mismatch = VersionMismatch(
                f"{hello.name or 'the peer'} speaks versions {theirs} of the link, this side {ours}",
                hint="update the side with the older software",
            )
            return Refusal.UNKNOWN_VERSION
        self._mismatch = None
        self._agree_on(version)
        self._peer = Peer(hello.name, hello.epoch, hello.battery_percent, hello.max_write)
        self._hello_reply = self._hello_reply or not hello.reply
        new_peer = self._receiver.greet(hello.epoch)
        if new_peer:
            self._clock_offset = ClockOffset()
        if hello.echo_us is not None:
            self._clock_offset.sample(sent=hello.echo_us / 1e6, peer=hello.clock_us / 1e6, received=now)
        if not hello.reply:
            self._echo_us = hello.clock_us
        if not self._greeted or new_peer:
            self._greetings += 1
            self._estimator.restored(now)
            for sender in self._senders.values():
                sender.resume(forgotten=new_peer, max_write=self._max_write)
        self._greeted = True
        for sender in self._senders.values():
            sender.set_credits(hello.credits)
        return None

    def _agree_on(self, version: int) -> None:
        self._version = self._receiver.version = version
        for sender in self._senders.values():
            sender.version = version

    def _hello(self, max_write: int, now: float) -> bytes:
        hello = Hello(
            epoch=self._epoch,
            version=self._newest_version,
            oldest_version=self._oldest_version,
            credits=limits.WINDOW_FRAGMENTS,
            max_write=max_write,
            battery_percent=self._battery_percent(),
            clock_us=max(0, round(now * 1_000_000)),
            name=self._name,
        )
        if self._hello_at is not None and self._hello_at <= now:
            # Ours asks for an answer; a reply owed at the same moment follows, and measures the clocks.
            self._hello_at = now + HELLO_REPEAT_S
            self._greeted_at = now
            return frames.encode(hello)
        self._hello_reply = False
        echo, self._echo_us = self._echo_us, None
        return frames.encode(replace(hello, reply=True, echo_us=echo))

    def _stall_at(self) -> float | None:
        if self._max_write is None or self._stall_told:
            return None
        return self._heard_at + STALL_S

"""Target `session`: one `Session` between a hostile peer and an owner who does what an owner may do, in any order.

The bytes are read as a program. The peer knows the rules well enough to get deep (it opens transfers with true
checksums, and answers those that it is sent), and breaks them at any point. The owner is careless but legal: it follows
the contracts of `Session`'s methods.
"""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared import limits
from shared.errors import FrameMalformed
from shared.link import Lane
from shared.wire import frames
from shared.wire.frames import (
    Ack,
    Cancel,
    Data,
    Done,
    Frame,
    FrameType,
    Hello,
    Refuse,
    Start,
    decode,
    encode,
    epoch_tag,
)
from shared.wire.session import Session
from simulations.fuzz.material import FuzzBytes, Observed, demand
from simulations.fuzz.wire_frames import (
    FRAGMENT_SIZES,
    OBJECTS,
    TOO_LARGE,
    Outgoing,
    any_answer,
    any_frame,
    any_hello,
    any_value,
    damage,
)

OWN_EPOCH: Final = 0x1234_5678
PEER_EPOCHS: Final = (0xAAAA_0001, 0xAAAA_0002, 0xBBBB_0001, OWN_EPOCH)
"""A new process, another, one with the same tag as the first, and one that reflects what it is sent."""
MAX_BUFFERED_BYTES: Final = 2 * limits.MAX_LANE_BYTES
MAX_BURST: Final = (
    2 + limits.MAX_PENDING_REPLIES * 3 + limits.MAX_CONCURRENT_TRANSFERS * 4 + limits.WINDOW_FRAGMENTS * 2
)
"""Values a session may have to say at once: HELLO twice, answers, CANCELs of two lanes, ACKs and asking STARTs of the
transfers, two windows."""

_STEPS_S: Final = (0.0, 0.001, 0.015, 0.03, 0.2, 0.5, 1.0, 2.0, 6.0, 31.0, 700.0)
_LIVES_S: Final = (-1.0, 0.0, 0.05, 1.0, 5.0, 60.0, 3_600.0)
_REMAINING_MS: Final = (0, 100, 5_000, 60_000, frames.MAX_REMAINING_MS)
_WRITES: Final = (64, 65, 185, 244, 247, 495, 512, 514)
_VERSIONS: Final = ((1, 1), (1, 1), (1, 3), (2, 3))
_MAX_TRACKED: Final = 64
_ENDLESS_S: Final = 1e5


class Trial:
    """A session, its peer and its owner; every method that reads `source` is one thing that may happen.

    Args:
        source: the program.
        observed: told what is seen.
    """

    def __init__(self, source: FuzzBytes, observed: Observed) -> None:
        oldest, newest = source.pick(_VERSIONS)
        self.source = source
        self.session = Session(
            epoch=OWN_EPOCH, name="fuzzed", battery_percent=lambda: 50, oldest_version=oldest, version=newest
        )
        self._observed = observed
        self._now = 1000.0
        self._connected = False
        self._max_write = 0
        self._epoch = PEER_EPOCHS[0]
        # One peer in ten fills memory as fast as it can; one owner in three never takes what has arrived.
        self._greedy = source.below(10) == 9
        self._takes = source.below(3) < 2
        self._outgoing: OrderedDict[tuple[Lane, int], Outgoing] = OrderedDict()
        self._incoming: OrderedDict[tuple[Lane, int], int] = OrderedDict()  # fragments seen of what the session sends
        self._last = b""
        self._tickets: set[int] = set()  # without an outcome
        self._announced: set[tuple[int, int]] = set()  # length and checksum of every START
        self._fed = 0
        self._refused = 0
        self._answers = 0
        self._resizes = 0
        self._connect()
        self._feed(Hello(self._epoch, newest, 32, 512, 80, 1, "peer", oldest_version=oldest))

    # Running -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let one thing happen, then see that everything still holds."""
        _ACTIONS[self.source.below(len(_ACTIONS))](self)
        self._settle()

    def finish(self) -> None:
        """Let every deadline pass: each object must have had its one outcome, and nothing may be held back."""
        self.rest()
        demand(self.session.wakeup(self._now) is None, "a session with nothing to do does not ask to be woken")

    def rest(self) -> None:
        """Cut the connection until everything has expired, take what had arrived, and forget the past."""
        if self._connected:
            self._disconnect()
        self._now += _ENDLESS_S
        self._settle()
        demand(not self._tickets, "every object that was not withdrawn has an outcome by its deadline")
        while self._take_object():
            pass
        demand(self.session.buffered_bytes == 0, "nothing is held once everything has expired or been taken")
        self._announced.clear()
        self._outgoing.clear()
        self._incoming.clear()
        self._last = b""

    def _settle(self) -> None:
        session = self.session
        session.tick(self._now)
        for outcome in session.outcomes():
            demand(outcome.ticket in self._tickets, "an outcome belongs to an object that waits for one")
            self._tickets.remove(outcome.ticket)
        buffered = session.buffered_bytes
        self._observed.largest_buffered = max(self._observed.largest_buffered, buffered)
        demand(buffered <= MAX_BUFFERED_BYTES, f"{buffered} bytes buffered, the cap is {MAX_BUFFERED_BYTES}")
        demand(sum(session.refusals.values()) == self._refused, "every refused value is counted once")
        model = session.quality(self._now).predict(10_000)
        demand(0.0 <= model.typical_s <= model.late_s < math.inf, "a prediction is a time")

    # What the peer does ------------------------------------------------------------------------------

    def _feed(self, frame: Frame | bytes) -> bool:
        value = frame if isinstance(frame, bytes) else encode(frame, self.session.version)
        if value and value[0] & 0x0F == FrameType.START:
            self._note_announced(value)
        self._last = value
        self._fed += 1
        self._observed.values += 1
        refusal = self.session.on_value(value, self._now)
        if refusal is not None:
            self._refused += 1
            self._observed.refusals[refusal] += 1
        return refusal is None

    def _note_announced(self, value: bytes) -> None:
        try:
            start = decode(value, self.session.version)
        except FrameMalformed:
            return
        if isinstance(start, Start):
            self._announced.add((start.length, start.checksum))

    def _peer_says_anything(self) -> None:
        self._feed(any_value(self.source))

    def _peer_says_any_frame(self) -> None:
        self._feed(any_frame(self.source, self._epoch))

    def _peer_repeats_itself_damaged(self) -> None:
        self._feed(damage(self.source, self._last))

    def _peer_repeats_itself(self) -> None:
        self._feed(self._last)

    def _peer_greets(self) -> None:
        choice = self.source.below(16)
        if choice == 0:
            self._feed(any_hello(self.source))
            return
        if choice == 1:
            self._epoch = self.source.pick(PEER_EPOCHS)
        hello = Hello(self._epoch, self.session.version, 32, 512, None, 5, "peer", reply=self.source.flag())
        self._feed(hello)

    def _peer_opens(self) -> None:
        lane, transfer_id = self.source.pick(tuple(Lane)), self.source.below(24)
        payload, size = self.source.pick(OBJECTS), self.source.pick(FRAGMENT_SIZES)
        if self._greedy:
            payload, size = OBJECTS[-1], FRAGMENT_SIZES[0]
        outgoing = Outgoing(lane, transfer_id, payload, size)
        self._outgoing[lane, transfer_id] = outgoing
        if len(self._outgoing) > _MAX_TRACKED:
            self._outgoing.popitem(last=False)
        opened = self._feed(outgoing.start(self._epoch, self.source.pick(_REMAINING_MS), inline=self.source.flag()))
        if opened and self._greedy:
            # All but its end, so that it has to be kept.
            self._feed_rest(outgoing, outgoing.fragments - self.source.below(2))

    def _peer_continues(self) -> None:
        outgoing = self._pick_outgoing()
        if outgoing is not None:
            self._feed_rest(outgoing, self.source.pick((1, 2, 33, 600)))

    def _feed_rest(self, outgoing: Outgoing, count: int) -> None:
        misses = 0
        for data in outgoing.rest(self._epoch, count):
            misses = 0 if self._feed(data) else misses + 1
            if misses == 3:
                return  # the session does not want it; more of the same would tell nothing

    def _peer_skips(self) -> None:
        outgoing = self._pick_outgoing()
        if outgoing is not None:
            outgoing.position = max(0, outgoing.position + self.source.pick((-40, -2, -1, 1, 2, 31, 32, 33)))
            self._feed(outgoing.data(self._epoch, min(frames.MAX_INDEX, outgoing.position)))

    def _peer_sends_whole(self) -> None:
        self._peer_opens()
        outgoing = next(reversed(self._outgoing.values()))
        if outgoing.fragments <= 600:
            self._feed_rest(outgoing, 600)

    def _peer_repeats_start(self) -> None:
        outgoing = self._pick_outgoing()
        if outgoing is not None:
            self._feed(outgoing.start(self._epoch, self.source.pick(_REMAINING_MS), inline=self.source.flag()))

    def _peer_cancels(self) -> None:
        outgoing = self._pick_outgoing()
        if outgoing is not None:
            self._feed(Cancel(outgoing.lane, outgoing.transfer_id, self._epoch))

    def _peer_answers(self) -> None:
        if self._incoming:
            (lane, transfer_id), reached = self.source.pick(tuple(self._incoming.items()))
            self._feed(any_answer(self.source, lane, transfer_id, reached, self._epoch))

    def _pick_outgoing(self) -> Outgoing | None:
        return self.source.pick(tuple(self._outgoing.values())) if self._outgoing else None

    # What the owner does -----------------------------------------------------------------------------

    def _owner_submits(self) -> None:
        payload = TOO_LARGE if self.source.below(32) == 0 else self.source.pick(OBJECTS)
        deadline = self._now + self.source.pick(_LIVES_S)
        ticket = self.session.submit(payload, lane=self.source.pick(tuple(Lane)), deadline=deadline, now=self._now)
        demand(ticket not in self._tickets, "a ticket is given once")
        self._tickets.add(ticket)

    def _owner_withdraws(self) -> None:
        if self._tickets:
            ticket = self.source.pick(sorted(self._tickets)[:256])
            self.session.withdraw(ticket, self._now)
            self._tickets.remove(ticket)

    def _owner_takes(self) -> None:
        if self._takes:
            self._take_object()

    def _take_object(self) -> bool:
        payload = self.session.take_object()
        if payload is None:
            return False
        self._observed.objects += 1
        demand((len(payload), zlib.crc32(payload)) in self._announced, "an object is one that START announced")
        return True

    def _owner_sends_some(self) -> None:
        for _ in range(self.source.below(8)):
            if self._next_value(bulk=self.source.flag()) is None:
                return

    def _owner_sends_all(self) -> None:
        self.session.tick(self._now)
        self.session.stalled(self._now)
        burst, fragments = 0, dict.fromkeys(Lane, 0)
        while (value := self._next_value(bulk=True)) is not None:
            burst += 1
            if value[0] & 0x0F == FrameType.DATA:
                lane = Lane(value[1] & 0x03)
                fragments[lane] += 1
                demand(fragments[lane] <= limits.WINDOW_FRAGMENTS, "a lane keeps to its window")
            demand(burst <= MAX_BURST, f"a session has at most {MAX_BURST} values to send at once")
        self._observed.largest_burst = max(self._observed.largest_burst, burst)
        wakeup = self.session.wakeup(self._now)
        demand(wakeup is None or wakeup > self._now, "a session that has said everything does not ask to be woken now")

    def _next_value(self, *, bulk: bool) -> bytes | None:
        value = self.session.next_value(self._now, bulk=bulk)
        if value is None:
            return None
        demand(self._connected, "a session says nothing while there is no connection")
        demand(len(value) <= self._max_write, f"a value of {len(value)} bytes, the most is {self._max_write}")
        frame = decode(value, self.session.version)
        demand(epoch_tag(frame.epoch) == epoch_tag(OWN_EPOCH), "a frame carries its sender's epoch")
        match frame:
            case Start(lane=lane, transfer_id=transfer_id):
                self._saw(lane, transfer_id, 1 if frame.payload or not frame.length else 0)
            case Data(lane=lane, transfer_id=transfer_id, index=index):
                self._saw(lane, transfer_id, index + 1)
            case Ack() | Done() | Refuse():
                self._answers += 1
            case Hello(reply=True):
                self._answers += 1
            case _:
                pass
        demand(
            self._answers <= self._fed + self._resizes, "a value earns one answer at most, and a changed size a HELLO"
        )
        return value

    def _saw(self, lane: Lane, transfer_id: int, reached: int) -> None:
        self._incoming[lane, transfer_id] = max(reached, self._incoming.pop((lane, transfer_id), 0))
        if len(self._incoming) > _MAX_TRACKED:
            self._incoming.popitem(last=False)

    def _time_passes(self) -> None:
        self._now += self.source.pick(_STEPS_S)

    def _connect(self) -> None:
        self._max_write = self.source.pick(_WRITES)
        self._connected = True
        self.session.connected(max_write=self._max_write, now=self._now, paced=self.source.flag())

    def _disconnect(self) -> None:
        self._connected = False
        self.session.disconnected(self._now)

    def _connection_changes(self) -> None:
        if not self._connected:
            self._connect()
        elif self.source.below(4) == 0:
            self._disconnect()
        else:
            self._max_write = self.source.pick(_WRITES)
            self._resizes += 1
            self.session.set_max_write(self._max_write)


_ACTIONS: Final[tuple[Callable[[Trial], object], ...]] = (
    Trial._peer_says_anything,
    Trial._peer_says_any_frame,
    Trial._peer_says_any_frame,
    Trial._peer_repeats_itself_damaged,
    Trial._peer_repeats_itself,
    Trial._peer_greets,
    Trial._peer_greets,
    Trial._peer_opens,
    Trial._peer_opens,
    Trial._peer_continues,
    Trial._peer_continues,
    Trial._peer_skips,
    Trial._peer_sends_whole,
    Trial._peer_repeats_start,
    Trial._peer_cancels,
    Trial._peer_answers,
    Trial._peer_answers,
    Trial._peer_answers,
    Trial._peer_answers,
    Trial._owner_submits,
    Trial._owner_submits,
    Trial._owner_withdraws,
    Trial._owner_takes,
    Trial._owner_sends_some,
    Trial._owner_sends_all,
    Trial._owner_sends_all,
    Trial._owner_sends_all,
    Trial._time_passes,
    Trial._time_passes,
    Trial._connection_changes,
)


def session(data: bytes, observed: Observed) -> None:
    """Run the program that the bytes spell.

    Raises:
        Violation: the session broke a promise.
        Exception: anything that came out of the session.
    """
    trial = Trial(FuzzBytes(data), observed)
    while trial.source.left:
        trial.step()
    trial.finish()

"""Target `pair`: two honest sessions and a hostile middle that loses, repeats, cuts, damages and swaps their values.

The bytes are read as a program, after which the middle becomes honest and everything is given the time to end.

Bluetooth protects each packet by a CRC (and a MIC once encrypted), so the protocol has one check of its own, over the
object: bits that flip in an object, in START's account of it and in an ACK must do no harm. Bits that flip elsewhere (a
transfer id, an epoch) can make a receiver take one object for another; then only the objects' contents are held to.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from shared.errors import TransferExpired, TransferRefused
from shared.link import Lane
from shared.wire.frames import HEADER_BYTES, FrameType
from shared.wire.sender import Delivered, Outcome
from shared.wire.session import Session
from simulations.fuzz.material import FuzzBytes, Observed, demand
from simulations.fuzz.session import MAX_BUFFERED_BYTES, MAX_BURST
from simulations.fuzz.wire_frames import OBJECTS, flip

_WRITES: Final = (64, 244, 495, 512)
_STEPS_S: Final = (0.0, 0.015, 0.03, 0.25, 1.0, 3.0, 9.0)
_LIVES_S: Final = (0.3, 5.0, 60.0, 5_000.0, 5_000.0, 5_000.0)
_MENDED_S: Final = 700.0
"""An unfinished transfer may block its place for `limits.MAX_TRANSFER_SECONDS`; after that everything must flow."""
_MAX_OBJECTS: Final = 40
_MAX_ROUNDS: Final = 20_000
_COVERED: Final = (FrameType.START, FrameType.DATA, FrameType.ACK)


@dataclass(frozen=True, slots=True)
class Sent:
    """An object handed in."""

    payload: bytes
    deadline: float


@dataclass(slots=True)
class End:
    """One side: its session, what it has sent and got, and the values on their way to it."""

    session: Session
    epoch: int
    inbox: deque[bytes] = field(default_factory=deque)
    sent: dict[int, Sent] = field(default_factory=dict)
    outcomes: dict[int, tuple[float, Outcome]] = field(default_factory=dict)
    got: Counter[bytes] = field(default_factory=Counter)  # by this process


class Wire:
    """Two ends and everything that may happen between them."""

    def __init__(self, source: FuzzBytes, observed: Observed) -> None:
        self.source = source
        self._observed = observed
        self._now = 1000.0
        self._ends = (self._new_end(0xA1), self._new_end(0xB1))
        self._connected = False
        self._max_write = 512
        self._made = 0
        self._deceived = False  # a bit flipped where no checksum of the protocol covers it
        self._past: list[tuple[End, End]] = []  # who sent to whom, of processes that have ended
        self._everything: set[bytes] = set()
        self._change_connection()

    # Running -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let one thing happen."""
        _ACTIONS[self.source.below(len(_ACTIONS))](self)
        self._serve()

    def finish(self) -> None:
        """Mend the wire, let all deadlines that matter pass, and judge."""
        if not self._connected:
            self._change_connection()
        mended = self._now
        self._run_until(mended + _MENDED_S)
        if not self._deceived:
            self._demand_delivery()
        self._run_until(mended + 2 * max(_LIVES_S))
        for end in self._ends:
            demand(end.outcomes.keys() == end.sent.keys(), "every object has an outcome by its deadline")
            demand(end.session.buffered_bytes == 0, "nothing is held once everything has ended")

    def _run_until(self, until: float) -> None:
        rounds = 0
        while True:
            self._deliver_all()
            wakeups = [wakeup for end in self._ends if (wakeup := end.session.wakeup(self._now)) is not None]
            waiting = any(len(end.outcomes) < len(end.sent) for end in self._ends)
            if not waiting or not wakeups or min(wakeups) > until:
                self._now = max(self._now, until)
                self._deliver_all()
                return
            self._now = max(self._now, min(wakeups))
            rounds += 1
            demand(rounds <= _MAX_ROUNDS, "two sessions come to rest")

    def _deliver_all(self) -> None:
        self._serve()
        while any(end.inbox for end in self._ends):
            for end in self._ends:
                while end.inbox:
                    self._arrive(end, end.inbox.popleft())
            self._serve()

    def _serve(self) -> None:
        """Do for both sessions what their owners would do after any input."""
        for end, other in (self._ends, self._ends[::-1]):
            session = end.session
            session.tick(self._now)
            session.stalled(self._now)
            self._collect(end, other)
            burst = 0
            while (value := session.next_value(self._now)) is not None:
                burst += 1
                demand(burst <= MAX_BURST, f"a session has at most {MAX_BURST} values to send at once")
                demand(len(value) <= self._max_write, "a value fits the attribute")
                other.inbox.append(value)
            buffered = session.buffered_bytes
            demand(buffered <= MAX_BUFFERED_BYTES, "what a session holds is bounded")
            self._observed.largest_buffered = max(self._observed.largest_buffered, buffered)
            self._observed.largest_burst = max(self._observed.largest_burst, burst)
            wakeup = session.wakeup(self._now)
            demand(wakeup is None or wakeup > self._now, "a session that was served can wait")

    def _collect(self, end: End, other: End) -> None:
        for outcome in end.session.outcomes():
            demand(outcome.ticket in end.sent and outcome.ticket not in end.outcomes, "an object has one outcome")
            end.outcomes[outcome.ticket] = (self._now, outcome)
        while (payload := end.session.take_object()) is not None:
            self._observed.objects += 1
            demand(payload in self._everything, "what arrives is what was sent")
            end.got[payload] += 1
            demand(self._deceived or end.got[payload] == 1, "an object arrives once")

    def _demand_delivery(self) -> None:
        for end, other in (self._ends, self._ends[::-1]):
            for ticket, sent in end.sent.items():
                at, outcome = end.outcomes.get(ticket, (self._now, None))
                if isinstance(outcome, Delivered):
                    arrived = other.got[sent.payload] + sum(past.got[sent.payload] for _, past in self._past)
                    demand(arrived >= 1, "an object said to be delivered was")
                elif outcome is None:
                    demand(sent.deadline > self._now, "an object ends by its deadline")
                    demand(False, "an object within its deadline arrives once the connection is good")
                elif isinstance(outcome.error, TransferExpired):
                    demand(at >= sent.deadline, "an object expires no sooner than its deadline")
                else:
                    demand(isinstance(outcome.error, TransferRefused), "an object fails for a reason")

    def _arrive(self, end: End, value: bytes) -> None:
        if not self._connected:
            return
        self._observed.values += 1
        refusal = end.session.on_value(value, self._now)
        if refusal is not None:
            self._observed.refusals[refusal] += 1

    # What happens ------------------------------------------------------------------------------------

    def _submit(self) -> None:
        end = self.source.pick(self._ends)
        payload = self.source.pick(OBJECTS[:-2])
        if self._made >= _MAX_OBJECTS:
            return
        self._made += 1
        payload = self._made.to_bytes(2, "big") + payload  # no two alike
        self._everything.add(payload)
        deadline = self._now + self.source.pick(_LIVES_S)
        ticket = end.session.submit(payload, lane=self.source.pick(tuple(Lane)), deadline=deadline, now=self._now)
        end.sent[ticket] = Sent(payload, deadline)

    def _time_passes(self) -> None:
        self._now += self.source.pick(_STEPS_S)

    def _some_arrive(self) -> None:
        end = self.source.pick(self._ends)
        for _ in range(min(len(end.inbox), self.source.pick((1, 2, 5, 20)))):
            self._arrive(end, end.inbox.popleft())
        self._serve()

    def _all_arrive(self) -> None:
        for end in self._ends:
            for _ in range(len(end.inbox)):
                self._arrive(end, end.inbox.popleft())

    def _one_is_lost(self) -> None:
        if (place := self._place()) is not None:
            end, at = place
            del end.inbox[at]

    def _all_are_lost(self) -> None:
        self.source.pick(self._ends).inbox.clear()

    def _one_is_repeated(self) -> None:
        if (place := self._place()) is not None:
            end, at = place
            end.inbox.insert(self.source.below(len(end.inbox) + 1), end.inbox[at])

    def _one_is_cut(self) -> None:
        if (place := self._place()) is not None:
            end, at = place
            value = end.inbox[at] or b"."
            # START's own end is worth more than one try in five hundred.
            lengths = (HEADER_BYTES + 15, HEADER_BYTES, len(value) - 1, self.source.below(len(value)))
            end.inbox[at] = value[: min(len(value) - 1, self.source.pick(lengths))]

    def _two_are_swapped(self) -> None:
        if (place := self._place()) is not None:
            end, at = place
            other = self.source.below(len(end.inbox))
            end.inbox[at], end.inbox[other] = end.inbox[other], end.inbox[at]

    def _bits_flip_in_one(self) -> None:
        if (place := self._place()) is not None:
            end, at = place
            value = end.inbox[at]
            anywhere = self.source.below(16) == 0
            covered = len(value) > HEADER_BYTES and value[0] & 0x0F in _COVERED
            if not value or not (anywhere or covered):
                return
            position = self.source.below(len(value))
            position = position if anywhere else max(HEADER_BYTES, position)
            self._deceived = self._deceived or anywhere
            end.inbox[at] = flip(value, position, self.source.below(8))

    def _place(self) -> tuple[End, int] | None:
        end = self.source.pick(self._ends)
        return (end, self.source.below(len(end.inbox))) if end.inbox else None

    def _change_connection(self) -> None:
        self._connected = not self._connected
        for end in self._ends:
            end.inbox.clear()
            if self._connected:
                end.session.connected(max_write=self._max_write, now=self._now)
            else:
                end.session.disconnected(self._now)

    def _size_changes(self) -> None:
        """A new connection finds its ATT MTU late; that it shrinks is not to be expected, and must do no harm."""
        self._max_write = self.source.pick(_WRITES)
        if self._connected:
            for end in self._ends:
                end.session.set_max_write(self._max_write)

    def _process_restarts(self) -> None:
        if self.source.below(4):
            return
        if self._connected:
            self._change_connection()
        which = self.source.below(2)
        old, stays = self._ends[which], self._ends[1 - which]
        self._past.append((stays, old))
        fresh = self._new_end(old.epoch + 0x1_0001)
        self._ends = (fresh, stays) if which == 0 else (stays, fresh)
        self._change_connection()

    @staticmethod
    def _new_end(epoch: int) -> End:
        return End(Session(epoch=epoch, name="end", battery_percent=lambda: None), epoch)


_ACTIONS: Final[tuple[Callable[[Wire], object], ...]] = (
    Wire._submit,
    Wire._submit,
    Wire._submit,
    Wire._time_passes,
    Wire._time_passes,
    Wire._some_arrive,
    Wire._some_arrive,
    Wire._some_arrive,
    Wire._all_arrive,
    Wire._all_arrive,
    Wire._all_arrive,
    Wire._one_is_lost,
    Wire._all_are_lost,
    Wire._one_is_repeated,
    Wire._one_is_cut,
    Wire._two_are_swapped,
    Wire._bits_flip_in_one,
    Wire._change_connection,
    Wire._size_changes,
    Wire._process_restarts,
)


def pair(data: bytes, observed: Observed) -> None:
    """Run the program that the bytes spell between two sessions.

    Raises:
        Violation: an object was lost, changed, or delivered twice; or a session broke a promise.
        Exception: anything that came out of a session.
    """
    wire = Wire(FuzzBytes(data), observed)
    while wire.source.left:
        wire.step()
    wire.finish()

"""How much is sent again after a cut: DATA of fragments that had been sent before it.

A fragment counts once per cut, however often it is repeated after it. A transfer that starts over for a good reason
(the receiver's process is a new one, or its fragments no longer fit or are to grow) is not resumed and does not count.

A side often learns of a cut only seconds later, and what it writes until then is lost as well. That is counted apart:
it had not been sent before the cut, though it is written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared import limits
from shared.errors import FrameMalformed
from shared.link import Lane
from shared.wire import frames
from shared.wire.frames import Data, FrameType, Start
from simulations.faults.schedule import End

_Key = tuple[End, Lane, int]


@dataclass(frozen=True, slots=True)
class Resumed:
    """What one side sent again on one lane after one cut, in bytes of payload.

    Attributes:
        connection: number of the connection it was sent on.
        bytes: of fragments that had been sent before the cut.
        with_unheard: and of those written into the connection after it, before its end was known.
        one_transfer: the same, of the transfer with most of it.
        window: a window of the largest of these fragments.
        quiet: whether that connection was free of lost, doubled and damaged values: those make repeats of their own.
    """

    connection: int
    sender: End
    lane: Lane
    bytes: int
    with_unheard: int
    one_transfer: int
    window: int
    quiet: bool


@dataclass(slots=True)
class _Sent:
    size: int = 0  # payload bytes of a fragment
    before: set[int] = field(default_factory=set)  # fragments sent on earlier connections while they lived
    unheard: set[int] = field(default_factory=set)  # written into earlier ones that no longer did
    now: set[int] = field(default_factory=set)
    now_unheard: set[int] = field(default_factory=set)

    def end(self) -> None:
        self.before |= self.now
        self.unheard |= self.now_unheard
        self.now.clear()
        self.now_unheard.clear()


class ResumeMeter:
    """Watches the values both sides write."""

    def __init__(self) -> None:
        self._sent: dict[_Key, _Sent] = {}
        self._results: list[Resumed] = []
        self._lives: dict[End, int] = {}
        self._connection = 0
        self._quiet = True

    @property
    def results(self) -> Sequence[Resumed]:
        """So far, without the present connection."""
        return self._results

    def connected(self, number: int, lives: dict[End, int]) -> None:
        """A connection begins, between these lives of the two processes."""
        self.ended()
        self._connection = number
        self._quiet = True
        if self._lives != lives:
            # A new sender has new transfers, a new receiver needs the old ones from their beginning.
            self._sent.clear()
        self._lives = dict(lives)

    def disturbed(self) -> None:
        """Values were lost, doubled or damaged on the present connection."""
        self._quiet = False

    def wrote(self, sender: End, value: bytes, *, unheard: bool) -> None:
        """One side wrote a value; `unheard` when the connection had been cut already."""
        if not value or value[0] & 0x0F not in (FrameType.START, FrameType.DATA):
            return
        try:
            frame = frames.decode(value)
        except FrameMalformed:
            return
        if isinstance(frame, Start):
            sent = self._sent.setdefault((sender, frame.lane, frame.transfer_id), _Sent())
            if sent.size not in (0, frame.fragment_size):
                sent = self._sent[sender, frame.lane, frame.transfer_id] = _Sent()
            sent.size = frame.fragment_size
        elif isinstance(frame, Data):
            sent = self._sent.setdefault((sender, frame.lane, frame.transfer_id), _Sent())
            (sent.now_unheard if unheard else sent.now).add(frame.index)

    def ended(self) -> None:
        """The connection ended; what was sent on it has been sent before the next."""
        lanes: dict[tuple[End, Lane], list[_Sent]] = {}
        for (sender, lane, _), sent in self._sent.items():
            if sent.before or sent.unheard:
                lanes.setdefault((sender, lane), []).append(sent)
        for (sender, lane), all_sent in lanes.items():
            cut = sum(len(sent.before & sent.now) * sent.size for sent in all_sent)
            each = [len((sent.before | sent.unheard) & sent.now) * sent.size for sent in all_sent]
            window = limits.WINDOW_FRAGMENTS * max(sent.size for sent in all_sent)
            self._results.append(
                Resumed(self._connection, sender, lane, cut, sum(each), max(each), window, self._quiet)
            )
        for sent in self._sent.values():
            sent.end()

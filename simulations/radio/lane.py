"""One direction of one shaped connection, as a pure state machine: packets in, packets out per connection event.

Rules:

* A packet leaves when the bytes granted since its lane last stood empty cover it. Each connection event grants what
  `Conditions` say: the rate's share of an interval, or nothing when the event is missed. What one event leaves over
  counts towards the packet at the head, so the long-run rate is exact although packets are whole, and no event lets out
  more than its grant and the rest of one packet.
* An empty lane saves nothing: idle time is never paid back as a burst. Nor are missed events: their capacity is gone.
* Events that pass while the process is not scheduled are granted late, at most `MAX_LATE_EVENTS` of them: a slow
  machine is not a slow radio.

A host that keeps the lane from standing empty gets the whole rate. It can if the controller's buffers hold what leaves
at one event, and one packet more for what the event before left over.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, Protocol, TypeVar

Packet = TypeVar("Packet")

MAX_LATE_EVENTS: Final = 4
"""Connection events granted at once after a scheduling gap."""


class Grants(Protocol):
    """What connection events allow: `Conditions`, or a `LinkProfile` for a link that misses none."""

    @property
    def shaped(self) -> bool:
        """Whether there is a limit."""

    def grant_bytes(self, event: int) -> float:
        """Bytes that may leave at event number `event`."""


class Lane(Generic[Packet]):
    """A queue that empties at the rate of a link.

    Its length is bounded by the controller's buffers, which the air enforces.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[Packet, int]] = deque()
        self._credit = 0.0
        self._last_event = 0

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, packet: Packet, size: int, *, event: int) -> None:
        """Append a packet of `size` bytes; `event` is the number of the last connection event that has passed."""
        if not self._queue:
            self._credit = 0.0
            self._last_event = event
        self._queue.append((packet, size))

    def release(self, grants: Grants, *, event: int) -> list[Packet]:
        """Take out what has left by connection event number `event`, oldest first."""
        if not grants.shaped:
            packets = [packet for packet, _ in self._queue]
            self._queue.clear()
            return packets
        first = max(self._last_event, event - MAX_LATE_EVENTS) + 1
        self._last_event = event
        self._credit += sum(grants.grant_bytes(number) for number in range(first, event + 1))
        packets = []
        while self._queue and self._queue[0][1] <= self._credit:
            packet, size = self._queue.popleft()
            self._credit -= size
            packets.append(packet)
        return packets

    def hold(self, *, event: int) -> None:
        """Let events up to `event` pass unused: the peer cannot take data."""
        self._last_event = event

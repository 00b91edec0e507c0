"""One connection of the simulated radio: two ports, and between them two lanes that empty at connection events.

Each side's port behaves as the product's own does: the glasses see the controller's queue and hold bulk back
(`glasses.pacing`), the phone only feels that `write` takes longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from glasses.pacing import EventPacer
from shared.errors import LinkLost
from shared.wire import frames
from simulations.faults.schedule import End, Schedule
from simulations.radio.conditions import Conditions, Direction, EventClock
from simulations.radio.delay import DelayLine
from simulations.radio.lane import Lane

_DIRECTIONS = {End.GLASSES: Direction.TO_CENTRAL, End.PHONE: Direction.TO_PERIPHERAL}  # of what an end sends


class Air(Protocol):
    """What a connection asks of the world around it."""

    @property
    def in_range(self) -> bool:
        """Whether anything crosses."""
        ...

    def wrote(self, connection: Connection, end: End, value: bytes) -> None:
        """A link has handed a value to its stack."""
        ...

    def crossed(self, connection: Connection, sender: End, value: bytes) -> None:
        """A value has come across and is about to be handed to the other side's ATT."""
        ...

    def dropped(self, connection: Connection, end: End) -> None:
        """A link wants the connection to end."""
        ...

    def room(self, end: End) -> None:
        """A side's stack takes bulk again."""
        ...


class Port:
    """One end of a connection: `shared.wire.driver.DatagramPort`."""

    def __init__(self, connection: Connection, end: End, interval: float) -> None:
        self._connection = connection
        self.end = end
        self.lost = False
        """Whether the process knows, or can no longer know, that the connection is gone."""
        self.reported = False
        """Whether the link has been told of the connection."""
        self._pacer = EventPacer(interval) if end is End.GLASSES else None
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def max_write(self) -> int:
        """Largest value in bytes."""
        return self._connection.max_write

    @property
    def paced(self) -> bool:
        """See `DatagramPort.paced`."""
        return self._pacer is not None

    def bulk_at(self, now: float) -> float:
        """See `DatagramPort.bulk_at`."""
        if self._pacer is None:
            return now
        return self._pacer.bulk_at(now, pending=self._connection.pending_packets(self.end))

    async def write(self, value: bytes) -> None:
        """See `DatagramPort.write`."""
        while not self.lost and self._connection.full(self.end):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.lost:
            raise LinkLost("the connection is gone")
        self._connection.accept(self.end, value)

    def drop(self) -> None:
        """See `DatagramPort.drop`."""
        self._connection.drop(self.end)

    def lose(self) -> None:
        """The connection is gone for this end."""
        self.lost = True
        self._wake()

    def completed(self, now: float) -> None:
        """The controller has sent some of what it was given."""
        if self._pacer is not None:
            self._pacer.completed(now, pending=self._connection.pending_packets(self.end))
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Connection:
    """Values leave at connection events as the conditions allow, arrive in order, and vanish once it is broken.

    Args:
        air: the world around it.
        number: counts connections from 1.
        schedule: profile and queues.
        lives: of the processes it joins.
    """

    def __init__(self, air: Air, number: int, schedule: Schedule, lives: dict[End, int]) -> None:
        interval = schedule.profile.interval_s
        assert interval is not None
        self._air = air
        self.number = number
        self.lives = lives
        self.max_write = 0
        self.ports = {end: Port(self, end, interval) for end in End}
        self.broken = False
        """Whether values vanish: whoever is at the ends may not know it yet."""
        self.values = 0
        """Values that have crossed, both ways."""
        self._queue_values = schedule.queue_values
        self._conditions = Conditions(schedule.profile, connection=number)
        self._lanes: dict[End, Lane[bytes]] = {end: Lane() for end in End}
        self._pending_packets = dict.fromkeys(End, 0)
        self._delayed: dict[End, DelayLine[bytes]] = {end: DelayLine() for end in End}
        self._loop = asyncio.get_running_loop()
        self._interval: float = interval
        self._events = EventClock(self._loop.time(), interval)
        self._event = 0  # number of the last connection event looked at
        self._ticking = False
        self._drop_asked: list[End] = []

    @property
    def up(self) -> bool:
        """Whether both links know of it and it lives."""
        return not self.broken and all(port.reported and not port.lost for port in self.ports.values())

    def full(self, end: End) -> bool:
        """Whether the queue of one side's stack has no room."""
        return len(self._lanes[end]) >= self._queue_values

    def pending_packets(self, end: End) -> int:
        """Link-layer packets one side's stack holds."""
        return self._pending_packets[end]

    def accept(self, end: End, value: bytes) -> None:
        """Queue a value for the next connection event."""
        self._air.wrote(self, end, value)
        if not self._ticking:
            self._ticking = True
            self._event = max(self._event, self._events.passed(self._loop.time()))
            self._loop.call_at(self._events.time_s(self._event + 1), self._on_event)
        self._lanes[end].push(value, len(value) + frames.ATT_OVERHEAD_BYTES, event=self._event)
        self._pending_packets[end] += frames.link_packets(len(value))

    def drop(self, end: End) -> None:
        """One side ends it; told to the world once, and not in the middle of the caller's work."""
        if end not in self._drop_asked:
            self._drop_asked.append(end)
            self._loop.call_later(self._interval, self._air.dropped, self, end)

    def _on_event(self) -> None:
        self._event += 1
        now = self._loop.time()
        for end, lane in self._lanes.items():
            if not self.broken and not self._air.in_range:
                lane.hold(event=self._event)
                continue
            values = lane.release(self._conditions, event=self._event)
            if not values:
                continue
            self._pending_packets[end] -= sum(frames.link_packets(len(value)) for value in values)
            if not self.broken:
                self._delay(end, values, now + self._conditions.delay_s(self._event, _DIRECTIONS[end]))
            self.ports[end].completed(now)
            self._air.room(end)
        if any(len(lane) for lane in self._lanes.values()):
            self._loop.call_at(self._events.time_s(self._event + 1), self._on_event)
        else:
            self._ticking = False

    def _delay(self, sender: End, values: Sequence[bytes], due: float) -> None:
        line = self._delayed[sender]
        idle = not len(line)
        for value in values:
            line.push(value, due)
        if idle:
            # One timer for all of them: the order of timers of the same time is not defined.
            self._loop.call_at(due, self._arrive, sender)

    def _arrive(self, sender: End) -> None:
        line = self._delayed[sender]
        for value in line.pop(self._loop.time()):
            if self.broken:
                return
            self.values += 1
            self._air.crossed(self, sender, value)
        if line.due_s is not None:
            self._loop.call_at(line.due_s, self._arrive, sender)

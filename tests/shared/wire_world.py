"""A virtual-time world for two link sessions: a radio with intervals, a rate, losses and cuts, driven by one seed."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.link import Lane
from shared.wire.sender import Delivered, Failed
from shared.wire.session import Session


@dataclass
class Radio:
    """How values travel: at connection events every `interval` s, at most `rate` bytes a second, or lost."""

    interval: float = 0.0
    rate: float | None = None
    latency: float = 0.005
    loss: float = 0.0
    max_write: int = 512
    overhead: int = 35  # of a two-packet value: ATT and L2CAP headers, link-layer framing


@dataclass
class Side:
    name: str
    session: Session
    received: list[tuple[float, bytes]] = field(default_factory=list)
    outcomes: dict[int, tuple[float, Delivered | Failed]] = field(default_factory=dict)
    line_free_at: float = 0.0
    max_in_flight: int = 0
    max_buffered: int = 0
    stalls: int = 0


def new_session(name: str, epoch: int) -> Session:
    return Session(epoch=epoch, name=name, battery_percent=lambda: 50)


class World:
    """Two sides, a clock and a heap of things to come."""

    def __init__(self, seed: int = 0, radio: Radio | None = None) -> None:
        self.now = 100.0
        self.random = random.Random(seed)
        self.radio = radio or Radio()
        self.glasses = Side("glasses", new_session("glasses", 0xA0001))
        self.phone = Side("phone", new_session("phone", 0xB0001))
        self.connection = 0  # number of the current connection; 0 while there is none
        self._connections = itertools.count(1)
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._alarms: dict[str, float] = {}
        self.steps = 0
        self.reconnect_on_stall = True

    @property
    def sides(self) -> tuple[Side, Side]:
        return (self.glasses, self.phone)

    def other(self, side: Side) -> Side:
        return self.phone if side is self.glasses else self.glasses

    def at(self, time: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (time, next(self._order), action))

    def connect(self) -> None:
        if self.connection:
            return
        self.connection = next(self._connections)
        for side in self.sides:
            side.line_free_at = self.now
            side.session.connected(max_write=self.radio.max_write, now=self.now)
        self._serve_both()

    def cut(self) -> None:
        """Everything on its way is lost."""
        if self.connection:
            self.connection = 0
            for side in self.sides:
                side.session.disconnected(self.now)
            self._serve_both()

    def restart(self, side: Side, epoch: int) -> None:
        """The side's process starts anew: it has forgotten everything."""
        self.cut()
        side.session = new_session(side.name, epoch)

    def send(self, side: Side, payload: bytes, lane: Lane, *, within: float) -> int:
        ticket = side.session.submit(payload, lane=lane, deadline=self.now + within, now=self.now)
        self.serve(side)
        return ticket

    def run(self, until: float) -> None:
        """Let the world turn until a time; fails when a side never comes to rest."""
        while self._heap and self._heap[0][0] <= until:
            time, _, action = heapq.heappop(self._heap)
            self.now = max(self.now, time)
            self.steps += 1
            assert self.steps < 500_000, "the sessions keep each other busy for ever"
            action()
        self.now = max(self.now, until)

    def serve(self, side: Side) -> None:
        """Let a side do what its owner would do after any input."""
        session = side.session
        session.tick(self.now)
        for outcome in session.outcomes():
            assert outcome.ticket not in side.outcomes, "an object has one outcome"
            side.outcomes[outcome.ticket] = (self.now, outcome)
        side.max_buffered = max(side.max_buffered, session.buffered_bytes)
        while (payload := session.take_object()) is not None:
            side.received.append((self.now, payload))
        while (value := session.next_value(self.now)) is not None:
            self._transmit(side, value)
        side.max_in_flight = max(side.max_in_flight, session.in_flight(Lane.BULK))
        if session.stalled(self.now):
            side.stalls += 1
            if self.reconnect_on_stall:
                self.at(self.now, self.cut)
                self.at(self.now + 0.3, self.connect)
        wakeup = session.wakeup(self.now)
        if wakeup is not None:
            at = max(wakeup, self.now + 1e-6)
            # One pending wake-up per side is enough; an earlier one re-arms itself.
            if self._alarms.get(side.name, float("inf")) > at or self._alarms[side.name] <= self.now:
                self._alarms[side.name] = at
                self.at(at, lambda: self.serve(side))

    def _serve_both(self) -> None:
        for side in self.sides:
            self.serve(side)

    def _transmit(self, side: Side, value: bytes) -> None:
        assert len(value) <= self.radio.max_write
        if self.random.random() < self.radio.loss:
            return
        radio, connection = self.radio, self.connection
        if radio.rate is not None:
            start = max(side.line_free_at, self.now)
            side.line_free_at = start + (len(value) + radio.overhead) / radio.rate
            arrives = side.line_free_at
        else:
            arrives = max(side.line_free_at, self.now)
            side.line_free_at = arrives
        if radio.interval:
            arrives = (int(arrives / radio.interval) + 1) * radio.interval
        target = self.other(side)

        def arrive() -> None:
            if self.connection == connection:
                target.session.on_value(value, self.now)
                self.serve(target)

        self.at(arrives + radio.latency, arrive)

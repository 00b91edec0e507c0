"""The processes at the ends: a real link each, and as much of an application as makes the product's traffic.

The glasses send strips when the schedule says so and a status every other second; the phone answers a strip with one
reading or two. A killed process leaves its link without a farewell; what it had sent and was not acknowledged is gone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, Protocol

from shared.clock import Clock
from shared.errors import LinkError, TransferExpired
from shared.link import Lane
from shared.wire.driver import DatagramPort, DrivenLink
from simulations.faults.records import Kind, Outcome, SentObject
from simulations.faults.schedule import CONTROL_DEADLINE_S, STATUS_EVERY_S, STRIP_DEADLINE_S, TRAFFIC_END_S, End


class Desk(Protocol):
    """Where processes report what they do."""

    @property
    def now(self) -> float:
        """Virtual seconds from the start."""
        ...

    def note(self, end: End, what: str) -> None:
        """Something for the trace."""
        ...

    def register(self, sent: SentObject, payload: bytes) -> None:
        """An object is about to be sent."""
        ...

    def received(self, end: End, life: int, payload: bytes) -> SentObject | None:
        """An application was given an object; None when nobody had sent it."""
        ...


class SimulatedLink(DrivenLink):
    """The end of a `simulations.faults.connection.Connection`."""

    def connection_up(self, port: DatagramPort) -> None:
        """The connection is ready on this side."""
        self._connection_up(port)

    def connection_down(self, port: DatagramPort) -> None:
        """This side has learned that the connection is gone."""
        self._connection_down(port)

    def value_arrived(self, value: bytes) -> None:
        """A value has come."""
        self._value_arrived(value)

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for incoming objects."""
        return self._session.buffered_bytes


class Process:
    """One life of the glasses' or the phone's process.

    Args:
        desk: where it reports.
        end: which of the two it is.
        life: counts lives from 1.
        seed: of whatever its application draws.
        clock: source of time.
    """

    def __init__(self, desk: Desk, end: End, life: int, *, seed: int, clock: Clock) -> None:
        self.end = end
        self.life = life
        self._desk = desk
        self._seed = seed
        self._clock = clock
        self._started = desk.now
        epoch = random.Random(f"{seed} {end} {life} epoch").getrandbits(32)
        self.link = SimulatedLink(clock=clock, name=str(end), epoch=epoch, on_status=self._on_status)
        self._tasks: list[asyncio.Task[None]] = []
        self._sent = 0
        self._unsettled: dict[str, SentObject] = {}
        self._spawn(self._read(), "reader")
        if end is End.GLASSES:
            self._spawn(self._send_statuses(), "statuses")

    def send(self, kind: Kind, size: int, *, lane: Lane, within: float) -> None:
        """Begin to send an object of random bytes."""
        self._sent += 1
        name = f"{kind} {self._sent} of {self.end} {self.life}"
        head = f"{name}\n".encode()
        payload = head + random.Random(f"{self._seed} {name}").randbytes(max(0, size - len(head)))
        now = self._desk.now
        sent = SentObject(name, kind, self.end, self.life, lane, len(payload), at=now, deadline=now + within)
        self._desk.register(sent, payload)
        self._unsettled[name] = sent
        self._spawn(self._send(sent, payload, within), name)

    async def kill(self) -> None:
        """Die: nothing of this life does anything any more."""
        for sent in self._unsettled.values():
            sent.outcome = Outcome.KILLED
            sent.resolved_at = self._desk.now
        self._unsettled.clear()
        await self.stop()

    async def stop(self) -> None:
        """End the application and close the link."""
        for task in self._tasks:
            task.cancel()
        await self.link.close()
        await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=f"{self.end} {self.life}: {name}"))

    def _on_status(self, line: str) -> None:
        self._desk.note(self.end, line)

    async def _send(self, sent: SentObject, payload: bytes, within: float) -> None:
        desk = self._desk
        desk.note(self.end, f"sends {sent.name}, {sent.size} bytes")
        try:
            await self.link.send(payload, lane=sent.lane, deadline=self._clock.monotonic() + within)
        except LinkError as error:
            sent.outcome = Outcome.EXPIRED if isinstance(error, TransferExpired) else Outcome.FAILED
            sent.why = error.message
            desk.note(self.end, f"{sent.name}: {error.message}")
        else:
            sent.outcome = Outcome.DELIVERED
            desk.note(self.end, f"{sent.name}: delivered")
        sent.resolved_at = desk.now
        del self._unsettled[sent.name]

    async def _read(self) -> None:
        async for payload in self.link.receive():
            sent = self._desk.received(self.end, self.life, payload)
            if self.end is End.PHONE and sent is not None and sent.kind is Kind.STRIP:
                self._spawn(self._answer(sent.name), f"answer to {sent.name}")

    async def _answer(self, name: str) -> None:
        rng = random.Random(f"{self._seed} {self.life} answer to {name}")
        await self._clock.sleep(rng.uniform(0.02, 0.25))
        self.send(Kind.READING, rng.randint(100, 400), lane=Lane.CONTROL, within=CONTROL_DEADLINE_S)
        if rng.random() < 0.4:  # the cloud knew better
            await self._clock.sleep(rng.uniform(0.2, 1.5))
            self.send(Kind.READING, rng.randint(100, 400), lane=Lane.CONTROL, within=CONTROL_DEADLINE_S)

    async def _send_statuses(self) -> None:
        while self._desk.now < TRAFFIC_END_S:
            self.send(Kind.STATUS, 60, lane=Lane.CONTROL, within=CONTROL_DEADLINE_S)
            await self._clock.sleep(STATUS_EVERY_S)

    def send_strip(self, size: int) -> None:
        """The glasses have seen a sign."""
        self.send(Kind.STRIP, size, lane=Lane.BULK, within=STRIP_DEADLINE_S)

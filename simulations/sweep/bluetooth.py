"""The link between glasses and phone: the product's own state machines at both ends of a simulated connection.

A link that idles exchanges a HELLO every `shared.wire.session.PROBE_S`. Over a day of idleness these are most of what
would be simulated, and they are all alike; so the connection is set aside (`doze`) while nothing is under way and no
sign is near, and taken up again (`wake`) before the next. The HELLOs that this leaves out are counted by formula.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from shared.clock import Clock
from shared.wire import frames
from shared.wire.session import PROBE_S
from simulations.faults.connection import Connection
from simulations.faults.ends import SimulatedLink
from simulations.faults.schedule import End, Schedule
from simulations.radio.outages import OutageSchedule
from simulations.radio.profile import LinkProfile

QUEUE_VALUES: Final = 8
"""Values that one side's stack holds before a write waits, as the controllers of the fault schedules mostly do."""
MAX_WRITE: Final = 509
"""Bytes of one value: what many Android phones agree to."""
IDLE_EXCHANGE_BYTES: Final = 2 * 40
"""Both HELLOs of a probe, each about 33 bytes with a short name and the header of ATT and L2CAP."""


@dataclass(slots=True)
class Traffic:
    """What went over the air.

    Attributes:
        up_bytes, down_bytes: from and to the glasses, ATT and L2CAP headers included.
        events: connection events at which something crossed.
    """

    up_bytes: int = 0
    down_bytes: int = 0
    events: int = 0


class Bluetooth:
    """A bonded pair of devices with a link each. Make it inside a running event loop.

    Args:
        profile: rate, interval and conditions of the connection.
        clock: of the loop.
        seed: of the ends' epochs.
    """

    def __init__(self, profile: LinkProfile, *, clock: Clock, seed: int) -> None:
        rng = random.Random(f"{seed} epochs")
        self._clock = clock
        self._schedule = Schedule(seed, profile, QUEUE_VALUES, (), (), ())
        self.links = {end: SimulatedLink(clock=clock, name=str(end), epoch=rng.getrandbits(32)) for end in End}
        self.traffic = Traffic()
        self._outages = OutageSchedule(profile)
        self._start = clock.monotonic()
        self._connection: Connection | None = None
        self._connections = 0
        self._dozed_at: float | None = None
        self.idle_exchanges = 0.0
        """Probes that were counted instead of simulated."""

    @property
    def glasses(self) -> SimulatedLink:
        """The link of the glasses."""
        return self.links[End.GLASSES]

    @property
    def phone(self) -> SimulatedLink:
        """The link of the phone."""
        return self.links[End.PHONE]

    def wake(self) -> None:
        """Connect, or take the connection up again; nothing happens while it stands."""
        if self._connection is not None:
            return
        if self._dozed_at is not None:
            exchanges = (self._clock.monotonic() - self._dozed_at) / PROBE_S
            self.idle_exchanges += exchanges
            self._dozed_at = None
        self._connections += 1
        connection = self._connection = Connection(self, self._connections, self._schedule, dict.fromkeys(End, 1))
        connection.max_write = MAX_WRITE
        for end in End:
            connection.ports[end].reported = True
            self.links[end].connection_up(connection.ports[end])

    def doze(self) -> None:
        """Set the connection aside; whoever calls knows that nothing is under way."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._dozed_at = self._clock.monotonic()
        connection.broken = True
        for end in End:
            connection.ports[end].lose()
            self.links[end].connection_down(connection.ports[end])

    async def close(self) -> None:
        """End both links."""
        self.doze()
        await asyncio.gather(*(link.close() for link in self.links.values()))

    # simulations.faults.connection.Air ----------------------------------------------------------------

    @property
    def in_range(self) -> bool:
        """Whether anything crosses; what does not waits for the next event that does."""
        return not self._outages.out(self._clock.monotonic() - self._start)

    def wrote(self, connection: Connection, end: End, value: bytes) -> None:
        """Count what goes on the air."""
        size = len(value) + frames.ATT_OVERHEAD_BYTES
        if end is End.GLASSES:
            self.traffic.up_bytes += size
        else:
            self.traffic.down_bytes += size

    def crossed(self, connection: Connection, sender: End, value: bytes) -> None:
        """Hand a value to the other side."""
        if connection is self._connection:
            self.links[sender.other].value_arrived(value)

    def dropped(self, connection: Connection, end: End) -> None:
        """A link gave the connection up, as it does when the other side is silent; it is made anew."""
        if connection is self._connection:
            self.doze()
            self.wake()

    def room(self, end: End) -> None:
        """A side's stack takes bulk again."""
        self.links[end].room()

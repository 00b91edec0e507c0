"""Two links of one process joined by a cable in memory, for tests and simulations that need no radio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.clock import Clock, SystemClock
from shared.errors import LinkLost
from shared.wire.driver import DrivenLink, unknown_battery

_QUEUE_VALUES = 64


class MemoryCable:
    """Joins two `MemoryLink`s; values arrive in order, `latency` seconds after they were written.

    Args:
        clock: source of time.
        latency: seconds, each way.
        max_write: largest value in bytes.
        keep: asked for every value; False loses it, as a full queue would.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        latency: float = 0.0,
        max_write: int = 512,
        keep: Callable[[bytes], bool] = lambda value: True,
    ) -> None:
        self.clock = clock
        self.latency = latency
        self.max_write = max_write
        self.keep = keep
        self._ends: list[MemoryLink] = []
        self._ports: list[_MemoryPort] = []

    def attach(self, link: MemoryLink) -> None:
        """Add one of the two ends."""
        self._ends.append(link)

    @property
    def whole(self) -> bool:
        """Whether values pass."""
        return bool(self._ports)

    def restore(self) -> None:
        """Connect the two ends; needs a running event loop. Nothing happens when they are connected."""
        if self._ports:
            return
        first, second = self._ends
        self._ports = [_MemoryPort(self, second), _MemoryPort(self, first)]
        first._connection_up(self._ports[0])
        second._connection_up(self._ports[1])

    def cut(self) -> None:
        """Break the connection; values on their way are lost."""
        ports, self._ports = self._ports, []
        for port, link in zip(ports, self._ends, strict=False):
            port.close()
            link._connection_down(port)


class _MemoryPort:
    def __init__(self, cable: MemoryCable, peer: MemoryLink) -> None:
        self._cable = cable
        self._peer = peer
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE_VALUES)
        self._open = True
        self._carrier = asyncio.create_task(self._carry(), name="wayword-memory-cable")

    @property
    def max_write(self) -> int:
        return self._cable.max_write

    @property
    def paced(self) -> bool:
        return False

    def bulk_at(self, now: float) -> float:
        return now

    async def write(self, value: bytes) -> None:
        if self._open and self._cable.keep(value):
            await self._queue.put((self._cable.clock.monotonic() + self._cable.latency, value))
        if not self._open:
            raise LinkLost("the cable is cut")

    def drop(self) -> None:
        self._cable.cut()

    def close(self) -> None:
        self._open = False
        self._carrier.cancel()
        while not self._queue.empty():  # a writer that waits for room must learn that there will be none
            self._queue.get_nowait()

    async def _carry(self) -> None:
        while True:
            arrives, value = await self._queue.get()
            if (wait := arrives - self._cable.clock.monotonic()) > 0:
                await self._cable.clock.sleep(wait)
            self._peer._value_arrived(value)


class MemoryLink(DrivenLink):
    """One end of a `MemoryCable`."""

    def __init__(
        self,
        cable: MemoryCable,
        *,
        name: str,
        battery_percent: Callable[[], int | None] = unknown_battery,
        epoch: int | None = None,
    ) -> None:
        super().__init__(clock=cable.clock, name=name, battery_percent=battery_percent, epoch=epoch)
        self.cable = cable
        cable.attach(self)

    async def close(self) -> None:
        """End the link; the other end sees a lost connection."""
        self.cable.cut()
        await super().close()


def memory_link_pair(
    *,
    clock: Clock | None = None,
    latency: float = 0.0,
    max_write: int = 512,
    keep: Callable[[bytes], bool] = lambda value: True,
) -> tuple[MemoryLink, MemoryLink]:
    """Two connected links: glasses first, phone second. Needs a running event loop.

    `link.cable.cut()` and `link.cable.restore()` break and mend the connection.

    Args:
        clock: the system's clock when None.
        latency: see `MemoryCable`.
        max_write: see `MemoryCable`.
        keep: see `MemoryCable`.
    """
    cable = MemoryCable(clock=clock or SystemClock(), latency=latency, max_write=max_write, keep=keep)
    pair = (MemoryLink(cable, name="glasses"), MemoryLink(cable, name="phone"))
    cable.restore()
    return pair

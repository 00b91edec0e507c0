"""The two real ends of the link in this process, on the emulated radio's processes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from glasses.bonds import BondStore
from glasses.peripheral import PeripheralLink
from phone.central import CentralLink
from shared.clock import SystemClock
from shared.link import Lane, Link, SendReceipt
from simulations.radio import LinkProfile, RadioProcesses
from simulations.radio.bus import as_system_bus

CONNECT_S: Final = 60.0
"""The ends find each other within this time; a virtual machine without hardware support is slow."""
DEADLINE_S: Final = 60.0
CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends, connected, and the radio between them."""

    glasses: PeripheralLink
    phone: CentralLink
    radio: RadioProcesses

    def sender(self, direction: str) -> Link:
        """The end that sends: "out" is glasses to phone, "back" phone to glasses."""
        return self.glasses if direction == "out" else self.phone


@asynccontextmanager
async def ends(profile: LinkProfile) -> AsyncIterator[Ends]:
    """A bonded, connected pair; what arrives is taken and forgotten.

    Raises:
        RadioError: the emulated radio cannot start.
        LinkError: the ends cannot start.
        TimeoutError: they do not find each other.
    """
    async with RadioProcesses(profile) as radio:
        with as_system_bus(radio.dbus_address):  # where bleak looks
            glasses = PeripheralLink(radio.glasses_hci, clock=CLOCK, bonds=BondStore(radio.glasses_bonds, clock=CLOCK))
            phone = CentralLink(clock=CLOCK)
            takers: list[asyncio.Task[None]] = []
            try:
                await glasses.start()
                await phone.start()
                async with asyncio.timeout(CONNECT_S):
                    await asyncio.gather(glasses.wait_connected(), phone.wait_connected())
                takers = [asyncio.create_task(_take(link)) for link in (glasses, phone)]
                yield Ends(glasses, phone, radio)
            finally:
                for taker in takers:
                    taker.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.gather(*takers, return_exceptions=True)
                await phone.close()
                await glasses.close()


async def send(link: Link, chance: random.Random, size: int, lane: Lane) -> SendReceipt:
    """Send `size` random bytes and wait for the peer's DONE.

    Raises:
        LinkError: they could not be delivered within `DEADLINE_S`.
    """
    return await link.send(chance.randbytes(size), lane=lane, deadline=CLOCK.monotonic() + DEADLINE_S)


async def _take(link: Link) -> None:
    async for _ in link.receive():
        pass

"""Glasses and a phone on the real stacks, and what their users read: the stage the pairing matrix is played on.

The glasses' own link runs on Bumble; the phone's own pairing and link on unmodified bleak and ``org.bluez``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bleak.backends.bluezdbus import manager

from glasses.bonds import BondStore
from glasses.pairing import PairingPolicy
from glasses.peripheral import PeripheralLink
from phone.central import CentralLink
from phone.pairing import PairingOptions, pair, paired_glasses
from shared.clock import SystemClock
from shared.errors import WaywordError
from simulations.radio import RadioProcesses
from simulations.radio.bus import as_system_bus

EVENT_S: Final = 20.0
"""Whatever a row waits for happens within this time."""
CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one case.

    Attributes:
        done: what was done.
        glasses: what the wearer read on the glasses, or nothing.
        phone: what the user read on the phone, or nothing.
        bonded: whether both sides have the bond at the end.
    """

    done: str
    glasses: str
    phone: str
    bonded: bool


class Lines:
    """Lines somebody reads, and waiting for one of them."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._more = asyncio.Event()

    def add(self, line: str) -> None:
        """One more."""
        self.all.append(line)
        self._more.set()

    @property
    def last(self) -> str:
        """The newest, or nothing."""
        return self.all[-1] if self.all else ""

    async def until(self, words: str) -> str:
        """The first line with `words` in it.

        Raises:
            TimeoutError: there is none in time.
        """
        async with asyncio.timeout(EVENT_S):
            while not (found := [line for line in self.all if words in line]):
                self._more.clear()
                await self._more.wait()
        return found[0]


class Stage:
    """Glasses and a phone within reach of each other.

    Args:
        radio: what is between them.
        policy: limits of the glasses' pairing mode.
    """

    def __init__(self, radio: RadioProcesses, policy: PairingPolicy | None = None) -> None:
        self.radio = radio
        self.policy = policy
        self.wearer = Lines()
        self.user = Lines()
        self.glasses = self.new_glasses()
        self.phone: CentralLink | None = None

    def new_glasses(self) -> PeripheralLink:
        """The glasses as they start: with the bonds that are in their file."""
        self.bonds = BondStore(self.radio.glasses_bonds, clock=CLOCK)
        return PeripheralLink(
            self.radio.glasses_hci, clock=CLOCK, bonds=self.bonds, pairing=self.policy, on_pairing=self.wearer.add
        )

    async def restart_glasses(self) -> None:
        """End them and start them again."""
        await self.glasses.close()
        self.glasses = self.new_glasses()
        await self.glasses.start()

    async def start_phone(self) -> CentralLink:
        """The phone's daemon begins to look for glasses."""
        self.phone = CentralLink(clock=CLOCK, on_status=self.user.add)
        await self.phone.start()
        return self.phone

    async def restart_phone(self) -> None:
        """End the phone's link and start it again."""
        if self.phone is not None:
            await self.phone.close()
        await self.start_phone()

    async def connected(self) -> None:
        """Wait until both sides have said HELLO."""
        assert self.phone is not None
        async with asyncio.timeout(EVENT_S):
            await asyncio.gather(self.glasses.wait_connected(), self.phone.wait_connected())

    async def pair(self, confirm: Callable[[str], Awaitable[bool]], options: PairingOptions | None = None) -> None:
        """What ``wayword-phone pair`` does; an error is what its user reads."""
        try:
            found = await pair(confirm, clock=CLOCK, say=lambda _line: None, options=options)
            self.user.add(f"paired with {found.address}")
        except WaywordError as error:
            self.user.add(str(error))

    async def compare(self, *, glasses: bool, phone: bool) -> Callable[[str], Awaitable[bool]]:
        """Two people who look at their number and then say what they are told to say."""

        async def confirm(number: str) -> bool:
            await self.wearer.until(number)
            if glasses:
                self.glasses.pairing.answer(True)
            return phone

        return confirm

    async def bonded(self) -> bool:
        """Whether both sides have a bond with each other."""
        return bool(self.bonds.bonds()) and bool(await paired_glasses(clock=CLOCK))

    async def row(self, done: str) -> Row:
        """What has come of it."""
        return Row(done, self.wearer.last, self.user.last, await self.bonded())

    async def close(self) -> None:
        """End both."""
        if self.phone is not None:
            await self.phone.close()
        await self.glasses.close()
        await close_bleak()


async def close_bleak() -> None:
    """bleak keeps one D-Bus connection for as long as the event loop lives; this one ends with the radio."""
    instance = manager._global_instances.pop(asyncio.get_running_loop(), None)
    if instance is not None and instance._bus is not None:
        instance._bus.disconnect()
        if instance._bus_watcher_task is not None:
            await asyncio.wait({instance._bus_watcher_task})


@asynccontextmanager
async def stage(*, bonded: bool = False, policy: PairingPolicy | None = None) -> AsyncIterator[Stage]:
    """A radio with glasses that run, and a phone.

    Raises:
        RadioError: the radio cannot start.
    """
    async with RadioProcesses(bonded=bonded) as radio:
        with as_system_bus(radio.dbus_address):
            play = Stage(radio, policy)
            try:
                await play.glasses.start()
                yield play
            finally:
                await play.close()

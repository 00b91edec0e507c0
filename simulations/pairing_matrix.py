"""Every way in which pairing can end, played on the real stacks, with the words both users read.

Each row is a coroutine function that plays one case on a fresh emulated radio: the glasses' own link on Bumble, and the
phone's own pairing and link on unmodified bleak and the ``org.bluez`` façade. `ROWS` names them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from bleak.backends.bluezdbus import manager
from bumble.core import ProtocolError
from bumble.device import Advertisement, Device
from bumble.hci import Address
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport

from glasses.bonds import BondStore
from glasses.pairing import PairingPolicy
from glasses.peripheral import PeripheralLink
from phone.central import CentralLink
from phone.pairing import PairingOptions, pair, paired_glasses, unpair
from shared.clock import SystemClock
from shared.errors import LinkError, WaywordError
from shared.wire import gatt
from simulations.radio import RadioProcesses
from simulations.radio.bluez.host import advertised_uuids

EVENT_S: Final = 20.0
"""Whatever a row waits for happens within this time."""
BUS: Final = "DBUS_SYSTEM_BUS_ADDRESS"
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


@contextmanager
def _bus(address: str) -> Iterator[None]:
    before = os.environ.get(BUS)
    os.environ[BUS] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[BUS]
        else:
            os.environ[BUS] = before


@asynccontextmanager
async def stage(*, bonded: bool = False, policy: PairingPolicy | None = None) -> AsyncIterator[Stage]:
    """A radio with glasses that run, and a phone.

    Raises:
        RadioError: the radio cannot start.
    """
    async with RadioProcesses(bonded=bonded) as radio:
        with _bus(radio.dbus_address):
            play = Stage(radio, policy)
            try:
                await play.glasses.start()
                yield play
            finally:
                await play.close()


# The rows ----------------------------------------------------------------------------------------------


async def accepted() -> Row:
    """The way it should be."""
    async with stage() as play:
        await play.glasses.open_pairing()
        await play.pair(await play.compare(glasses=True, phone=True))
        await play.wearer.until("pairing mode is closed")
        row = await play.row("both said that the numbers are the same")
        await play.start_phone()
        await play.connected()
        return row


async def rejected_on_the_glasses() -> Row:
    """The wearer says no."""
    async with stage() as play:
        await play.glasses.open_pairing()

        async def confirm(number: str) -> bool:
            await play.wearer.until(number)
            play.glasses.pairing.answer(False)
            return True

        await play.pair(confirm)
        return await play.row("the wearer said no on the glasses")


async def rejected_on_the_phone() -> Row:
    """The user says no."""
    async with stage() as play:
        await play.glasses.open_pairing()
        await play.pair(await play.compare(glasses=False, phone=False))
        await play.wearer.until("the phone ended the pairing")
        return await play.row("the user said no on the phone")


async def numbers_differ() -> Row:
    """Somebody is in between: each side computes its number from another pair of keys.

    What such a person cannot avoid, that the two numbers differ, is brought about on the display; the user compares
    what the two displays show.
    """
    async with stage() as play:
        await play.glasses.open_pairing()

        async def confirm(number: str) -> bool:
            await play.wearer.until(number)
            shown_on_glasses = f"{(int(number) + 271_828) % 1_000_000:06}"
            same = number == shown_on_glasses
            play.glasses.pairing.answer(same)
            return same

        await play.pair(confirm)
        await play.wearer.until("refused")
        return await play.row("the displays showed different numbers")


async def nobody_answers_on_the_glasses() -> Row:
    """The wearer does not look."""
    async with stage(policy=PairingPolicy(answer_s=2.0)) as play:
        await play.glasses.open_pairing()
        await play.pair(await play.compare(glasses=False, phone=True))
        return await play.row("nobody answered on the glasses")


async def nobody_answers_on_the_phone() -> Row:
    """The user does not look."""
    async with stage() as play:
        await play.glasses.open_pairing()

        async def confirm(_number: str) -> bool:
            await asyncio.Event().wait()
            return True

        await play.pair(confirm, PairingOptions(answer_s=0.5))
        await play.wearer.until("the phone ended the pairing")
        return await play.row("nobody answered on the phone")


async def pairing_mode_closed() -> Row:
    """Nobody held the button."""
    async with stage() as play:
        await play.pair(await play.compare(glasses=True, phone=True), PairingOptions(scan_s=1.0))
        return await play.row("paired without holding the button of the glasses")


async def pairing_mode_closes_too_early() -> Row:
    """The phone has seen pairing mode, and asks when it is over."""
    async with stage() as play:
        await play.glasses.open_pairing()

        def say(line: str) -> None:
            if line.startswith("pairing with"):
                play.glasses.pairing.answer(False)  # held again: closed

        try:
            await pair(await play.compare(glasses=True, phone=True), clock=CLOCK, say=say)
        except LinkError as error:
            play.user.add(str(error))
        return await play.row("pairing mode was closed while the phone connected")


async def no_glasses() -> Row:
    """They are switched off."""
    async with stage() as play:
        await play.glasses.close()
        await play.pair(await play.compare(glasses=True, phone=True), PairingOptions(scan_s=0.5))
        return await play.row("paired while the glasses were off")


async def just_works() -> Row:
    """A phone without a display asks for a pairing in which nothing is compared."""
    async with stage() as play:
        await play.glasses.open_pairing()
        options = PairingOptions(capability="NoInputNoOutput")
        await play.pair(await play.compare(glasses=True, phone=True), options)
        return await play.row("the phone asked for Just Works")


async def passkey() -> Row:
    """A phone that can only enter a number."""
    async with stage() as play:
        await play.glasses.open_pairing()
        await play.pair(await play.compare(glasses=True, phone=True), PairingOptions(capability="KeyboardOnly"))
        return await play.row("the phone asked for a number to type in")


class _LegacyUser(PairingDelegate):
    """Says yes to everything, as fast as it can."""

    def __init__(self) -> None:
        super().__init__(io_capability=PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_YES_NO_INPUT)


async def legacy() -> Row:
    """A phone of before 2014, which the façade and bluetoothd are not: a Bumble host in their place."""
    async with stage() as play:
        play.radio.kill_bluez()
        await play.glasses.open_pairing()
        async with await open_transport(play.radio.phone_hci) as transport:
            old = Device.with_hci("old phone", Address("E0:57:41:59:57:4F"), transport.source, transport.sink)
            old.pairing_config_factory = lambda _connection: PairingConfig(sc=False, delegate=_LegacyUser())
            await old.power_on()
            connection = await old.connect(await _address(old), timeout=EVENT_S)
            try:
                await asyncio.wait_for(connection.pair(), EVENT_S)
                play.user.add("paired")
            except ProtocolError as error:
                play.user.add(f"pairing failed: {error.error_name.lower().replace('_', ' ')}")
            await play.wearer.until("legacy")
            await old.power_off()
        return Row("an old phone asked for legacy pairing", play.wearer.last, play.user.last, bool(play.bonds.bonds()))


async def _address(device: Device) -> Address:
    """Where the glasses advertise."""
    seen: asyncio.Future[Address] = asyncio.get_running_loop().create_future()

    def look(advertisement: Advertisement) -> None:
        if gatt.SERVICE_UUID in advertised_uuids(advertisement.data) and not seen.done():
            seen.set_result(advertisement.address)

    device.on(Device.EVENT_ADVERTISEMENT, look)
    await device.start_scanning()
    try:
        return await asyncio.wait_for(seen, EVENT_S)
    finally:
        await device.stop_scanning()


async def bond_lost_on_the_glasses() -> Row:
    """The glasses have forgotten their phones."""
    async with stage(bonded=True) as play:
        await play.start_phone()
        await play.connected()
        await play.glasses.forget_phones()
        await play.user.until("no longer know this phone")
        return await play.row("the glasses forgot their phones")


async def bond_lost_on_the_phone() -> Row:
    """The phone has forgotten the glasses."""
    async with stage(bonded=True) as play:
        await play.start_phone()
        await play.connected()
        await unpair(None, clock=CLOCK)
        await play.user.until("not paired")
        return await play.row("the phone forgot the glasses")


async def paired_anew_while_the_phone_runs() -> Row:
    """A lost bond is mended with the two commands; nothing is restarted."""
    async with stage(bonded=True) as play:
        await play.start_phone()
        await play.connected()
        await play.glasses.forget_phones()
        await play.user.until("no longer know this phone")
        await play.glasses.open_pairing()
        play.user.add(await _pair_by_command(play))
        row = await play.row("paired anew with the command, beside the running phone")
        await play.connected()
        return row


async def _pair_by_command(play: Stage) -> str:
    """Run ``wayword-phone pair`` as a user does; what it says at the end."""
    command = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "phone.cli",
        "pair",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=play.radio.phone_environment(),
    )
    assert command.stdin is not None
    assert command.stdout is not None
    try:
        async with asyncio.timeout(EVENT_S):
            number = (await command.stdout.readline()).decode().removeprefix("number").strip()
            if number:
                await play.wearer.until(number)
                play.glasses.pairing.answer(True)
            said, complaint = await command.communicate(b"yes\n")
    finally:
        with contextlib.suppress(ProcessLookupError):
            command.kill()
    return (said or complaint).decode().strip().splitlines()[-1]


async def both_restarted() -> Row:
    """The bond is in a file on each side."""
    async with stage(bonded=True) as play:
        await play.start_phone()
        await play.connected()
        await play.restart_glasses()
        await play.connected()
        await play.restart_phone()
        await play.connected()
        play.radio.kill_bluez()
        await asyncio.to_thread(play.radio.restart_bluez)
        await play.connected()
        return await play.row("glasses, phone and bluetoothd were restarted, one after another")


ROWS: Final[dict[str, Callable[[], Awaitable[Row]]]] = {
    row.__name__.replace("_", " "): row
    for row in (
        accepted,
        rejected_on_the_glasses,
        rejected_on_the_phone,
        numbers_differ,
        nobody_answers_on_the_glasses,
        nobody_answers_on_the_phone,
        pairing_mode_closed,
        pairing_mode_closes_too_early,
        no_glasses,
        just_works,
        passkey,
        legacy,
        bond_lost_on_the_glasses,
        bond_lost_on_the_phone,
        paired_anew_while_the_phone_runs,
        both_restarted,
    )
}
"""All cases, by name."""

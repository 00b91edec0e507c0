"""Every way in which pairing can end, played on the real stacks, with the words both users read.

Each row is a coroutine function that plays one case on a fresh emulated radio (`simulations.pairing_stage`). `ROWS`
names them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from bumble.core import ProtocolError
from bumble.device import Advertisement, Device
from bumble.hci import Address
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport

from glasses.pairing import PairingPolicy
from phone.pairing import PairingOptions, pair, unpair
from shared.errors import LinkError
from shared.wire import gatt
from simulations.pairing_stage import CLOCK, EVENT_S, Row, Stage, stage
from simulations.radio.bluez.host import advertised_uuids


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

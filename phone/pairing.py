"""Pairing the phone with glasses, on BlueZ: find them in pairing mode, compare numbers, check what came of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError

from phone.agent import DISPLAY_YES_NO, Confirm, PairingAgent
from phone.bluez import DEVICE, NO_BLUETOOTH_HINT, UNKNOWN_OBJECT, Bluez, BluezError, KnownGlasses
from phone.sightings import Sighting, classify, is_bonded
from phone.write_port import CALL_S
from shared.clock import Clock
from shared.errors import LinkError, LinkUnavailable, NotPaired, PairingFailed, PairingFailure, reason_of
from shared.wire import gatt
from shared.wire.waiting import within

PRESS_HINT: Final = "hold the button of the glasses until they open pairing mode, then try again"
NUMBERS_HINT: Final = "try again; if they differ again, somebody may be between the phone and the glasses"
_PAIR_S: Final = 60.0  # longer than all the deadlines of BlueZ, the glasses and the user together
_PREFIX: Final = "org.bluez.Error."


@dataclass(frozen=True, slots=True)
class PairingOptions:
    """How to pair.

    Attributes:
        scan_s: seconds to look for glasses in pairing mode.
        answer_s: the user's time to compare the numbers; the Security Manager allows 30 s.
        adapter: BlueZ adapter name such as "hci0"; the first powered one when None.
        capability: what the phone's user can see and enter, in the words of RegisterAgent; glasses of ours refuse a
            phone that cannot compare numbers.
    """

    scan_s: float = 20.0
    answer_s: float = 28.0
    adapter: str | None = None
    capability: str = DISPLAY_YES_NO


async def pair(
    confirm: Confirm, *, clock: Clock, say: Callable[[str], None], options: PairingOptions | None = None
) -> KnownGlasses:
    """Pair with the glasses in reach that are in pairing mode.

    Args:
        confirm: shows the number and returns whether the glasses show the same.
        clock: of every wait and deadline.
        say: told progress, a line each.
        options: how.

    Raises:
        PairingFailed: with its reason, in words for the user.
        LinkUnavailable: there is no Bluetooth to be used.
    """
    options = options or PairingOptions()
    if sys.platform != "linux":
        raise PairingFailed(
            PairingFailure.UNSUPPORTED,
            "Wayword can pair on Linux only",
            hint="pair with the glasses in the system's Bluetooth settings, and compare the numbers there",
        )
    async with Bluez(clock) as bluez:
        try:
            return await _pair(bluez, confirm, clock=clock, say=say, options=options)
        except BluezError as error:
            raise PairingFailed(PairingFailure.UNREACHABLE, f"Bluetooth failed: {error.text or error.name}") from error
        except TimeoutError as error:
            raise LinkUnavailable("bluetoothd does not answer", hint=NO_BLUETOOTH_HINT) from error


async def _pair(
    bluez: Bluez, confirm: Confirm, *, clock: Clock, say: Callable[[str], None], options: PairingOptions
) -> KnownGlasses:
    say("looking for glasses in pairing mode")
    device = await _find(clock, options)
    path = str(device.details["path"])
    if is_bonded(await bluez.properties(path)):
        # Whoever opened pairing mode wants a new bond; BlueZ would keep the old one and refuse.
        say("this phone knew these glasses; the old pairing is forgotten")
        await bluez.remove(path)
        device = await _find(clock, options)
        path = str(device.details["path"])
    name = device.name or device.address
    say(f"pairing with {name}")
    async with PairingAgent(
        bluez, path, confirm, clock=clock, answer_s=options.answer_s, capability=options.capability
    ) as agent:
        try:
            await bluez.call(path, DEVICE, "Pair", seconds=_PAIR_S)
        except (BluezError, TimeoutError) as error:
            raise explain_failure(error, agent, options) from error
    properties = await bluez.properties(path)
    if not is_bonded(properties) or agent.answer is not True:
        await bluez.remove(path)
        raise PairingFailed(
            PairingFailure.NOT_COMPARED, "the pairing came about without comparing numbers; it was undone"
        )
    await bluez.trust(path)
    await _part(bluez, path)
    return KnownGlasses(
        path, path.rpartition("/")[0], str(properties.get("Address", device.address)), name, True, False
    )


async def _part(bluez: Bluez, path: str) -> None:
    """End the connection that pairing made: the daemon makes its own."""
    try:
        await bluez.call(path, DEVICE, "Disconnect")
    except BluezError as error:
        if error.name != _PREFIX + "NotConnected":
            raise


async def _find(clock: Clock, options: PairingOptions) -> BLEDevice:
    seen: set[Sighting] = set()
    try:
        device = await within(clock, options.scan_s + 2 * CALL_S, _scan(clock, options, seen))
    except (BleakError, OSError, EOFError) as error:
        raise LinkUnavailable(f"Bluetooth cannot be used: {reason_of(error)}", hint=NO_BLUETOOTH_HINT) from error
    if device is None:
        closed = seen & {Sighting.BONDED, Sighting.STRANGER}
        what = "the glasses in reach are not in pairing mode" if closed else "no glasses are in reach"
        raise PairingFailed(PairingFailure.NO_GLASSES, what, hint=PRESS_HINT)
    return device


async def _scan(clock: Clock, options: PairingOptions, seen: set[Sighting]) -> BLEDevice | None:
    found: asyncio.Future[BLEDevice] = asyncio.get_running_loop().create_future()

    def look(device: BLEDevice, advertisement: AdvertisementData) -> None:
        sighting = classify(device, advertisement)
        seen.add(sighting)
        if sighting is Sighting.PAIRING and not found.done():
            found.set_result(device)

    arguments: dict[str, Any] = {} if options.adapter is None else {"bluez": {"adapter": options.adapter}}
    # Not bleak's `find_device_by_filter`: it begins to listen after the scan has begun, and BlueZ reports a device that
    # does not change once a scan.
    async with BleakScanner(look, service_uuids=[gatt.SERVICE_UUID], **arguments):
        try:
            return await within(clock, options.scan_s, found)
        except TimeoutError:
            return None


def explain_failure(error: BluezError | TimeoutError, agent: PairingAgent, options: PairingOptions) -> LinkError:
    """What Device1.Pair's error means, given what the agent was asked and said.

    BlueZ has one name, AuthenticationFailed, for nearly all of it.
    """
    name = error.name.removeprefix(_PREFIX) if isinstance(error, BluezError) else "AuthenticationTimeout"
    if agent.answer is False:
        return PairingFailed(
            PairingFailure.NUMBERS_DIFFER,
            "the numbers were said to differ; nothing was paired",
            hint=NUMBERS_HINT,
        )
    if agent.timed_out:
        return PairingFailed(
            PairingFailure.TIMED_OUT,
            f"nobody compared the numbers on the phone within {options.answer_s:g} s",
            hint=PRESS_HINT,
        )
    if name in ("NotSupported", "NotReady", "NotAvailable"):
        return PairingFailed(
            PairingFailure.UNSUPPORTED, "this Bluetooth adapter cannot pair now", hint=NO_BLUETOOTH_HINT
        )
    if name == "InProgress":
        return PairingFailed(PairingFailure.UNREACHABLE, "another pairing is under way", hint="try again when it ended")
    if agent.asked and name == "AuthenticationTimeout":
        return PairingFailed(
            PairingFailure.TIMED_OUT, "the glasses did not answer in time; nothing was paired", hint=PRESS_HINT
        )
    if agent.asked:
        return PairingFailed(
            PairingFailure.REJECTED,
            "the number was not confirmed on the glasses; nothing was paired",
            hint="try again, and press yes on the glasses if they show the same number",
        )
    if name in ("ConnectionAttemptFailed", "AuthenticationTimeout", "AuthenticationCanceled", UNKNOWN_OBJECT):
        return PairingFailed(
            PairingFailure.UNREACHABLE, "the glasses cannot be reached", hint="bring them nearer, then try again"
        )
    return PairingFailed(
        PairingFailure.REFUSED,
        "the glasses refused to pair before there was a number to compare",
        hint="they say why; if pairing mode has closed, hold their button again",
    )


async def paired_glasses(*, clock: Clock) -> list[KnownGlasses]:
    """The glasses this phone is paired with.

    Raises:
        LinkUnavailable: there is no Bluetooth to be used.
    """
    async with Bluez(clock) as bluez:
        return [one for one in await _asked(bluez) if one.paired]


async def unpair(address: str | None, *, clock: Clock) -> list[KnownGlasses]:
    """Forget paired glasses: those with this address, or the only ones there are.

    Returns:
        Those that were forgotten.

    Raises:
        LinkUnavailable: there is no Bluetooth to be used, or BlueZ refuses.
        NotPaired: there are no such glasses.
    """
    async with Bluez(clock) as bluez:
        paired = [one for one in await _asked(bluez) if one.paired]
        chosen = [one for one in paired if address is None or one.address.lower() == address.lower()]
        if not chosen:
            which = "any glasses" if address is None else f"glasses at {address}"
            raise NotPaired(f"this phone is not paired with {which}")
        if len(chosen) > 1:
            addresses = ", ".join(one.address for one in chosen)
            raise NotPaired("this phone is paired with more than one pair of glasses", hint=f"say which: {addresses}")
        for one in chosen:
            try:
                await bluez.remove(one.path)
            except (BluezError, TimeoutError) as error:
                raise LinkUnavailable(f"bluetoothd does not forget {one.address}: {error}") from error
        return chosen


async def _asked(bluez: Bluez) -> list[KnownGlasses]:
    try:
        return await bluez.glasses()
    except (BluezError, TimeoutError) as error:
        raise LinkUnavailable(f"Bluetooth cannot be used: {error}", hint=NO_BLUETOOTH_HINT) from error

"""The phone's end of the link: a GATT central on plain bleak, so on whatever Bluetooth stack bleak supports."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode

from phone.sightings import Sighting, classify, is_bonded
from phone.write_port import CALL_S, WritePort
from shared.clock import Clock
from shared.errors import BondLost, LinkError, LinkLost, LinkUnavailable, NotPaired, reason_of
from shared.wire import frames, gatt
from shared.wire.driver import DrivenLink, unknown_battery
from shared.wire.waiting import Backoff, within

_PROBE_S: Final = 10.0
_CONNECT_S: Final = 15.0
_MTU_S: Final = 5.0  # from connection to a usable write size
_MTU_POLL_S: Final = 0.05  # bleak has no event for it
_RETRY_FIRST_S: Final = 0.25
_RETRY_CAP_S: Final = 8.0
_STRANGER_S: Final = 2.0  # from glasses of somebody else to the end of the search for ours
_DROPS: Final = 3
"""Connections in a row that the glasses end before their services are known: they do not have this phone's key.

BlueZ encrypts a connection to paired glasses before anything else and, when that fails, ends it with the error that it
also has for bad reception (le-connection-abort-by-local), on which bleak tries again without a word.
"""

_REFUSALS: Final = frozenset(
    f"org.bluez.Error.{name}" for name in ("AuthenticationFailed", "AuthenticationRejected", "NotPermitted")
)
_REFUSAL_CODES: Final = (
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHENTICATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION,
)
_PAIR_HINT: Final = "hold the button of the glasses, then run: wayword-phone pair"
_BLEAK_FAILURES: Final = (BleakError, OSError, EOFError, TimeoutError, LinkLost)
_NO_BLUETOOTH_HINT: Final = "check that D-Bus and bluetoothd run and that an adapter is powered on"


class CentralLink(DrivenLink):
    """`shared.link.Link` on the phone, with the glasses it is paired with (see `phone.pairing`).

    The bond is kept by the platform's Bluetooth stack, so pairing, even while this link runs, is somebody else's work.

    Args:
        clock: source of time.
        name: shown to the glasses.
        battery_percent: 0..100 or None, asked at every HELLO.
        adapter: BlueZ adapter name such as "hci0"; the first powered one when None.
        epoch: see `DrivenLink`.
        rng: jitter of the pauses between attempts.
        scan_s: seconds of one scan; scans follow each other until the glasses are found.
        on_status: told in one line when the state of the link changes.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        name: str = "Wayword phone",
        battery_percent: Callable[[], int | None] = unknown_battery,
        adapter: str | None = None,
        epoch: int | None = None,
        rng: random.Random | None = None,
        scan_s: float = 10.0,
        on_status: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(clock=clock, name=name, battery_percent=battery_percent, epoch=epoch, on_status=on_status)
        self._adapter = adapter
        self._rng = rng or random.Random()
        self._scan_s = scan_s
        self._drops = 0  # connections in a row that ended before they were of use

    async def start(self) -> None:
        """Make sure that there is a Bluetooth stack, then look for the glasses in the background, for ever.

        Raises:
            LinkUnavailable: there is no D-Bus, no BlueZ or no powered adapter.
        """
        try:
            await within(self._clock, _PROBE_S, self._probe())
        except _BLEAK_FAILURES as error:
            raise LinkUnavailable(f"Bluetooth cannot be used: {reason_of(error)}", hint=_NO_BLUETOOTH_HINT) from error
        self._ensure_running()
        self._spawn(self._keep_connected(), "central")

    async def _probe(self) -> None:
        async with self._scanner(lambda _device, _advertisement: None):
            pass

    def _scanner(self, look: Callable[[BLEDevice, AdvertisementData], None]) -> BleakScanner:
        arguments: dict[str, Any] = {} if self._adapter is None else {"bluez": {"adapter": self._adapter}}
        return BleakScanner(look, service_uuids=[gatt.SERVICE_UUID], **arguments)

    async def _keep_connected(self) -> None:
        backoff = Backoff(self._rng, first=_RETRY_FIRST_S, cap=_RETRY_CAP_S)
        told = ""
        while True:
            try:
                device = await self._find()
                if await self._serve(device):
                    backoff.reset()
                problem = ""
            except asyncio.CancelledError:
                raise
            except LinkError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001 - bleak's backends leak their platform's own exceptions
                problem = f"Bluetooth failed: {reason_of(error)}"
            # That there are no glasses is told once, not after every scan.
            if problem and problem != told:
                self._status(problem)
            told = problem
            await self._clock.sleep(backoff.next())

    async def _find(self) -> BLEDevice:
        """Scan for glasses paired with this phone.

        Raises:
            LinkUnavailable: none are in reach.
            NotPaired: there are only others.
        """
        seen: set[Sighting] = set()
        device = await within(self._clock, self._scan_s + 2 * CALL_S, self._scan(seen))
        if device is not None:
            return device
        if Sighting.STRANGER in seen:
            raise NotPaired("the glasses in reach are not paired with this phone", hint=_PAIR_HINT)
        if Sighting.PAIRING in seen:
            raise LinkUnavailable("the glasses in reach are in pairing mode; waiting for its end")
        raise LinkUnavailable("no glasses in reach; scanning on")

    async def _scan(self, seen: set[Sighting]) -> BLEDevice | None:
        found: asyncio.Future[BLEDevice] = asyncio.get_running_loop().create_future()
        stranger = asyncio.Event()

        def look(device: BLEDevice, advertisement: AdvertisementData) -> None:
            sighting = classify(device, advertisement)
            seen.add(sighting)
            if sighting is Sighting.BONDED and not found.done():
                found.set_result(device)
            elif sighting is Sighting.STRANGER:
                stranger.set()

        async def long_enough() -> None:
            """The whole scan, or only a little longer once there are other glasses."""
            try:
                await within(self._clock, self._scan_s, stranger.wait())
            except TimeoutError:
                return
            await self._clock.sleep(min(_STRANGER_S, self._scan_s))

        async with self._scanner(look):
            waiting = asyncio.ensure_future(long_enough())
            try:
                watched: set[asyncio.Future[Any]] = {found, waiting}
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        return found.result() if found.done() else None

    async def _serve(self, device: BLEDevice) -> bool:
        """Connect and stay until the connection ends; True when the glasses said HELLO.

        Raises:
            BondLost: the glasses do not know this phone any more.
            NotPaired: they never did (where the platform does not say so beforehand).
            LinkError, bleak's errors: the connection does not come about.
        """
        try:
            return await self._stay(device)
        except (BleakDBusError, BleakGATTProtocolError) as error:
            if not _is_refusal(error):
                raise
            raise self._refused(device) from error

    def _refused(self, device: BLEDevice) -> LinkError:
        properties = device.details.get("props") if isinstance(device.details, dict) else None
        if properties is None or is_bonded(properties):
            return BondLost("the glasses no longer know this phone: they refuse its key", hint=_PAIR_HINT)
        return NotPaired("the glasses in reach are not paired with this phone", hint=_PAIR_HINT)

    async def _connect(self, client: BleakClient, device: BLEDevice, ended: asyncio.Event) -> None:
        """Connect, unless the glasses end it every time."""
        connecting = asyncio.ensure_future(within(self._clock, _CONNECT_S + CALL_S, client.connect()))
        try:
            while not connecting.done():
                ended.clear()
                drop = asyncio.ensure_future(ended.wait())
                watched: set[asyncio.Future[Any]] = {connecting, drop}
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                drop.cancel()
                if ended.is_set():
                    self._drops += 1
                    if self._drops >= _DROPS:
                        raise self._refused(device)
            connecting.result()
        finally:
            if not connecting.done():
                connecting.cancel()
                await asyncio.wait({connecting})
            if not connecting.cancelled():
                connecting.exception()
        self._drops = 0
        if client.is_connected:
            ended.clear()  # set by an attempt before this one

    async def _stay(self, device: BLEDevice) -> bool:
        ended = asyncio.Event()
        client = BleakClient(device, disconnected_callback=lambda _: ended.set(), timeout=_CONNECT_S)
        port: WritePort | None = None
        await self._connect(client, device, ended)  # bleak takes down by itself what does not come about
        try:
            to_glasses = client.services.get_characteristic(gatt.TO_GLASSES_UUID)
            to_phone = client.services.get_characteristic(gatt.TO_PHONE_UUID)
            if to_glasses is None or to_phone is None:
                raise LinkUnavailable("the device in reach advertises the Wayword service but does not have it")
            port = WritePort(client, to_glasses, ended, self._clock)
            await self._wait_for_write_size(port)
            # The port holds writes back until the subscription stands, and no HELLO of the glasses is missed.
            self._connection_up(port)
            await within(self._clock, CALL_S, client.start_notify(to_phone, self._on_notification))
            port.subscribed.set()
            await ended.wait()
            return self.quality.connected
        finally:
            ended.set()
            if port is not None:
                port.subscribed.set()
                self._connection_down(port)
            await self._part_from(client)

    async def _wait_for_write_size(self, port: WritePort) -> None:
        deadline = self._clock.monotonic() + _MTU_S
        while port.max_write < frames.MIN_VALUE_BYTES:
            if port.ended.is_set() or self._clock.monotonic() >= deadline:
                raise LinkLost(f"the glasses accept only {port.max_write}-byte values: the MTU exchange did not happen")
            await self._clock.sleep(_MTU_POLL_S)

    async def _part_from(self, client: BleakClient) -> None:
        try:
            await within(self._clock, CALL_S, client.disconnect())
        except Exception as error:  # noqa: BLE001 - it is being given up anyway, and platforms differ in what they raise
            self._status(f"the old connection was not taken down: {reason_of(error)}")

    def _on_notification(self, _characteristic: BleakGATTCharacteristic, value: bytearray) -> None:
        self._value_arrived(bytes(value))


def _is_refusal(error: BleakDBusError | BleakGATTProtocolError) -> bool:
    """Whether the glasses, or BlueZ for them, demanded a bond."""
    if isinstance(error, BleakGATTProtocolError):
        return error.code in _REFUSAL_CODES
    return error.dbus_error in _REFUSALS

"""The phone's end of the link: a GATT central on plain bleak, so on whatever Bluetooth stack bleak supports."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError

from phone.write_port import CALL_S, WritePort, reason_of
from shared.clock import Clock
from shared.errors import LinkError, LinkLost, LinkUnavailable
from shared.wire import frames, gatt
from shared.wire.driver import DrivenLink, unknown_battery
from shared.wire.waiting import Backoff, within

_PROBE_S: Final = 10.0
_CONNECT_S: Final = 15.0
_MTU_S: Final = 5.0  # from connection to a usable write size
_MTU_POLL_S: Final = 0.05  # bleak has no event for it
_RETRY_FIRST_S: Final = 0.25
_RETRY_CAP_S: Final = 8.0

_BLEAK_FAILURES: Final = (BleakError, OSError, EOFError, TimeoutError, LinkLost)
_NO_BLUETOOTH_HINT: Final = "check that D-Bus and bluetoothd run and that an adapter is powered on"


class CentralLink(DrivenLink):
    """`shared.link.Link` on the phone.

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
        async with self._scanner():
            pass

    def _scanner(self) -> BleakScanner:
        if self._adapter is None:
            return BleakScanner(service_uuids=[gatt.SERVICE_UUID])
        return BleakScanner(service_uuids=[gatt.SERVICE_UUID], bluez={"adapter": self._adapter})

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
                problem = error.message
            except Exception as error:  # noqa: BLE001 - bleak's backends leak their platform's own exceptions
                problem = f"Bluetooth failed: {reason_of(error)}"
            # That there are no glasses is told once, not after every scan.
            if problem and problem != told:
                self._status(problem)
            told = problem
            await self._clock.sleep(backoff.next())

    async def _find(self) -> BLEDevice:
        arguments: dict[str, Any] = {} if self._adapter is None else {"bluez": {"adapter": self._adapter}}
        search = BleakScanner.find_device_by_filter(
            # The name may be missing from the first advertisement; the service is in every one.
            lambda _, advertisement: gatt.SERVICE_UUID in advertisement.service_uuids,
            timeout=self._scan_s,
            service_uuids=[gatt.SERVICE_UUID],
            **arguments,
        )
        device = await within(self._clock, self._scan_s + CALL_S, search)
        if device is None:
            raise LinkUnavailable("no glasses in reach; scanning on")
        return device

    async def _serve(self, device: BLEDevice) -> bool:
        """Connect and stay until the connection ends; True when the glasses said HELLO."""
        ended = asyncio.Event()
        client = BleakClient(device, disconnected_callback=lambda _: ended.set(), timeout=_CONNECT_S)
        port: WritePort | None = None
        try:
            await within(self._clock, _CONNECT_S + CALL_S, client.connect())
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

"""The glasses' end of the link: a GATT peripheral on a Bumble host, over whatever HCI transport Bumble can open."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Final

from bumble import core, data_types, hci
from bumble.core import AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport
from bumble.transport.common import Transport

from glasses.notify_port import NotifyPort, reason_of
from shared.clock import Clock
from shared.errors import LinkLost, LinkUnavailable
from shared.wire import frames, gatt
from shared.wire.driver import DrivenLink, unknown_battery
from shared.wire.waiting import Alarm, Backoff, retrieve, within

DEFAULT_ADDRESS: Final = "F0:57:41:59:57:44"
"""Static random address (two highest bits set) of a single pair of glasses; give every further pair its own."""

_COMMAND_S: Final = 5.0  # longest answer of a controller to one operation
_POWER_ON_S: Final = 10.0
_FAREWELL_S: Final = 2.0  # of one operation while closing
_SUBSCRIBE_S: Final = 10.0  # a central that stays without listening keeps everybody else away
_ADVERTISING_INTERVAL_MS: Final = 100.0
_REOPEN_FIRST_S: Final = 0.25
_REOPEN_CAP_S: Final = 5.0
_BUMBLE_FAILURES: Final = (core.BaseBumbleError, LinkLost, TimeoutError, OSError)


class PeripheralLink(DrivenLink):
    """`shared.link.Link` on the glasses.

    Args:
        transport: Bumble transport name, such as "tcp-client:127.0.0.1:9000", "serial:/dev/ttyUSB0" or "usb:0".
        clock: source of time.
        name: advertised, and shown to the phone.
        battery_percent: 0..100 or None, asked at every HELLO.
        address: static random Bluetooth address.
        epoch: see `DrivenLink`.
        rng: jitter of the reopening pauses.
        on_status: told in one line when the state of the link changes.
    """

    def __init__(
        self,
        transport: str,
        *,
        clock: Clock,
        name: str = "Wayword glasses",
        battery_percent: Callable[[], int | None] = unknown_battery,
        address: str = DEFAULT_ADDRESS,
        epoch: int | None = None,
        rng: random.Random | None = None,
        on_status: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(clock=clock, name=name, battery_percent=battery_percent, epoch=epoch, on_status=on_status)
        self._transport_name = transport
        self._name = name
        self._address = address
        self._rng = rng or random.Random()

    async def start(self) -> None:
        """Open the transport and begin to advertise; later losses of the transport are mended in the background.

        Raises:
            LinkUnavailable: the transport cannot be opened, or no controller answers on it.
        """
        radio = await self._open()
        self._ensure_running()
        self._spawn(self._keep_radio(radio), "radio")

    async def _open(self) -> _Radio:
        where = f"the Bluetooth controller at {self._transport_name}"
        try:
            transport = await within(self._clock, _POWER_ON_S, open_transport(self._transport_name))
        except Exception as error:
            hint = "check that it runs, and the transport name (such as tcp-client:HOST:PORT or usb:0)"
            raise LinkUnavailable(f"cannot open {where}: {reason_of(error)}", hint=hint) from error
        radio = _Radio(self, transport, clock=self._clock, name=self._name, address=self._address)
        try:
            await radio.power_on()
        except _BUMBLE_FAILURES as error:
            await radio.close()
            hint = "check that a Bluetooth controller (HCI) is at the other end"
            raise LinkUnavailable(f"{where} does not start: {reason_of(error)}", hint=hint) from error
        except BaseException:
            await radio.close()
            raise
        return radio

    async def _keep_radio(self, radio: _Radio) -> None:
        backoff = Backoff(self._rng, first=_REOPEN_FIRST_S, cap=_REOPEN_CAP_S)
        while True:
            try:
                self._status(f"advertising as {self._name}")
                await radio.serve()
                problem = "its transport ended"
            except _BUMBLE_FAILURES as error:
                problem = reason_of(error)
            finally:
                self._connection_down()
                await radio.close()
            self._status(f"lost the Bluetooth controller at {self._transport_name}: {problem}; reopening it")
            radio = await self._reopen(backoff)

    async def _reopen(self, backoff: Backoff) -> _Radio:
        while True:
            await self._clock.sleep(backoff.next())
            try:
                radio = await self._open()
            except LinkUnavailable as error:
                self._status(error.message)
            else:
                backoff.reset()
                return radio

    # Called by _Radio --------------------------------------------------------------------------------

    def connection_up(self, port: NotifyPort) -> None:
        """The phone listens."""
        self._connection_up(port)

    def connection_down(self, port: NotifyPort) -> None:
        """The phone listens no longer."""
        self._connection_down(port)

    def value_arrived(self, value: bytes) -> None:
        """The phone wrote one value."""
        self._value_arrived(value)

    def report(self, line: str) -> None:
        """Something a log should know."""
        self._status(line)

    def write_size_changed(self) -> None:
        """The ATT MTU of the connection changed."""
        self._writable.set()


class _Radio:
    """One opened HCI transport and the GATT server on it. A lost transport needs a new one."""

    def __init__(self, link: PeripheralLink, transport: Transport, *, clock: Clock, name: str, address: str) -> None:
        self._link = link
        self._transport = transport
        self._clock = clock
        self._alarm = Alarm(clock)
        self._to_phone = Characteristic[bytes](
            gatt.TO_PHONE_UUID, Characteristic.Properties.NOTIFY, Characteristic.Permissions(0)
        )
        to_glasses = Characteristic[bytes](
            gatt.TO_GLASSES_UUID,
            Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
            # An authenticated, encrypted link will be demanded here once the two sides can pair.
            Characteristic.Permissions.WRITEABLE,
            CharacteristicValue(write=self._on_write),
        )
        configuration = DeviceConfiguration(
            name=name,
            address=hci.Address(address),
            advertising_interval_min=_ADVERTISING_INTERVAL_MS,
            advertising_interval_max=_ADVERTISING_INTERVAL_MS,
            identity_address_type=hci.Address.RANDOM_DEVICE_ADDRESS,
        )
        self._device = Device.from_config_with_hci(configuration, transport.source, transport.sink)
        self._device.pairing_config_factory = _pairing_config
        self._device.gatt_server.max_mtu = gatt.PREFERRED_ATT_MTU
        self._device.add_service(Service(gatt.SERVICE_UUID, [to_glasses, self._to_phone]))
        self._device.advertising_data = bytes(
            AdvertisingData(
                [
                    data_types.Flags(
                        AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE | AdvertisingData.Flags.BR_EDR_NOT_SUPPORTED
                    ),
                    data_types.CompleteListOf128BitServiceUUIDs([core.UUID(gatt.SERVICE_UUID)]),
                ]
            )
        )
        # Flags and a 128-bit UUID leave no room for the name: it goes into the scan response, 29 bytes at most.
        short_name = name.encode()[:29].decode(errors="ignore")
        self._device.scan_response_data = bytes(AdvertisingData([data_types.CompleteLocalName(short_name)]))
        self._to_phone.on(Characteristic.EVENT_SUBSCRIPTION, self._on_subscription)
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)
        transport.source.terminated.add_done_callback(lambda _: self._alarm.ring())
        self._connection: Connection | None = None
        self._port: NotifyPort | None = None
        self._listening = False  # the phone has enabled notifications
        self._idle_since = 0.0
        self._advertising = False
        self._drop = False
        self._running: asyncio.Future[None] | None = None  # the command the controller is busy with

    async def power_on(self) -> None:
        """Reset and set up the controller."""
        await self._command(self._device.power_on(), _POWER_ON_S)

    async def serve(self) -> None:
        """Advertise whenever nobody is connected, until the transport ends.

        Raises:
            LinkLost, TimeoutError, bumble errors: the controller does not do what it is told.
        """
        while not self._transport.source.terminated.done():
            until: float | None = None
            if self._connection is None:
                if not self._advertising:
                    self._advertising = True
                    await self._command(self._device.start_advertising())
            elif self._drop or (not self._listening and self._clock.monotonic() >= self._idle_since + _SUBSCRIBE_S):
                self._drop = False
                await self._command(self._connection.disconnect())
            elif not self._listening:
                until = self._idle_since + _SUBSCRIBE_S
            await self._alarm.wait(until)

    async def close(self) -> None:
        """Let go of the controller; safe to call at any time."""
        self._alarm.cancel()
        if not self._transport.source.terminated.done():
            try:
                if self._running is not None:
                    await within(self._clock, _FAREWELL_S, asyncio.wait({self._running}))
                if self._connection is not None:
                    await self._command(self._connection.disconnect(), _FAREWELL_S)
                await self._command(self._device.stop_advertising(), _FAREWELL_S)
                await self._command(self._device.power_off(), _FAREWELL_S)
            except _BUMBLE_FAILURES as error:
                self._link.report(f"the Bluetooth controller was left without a farewell: {reason_of(error)}")
        await self._transport.close()

    def drop_connection(self) -> None:
        """End the connection soon."""
        self._drop = self._connection is not None
        self._alarm.ring()

    async def _command(self, operation: Coroutine[None, None, None], seconds: float = _COMMAND_S) -> None:
        # Not cancelled with its caller: an answer that nobody awaits any more would be taken for the next command's.
        self._running = asyncio.ensure_future(operation)
        self._running.add_done_callback(retrieve)
        await within(self._clock, seconds, asyncio.shield(self._running))

    # Bumble's events ---------------------------------------------------------------------------------

    def _on_connection(self, connection: Connection) -> None:
        self._connection = connection
        self._advertising = False
        self._listening = False
        self._drop = False
        self._idle_since = self._clock.monotonic()
        connection.on(Connection.EVENT_DISCONNECTION, lambda _: self._on_disconnection(connection))
        connection.on(Connection.EVENT_CONNECTION_ATT_MTU_UPDATE, self._on_att_mtu)
        self._alarm.ring()

    def _on_disconnection(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._listening = False
            self._close_port()
            self._alarm.ring()

    def _on_subscription(self, connection: Connection, notify: bool, _indicate: bool) -> None:
        if connection is not self._connection:
            return
        self._listening = notify
        self._idle_since = self._clock.monotonic()
        # A phone that subscribes again has started anew, even if the old connection was never taken down.
        self._close_port()
        self._open_port()
        self._alarm.ring()

    def _on_att_mtu(self) -> None:
        self._open_port()
        self._link.write_size_changed()

    def _on_write(self, connection: Connection, value: bytes) -> None:
        if connection is self._connection:
            self._link.value_arrived(bytes(value))

    def _open_port(self) -> None:
        if self._port is not None or self._connection is None or not self._listening:
            return
        port = NotifyPort(
            self._device, self._connection, self._to_phone, self._clock, drop_connection=self.drop_connection
        )
        if port.max_write >= frames.MIN_VALUE_BYTES:  # otherwise the MTU exchange is still to come
            self._port = port
            self._link.connection_up(port)

    def _close_port(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            port.close()
            self._link.connection_down(port)


class _NoPairing(PairingDelegate):
    """Refuses: pairing needs numbers compared on both sides, and until the glasses can show one nobody may bond."""

    async def accept(self) -> bool:
        return False


def _pairing_config(_connection: Connection) -> PairingConfig:
    # The identity address must be the random one: with the public default a bonded reconnect fails without a word.
    return PairingConfig(
        sc=True,
        mitm=True,
        bonding=True,
        delegate=_NoPairing(),
        identity_address_type=PairingConfig.AddressType.RANDOM,
    )

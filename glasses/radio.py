"""One opened Bluetooth controller of the glasses: what is advertised, who may stay, and who is listened to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final, Protocol

from bumble import att, core, data_types, hci
from bumble import gatt as bumble_gatt
from bumble.core import AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Descriptor, Service
from bumble.keys import PairingKeys
from bumble.transport.common import Transport

from glasses.bonds import BondStore, is_authenticated
from glasses.notify_port import NotifyPort
from glasses.pairing import GuardedSession, PairingMode, pairing_config
from glasses.tuning import tune
from shared.clock import Clock
from shared.errors import LinkLost, reason_of
from shared.wire import frames, gatt
from shared.wire.waiting import Alarm, retrieve, within

POWER_ON_S: Final = 10.0
"""A controller is reset and set up within this time."""
BUMBLE_FAILURES: Final = (core.BaseBumbleError, LinkLost, TimeoutError, OSError)
"""What Bumble and its transports raise, mapped cancellations included."""
_COMMAND_S: Final = 5.0  # longest answer of a controller to one operation
_UNANSWERED_S: Final = 1.0  # of a command that the link can do without; others wait behind it for so long
_FAREWELL_S: Final = 2.0  # of one operation while closing
_SUBSCRIBE_S: Final = 10.0  # a central that stays without listening keeps everybody else away
_LAST_WORD_S: Final = 0.5  # from a refusal to the end of the connection, so that the refusal arrives first
_ADVERTISING_INTERVAL_MS: Final = 100.0
_NAME_BYTES: Final = 10  # of 31; the service data takes 19, and the name's own header 2


class RadioOwner(Protocol):
    """Who is told what happens on the radio."""

    @property
    def pairing(self) -> PairingMode:
        """Whether a new phone may pair."""
        ...

    def connection_up(self, port: NotifyPort) -> None:
        """The phone listens, on a connection that is encrypted with an authenticated bond."""
        ...

    def connection_down(self, port: NotifyPort) -> None:
        """It listens no longer."""
        ...

    def value_arrived(self, value: bytes) -> None:
        """The phone wrote one value."""
        ...

    def room(self) -> None:
        """The controller takes packets again, or larger ones."""
        ...

    def report(self, line: str) -> None:
        """Something a log should know."""
        ...

    def tell_wearer(self, line: str) -> None:
        """Something about pairing, which the wearer should know too."""
        ...

    def phone_unknown(self, address: str) -> None:
        """A phone wanted a connection encrypted with a key that is not known here."""
        ...


class Radio:
    """One opened HCI transport and the GATT server on it. A lost transport needs a new one."""

    def __init__(
        self,
        owner: RadioOwner,
        transport: Transport,
        *,
        clock: Clock,
        bonds: BondStore,
        name: str,
        address: str,
        connection_interval_ms: float | None = None,
    ) -> None:
        self._owner = owner
        self._interval_ms = connection_interval_ms
        self._bonds = bonds
        self._pairing = owner.pairing
        self._transport = transport
        self._clock = clock
        self._alarm = Alarm(clock)
        configuration = DeviceConfiguration(
            name=name,
            address=hci.Address(address),
            advertising_interval_min=_ADVERTISING_INTERVAL_MS,
            advertising_interval_max=_ADVERTISING_INTERVAL_MS,
            identity_address_type=hci.Address.RANDOM_DEVICE_ADDRESS,
        )
        self._device = Device.from_config_with_hci(configuration, transport.source, transport.sink)
        self._device.keystore = bonds
        self._device.pairing_config_factory = lambda _connection: pairing_config(owner.pairing)
        self._device.smp_session_proxy = GuardedSession
        self._device.host.long_term_key_provider = self._long_term_key
        self._device.gatt_server.max_mtu = gatt.PREFERRED_ATT_MTU
        self._to_phone = self._add_service()
        self._name = name
        self._to_phone.on(Characteristic.EVENT_SUBSCRIPTION, self._on_subscription)
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)
        transport.source.terminated.add_done_callback(lambda _: self._alarm.ring())
        self._connection: Connection | None = None
        self._port: NotifyPort | None = None
        self._listening = False  # the phone has enabled notifications
        self._idle_since = 0.0
        self._advertising: bool | None = None  # None: not at all; else whether it says that pairing mode is open
        self._pairing_under_way = False
        self._leave_at: float | None = None  # when the connection is to end
        self._running: set[asyncio.Future[object]] = set()  # commands the controller is busy with
        self._tuning: asyncio.Task[None] | None = None  # of this connection; None before it was secure

    def _add_service(self) -> Characteristic[bytes]:
        protected = Characteristic.Permissions
        demands = protected.WRITEABLE | protected.WRITE_REQUIRES_ENCRYPTION | protected.WRITE_REQUIRES_AUTHENTICATION
        to_phone = Characteristic[bytes](
            gatt.TO_PHONE_UUID, Characteristic.Properties.NOTIFY, protected(0), descriptors=(descriptors := [])
        )
        # Bumble would add a descriptor that anybody may write, and so have notifications sent to anybody.
        descriptors.append(
            Descriptor(
                bumble_gatt.GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
                protected.READABLE | demands,
                self._device.gatt_server.make_descriptor_value(to_phone),
            )
        )
        to_glasses = Characteristic[bytes](
            gatt.TO_GLASSES_UUID,
            Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
            demands,
            CharacteristicValue(write=self._on_write),
        )
        self._device.add_service(Service(gatt.SERVICE_UUID, [to_glasses, to_phone]))
        return to_phone

    async def power_on(self) -> None:
        """Reset and set up the controller."""
        await self._command(self._device.power_on(), POWER_ON_S)

    async def serve(self) -> None:
        """Advertise whenever nobody is connected, until the transport ends.

        Raises:
            LinkLost, TimeoutError, bumble errors: the controller does not do what it is told.
        """
        while not self._transport.source.terminated.done():
            pairing = self._pairing.is_open()
            until = self._pairing.closes_at
            if self._connection is None:
                if self._advertising is not pairing:
                    await self._advertise(pairing)
            else:
                leave_at = self._time_to_leave()
                if leave_at is not None and self._clock.monotonic() >= leave_at:
                    await self._command(self._connection.disconnect())
                elif leave_at is not None:
                    until = leave_at if until is None else min(until, leave_at)
            await self._alarm.wait(until)

    async def _advertise(self, pairing: bool) -> None:
        """Advertise, and say whether a new phone may pair."""
        flags = AdvertisingData.Flags.BR_EDR_NOT_SUPPORTED
        if pairing:
            # Only then may the glasses be offered to anybody who looks around (Core, Vol 3, Part C, 9.2.4).
            flags |= AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE
        service = core.UUID(gatt.SERVICE_UUID)
        self._device.advertising_data = bytes(
            AdvertisingData([data_types.Flags(flags), data_types.CompleteListOf128BitServiceUUIDs([service])])
        )
        # Flags and a 128-bit UUID leave no room for more: the rest goes into the scan response, where the service data
        # leaves ten bytes for the name. All of it can be read from the device name characteristic.
        state = gatt.PAIRING_OPEN if pairing else gatt.PAIRING_CLOSED
        whole = self._name.encode()
        short = whole[:_NAME_BYTES].decode(errors="ignore")
        name = data_types.CompleteLocalName if len(whole) <= _NAME_BYTES else data_types.ShortenedLocalName
        self._device.scan_response_data = bytes(
            AdvertisingData([name(short), data_types.ServiceData128BitUUID(service, state)])
        )
        self._advertising = pairing
        await self._command(self._device.start_advertising())
        if self._connection is not None:  # it came about while the advertisement was being changed
            await self._command(self._device.stop_advertising())

    def _time_to_leave(self) -> float | None:
        """When the connection is to be ended; None while all is well or the wearer is being asked."""
        if self._leave_at is not None:
            return self._leave_at
        if self._pairing.number or (self._listening and self._is_secure()):
            return None
        return self._idle_since + _SUBSCRIBE_S

    async def close(self) -> None:
        """Let go of the controller; safe to call at any time."""
        self._alarm.cancel()
        if not self._transport.source.terminated.done():
            try:
                if self._running:
                    await within(self._clock, _FAREWELL_S, asyncio.wait(self._running))
                if self._connection is not None:
                    await self._command(self._connection.disconnect(), _FAREWELL_S)
                await self._command(self._device.stop_advertising(), _FAREWELL_S)
                await self._command(self._device.power_off(), _FAREWELL_S)
            except BUMBLE_FAILURES as error:
                self._owner.report(f"the Bluetooth controller was left without a farewell: {reason_of(error)}")
        if self._tuning is not None:
            self._tuning.cancel()
        await self._transport.close()

    def drop_connection(self) -> None:
        """End the connection soon."""
        self._leave(0.0)

    def make_room(self) -> None:
        """Send a connected phone away, unless it is about to pair."""
        if not self._pairing_under_way:
            self._leave(0.0)

    def look_again(self) -> None:
        """Pairing mode was opened or closed."""
        self._idle_since = self._clock.monotonic()
        self._alarm.ring()

    def _leave(self, after_s: float) -> None:
        if self._connection is not None:
            self._leave_at = self._clock.monotonic() + after_s
            self._alarm.ring()

    async def _command(self, operation: Coroutine[None, None, object], seconds: float = _COMMAND_S) -> None:
        await within(self._clock, seconds, asyncio.shield(self._begin(operation)))

    async def _offer(self, command: hci.HCI_AsyncCommand) -> None:
        """Give the controller a command that the link can do without.

        Raises:
            hci.HCI_Error: it was refused.
            TimeoutError: the controller neither took nor refused it; it is forgotten, so that others get their turn.
        """
        running = self._begin(self._device.send_async_command(command))
        try:
            await within(self._clock, _UNANSWERED_S, asyncio.shield(running))
        except TimeoutError:
            running.cancel()
            raise

    def _begin(self, operation: Coroutine[None, None, object]) -> asyncio.Future[object]:
        # Not cancelled with its caller: an answer that nobody awaits any more would be taken for the next command's.
        running = asyncio.ensure_future(operation)
        running.add_done_callback(retrieve)
        running.add_done_callback(self._running.discard)
        self._running.add(running)
        return running

    # Bumble's events ---------------------------------------------------------------------------------

    def _on_connection(self, connection: Connection) -> None:
        self._connection = connection
        self._advertising = None
        self._listening = False
        self._pairing_under_way = False
        self._leave_at = None
        self._tuning = None
        self._idle_since = self._clock.monotonic()
        connection.on(Connection.EVENT_DISCONNECTION, lambda _: self._on_disconnection(connection))
        connection.on(Connection.EVENT_CONNECTION_ATT_MTU_UPDATE, self._on_att_mtu)
        connection.on(Connection.EVENT_CONNECTION_ENCRYPTION_CHANGE, self._on_encryption)
        connection.on(Connection.EVENT_PAIRING_START, self._on_pairing_start)
        connection.on(Connection.EVENT_PAIRING, self._on_pairing)
        connection.on(Connection.EVENT_PAIRING_FAILURE, self._on_pairing_failure)
        self._alarm.ring()

    def _on_disconnection(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._listening = False
            self._close_port()
            self._alarm.ring()

    def _on_encryption(self) -> None:
        self._open_port()
        if self._connection is not None and self._tuning is None and self._is_secure():
            self._tuning = asyncio.ensure_future(
                tune(
                    self._connection,
                    clock=self._clock,
                    send=self._offer,
                    interval_ms=self._interval_ms,
                    report=self._owner.report,
                )
            )
            self._tuning.add_done_callback(retrieve)

    def _on_pairing_start(self) -> None:
        self._pairing_under_way = True

    def _on_pairing(self, keys: PairingKeys) -> None:
        connection = self._connection
        if connection is None:
            return
        self._pairing_under_way = False
        address = str(connection.peer_address)
        if not is_authenticated(keys) or not self._bonds.knows(address):
            self._owner.tell_wearer("a pairing led to no authenticated bond; refused")
            self._leave(_LAST_WORD_S)
            return
        self._pairing.succeeded(address)
        self._on_encryption()

    def _on_pairing_failure(self, _reason: int) -> None:
        self._pairing_under_way = False
        self._leave(_LAST_WORD_S)

    async def _long_term_key(self, handle: int, rand: bytes, ediv: int) -> bytes | None:
        """Bumble's question for the key of a connection that its phone wants encrypted."""
        key: bytes | None = await self._device.get_long_term_key(handle, rand, ediv)
        if key is None and self._connection is not None:
            self._owner.phone_unknown(str(self._connection.peer_address))
            self._leave(_LAST_WORD_S)
        return key

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
        self._owner.room()

    def _is_secure(self) -> bool:
        """Whether the connection is encrypted with an authenticated bond.

        Bumble calls a connection authenticated when it is encrypted, whatever the key. Ours come from the store or
        from a pairing that `GuardedSession` saw through; the latter counts once it is in the store.
        """
        connection = self._connection
        return (
            connection is not None
            and bool(connection.encryption)
            and not self._pairing_under_way
            and self._bonds.knows(str(connection.peer_address))
        )

    def _on_write(self, connection: Connection, value: bytes) -> None:
        if connection is not self._connection:
            return  # the last of a connection that has just ended
        if not self._is_secure():
            raise att.ATT_Error(att.ErrorCode.INSUFFICIENT_AUTHENTICATION)
        self._owner.value_arrived(bytes(value))

    def _open_port(self) -> None:
        if self._port is not None or self._connection is None or not self._listening or not self._is_secure():
            return
        port = NotifyPort(
            self._device,
            self._connection,
            self._to_phone,
            self._clock,
            drop_connection=self.drop_connection,
            room=self._owner.room,
        )
        if port.max_write >= frames.MIN_VALUE_BYTES:  # otherwise the MTU exchange is still to come
            self._port = port
            self._owner.connection_up(port)

    def _close_port(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            port.close()
            self._owner.connection_down(port)

"""What the phone asks of BlueZ beside bleak: pairing, which bleak leaves to the desktop, and the devices it knows.

Interfaces as in BlueZ's doc/device-api.txt, doc/adapter-api.txt and doc/agent-api.txt.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from phone.sightings import is_bonded
from shared.clock import Clock
from shared.errors import LinkUnavailable
from shared.wire import gatt
from shared.wire.waiting import within

SERVICE: Final = "org.bluez"
ADAPTER: Final = "org.bluez.Adapter1"
DEVICE: Final = "org.bluez.Device1"
AGENT: Final = "org.bluez.Agent1"
AGENT_MANAGER: Final = "org.bluez.AgentManager1"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
UNKNOWN_OBJECT: Final = "org.freedesktop.DBus.Error.UnknownObject"

NO_BLUETOOTH_HINT: Final = "check that D-Bus and bluetoothd run and that an adapter is powered on"
_CALL_S: Final = 10.0


class BluezError(Exception):
    """BlueZ answered with an error.

    Args:
        name: such as "org.bluez.Error.AuthenticationFailed".
        text: for people, more or less.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


@dataclass(frozen=True, slots=True)
class KnownGlasses:
    """Glasses that BlueZ knows.

    Attributes:
        path: D-Bus object path.
        adapter: that of the adapter.
        address: Bluetooth address.
        name: as they call themselves; the address if unknown.
        paired: whether there is a bond.
        connected: whether they are connected now.
    """

    path: str
    adapter: str
    address: str
    name: str
    paired: bool
    connected: bool


class Bluez:
    """One connection to the system bus, as an async context manager.

    Args:
        clock: of deadlines.

    Raises:
        LinkUnavailable: on entry, when there is no system bus.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.bus: MessageBus | None = None

    async def __aenter__(self) -> Self:
        try:
            bus = MessageBus(bus_type=BusType.SYSTEM)
            await within(self._clock, _CALL_S, bus.connect())
        except (OSError, EOFError, ValueError, TimeoutError, DBusFastError) as error:
            raise LinkUnavailable(f"Bluetooth cannot be used: {error}", hint=NO_BLUETOOTH_HINT) from error
        self.bus = bus
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        bus, self.bus = self.bus, None
        if bus is not None:
            bus.disconnect()
            with contextlib.suppress(OSError, EOFError, TimeoutError, DBusFastError):  # it is gone either way
                await within(self._clock, _CALL_S, bus.wait_for_disconnect())  # type: ignore[no-untyped-call] # dbus-fast's

    async def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[object] = (),
        *,
        seconds: float = _CALL_S,
    ) -> list[Any]:
        """Call a method of BlueZ.

        Returns:
            The values of its reply.

        Raises:
            BluezError: it answered with an error.
            LinkUnavailable: the bus or BlueZ is not there.
            TimeoutError: no answer within `seconds`.
        """
        assert self.bus is not None
        message = Message(
            destination=SERVICE, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        try:
            reply = await within(self._clock, seconds, self.bus.call(message))
        except TimeoutError:
            raise
        except (OSError, EOFError, DBusFastError) as error:
            raise LinkUnavailable(f"Bluetooth cannot be used: {error}", hint=NO_BLUETOOTH_HINT) from error
        if reply.message_type is MessageType.ERROR:
            name, text = reply.error_name or "", str(reply.body[0]) if reply.body else ""
            if name.startswith("org.freedesktop.DBus.Error.") and ("ServiceUnknown" in name or "NameHasNo" in name):
                raise LinkUnavailable(f"Bluetooth cannot be used: {text}", hint=NO_BLUETOOTH_HINT)
            raise BluezError(name, text)
        return list(reply.body)

    async def properties(self, path: str) -> dict[str, Any]:
        """Device1 properties of one device, unpacked.

        Raises:
            BluezError, LinkUnavailable, TimeoutError: as `call`.
        """
        (values,) = await self.call(path, PROPERTIES, "GetAll", "s", [DEVICE])
        return {name: variant.value for name, variant in values.items()}

    async def trust(self, path: str) -> None:
        """Let a device connect without asking.

        Raises:
            BluezError, LinkUnavailable, TimeoutError: as `call`.
        """
        await self.call(path, PROPERTIES, "Set", "ssv", [DEVICE, "Trusted", Variant("b", True)])

    async def remove(self, path: str) -> None:
        """Forget a device and its bond; nothing happens if BlueZ does not know it.

        Raises:
            BluezError, LinkUnavailable, TimeoutError: as `call`.
        """
        try:
            await self.call(path.rpartition("/")[0], ADAPTER, "RemoveDevice", "o", [path])
        except BluezError as error:
            if error.name not in ("org.bluez.Error.DoesNotExist", UNKNOWN_OBJECT):
                raise

    async def glasses(self) -> list[KnownGlasses]:
        """Every pair of glasses BlueZ knows, paired or only heard.

        Raises:
            BluezError, LinkUnavailable, TimeoutError: as `call`.
        """
        (objects,) = await self.call("/", OBJECT_MANAGER, "GetManagedObjects")
        found = []
        for path, interfaces in objects.items():
            if DEVICE in interfaces:
                values = {name: variant.value for name, variant in interfaces[DEVICE].items()}
                if gatt.SERVICE_UUID in values.get("UUIDs", ()):
                    address = str(values.get("Address", ""))
                    name, connected = str(values.get("Name", address)), bool(values.get("Connected", False))
                    adapter = str(values.get("Adapter", ""))
                    found.append(KnownGlasses(path, adapter, address, name, is_bonded(values), connected))
        return sorted(found, key=lambda one: one.address)

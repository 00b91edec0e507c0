"""The façade answers D-Bus calls as BlueZ documents them, errors included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import radio_peripheral as peripheral
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from radio_helpers import PeripheralProcess

from simulations.radio import RadioProcesses

ADAPTER = "/org/bluez/hci0"
DEVICE = f"{ADAPTER}/dev_{peripheral.ADDRESS.replace(':', '_')}"
PROPERTIES = "org.freedesktop.DBus.Properties"


class Caller:
    """One D-Bus client and the signals it has heard."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self._signals: asyncio.Queue[Message] = asyncio.Queue()
        bus.add_message_handler(self._on_message)

    def _on_message(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and (message.path or "").startswith("/"):
            self._signals.put_nowait(message)

    async def listen(self) -> None:
        await self.call(
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "AddMatch",
            "s",
            "type='signal',sender='org.bluez'",
            destination="org.freedesktop.DBus",
        )

    async def until(self, member: str, path: str) -> list[Any]:
        """Body of the next such signal that mentions `path`."""
        async with asyncio.timeout(5):
            while True:
                message = await self._signals.get()
                if message.member == member and path in (message.path, message.body[0]):
                    return list(message.body)

    async def until_changed(self, path: str, name: str, value: object) -> None:
        """Wait until a property has a value."""
        while True:
            changed = (await self.until("PropertiesChanged", path))[1]
            if name in changed and changed[name].value == value:
                return

    async def reply(self, path: str, interface: str, member: str, signature: str, *body: Any, **more: Any) -> Message:
        destination = more.get("destination", "org.bluez")
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        return await asyncio.wait_for(self.bus.call(message), 10)

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: Any, **more: Any) -> Any:
        """The result of a call that succeeds."""
        answer = await self.reply(path, interface, member, signature, *body, **more)
        assert answer.message_type is MessageType.METHOD_RETURN, (answer.error_name, answer.body)
        return answer.body[0] if answer.body else None

    async def error(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> tuple[str, str]:
        """Name and text of the error of a call that fails."""
        answer = await self.reply(path, interface, member, signature, *body)
        assert answer.message_type is MessageType.ERROR, answer.body
        assert answer.error_name is not None
        return answer.error_name, answer.body[0]


@pytest.fixture(scope="module")
def radio() -> Iterator[RadioProcesses]:
    with RadioProcesses() as processes:
        yield processes


@pytest.fixture
async def caller(radio: RadioProcesses) -> AsyncIterator[Caller]:
    bus = await MessageBus(bus_address=radio.dbus_address).connect()
    yield Caller(bus)
    bus.disconnect()
    await bus.wait_for_disconnect()


async def found(caller: Caller) -> None:
    """Scan until the peripheral is there, then stop."""
    await caller.listen()
    await caller.call(ADAPTER, "org.bluez.Adapter1", "StartDiscovery")
    known = await caller.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    await caller.until("PropertiesChanged" if DEVICE in known else "InterfacesAdded", DEVICE)
    await caller.call(ADAPTER, "org.bluez.Adapter1", "StopDiscovery")


async def test_there_is_one_powered_adapter_for_centrals(caller: Caller) -> None:
    objects = await caller.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    adapter = objects[ADAPTER]["org.bluez.Adapter1"]
    assert adapter["Powered"].value is True
    assert adapter["Roles"].value == ["central"]
    assert await caller.call(ADAPTER, PROPERTIES, "Get", "ss", "org.bluez.Adapter1", "Alias") == Variant("s", "phone")
    every = await caller.call(ADAPTER, PROPERTIES, "GetAll", "s", "org.bluez.Adapter1")
    assert every.keys() == adapter.keys()


async def test_properties_can_be_set_only_where_bluez_lets_them(caller: Caller) -> None:
    adapter = "org.bluez.Adapter1"
    await caller.call(ADAPTER, PROPERTIES, "Set", "ssv", adapter, "Alias", Variant("s", "mine"))
    assert (await caller.call(ADAPTER, PROPERTIES, "Get", "ss", adapter, "Alias")).value == "mine"
    await caller.call(ADAPTER, PROPERTIES, "Set", "ssv", adapter, "Alias", Variant("s", "phone"))
    wrong_type = await caller.error(ADAPTER, PROPERTIES, "Set", "ssv", adapter, "Alias", Variant("u", 1))
    assert wrong_type[0] == "org.bluez.Error.InvalidArguments"
    read_only = await caller.error(ADAPTER, PROPERTIES, "Set", "ssv", adapter, "Address", Variant("s", "x"))
    assert read_only[0] == "org.freedesktop.DBus.Error.PropertyReadOnly"
    unknown = await caller.error(ADAPTER, PROPERTIES, "Get", "ss", adapter, "Colour")
    assert unknown[0] == "org.freedesktop.DBus.Error.InvalidArgs"


@pytest.mark.parametrize(
    ("path", "interface", "member", "signature", "body", "error"),
    [
        ("/nowhere", "org.bluez.Device1", "Connect", "", [], "org.freedesktop.DBus.Error.UnknownObject"),
        (ADAPTER, "org.bluez.Adapter1", "Fly", "", [], "org.freedesktop.DBus.Error.UnknownMethod"),
        (ADAPTER, "org.bluez.Adapter1", "StopDiscovery", "", [], "org.bluez.Error.Failed"),
        (ADAPTER, "org.bluez.Adapter1", "StartDiscovery", "s", ["x"], "org.bluez.Error.InvalidArguments"),
        (ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", ["/nowhere"], "org.bluez.Error.DoesNotExist"),
        (
            ADAPTER,
            "org.bluez.Adapter1",
            "SetDiscoveryFilter",
            "a{sv}",
            [{"Transport": Variant("s", "bredr")}],
            "org.bluez.Error.InvalidArguments",
        ),
        ("/org/bluez", "org.bluez.AgentManager1", "UnregisterAgent", "o", ["/agent"], "org.bluez.Error.DoesNotExist"),
    ],
)
async def test_wrong_calls_get_the_errors_of_bluez(
    caller: Caller, path: str, interface: str, member: str, signature: str, body: list[Any], error: str
) -> None:
    assert (await caller.error(path, interface, member, signature, *body))[0] == error


async def test_an_agent_can_be_registered_once(caller: Caller) -> None:
    manager = "org.bluez.AgentManager1"
    await caller.call("/org/bluez", manager, "RegisterAgent", "os", "/agent", "KeyboardDisplay")
    await caller.call("/org/bluez", manager, "RequestDefaultAgent", "o", "/agent")
    again = await caller.error("/org/bluez", manager, "RegisterAgent", "os", "/agent", "")
    assert again[0] == "org.bluez.Error.AlreadyExists"
    await caller.call("/org/bluez", manager, "UnregisterAgent", "o", "/agent")


async def test_a_second_scan_of_the_same_client_is_in_progress(caller: Caller) -> None:
    await caller.call(ADAPTER, "org.bluez.Adapter1", "StartDiscovery")
    again = await caller.error(ADAPTER, "org.bluez.Adapter1", "StartDiscovery")
    assert again[0] == "org.bluez.Error.InProgress"
    assert (await caller.call(ADAPTER, PROPERTIES, "Get", "ss", "org.bluez.Adapter1", "Discovering")).value is True
    await caller.call(ADAPTER, "org.bluez.Adapter1", "StopDiscovery")
    assert (await caller.call(ADAPTER, PROPERTIES, "Get", "ss", "org.bluez.Adapter1", "Discovering")).value is False


async def test_a_device_connects_pairs_and_disconnects(radio: RadioProcesses, caller: Caller) -> None:
    device = "org.bluez.Device1"
    with PeripheralProcess(radio.glasses_hci):
        await found(caller)
        assert (await caller.error(DEVICE, device, "Disconnect"))[0] == "org.bluez.Error.NotConnected"
        await caller.call(DEVICE, device, "Connect")
        await caller.until_changed(DEVICE, "ServicesResolved", True)
        await caller.call(DEVICE, device, "Connect")  # already: nothing happens
        await caller.call(DEVICE, device, "Pair")
        properties = await caller.call(DEVICE, PROPERTIES, "GetAll", "s", device)
        assert properties["Paired"].value is True
        assert peripheral.SERVICE in properties["UUIDs"].value
        assert (await caller.error(DEVICE, device, "Pair"))[0] == "org.bluez.Error.AlreadyExists"
        await caller.call(DEVICE, device, "Disconnect")
        await caller.until_changed(DEVICE, "Connected", False)
        objects = await caller.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        assert DEVICE in objects
        assert not [path for path in objects if path.startswith(DEVICE + "/")]
        await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", DEVICE)


async def test_an_attempt_to_connect_can_be_called_off(radio: RadioProcesses, caller: Caller) -> None:
    device = "org.bluez.Device1"
    with PeripheralProcess(radio.glasses_hci):
        await found(caller)
    calls = [asyncio.create_task(caller.error(DEVICE, device, "Connect")) for _ in range(2)]
    refused, attempt = await asyncio.wait(calls, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert refused.pop().result()[0] == "org.bluez.Error.InProgress"
    await caller.call(DEVICE, device, "Disconnect")
    assert await attempt.pop() == ("org.bluez.Error.Failed", "le-connection-canceled")
    await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", DEVICE)


async def test_notifications_of_one_client_outlive_those_of_another(radio: RadioProcesses, caller: Caller) -> None:
    characteristic = "org.bluez.GattCharacteristic1"
    with PeripheralProcess(radio.glasses_hci):
        await found(caller)
        await caller.call(DEVICE, "org.bluez.Device1", "Connect")
        await caller.until_changed(DEVICE, "ServicesResolved", True)
        objects = await caller.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        path = next(
            path
            for path, interfaces in objects.items()
            if characteristic in interfaces and interfaces[characteristic]["UUID"].value == peripheral.ECHO
        )
        bus = await MessageBus(bus_address=radio.dbus_address).connect()
        for client in (caller, Caller(bus)):
            await client.call(path, characteristic, "StartNotify")
        again = await caller.error(path, characteristic, "StartNotify")
        assert again == ("org.bluez.Error.InProgress", "Already notifying")
        bus.disconnect()
        await bus.wait_for_disconnect()
        await caller.call(path, characteristic, "WriteValue", "aya{sv}", b"still", {"type": Variant("s", "command")})
        await caller.until_changed(path, "Value", b"still")
        await caller.call(path, characteristic, "StopNotify")
        await caller.until_changed(path, "Notifying", False)
        stopped = await caller.error(path, characteristic, "StopNotify")
        assert stopped == ("org.bluez.Error.Failed", "No notify session started")
        offset = await caller.error(path, characteristic, "WriteValue", "aya{sv}", b"x", {"offset": Variant("q", 3)})
        assert offset == ("org.bluez.Error.InvalidArguments", "Invalid offset")
        await caller.call(DEVICE, "org.bluez.Device1", "Disconnect")

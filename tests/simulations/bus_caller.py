"""A D-Bus client of the façade, and a pairing agent on it, for the radio's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

ADAPTER = "/org/bluez/hci0"
DEVICE = "org.bluez.Device1"
CHARACTERISTIC = "org.bluez.GattCharacteristic1"
PROPERTIES = "org.freedesktop.DBus.Properties"
AGENT_MANAGER = "org.bluez.AgentManager1"


def path_of(address: str) -> str:
    """Object path of the device with this address."""
    return f"{ADAPTER}/dev_{address.replace(':', '_')}"


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

    def heard(self, path: str, name: str) -> list[object]:
        """Values a property has taken in the signals that have come and not been waited for."""
        values = []
        while not self._signals.empty():
            message = self._signals.get_nowait()
            if message.member == "PropertiesChanged" and message.path == path and name in message.body[1]:
                values.append(message.body[1][name].value)
        return values

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
        reply = await asyncio.wait_for(self.bus.call(message), 10)
        assert reply is not None
        return reply

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

    async def objects(self) -> dict[str, Any]:
        """The object tree."""
        tree: dict[str, Any] = await self.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        return tree

    async def property(self, path: str, name: str, interface: str = DEVICE) -> Any:
        """Value of a property."""
        return (await self.call(path, PROPERTIES, "Get", "ss", interface, name)).value

    async def found(self, path: str) -> None:
        """Scan until the device of this path is heard, then stop."""
        await self.listen()
        await self.call(ADAPTER, "org.bluez.Adapter1", "StartDiscovery")
        known = await self.objects()
        if path in known:
            while "RSSI" not in (await self.until("PropertiesChanged", path))[1]:
                pass
        else:
            await self.until("InterfacesAdded", path)
        await self.call(ADAPTER, "org.bluez.Adapter1", "StopDiscovery")

    async def connected(self, path: str) -> None:
        """Connect and wait for the services."""
        await self.call(path, DEVICE, "Connect")
        await self.until_changed(path, "ServicesResolved", True)

    async def characteristic(self, device: str, uuid: str) -> str:
        """Path of a device's characteristic."""
        return next(
            path
            for path, interfaces in (await self.objects()).items()
            if path.startswith(device)
            and CHARACTERISTIC in interfaces
            and interfaces[CHARACTERISTIC]["UUID"].value == uuid
        )


class FakeAgent:
    """A pairing agent whose questions a test answers."""

    PATH = "/agent"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        caller.bus.add_message_handler(self._on_message)

    def _on_message(self, message: Message) -> bool:
        if message.message_type is MessageType.METHOD_CALL and message.interface == "org.bluez.Agent1":
            self._asked.put_nowait(message)
            return True
        return False

    async def register(self, capability: str, *, default: bool = True) -> None:
        await self._caller.call("/org/bluez", AGENT_MANAGER, "RegisterAgent", "os", self.PATH, capability)
        if default:
            await self._caller.call("/org/bluez", AGENT_MANAGER, "RequestDefaultAgent", "o", self.PATH)

    async def asked(self, member: str) -> Message:
        """The next question, which is this one."""
        message = await asyncio.wait_for(self._asked.get(), 5)
        assert message.member == member, (message.member, message.body)
        return message

    @property
    def was_asked(self) -> bool:
        """Whether there is a question that nobody has looked at."""
        return not self._asked.empty()

    async def answer(self, question: Message, signature: str = "", *body: Any) -> None:
        await self._caller.bus.send(Message.new_method_return(question, signature, list(body)))

    async def refuse(self, question: Message, error: str = "org.bluez.Error.Rejected") -> None:
        await self._caller.bus.send(Message.new_error(question, error, "no"))


@asynccontextmanager
async def caller_on(address: str) -> AsyncIterator[Caller]:
    """A client on the bus at `address`."""
    bus = await MessageBus(bus_address=address, negotiate_unix_fd=True).connect()
    try:
        yield Caller(bus)
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()

"""GATT objects of a connected device: services, characteristics and descriptors."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bumble.gatt_client import CharacteristicProxy, DescriptorProxy
from dbus_fast import Variant

from simulations.radio.bluez.acquired import Channel
from simulations.radio.bluez.errors import (
    BluezError,
    connection_gone,
    failed,
    in_progress,
    invalid_arguments,
    not_permitted,
    not_supported,
)
from simulations.radio.bluez.host import uuid_text
from simulations.radio.bluez.objects import Call, Node, ObjectTree, Properties, Reply

if TYPE_CHECKING:
    from simulations.radio.bluez.device import RemoteDevice

SERVICE: Final = "org.bluez.GattService1"
CHARACTERISTIC: Final = "org.bluez.GattCharacteristic1"
DESCRIPTOR: Final = "org.bluez.GattDescriptor1"

MAX_VALUE_BYTES: Final = 512
"""Longest attribute value (Core, Vol 3, Part F, 3.2.9)."""
WRITE_COMMAND_OVERHEAD: Final = 3
"""ATT opcode and handle before the value of a write command or a notification."""

_FLAGS: Final = {
    0x01: "broadcast",
    0x02: "read",
    0x04: "write-without-response",
    0x08: "write",
    0x10: "notify",
    0x20: "indicate",
    0x40: "authenticated-signed-writes",
    0x80: "extended-properties",
}
"""Characteristic properties (Core, Vol 3, Part G, 3.3.1.1) by BlueZ's names."""


def _offset(options: dict[str, Variant]) -> int:
    offset = options.get("offset")
    if offset is None:
        return 0
    if offset.signature != "q":
        raise invalid_arguments()
    return int(offset.value)


class Service(Node):
    """.../serviceXXXX."""

    def __init__(self, path: str, uuid: str, device_path: str) -> None:
        super().__init__(
            path,
            {
                SERVICE: {
                    "UUID": Variant("s", uuid),
                    "Primary": Variant("b", True),
                    "Device": Variant("o", device_path),
                    "Includes": Variant("ao", []),
                }
            },
        )
        self.uuid = uuid


class Characteristic(Node):
    """.../charXXXX: values, and who is notified of them."""

    def __init__(
        self,
        path: str,
        proxy: CharacteristicProxy[bytes],
        service_path: str,
        att_mtu: int,
        device: RemoteDevice,
        tree: ObjectTree,
    ) -> None:
        self._flags = [name for bit, name in _FLAGS.items() if int(proxy.properties) & bit]
        properties: Properties = {
            "UUID": Variant("s", uuid_text(proxy.uuid)),
            "Service": Variant("o", service_path),
            "Value": Variant("ay", b""),
            "Notifying": Variant("b", False),
            "Flags": Variant("as", self._flags),
            "MTU": Variant("q", att_mtu),
        }
        # These two exist only where the sockets can be had; bleak looks for them before it asks for one.
        if "notify" in self._flags:
            properties["NotifyAcquired"] = Variant("b", False)
        if "write-without-response" in self._flags:
            properties["WriteAcquired"] = Variant("b", False)
        super().__init__(path, {CHARACTERISTIC: properties})
        self._proxy = proxy
        self._device = device
        self._tree = tree
        self._listeners: set[str] = set()
        self._subscribing = asyncio.Lock()
        self._notify_channel: Channel | None = None
        self._write_channel: Channel | None = None
        self._giving_up: asyncio.Task[None] | None = None
        self.offer(CHARACTERISTIC, "ReadValue", "a{sv}", self._read)
        self.offer(CHARACTERISTIC, "WriteValue", "aya{sv}", self._write)
        self.offer(CHARACTERISTIC, "StartNotify", "", self._start_notify)
        self.offer(CHARACTERISTIC, "StopNotify", "", self._stop_notify)
        self.offer(CHARACTERISTIC, "AcquireNotify", "a{sv}", self._acquire_notify)
        self.offer(CHARACTERISTIC, "AcquireWrite", "a{sv}", self._acquire_write)

    @property
    def _att_mtu(self) -> int:
        return int(self.interfaces[CHARACTERISTIC]["MTU"].value)

    def on_att_mtu(self, att_mtu: int) -> None:
        """The ATT MTU of the connection has changed."""
        self._change("MTU", Variant("q", att_mtu))

    def _change(self, name: str, value: Variant) -> None:
        self._tree.change(self.path, CHARACTERISTIC, {name: value})

    async def _read(self, call: Call) -> Reply:
        self._device.use(call.sender)
        offset = _offset(call.body[0])
        value = bytes(await self._device.operations.request(partial(self._proxy.client.read_value, self._proxy.handle)))
        if offset > len(value):
            raise invalid_arguments("Invalid offset")
        # A quirk of bluetoothd that clients see as a notification: a read updates the property.
        self._tree.change(self.path, CHARACTERISTIC, {"Value": Variant("ay", value)})
        return Reply("ay", (value[offset:],))

    async def _write(self, call: Call) -> Reply:
        self._device.use(call.sender)
        value, options = bytes(call.body[0]), call.body[1]
        self._notice_closed_writer()
        if self._write_channel is not None:
            raise not_permitted("Write acquired")
        kind = options.get("type")
        if kind is not None and kind.signature != "s":
            raise invalid_arguments()
        if _offset(options):
            raise invalid_arguments("Invalid offset")
        with_response = "write" in self._flags if kind is None else kind.value != "command"
        if not with_response:
            # An explicit command is sent whatever the properties say: bluetoothd leaves it to the device to ignore it.
            if kind is None and "write-without-response" not in self._flags:
                raise not_supported()
            await self._command(value)
            return Reply()
        if "write" not in self._flags:
            raise not_supported()
        if len(value) > MAX_VALUE_BYTES:
            raise invalid_arguments("Invalid Length")
        write = self._proxy.client.write_value
        await self._device.operations.request(partial(write, self._proxy.handle, value, with_response=True))
        return Reply()

    async def _command(self, value: bytes) -> None:
        if len(value) > self._att_mtu - WRITE_COMMAND_OVERHEAD:
            raise failed("Failed to initiate write")
        send = partial(self._proxy.client.write_value, self._proxy.handle, value, with_response=False)
        await self._device.operations.command(send, len(value))

    async def _start_notify(self, call: Call) -> Reply:
        self._device.use(call.sender)
        if not {"notify", "indicate"} & set(self._flags):
            raise not_supported()
        if call.sender in self._listeners:
            return Reply()  # it has one session, however often it asks
        await self._notice_closed_reader()
        async with self._subscribing:
            if self._notify_channel is not None:
                raise not_permitted("Notify acquired")
            if not self._listeners:
                await self._subscribe()
            self._listeners.add(call.sender)
        self._change("Notifying", Variant("b", True))
        return Reply()

    async def _subscribe(self) -> None:
        await self._device.operations.request(partial(self._proxy.client.subscribe, self._proxy, self._on_value))

    async def _unsubscribe(self) -> None:
        await self._device.operations.request(partial(self._proxy.client.unsubscribe, self._proxy, self._on_value))
        self._change("Notifying", Variant("b", False))

    async def _stop_notify(self, call: Call) -> Reply:
        if call.sender not in self._listeners:
            raise failed("No notify session started")
        await self.on_client_gone(call.sender)
        return Reply()

    async def on_client_gone(self, client: str) -> None:
        """End the notifications of one client, and its sockets; those of the others go on.

        Raises:
            BluezError: the device refused, or went.
        """
        if self._write_channel is not None and self._write_channel.client == client:
            self._give_up_write()
        if self._notify_channel is not None and self._notify_channel.client == client:
            await self._give_up_notify(self._notify_channel)
        if client not in self._listeners:
            return
        self._listeners.discard(client)
        async with self._subscribing:
            if not self._listeners:
                await self._unsubscribe()

    def _on_value(self, value: bytes) -> None:
        if self._notify_channel is not None:
            self._notify_channel.push(bytes(value))
        else:
            self._tree.change(self.path, CHARACTERISTIC, {"Value": Variant("ay", bytes(value))}, force=True)

    # Sockets ------------------------------------------------------------------------------------------

    async def _acquire_notify(self, call: Call) -> Reply:
        self._device.use(call.sender)
        if "notify" not in self._flags:
            raise not_supported()
        await self._notice_closed_reader()
        async with self._subscribing:
            if self._notify_channel is not None:
                raise not_permitted("Notify acquired")
            if self._listeners:
                raise in_progress()
            channel = Channel(call.sender, on_value=None, on_closed=self._notify_channel_closed)
            self._notify_channel = channel  # before the first value can come
            try:
                await self._subscribe()
            except BaseException:
                self._notify_channel = None
                channel.close()
                raise
        self._change("NotifyAcquired", Variant("b", True))
        self._change("Notifying", Variant("b", True))
        return Reply("hq", (0, self._att_mtu), (channel.detach(),))

    def _notify_channel_closed(self) -> None:
        if (channel := self._notify_channel) is not None:
            self._giving_up = asyncio.get_running_loop().create_task(self._give_up_notify_quietly(channel))

    async def _give_up_notify_quietly(self, channel: Channel) -> None:
        with contextlib.suppress(BluezError):  # the device went meanwhile
            await self._give_up_notify(channel)

    async def _give_up_notify(self, channel: Channel) -> None:
        async with self._subscribing:
            if self._notify_channel is not channel:
                return
            self._notify_channel = None
            channel.close()
            self._change("NotifyAcquired", Variant("b", False))
            await self._unsubscribe()

    async def _acquire_write(self, call: Call) -> Reply:
        self._device.use(call.sender)
        if "write-without-response" not in self._flags:
            raise not_supported()
        self._notice_closed_writer()
        if self._write_channel is not None:
            raise not_permitted("Write acquired")
        if self._device.connection is None:
            raise connection_gone()
        channel = Channel(call.sender, on_value=self._command, on_closed=self._give_up_write)
        self._write_channel = channel
        self._change("WriteAcquired", Variant("b", True))
        return Reply("hq", (0, self._att_mtu), (channel.detach(),))

    def _give_up_write(self) -> None:
        channel, self._write_channel = self._write_channel, None
        if channel is not None:
            channel.close()
            self._change("WriteAcquired", Variant("b", False))

    # A client that has closed its socket and calls at once would find it still in its own way: the end of the socket
    # and the call come by different roads, and bluetoothd nearly always sees the former first.

    async def _notice_closed_reader(self) -> None:
        if (channel := self._notify_channel) is not None and channel.hung_up:
            await self._give_up_notify(channel)

    def _notice_closed_writer(self) -> None:
        if (channel := self._write_channel) is not None and channel.hung_up:
            self._give_up_write()

    def close(self) -> None:
        """The connection has ended: so do the sockets."""
        self._give_up_write()
        channel, self._notify_channel = self._notify_channel, None
        if channel is not None:
            channel.close()


class Descriptor(Node):
    """.../descXXXX."""

    def __init__(
        self, path: str, proxy: DescriptorProxy, characteristic_path: str, device: RemoteDevice, tree: ObjectTree
    ) -> None:
        super().__init__(
            path,
            {
                DESCRIPTOR: {
                    "UUID": Variant("s", uuid_text(proxy.type)),
                    "Characteristic": Variant("o", characteristic_path),
                    "Value": Variant("ay", b""),
                }
            },
        )
        self._proxy = proxy
        self._device = device
        self._tree = tree
        self.offer(DESCRIPTOR, "ReadValue", "a{sv}", self._read)
        self.offer(DESCRIPTOR, "WriteValue", "aya{sv}", self._write)

    async def _read(self, call: Call) -> Reply:
        self._device.use(call.sender)
        offset = _offset(call.body[0])
        value = bytes(await self._device.operations.request(self._read_value))
        if offset > len(value):
            raise invalid_arguments("Invalid offset")
        self._tree.change(self.path, DESCRIPTOR, {"Value": Variant("ay", value)})
        return Reply("ay", (value[offset:],))

    async def _read_value(self) -> Any:
        return await self._proxy.client.read_value(self._proxy.handle)

    async def _write(self, call: Call) -> Reply:
        self._device.use(call.sender)
        value = bytes(call.body[0])
        if len(value) > MAX_VALUE_BYTES or _offset(call.body[1]):
            raise invalid_arguments("Invalid Length" if len(value) > MAX_VALUE_BYTES else "Invalid offset")
        write = self._proxy.client.write_value
        await self._device.operations.request(partial(write, self._proxy.handle, value, with_response=True))
        return Reply()

"""The façade's side of the bus: its name, the dispatch of calls, and clients that come and go."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any, Final

from bumble.core import BaseBumbleError
from dbus_fast import BusType, Message, MessageFlag, MessageType, NameFlag, RequestNameReply
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from shared.errors import RadioError
from simulations.radio.bluez.adapter import Adapter
from simulations.radio.bluez.agents import AgentManager
from simulations.radio.bluez.delays import Delays
from simulations.radio.bluez.errors import BluezError, failed, from_bumble
from simulations.radio.bluez.host import Host
from simulations.radio.bluez.objects import OBJECT_MANAGER, PROPERTIES, Call, Node, ObjectTree, Reply

logger = logging.getLogger(__name__)

NAME: Final = "org.bluez"
DBUS: Final = "org.freedesktop.DBus"
DBUS_ERROR: Final = "org.freedesktop.DBus.Error."
MAX_CALLS: Final = 256
"""Method calls under way at once."""


class BluezService:
    """org.bluez on a connected bus.

    Args:
        bus: the bus.
        host: the phone's Bluetooth host.
        delays: what takes its time; None: nothing does.
    """

    def __init__(self, bus: MessageBus, host: Host, delays: Delays | None = None) -> None:
        self._bus = bus
        self._tree = ObjectTree(self._send)
        self._agents = AgentManager(bus.call, self._send)
        self._adapter = Adapter(host, self._tree, self._agents, delays or Delays())
        self._calls: set[asyncio.Task[None]] = set()

    def _send(self, message: Message) -> None:
        self._bus.send(message)

    async def start(self) -> None:
        """Export the objects and take the name.

        Raises:
            RadioError: another org.bluez is on this bus.
        """
        self._bus.add_message_handler(self._on_message)
        self._tree.add(self._agents)
        self._tree.add(self._adapter)
        self._adapter.list_bonded()
        await self._bus.call(
            Message(
                destination=DBUS,
                path="/org/freedesktop/DBus",
                interface=DBUS,
                member="AddMatch",
                signature="s",
                # arg2 is the new owner: only names that go.
                body=[f"type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg2=''"],
            )
        )
        if await self._bus.request_name(NAME, NameFlag.DO_NOT_QUEUE) is not RequestNameReply.PRIMARY_OWNER:
            raise RadioError("another org.bluez is on this bus", hint="give the radio a private bus")

    async def stop(self) -> None:
        """Disconnect what is connected and leave the bus."""
        for device in list(self._adapter.devices.values()):
            try:
                await device.close()
            except BluezError as error:
                logger.warning("%s", error)
        for task in self._calls:
            task.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def on_controller_lost(self) -> None:
        """Tell the clients that the adapter is gone, as when a dongle is pulled."""
        for device in self._adapter.devices.values():
            device.on_controller_lost()
        self._tree.remove(self._adapter.path)
        # A round trip: everything sent before it has left.
        await self._bus.call(Message(destination=DBUS, path="/org/freedesktop/DBus", interface=DBUS, member="GetId"))

    # Messages -----------------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> bool:
        if message.message_type is MessageType.SIGNAL:
            if message.sender == DBUS and message.member == "NameOwnerChanged" and not message.body[2]:
                self._start(self._on_name_gone(message.body[0]))
            return False
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        if message.interface in ("org.freedesktop.DBus.Peer", "org.freedesktop.DBus.Introspectable"):
            return False  # dbus-fast answers these
        if len(self._calls) >= MAX_CALLS:
            self._send(Message.new_error(message, DBUS_ERROR + "LimitsExceeded", "too many calls under way"))
        else:
            self._start(self._answer(message))
        return True

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("unexpected", exc_info=error)

    async def _on_name_gone(self, name: str) -> None:
        self._agents.on_client_gone(name)
        await self._adapter.on_client_gone(name)

    async def _answer(self, message: Message) -> None:
        fds: list[int] = []
        try:
            reply = await self._dispatch(message)
            fds += reply.fds
            answer = Message.new_method_return(message, reply.signature, list(reply.body), fds)
        except BluezError as error:
            answer = Message.new_error(message, error.name, error.text)
        except BaseBumbleError as error:
            refusal = from_bumble(error)
            answer = Message.new_error(message, refusal.name, refusal.text)
        except Exception as error:  # a caller must get an answer, and the log the cause
            logger.exception("%s.%s on %s", message.interface, message.member, message.path)
            refusal = failed(f"{type(error).__name__}: {error}")
            answer = Message.new_error(message, refusal.name, refusal.text)
        try:
            if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
                await self._bus.send(answer)
        finally:
            for fd in fds:
                os.close(fd)

    async def _dispatch(self, message: Message) -> Reply:
        path, interface, member = message.path or "/", message.interface, message.member
        if member == "GetManagedObjects" and interface in (None, OBJECT_MANAGER) and path == "/":
            return Reply("a{oa{sa{sv}}}", (self._tree.managed(),))
        node = self._tree.get(path)
        if node is None:
            raise BluezError(
                DBUS_ERROR + "UnknownObject",
                f'Method "{member}" with signature "{message.signature}" on interface "{interface}" doesn\'t exist',
            )
        call = Call(message.sender or "", message.signature, list(message.body))
        if interface == PROPERTIES:
            return self._properties(node, member or "", call)
        for (offered_on, name), entry in node.methods.items():
            if name == member and interface in (None, offered_on):
                if entry.signature != call.signature:
                    raise BluezError("org.bluez.Error.InvalidArguments", "Invalid arguments in method call")
                return await entry.run(call)
        raise BluezError(
            DBUS_ERROR + "UnknownMethod",
            f'Method "{member}" with signature "{message.signature}" on interface "{interface}" doesn\'t exist',
        )

    def _properties(self, node: Node, member: str, call: Call) -> Reply:
        expected = {"Get": "ss", "GetAll": "s", "Set": "ssv"}
        if expected.get(member) != call.signature:
            raise BluezError(DBUS_ERROR + "UnknownMethod", f"no {PROPERTIES}.{member} with this signature")
        properties = node.interfaces.get(call.body[0])
        if properties is None:
            raise BluezError(DBUS_ERROR + "InvalidArgs", f"No such interface '{call.body[0]}'")
        if member == "GetAll":
            return Reply("a{sv}", (properties,))
        name = call.body[1]
        if name not in properties:
            raise BluezError(DBUS_ERROR + "InvalidArgs", f"No such property '{name}'")
        if member == "Get":
            return Reply("v", (properties[name],))
        if (call.body[0], name) not in node.writable:
            raise BluezError(DBUS_ERROR + "PropertyReadOnly", f"Property '{name}' is not writable")
        if call.body[2].signature != properties[name].signature:
            raise BluezError("org.bluez.Error.InvalidArguments", "Invalid arguments in method call")
        self._tree.change(node.path, call.body[0], {name: call.body[2]})
        node.property_set(call.body[0], name)
        return Reply()


async def connect_bus(address: str) -> MessageBus:
    """Connect to the bus at `address`.

    Raises:
        RadioError: it cannot be reached.
    """
    bus = MessageBus(bus_address=address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True)
    try:
        return await bus.connect()
    except (OSError, DBusFastError) as error:
        bus.disconnect()
        raise RadioError(f"the D-Bus at {address} cannot be reached: {error}") from error

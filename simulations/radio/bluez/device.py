"""A remote device: connecting, resolving its services, pairing, and the clients that use it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from bumble import core, hci
from bumble.device import Connection, ConnectionParametersPreferences, Peer
from bumble.gatt import GATT_GENERIC_ACCESS_SERVICE
from bumble.hci import Address
from dbus_fast import Variant

from simulations.radio.bluez.errors import (
    BluezError,
    connection_gone,
    does_not_exist,
    failed,
    from_bumble,
    from_connection_failure,
    in_progress,
    not_connected,
)
from simulations.radio.bluez.gatt import Characteristic, Descriptor, Service
from simulations.radio.bluez.host import Host, uuid_text
from simulations.radio.bluez.objects import Call, Node, ObjectTree, Properties, Reply

logger = logging.getLogger(__name__)

DEVICE: Final = "org.bluez.Device1"
CONNECT_S: Final = 20.0
"""A connection attempt ends after this time, like the kernel's (net/bluetooth: HCI_LE_CONN_TIMEOUT)."""
RESOLVE_S: Final = 30.0
"""Service discovery ends after this time, and the connection with it."""
CANCEL_AGAIN_S: Final = 0.05
DISCONNECT_S: Final = 5.0
OPERATION_S: Final = 30.0
"""ATT transaction timeout (Core, Vol 3, Part F, 3.3.3)."""
SUPERVISION_MS: Final = 420
"""BlueZ's default supervision timeout (main.conf: LE/ConnectionSupervisionTimeout, 42 units of 10 ms)."""
ATT_MTU: Final = 517
MAX_PENDING: Final = 64
"""GATT operations one device may have waiting; more are told to come back (InProgress)."""

Result = TypeVar("Result")


class RemoteDevice(Node):
    """/org/bluez/hci0/dev_XX_XX_XX_XX_XX_XX and, while connected, its services below it.

    Args:
        path: its D-Bus object path.
        address: where it advertises.
        advertised: Device1 properties known from its advertisement.
        host: the phone's Bluetooth host.
        tree: where its objects are exported.
        dialling: held while a connection is being made; a controller makes one at a time.
    """

    def __init__(
        self,
        path: str,
        address: Address,
        advertised: Properties,
        host: Host,
        tree: ObjectTree,
        dialling: asyncio.Lock,
    ) -> None:
        text = address.to_string(False)
        properties: Properties = {
            "Address": Variant("s", text),
            "AddressType": Variant("s", "public" if address.is_public else "random"),
            "Alias": Variant("s", text.replace(":", "-")),
            "Adapter": Variant("o", path.rpartition("/")[0]),
            "Paired": Variant("b", False),
            "Bonded": Variant("b", False),
            "Trusted": Variant("b", False),
            "Blocked": Variant("b", False),
            "LegacyPairing": Variant("b", False),
            "Connected": Variant("b", False),
            "ServicesResolved": Variant("b", False),
            "UUIDs": Variant("as", []),
        }
        super().__init__(path, {DEVICE: properties | advertised})
        self._address = address
        self._host = host
        self._tree = tree
        self._dialling = dialling
        self._on_air = False
        self._abandoned = False
        self._attempt: asyncio.Task[Connection] | None = None
        self._connection: Connection | None = None
        self._gone: asyncio.Future[None] | None = None
        self._resolving: asyncio.Task[None] | None = None
        self._pending = 0
        self._users: set[str] = set()
        self._characteristics: list[Characteristic] = []
        self.write_order = asyncio.Lock()
        self.offer(DEVICE, "Connect", "", self._connect)
        self.offer(DEVICE, "Disconnect", "", self._disconnect)
        self.offer(DEVICE, "Pair", "", self._pair)
        self.offer(DEVICE, "CancelPairing", "", self._cancel_pairing)
        self.writable |= {(DEVICE, "Trusted"), (DEVICE, "Blocked"), (DEVICE, "Alias")}

    @property
    def uuids(self) -> frozenset[str]:
        """Service UUIDs known so far."""
        return frozenset(self.interfaces[DEVICE]["UUIDs"].value)

    @property
    def idle(self) -> bool:
        """Whether nobody would miss it."""
        return self._connection is None and self._attempt is None

    # Connecting ---------------------------------------------------------------------------------------

    async def _connect(self, call: Call) -> Reply:
        self._users.add(call.sender)
        if self._connection is not None:
            return Reply()
        if self._attempt is not None:
            raise in_progress("Operation already in progress")
        self._abandoned = False
        self._attempt = asyncio.create_task(self._establish())
        try:
            await asyncio.wait({self._attempt})
            if self._attempt.cancelled():
                raise failed("le-connection-canceled")
            try:
                connection = self._attempt.result()
            except (core.BaseBumbleError, TimeoutError) as error:
                raise from_connection_failure(error) from error
        finally:
            self._attempt = None
        if self._host.device.lookup_connection(connection.handle) is not connection:
            raise failed("le-connection-abort-by-remote")  # made and lost before we got here
        self._adopt(connection)
        if self._abandoned:
            await self.close()
            raise failed("le-connection-canceled")
        return Reply()

    async def _establish(self) -> Connection:
        async with asyncio.timeout(CONNECT_S):
            await self._dialling.acquire()
        try:
            self._on_air = True
            preferences = ConnectionParametersPreferences(supervision_timeout=SUPERVISION_MS)
            return await self._host.device.connect(
                self._address,
                connection_parameters_preferences={hci.HCI_LE_1M_PHY: preferences},
                timeout=CONNECT_S,
            )
        finally:
            self._on_air = False
            self._dialling.release()

    def _adopt(self, connection: Connection) -> None:
        self._connection = connection
        self._gone = asyncio.get_running_loop().create_future()
        connection.once("disconnection", self._on_disconnection)
        self._tree.change(self.path, DEVICE, {"Connected": Variant("b", True)})
        self._resolving = asyncio.create_task(self._resolve(connection))

    def _on_disconnection(self, reason: int) -> None:
        logger.info("%s disconnected, reason 0x%02x", self.path, reason)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._connection = None
        self._users.clear()
        self._characteristics.clear()
        for name in self._tree.children(self.path):
            self._tree.remove(f"{self.path}/{name}")
        no = Variant("b", False)
        self._tree.change(self.path, DEVICE, {"ServicesResolved": no, "Connected": no})

    async def _disconnect(self, call: Call) -> Reply:
        if self.idle:
            raise not_connected()
        await self.close()
        return Reply()

    async def close(self) -> None:
        """End the connection or the attempt at one, if there is any.

        Raises:
            BluezError: the controller does not end the connection.
        """
        if self._attempt is not None:
            await self._abandon(self._attempt)
        connection, gone = self._connection, self._gone
        if connection is None or gone is None:
            return
        ending = asyncio.ensure_future(connection.disconnect())
        await asyncio.wait({gone}, timeout=DISCONNECT_S)
        await _dispose(ending)
        if not gone.done():
            raise failed("the controller does not end the connection")

    async def _abandon(self, attempt: asyncio.Task[Connection]) -> None:
        self._abandoned = True
        if not self._on_air:
            attempt.cancel()
        last = asyncio.get_running_loop().time() + DISCONNECT_S
        while not attempt.done():
            if self._on_air:
                # Refused before the controller has begun the attempt, and when the connection was made this very
                # moment; the first is tried again, and in the second case `_connect` ends the connection.
                with contextlib.suppress(core.BaseBumbleError):
                    await self._host.device.cancel_connection()  # type: ignore[no-untyped-call] # Bumble's
            await asyncio.wait({attempt}, timeout=CANCEL_AGAIN_S)
            if asyncio.get_running_loop().time() > last:
                raise failed("the controller does not end the attempt")

    def on_controller_lost(self) -> None:
        """The adapter is gone, and the connection with it."""
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connection is not None:
            self._on_disconnection(hci.HCI_ErrorCode.HARDWARE_FAILURE_ERROR)

    # Services -----------------------------------------------------------------------------------------

    async def _resolve(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(RESOLVE_S):
                nodes = await self.transact(self._discover(connection))
        except (BluezError, TimeoutError) as error:
            logger.warning("services of %s cannot be resolved: %s", self.path, error)
            if self._connection is connection:
                with contextlib.suppress(BluezError):
                    await self.close()
            return
        if self._connection is not connection:
            return
        for node in nodes:
            self._tree.add(node)
            if isinstance(node, Characteristic):
                self._characteristics.append(node)
        services = [node.uuid for node in nodes if isinstance(node, Service)]
        uuids = [*services, *sorted(self.uuids - set(services))]
        self._tree.change(self.path, DEVICE, {"UUIDs": Variant("as", uuids), "ServicesResolved": Variant("b", True)})

    async def _discover(self, connection: Connection) -> list[Node]:
        peer = Peer(connection)
        await peer.request_mtu(ATT_MTU)
        nodes: list[Node] = []
        for service in await peer.discover_services():
            if service.uuid == GATT_GENERIC_ACCESS_SERVICE:
                continue  # BlueZ keeps it for itself
            service_path = f"{self.path}/service{service.handle:04x}"
            nodes.append(Service(service_path, uuid_text(service.uuid), self.path))
            for proxy in await service.discover_characteristics():
                # BlueZ numbers a characteristic by its declaration, the attribute before its value.
                path = f"{service_path}/char{proxy.handle - 1:04x}"
                characteristic = Characteristic(path, proxy, service_path, connection.att_mtu, self, self._tree)
                nodes.append(characteristic)
                for descriptor in await proxy.discover_descriptors():
                    descriptor_path = f"{path}/desc{descriptor.handle:04x}"
                    nodes.append(Descriptor(descriptor_path, descriptor, path, self, self._tree))
        return nodes

    # Operations ---------------------------------------------------------------------------------------

    def use(self, client: str) -> None:
        """Note that a D-Bus client uses this device: it stays connected while the client is on the bus."""
        if self._connection is not None:
            self._users.add(client)

    async def room(self) -> None:
        """Wait until the controller can take another packet."""
        await self._host.room()

    async def transact(self, operation: Coroutine[Any, Any, Result]) -> Result:
        """Run a GATT operation; it ends with the connection.

        Raises:
            BluezError: the operation failed or took too long, the connection ended first, or too many are waiting.
        """
        gone = self._gone
        if self._connection is None or gone is None or self._pending >= MAX_PENDING:
            operation.close()
            raise connection_gone() if self._connection is None else in_progress()
        self._pending += 1
        task = asyncio.create_task(operation)
        try:
            watched: set[asyncio.Future[Any]] = {task, gone}
            await asyncio.wait(watched, timeout=OPERATION_S, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise connection_gone() if gone.done() else from_bumble(TimeoutError())
            if task.cancelled():  # Bumble cancels what waits for a response when the link goes
                raise connection_gone()
            return task.result()
        except (core.BaseBumbleError, TimeoutError) as error:
            raise from_bumble(error) from error
        finally:
            self._pending -= 1
            await _dispose(task)

    # Pairing ------------------------------------------------------------------------------------------

    async def _pair(self, call: Call) -> Reply:
        properties = self.interfaces[DEVICE]
        if properties["Paired"].value:
            raise BluezError("org.bluez.Error.AlreadyExists", "Already Exists")
        if self._connection is None:
            await self._connect(call)
        connection = self._connection
        if connection is None:
            raise connection_gone()
        try:
            await self.transact(connection.pair())
        except BluezError as error:
            raise BluezError("org.bluez.Error.AuthenticationFailed", "Authentication Failed") from error
        yes = Variant("b", True)
        self._tree.change(self.path, DEVICE, {"Paired": yes, "Bonded": yes})
        return Reply()

    async def _cancel_pairing(self, call: Call) -> Reply:
        raise does_not_exist()

    # Clients ------------------------------------------------------------------------------------------

    async def on_client_gone(self, client: str) -> None:
        """A D-Bus client left the bus: its notifications stop, and if it was the last user the connection ends."""
        if client not in self._users:
            return
        self._users.discard(client)
        if not self._users:
            logger.info("%s: its last client left the bus", self.path)
            with contextlib.suppress(BluezError):  # nobody is left to be told
                await self.close()
            return
        for characteristic in list(self._characteristics):
            with contextlib.suppress(BluezError):
                await characteristic.on_client_gone(client)


async def _dispose(task: asyncio.Future[Any]) -> None:
    """Make sure that a task has ended; how it ended no longer matters to anyone."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()

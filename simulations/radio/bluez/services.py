"""Discovery of a connected device's services, as the objects that BlueZ makes of them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from bumble.device import Connection, Peer
from bumble.gatt import GATT_GENERIC_ACCESS_SERVICE

from simulations.radio.bluez.errors import BluezError
from simulations.radio.bluez.gatt import Characteristic, Descriptor, Service
from simulations.radio.bluez.host import uuid_text
from simulations.radio.bluez.objects import Node, ObjectTree

if TYPE_CHECKING:
    from simulations.radio.bluez.device import RemoteDevice

logger = logging.getLogger(__name__)

ATT_MTU: Final = 517
"""What bluetoothd asks for (main.conf: GATT/ExchangeMTU)."""
RESOLVE_S: Final = 30.0
"""Service discovery ends after this time, and the connection with it."""


class Services:
    """The objects of one device's services, which come and go with its connection.

    Args:
        device: whose.
        tree: where they are exported.
        late_mtu_s: seconds from resolved services to the ATT MTU exchange; 0: it comes first.
    """

    def __init__(self, device: RemoteDevice, tree: ObjectTree, *, late_mtu_s: float) -> None:
        self._device = device
        self._tree = tree
        self._late_mtu_s = late_mtu_s
        self._characteristics: list[Characteristic] = []
        self._resolving: asyncio.Task[None] | None = None
        self._exchanging: asyncio.Task[None] | None = None

    def resolve(self, connection: Connection) -> None:
        """Begin to discover the services on a new connection."""
        connection.on(Connection.EVENT_CONNECTION_ATT_MTU_UPDATE, lambda: self._on_att_mtu(connection))
        self._resolving = asyncio.create_task(self._resolve(connection))

    async def resolved(self) -> None:
        """Wait until the services are resolved, or cannot be."""
        if self._resolving is not None:
            await asyncio.wait({self._resolving})

    async def _resolve(self, connection: Connection) -> None:
        device = self._device
        try:
            async with asyncio.timeout(RESOLVE_S):
                if not self._late_mtu_s:
                    await device.operations.transact(exchange_mtu(connection))
                nodes = await device.operations.transact(discover(connection, device, self._tree))
        except (BluezError, TimeoutError) as error:
            logger.warning("services of %s cannot be resolved: %s", device.path, error)
            if device.connection is connection:
                await device.close_quietly()
            return
        if device.connection is not connection:
            return
        for node in nodes:
            self._tree.add(node)
            if isinstance(node, Characteristic):
                self._characteristics.append(node)
        device.services_resolved([node.uuid for node in nodes if isinstance(node, Service)])
        if self._late_mtu_s:
            self._exchanging = asyncio.create_task(self._exchange_mtu_late(connection))

    async def _exchange_mtu_late(self, connection: Connection) -> None:
        """Seen on BlueZ 5.66 at second connections: the maximum write was 20 bytes until some time after connecting."""
        await asyncio.sleep(self._late_mtu_s)
        if self._device.connection is connection:
            try:
                await self._device.operations.transact(exchange_mtu(connection))
            except BluezError as error:
                logger.warning("%s: the MTU exchange failed: %s", self._device.path, error)

    def _on_att_mtu(self, connection: Connection) -> None:
        for characteristic in self._characteristics:
            characteristic.on_att_mtu(connection.att_mtu)

    def clear(self) -> None:
        """The connection has ended, and the objects go with it."""
        if self._exchanging is not None:
            self._exchanging.cancel()
        for characteristic in self._characteristics:
            characteristic.close()
        self._characteristics.clear()
        for name in self._tree.children(self._device.path):
            self._tree.remove(f"{self._device.path}/{name}")

    async def on_client_gone(self, client: str) -> None:
        """A D-Bus client left the bus: its notifications and sockets end."""
        for characteristic in list(self._characteristics):
            try:
                await characteristic.on_client_gone(client)
            except BluezError as error:
                logger.info("%s: %s", characteristic.path, error)


async def exchange_mtu(connection: Connection) -> None:
    """Agree on the ATT MTU; the connection tells of the change.

    Raises:
        bumble errors: the peer refused, or went.
    """
    await Peer(connection).request_mtu(ATT_MTU)


async def discover(connection: Connection, device: RemoteDevice, tree: ObjectTree) -> list[Node]:
    """The device's services, their characteristics and descriptors.

    Raises:
        bumble errors: the peer refused, or went.
    """
    nodes: list[Node] = []
    for service in await Peer(connection).discover_services():
        if service.uuid == GATT_GENERIC_ACCESS_SERVICE:
            continue  # BlueZ keeps it for itself
        service_path = f"{device.path}/service{service.handle:04x}"
        nodes.append(Service(service_path, uuid_text(service.uuid), device.path))
        for proxy in await service.discover_characteristics():
            # BlueZ numbers a characteristic by its declaration, the attribute before its value.
            path = f"{service_path}/char{proxy.handle - 1:04x}"
            nodes.append(Characteristic(path, proxy, service_path, connection.att_mtu, device, tree))
            for descriptor in await proxy.discover_descriptors():
                nodes.append(Descriptor(f"{path}/desc{descriptor.handle:04x}", descriptor, path, device, tree))
    return nodes

"""A remote device: connecting, resolving its services, and the clients that use it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from bumble import core, hci
from bumble.device import Connection, ConnectionParametersPreferences
from bumble.hci import Address
from dbus_fast import Variant

from simulations.radio.bluez.agents import AgentManager
from simulations.radio.bluez.bonds import Known
from simulations.radio.bluez.delays import Delays
from simulations.radio.bluez.errors import (
    BluezError,
    connection_gone,
    failed,
    from_connection_failure,
    from_disconnection,
    in_progress,
    not_connected,
)
from simulations.radio.bluez.host import Host
from simulations.radio.bluez.objects import Call, Node, ObjectTree, Properties, Reply
from simulations.radio.bluez.operations import Operations, dispose
from simulations.radio.bluez.pairing import KeyMissing, Security
from simulations.radio.bluez.services import Services

logger = logging.getLogger(__name__)

DEVICE: Final = "org.bluez.Device1"
CONNECT_S: Final = 20.0
"""A connection attempt ends after this time, like the kernel's (net/bluetooth: HCI_LE_CONN_TIMEOUT)."""
CANCEL_AGAIN_S: Final = 0.05
DISCONNECT_S: Final = 5.0
SUPERVISION_MS: Final = 420
"""BlueZ's default supervision timeout (main.conf: LE/ConnectionSupervisionTimeout, 42 units of 10 ms)."""


class RemoteDevice(Node):
    """/org/bluez/hci0/dev_XX_XX_XX_XX_XX_XX and, while connected, its services below it.

    Args:
        path: its D-Bus object path.
        address: where it advertises.
        advertised: Device1 properties known from its advertisement.
        host: the phone's Bluetooth host.
        tree: where its objects are exported.
        agents: who is asked when it pairs.
        dialling: held while a connection is being made; a controller makes one at a time.
        delays: what takes its time.
    """

    def __init__(
        self,
        path: str,
        address: Address,
        advertised: Properties,
        host: Host,
        tree: ObjectTree,
        agents: AgentManager,
        *,
        dialling: asyncio.Lock,
        delays: Delays,
    ) -> None:
        text = address.to_string(False)
        bonded = Variant("b", host.bonds.keys(address) is not None)
        known = host.bonds.known(address)
        properties: Properties = {
            "Address": Variant("s", text),
            "AddressType": Variant("s", "public" if address.is_public else "random"),
            "Alias": Variant("s", known.name or text.replace(":", "-")),
            "Adapter": Variant("o", path.rpartition("/")[0]),
            "Paired": bonded,
            "Bonded": bonded,
            "Trusted": Variant("b", known.trusted),
            "Blocked": Variant("b", False),
            "LegacyPairing": Variant("b", False),
            "Connected": Variant("b", False),
            "ServicesResolved": Variant("b", False),
            "UUIDs": Variant("as", []),
        }
        if known.name:
            properties["Name"] = Variant("s", known.name)
        super().__init__(path, {DEVICE: properties | advertised})
        self.address = address
        self._host = host
        self._tree = tree
        self._dialling = dialling
        self._connecting = False
        self._on_air = False
        self._abandoned = False
        self._attempt: asyncio.Task[Connection] | None = None
        self.connection: Connection | None = None
        self.gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._users: set[str] = set()
        self._delays = delays
        self._busy_until = 0.0
        self._operations: Operations | None = None
        self.services = Services(self, tree, late_mtu_s=delays.late_mtu_s)
        self.security = Security(self, host, agents)
        self.offer(DEVICE, "Connect", "", self._connect)
        self.offer(DEVICE, "Disconnect", "", self._disconnect)
        self.offer(DEVICE, "Pair", "", self.security.pair)
        self.offer(DEVICE, "CancelPairing", "", self.security.cancel)
        self.writable |= {(DEVICE, "Trusted"), (DEVICE, "Blocked"), (DEVICE, "Alias")}

    @property
    def uuids(self) -> frozenset[str]:
        """Service UUIDs known so far."""
        return frozenset(self.interfaces[DEVICE]["UUIDs"].value)

    @property
    def idle(self) -> bool:
        """Whether nobody would miss it."""
        return not self.in_use and self._host.bonds.keys(self.address) is None

    @property
    def in_use(self) -> bool:
        """Whether it is connected, or about to be."""
        return self.connection is not None or self._connecting

    def services_resolved(self, uuids: list[str]) -> None:
        """All its services are known now.

        Args:
            uuids: those found.
        """
        every = [*uuids, *sorted(self.uuids - set(uuids))]
        self._tree.change(self.path, DEVICE, {"UUIDs": Variant("as", every), "ServicesResolved": Variant("b", True)})

    # What outlives a connection -----------------------------------------------------------------------

    def property_set(self, interface: str, name: str) -> None:
        self.remember()

    def remember(self) -> None:
        """Keep its name and whether it is trusted, if it is bonded."""
        if self._host.bonds.keys(self.address) is not None:
            properties = self.interfaces[DEVICE]
            name = properties["Name"].value if "Name" in properties else ""
            self._host.bonds.remember(self.address, Known(name, properties["Trusted"].value))

    def bonded(self) -> None:
        """A pairing has succeeded."""
        yes = Variant("b", True)
        self._tree.change(self.path, DEVICE, {"Paired": yes, "Bonded": yes})
        self.remember()

    async def forget(self) -> None:
        """End the connection and delete the bond.

        Raises:
            BluezError: the controller does not end the connection.
        """
        self.security.abort()
        await self.close()
        await self._host.bonds.forget(self.address)

    # Connecting ---------------------------------------------------------------------------------------

    async def _connect(self, call: Call) -> Reply:
        await self.connect(call.sender)
        return Reply()

    async def connect(self, client: str) -> None:
        """Connect for a client and, with a bonded device, encrypt, unless that is done already.

        Raises:
            BluezError: as Device1.Connect answers.
        """
        self._users.add(client)
        if self._connecting:
            raise in_progress("Operation already in progress")
        if self.connection is not None:
            return
        if asyncio.get_running_loop().time() < self._busy_until:
            raise failed("Input/output error")  # EBUSY, by way of the socket's error
        self._connecting = True
        self._abandoned = False
        try:
            connection = await self._dial()
            # Before anything else, as the kernel does for a socket of BT_IO_SEC_MEDIUM, which bluetoothd opens to a
            # paired device. So no attribute of a bonded device is ever refused for want of encryption.
            await self.secure(connection)
            self.services.resolve(connection)
        except BluezError as error:
            if self._abandoned:
                raise failed("le-connection-canceled") from error
            raise
        finally:
            self._connecting = False

    async def _dial(self) -> Connection:
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
        return connection

    async def _establish(self) -> Connection:
        async with asyncio.timeout(CONNECT_S):
            await self._dialling.acquire()
        try:
            self._on_air = True
            preferences = ConnectionParametersPreferences(supervision_timeout=SUPERVISION_MS)
            return await self._host.device.connect(
                self.address,
                connection_parameters_preferences={hci.HCI_LE_1M_PHY: preferences},
                timeout=CONNECT_S,
            )
        finally:
            self._on_air = False
            self._dialling.release()

    def _adopt(self, connection: Connection) -> None:
        self.connection = connection
        self.gone = asyncio.get_running_loop().create_future()
        self._operations = Operations(self.gone, self._host.room)
        connection.once(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        self._host.on_pairing(connection.handle, self.security.configuration)
        self.security.watch(connection)
        self._tree.change(self.path, DEVICE, {"Connected": Variant("b", True)})

    async def secure(self, connection: Connection) -> None:
        """Encrypt the connection to a bonded device, or end it.

        Raises:
            BluezError: it could not be encrypted, and has ended; as Device1.Connect answers.
        """
        try:
            await self.operations.transact(self.security.encrypt(connection))
            return
        except (BluezError, KeyMissing) as error:
            logger.info("%s is not encrypted: %s", self.path, error)
        if self.connection is connection:
            # The bond stays, though it is of no use any more: only the user may tell a peer that has lost it from an
            # impostor, and deletes it with Adapter1.RemoveDevice.
            await self.close(hci.HCI_AUTHENTICATION_FAILURE_ERROR)
            raise failed("le-connection-abort-by-local")
        raise from_disconnection(self.gone.result())

    def _on_disconnection(self, reason: int) -> None:
        logger.info("%s disconnected, reason 0x%02x", self.path, reason)
        if not self.gone.done():
            self.gone.set_result(reason)
        if self.connection is not None:
            self._host.on_pairing(self.connection.handle, None)
            self._host.connection_over()
        if self._operations is not None:
            self._operations.close()
            self._operations = None
        if reason == hci.HCI_CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR:
            self._busy_until = asyncio.get_running_loop().time() + self._delays.busy_s
        self.connection = None
        self._users.clear()
        self.services.clear()
        no = Variant("b", False)
        self._tree.change(self.path, DEVICE, {"ServicesResolved": no, "Connected": no})

    async def _disconnect(self, call: Call) -> Reply:
        if not self.in_use:
            raise not_connected()
        if self.connection is not None and self._delays.disconnect_s:
            gone = self.gone
            await asyncio.wait({gone}, timeout=self._delays.disconnect_s)
            if gone.done():
                return Reply()  # what there is by now, or is being made, is another connection
        await self.close()
        return Reply()

    async def close(self, reason: int = hci.HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR) -> None:
        """End the connection or the attempt at one, if there is any.

        Args:
            reason: HCI error code that the device is told.

        Raises:
            BluezError: the controller does not end the connection.
        """
        if self._attempt is not None:
            await self._abandon(self._attempt)
        connection, gone = self.connection, self.gone
        if connection is None:
            return
        self._abandoned |= self._connecting and reason == hci.HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR
        ending = asyncio.ensure_future(connection.disconnect(reason))
        await asyncio.wait({gone}, timeout=DISCONNECT_S)
        await dispose(ending)
        if not gone.done():
            raise failed("the controller does not end the connection")

    async def close_quietly(self) -> None:
        """End the connection or the attempt at one, when nobody is left to be told that it does not work."""
        try:
            await self.close()
        except BluezError as error:
            logger.warning("%s: %s", self.path, error)

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
        if self.connection is not None:
            self._on_disconnection(hci.HCI_ErrorCode.HARDWARE_FAILURE_ERROR)

    # Operations ---------------------------------------------------------------------------------------

    def use(self, client: str) -> None:
        """Note that a D-Bus client uses this device: it stays connected while the client is on the bus."""
        if self.connection is not None:
            self._users.add(client)

    @property
    def operations(self) -> Operations:
        """GATT operations on the connection.

        Raises:
            BluezError: there is no connection.
        """
        if self._operations is None:
            raise connection_gone()
        return self._operations

    # Clients ------------------------------------------------------------------------------------------

    async def on_client_gone(self, client: str) -> None:
        """A D-Bus client left the bus: its notifications stop, and if it was the last user the connection ends."""
        await self.security.on_client_gone(client)
        if client not in self._users:
            return
        self._users.discard(client)
        if not self._users:
            logger.info("%s: its last client left the bus", self.path)
            await self.close_quietly()
            return
        await self.services.on_client_gone(client)

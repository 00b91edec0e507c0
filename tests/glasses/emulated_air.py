"""An emulated air in this process: the glasses' controller behind a socket, a Bumble central as the phone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import (
    HCI_COMMAND_STATUS_PENDING,
    HCI_CONNECTION_TIMEOUT_ERROR,
    HCI_SUCCESS,
    Address,
    HCI_LE_PHY_Update_Complete_Event,
    HCI_LE_Set_PHY_Command,
    Phy,
)
from bumble.host import Host
from bumble.keys import MemoryKeyStore, PairingKeys
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink, StreamPacketSink, StreamPacketSource

from glasses.bonds import BondStore
from glasses.peripheral import DEFAULT_ADDRESS
from shared.clock import SystemClock
from shared.wire import gatt
from shared.wire.session import Session

CLOCK = SystemClock()
PHONE_ADDRESS = "E0:E1:E2:E3:E4:E5"
BOND = PairingKeys(
    address_type=Address.RANDOM_DEVICE_ADDRESS, ltk=PairingKeys.Key(value=bytes(range(16)), authenticated=True)
)


async def paired_bonds() -> BondStore:
    """A store of the glasses that knows the phone of these tests."""
    bonds = BondStore(None, clock=CLOCK)
    await bonds.update(PHONE_ADDRESS, BOND)
    return bonds


class FastClock:
    """Twenty seconds in one, so that limits of seconds are met in milliseconds."""

    SPEED = 20.0

    def monotonic(self) -> float:
        return CLOCK.monotonic() * self.SPEED

    def wall(self) -> float:
        return CLOCK.wall()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.SPEED)


class GlassesController(Controller):
    """Bumble's controller says that it can set PHYs, and then does not answer."""

    def on_hci_le_set_phy_command(self, command: HCI_LE_Set_PHY_Command) -> None:
        self._send_hci_command_status(HCI_COMMAND_STATUS_PENDING, command.op_code)
        self.send_hci_packet(
            HCI_LE_PHY_Update_Complete_Event(
                status=HCI_SUCCESS,
                connection_handle=command.connection_handle,
                tx_phy=Phy.LE_2M,
                rx_phy=Phy.LE_2M,
            )
        )


class Socket(asyncio.Protocol):
    """The glasses' controller behind one accepted connection."""

    def __init__(self, air: Air) -> None:
        self.air = air
        self.source = StreamPacketSource()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.controller = GlassesController(
            "glasses",
            host_source=self.source,
            host_sink=StreamPacketSink(transport),
            link=self.air.link,
            public_address="C0:DE:00:00:00:01",
        )
        self.controller.le_acl_data_packet_length = 251
        self.air.sockets.append(self)

    def data_received(self, data: bytes) -> None:
        self.source.data_received(data)


class Air:
    """Two controllers on one link: the glasses' behind a socket, the central's in memory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hci"
        self.hci = f"unix:{self.path}"
        self.link = LocalLink()
        self.sockets: list[Socket] = []
        self.phone = Controller("phone", link=self.link, public_address="C0:DE:00:00:00:02")
        self.phone.le_acl_data_packet_length = 251
        host = Host(self.phone, AsyncPipeSink(self.phone))
        self.central = Device(address=Address(PHONE_ADDRESS), host=host)
        self.keys = MemoryKeyStore()
        self.keys.all_keys[DEFAULT_ADDRESS] = BOND
        self.central.keystore = self.keys

    async def start_controller(self) -> None:
        self.server = await asyncio.get_running_loop().create_unix_server(lambda: Socket(self), self.path)

    async def kill_controller(self) -> None:
        self.server.close()
        await self.server.wait_closed()
        self.path.unlink(missing_ok=True)
        for connection in self.sockets:
            connection.transport.abort()
            self.link.controllers.discard(connection.controller)
            for advertising_set in connection.controller.advertising_sets.values():
                advertising_set.stop()
        self.sockets.clear()
        for lost in list(self.phone.le_connections.values()):  # as after a supervision timeout
            self.phone.on_le_disconnected(lost, HCI_CONNECTION_TIMEOUT_ERROR)

    async def see_glasses(self) -> Advertisement:
        seen: asyncio.Future[Advertisement] = asyncio.get_running_loop().create_future()

        def look(advertisement: Advertisement) -> None:
            if UUID(gatt.SERVICE_UUID) in services_of(advertisement) and not seen.done():
                seen.set_result(advertisement)

        self.central.on(Device.EVENT_ADVERTISEMENT, look)
        await self.central.start_scanning(filter_duplicates=False)
        try:
            return await asyncio.wait_for(seen, 10)
        finally:
            await self.central.stop_scanning()
            self.central.remove_listener(Device.EVENT_ADVERTISEMENT, look)

    async def connect(self, *, mtu: int = gatt.PREFERRED_ATT_MTU, encrypted: bool = True) -> Phone:
        advertisement = await self.see_glasses()
        connection = await self.central.connect(advertisement.address, timeout=10)
        if encrypted:
            await connection.encrypt()
        peer = Peer(connection)
        if mtu > 23:
            await peer.request_mtu(mtu)
        await peer.discover_services([UUID(gatt.SERVICE_UUID)])
        await peer.discover_characteristics()
        (to_glasses,) = peer.get_characteristics_by_uuid(UUID(gatt.TO_GLASSES_UUID))
        (to_phone,) = peer.get_characteristics_by_uuid(UUID(gatt.TO_PHONE_UUID))
        return Phone(connection, peer, to_glasses, to_phone)


def services_of(advertisement: Advertisement) -> list[UUID]:
    listed = advertisement.data.get_all(AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS)
    return [uuid for uuids in listed for uuid in uuids]


class Phone:
    """The central's end: a link session driven by hand."""

    def __init__(
        self,
        connection: Connection,
        peer: Peer,
        to_glasses: CharacteristicProxy[bytes],
        to_phone: CharacteristicProxy[bytes],
    ) -> None:
        self.connection = connection
        self.peer = peer
        self.to_glasses = to_glasses
        self.to_phone = to_phone
        self.values: asyncio.Queue[bytes] = asyncio.Queue()
        self.gone = asyncio.Event()
        connection.on(Connection.EVENT_DISCONNECTION, lambda _: self.gone.set())
        self.session = Session(epoch=0xB0001, name="phone", battery_percent=lambda: 42)

    async def listen(self) -> None:
        await self.to_phone.subscribe(self.values.put_nowait)
        self.session.connected(max_write=self.connection.att_mtu - 3, now=CLOCK.monotonic())
        await self.flush()

    async def flush(self) -> None:
        while (value := self.session.next_value(CLOCK.monotonic())) is not None:
            await self.to_glasses.write_value(value, with_response=False)

    async def object(self) -> bytes:
        """The next object of the glasses."""
        while (payload := self.session.take_object()) is None:
            self.session.on_value(bytes(await asyncio.wait_for(self.values.get(), 10)), CLOCK.monotonic())
            await self.flush()
        await self.flush()
        return payload

    async def until_greeted(self) -> None:
        while not self.session.greeted:
            self.session.on_value(bytes(await asyncio.wait_for(self.values.get(), 10)), CLOCK.monotonic())
            await self.flush()

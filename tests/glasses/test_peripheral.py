"""The glasses' GATT peripheral, against a Bumble central on an emulated air in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import HCI_CONNECTION_TIMEOUT_ERROR, Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink, StreamPacketSink, StreamPacketSource

from glasses.peripheral import DEFAULT_ADDRESS, PeripheralLink
from shared.clock import SystemClock
from shared.errors import LinkUnavailable
from shared.link import Lane
from shared.wire import gatt
from shared.wire.session import Session

CLOCK = SystemClock()


class FastClock:
    """Twenty seconds in one, so that limits of seconds are met in milliseconds."""

    SPEED = 20.0

    def monotonic(self) -> float:
        return CLOCK.monotonic() * self.SPEED

    def wall(self) -> float:
        return CLOCK.wall()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.SPEED)


class Socket(asyncio.Protocol):
    """The glasses' controller behind one accepted connection."""

    def __init__(self, air: Air) -> None:
        self.air = air
        self.source = StreamPacketSource()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.controller = Controller(
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
        self.central = Device(address=Address("E0:E1:E2:E3:E4:E5"), host=host)

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

    async def connect(self, *, mtu: int = gatt.PREFERRED_ATT_MTU) -> Phone:
        advertisement = await self.see_glasses()
        connection = await self.central.connect(advertisement.address, timeout=10)
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


@pytest.fixture
async def air(tmp_path: Path) -> AsyncIterator[Air]:
    air = Air(tmp_path)
    await air.start_controller()
    await air.central.power_on()
    yield air
    await air.kill_controller()


@pytest.fixture
async def link(air: Air) -> AsyncIterator[PeripheralLink]:
    link = PeripheralLink(air.hci, clock=CLOCK, name="Test glasses", battery_percent=lambda: 77)
    await link.start()
    yield link
    await link.close()


def soon() -> float:
    return CLOCK.monotonic() + 20


async def test_glasses_advertise_the_service_and_accept_connections(air: Air, link: PeripheralLink) -> None:
    advertisement = await air.see_glasses()
    assert advertisement.is_connectable
    assert str(advertisement.address).startswith(DEFAULT_ADDRESS)


async def test_objects_cross_both_ways(air: Air, link: PeripheralLink) -> None:
    phone = await air.connect()
    await phone.listen()
    strip = bytes(range(256)) * 40
    sending = asyncio.create_task(link.send(strip, lane=Lane.BULK, deadline=soon()))
    assert await phone.object() == strip
    receipt = await sending
    assert receipt.bytes_on_air > len(strip)
    assert phone.session.peer is not None
    assert (phone.session.peer.name, phone.session.peer.battery_percent) == ("Test glasses", 77)
    assert link.quality.peer_battery_percent == 42

    phone.session.submit(b"a reading", lane=Lane.CONTROL, deadline=soon(), now=CLOCK.monotonic())
    await phone.flush()
    async for payload in link.receive():
        assert payload == b"a reading"
        break
    assert link.quality.refused_frames == 0


async def test_a_lost_phone_finds_the_glasses_advertising_again_and_gets_the_rest(
    air: Air, link: PeripheralLink
) -> None:
    phone = await air.connect()
    await phone.listen()
    await phone.until_greeted()
    await phone.connection.disconnect()
    sending = asyncio.create_task(link.send(bytes(3000), lane=Lane.BULK, deadline=soon()))
    phone = await air.connect()
    await phone.listen()
    assert await phone.object() == bytes(3000)
    await sending
    assert link.quality.reconnects == 1


async def test_a_phone_that_subscribes_anew_on_the_old_connection_is_greeted_anew(
    air: Air, link: PeripheralLink
) -> None:
    phone = await air.connect()
    await phone.listen()
    await phone.until_greeted()
    phone.session = Session(epoch=0xB0002, name="restarted", battery_percent=lambda: None)
    await phone.to_phone.unsubscribe()
    await phone.listen()
    await phone.until_greeted()
    sending = asyncio.create_task(link.send(b"hello again", lane=Lane.CONTROL, deadline=soon()))
    assert await phone.object() == b"hello again"
    await sending
    assert link.peer is not None
    assert link.peer.name == "restarted"


async def test_nothing_is_sent_before_the_att_mtu_allows_a_hello(air: Air, link: PeripheralLink) -> None:
    phone = await air.connect(mtu=23)
    await phone.to_phone.subscribe(phone.values.put_nowait)
    assert phone.values.empty()
    assert not link.quality.connected
    await phone.peer.request_mtu(247)
    phone.session.connected(max_write=244, now=CLOCK.monotonic())
    await phone.until_greeted()
    assert phone.session.peer is not None
    assert phone.session.peer.max_write == 244


async def test_values_that_are_no_frames_are_counted_and_survived(air: Air, link: PeripheralLink) -> None:
    phone = await air.connect()
    await phone.listen()
    await phone.until_greeted()
    for junk in (b"\x00", b"\xff" * 500, b"\x13\x01", b"\x12" + bytes(30)):
        await phone.to_glasses.write_value(junk, with_response=False)
    sending = asyncio.create_task(link.send(b"still here", lane=Lane.CONTROL, deadline=soon()))
    assert await phone.object() == b"still here"
    await sending
    assert link.quality.refused_frames == 4


async def test_a_central_that_does_not_listen_is_sent_away(air: Air) -> None:
    link = PeripheralLink(air.hci, clock=FastClock())
    await link.start()
    phone = await air.connect()
    await asyncio.wait_for(phone.gone.wait(), 10)
    assert await air.see_glasses()
    await link.close()


async def test_pairing_is_refused(air: Air, link: PeripheralLink) -> None:
    phone = await air.connect()
    with pytest.raises(Exception, match=r"(?i)pairing"):
        await asyncio.wait_for(phone.connection.pair(), 10)


async def test_a_controller_that_dies_is_reopened_when_it_is_back(air: Air) -> None:
    lines: list[str] = []
    link = PeripheralLink(air.hci, clock=FastClock(), on_status=lines.append)
    await link.start()
    phone = await air.connect()
    await phone.listen()
    await phone.until_greeted()
    await air.kill_controller()
    await asyncio.wait_for(phone.gone.wait(), 5)
    await air.start_controller()
    phone = await air.connect()
    await phone.listen()
    await phone.until_greeted()
    assert any("lost the Bluetooth controller" in line for line in lines)
    await link.close()


@pytest.mark.parametrize(
    "transport", ["tcp-client:127.0.0.1:{closed}", "tcp-client:nowhere", "carrier-pigeon:1", "usb:"]
)
async def test_a_transport_that_cannot_be_opened_says_so(transport: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        name = transport.format(closed=unused.getsockname()[1])
        link = PeripheralLink(name, clock=CLOCK)
        with pytest.raises(LinkUnavailable) as caught:
            await link.start()
    assert name in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    await link.close()


async def test_a_driver_that_fails_in_its_own_way_is_one_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(name: str) -> None:
        raise Exception("LIBUSB_ERROR_OTHER [-99]")  # libusb's errors, for one, derive from nothing more telling

    monkeypatch.setattr("glasses.peripheral.open_transport", failing)
    link = PeripheralLink("usb:0", clock=CLOCK)
    with pytest.raises(LinkUnavailable, match=r"usb:0: LIBUSB_ERROR_OTHER"):
        await link.start()
    await link.close()


async def test_a_server_that_is_no_controller_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        link = PeripheralLink(f"tcp-client:127.0.0.1:{silent.getsockname()[1]}", clock=FastClock())
        started = CLOCK.monotonic()
        with pytest.raises(LinkUnavailable, match="does not start"):
            await link.start()
        assert CLOCK.monotonic() - started < 5
        await link.close()

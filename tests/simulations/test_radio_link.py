"""Unmodified bleak, through the façade and over the air, meets a Bumble peripheral in another process."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest
import radio_peripheral as peripheral
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from radio_helpers import PeripheralProcess, find

from simulations.pairing_stage import close_bleak
from simulations.radio import LinkProfile, RadioProcesses

BULK = 100_000


@pytest.fixture(scope="module")
def shared_radio(request: pytest.FixtureRequest) -> Iterator[RadioProcesses]:
    """One radio at a time, unshaped unless a test asks for a profile; the tests leave it as they found it."""
    with RadioProcesses(LinkProfile.parse(getattr(request, "param", "unshaped"))) as processes:
        yield processes


@pytest.fixture
async def device(shared_radio: RadioProcesses, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BLEDevice]:
    """A peripheral in a process of its own, as a scan found it."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", shared_radio.dbus_address)
    with PeripheralProcess(shared_radio.glasses_hci):
        try:
            yield await find()
        finally:
            await close_bleak()


def shaped(text: str) -> pytest.MarkDecorator:
    """The test's radio has this profile."""
    return pytest.mark.parametrize("shared_radio", [text], indirect=True)


async def write_bulk(client: BleakClient, data: bytes) -> None:
    """Write `data` without response, and wait until the peripheral has it all."""
    for start in range(0, len(data), peripheral.CHUNK):
        await client.write_gatt_char(peripheral.SINK, data[start : start + peripheral.CHUNK], response=False)
    digest = await client.read_gatt_char(peripheral.DIGEST)
    assert struct.unpack("<II", digest) == (len(data), zlib.crc32(data))


async def notify_bulk(client: BleakClient, length: int) -> bytes:
    """Have the peripheral notify `length` bytes."""
    got = bytearray()
    complete = asyncio.Event()

    def on_value(_: object, value: bytearray) -> None:
        got.extend(value)
        if len(got) >= length:
            complete.set()

    await client.start_notify(peripheral.SOURCE, on_value)
    await client.write_gatt_char(peripheral.SOURCE, struct.pack("<I", length), response=True)
    await asyncio.wait_for(complete.wait(), 30)
    await client.stop_notify(peripheral.SOURCE)
    return bytes(got)


async def test_bleak_does_all_it_can_with_the_peripheral(device: BLEDevice) -> None:
    async with BleakClient(device) as client:
        assert device.address == peripheral.ADDRESS
        services = {service.uuid: service for service in client.services}
        assert peripheral.SERVICE in services
        sink = client.services.get_characteristic(peripheral.SINK)
        assert sink is not None
        assert set(sink.properties) == {"write", "write-without-response"}
        assert sink.max_write_without_response_size == 514
        source = client.services.get_characteristic(peripheral.SOURCE)
        assert source is not None
        assert [descriptor.uuid[:8] for descriptor in source.descriptors] == ["00002902"]

        assert await client.read_gatt_char(peripheral.NAME) == b"a peripheral"
        await client.write_gatt_char(peripheral.SINK, b"with response", response=True)
        assert (await client.read_gatt_char(peripheral.DIGEST))[:4] == struct.pack("<I", 13)

        echoes: asyncio.Queue[bytes] = asyncio.Queue()
        await client.start_notify(peripheral.ECHO, lambda _, value: echoes.put_nowait(bytes(value)))
        for value in (b"", b"x", bytes(peripheral.CHUNK), bytes(512)):
            await client.write_gatt_char(peripheral.ECHO, value, response=False)
            assert await asyncio.wait_for(echoes.get(), 5) == value


async def test_bulk_arrives_complete_and_in_order_both_ways(device: BLEDevice) -> None:
    async with BleakClient(device) as client:
        data = peripheral.pattern(BULK)
        await write_bulk(client, data)
        assert await notify_bulk(client, BULK) == data


@shaped("40kBps/30ms")
async def test_a_shaped_link_keeps_its_rate_and_its_latency_both_ways(device: BLEDevice) -> None:
    rate, interval, length = 40_000, 0.03, 40_000
    async with BleakClient(device) as client:
        data = peripheral.pattern(length)
        started = time.monotonic()
        await write_bulk(client, data)
        assert 0.6 * rate <= length / (time.monotonic() - started) <= 1.05 * rate

        started = time.monotonic()
        assert await notify_bulk(client, length) == data
        assert 0.6 * rate <= length / (time.monotonic() - started) <= 1.05 * rate

        started = time.monotonic()
        for _ in range(5):
            await client.read_gatt_char(peripheral.NAME)
        # Request and response each leave at a connection event.
        assert (time.monotonic() - started) / 5 >= 1.5 * interval


@shaped("10kBps/15ms")
async def test_writes_without_response_are_answered_at_once_and_wait_for_the_link(device: BLEDevice) -> None:
    async with BleakClient(device) as client:
        data = peripheral.pattern(10_000)
        started = time.monotonic()
        for start in range(0, len(data), peripheral.CHUNK):
            await client.write_gatt_char(peripheral.SINK, data[start : start + peripheral.CHUNK], response=False)
        answered = time.monotonic() - started
        # The read goes behind them.
        assert await client.read_gatt_char(peripheral.DIGEST) == struct.pack("<II", len(data), zlib.crc32(data))
        carried = time.monotonic() - started
        assert carried >= 0.8  # one second's worth
        assert answered < carried / 2


async def test_a_scan_hears_only_what_its_filter_wants(device: BLEDevice) -> None:
    other = await BleakScanner.discover(timeout=0.3, service_uuids=["12345678-0000-4000-8000-000000000000"])
    assert other == []
    again = await BleakScanner.find_device_by_name(peripheral.LOCAL_NAME, timeout=5)
    assert again is not None
    assert again.address == device.address


async def test_refusals_of_the_peripheral_and_the_api_have_their_names(device: BLEDevice) -> None:
    async with BleakClient(device) as client:
        with pytest.raises(BleakGATTProtocolError) as refused:
            await client.read_gatt_char(peripheral.REFUSED)
        assert refused.value.code is BleakGATTProtocolErrorCode.UNLIKELY_ERROR
        with pytest.raises(BleakDBusError, match="Failed to initiate write"):
            await client.write_gatt_char(peripheral.ECHO, bytes(515), response=False)


async def test_a_write_without_response_is_sent_even_where_the_characteristic_has_none(device: BLEDevice) -> None:
    async with BleakClient(device) as client:
        await client.write_gatt_char(peripheral.NAME, b"another name", response=False)
        # This peripheral, unlike most, takes what its properties do not offer.
        assert await client.read_gatt_char(peripheral.NAME) == b"another name"


async def test_a_second_subscription_of_one_client_changes_nothing(device: BLEDevice) -> None:
    async with BleakClient(device) as client:
        echoes: asyncio.Queue[bytes] = asyncio.Queue()
        for _ in range(2):
            await client.start_notify(peripheral.ECHO, lambda _, value: echoes.put_nowait(bytes(value)))
        for value in (b"one", b"two"):
            await client.write_gatt_char(peripheral.ECHO, value, response=False)
            assert await asyncio.wait_for(echoes.get(), 5) == value
        await client.stop_notify(peripheral.ECHO)


async def connect_when_free(client: BleakClient) -> None:
    """Connect; bluetoothd says that a device is gone a little before the kernel can connect to it again."""
    async with asyncio.timeout(5):
        while not client.is_connected:
            with contextlib.suppress(BleakDBusError):
                await client.connect()


async def test_a_device_can_be_left_and_met_again(device: BLEDevice) -> None:
    for _ in range(3):
        left = asyncio.Event()
        client = BleakClient(device, disconnected_callback=lambda _, left=left: left.set())
        await connect_when_free(client)
        assert await client.read_gatt_char(peripheral.NAME) == b"a peripheral"
        await client.disconnect()
        await asyncio.wait_for(left.wait(), 5)


async def test_a_removed_device_is_unknown_until_it_is_heard_again(device: BLEDevice) -> None:
    await BleakClient(device).unpair()  # bleak's word for Adapter1.RemoveDevice
    with pytest.raises(BleakError):
        await BleakClient(device).connect()
    async with BleakClient(await find()) as client:
        assert client.is_connected

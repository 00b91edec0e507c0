"""What the phone says when Bluetooth or the glasses are missing; tests/system/test_link_ble.py has the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from bumble.core import UUID, AdvertisingData
from bumble.device import Device
from bumble.hci import Address
from bumble.keys import JsonKeyStore
from bumble.transport import open_transport

from phone.central import CentralLink
from shared.clock import SystemClock
from shared.errors import LinkLost, LinkUnavailable
from shared.wire import gatt
from simulations.pairing_stage import close_bleak
from simulations.radio import RadioProcesses
from simulations.radio.bonding import GLASSES_ADDRESS

CLOCK = SystemClock()


@pytest.fixture
async def radio(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RadioProcesses]:
    async with RadioProcesses(bonded=False) as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        yield radio
        await close_bleak()


class Lines(asyncio.Queue[str]):
    """Status lines of a link."""

    async def until(self, words: str) -> list[str]:
        """Everything said up to the line that holds `words`."""
        said = []
        while True:
            said.append(await asyncio.wait_for(self.get(), 20))
            if words in said[-1]:
                return said


async def unavailable(link: CentralLink) -> LinkUnavailable:
    with pytest.raises(LinkUnavailable) as caught:
        await link.start()
    await link.close()
    assert "\n" not in str(caught.value)
    assert "bluetoothd" in caught.value.hint
    return caught.value


async def test_a_missing_bus_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    error = await unavailable(CentralLink(clock=CLOCK))
    assert "No such file" in error.message


async def test_a_bus_without_a_bluetooth_service_is_said_at_the_start(radio: RadioProcesses) -> None:
    radio.kill_bluez()
    error = await unavailable(CentralLink(clock=CLOCK))
    assert "org.bluez" in error.message


async def test_an_adapter_that_does_not_exist_is_said_at_the_start(radio: RadioProcesses) -> None:
    error = await unavailable(CentralLink(clock=CLOCK, adapter="hci9"))
    assert "hci9" in error.message


async def test_missing_glasses_are_told_once_and_looked_for_on(radio: RadioProcesses) -> None:
    lines = Lines()
    link = CentralLink(clock=CLOCK, scan_s=0.05, on_status=lines.put_nowait)
    await link.start()
    assert await lines.until("no glasses in reach") == ["no glasses in reach; scanning on"]
    waiting = asyncio.create_task(link.wait_connected())
    await asyncio.wait({waiting}, timeout=1)
    assert lines.empty()
    assert not waiting.done()
    await link.close()
    with pytest.raises(LinkLost):
        await waiting


@pytest.fixture
async def bonded_radio(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RadioProcesses]:
    async with RadioProcesses() as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        yield radio
        await close_bleak()


async def test_a_device_that_only_pretends_is_reported_and_left(bonded_radio: RadioProcesses) -> None:
    async with await open_transport(bonded_radio.glasses_hci) as transport:
        pretender = Device.with_hci("?", Address(GLASSES_ADDRESS), transport.source, transport.sink)
        pretender.keystore = JsonKeyStore(GLASSES_ADDRESS, str(bonded_radio.glasses_bonds))
        await pretender.power_on()
        kind = AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
        advertised = bytes(AdvertisingData([(kind, bytes(UUID(gatt.SERVICE_UUID)))]))
        await pretender.start_advertising(advertising_data=advertised, auto_restart=True)
        lines = Lines()
        link = CentralLink(clock=CLOCK, on_status=lines.put_nowait)
        await link.start()
        await lines.until("advertises the Wayword service but does not have it")
        assert not link.quality.connected
        await link.close()
        await pretender.power_off()

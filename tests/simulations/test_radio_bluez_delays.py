"""What bluetoothd takes its time for: the end of a connection, and the MTU that comes after the services."""

from __future__ import annotations

import asyncio

import pytest
import radio_peripheral as peripheral
from bleak import BleakClient
from bus_caller import DEVICE, caller_on, path_of
from radio_helpers import PeripheralProcess, find

from glasses.bonds import BondStore
from glasses.peripheral import PeripheralLink
from phone.central import CentralLink
from shared.clock import SystemClock
from shared.link import Lane
from simulations.pairing_stage import close_bleak
from simulations.radio import RadioProcesses

PATH = path_of(peripheral.ADDRESS)


async def test_a_disconnection_can_take_its_time_and_leave_the_device_busy_for_a_while() -> None:
    async with (
        RadioProcesses(bonded=False, disconnect_s=0.3, busy_s=1) as radio,
        caller_on(radio.dbus_address) as caller,
    ):
        with PeripheralProcess(radio.glasses_hci):
            await caller.found(PATH)
            await caller.connected(PATH)
            loop = asyncio.get_running_loop()
            started = loop.time()
            disconnecting = asyncio.create_task(caller.call(PATH, DEVICE, "Disconnect"))
            assert await caller.property(PATH, "Connected") is True
            await disconnecting
            assert 0.3 <= loop.time() - started < 2
            busy = await caller.error(PATH, DEVICE, "Connect")
            assert busy == ("org.bluez.Error.Failed", "Input/output error")
            async with asyncio.timeout(5):
                while (reply := await caller.reply(PATH, DEVICE, "Connect", "")).error_name is not None:
                    assert (reply.error_name, reply.body[0]) == busy
            assert loop.time() - started >= 1


async def test_the_mtu_exchange_can_come_after_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RadioProcesses(bonded=False, late_mtu_s=0.3) as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        async with caller_on(radio.dbus_address) as caller:
            with PeripheralProcess(radio.glasses_hci):
                async with BleakClient(await find()) as client:
                    sink = client.services.get_characteristic(peripheral.SINK)
                    assert sink is not None
                    assert sink.max_write_without_response_size == 20
                    await caller.listen()
                    await caller.until_changed(await caller.characteristic(PATH, peripheral.SINK), "MTU", 517)
                    async with asyncio.timeout(5):
                        while sink.max_write_without_response_size == 20:  # noqa: ASYNC110 - bleak has no event for it
                            await asyncio.sleep(0)
                    assert sink.max_write_without_response_size == 514
        await close_bleak()


async def test_glasses_and_phone_meet_though_the_mtu_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    async with RadioProcesses(late_mtu_s=0.3) as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        glasses = PeripheralLink(radio.glasses_hci, clock=clock, bonds=BondStore(radio.glasses_bonds, clock=clock))
        phone = CentralLink(clock=clock)
        try:
            await glasses.start()
            await phone.start()
            sent = glasses.send(bytes(5_000), lane=Lane.BULK, deadline=clock.monotonic() + 20)
            receipt, received = await asyncio.gather(sent, anext(phone.receive()))
            assert received == bytes(5_000)
            # Over an ATT MTU of 23 the frames' headers alone would have come to more.
            assert receipt.bytes_on_air < 6_000
        finally:
            await phone.close()
            await glasses.close()
        await close_bleak()

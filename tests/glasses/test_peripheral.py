"""The glasses' GATT peripheral, against a bonded Bumble central on an emulated air in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from emulated_air import CLOCK, Air, FastClock, paired_bonds

from glasses.bonds import BondStore
from glasses.peripheral import DEFAULT_ADDRESS, PeripheralLink
from shared.errors import LinkUnavailable
from shared.link import Lane
from shared.wire.session import Session


@pytest.fixture
async def air(tmp_path: Path) -> AsyncIterator[Air]:
    air = Air(tmp_path)
    await air.start_controller()
    await air.central.power_on()
    yield air
    await air.kill_controller()


@pytest.fixture
async def link(air: Air) -> AsyncIterator[PeripheralLink]:
    bonds = await paired_bonds()
    link = PeripheralLink(air.hci, clock=CLOCK, bonds=bonds, name="Test glasses", battery_percent=lambda: 77)
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
    link = PeripheralLink(air.hci, clock=FastClock(), bonds=await paired_bonds())
    await link.start()
    phone = await air.connect()
    await asyncio.wait_for(phone.gone.wait(), 10)
    assert await air.see_glasses()
    await link.close()


async def test_a_controller_that_dies_is_reopened_when_it_is_back(air: Air) -> None:
    lines: list[str] = []
    link = PeripheralLink(air.hci, clock=FastClock(), bonds=await paired_bonds(), on_status=lines.append)
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
        link = PeripheralLink(name, clock=CLOCK, bonds=BondStore(None, clock=CLOCK))
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
    link = PeripheralLink("usb:0", clock=CLOCK, bonds=BondStore(None, clock=CLOCK))
    with pytest.raises(LinkUnavailable, match=r"usb:0: LIBUSB_ERROR_OTHER"):
        await link.start()
    await link.close()


async def test_a_server_that_is_no_controller_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hci = f"tcp-client:127.0.0.1:{silent.getsockname()[1]}"
        link = PeripheralLink(hci, clock=FastClock(), bonds=BondStore(None, clock=CLOCK))
        started = CLOCK.monotonic()
        with pytest.raises(LinkUnavailable, match="does not start"):
            await link.start()
        assert CLOCK.monotonic() - started < 5
        await link.close()

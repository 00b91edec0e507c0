"""The two ends of the link on a real Bluetooth stack: Bumble's host, an emulated air, D-Bus and unmodified bleak."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from glasses.bonds import BondStore
from glasses.peripheral import PeripheralLink
from phone.central import CentralLink
from shared.clock import SystemClock
from shared.link import Lane, SendReceipt
from simulations.pairing_stage import close_bleak
from simulations.radio import LinkProfile, RadioProcesses

pytestmark = pytest.mark.system
CLOCK = SystemClock()


def soon(seconds: float = 40.0) -> float:
    return CLOCK.monotonic() + seconds


class Both:
    """A radio, the glasses' link and the phone's, both connected."""

    def __init__(self, radio: RadioProcesses) -> None:
        self.radio = radio
        self.lines: list[str] = []
        self.glasses = self.new_glasses()
        self.phone = self.new_phone()

    def new_glasses(self) -> PeripheralLink:
        return PeripheralLink(
            self.radio.glasses_hci,
            clock=CLOCK,
            bonds=BondStore(self.radio.glasses_bonds, clock=CLOCK),
            battery_percent=lambda: 77,
            on_status=self.lines.append,
        )

    def new_phone(self) -> CentralLink:
        return CentralLink(clock=CLOCK, battery_percent=lambda: 42, on_status=self.lines.append)

    async def start(self) -> None:
        await self.glasses.start()
        await self.phone.start()
        await asyncio.gather(self.glasses.wait_connected(), self.phone.wait_connected())

    async def close(self) -> None:
        await self.phone.close()
        await self.glasses.close()


@pytest.fixture
async def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Both]:
    async with RadioProcesses(LinkProfile.parse(request.param)) as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        both = Both(radio)
        try:
            await both.start()
            yield both
        finally:
            await both.close()
            await close_bleak()


async def take(link: PeripheralLink | CentralLink, count: int) -> list[bytes]:
    taken: list[bytes] = []
    async for payload in link.receive():
        taken.append(payload)
        if len(taken) == count:
            break
    return taken


def objects(seed: int, count: int, smallest: int = 2_000, largest: int = 20_000) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(rng.randint(smallest, largest)) for _ in range(count)]


unshaped = pytest.mark.parametrize("both", ["unshaped"], indirect=True)
shaped = pytest.mark.parametrize("both", ["40kBps/30ms"], indirect=True)


@unshaped
async def test_objects_of_sign_size_cross_both_ways(both: Both) -> None:
    up, down = objects(1, 8), objects(2, 8, 100, 3_000)
    sending = [both.glasses.send(payload, lane=Lane.BULK, deadline=soon()) for payload in up]
    sending += [both.phone.send(payload, lane=Lane.CONTROL, deadline=soon()) for payload in down]
    _, at_phone, at_glasses = await asyncio.gather(
        asyncio.gather(*sending), take(both.phone, len(up)), take(both.glasses, len(down))
    )
    assert sorted(at_phone) == sorted(up), "of the bulk the newest goes first"
    assert at_glasses == down
    assert both.phone.quality.peer_battery_percent == 77
    assert both.glasses.quality.peer_battery_percent == 42
    assert both.glasses.quality.refused_frames == both.phone.quality.refused_frames == 0


@shaped
async def test_a_slow_link_is_filled_and_control_still_gets_through(both: Both) -> None:
    (payload,) = objects(3, 1, 40_000, 40_000)
    receiving = asyncio.create_task(take(both.phone, 1 + 20 + 6))

    async def pings() -> list[SendReceipt]:
        return [await both.glasses.send(b"ping" * 20, lane=Lane.CONTROL, deadline=soon()) for _ in range(20)]

    receipt = await both.glasses.send(payload, lane=Lane.BULK, deadline=soon())
    goodput = len(payload) / receipt.seconds
    assert receipt.bytes_on_air < 1.05 * len(payload)
    bulk = [both.glasses.send(payload[:20_000], lane=Lane.BULK, deadline=soon()) for _ in range(6)]
    pinged, *_ = await asyncio.gather(pings(), *bulk)
    waits = sorted(ping.seconds for ping in pinged)
    assert payload in await receiving
    # The link carries 36 kB/s of payload and a control object takes 50-90 ms; other work on the machine may slow both.
    assert goodput > 20_000
    assert waits[len(waits) // 2] < 0.25
    assert both.glasses.quality.goodput_bytes_per_s is not None


@shaped
async def test_a_forced_disconnect_in_mid_transfer_is_survived(both: Both) -> None:
    up, down = objects(4, 3, 15_000, 20_000), objects(5, 2)
    receiving = asyncio.gather(take(both.phone, len(up)), take(both.glasses, len(down)))
    sending = [asyncio.create_task(both.glasses.send(payload, lane=Lane.BULK, deadline=soon())) for payload in up]
    sending += [asyncio.create_task(both.phone.send(payload, lane=Lane.BULK, deadline=soon())) for payload in down]
    while both.glasses.quality.goodput_bytes_per_s is None:  # until some of it has been acknowledged
        await asyncio.wait(sending, timeout=0.02)
    both.phone.drop_connection()
    await asyncio.gather(*sending)
    at_phone, at_glasses = await receiving
    assert sorted(at_phone) == sorted(up)
    assert sorted(at_glasses) == sorted(down)
    assert both.glasses.quality.reconnects == both.phone.quality.reconnects == 1


@unshaped
async def test_restarted_glasses_are_found_again_and_get_what_waits(both: Both) -> None:
    await both.glasses.close()
    sending = asyncio.create_task(both.phone.send(b"a reading", lane=Lane.CONTROL, deadline=soon()))
    both.glasses = both.new_glasses()
    await both.glasses.start()
    await sending
    assert await take(both.glasses, 1) == [b"a reading"]


@unshaped
async def test_a_restarted_phone_finds_the_glasses_and_gets_what_waits(both: Both) -> None:
    await both.phone.close()
    sending = asyncio.create_task(both.glasses.send(bytes(9_000), lane=Lane.BULK, deadline=soon()))
    both.phone = both.new_phone()
    await both.phone.start()
    await sending
    assert await take(both.phone, 1) == [bytes(9_000)]


@unshaped
async def test_a_bluetooth_service_that_dies_and_returns_is_survived(both: Both) -> None:
    both.radio.kill_bluez()
    sending = asyncio.create_task(both.glasses.send(bytes(9_000), lane=Lane.BULK, deadline=soon()))
    await asyncio.to_thread(both.radio.restart_bluez)
    await sending
    assert await take(both.phone, 1) == [bytes(9_000)]


@unshaped
async def test_an_outage_of_the_air_is_survived(both: Both) -> None:
    both.radio.cut_air()
    sending = asyncio.create_task(both.glasses.send(bytes(9_000), lane=Lane.BULK, deadline=soon()))
    await asyncio.wait({sending}, timeout=0.3)
    assert not sending.done()
    both.radio.restore_air()
    await sending
    assert await take(both.phone, 1) == [bytes(9_000)]

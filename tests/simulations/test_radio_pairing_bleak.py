"""Unmodified bleak pairs through the façade."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from bleak import BleakClient
from bleak.exc import BleakDBusError
from bus_caller import DEVICE, Caller, FakeAgent
from pairing_calls import PATH, connected, default_agent, pair_with_a_yes, pairing_caller, phone_key
from radio_helpers import find
from secure_peripheral import SECRET, secure_peripheral

from simulations.pairing_stage import close_bleak
from simulations.radio import RadioProcesses


@pytest.fixture(scope="module")
def radio() -> Iterator[RadioProcesses]:
    with RadioProcesses(bonded=False) as processes:
        yield processes


@pytest.fixture
async def caller(radio: RadioProcesses) -> AsyncIterator[Caller]:
    async with pairing_caller(radio) as caller:
        yield caller


@pytest.fixture
async def agent(radio: RadioProcesses) -> AsyncIterator[FakeAgent]:
    async with default_agent(radio) as agent:
        yield agent


@pytest.fixture
async def bleak_bus(radio: RadioProcesses, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
    yield
    await close_bleak()


@pytest.mark.usefixtures("bleak_bus")
@pytest.mark.parametrize("at_once", [True, False])
async def test_bleak_pairs_through_the_default_agent_and_forgets(
    radio: RadioProcesses, agent: FakeAgent, tmp_path: Path, at_once: bool
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"):
        client = BleakClient(await find(), pair=at_once)
        connecting = asyncio.ensure_future(client.connect())
        if not at_once:
            await connecting
            with pytest.raises(BleakDBusError, match="NotPermitted"):
                await client.read_gatt_char(SECRET)
            connecting = asyncio.ensure_future(client.pair())
        await agent.answer(await agent.asked("RequestConfirmation"))
        await connecting
        assert await client.read_gatt_char(SECRET) == b"a secret"
        await client.disconnect()
        async with BleakClient(await find(), pair=True) as again:  # paired already: just connects
            assert await again.read_gatt_char(SECRET) == b"a secret"
            await again.unpair()
        assert await phone_key(radio) is None


@pytest.mark.usefixtures("bleak_bus")
async def test_bleak_says_why_a_pairing_failed(radio: RadioProcesses, agent: FakeAgent, tmp_path: Path) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"), BleakClient(await find()) as client:
        pairing = asyncio.ensure_future(client.pair())
        await agent.refuse(await agent.asked("RequestConfirmation"))
        with pytest.raises(BleakDBusError, match="AuthenticationFailed"):
            await pairing


@pytest.mark.usefixtures("bleak_bus")
async def test_bleak_tries_a_lost_bond_until_its_time_is_up(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        await connected(caller)
        await pair_with_a_yes(caller, agent)
        await caller.call(PATH, DEVICE, "Disconnect")
        await peripheral.lose_bonds()
        dropped = asyncio.Semaphore(0)
        client = BleakClient(await find(), disconnected_callback=lambda _: dropped.release(), timeout=1)
        with pytest.raises(TimeoutError):
            await client.connect()
        assert not dropped.locked()
        assert await caller.property(PATH, "Paired") is True

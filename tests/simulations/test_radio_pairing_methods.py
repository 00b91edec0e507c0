"""Pairing through the façade without comparing numbers, and at the request of the peripheral."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from bumble.smp import SMP_CID
from bus_caller import DEVICE, Caller, FakeAgent
from pairing_calls import FAILED, PATH, connected, default_agent, pair, pairing_caller, phone_key
from secure_peripheral import IO, OPEN, SecurePeripheral, User, secure_peripheral

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


async def test_without_an_agent_just_works_is_all_there_is(
    radio: RadioProcesses, caller: Caller, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        await connected(caller)
        await caller.call(PATH, DEVICE, "Pair")
        assert await caller.property(PATH, "Paired") is True
        key = await phone_key(radio)
        assert key is not None
        assert not key.authenticated
        assert peripheral.user.numbers.empty()


async def test_just_works_is_refused_by_a_peripheral_that_wants_numbers_compared(
    radio: RadioProcesses, caller: Caller, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys", User(takes_just_works=False)) as peripheral:
        await connected(caller)
        assert await pair(caller) == FAILED
        assert await phone_key(radio) is None
        assert await peripheral.bonds() == {}


async def test_an_agent_without_eyes_and_fingers_leaves_just_works(
    radio: RadioProcesses, caller: Caller, tmp_path: Path
) -> None:
    blind = FakeAgent(caller)
    await blind.register("NoInputNoOutput")
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys", User(takes_just_works=False)):
        await connected(caller)
        assert await pair(caller) == FAILED
        assert not blind.was_asked


async def test_a_passkey_is_entered_on_the_side_with_keys(
    radio: RadioProcesses, caller: Caller, tmp_path: Path
) -> None:
    keyboard = FakeAgent(caller)
    await keyboard.register("KeyboardOnly")
    user = User(IO.DISPLAY_OUTPUT_ONLY)
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys", user):
        await connected(caller)
        pairing = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
        question = await keyboard.asked("RequestPasskey")
        await keyboard.answer(question, "u", await user.numbers.get())
        await pairing
        key = await phone_key(radio)
        assert key is not None
        assert key.authenticated


async def test_a_wrong_passkey_fails_the_pairing(radio: RadioProcesses, caller: Caller, tmp_path: Path) -> None:
    keyboard = FakeAgent(caller)
    await keyboard.register("KeyboardOnly")
    user = User(IO.DISPLAY_OUTPUT_ONLY)
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys", user):
        await connected(caller)
        pairing = pair(caller)
        question = await keyboard.asked("RequestPasskey")
        await keyboard.answer(question, "u", (await user.numbers.get() + 1) % 1_000_000)
        assert await pairing == FAILED


async def test_a_passkey_is_shown_by_the_agent_when_the_peripheral_has_the_keys(
    radio: RadioProcesses, caller: Caller, tmp_path: Path
) -> None:
    display = FakeAgent(caller)
    await display.register("DisplayOnly")
    user = User(IO.KEYBOARD_INPUT_ONLY)
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys", user):
        await connected(caller)
        pairing = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
        path, passkey, entered = (await display.asked("DisplayPasskey")).body
        assert (path, entered) == (PATH, 0)
        user.passkeys.put_nowait(passkey)
        await pairing


async def requested(radio: RadioProcesses, caller: Caller, peripheral: SecurePeripheral) -> None:
    await connected(caller)
    assert peripheral.connection is not None
    peripheral.connection.request_pairing()


async def test_a_peripheral_that_asks_to_be_paired_gets_the_default_agents_answer(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        await requested(radio, caller, peripheral)
        await agent.answer(await agent.asked("RequestConfirmation"))
        await caller.until_changed(PATH, "Paired", True)


async def test_a_peripheral_that_asks_to_be_paired_without_numbers_needs_a_yes_too(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    user = User(IO.NO_OUTPUT_NO_INPUT)
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys", user) as peripheral:
        await requested(radio, caller, peripheral)
        question = await agent.asked("RequestAuthorization")
        assert question.body == [PATH]
        await agent.answer(question)
        await caller.until_changed(PATH, "Paired", True)


async def test_a_peripheral_that_asks_to_be_paired_is_refused_when_nobody_can_be_asked(
    radio: RadioProcesses, caller: Caller, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        refused: asyncio.Queue[bytes] = asyncio.Queue()
        channels = peripheral.device.l2cap_channel_manager
        channels.register_fixed_channel(SMP_CID, lambda _, pdu: refused.put_nowait(pdu))
        await requested(radio, caller, peripheral)
        # Core, Vol 3, Part H, 3.5.5: Pairing Failed, "pairing not supported".
        assert await asyncio.wait_for(refused.get(), 5) == b"\x05\x05"
        read = await caller.characteristic(PATH, OPEN)
        assert await caller.call(read, "org.bluez.GattCharacteristic1", "ReadValue", "a{sv}", {}) == b"no secret"
        assert await caller.property(PATH, "Paired") is False

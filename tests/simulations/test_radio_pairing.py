"""Pairing through the façade when numbers are compared: who is asked, and what each answer, or none, leads to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bumble.hci import Address
from bus_caller import ADAPTER, AGENT_MANAGER, DEVICE, Caller, FakeAgent, caller_on
from pairing_calls import (
    CANCELED,
    FAILED,
    PATH,
    connected,
    default_agent,
    pair,
    pair_with_a_yes,
    pairing_caller,
    phone_key,
)
from secure_peripheral import SECRET, User, secure_peripheral

from simulations.radio import RadioProcesses
from simulations.radio.bluez import agents as agents_module
from simulations.radio.bluez import pairing as pairing_module
from simulations.radio.bluez.host import open_host
from simulations.radio.bluez.service import BluezService, connect_bus
from simulations.radio.bonding import PHONE_ADDRESS


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


async def test_both_users_see_the_same_number_and_their_yes_makes_an_authenticated_bond(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        await connected(caller)
        secret = await caller.characteristic(PATH, SECRET)
        read = (secret, "org.bluez.GattCharacteristic1", "ReadValue", "a{sv}", {})
        assert await caller.error(*read) == ("org.bluez.Error.NotPermitted", "Not paired")
        pairing = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
        question = await agent.asked("RequestConfirmation")
        assert question.body == [PATH, await peripheral.user.numbers.get()]
        assert await caller.property(PATH, "Paired") is False
        await agent.answer(question)
        await pairing
        # The signal comes before the reply, so it is here already.
        assert caller.heard(PATH, "Paired") == [True]
        assert await caller.property(PATH, "Bonded") is True
        assert bytes(await caller.call(*read)) == b"a secret"
        key = await phone_key(radio)
        assert key is not None
        assert key.authenticated
        assert (await peripheral.bonds())[PHONE_ADDRESS].ltk == key
        assert await caller.error(PATH, DEVICE, "Pair") == ("org.bluez.Error.AlreadyExists", "Already Exists")
        assert not agent.was_asked


async def test_pair_connects_first_when_it_must(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        await caller.found(PATH)
        await pair_with_a_yes(caller, agent)
        assert await caller.property(PATH, "Connected") is True
        assert await caller.property(PATH, "ServicesResolved") is True
        assert peripheral.connection is not None
        assert peripheral.connection.is_encrypted


async def test_the_callers_own_agent_goes_before_the_default_one(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    own = FakeAgent(caller)
    await own.register("DisplayYesNo", default=False)
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"):
        await connected(caller)
        await pair_with_a_yes(caller, own)
        assert not agent.was_asked


@pytest.mark.parametrize("error", ["org.bluez.Error.Rejected", "org.bluez.Error.Canceled", "org.example.Nonsense"])
async def test_no_from_the_agent_fails_the_pairing(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path, error: str
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        await connected(caller)
        pairing = pair(caller)
        await agent.refuse(await agent.asked("RequestConfirmation"), error)
        assert await pairing == FAILED
        assert await caller.property(PATH, "Paired") is False
        assert await caller.property(PATH, "Connected") is True
        assert await phone_key(radio) is None
        assert await peripheral.bonds() == {}


async def test_no_from_the_peripheral_fails_the_pairing_and_takes_the_question_back(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys", User(says=None)) as peripheral:
        await connected(caller)
        pairing = pair(caller)
        await agent.asked("RequestConfirmation")
        peripheral.user.answers.put_nowait(False)
        assert await pairing == FAILED
        await agent.asked("Cancel")
        assert await phone_key(radio) is None


async def test_a_pairing_can_be_tried_again_after_a_no(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"):
        await connected(caller)
        pairing = pair(caller)
        await agent.refuse(await agent.asked("RequestConfirmation"))
        assert await pairing == FAILED
        # On a new connection: Bumble's peripheral keeps the failed session for as long as the old one lasts.
        await caller.call(PATH, DEVICE, "Disconnect")
        await caller.connected(PATH)
        await pair_with_a_yes(caller, agent)
        assert await caller.property(PATH, "Paired") is True


async def test_an_agent_that_leaves_the_bus_has_refused(radio: RadioProcesses, caller: Caller, tmp_path: Path) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"):
        await connected(caller)
        async with caller_on(radio.dbus_address) as owner:
            agent = FakeAgent(owner)
            await agent.register("DisplayYesNo")
            pairing = pair(caller)
            await agent.asked("RequestConfirmation")
        assert await pairing == FAILED


async def test_a_connection_that_ends_cancels_the_pairing(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        await connected(caller)
        pairing = pair(caller)
        await agent.asked("RequestConfirmation")
        await peripheral.leave()
        assert await pairing == CANCELED
        await agent.asked("Cancel")


async def test_cancel_pairing_ends_it_and_is_an_error_when_there_is_none(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys") as peripheral:
        await connected(caller)
        assert (await caller.error(PATH, DEVICE, "CancelPairing"))[0] == "org.bluez.Error.DoesNotExist"
        pairing = pair(caller)
        await agent.asked("RequestConfirmation")
        assert await caller.error(PATH, DEVICE, "Pair") == ("org.bluez.Error.InProgress", "In Progress")
        await caller.call(PATH, DEVICE, "CancelPairing")
        assert await pairing == CANCELED
        await agent.asked("Cancel")
        assert await caller.property(PATH, "Connected") is True
        assert await peripheral.bonds() == {}


async def test_cancel_pairing_also_calls_off_the_attempt_to_connect(
    radio: RadioProcesses, caller: Caller, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"):
        await caller.found(PATH)
    # Out of reach now.
    refused, waiting = await asyncio.wait({pair(caller), pair(caller)}, return_when=asyncio.FIRST_COMPLETED)
    assert refused.pop().result() == ("org.bluez.Error.InProgress", "In Progress")
    await caller.call(PATH, DEVICE, "CancelPairing")
    assert await waiting.pop() == CANCELED


async def test_a_caller_that_leaves_the_bus_takes_its_pairing_and_the_connection_along(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"):
        await connected(caller)
        async with caller_on(radio.dbus_address) as other:
            calling = asyncio.ensure_future(other.reply(PATH, DEVICE, "Pair", ""))
            await agent.asked("RequestConfirmation")
            calling.cancel()
        await agent.asked("Cancel")
        await caller.until_changed(PATH, "Connected", False)


async def test_the_last_agent_to_ask_is_the_default_until_it_goes(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"):
        await connected(caller)
        async with caller_on(radio.dbus_address) as owner:
            latest = FakeAgent(owner)
            await latest.register("DisplayYesNo")
            pairing = pair(caller)
            await latest.refuse(await latest.asked("RequestConfirmation"))
            assert await pairing == FAILED
            await owner.call("/org/bluez", AGENT_MANAGER, "UnregisterAgent", "o", FakeAgent.PATH)
        await caller.call(PATH, DEVICE, "Disconnect")
        await caller.connected(PATH)
        await pair_with_a_yes(caller, agent)


async def test_removing_the_device_cancels_its_pairing(
    radio: RadioProcesses, caller: Caller, agent: FakeAgent, tmp_path: Path
) -> None:
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"):
        await connected(caller)
        pairing = pair(caller)
        await agent.asked("RequestConfirmation")
        await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)
        assert await pairing == CANCELED
        await agent.asked("Cancel")
        assert await phone_key(radio) is None


# Silence, on a façade in this process whose patience can be shortened -------------------------------------------------


@asynccontextmanager
async def facade(radio: RadioProcesses) -> AsyncIterator[Caller]:
    """The façade in this process instead of its own, and a client of it."""
    radio.kill_bluez()
    try:
        async with open_host(f"tcp-client:127.0.0.1:{radio._ports[1]}", PHONE_ADDRESS) as host:
            bus = await connect_bus(radio.dbus_address)
            service = BluezService(bus, host)
            await service.start()
            async with caller_on(radio.dbus_address) as caller:
                yield caller
            await service.stop()
            bus.disconnect()
    finally:
        await asyncio.to_thread(radio.restart_bluez)


async def test_a_peripheral_that_never_answers_is_left(
    radio: RadioProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing_module, "SMP_S", 0.3)
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys", User(says=None)), facade(radio) as caller:
        agent = FakeAgent(caller)
        await agent.register("DisplayYesNo")
        await connected(caller)
        pairing = pair(caller)
        await agent.answer(await agent.asked("RequestConfirmation"))
        assert await pairing == ("org.bluez.Error.AuthenticationTimeout", "Authentication Timeout")
        await caller.until_changed(PATH, "Connected", False)


async def test_an_agent_that_never_answers_has_refused(
    radio: RadioProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents_module, "ANSWER_S", 0.3)
    async with secure_peripheral(radio.glasses_hci, tmp_path / "keys"), facade(radio) as caller:
        agent = FakeAgent(caller)
        await agent.register("DisplayYesNo")
        await connected(caller)
        pairing = pair(caller)
        await agent.asked("RequestConfirmation")
        assert await pairing == FAILED
        await agent.asked("Cancel")


def test_the_facades_address_is_a_random_static_one() -> None:
    assert Address(PHONE_ADDRESS).is_static

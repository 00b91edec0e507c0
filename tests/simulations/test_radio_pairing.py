"""Pairing through the façade: who is asked, what each answer leads to, and the name of every failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bleak import BleakClient
from bleak.exc import BleakDBusError
from bumble.hci import Address
from bumble.keys import JsonKeyStore, PairingKeys
from bumble.smp import SMP_CID
from bus_caller import ADAPTER, AGENT_MANAGER, DEVICE, Caller, FakeAgent, caller_on, path_of
from radio_helpers import close_bleak, find
from radio_peripheral import ADDRESS
from secure_peripheral import IO, OPEN, SECRET, SecurePeripheral, User, secure_peripheral

from simulations.radio import RadioProcesses
from simulations.radio.bluez import agents as agents_module
from simulations.radio.bluez import pairing as pairing_module
from simulations.radio.bluez.host import open_host
from simulations.radio.bluez.service import BluezService, connect_bus
from simulations.radio.bonding import PHONE_ADDRESS

PATH = path_of(ADDRESS)
FAILED = ("org.bluez.Error.AuthenticationFailed", "Authentication Failed")
CANCELED = ("org.bluez.Error.AuthenticationCanceled", "Authentication Canceled")


@pytest.fixture(scope="module")
def radio() -> Iterator[RadioProcesses]:
    with RadioProcesses(bonded=False) as processes:
        yield processes


@pytest.fixture
async def caller(radio: RadioProcesses) -> AsyncIterator[Caller]:
    async with caller_on(radio.dbus_address) as caller:
        yield caller
        if PATH in await caller.objects():
            await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)


@pytest.fixture
async def agent(radio: RadioProcesses) -> AsyncIterator[FakeAgent]:
    """The default agent, on a bus connection of its own, as a phone's user interface is."""
    async with caller_on(radio.dbus_address) as owner:
        agent = FakeAgent(owner)
        await agent.register("DisplayYesNo")
        yield agent


async def connected(caller: Caller) -> None:
    await caller.found(PATH)
    await caller.connected(PATH)


async def phone_key(radio: RadioProcesses) -> PairingKeys.Key | None:
    """The long term key the phone keeps for the peripheral."""
    keys = await JsonKeyStore(PHONE_ADDRESS, str(radio.phone_bonds)).get(ADDRESS)
    return None if keys is None else keys.ltk


def pair(caller: Caller) -> asyncio.Task[tuple[str, str]]:
    """A pairing that is going to fail."""
    return asyncio.ensure_future(caller.error(PATH, DEVICE, "Pair"))


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
        pairing = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
        await agent.answer(await agent.asked("RequestConfirmation"))
        await pairing
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
        pairing = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
        await own.answer(await own.asked("RequestConfirmation"))
        await pairing
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
        again = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
        await agent.answer(await agent.asked("RequestConfirmation"))
        await again
        assert await caller.property(PATH, "Paired") is True


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
        again = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
        await agent.answer(await agent.asked("RequestConfirmation"))
        await again


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


# Unmodified bleak -----------------------------------------------------------------------------------------------------


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
        pairing = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
        await agent.answer(await agent.asked("RequestConfirmation"))
        await pairing
        await caller.call(PATH, DEVICE, "Disconnect")
        await peripheral.lose_bonds()
        dropped = asyncio.Semaphore(0)
        client = BleakClient(await find(), disconnected_callback=lambda _: dropped.release(), timeout=1)
        with pytest.raises(TimeoutError):
            await client.connect()
        assert not dropped.locked()
        assert await caller.property(PATH, "Paired") is True


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

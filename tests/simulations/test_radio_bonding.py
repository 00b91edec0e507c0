"""Bonds: written ahead, kept over restarts, put to use at every connection, lost on either side, and removed."""

from __future__ import annotations

import asyncio
import configparser
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bumble.keys import JsonKeyStore
from bus_caller import ADAPTER, DEVICE, PROPERTIES, Caller, FakeAgent, caller_on, path_of
from dbus_fast import Variant
from radio_peripheral import ADDRESS
from secure_peripheral import SECRET, SecurePeripheral, secure_peripheral

from shared.errors import RadioError
from simulations.radio import RadioProcesses
from simulations.radio.bonding import (
    GLASSES_ADDRESS,
    PHONE_ADDRESS,
    bluetoothd_info,
    bluetoothd_path,
    new_bond,
    write_bond,
    write_half,
)

GLASSES = path_of(GLASSES_ADDRESS)
PATH = path_of(ADDRESS)
READ = ("org.bluez.GattCharacteristic1", "ReadValue", "a{sv}", {})
ABORTED = ("org.bluez.Error.Failed", "le-connection-abort-by-local")


# Files ----------------------------------------------------------------------------------------------------------------


async def test_both_sides_find_the_same_authenticated_key(tmp_path: Path) -> None:
    bond = write_bond(tmp_path / "glasses", tmp_path / "phone")
    theirs = await JsonKeyStore(GLASSES_ADDRESS, str(tmp_path / "glasses")).get(PHONE_ADDRESS)
    ours = await JsonKeyStore(PHONE_ADDRESS, str(tmp_path / "phone")).get(GLASSES_ADDRESS)
    assert ours is not None
    assert theirs is not None
    assert ours.ltk is not None
    assert ours.ltk == theirs.ltk
    assert ours.ltk.value == bond.ltk
    assert ours.ltk.authenticated
    assert (tmp_path / "phone").stat().st_mode & 0o077 == 0


def test_every_bond_has_a_key_of_its_own_that_no_log_shows() -> None:
    one, other = new_bond(), new_bond()
    assert one.ltk != other.ltk
    assert len(one.ltk) == 16
    assert one.ltk.hex() not in repr(one)


async def test_a_bond_is_written_beside_those_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    write_half(file, own=PHONE_ADDRESS, peer="C0:00:00:00:00:01", ltk=bytes(16))
    write_half(file, own=PHONE_ADDRESS, peer="00:11:22:33:44:55/P", ltk=bytes(range(16)))
    store = JsonKeyStore(PHONE_ADDRESS, str(file))
    assert [name for name, _ in await store.get_all()] == ["00:11:22:33:44:55/P", "C0:00:00:00:00:01"]
    public = await store.get("00:11:22:33:44:55/P")
    assert public is not None
    assert public.address_type == 0


def test_a_file_that_is_not_a_key_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    for text in ("not JSON", "[]"):
        file.write_text(text)
        with pytest.raises(RadioError, match="keys"):
            write_half(file, own=PHONE_ADDRESS, peer=ADDRESS, ltk=bytes(16))
        assert file.read_text() == text


def test_bluetoothd_reads_the_bond_as_an_authenticated_secure_connections_key(tmp_path: Path) -> None:
    bond = new_bond(phone="C0:DE:00:00:00:02/P")
    path = bluetoothd_path(bond, storage=tmp_path)
    assert path == tmp_path / "C0:DE:00:00:00:02" / GLASSES_ADDRESS / "info"
    info = configparser.ConfigParser()
    info.read_string(bluetoothd_info(bond))
    assert info["General"]["AddressType"] == "static"
    assert info["General"]["SupportedTechnologies"] == "LE;"
    for group in ("PeripheralLongTermKey", "SlaveLongTermKey"):
        assert bytes.fromhex(info[group]["Key"]) == bond.ltk
        # 3 is MGMT_LTK_P256_AUTH; a Secure Connections key has neither EDiv nor Rand.
        assert {name: info.getint(group, name) for name in ("Authenticated", "EncSize", "EDiv", "Rand")} == {
            "Authenticated": 3,
            "EncSize": 16,
            "EDiv": 0,
            "Rand": 0,
        }


# A bond made ahead of time --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bonded_radio() -> Iterator[RadioProcesses]:
    with RadioProcesses() as processes:
        yield processes


@asynccontextmanager
async def glasses_on(radio: RadioProcesses) -> AsyncIterator[SecurePeripheral]:
    async with secure_peripheral(radio.glasses_hci, radio.glasses_bonds, address=GLASSES_ADDRESS) as peripheral:
        yield peripheral


@pytest.fixture
async def caller(bonded_radio: RadioProcesses) -> AsyncIterator[Caller]:
    async with caller_on(bonded_radio.dbus_address) as caller:
        await caller.listen()
        yield caller


async def test_a_bonded_device_is_known_before_it_is_heard(caller: Caller) -> None:
    properties = (await caller.objects())[GLASSES][DEVICE]
    assert properties["Address"].value == GLASSES_ADDRESS
    assert properties["AddressType"].value == "random"
    for name, value in {"Paired": True, "Bonded": True, "Connected": False, "Trusted": False}.items():
        assert properties[name].value is value
    assert await caller.error(GLASSES, DEVICE, "Pair") == ("org.bluez.Error.AlreadyExists", "Already Exists")


async def test_the_link_to_a_bonded_device_is_encrypted_before_connect_answers(
    bonded_radio: RadioProcesses, caller: Caller
) -> None:
    async with glasses_on(bonded_radio) as glasses:
        for _ in range(2):
            await caller.call(GLASSES, DEVICE, "Connect")
            assert glasses.connection is not None
            assert glasses.connection.is_encrypted
            await caller.until_changed(GLASSES, "ServicesResolved", True)
            secret = await caller.characteristic(GLASSES, SECRET)
            assert bytes(await caller.call(secret, *READ)) == b"a secret"
            await caller.call(GLASSES, DEVICE, "Disconnect")


async def test_a_security_request_of_a_bonded_device_asks_nobody(bonded_radio: RadioProcesses, caller: Caller) -> None:
    agent = FakeAgent(caller)
    await agent.register("DisplayYesNo")
    async with glasses_on(bonded_radio) as glasses:
        await caller.connected(GLASSES)
        assert glasses.connection is not None
        glasses.connection.request_pairing()
        secret = await caller.characteristic(GLASSES, SECRET)
        assert bytes(await caller.call(secret, *READ)) == b"a secret"
        assert not agent.was_asked
        await caller.call(GLASSES, DEVICE, "Disconnect")


async def test_a_radio_without_bonds_knows_nobody() -> None:
    async with RadioProcesses(bonded=False) as radio, caller_on(radio.dbus_address) as caller:
        assert [path for path, interfaces in (await caller.objects()).items() if DEVICE in interfaces] == []
        assert not radio.glasses_bonds.exists()


# A bond made by pairing -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def radio() -> Iterator[RadioProcesses]:
    with RadioProcesses(bonded=False) as processes:
        yield processes


async def pair(caller: Caller, agent: FakeAgent) -> None:
    """Pair and disconnect."""
    pairing = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
    await agent.answer(await agent.asked("RequestConfirmation"))
    await pairing
    await caller.call(PATH, DEVICE, "Disconnect")
    await caller.until_changed(PATH, "Connected", False)


@asynccontextmanager
async def paired(radio: RadioProcesses, keys: Path) -> AsyncIterator[tuple[Caller, SecurePeripheral]]:
    """A peripheral that has just been paired with and disconnected; the bond is removed in the end."""
    async with secure_peripheral(radio.glasses_hci, keys) as peripheral, caller_on(radio.dbus_address) as caller:
        agent = FakeAgent(caller)
        await agent.register("DisplayYesNo")
        await caller.found(PATH)
        await pair(caller, agent)
        try:
            yield caller, peripheral
        finally:
            async with caller_on(radio.dbus_address) as last:
                if PATH in await last.objects():
                    await last.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)


async def test_a_bond_and_its_trust_survive_a_restart_of_bluez(radio: RadioProcesses, tmp_path: Path) -> None:
    async with paired(radio, tmp_path / "keys") as (caller, peripheral):
        await caller.call(PATH, PROPERTIES, "Set", "ssv", DEVICE, "Trusted", Variant("b", True))
        radio.kill_bluez()
        await asyncio.to_thread(radio.restart_bluez)
        async with caller_on(radio.dbus_address) as again:
            assert await again.property(PATH, "Paired") is True
            assert await again.property(PATH, "Trusted") is True
            await again.listen()
            await again.connected(PATH)
            assert peripheral.connection is not None
            assert peripheral.connection.is_encrypted
            secret = await again.characteristic(PATH, SECRET)
            assert bytes(await again.call(secret, *READ)) == b"a secret"


async def test_a_device_that_lost_the_bond_is_left_and_the_bond_stays(radio: RadioProcesses, tmp_path: Path) -> None:
    async with paired(radio, tmp_path / "keys") as (caller, peripheral):
        await peripheral.lose_bonds()
        for _ in range(2):
            assert await caller.error(PATH, DEVICE, "Connect") == ABORTED
            # As with bluetoothd, the device was connected for a moment; bleak waits for the end of that.
            assert caller.heard(PATH, "Connected") == [True, False]
            assert await caller.property(PATH, "Paired") is True
        assert await caller.error(PATH, DEVICE, "Pair") == ("org.bluez.Error.AlreadyExists", "Already Exists")


async def test_a_device_with_another_key_is_not_connected_to(radio: RadioProcesses, tmp_path: Path) -> None:
    async with paired(radio, tmp_path / "keys") as (caller, _):
        write_half(tmp_path / "keys", own=ADDRESS, peer=PHONE_ADDRESS, ltk=bytes(16))
        name, text = await caller.error(PATH, DEVICE, "Connect")
        assert name == "org.bluez.Error.Failed"
        assert text.startswith("le-connection-")
        assert caller.heard(PATH, "Connected") == [True, False]


async def test_a_lost_bond_is_mended_by_removing_the_device_and_pairing_again(
    radio: RadioProcesses, tmp_path: Path
) -> None:
    async with paired(radio, tmp_path / "keys") as (caller, peripheral):
        await peripheral.lose_bonds()
        assert await caller.error(PATH, DEVICE, "Connect") == ABORTED
        await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)
        async with caller_on(radio.dbus_address) as again:
            await again.found(PATH)
            agent = FakeAgent(again)
            await agent.register("DisplayYesNo")
            await pair(again, agent)
        await caller.connected(PATH)
        assert peripheral.connection is not None
        assert peripheral.connection.is_encrypted


async def test_a_removed_device_is_a_stranger_again(radio: RadioProcesses, tmp_path: Path) -> None:
    async with paired(radio, tmp_path / "keys") as (caller, peripheral):
        await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)
        assert PATH not in await caller.objects()
        assert json.loads(radio.phone_bonds.read_text()) == {PHONE_ADDRESS: {}}
        await caller.found(PATH)
        assert await caller.property(PATH, "Paired") is False
        await caller.connected(PATH)
        assert peripheral.connection is not None
        assert not peripheral.connection.is_encrypted
        secret = await caller.characteristic(PATH, SECRET)
        assert await caller.error(secret, *READ) == ("org.bluez.Error.NotPermitted", "Not paired")


async def test_removing_a_connected_device_disconnects_it_first(radio: RadioProcesses, tmp_path: Path) -> None:
    async with paired(radio, tmp_path / "keys") as (caller, _):
        await caller.connected(PATH)
        await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)
        assert caller.heard(PATH, "Connected") == [False]


async def test_a_damaged_key_file_keeps_bluez_from_starting_and_is_named(tmp_path: Path) -> None:
    async with RadioProcesses(bonded=False) as radio:
        radio.kill_bluez()
        radio.phone_bonds.write_text("not JSON")
        with pytest.raises(RadioError, match="bluez ended") as ended:
            await asyncio.to_thread(radio.restart_bluez)
        assert "phone-keys.json" in ended.value.hint

"""How the glasses pair, and above all how they do not, against a Bumble central that may misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from bumble import hci, smp
from bumble.att import ATT_Error
from bumble.core import AdvertisingData, ProtocolError
from bumble.device import Advertisement, Connection, Device
from bumble.pairing import PairingConfig, PairingDelegate
from emulated_air import BOND, CLOCK, PHONE_ADDRESS, Air, FastClock, Phone, paired_bonds

from glasses.bonds import BondStore, is_authenticated
from glasses.pairing import PairingPolicy
from glasses.peripheral import DEFAULT_ADDRESS, PeripheralLink
from shared.clock import Clock
from shared.errors import StorageError
from shared.link import Lane

IO = PairingDelegate.IoCapability


class User(PairingDelegate):
    """The phone's user, who sees a number and says yes or no to it."""

    def __init__(self, capability: IO = IO.DISPLAY_OUTPUT_AND_YES_NO_INPUT, *, says: bool = True) -> None:
        super().__init__(io_capability=capability)
        self.says = says
        self.seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def compare_numbers(self, number: int, digits: int) -> bool:
        self.seen.set_result(f"{number:06}")
        return self.says


class Glasses:
    """A link, and what it told its wearer."""

    def __init__(
        self, air: Air, bonds: BondStore, *, clock: Clock = CLOCK, policy: PairingPolicy | None = None
    ) -> None:
        self.lines: list[str] = []
        self.heard = asyncio.Event()
        self.bonds = bonds
        self.link = PeripheralLink(air.hci, clock=clock, bonds=bonds, pairing=policy, on_pairing=self._hear)

    def _hear(self, line: str) -> None:
        self.lines.append(line)
        self.heard.set()

    async def says(self, words: str) -> str:
        """Wait for a line with `words` in it."""
        async with asyncio.timeout(10):
            while not (found := [line for line in self.lines if words in line]):
                self.heard.clear()
                await self.heard.wait()
        return found[0]

    async def number(self) -> str:
        """Wait until the wearer is shown a number."""
        line = await self.says("pairing: compare")
        assert self.link.pairing.number in line
        return self.link.pairing.number


@pytest.fixture
async def glasses(air: Air) -> AsyncIterator[Glasses]:
    glasses = Glasses(air, BondStore(None, clock=CLOCK))
    await glasses.link.start()
    yield glasses
    await glasses.link.close()


@pytest.fixture
async def air(tmp_path: Path) -> AsyncIterator[Air]:
    air = Air(tmp_path)
    await air.start_controller()
    await air.central.power_on()
    yield air
    await air.kill_controller()


def wants(air: Air, user: PairingDelegate, *, sc: bool = True, mitm: bool = True, bonding: bool = True) -> None:
    air.central.pairing_config_factory = lambda _connection: PairingConfig(
        sc=sc,
        mitm=mitm,
        bonding=bonding,
        delegate=user,
        identity_address_type=PairingConfig.AddressType.RANDOM,
    )


async def stranger(air: Air) -> Phone:
    """A phone that connects without a bond."""
    air.keys.all_keys.clear()
    return await air.connect(encrypted=False)


async def pair(phone: Phone) -> None:
    await asyncio.wait_for(phone.connection.pair(), 10)


async def refused(phone: Phone) -> smp.ErrorCode:
    """Try to pair; the reason the glasses gave, after which they end the connection."""
    with pytest.raises(ProtocolError) as caught:
        await pair(phone)
    await asyncio.wait_for(phone.gone.wait(), 5)
    return smp.ErrorCode(caught.value.error_code)


async def test_a_phone_is_paired_when_both_sides_say_that_the_numbers_are_the_same(air: Air, glasses: Glasses) -> None:
    wants(air, user := User())
    await glasses.link.open_pairing()
    phone = await stranger(air)
    pairing = asyncio.create_task(pair(phone))
    assert await glasses.number() == await user.seen
    assert glasses.link.pairing.answer(True)
    await pairing
    await glasses.says(f"pairing mode is closed: paired with {PHONE_ADDRESS}")
    assert is_authenticated(await glasses.bonds.get(PHONE_ADDRESS))
    assert not glasses.link.pairing.is_open()

    await phone.listen()
    await phone.until_greeted()
    await phone.connection.disconnect()
    phone = await air.connect()  # with the bond that both have now
    await phone.listen()
    sending = asyncio.create_task(glasses.link.send(b"a strip", lane=Lane.BULK, deadline=CLOCK.monotonic() + 10))
    assert await phone.object() == b"a strip"
    await sending


async def test_without_a_physical_act_nobody_can_pair(air: Air, glasses: Glasses) -> None:
    wants(air, User())
    assert await refused(await stranger(air)) is smp.ErrorCode.PAIRING_NOT_SUPPORTED
    assert glasses.lines == ["a phone asked to pair while pairing mode was closed; refused"]
    assert glasses.bonds.bonds() == []


async def test_pairing_mode_closes_after_its_time(air: Air) -> None:
    glasses = Glasses(air, BondStore(None, clock=CLOCK), clock=FastClock(), policy=PairingPolicy(open_s=20))
    await glasses.link.start()
    await glasses.link.open_pairing()
    assert await glasses.says("open for 20 s")
    await glasses.says("pairing mode is closed: nobody paired within 20 s")
    wants(air, User())
    assert await refused(await stranger(air)) is smp.ErrorCode.PAIRING_NOT_SUPPORTED
    await glasses.link.close()


async def test_the_wearer_can_say_no(air: Air, glasses: Glasses) -> None:
    wants(air, User())
    await glasses.link.open_pairing()
    phone = await stranger(air)
    pairing = asyncio.create_task(refused(phone))
    await glasses.number()
    glasses.link.pairing.answer(False)
    await pairing
    assert await glasses.says("the numbers were said to differ; pairing refused")
    assert glasses.bonds.bonds() == []
    assert glasses.link.pairing.is_open()  # for another try


async def test_a_wearer_who_does_not_answer_has_said_no(air: Air) -> None:
    glasses = Glasses(air, BondStore(None, clock=CLOCK), clock=FastClock())
    await glasses.link.start()
    wants(air, User())
    await glasses.link.open_pairing()
    phone = await stranger(air)
    await refused(phone)
    assert await glasses.says("nobody compared the numbers within 30 s; pairing refused")
    assert not glasses.link.pairing.answer(True)  # too late
    assert glasses.bonds.bonds() == []
    await glasses.link.close()


async def test_the_phones_user_can_say_no(air: Air, glasses: Glasses) -> None:
    wants(air, User(says=False))
    await glasses.link.open_pairing()
    phone = await stranger(air)
    with pytest.raises(ProtocolError):
        await pair(phone)
    await glasses.says("the phone ended the pairing")
    await asyncio.wait_for(phone.gone.wait(), 5)
    assert not glasses.link.pairing.answer(True)  # the question is void
    assert glasses.bonds.bonds() == []


@pytest.mark.parametrize(
    ("capability", "flags", "line"),
    [
        (IO.NO_OUTPUT_NO_INPUT, {}, "without comparing numbers (Just Works); refused"),
        (IO.NO_OUTPUT_NO_INPUT, {"mitm": False}, "without comparing numbers (Just Works); refused"),
        (IO.DISPLAY_OUTPUT_ONLY, {}, "without comparing numbers (Just Works); refused"),
        (IO.KEYBOARD_INPUT_ONLY, {}, "by typing a number in"),
        (IO.DISPLAY_OUTPUT_AND_YES_NO_INPUT, {"sc": False}, "legacy pairing, which can be overheard; refused"),
        (IO.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT, {"sc": False}, "legacy pairing, which can be overheard; refused"),
        (IO.DISPLAY_OUTPUT_AND_YES_NO_INPUT, {"bonding": False}, "without remembering it; refused"),
    ],
)
async def test_weaker_ways_to_pair_are_refused_even_in_pairing_mode(
    air: Air, glasses: Glasses, capability: IO, flags: dict[str, bool], line: str
) -> None:
    wants(air, User(capability), **flags)
    await glasses.link.open_pairing()
    assert await refused(await stranger(air)) is smp.ErrorCode.AUTHENTICATION_REQUIREMENTS
    await glasses.says(line)
    assert glasses.bonds.bonds() == []


async def test_a_shortened_key_is_refused(air: Air, glasses: Glasses) -> None:
    user = User()
    user.maximum_encryption_key_size = 7
    wants(air, user)
    await glasses.link.open_pairing()
    assert await refused(await stranger(air)) is smp.ErrorCode.ENCRYPTION_KEY_SIZE


async def test_after_three_failed_comparisons_pairing_mode_closes(air: Air, glasses: Glasses) -> None:
    await glasses.link.open_pairing()
    for _ in range(3):
        wants(air, User(says=False))
        with pytest.raises(ProtocolError):
            await pair(phone := await stranger(air))
        await asyncio.wait_for(phone.gone.wait(), 5)
    await glasses.says("3 pairings failed")
    wants(air, User())
    assert await refused(await stranger(air)) is smp.ErrorCode.PAIRING_NOT_SUPPORTED


# Phones that leave the protocol -------------------------------------------------------------------------


class HastySession(smp.Session):
    """Encrypts as soon as it has computed the key, before anybody has compared the numbers."""

    def prompt_user_for_numeric_comparison(self, code: int, next_steps: Callable[[], None]) -> None:
        self.peer_expected_distributions = []
        self.start_encryption(self.ltk)


async def test_a_key_is_not_handed_out_before_the_numbers_were_compared(air: Air, glasses: Glasses) -> None:
    wants(air, User())
    air.central.smp_session_proxy = HastySession
    await glasses.link.open_pairing()
    phone = await stranger(air)
    ended = asyncio.get_running_loop().create_future()
    phone.connection.on(Connection.EVENT_CONNECTION_ENCRYPTION_FAILURE, ended.set_result)
    phone.connection.on(Connection.EVENT_CONNECTION_ENCRYPTION_CHANGE, lambda: ended.set_result(None))
    pairing = asyncio.ensure_future(phone.connection.pair())
    assert await asyncio.wait_for(ended, 5) == hci.HCI_PIN_OR_KEY_MISSING_ERROR
    await asyncio.wait_for(phone.gone.wait(), 5)
    await asyncio.wait({pairing})
    assert pairing.cancelled() or pairing.exception()
    assert glasses.bonds.bonds() == []


class RepeatingSession(smp.Session):
    """Sends its random number twice, so that the key changes behind the number that is being compared."""

    def send_pairing_random_command(self) -> None:
        super().send_pairing_random_command()
        super().send_pairing_random_command()


class MirrorSession(smp.Session):
    """Sends the glasses' own public key back, once it knows it."""

    def on_smp_pairing_response_command(self, command: smp.SMP_Pairing_Response_Command) -> None:
        self.sc = True

    def send_pairing_request_command(self) -> None:
        super().send_pairing_request_command()
        self.send_public_key_command()  # before the request was answered


@pytest.mark.parametrize("session", [RepeatingSession, MirrorSession])
async def test_steps_out_of_order_end_the_pairing(air: Air, glasses: Glasses, session: type[smp.Session]) -> None:
    wants(air, User())
    air.central.smp_session_proxy = session
    await glasses.link.open_pairing()
    assert await refused(await stranger(air)) is smp.ErrorCode.INVALID_PARAMETERS
    await glasses.says("a phone left the order of pairing; refused")
    assert not glasses.link.pairing.answer(True)
    assert glasses.bonds.bonds() == []


async def test_security_messages_that_are_none_are_survived(air: Air, glasses: Glasses) -> None:
    phone = await stranger(air)
    for junk in (b"\x01", b"\xff\xff", b"\x0c" + bytes(64), b"\x05\x63"):
        phone.connection.send_l2cap_pdu(smp.SMP_CID, junk)
    assert await phone.peer.discover_services()
    assert glasses.bonds.bonds() == []


# Values ------------------------------------------------------------------------------------------------


async def test_a_stranger_can_neither_listen_nor_write(air: Air, glasses: Glasses) -> None:
    phone = await stranger(air)
    with pytest.raises(ATT_Error) as caught:
        await phone.to_phone.subscribe(phone.values.put_nowait)
    assert caught.value.error_code == 0x0F  # insufficient encryption
    await phone.to_glasses.write_value(b"\x11" + bytes(30), with_response=False)
    with pytest.raises(ATT_Error):
        await phone.to_glasses.write_value(b"\x11" + bytes(30), with_response=True)
    assert not glasses.link.quality.connected
    assert glasses.link.quality.refused_frames == 0  # it did not even get to the link


async def test_a_key_from_just_works_opens_nothing(air: Air) -> None:
    """Even if an unauthenticated key were known to Bumble, which then calls the connection authenticated."""
    bonds = BondStore(None, clock=CLOCK)
    weak = type(BOND)(address_type=BOND.address_type, ltk=type(BOND).Key(value=bytes(16), authenticated=False))
    with pytest.raises(StorageError, match="not authenticated"):
        await bonds.update(PHONE_ADDRESS, weak)
    glasses = Glasses(air, bonds)
    await glasses.link.start()
    air.keys.all_keys[DEFAULT_ADDRESS] = weak
    with pytest.raises(hci.HCI_Error):
        await air.connect()
    assert not glasses.link.quality.connected
    await glasses.link.close()


async def test_a_phone_whose_bond_the_glasses_have_lost_is_told_and_sent_away(air: Air, glasses: Glasses) -> None:
    with pytest.raises(hci.HCI_Error) as caught:
        await air.connect()
    assert caught.value.error_code == hci.HCI_PIN_OR_KEY_MISSING_ERROR
    line = await glasses.says("these glasses have forgotten")
    assert PHONE_ADDRESS in line
    assert await air.see_glasses()  # the connection was ended


async def test_forgetting_all_phones_sends_the_connected_one_away(air: Air) -> None:
    glasses = Glasses(air, await paired_bonds())
    await glasses.link.start()
    phone = await air.connect()
    await phone.listen()
    await phone.until_greeted()
    assert await glasses.link.forget_phones() == 1
    await asyncio.wait_for(phone.gone.wait(), 5)
    with pytest.raises(hci.HCI_Error):
        await air.connect()
    await glasses.link.close()


# The advertisement -------------------------------------------------------------------------------------


async def discoverable(air: Air, wanted: bool) -> None:
    """Wait for an advertisement that says whether anybody may find the glasses.

    The service data that say the same in the scan response are not on this air; tests/system/test_pairing.py sees them.
    """
    seen = asyncio.Event()

    def look(advertisement: Advertisement) -> None:
        flags = advertisement.data.get(AdvertisingData.Type.FLAGS)
        if flags is not None and bool(flags & AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE) is wanted:
            seen.set()

    air.central.on(Device.EVENT_ADVERTISEMENT, look)
    await air.central.start_scanning(filter_duplicates=False)
    try:
        await asyncio.wait_for(seen.wait(), 10)
    finally:
        await air.central.stop_scanning()
        air.central.remove_listener(Device.EVENT_ADVERTISEMENT, look)


async def test_only_in_pairing_mode_the_glasses_offer_themselves_to_everybody(air: Air, glasses: Glasses) -> None:
    await discoverable(air, False)
    await glasses.link.open_pairing()
    await discoverable(air, True)
    glasses.link.pairing.answer(False)
    await discoverable(air, False)


async def test_opening_pairing_mode_makes_room_for_a_new_phone(air: Air) -> None:
    glasses = Glasses(air, await paired_bonds())
    await glasses.link.start()
    phone = await air.connect()
    await phone.listen()
    await phone.until_greeted()
    await glasses.link.open_pairing()
    await asyncio.wait_for(phone.gone.wait(), 5)
    await discoverable(air, True)
    await glasses.link.close()


async def test_pairing_mode_does_not_open_where_a_bond_could_not_be_kept(air: Air, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file where a folder should be")
    glasses = Glasses(air, BondStore(tmp_path / "bonds.json", clock=CLOCK))
    glasses.bonds._path = occupied / "bonds.json"  # as a disk that has filled up meanwhile
    await glasses.link.start()
    with pytest.raises(StorageError, match="cannot write the file of paired phones"):
        await glasses.link.open_pairing()
    assert not glasses.link.pairing.is_open()
    await glasses.link.close()

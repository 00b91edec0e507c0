"""The phone's pairing agent and its words, against a BlueZ that only this test plays; the rest is in tests/system."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from dbus_fast import BusType, Message, MessageType, RequestNameReply, Variant
from dbus_fast.aio import MessageBus

from phone.agent import PATH, PairingAgent
from phone.bluez import AGENT, DEVICE, Bluez, BluezError
from phone.pairing import PairingOptions, explain_failure, pair, paired_glasses, unpair
from phone.sightings import Sighting, classify
from shared.clock import SystemClock
from shared.errors import LinkUnavailable, NotPaired, PairingFailed, PairingFailure
from shared.wire import gatt
from simulations.radio import RadioProcesses

CLOCK = SystemClock()
GLASSES = "/org/bluez/hci0/dev_F0_57_41_59_57_44"
OTHERS = "/org/bluez/hci0/dev_00_00_00_00_00_01"
MANAGED = "org.freedesktop.DBus.ObjectManager"


@dataclass
class FakeBluez:
    """org.bluez as a process on the bus, whose answers a test sets."""

    bus: MessageBus
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    agents: list[tuple[str, str, str]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        self.calls.append((message.path or "", message.member or ""))
        match message.interface, message.member:
            case "org.bluez.AgentManager1", "RegisterAgent":
                self.agents.append((message.sender or "", *message.body))
            case "org.bluez.AgentManager1", "UnregisterAgent":
                self.agents.clear()
            case _, "GetManagedObjects":
                variants = {
                    path: {DEVICE: {name: Variant(*value) for name, value in properties.items()}}
                    for path, properties in self.devices.items()
                }
                return Message.new_method_return(message, "a{oa{sa{sv}}}", [variants])
            case "org.bluez.Adapter1", "RemoveDevice":
                if self.devices.pop(message.body[0], None) is None:
                    return Message.new_error(message, "org.bluez.Error.DoesNotExist", "Does Not Exist")
            case _:
                return None
        return Message.new_method_return(message)

    async def ask(self, member: str, signature: str, *body: object) -> Message:
        """Put a question to the registered agent."""
        ((client, path, _),) = self.agents
        message = Message(
            destination=client, path=path, interface=AGENT, member=member, signature=signature, body=list(body)
        )
        return await asyncio.wait_for(self.bus.call(message), 5)


@pytest.fixture(scope="module")
def bus_address() -> Iterator[str]:
    """A bus of the radio's, without its Bluetooth service."""
    with RadioProcesses(bonded=False) as radio:
        radio.kill_bluez()
        yield radio.dbus_address


@pytest.fixture
async def fake(bus_address: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeBluez]:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus_address)
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    fake = FakeBluez(bus)
    bus.add_message_handler(fake.answer)
    acquired = asyncio.Event()  # at once, or when the bus has noticed that the owner before has gone

    def look(message: Message) -> None:
        if message.member == "NameAcquired" and message.body == ["org.bluez"]:
            acquired.set()

    bus.add_message_handler(look)
    if await bus.request_name("org.bluez") is not RequestNameReply.PRIMARY_OWNER:
        await asyncio.wait_for(acquired.wait(), 5)
    yield fake
    bus.disconnect()
    await bus.wait_for_disconnect()


def says(answer: bool) -> Callable[[str], Awaitable[bool]]:
    async def confirm(number: str) -> bool:
        assert number == "001234"  # six digits, always
        return answer

    return confirm


async def never(_number: str) -> bool:
    await asyncio.Event().wait()
    return True


async def test_a_yes_is_passed_on_and_the_agent_is_there_only_meanwhile(fake: FakeBluez) -> None:
    async with Bluez(CLOCK) as bluez:
        async with PairingAgent(bluez, GLASSES, says(True), clock=CLOCK, answer_s=5) as agent:
            ((_, path, capability),) = fake.agents
            assert (path, capability) == (PATH, "DisplayYesNo")
            reply = await fake.ask("RequestConfirmation", "ou", GLASSES, 1234)
            assert reply.message_type is MessageType.METHOD_RETURN
            assert agent.answer is True
        assert fake.agents == []


async def test_a_no_is_a_rejection(fake: FakeBluez) -> None:
    async with Bluez(CLOCK) as bluez, PairingAgent(bluez, GLASSES, says(False), clock=CLOCK, answer_s=5) as agent:
        reply = await fake.ask("RequestConfirmation", "ou", GLASSES, 1234)
        assert reply.error_name == "org.bluez.Error.Rejected"
        assert agent.answer is False


async def test_no_answer_in_time_is_a_no(fake: FakeBluez) -> None:
    async with Bluez(CLOCK) as bluez, PairingAgent(bluez, GLASSES, never, clock=CLOCK, answer_s=0.05) as agent:
        reply = await fake.ask("RequestConfirmation", "ou", GLASSES, 1234)
        assert reply.error_name == "org.bluez.Error.Canceled"
        assert agent.answer is None
        assert agent.timed_out


async def test_a_cancelled_question_is_taken_from_the_user(fake: FakeBluez) -> None:
    taken = asyncio.Event()

    async def confirm(_number: str) -> bool:
        try:
            return await never("")
        finally:
            taken.set()

    async with Bluez(CLOCK) as bluez, PairingAgent(bluez, GLASSES, confirm, clock=CLOCK, answer_s=5) as agent:
        question = asyncio.ensure_future(fake.ask("RequestConfirmation", "ou", GLASSES, 1234))
        while not agent.asked:
            await asyncio.wait({question}, timeout=0.01)
        assert (await fake.ask("Cancel", "")).message_type is MessageType.METHOD_RETURN
        assert (await question).error_name == "org.bluez.Error.Canceled"
        assert taken.is_set()
        assert agent.answer is None


@pytest.mark.parametrize(
    ("member", "signature", "body"),
    [
        ("RequestConfirmation", "ou", (OTHERS, 1234)),
        ("RequestAuthorization", "o", (GLASSES,)),
        ("AuthorizeService", "os", (GLASSES, gatt.SERVICE_UUID)),
        ("RequestPasskey", "o", (GLASSES,)),
        ("RequestPinCode", "o", (GLASSES,)),
        ("DisplayPasskey", "ouq", (GLASSES, 1234, 0)),
        ("RequestConfirmation", "o", (GLASSES,)),
    ],
)
async def test_everything_but_a_number_of_these_glasses_is_rejected(
    fake: FakeBluez, member: str, signature: str, body: tuple[object, ...]
) -> None:
    async with Bluez(CLOCK) as bluez, PairingAgent(bluez, GLASSES, says(True), clock=CLOCK, answer_s=5) as agent:
        assert (await fake.ask(member, signature, *body)).error_name == "org.bluez.Error.Rejected"
        assert not agent.asked


async def test_a_second_question_is_rejected(fake: FakeBluez) -> None:
    async with Bluez(CLOCK) as bluez, PairingAgent(bluez, GLASSES, says(True), clock=CLOCK, answer_s=5):
        await fake.ask("RequestConfirmation", "ou", GLASSES, 1234)
        again = await fake.ask("RequestConfirmation", "ou", GLASSES, 1234)
        assert again.error_name == "org.bluez.Error.Rejected"


# What BlueZ knows ------------------------------------------------------------------------------------------


def device(number: int, *, paired: bool = True, service: str = gatt.SERVICE_UUID) -> dict[str, Any]:
    return {
        "Address": ("s", f"F0:00:00:00:00:{number:02X}"),
        "Adapter": ("o", "/org/bluez/hci0"),
        "Paired": ("b", paired),
        "UUIDs": ("as", [service]),
    }


async def test_only_paired_glasses_are_listed(fake: FakeBluez) -> None:
    fake.devices = {
        "/org/bluez/hci0/dev_1": device(1),
        "/org/bluez/hci0/dev_2": device(2, paired=False),
        "/org/bluez/hci0/dev_3": device(3, service="0000180f-0000-1000-8000-00805f9b34fb"),
        "/org/bluez/hci0/dev_4": {**device(4), "Bonded": ("b", False)},  # paired, but for this connection only
    }
    assert [one.address for one in await paired_glasses(clock=CLOCK)] == ["F0:00:00:00:00:01"]


async def test_the_only_glasses_need_not_be_named_to_be_forgotten(fake: FakeBluez) -> None:
    fake.devices = {"/org/bluez/hci0/dev_1": device(1), "/org/bluez/hci0/dev_2": device(2, paired=False)}
    (forgotten,) = await unpair(None, clock=CLOCK)
    assert forgotten.address == "F0:00:00:00:00:01"
    assert list(fake.devices) == ["/org/bluez/hci0/dev_2"]
    with pytest.raises(NotPaired, match="not paired with any glasses"):
        await unpair(None, clock=CLOCK)


async def test_of_several_glasses_the_ones_to_forget_must_be_named(fake: FakeBluez) -> None:
    fake.devices = {f"/org/bluez/hci0/dev_{n}": device(n) for n in (1, 2)}
    with pytest.raises(NotPaired, match="more than one") as caught:
        await unpair(None, clock=CLOCK)
    assert "F0:00:00:00:00:02" in caught.value.hint
    await unpair("f0:00:00:00:00:02", clock=CLOCK)
    assert list(fake.devices) == ["/org/bluez/hci0/dev_1"]
    with pytest.raises(NotPaired, match="F0:00:00:00:00:09"):
        await unpair("F0:00:00:00:00:09", clock=CLOCK)


async def test_a_bluez_that_does_not_answer_is_given_up(fake: FakeBluez) -> None:
    def nothing(_message: Message) -> bool:
        return True

    fake.bus.remove_message_handler(fake.answer)
    fake.bus.add_message_handler(nothing)
    async with Bluez(CLOCK) as bluez:
        with pytest.raises(TimeoutError):
            await bluez.call("/", MANAGED, "GetManagedObjects", seconds=0.05)


async def test_without_a_bus_or_a_bluez_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    for work in (paired_glasses(clock=CLOCK), unpair(None, clock=CLOCK), pair(never, clock=CLOCK, say=lambda _: None)):
        with pytest.raises(LinkUnavailable, match="Bluetooth cannot be used") as caught:
            await work
        assert "bluetoothd" in caught.value.hint


async def test_other_platforms_are_told_where_to_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(PairingFailed) as caught:
        await pair(never, clock=CLOCK, say=lambda _: None)
    assert caught.value.reason is PairingFailure.UNSUPPORTED
    assert "Bluetooth settings" in caught.value.hint


# Words -----------------------------------------------------------------------------------------------------


def agent_that(*, asked: bool = False, answer: bool | None = None, timed_out: bool = False) -> PairingAgent:
    agent = PairingAgent(Bluez(CLOCK), GLASSES, never, clock=CLOCK, answer_s=1)
    agent.asked, agent.answer, agent.timed_out = asked, answer, timed_out
    return agent


@pytest.mark.parametrize(
    ("name", "agent", "reason"),
    [
        ("AuthenticationFailed", {"asked": True, "answer": False}, PairingFailure.NUMBERS_DIFFER),
        ("AuthenticationFailed", {"asked": True, "answer": True}, PairingFailure.REJECTED),
        ("AuthenticationCanceled", {"asked": True}, PairingFailure.REJECTED),
        ("AuthenticationTimeout", {"asked": True, "answer": True}, PairingFailure.TIMED_OUT),
        ("AuthenticationCanceled", {"asked": True, "timed_out": True}, PairingFailure.TIMED_OUT),
        ("AuthenticationFailed", {}, PairingFailure.REFUSED),
        ("AuthenticationRejected", {}, PairingFailure.REFUSED),
        ("AuthenticationCanceled", {}, PairingFailure.UNREACHABLE),
        ("ConnectionAttemptFailed", {}, PairingFailure.UNREACHABLE),
        ("InProgress", {}, PairingFailure.UNREACHABLE),
        ("NotReady", {}, PairingFailure.UNSUPPORTED),
        ("NotSupported", {}, PairingFailure.UNSUPPORTED),
    ],
)
def test_each_error_of_bluez_has_its_reason_and_a_hint(
    name: str, agent: dict[str, Any], reason: PairingFailure
) -> None:
    failure = explain_failure(BluezError(f"org.bluez.Error.{name}", ""), agent_that(**agent), PairingOptions())
    assert isinstance(failure, PairingFailed)
    assert failure.reason is reason
    assert failure.hint


# Sightings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uuids", "data", "props", "sighting"),
    [
        ([], {}, {"Paired": True}, Sighting.OTHER),
        ([gatt.SERVICE_UUID], {gatt.SERVICE_UUID: gatt.PAIRING_CLOSED}, {"Paired": True}, Sighting.BONDED),
        ([gatt.SERVICE_UUID], {}, {"Paired": True, "Bonded": True}, Sighting.BONDED),
        ([gatt.SERVICE_UUID], {}, {"Paired": True, "Bonded": False}, Sighting.STRANGER),
        ([gatt.SERVICE_UUID], {}, {"Paired": False}, Sighting.STRANGER),
        ([gatt.SERVICE_UUID], {}, {}, Sighting.STRANGER),
        ([gatt.SERVICE_UUID], {}, None, Sighting.BONDED),  # a platform that does not say
        ([gatt.SERVICE_UUID], {gatt.SERVICE_UUID: gatt.PAIRING_OPEN}, {"Paired": True}, Sighting.PAIRING),
        ([gatt.SERVICE_UUID], {gatt.SERVICE_UUID: b""}, {"Paired": True}, Sighting.BONDED),
    ],
)
def test_what_an_advertisement_means(
    uuids: list[str], data: dict[str, bytes], props: dict[str, bool] | None, sighting: Sighting
) -> None:
    details = {"path": GLASSES} if props is None else {"path": GLASSES, "props": props}
    heard = AdvertisementData(None, {}, data, uuids, None, -60, ())
    assert classify(BLEDevice("F0", None, details), heard) is sighting

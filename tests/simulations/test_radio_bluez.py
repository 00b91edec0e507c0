"""The façade answers D-Bus calls as BlueZ documents them, errors included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
import radio_peripheral as peripheral
from bus_caller import ADAPTER, CHARACTERISTIC, DEVICE, PROPERTIES, Caller, caller_on, path_of
from dbus_fast import MessageType, Variant
from radio_helpers import PeripheralProcess, connected_peripheral

from simulations.radio import LinkProfile, RadioProcesses
from simulations.radio.bluez.writes import HEADER_BYTES, MAX_QUEUED_BYTES

PATH = path_of(peripheral.ADDRESS)


GONE = ("org.bluez.Error.Failed", "Not connected")


@pytest.fixture(scope="module")
def radio() -> Iterator[RadioProcesses]:
    with RadioProcesses(bonded=False) as processes:
        yield processes


@pytest.fixture
async def caller(radio: RadioProcesses) -> AsyncIterator[Caller]:
    async with caller_on(radio.dbus_address) as caller:
        yield caller


@pytest.fixture
async def connected(radio: RadioProcesses, caller: Caller) -> AsyncIterator[PeripheralProcess]:
    async with connected_peripheral(radio, caller) as process:
        yield process


async def test_there_is_one_powered_adapter_for_centrals(caller: Caller) -> None:
    objects = await caller.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    adapter = objects[ADAPTER]["org.bluez.Adapter1"]
    assert adapter["Powered"].value is True
    assert adapter["Roles"].value == ["central"]
    assert await caller.call(ADAPTER, PROPERTIES, "Get", "ss", "org.bluez.Adapter1", "Alias") == Variant("s", "phone")
    every = await caller.call(ADAPTER, PROPERTIES, "GetAll", "s", "org.bluez.Adapter1")
    assert every.keys() == adapter.keys()


async def test_properties_can_be_set_only_where_bluez_lets_them(caller: Caller) -> None:
    adapter = "org.bluez.Adapter1"
    await caller.call(ADAPTER, PROPERTIES, "Set", "ssv", adapter, "Alias", Variant("s", "mine"))
    assert (await caller.call(ADAPTER, PROPERTIES, "Get", "ss", adapter, "Alias")).value == "mine"
    await caller.call(ADAPTER, PROPERTIES, "Set", "ssv", adapter, "Alias", Variant("s", "phone"))
    wrong_type = await caller.error(ADAPTER, PROPERTIES, "Set", "ssv", adapter, "Alias", Variant("u", 1))
    assert wrong_type[0] == "org.bluez.Error.InvalidArguments"
    read_only = await caller.error(ADAPTER, PROPERTIES, "Set", "ssv", adapter, "Address", Variant("s", "x"))
    assert read_only[0] == "org.freedesktop.DBus.Error.PropertyReadOnly"
    unknown = await caller.error(ADAPTER, PROPERTIES, "Get", "ss", adapter, "Colour")
    assert unknown[0] == "org.freedesktop.DBus.Error.InvalidArgs"


@pytest.mark.parametrize(
    ("path", "interface", "member", "signature", "body", "error"),
    [
        ("/nowhere", "org.bluez.Device1", "Connect", "", [], "org.freedesktop.DBus.Error.UnknownObject"),
        (ADAPTER, "org.bluez.Adapter1", "Fly", "", [], "org.freedesktop.DBus.Error.UnknownMethod"),
        (ADAPTER, "org.bluez.Adapter1", "StopDiscovery", "", [], "org.bluez.Error.Failed"),
        (ADAPTER, "org.bluez.Adapter1", "StartDiscovery", "s", ["x"], "org.bluez.Error.InvalidArguments"),
        (ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", ["/nowhere"], "org.bluez.Error.DoesNotExist"),
        (
            ADAPTER,
            "org.bluez.Adapter1",
            "SetDiscoveryFilter",
            "a{sv}",
            [{"Transport": Variant("s", "bredr")}],
            "org.bluez.Error.InvalidArguments",
        ),
        ("/org/bluez", "org.bluez.AgentManager1", "UnregisterAgent", "o", ["/agent"], "org.bluez.Error.DoesNotExist"),
    ],
)
async def test_wrong_calls_get_the_errors_of_bluez(
    caller: Caller, path: str, interface: str, member: str, signature: str, body: list[Any], error: str
) -> None:
    assert (await caller.error(path, interface, member, signature, *body))[0] == error


async def test_an_agent_can_be_registered_once(caller: Caller) -> None:
    manager = "org.bluez.AgentManager1"
    unknown = await caller.error("/org/bluez", manager, "RegisterAgent", "os", "/agent", "Telepathy")
    assert unknown[0] == "org.bluez.Error.InvalidArguments"
    for capability in ("DisplayOnly", "DisplayYesNo", "KeyboardOnly", "NoInputNoOutput", "KeyboardDisplay", ""):
        await caller.call("/org/bluez", manager, "RegisterAgent", "os", "/agent", capability)
        again = await caller.error("/org/bluez", manager, "RegisterAgent", "os", "/agent", "")
        assert again[0] == "org.bluez.Error.AlreadyExists"
        await caller.call("/org/bluez", manager, "RequestDefaultAgent", "o", "/agent")
        other = await caller.error("/org/bluez", manager, "RequestDefaultAgent", "o", "/other")
        assert other[0] == "org.bluez.Error.DoesNotExist"
        await caller.call("/org/bluez", manager, "UnregisterAgent", "o", "/agent")


async def test_a_second_scan_of_the_same_client_is_in_progress(caller: Caller) -> None:
    await caller.call(ADAPTER, "org.bluez.Adapter1", "StartDiscovery")
    again = await caller.error(ADAPTER, "org.bluez.Adapter1", "StartDiscovery")
    assert again[0] == "org.bluez.Error.InProgress"
    assert (await caller.call(ADAPTER, PROPERTIES, "Get", "ss", "org.bluez.Adapter1", "Discovering")).value is True
    await caller.call(ADAPTER, "org.bluez.Adapter1", "StopDiscovery")
    assert (await caller.call(ADAPTER, PROPERTIES, "Get", "ss", "org.bluez.Adapter1", "Discovering")).value is False


async def test_a_device_connects_pairs_and_disconnects(radio: RadioProcesses, caller: Caller) -> None:
    with PeripheralProcess(radio.glasses_hci):
        await caller.found(PATH)
        assert (await caller.error(PATH, DEVICE, "Disconnect"))[0] == "org.bluez.Error.NotConnected"
        await caller.connected(PATH)
        await caller.call(PATH, DEVICE, "Connect")  # already: nothing happens
        await caller.call(PATH, DEVICE, "Pair")
        properties = await caller.call(PATH, PROPERTIES, "GetAll", "s", DEVICE)
        assert properties["Paired"].value is True
        assert peripheral.SERVICE in properties["UUIDs"].value
        assert (await caller.error(PATH, DEVICE, "Pair"))[0] == "org.bluez.Error.AlreadyExists"
        await caller.call(PATH, DEVICE, "Disconnect")
        await caller.until_changed(PATH, "Connected", False)
        objects = await caller.objects()
        assert PATH in objects
        assert not [path for path in objects if path.startswith(PATH + "/")]
        await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)
        assert PATH not in await caller.objects()


async def test_an_attempt_to_connect_can_be_called_off(radio: RadioProcesses, caller: Caller) -> None:
    with PeripheralProcess(radio.glasses_hci):
        await caller.found(PATH)
    calls = [asyncio.create_task(caller.error(PATH, DEVICE, "Connect")) for _ in range(2)]
    refused, attempt = await asyncio.wait(calls, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert refused.pop().result()[0] == "org.bluez.Error.InProgress"
    await caller.call(PATH, DEVICE, "Disconnect")
    assert await attempt.pop() == ("org.bluez.Error.Failed", "le-connection-canceled")
    await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)


async def write(caller: Caller, path: str, value: bytes) -> None:
    await caller.call(path, CHARACTERISTIC, "WriteValue", "aya{sv}", value, {"type": Variant("s", "command")})


@pytest.mark.usefixtures("connected")
async def test_notifications_of_one_client_outlive_those_of_another(radio: RadioProcesses, caller: Caller) -> None:
    path = await caller.characteristic(PATH, peripheral.ECHO)
    async with caller_on(radio.dbus_address) as other:
        for client in (caller, other):
            await client.call(path, CHARACTERISTIC, "StartNotify")
        await caller.call(path, CHARACTERISTIC, "StartNotify")  # again: it is one session still
    await write(caller, path, b"still")
    await caller.until_changed(path, "Value", b"still")
    await caller.call(path, CHARACTERISTIC, "StopNotify")
    await caller.until_changed(path, "Notifying", False)
    stopped = await caller.error(path, CHARACTERISTIC, "StopNotify")
    assert stopped == ("org.bluez.Error.Failed", "No notify session started")
    offset = await caller.error(path, CHARACTERISTIC, "WriteValue", "aya{sv}", b"x", {"offset": Variant("q", 3)})
    assert offset == ("org.bluez.Error.InvalidArguments", "Invalid offset")


@pytest.mark.usefixtures("connected")
async def test_a_write_of_no_stated_kind_goes_by_the_properties_and_a_command_goes_anyway(caller: Caller) -> None:
    path = await caller.characteristic(PATH, peripheral.NAME)
    unsupported = ("org.bluez.Error.NotSupported", "Operation is not supported")
    assert await caller.error(path, CHARACTERISTIC, "WriteValue", "aya{sv}", b"x", {}) == unsupported
    request = {"type": Variant("s", "request")}
    assert await caller.error(path, CHARACTERISTIC, "WriteValue", "aya{sv}", b"x", request) == unsupported
    await write(caller, path, b"x")
    assert bytes(await caller.call(path, CHARACTERISTIC, "ReadValue", "a{sv}", {})) == b"x"


# Calls that a disconnection finds pending -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uuid", "member", "arguments"),
    [
        (peripheral.NEVER, "ReadValue", ("a{sv}", {})),
        (peripheral.SINK, "WriteValue", ("aya{sv}", b"x", {"type": Variant("s", "request")})),
        (peripheral.ECHO, "StartNotify", ("",)),
        (peripheral.ECHO, "AcquireNotify", ("a{sv}", {})),
    ],
)
async def test_a_pending_call_fails_at_once_when_the_connection_ends(
    radio: RadioProcesses, caller: Caller, connected: PeripheralProcess, uuid: str, member: str, arguments: tuple[Any]
) -> None:
    path = await caller.characteristic(PATH, uuid)
    radio.cut_air()  # so that no call can be answered
    try:
        call = asyncio.ensure_future(caller.error(path, CHARACTERISTIC, member, *arguments))
        await caller.until_changed(PATH, "Connected", False)
        assert await asyncio.wait_for(call, 1) == GONE
    finally:
        radio.restore_air()


async def test_writes_that_wait_for_room_fail_at_once_when_the_connection_ends(
    radio: RadioProcesses, caller: Caller, connected: PeripheralProcess
) -> None:
    path = await caller.characteristic(PATH, peripheral.SINK)
    value, options = bytes(peripheral.CHUNK), {"type": Variant("s", "command")}
    writing = partial(caller.reply, path, CHARACTERISTIC, "WriteValue", "aya{sv}", value, options)
    radio.set_profile(LinkProfile.parse("1kBps/30ms"))
    try:
        for _ in range(MAX_QUEUED_BYTES // (peripheral.CHUNK + HEADER_BYTES)):
            assert (await writing()).message_type is MessageType.METHOD_RETURN
        # More than the controller takes, and carries meanwhile.
        replies = [asyncio.create_task(writing()) for _ in range(40)]
        assert await caller.property(PATH, "Connected") is True  # a later call that has been answered
        assert not replies[-1].done()
        radio.cut_air()
        await caller.until_changed(PATH, "Connected", False)
        _, waiting = await asyncio.wait(replies, timeout=1)
        assert waiting == set()
        last = replies[-1].result()
        assert (last.error_name, last.body[0]) == GONE
    finally:
        radio.restore_air()
        radio.set_profile(LinkProfile())


async def test_connect_fails_at_once_when_the_device_is_removed(radio: RadioProcesses, caller: Caller) -> None:
    with PeripheralProcess(radio.glasses_hci):
        await caller.found(PATH)
    connecting = asyncio.ensure_future(caller.error(PATH, DEVICE, "Connect"))
    await caller.property(PATH, "Connected")  # a later call that has been answered: the attempt is under way
    await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)
    assert await connecting == ("org.bluez.Error.Failed", "le-connection-canceled")

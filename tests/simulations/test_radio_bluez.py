"""The façade answers D-Bus calls as BlueZ documents them, errors included."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
import radio_peripheral as peripheral
from bleak import BleakClient
from bus_caller import ADAPTER, DEVICE, PROPERTIES, Caller, caller_on, path_of
from dbus_fast import MessageType, Variant
from radio_helpers import PeripheralProcess, close_bleak, find

from glasses.bonds import BondStore
from glasses.peripheral import PeripheralLink
from phone.central import CentralLink
from shared.clock import SystemClock
from shared.link import Lane
from simulations.radio import LinkProfile, RadioProcesses
from simulations.radio.bluez.writes import HEADER_BYTES, MAX_QUEUED_BYTES, WriteQueue

PATH = path_of(peripheral.ADDRESS)
CHARACTERISTIC = "org.bluez.GattCharacteristic1"
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
    """The peripheral, connected and resolved."""
    with PeripheralProcess(radio.glasses_hci) as process:
        await caller.found(PATH)
        await caller.connected(PATH)
        yield process
    await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)


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


# Writes without response ----------------------------------------------------------------------------------------------


class FakeController:
    """Takes packets when a test lets it."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self._free = asyncio.Semaphore(0)

    async def room(self) -> None:
        await self._free.acquire()

    def take(self, packets: int) -> None:
        for _ in range(packets):
            self._free.release()

    async def send(self, number: int) -> None:
        self.sent.append(number)


async def settled(tasks: list[asyncio.Task[None]]) -> list[bool]:
    """Which tasks are done when all have done what they can."""
    for _ in range(3 * len(tasks)):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


async def test_64_kib_wait_for_a_device_and_further_writes_until_there_is_room() -> None:
    controller = FakeController()
    queue = WriteQueue(controller.room)
    length = 1017  # with its headers, 1 KiB
    tasks = [asyncio.create_task(queue.put(partial(controller.send, number), length)) for number in range(70)]
    assert await settled(tasks) == [True] * 64 + [False] * 6
    assert controller.sent == []
    controller.take(2)
    assert await settled(tasks) == [True] * 66 + [False] * 4
    controller.take(68)
    assert all(await settled(tasks))
    assert controller.sent == list(range(70))
    queue.close()


async def test_a_request_waits_for_the_writes_before_it_and_for_no_others() -> None:
    controller = FakeController()
    queue = WriteQueue(controller.room)
    await asyncio.wait_for(queue.turn(), 1)  # nothing is before it
    await queue.put(partial(controller.send, 0), 5)
    turn = asyncio.create_task(queue.turn())
    assert await settled([turn]) == [False]
    await queue.put(partial(controller.send, 1), 5)
    controller.take(1)
    assert await settled([turn]) == [True]
    assert controller.sent == [0]
    queue.close()


# Sockets instead of calls ---------------------------------------------------------------------------------------------


async def acquire(caller: Caller, path: str, member: str) -> tuple[socket.socket, int]:
    """The socket and the ATT MTU."""
    reply = await caller.reply(path, CHARACTERISTIC, member, "a{sv}", {})
    assert reply.message_type is MessageType.METHOD_RETURN, (reply.error_name, reply.body)
    index, att_mtu = reply.body
    end = socket.socket(fileno=reply.unix_fds[index])
    end.setblocking(False)
    return end, att_mtu


async def receive(end: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(end, 1024), 5)


@pytest.mark.usefixtures("connected")
async def test_acquired_sockets_carry_values_both_ways(caller: Caller) -> None:
    path = await caller.characteristic(PATH, peripheral.ECHO)
    notified, att_mtu = await acquire(caller, path, "AcquireNotify")
    written, same = await acquire(caller, path, "AcquireWrite")
    with notified, written:
        assert att_mtu == same == 517
        for name in ("NotifyAcquired", "WriteAcquired", "Notifying"):
            assert await caller.property(path, name, CHARACTERISTIC) is True
        for value in (b"x", bytes(peripheral.CHUNK), bytes(512), b"last"):
            written.send(value)
            assert await receive(notified) == value
        assert caller.heard(path, "Value") == []  # what the socket carries is not told a second time
    given_up: set[str] = set()
    while given_up < {"NotifyAcquired", "WriteAcquired"}:
        _, changed, _ = await caller.until("PropertiesChanged", path)
        given_up |= {name for name, value in changed.items() if value.value is False}


@pytest.mark.usefixtures("connected")
async def test_what_is_acquired_is_out_of_reach_for_others(radio: RadioProcesses, caller: Caller) -> None:
    path = await caller.characteristic(PATH, peripheral.ECHO)
    async with caller_on(radio.dbus_address) as other:
        notified, _ = await acquire(caller, path, "AcquireNotify")
        written, _ = await acquire(caller, path, "AcquireWrite")
        with notified, written:
            no = "org.bluez.Error.NotPermitted"
            for member in ("StartNotify", "AcquireNotify"):
                arguments = () if member == "StartNotify" else ("a{sv}", {})
                assert await other.error(path, CHARACTERISTIC, member, *arguments) == (no, "Notify acquired")
            assert await other.error(path, CHARACTERISTIC, "AcquireWrite", "a{sv}", {}) == (no, "Write acquired")
            write = await other.error(path, CHARACTERISTIC, "WriteValue", "aya{sv}", b"x", {})
            assert write == (no, "Write acquired")
        await caller.until_changed(path, "WriteAcquired", False)
        await other.call(path, CHARACTERISTIC, "StartNotify")
        busy = await caller.error(path, CHARACTERISTIC, "AcquireNotify", "a{sv}", {})
        assert busy[0] == "org.bluez.Error.InProgress"
    name = await caller.characteristic(PATH, peripheral.NAME)
    for member in ("AcquireNotify", "AcquireWrite"):
        assert (await caller.error(name, CHARACTERISTIC, member, "a{sv}", {}))[0] == "org.bluez.Error.NotSupported"
    flags = (await caller.objects())[name][CHARACTERISTIC]
    assert "NotifyAcquired" not in flags
    assert "WriteAcquired" not in flags


@pytest.mark.usefixtures("connected")
async def test_acquired_sockets_end_with_the_connection(caller: Caller) -> None:
    path = await caller.characteristic(PATH, peripheral.ECHO)
    notified, _ = await acquire(caller, path, "AcquireNotify")
    written, _ = await acquire(caller, path, "AcquireWrite")
    with notified, written:
        await caller.call(PATH, DEVICE, "Disconnect")
        assert await receive(notified) == b""
        assert await receive(written) == b""


@pytest.mark.usefixtures("connected")
async def test_a_socket_takes_values_as_long_as_the_queue_has_room_and_loses_none(caller: Caller) -> None:
    path = await caller.characteristic(PATH, peripheral.SINK)
    digest = await caller.characteristic(PATH, peripheral.DIGEST)
    written, _ = await acquire(caller, path, "AcquireWrite")
    data = peripheral.pattern(200_000)
    with written:
        for start in range(0, len(data), peripheral.CHUNK):
            await asyncio.get_running_loop().sock_sendall(written, data[start : start + peripheral.CHUNK])
        received = b""
        async with asyncio.timeout(10):
            while received[:4] != struct.pack("<I", len(data)):
                received = bytes(await caller.call(digest, CHARACTERISTIC, "ReadValue", "a{sv}", {}))
    assert received == struct.pack("<II", len(data), zlib.crc32(data))


@pytest.mark.usefixtures("connected")
async def test_a_value_too_long_for_the_mtu_ends_the_socket(caller: Caller) -> None:
    path = await caller.characteristic(PATH, peripheral.SINK)
    written, att_mtu = await acquire(caller, path, "AcquireWrite")
    with written:
        written.send(bytes(att_mtu - 2))
        assert await receive(written) == b""
        await caller.until_changed(path, "WriteAcquired", False)


async def test_bleak_takes_notifications_from_a_socket_when_told_to(
    radio: RadioProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
    with PeripheralProcess(radio.glasses_hci):
        async with BleakClient(await find()) as client:
            values: asyncio.Queue[bytes] = asyncio.Queue()

            def on_value(_: object, value: bytearray) -> None:
                values.put_nowait(bytes(value))

            await client.start_notify(peripheral.ECHO, on_value, bluez={"use_start_notify": False})
            for value in (b"x", b"", bytes(512)):
                await client.write_gatt_char(peripheral.ECHO, value, response=False)
                assert await asyncio.wait_for(values.get(), 5) == value
            await client.stop_notify(peripheral.ECHO)
            await client.start_notify(peripheral.ECHO, on_value)
    await close_bleak()


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


# What bluetoothd takes its time for -----------------------------------------------------------------------------------


async def test_a_disconnection_can_take_its_time_and_leave_the_device_busy_for_a_while() -> None:
    async with (
        RadioProcesses(bonded=False, disconnect_s=0.3, busy_s=1) as radio,
        caller_on(radio.dbus_address) as caller,
    ):
        with PeripheralProcess(radio.glasses_hci):
            await caller.found(PATH)
            await caller.connected(PATH)
            loop = asyncio.get_running_loop()
            started = loop.time()
            disconnecting = asyncio.create_task(caller.call(PATH, DEVICE, "Disconnect"))
            assert await caller.property(PATH, "Connected") is True
            await disconnecting
            assert 0.3 <= loop.time() - started < 2
            busy = await caller.error(PATH, DEVICE, "Connect")
            assert busy == ("org.bluez.Error.Failed", "Input/output error")
            async with asyncio.timeout(5):
                while (reply := await caller.reply(PATH, DEVICE, "Connect", "")).error_name is not None:
                    assert (reply.error_name, reply.body[0]) == busy
            assert loop.time() - started >= 1


# The MTU that comes late ----------------------------------------------------------------------------------------------


async def test_the_mtu_exchange_can_come_after_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RadioProcesses(bonded=False, late_mtu_s=0.3) as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        async with caller_on(radio.dbus_address) as caller:
            with PeripheralProcess(radio.glasses_hci):
                async with BleakClient(await find()) as client:
                    sink = client.services.get_characteristic(peripheral.SINK)
                    assert sink is not None
                    assert sink.max_write_without_response_size == 20
                    await caller.listen()
                    await caller.until_changed(await caller.characteristic(PATH, peripheral.SINK), "MTU", 517)
                    async with asyncio.timeout(5):
                        while sink.max_write_without_response_size == 20:  # noqa: ASYNC110 - bleak has no event for it
                            await asyncio.sleep(0)
                    assert sink.max_write_without_response_size == 514
        await close_bleak()


async def test_glasses_and_phone_meet_though_the_mtu_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    async with RadioProcesses(late_mtu_s=0.3) as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        glasses = PeripheralLink(radio.glasses_hci, clock=clock, bonds=BondStore(radio.glasses_bonds, clock=clock))
        phone = CentralLink(clock=clock)
        try:
            await glasses.start()
            await phone.start()
            sent = glasses.send(bytes(5_000), lane=Lane.BULK, deadline=clock.monotonic() + 20)
            receipt, received = await asyncio.gather(sent, anext(phone.receive()))
            assert received == bytes(5_000)
            # Over an ATT MTU of 23 the frames' headers alone would have come to more.
            assert receipt.bytes_on_air < 6_000
        finally:
            await phone.close()
            await glasses.close()
        await close_bleak()

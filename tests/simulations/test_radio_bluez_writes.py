"""Values on their way through the façade: writes that wait for room, and sockets instead of calls."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import radio_peripheral as peripheral
from bleak import BleakClient
from bus_caller import CHARACTERISTIC, DEVICE, Caller, caller_on, path_of
from dbus_fast import MessageType
from radio_helpers import PeripheralProcess, connected_peripheral, find

from simulations.pairing_stage import close_bleak
from simulations.radio import RadioProcesses
from simulations.radio.bluez.writes import WriteQueue

PATH = path_of(peripheral.ADDRESS)


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

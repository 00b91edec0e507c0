"""The radio survives what happens to radios (peers die, air goes quiet, clients vanish) and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import radio_peripheral as peripheral
from bleak import BleakClient
from bleak.exc import BleakError
from radio_helpers import PeripheralProcess, find, shared_scope

from shared.errors import RadioError
from simulations.pairing_stage import close_bleak
from simulations.radio import LinkProfile, RadioProcesses


@pytest.fixture(scope=shared_scope)
def shared_radio() -> Iterator[RadioProcesses]:
    with RadioProcesses() as processes:
        yield processes


@pytest.fixture
async def radio(shared_radio: RadioProcesses, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RadioProcesses]:
    """A radio for tests that leave it as they found it."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", shared_radio.dbus_address)
    yield shared_radio
    await close_bleak()


@pytest.fixture
async def mortal_radio(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RadioProcesses]:
    """A radio for tests that kill parts of it."""
    async with RadioProcesses() as processes:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", processes.dbus_address)
        yield processes
        await close_bleak()


def ended(process_fd: int) -> bool:
    """Whether a process has ended, waiting at most 10 s for it."""
    try:
        return bool(select.select([process_fd], [], [], 10)[0])
    finally:
        os.close(process_fd)


async def test_a_call_that_waits_when_the_link_goes_fails_instead_of_hanging(radio: RadioProcesses) -> None:
    with PeripheralProcess(radio.glasses_hci) as device:
        gone = asyncio.Event()
        client = BleakClient(await find(), disconnected_callback=lambda _: gone.set())
        await client.connect()
        waiting = asyncio.create_task(client.read_gatt_char(peripheral.NEVER))
        queued = asyncio.create_task(client.read_gatt_char(peripheral.NAME))
        await client.write_gatt_char(peripheral.SINK, b"the reads are on their way", response=False)
        device.kill()
        for call in (waiting, queued):
            with pytest.raises(BleakError):
                await asyncio.wait_for(call, 5)
        await asyncio.wait_for(gone.wait(), 5)
        assert not client.is_connected
        await client.disconnect()  # bleak frees its bus only then


async def test_a_killed_peripheral_is_noticed_and_can_come_back_on_its_port(radio: RadioProcesses) -> None:
    for _ in range(2):
        with PeripheralProcess(radio.glasses_hci) as device:
            gone = asyncio.Event()
            client = BleakClient(await find(), disconnected_callback=lambda _, gone=gone: gone.set())
            await client.connect()
            got: asyncio.Queue[bytes] = asyncio.Queue()
            await client.start_notify(peripheral.ECHO, lambda _, value, got=got: got.put_nowait(bytes(value)))
            await client.write_gatt_char(peripheral.ECHO, b"here", response=False)
            assert await asyncio.wait_for(got.get(), 5) == b"here"
            device.kill()
            await asyncio.wait_for(gone.wait(), 5)
            await client.disconnect()


async def test_a_peripheral_that_restarts_at_once_is_connected_again(radio: RadioProcesses) -> None:
    gone = asyncio.Event()
    with PeripheralProcess(radio.glasses_hci) as device:
        client = BleakClient(await find(), disconnected_callback=lambda _: gone.set())
        await client.connect()
        device.kill()
    with PeripheralProcess(radio.glasses_hci):  # before the supervision timeout of the old connection
        await asyncio.wait_for(gone.wait(), 5)
        await client.disconnect()
        async with BleakClient(await find()) as again:
            assert await again.read_gatt_char(peripheral.NAME) == b"a peripheral"


async def test_a_peripheral_that_went_away_cannot_be_connected_and_does_not_block_the_next(
    radio: RadioProcesses,
) -> None:
    with PeripheralProcess(radio.glasses_hci):
        device = await find()
    with pytest.raises((BleakError, TimeoutError)):
        await BleakClient(device, timeout=0.5).connect()
    with PeripheralProcess(radio.glasses_hci):
        async with BleakClient(await find()) as client:
            assert client.is_connected


async def test_a_short_outage_delays_and_a_long_one_disconnects(radio: RadioProcesses) -> None:
    with PeripheralProcess(radio.glasses_hci):
        gone = asyncio.Event()
        client = BleakClient(await find(), disconnected_callback=lambda _: gone.set())
        await client.connect()
        radio.cut_air()
        waiting = asyncio.create_task(client.read_gatt_char(peripheral.NAME))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.1)
        radio.restore_air()
        assert await asyncio.wait_for(waiting, 5) == b"a peripheral"
        assert not gone.is_set()

        radio.cut_air()
        await asyncio.wait_for(gone.wait(), 5)
        await client.disconnect()
        radio.restore_air()
        # Both ends have noticed: the peripheral advertises again.
        async with BleakClient(await find()) as again:
            assert await again.read_gatt_char(peripheral.NAME) == b"a peripheral"


PHONE = """
import asyncio, sys
from bleak import BleakClient
import radio_peripheral as peripheral
from radio_helpers import find

async def main():
    client = BleakClient(await find())
    await client.connect()
    await client.start_notify(peripheral.ECHO, lambda *_: None)
    sys.stdout.write("connected\\n")
    sys.stdout.flush()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def run_phone_until_killed(radio: RadioProcesses) -> None:
    """A phone in a process of its own connects and subscribes, then dies by SIGKILL."""
    environment = {**radio.phone_environment(), "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", PHONE], stdout=subprocess.PIPE, env=environment) as phone:
        assert phone.stdout is not None
        assert phone.stdout.readline() == b"connected\n"
        phone.kill()


async def test_a_killed_phone_leaves_no_connection_and_the_next_one_can_have_it(radio: RadioProcesses) -> None:
    with PeripheralProcess(radio.glasses_hci):
        for _ in range(2):
            run_phone_until_killed(radio)
        device = await find()  # it advertises, so nobody is connected to it
        async with BleakClient(device) as client:
            got: asyncio.Queue[bytes] = asyncio.Queue()
            await client.start_notify(peripheral.ECHO, lambda _, value: got.put_nowait(bytes(value)))
            await client.write_gatt_char(peripheral.ECHO, b"mine now", response=False)
            assert await asyncio.wait_for(got.get(), 5) == b"mine now"


async def test_a_killed_facade_frees_the_peripheral_for_the_next(mortal_radio: RadioProcesses) -> None:
    with PeripheralProcess(mortal_radio.glasses_hci):
        client = BleakClient(await find())
        await client.connect()
        mortal_radio.kill_bluez()
        with pytest.raises(RadioError, match="bluez"):
            mortal_radio.check()
        with pytest.raises(BleakError):
            await asyncio.wait_for(client.read_gatt_char(peripheral.NAME), 5)
        with pytest.raises(BleakError):
            await client.disconnect()
        await close_bleak()
        mortal_radio.restart_bluez()
        mortal_radio.check()
        async with BleakClient(await find()) as again:
            assert await again.read_gatt_char(peripheral.NAME) == b"a peripheral"


async def test_a_dead_air_disconnects_the_phone_and_says_so(mortal_radio: RadioProcesses) -> None:
    with PeripheralProcess(mortal_radio.glasses_hci):
        gone = asyncio.Event()
        client = BleakClient(await find(), disconnected_callback=lambda _: gone.set())
        await client.connect()
        mortal_radio.kill_air()
        await asyncio.wait_for(gone.wait(), 5)
        await client.disconnect()
        with pytest.raises(RadioError, match="air"):
            mortal_radio.check()
        with pytest.raises(RadioError, match="air"):
            mortal_radio.cut_air()


async def test_one_host_a_port_and_garbage_hurts_only_its_sender(radio: RadioProcesses) -> None:
    host, port = radio.glasses_hci.removeprefix("tcp-client:").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\xff not HCI")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    with PeripheralProcess(radio.glasses_hci):
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        async with BleakClient(await find()) as client:
            assert await client.read_gatt_char(peripheral.NAME) == b"a peripheral"


def test_the_air_answers_every_command_and_refuses_what_it_does_not_understand() -> None:
    program = [sys.executable, "-m", "simulations.radio.air"]
    commands = "cut\nrestore\nset 40kBps/30ms,miss=3%\nset 40kBps\nset\nfly\n"
    done = subprocess.run(program, input=commands, capture_output=True, text=True, timeout=30, check=True)
    ready, *answers = (json.loads(line) for line in done.stdout.splitlines())
    assert len(ready["ports"]) == 2
    assert [answer.get("done") for answer in answers[:3]] == ["cut", "restore", "set 40kBps/30ms,miss=3%"]
    assert all("error" in answer for answer in answers[3:])
    assert len(answers) == 6


def test_everything_ends_with_the_context_but_the_logs_that_were_asked_for(tmp_path: Path) -> None:
    with RadioProcesses(LinkProfile.parse("40kBps/30ms"), log_folder=tmp_path) as processes:
        address = processes.dbus_address.removeprefix("unix:path=")
        assert Path(address).exists()
        watched = [os.pidfd_open(pid) for pid in processes.pids.values()]
    assert len(watched) == 3
    assert all(ended(fd) for fd in watched)
    assert not Path(address).parent.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"bus.log", "air.log", "bluez.log"}
    processes.close()  # a second time does no harm


async def test_everything_ends_when_the_work_inside_fails_or_is_cancelled() -> None:
    watched: list[int] = []

    async def work() -> None:
        async with RadioProcesses() as processes:
            watched.extend(os.pidfd_open(pid) for pid in processes.pids.values())
            started.set()
            await asyncio.Event().wait()

    started = asyncio.Event()
    task = asyncio.create_task(work())
    await asyncio.wait_for(started.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(ended(fd) for fd in watched)


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    processes = RadioProcesses()
    entering = asyncio.ensure_future(processes.__aenter__())
    await asyncio.sleep(0)  # the first children are being started
    watched = [os.pidfd_open(pid) for pid in processes.pids.values()]
    assert watched
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert all(ended(fd) for fd in watched)
    assert processes.pids == {}


PARENT = """
import sys
from simulations.radio import RadioProcesses

with RadioProcesses() as processes:
    socket = processes.dbus_address.removeprefix("unix:path=")
    sys.stdout.write(" ".join([socket, *(str(pid) for pid in processes.pids.values())]) + "\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_everything_ends_when_the_parent_is_killed(number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with parent:
        assert parent.stdout is not None
        socket, *pids = parent.stdout.readline().decode().split()
        watched = [os.pidfd_open(int(pid)) for pid in pids]
        assert len(watched) == 3
        parent.send_signal(number)
        parent.wait()
        assert all(ended(fd) for fd in watched)
        assert not Path(socket).parent.exists()


def test_a_missing_dbus_daemon_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RadioError, match="dbus-daemon is not installed") as caught, RadioProcesses():
        pass
    assert "apt install dbus-daemon" in caught.value.hint


def test_a_child_that_cannot_start_is_named_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "dbus-daemon"
    program.write_text("#!/bin/sh\necho out of buses >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RadioError, match="bus ended") as caught, RadioProcesses():
        pass
    assert "out of buses" in caught.value.hint


def test_a_temporary_folder_too_deep_for_a_socket_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(RadioError, match="too long"), RadioProcesses():
        pass
    assert list(deep.iterdir()) == []

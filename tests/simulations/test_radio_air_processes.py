"""What the emulated air does to real processes, and the trace it writes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import radio_peripheral as peripheral
from bleak import BleakClient
from bumble import hci
from radio_helpers import PeripheralProcess, find, lines_of

from shared.errors import RadioError
from simulations.pairing_stage import close_bleak
from simulations.radio import LinkProfile, RadioProcesses

TIMEOUT = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR


async def _traced_run(profile: str, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with RadioProcesses(LinkProfile.parse(profile), trace=trace) as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        with PeripheralProcess(radio.glasses_hci):
            async with BleakClient(await find()) as client:
                for _ in range(10):
                    assert await client.read_gatt_char(peripheral.NAME) == b"a peripheral"
            await close_bleak()


async def test_on_real_processes_one_seed_misses_the_same_events(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missed: list[set[int]] = []
    for name in ("first", "second"):
        await _traced_run("40kBps/15ms,miss=25%,burst=3,supervision=4s,seed=7", tmp_path / name, monkeypatch)
        missed.append({line["event"] for line in lines_of(tmp_path / name, "missed") if line["connection"] == 1})
    both = min(max(events) for events in missed)
    assert both > 20
    first, second = ({event for event in events if event <= both} for events in missed)
    assert first == second


async def test_on_real_processes_the_profile_changes_while_connected_and_both_hosts_see_a_long_outage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    async with RadioProcesses(trace=trace) as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        with PeripheralProcess(radio.glasses_hci):
            gone = asyncio.Event()
            client = BleakClient(await find(), disconnected_callback=lambda _: gone.set())
            await client.connect()
            slow = LinkProfile.parse("40kBps/50ms,latency=20ms,supervision=500ms")
            radio.set_profile(slow)
            assert radio.profile == slow
            started = asyncio.get_running_loop().time()
            for _ in range(5):
                assert await client.read_gatt_char(peripheral.NAME) == b"a peripheral"
            # Request and response each wait for an event and travel 20 ms.
            assert (asyncio.get_running_loop().time() - started) / 5 >= 0.1

            radio.set_profile(LinkProfile.parse("40kBps/50ms,supervision=500ms,out=1500ms@100ms"))
            await asyncio.wait_for(gone.wait(), 10)
            await client.disconnect()
            async with BleakClient(await find()) as again:
                assert await again.read_gatt_char(peripheral.NAME) == b"a peripheral"
            await close_bleak()
    downs = [line for line in lines_of(trace, "down") if line["connection"] == 1]
    assert {(line["end"], line["reason"]) for line in downs} == {("central", TIMEOUT), ("peripheral", TIMEOUT)}
    out, back = (lines_of(trace, kind)[0]["t"] for kind in ("out", "in"))
    assert back - out == pytest.approx(1.5, abs=0.2)
    met_again = next(line["t"] for line in lines_of(trace, "up") if line["connection"] > 1)
    assert met_again >= back
    assert next(line["profile"] for line in lines_of(trace, "profile")) == str(slow)


def test_an_air_that_cannot_write_its_trace_says_so(tmp_path: Path) -> None:
    with pytest.raises(RadioError, match="air") as caught, RadioProcesses(trace=tmp_path / "nowhere" / "trace"):
        pass
    assert "trace" in caught.value.hint

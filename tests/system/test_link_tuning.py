"""What the real glasses process asks of a connection, as its event log and the trace of the air tell it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bleak.backends.bluezdbus import manager

from phone.central import CentralLink
from shared.clock import SystemClock
from simulations.radio import LinkProfile, RadioProcesses
from simulations.results import read_events

pytestmark = pytest.mark.system
CLOCK = SystemClock()
OUTCOME = "connection: "


class Glasses:
    """`wayword-glasses --idle` with a phone connected to it."""

    def __init__(self, folder: Path, phone: CentralLink) -> None:
        self.phone = phone
        self.events = folder / "events.jsonl"
        self.trace = folder / "trace.jsonl"

    async def outcomes(self, count: int) -> list[str]:
        """The first lines about the connection in the event log, once there are so many."""
        async with asyncio.timeout(20):
            while len(found := self._outcomes()) < count:  # noqa: ASYNC110 - a file of another process
                await asyncio.sleep(0.02)
        return found

    def _outcomes(self) -> list[str]:
        statuses = [event["status"] for event in read_events(self.events) if event["event"] == "link_status"]
        return [status.removeprefix(OUTCOME) for status in statuses if status.startswith(OUTCOME)]

    def intervals_ms(self) -> list[float]:
        """Every interval the air had, in order."""
        entries = [json.loads(line) for line in self.trace.read_text().splitlines()]
        return [entry["interval_ms"] for entry in entries if entry["kind"] in ("up", "parameters")]


@asynccontextmanager
async def _glasses(folder: Path, profile: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Glasses]:
    async with RadioProcesses(LinkProfile.parse(profile), trace=folder / "trace.jsonl") as radio:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.dbus_address)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "glasses", "--idle", "--hci", radio.glasses_hci),
            *("--bonds", str(radio.glasses_bonds), "--control", str(folder / "button.sock")),
            *("--events", str(folder / "events.jsonl")),
        )
        phone = CentralLink(clock=CLOCK)
        try:
            await phone.start()
            await asyncio.wait_for(phone.wait_connected(), 20)
            yield Glasses(folder, phone)
        finally:
            await phone.close()
            process.terminate()
            await process.wait()
            await _close_bleak()


async def _close_bleak() -> None:
    """bleak keeps one D-Bus connection for as long as the event loop lives; this one ends with the test."""
    instance = manager._global_instances.pop(asyncio.get_running_loop(), None)
    if instance is not None and instance._bus is not None:
        instance._bus.disconnect()
        if instance._bus_watcher_task is not None:
            await asyncio.wait({instance._bus_watcher_task})


async def test_an_interval_that_the_phone_may_change_becomes_15_ms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _glasses(tmp_path, "40kBps/50ms,interval=free", monkeypatch) as glasses:
        assert await glasses.outcomes(2) == ["2M PHY", "interval 15 ms"]
        assert glasses.intervals_ms() == [50, 15]


async def test_a_refused_interval_stays_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _glasses(tmp_path, "40kBps/30ms", monkeypatch) as glasses:
        refusal = "the interval stays 30 ms, not 15 ms (unacceptable connection parameters)"
        assert await glasses.outcomes(2) == ["2M PHY", refusal]
        assert set(glasses.intervals_ms()) == {30}
        assert glasses.phone.quality.connected
        assert glasses.phone.quality.reconnects == 0


async def test_the_phones_choice_is_left_where_the_settings_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYWORD_GLASSES_CONNECTION_INTERVAL_MS", "0")
    async with _glasses(tmp_path, "40kBps/50ms,interval=free", monkeypatch) as glasses:
        assert await glasses.outcomes(1) == ["2M PHY"]
        glasses.phone.drop_connection()  # when the next one is asked, all is known that the first was asked
        assert await glasses.outcomes(2) == ["2M PHY", "2M PHY"]
        assert set(glasses.intervals_ms()) == {50}

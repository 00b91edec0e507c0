"""Where the phone is: fixed, from a gpsd on a real socket, or nobody knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from places_world import LISBON, SetClock, silent_log, until

from phone.location import STALE_S, GpsdPosition, position_source
from shared.clock import SystemClock
from shared.errors import LocationError, UsageError
from shared.events import EventLog


@asynccontextmanager
async def gpsd(*reports: bytes, keep_open: bool = True) -> AsyncIterator[int]:
    """A server that says what gpsd says, on a real socket."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"class":"VERSION","release":"3.25"}\n')
        assert (await reader.readline()).startswith(b"?WATCH=")
        for report in reports:
            writer.write(report + b"\n")
        await writer.drain()
        if keep_open:
            await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        done.set()
        server.close()
        await server.wait_closed()


def tpv(**fields: object) -> bytes:
    return json.dumps({"class": "TPV", "mode": 3, "lat": 38.7107, "lon": -9.1366, "eph": 8.0, **fields}).encode()


async def test_gpsd_tells_where_the_phone_is_and_an_old_position_is_none() -> None:
    clock = SetClock()
    events, told = silent_log(clock)
    async with gpsd(b'{"class":"SKY","satellites":[]}', tpv()) as port:
        source = GpsdPosition("127.0.0.1", port, clock=clock, events=events)
        assert source.position() is None
        following = asyncio.create_task(source.run())
        await until(lambda: source.position() is not None)
        assert source.position() == LISBON
        clock.now += STALE_S + 1
        assert source.position() is None
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert told == [("position_source", {"source": "gpsd"})]


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": 1},
        {"eph": 4000.0},
        {"epx": float("nan")},
        {"lat": 91.0},
        {"lat": "38"},
        {"lon": None},
        {"lat": float("nan")},
    ],
)
async def test_a_report_without_a_good_fix_is_no_position(tmp_path: Path, fields: dict[str, object]) -> None:
    clock = SetClock()
    async with gpsd(tpv(**fields), keep_open=False) as port:
        source = GpsdPosition("127.0.0.1", port, clock=clock, events=EventLog(None, tier="phone", clock=clock))
        with pytest.raises(LocationError, match="ended"):
            await source.follow()
        assert source.position() is None


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (b"no json", "no JSON"),
        (b"[1]", "no report"),
        (b'{"class":"ERROR","message":"secret"}', "reports an error"),
        (b"x" * 70_000, "longer report"),
    ],
)
async def test_what_is_no_gpsd_is_a_typed_failure(tmp_path: Path, report: bytes, reason: str) -> None:
    clock = SetClock()
    async with gpsd(report) as port:
        source = GpsdPosition("127.0.0.1", port, clock=clock, events=EventLog(None, tier="phone", clock=clock))
        with pytest.raises(LocationError, match=reason):
            await source.follow()


async def test_a_gpsd_that_is_not_there_is_a_typed_failure() -> None:
    clock = SetClock()
    async with gpsd() as port:
        pass
    source = GpsdPosition("127.0.0.1", port, clock=clock, events=EventLog(None, tier="phone", clock=clock))
    with pytest.raises(LocationError, match="cannot be reached"):
        await source.follow()


def test_a_setting_names_a_source_of_positions() -> None:
    clock = SystemClock()
    events = EventLog(None, tier="phone", clock=clock)
    assert position_source(None, clock=clock, events=events).position() is None
    assert position_source("38.7107,-9.1366", clock=clock, events=events).position() == LISBON
    assert isinstance(position_source("gpsd", clock=clock, events=events), GpsdPosition)
    for wrong in ("here", "91,0", "1,2,3", "gpsd://host", "gpsd://host:0", "nan,nan"):
        with pytest.raises(UsageError, match="no source of positions"):
            position_source(wrong, clock=clock, events=events)

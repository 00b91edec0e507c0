"""The daemon over a link in memory: every strip gets an answer, whatever the disk and the glasses do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from daemon_world import FakeReader, Start, daemons, strip

from shared.clock import SystemClock
from shared.messages.wayword.v1 import link_pb2, types_pb2


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with daemons(tmp_path) as start:
        yield start


async def test_a_sure_reading_is_one_final_message(start: Start) -> None:
    world = await start(reader=FakeReader(confidence=0.99))
    await world.glasses.send(strip(5))
    reading = await world.glasses.next()
    assert (reading.region_id, reading.state) == (5, types_pb2.READING_STATE_KEPT)
    assert (reading.text, reading.translation) == ("Saida", "Exit")
    assert reading.tier == types_pb2.TIER_PHONE
    assert reading.confidence.recognition == pytest.approx(0.99)
    assert reading.recognition_pack.name == "ocr-tiny-rec"
    assert {time.stage for time in reading.stage_times} == {"recognise", "wait"}
    assert world.glasses.nothing_more
    assert world.events("decision")[0]["reason"] == "no cloud"


async def test_an_empty_strip_with_unknown_numbers_is_answered(start: Start) -> None:
    world = await start()
    await world.glasses.send(types_pb2.Strip(encoding=99))  # type: ignore[arg-type]
    assert (await world.glasses.next()).state == types_pb2.READING_STATE_KEPT


async def test_hostile_strips_are_counted_answered_and_survived(start: Start) -> None:
    world = await start()
    await world.glasses.send_bytes(b"\xff\xfe not a message")
    await world.glasses.send_bytes(link_pb2.LinkObject(readings=link_pb2.Readings()).SerializeToString())
    await world.glasses.send(types_pb2.Strip(frame_id=2**64 - 1))
    await world.glasses.send(strip(1, image=b"hostile"), strip(2, image=b"broken pack"), strip(3))
    refused, failed, good = [await world.glasses.next() for _ in range(3)]
    for reading in (refused, failed):
        assert (reading.state, reading.engine) == (types_pb2.READING_STATE_KEPT, types_pb2.ENGINE_NONE)
        assert reading.text == ""
    assert good.translation == "Exit"
    assert world.daemon.refused_objects == 4
    assert world.events("reading_failed")[0]["reason"] == "the model does not run"


async def test_a_sign_without_text_says_so(start: Start) -> None:
    world = await start()
    await world.glasses.send(strip(1, image=b"blank"))
    reading = await world.glasses.next()
    assert reading.unreadable == types_pb2.UNREADABLE_NO_TEXT
    assert (reading.engine, reading.translation) == (types_pb2.ENGINE_NONE, "")


async def test_a_strip_sent_again_is_answered_from_memory(start: Start) -> None:
    world = await start(reader=FakeReader(confidence=0.99))
    await world.glasses.send(strip(1))
    first = await world.glasses.next()
    await world.glasses.send(strip(1))
    assert await world.glasses.next() == first
    assert world.reader.read_regions == [1]
    await world.glasses.send(strip(1, captured=2))  # another run of the glasses
    await world.glasses.next()
    assert world.reader.read_regions == [1, 1]


async def test_the_oldest_waiting_strip_gives_way(start: Start) -> None:
    reader = FakeReader(confidence=0.99, gate=threading.Event())
    world = await start(reader=reader, waiting_strips=2)
    await world.glasses.send(*(strip(region) for region in range(1, 6)))
    assert reader.gate is not None
    reader.gate.set()
    answered = [(await world.glasses.next()).region_id for _ in range(3)]
    assert answered == [1, 4, 5]
    assert [event["region_id"] for event in world.events("strip_dropped")] == [2, 3]


async def test_a_strip_that_waits_too_long_is_dropped_and_said_to_be(start: Start) -> None:
    class Ahead(SystemClock):
        """The time it is, and what the test has it be later."""

        seconds = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.seconds

    clock = Ahead()
    reader = FakeReader(confidence=0.99, gate=threading.Event())
    world = await start(reader=reader, clock=clock)
    await world.glasses.send(strip(1), strip(2))
    await asyncio.to_thread(reader.begun.acquire, timeout=30)
    while len(world.events("strip_received")) < 2:
        await clock.sleep(0.001)
    clock.seconds = 60.0
    assert reader.gate is not None
    reader.gate.set()
    while not (world.events("strip_dropped") and world.events("reading_lost")):
        await clock.sleep(0.001)
    dropped = world.events("strip_dropped")[0]
    assert (dropped["region_id"], dropped["reason"]) == (2, "it waited too long")
    assert world.events("reading_lost")[0]["region_id"] == 1
    assert reader.read_regions == [1]


async def test_answers_wait_for_the_glasses_to_come_back(start: Start) -> None:
    reader = FakeReader(confidence=0.99, gate=threading.Event())
    world = await start(reader=reader)
    await world.glasses.send(strip(1), strip(2))
    world.glasses.link.cable.cut()
    assert reader.gate is not None
    reader.gate.set()
    for _ in range(2):
        await asyncio.to_thread(reader.finished.acquire, timeout=30)
    world.glasses.link.cable.restore()
    assert {(await world.glasses.next()).region_id for _ in range(2)} == {1, 2}


async def test_the_event_log_holds_no_text_by_default(start: Start) -> None:
    world = await start(reader=FakeReader(confidence=0.99))
    await world.glasses.send(strip(1))
    await world.glasses.next()
    assert "Saida" not in world.log.read_text(encoding="utf-8")

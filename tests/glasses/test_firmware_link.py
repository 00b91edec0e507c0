"""The firmware and its phone: nonsense, readings of an earlier run, a phone without memory, and none at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from firmware_world import CLOCK, firmware_world, kept, reading_of, wall_with_signs
from signboards import Wall, WallDetector, lines_of

from shared.errors import LinkUnavailable
from shared.messages.wayword.v1 import types_pb2


@pytest.fixture
def wall() -> Wall:
    return wall_with_signs()


async def test_nonsense_from_the_phone_is_counted_and_survived(wall: Wall, tmp_path: Path) -> None:
    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))

        async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
            await world.phone.say(b"\xff\xff\xff\xff")
            stranger = types_pb2.Strip(frame_id=1, region_id=4711)
            return [reading_of(stranger), reading_of(strip)]

        summary = await world.run(world.still(wall.picture), answer)
    assert summary.settled == 1
    assert len(world.events("object_refused")) == 1
    assert [event["region_id"] for event in world.events("reading_unclaimed")] == [4711]


async def test_a_reading_of_an_earlier_run_is_not_taken_for_one_of_this(wall: Wall, tmp_path: Path) -> None:
    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))

        async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
            # Before the glasses were restarted, a strip had the same frame and region; its answer comes late.
            return [
                reading_of(strip, captured_us=strip.captured_us - 5_000_000, text="old"),
                reading_of(strip, text="new"),
            ]

        summary = await world.run(world.still(wall.picture), answer)
    assert summary.settled == 1
    assert [event["content"]["text"] for event in world.events("reading")] == ["new"]
    assert len(world.events("reading_unclaimed")) == 1


async def test_a_phone_that_came_back_without_memory_is_asked_again(wall: Wall, tmp_path: Path) -> None:
    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))

        async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
            if len(world.phone.strips) > 1:
                return [reading_of(strip)]

            async def restart() -> None:
                await CLOCK.sleep(0.1)
                world.glasses.cable.cut()
                world.glasses.cable.restore()

            restarts.append(asyncio.create_task(restart()))
            return [reading_of(strip, types_pb2.READING_STATE_PROVISIONAL)]

        restarts: list[asyncio.Task[None]] = []
        summary = await world.run(world.still(wall.picture), answer)
        assert len(restarts) == 1
        assert len(world.phone.strips) == 2
    assert summary.settled == 1
    assert world.events("link")[-1]["reconnects"] == 1


async def test_a_still_without_a_phone_says_so(wall: Wall, tmp_path: Path) -> None:
    async with firmware_world(tmp_path) as world:
        world.glasses.cable.cut()
        world.detector = WallDetector(lines_of(wall.quads[1]))
        with pytest.raises(LinkUnavailable, match="no phone connected"):
            await world.run(world.still(wall.picture), kept, answer_timeout_s=0.3)
    assert world.gallery.finished  # the picture is there all the same


async def test_a_phone_that_never_answers_does_not_hold_up_the_end(wall: Wall, tmp_path: Path) -> None:
    async def silence(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        return []

    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))
        summary = await world.run(world.still(wall.picture), silence, answer_timeout_s=0.3)
    assert (summary.signs, summary.answered, summary.connected) == (1, 0, True)

"""A sign flows through the glasses: seen, sent over a link, answered, drawn where it is now."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from firmware_world import CLOCK, FilmSource, changed, firmware_world, kept, reading_of, wall_with_signs
from signboards import Wall, WallDetector, lines_of, shift

from glasses.camera import Frame
from shared.errors import InputError, StorageError
from shared.geometry import transform
from shared.messages.wayword.v1 import link_pb2, types_pb2


@pytest.fixture
def wall() -> Wall:
    return wall_with_signs()


async def test_a_still_is_read_sign_by_sign_and_ends_when_all_are_settled(wall: Wall, tmp_path: Path) -> None:
    async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        provisional = reading_of(strip, types_pb2.READING_STATE_PROVISIONAL, translation="Way out")
        return [provisional, reading_of(strip, types_pb2.READING_STATE_REFINED, tier=types_pb2.TIER_CLOUD)]

    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[0] + wall.quads[1]))
        world.strips_folder = tmp_path
        summary = await world.run(world.still(wall.picture), answer)
        assert (summary.signs, summary.answered, summary.settled, summary.looks) == (2, 2, 2, 1)
        assert sorted(len(strip.lines) for strip in world.phone.strips) == [1, 2]
        assert world.gallery.finished
        last = world.gallery.pictures[-1]
        for quads in wall.quads:
            for quad in quads:
                assert changed(wall.picture, last, quad) > 0.2
        # What --record writes is what was sent.
        for strip in world.phone.strips:
            for index, line in enumerate(strip.lines):
                name = f"region{strip.region_id}_frame{strip.frame_id}_line{index}.webp"
                assert (tmp_path / name).read_bytes() == line.image

    states = [(entry["region_id"], entry["state"]) for entry in world.events("reading")]
    assert sorted(states) == [(1, "provisional"), (1, "refined"), (2, "provisional"), (2, "refined")]
    assert all(entry["since_capture_ms"] > 0 for entry in world.events("reading"))
    sent = world.events("sign_sent")
    assert {entry["region_id"] for entry in sent} == {1, 2}
    assert all(entry["image_bytes"] < entry["object_bytes"] < 12_000 for entry in sent)
    assert {entry["region_id"] for entry in world.events("sign_delivered")} == {1, 2}
    assert world.events("finished")[0]["answered"] == 2


async def test_a_late_reading_lands_where_the_sign_is_now(tmp_path: Path) -> None:
    wall = Wall(2400, 1100)
    (quad,) = wall.sign("Bilheteira", 500, 400)
    path = [shift(-100 - 12 * step, -50 - 3 * step) for step in range(30)]
    source = FilmSource(wall, path, hold_at=29)

    async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        assert strip.frame_id == 0
        return [reading_of(strip)]

    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of([quad], path[0]), once=True)

        async def let_go() -> None:
            # The last frame is shown only after the reading, which belongs to the first one, was taken.
            while not (world.events_file.exists() and world.events("reading")):
                await CLOCK.sleep(0.01)
            source.let_go.set()

        helper = asyncio.create_task(let_go())
        summary = await world.run(source, answer)
        await helper
    assert summary.settled == 1
    now = transform(path[29], quad)
    first = transform(path[0], quad)
    clean = wall.seen(path[29])
    assert np.linalg.norm(now[0] - first[0]) > 300
    assert changed(clean, world.gallery.pictures[-1], now) > 0.3
    assert changed(clean, world.gallery.pictures[-1], first) < 0.05


async def test_a_picture_without_text_stays_as_it_is(wall: Wall, tmp_path: Path) -> None:
    async with firmware_world(tmp_path) as world:
        summary = await world.run(world.still(wall.picture), kept)
    assert not summary.text
    assert summary.signs == 0
    assert (world.gallery.pictures[-1] == wall.picture).all()
    assert len(world.events("no_text")) == 1


async def test_lines_too_small_to_read_are_counted_not_sent(wall: Wall, tmp_path: Path) -> None:
    tiny = np.array([[100, 100], [160, 100], [160, 108], [100, 108]], np.float32)
    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of([tiny]))
        summary = await world.run(world.still(wall.picture), kept)
    assert (summary.signs, summary.lines_too_small) == (0, 1)


async def test_an_unsure_detector_sends_the_whole_frame_marked_as_such(wall: Wall, tmp_path: Path) -> None:
    quad = wall.quads[1][0]

    async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        line = types_pb2.ReadLine(text="Bilheteira", quad=types_pb2.Quad(xy=quad.reshape(-1).tolist()))
        return [reading_of(strip, translation="Tickets", lines=[line])]

    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(maybe=lines_of([quad]))
        summary = await world.run(world.still(wall.picture), answer)
        (strip,) = world.phone.strips
    assert strip.is_frame
    assert len(strip.lines) == 1
    assert summary.settled == 1
    assert changed(wall.picture, world.gallery.pictures[-1], quad) > 0.2
    assert changed(wall.picture, world.gallery.pictures[-1], wall.quads[0][0]) == 0


async def test_text_that_stays_as_it_is_and_text_nobody_can_translate_keep_their_letters(
    wall: Wall, tmp_path: Path
) -> None:
    async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        if len(strip.lines) == 1:
            return [reading_of(strip, engine=types_pb2.ENGINE_COPY, translation="Bilheteira")]
        return [reading_of(strip, engine=types_pb2.ENGINE_NONE, translation="", unreadable=3)]

    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[0] + wall.quads[1]))
        await world.run(world.still(wall.picture), answer)
    for quads in wall.quads:
        for quad in quads:
            inside = quad + np.array([[4, 4], [-4, 4], [-4, -4], [4, -4]], np.float32)
            assert changed(wall.picture, world.gallery.pictures[-1], inside) == 0


async def test_a_sign_seen_again_is_not_sent_again(tmp_path: Path) -> None:
    wall = Wall(1600, 900)
    wall.sign("Saída de\nemergência", 300, 250)
    source = FilmSource(wall, [shift(-100, -50)] * 8, hold_at=99)
    frames = source.next_frame

    def slowly() -> Frame | None:
        # A second passes from frame to frame, so that the gate opens again and again.
        frame = frames()
        return None if frame is None else Frame(frame.frame_id, 1000.0 + 2 * frame.frame_id, frame.bgr, frame.luma)

    source.next_frame = slowly  # type: ignore[method-assign]
    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[0], shift(-100, -50)))
        await world.run(source, kept)
        assert len(world.phone.strips) == 1


async def test_a_failing_source_ends_the_run_with_its_own_error(wall: Wall, tmp_path: Path) -> None:
    source = FilmSource(wall, [shift(0, 0)], hold_at=99)

    def broken() -> Frame | None:
        raise InputError("the camera was unplugged")

    source.next_frame = broken  # type: ignore[method-assign]
    async with firmware_world(tmp_path) as world:
        with pytest.raises(InputError, match="unplugged"):
            await world.run(source, kept)
    assert not world.gallery.finished


async def test_a_strips_folder_that_cannot_be_written_ends_the_run(wall: Wall, tmp_path: Path) -> None:
    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))
        world.strips_folder = tmp_path / "missing"
        with pytest.raises(StorageError, match="cannot write the strip"):
            await world.run(world.still(wall.picture), kept)


async def test_signs_are_found_by_the_real_detector(wall: Wall, tmp_path: Path, pack_store: Any) -> None:
    from shared.models.detection import TextDetector

    async with firmware_world(tmp_path) as world:
        world.detector = TextDetector.load(pack_store.get("ocr-tiny-det"))  # type: ignore[assignment]
        summary = await world.run(world.still(wall.picture), kept)
        assert sorted(len(strip.lines) for strip in world.phone.strips) == [1, 2]
        assert all(len(strip_object_of(strip)) < 12_000 for strip in world.phone.strips)
    assert summary.settled == 2


def strip_object_of(strip: types_pb2.Strip) -> bytes:
    """What went over the link for a strip."""
    return link_pb2.LinkObject(strip=strip).SerializeToString()

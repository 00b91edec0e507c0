"""A sign flows through the glasses: seen, sent over a link, answered, drawn where it is now."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from signboards import Wall, WallDetector, frame_of, lines_of, shift

from glasses.banner import Banner, Pairing
from glasses.camera import Frame, StillSource
from glasses.faces import Fonts
from glasses.finder import Finder
from glasses.firmware import Firmware, Summary
from glasses.recorder import Sink
from glasses.settings import GlassesSettings
from glasses.stabiliser.inline import InlineStabiliser
from glasses.stabiliser.still import StillStabiliser
from shared.clock import SystemClock
from shared.errors import InputError, LinkUnavailable, StorageError
from shared.events import EventLog
from shared.geometry import Homography, ImageBgr, Quad, transform
from shared.link import Lane, Link
from shared.messages.wayword.v1 import link_pb2, types_pb2
from shared.wire.memory import MemoryLink, memory_link_pair

CLOCK = SystemClock()
FAST = {"answer_timeout_s": 10.0, "link_poll_s": 0.01, "still_frame_rate": 100.0, "reconnect_patience_s": 0.05}
SAME_SIZE = {"display_width": 1280, "display_height": 720}
"""The display shows every pixel of the frame, so that pictures can be compared with frames."""


class Gallery:
    """A sink that keeps what it is shown."""

    def __init__(self) -> None:
        self.pictures: list[ImageBgr] = []
        self.finished = False

    def write(self, image: ImageBgr, captured: float) -> bool:
        self.pictures.append(image)
        return True

    def finish(self) -> None:
        self.finished = True

    def discard(self) -> None:
        """Nothing was written."""


class FilmSource:
    """Frames of a moving view; waits at `hold_at` until it is let go."""

    still = False
    frame_rate = 30.0

    def __init__(self, wall: Wall, path: Sequence[Homography], hold_at: int) -> None:
        self._frames = [wall.seen(homography) for homography in path]
        self._hold_at = hold_at
        self._next = 0
        self.let_go = threading.Event()

    def next_frame(self) -> Frame | None:
        if self._next == self._hold_at:
            self.let_go.wait(20)
        if self._next >= len(self._frames):
            return None
        frame = frame_of(self._frames[self._next], self._next, CLOCK.monotonic())
        self._next += 1
        return frame

    def close(self) -> None:
        self.let_go.set()


Answer = Callable[[types_pb2.Strip], Awaitable[list[types_pb2.Reading]]]


def _reading(strip: types_pb2.Strip, state: int = types_pb2.READING_STATE_KEPT, **fields: object) -> types_pb2.Reading:
    values: dict[str, Any] = {"text": "Saída", "translation": "Exit", "engine": types_pb2.ENGINE_PHRASEBOOK}
    values |= {"frame_id": strip.frame_id, "region_id": strip.region_id, "captured_us": strip.captured_us}
    return types_pb2.Reading(state=state, **(values | fields))


class Phone:
    """The other end of the link: keeps strips and answers them."""

    def __init__(self, link: Link, answer: Answer) -> None:
        self._link = link
        self._answer = answer
        self.strips: list[types_pb2.Strip] = []

    async def run(self) -> None:
        async for payload in self._link.receive():
            strip = link_pb2.LinkObject.FromString(payload).strip
            self.strips.append(strip)
            for reading in await self._answer(strip):
                await self.say(link_pb2.LinkObject(readings=link_pb2.Readings(readings=[reading])).SerializeToString())

    async def say(self, payload: bytes) -> None:
        await self._link.send(payload, lane=Lane.CONTROL, deadline=CLOCK.monotonic() + 10)


class World:
    """A pair of glasses on a memory link."""

    def __init__(self, glasses: MemoryLink, phone_link: MemoryLink, folder: Path) -> None:
        self.glasses = glasses
        self.phone_link = phone_link
        self.events_file = folder / "events.jsonl"
        self.gallery = Gallery()
        self.detector = WallDetector()
        self.sinks: list[Callable[[], Sink]] = [lambda: self.gallery]
        self.strips_folder: Path | None = None
        self.pairing: Callable[[], Pairing | None] = lambda: None
        self.phone: Phone

    def still(self, picture: ImageBgr) -> StillSource:
        return StillSource(picture, longest_side=1920, frame_rate=100, clock=CLOCK)

    async def run(self, source: Any, answer: Answer, **settings: Any) -> Summary:
        events = EventLog(self.events_file, tier="glasses", clock=CLOCK, content=True)
        firmware = Firmware(
            source=source,
            finder=Finder(
                self.detector,
                longest_side=640,
                minimum_line_height=10,
                unsure_box_threshold=0.2,
                skip_cut_off=False,
                clock=CLOCK,
            ),
            stabiliser=StillStabiliser() if source.still else InlineStabiliser(),
            link=self.glasses,
            sinks=self.sinks,
            settings=GlassesSettings(**(FAST | SAME_SIZE | settings)),
            clock=CLOCK,
            events=events,
            strips_folder=self.strips_folder,
            pairing=self.pairing,
        )
        self.phone = Phone(self.phone_link, answer)
        phone = asyncio.create_task(self.phone.run())
        try:
            return await firmware.run()
        finally:
            phone.cancel()
            await asyncio.gather(phone, return_exceptions=True)
            events.close()

    def events(self, name: str) -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in self.events_file.read_text().splitlines()]
        return [entry for entry in entries if entry["event"] == name]


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[World]:
    glasses, phone = memory_link_pair(clock=CLOCK, latency=0.001)
    try:
        yield World(glasses, phone, folder)
    finally:
        await glasses.close()
        await phone.close()


def _changed(before: ImageBgr, after: ImageBgr, quad: Quad) -> float:
    """Share of the pixels inside an upright quad that differ."""
    (x0, y0), (x1, y1) = np.ceil(quad[0]).astype(int), np.floor(quad[2]).astype(int)
    return float((before[y0:y1, x0:x1] != after[y0:y1, x0:x1]).any(axis=2).mean())


@pytest.fixture
def wall() -> Wall:
    wall = Wall()
    wall.sign("Saída de\nemergência", 200, 150)
    wall.sign("Bilheteira", 750, 400, paper=(200, 200, 200), ink=(0, 0, 0))
    return wall


async def _kept(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
    return [_reading(strip)]


async def test_a_still_is_read_sign_by_sign_and_ends_when_all_are_settled(wall: Wall, tmp_path: Path) -> None:
    async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        provisional = _reading(strip, types_pb2.READING_STATE_PROVISIONAL, translation="Way out")
        return [provisional, _reading(strip, types_pb2.READING_STATE_REFINED, tier=types_pb2.TIER_CLOUD)]

    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[0] + wall.quads[1]))
        world.strips_folder = tmp_path
        summary = await world.run(world.still(wall.picture), answer)
        assert (summary.signs, summary.answered, summary.settled, summary.looks) == (2, 2, 2, 1)
        assert sorted(len(strip.lines) for strip in world.phone.strips) == [1, 2]
        assert world.gallery.finished
        last = world.gallery.pictures[-1]
        for quads in wall.quads:
            for quad in quads:
                assert _changed(wall.picture, last, quad) > 0.2
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
        return [_reading(strip)]

    async with _world(tmp_path) as world:
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
    assert _changed(clean, world.gallery.pictures[-1], now) > 0.3
    assert _changed(clean, world.gallery.pictures[-1], first) < 0.05


async def test_a_picture_without_text_stays_as_it_is(wall: Wall, tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        summary = await world.run(world.still(wall.picture), _kept)
    assert not summary.text
    assert summary.signs == 0
    assert (world.gallery.pictures[-1] == wall.picture).all()
    assert len(world.events("no_text")) == 1


async def test_lines_too_small_to_read_are_counted_not_sent(wall: Wall, tmp_path: Path) -> None:
    tiny = np.array([[100, 100], [160, 100], [160, 108], [100, 108]], np.float32)
    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of([tiny]))
        summary = await world.run(world.still(wall.picture), _kept)
    assert (summary.signs, summary.lines_too_small) == (0, 1)


async def test_an_unsure_detector_sends_the_whole_frame_marked_as_such(wall: Wall, tmp_path: Path) -> None:
    quad = wall.quads[1][0]

    async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        line = types_pb2.ReadLine(text="Bilheteira", quad=types_pb2.Quad(xy=quad.reshape(-1).tolist()))
        return [_reading(strip, translation="Tickets", lines=[line])]

    async with _world(tmp_path) as world:
        world.detector = WallDetector(maybe=lines_of([quad]))
        summary = await world.run(world.still(wall.picture), answer)
        (strip,) = world.phone.strips
    assert strip.is_frame
    assert len(strip.lines) == 1
    assert summary.settled == 1
    assert _changed(wall.picture, world.gallery.pictures[-1], quad) > 0.2
    assert _changed(wall.picture, world.gallery.pictures[-1], wall.quads[0][0]) == 0


async def test_text_that_stays_as_it_is_and_text_nobody_can_translate_keep_their_letters(
    wall: Wall, tmp_path: Path
) -> None:
    async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        if len(strip.lines) == 1:
            return [_reading(strip, engine=types_pb2.ENGINE_COPY, translation="Bilheteira")]
        return [_reading(strip, engine=types_pb2.ENGINE_NONE, translation="", unreadable=3)]

    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[0] + wall.quads[1]))
        await world.run(world.still(wall.picture), answer)
    for quads in wall.quads:
        for quad in quads:
            inside = quad + np.array([[4, 4], [-4, 4], [-4, -4], [4, -4]], np.float32)
            assert _changed(wall.picture, world.gallery.pictures[-1], inside) == 0


async def test_nonsense_from_the_phone_is_counted_and_survived(wall: Wall, tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))

        async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
            await world.phone.say(b"\xff\xff\xff\xff")
            stranger = types_pb2.Strip(frame_id=1, region_id=4711)
            return [_reading(stranger), _reading(strip)]

        summary = await world.run(world.still(wall.picture), answer)
    assert summary.settled == 1
    assert len(world.events("object_refused")) == 1
    assert [event["region_id"] for event in world.events("reading_unclaimed")] == [4711]


async def test_a_reading_of_an_earlier_run_is_not_taken_for_one_of_this(wall: Wall, tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))

        async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
            # Before the glasses were restarted, a strip had the same frame and region; its answer comes late.
            return [_reading(strip, captured_us=strip.captured_us - 5_000_000, text="old"), _reading(strip, text="new")]

        summary = await world.run(world.still(wall.picture), answer)
    assert summary.settled == 1
    assert [event["content"]["text"] for event in world.events("reading")] == ["new"]
    assert len(world.events("reading_unclaimed")) == 1


async def test_a_phone_that_came_back_without_memory_is_asked_again(wall: Wall, tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))

        async def answer(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
            if len(world.phone.strips) > 1:
                return [_reading(strip)]

            async def restart() -> None:
                await CLOCK.sleep(0.1)
                world.glasses.cable.cut()
                world.glasses.cable.restore()

            restarts.append(asyncio.create_task(restart()))
            return [_reading(strip, types_pb2.READING_STATE_PROVISIONAL)]

        restarts: list[asyncio.Task[None]] = []
        summary = await world.run(world.still(wall.picture), answer)
        assert len(restarts) == 1
        assert len(world.phone.strips) == 2
    assert summary.settled == 1
    assert world.events("link")[-1]["reconnects"] == 1


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
    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[0], shift(-100, -50)))
        await world.run(source, _kept)
        assert len(world.phone.strips) == 1


async def test_a_still_without_a_phone_says_so(wall: Wall, tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.glasses.cable.cut()
        world.detector = WallDetector(lines_of(wall.quads[1]))
        with pytest.raises(LinkUnavailable, match="no phone connected"):
            await world.run(world.still(wall.picture), _kept, answer_timeout_s=0.3)
    assert world.gallery.finished  # the picture is there all the same


async def test_a_phone_that_never_answers_does_not_hold_up_the_end(wall: Wall, tmp_path: Path) -> None:
    async def silence(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        return []

    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))
        summary = await world.run(world.still(wall.picture), silence, answer_timeout_s=0.3)
    assert (summary.signs, summary.answered, summary.connected) == (1, 0, True)


async def test_a_failing_source_ends_the_run_with_its_own_error(wall: Wall, tmp_path: Path) -> None:
    source = FilmSource(wall, [shift(0, 0)], hold_at=99)

    def broken() -> Frame | None:
        raise InputError("the camera was unplugged")

    source.next_frame = broken  # type: ignore[method-assign]
    async with _world(tmp_path) as world:
        with pytest.raises(InputError, match="unplugged"):
            await world.run(source, _kept)
    assert not world.gallery.finished


async def test_a_strips_folder_that_cannot_be_written_ends_the_run(wall: Wall, tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))
        world.strips_folder = tmp_path / "missing"
        with pytest.raises(StorageError, match="cannot write the strip"):
            await world.run(world.still(wall.picture), _kept)


def _with_banner(picture: ImageBgr, pairing: Pairing) -> ImageBgr:
    image = picture.copy()
    Banner(Fonts()).draw(image, pairing)
    return image


async def test_the_number_to_compare_is_in_every_picture_until_it_is_answered(wall: Wall, tmp_path: Path) -> None:
    source = FilmSource(wall, [shift(0, 0)] * 40, hold_at=99)
    asked = [Pairing(), Pairing("048215"), Pairing("048215")]
    unanswered = asked.copy()
    async with _world(tmp_path) as world:
        world.pairing = lambda: unanswered.pop(0) if unanswered else None
        await world.run(source, _kept)
    pictures = world.gallery.pictures
    assert len(pictures) > len(asked)
    for picture, pairing in zip(pictures, asked, strict=False):
        assert (picture == _with_banner(wall.picture, pairing)).all()
    for picture in pictures[len(asked) :]:
        assert (picture == wall.picture).all()


async def test_a_still_shows_the_number_and_is_kept_without_it(wall: Wall, tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.pairing = lambda: Pairing("048215")
        await world.run(world.still(wall.picture), _kept)
    assert (world.gallery.pictures[0] == _with_banner(wall.picture, Pairing("048215"))).all()
    assert (world.gallery.pictures[-1] == wall.picture).all()


async def test_a_still_is_drawn_anew_when_the_number_comes_and_goes(wall: Wall, tmp_path: Path) -> None:
    async def silence(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        return []

    async with _world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))
        unanswered = [Pairing()] * 5 + [Pairing("048215")] * 5
        world.pairing = lambda: unanswered.pop(0) if unanswered else None
        await world.run(world.still(wall.picture), silence, answer_timeout_s=0.5)
    kinds = [_banner_in(picture) for picture in world.gallery.pictures]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [Pairing(), Pairing("048215"), None]


def _banner_in(picture: ImageBgr) -> Pairing | None:
    for pairing in (Pairing(), Pairing("048215")):
        if (picture == _with_banner(picture, pairing)).all():
            return pairing
    return None


async def test_signs_are_found_by_the_real_detector(wall: Wall, tmp_path: Path, pack_store: Any) -> None:
    from shared.models.detection import TextDetector

    async with _world(tmp_path) as world:
        world.detector = TextDetector.load(pack_store.get("ocr-tiny-det"))  # type: ignore[assignment]
        summary = await world.run(world.still(wall.picture), _kept)
        assert sorted(len(strip.lines) for strip in world.phone.strips) == [1, 2]
        assert all(len(strip_object_of(strip)) < 12_000 for strip in world.phone.strips)
    assert summary.settled == 2


def strip_object_of(strip: types_pb2.Strip) -> bytes:
    """What went over the link for a strip."""
    return link_pb2.LinkObject(strip=strip).SerializeToString()

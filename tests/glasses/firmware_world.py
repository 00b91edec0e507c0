"""The glasses' firmware on a link in memory: what it sees, what it shows, and a phone that answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from signboards import Wall, WallDetector, frame_of

from glasses.banner import Pairing
from glasses.camera import Frame, StillSource
from glasses.finder import Finder
from glasses.firmware import Firmware, Summary
from glasses.recorder import Sink
from glasses.settings import GlassesSettings
from glasses.stabiliser.inline import InlineStabiliser
from glasses.stabiliser.still import StillStabiliser
from shared.clock import SystemClock
from shared.events import EventLog
from shared.geometry import Homography, ImageBgr, Quad
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


def reading_of(
    strip: types_pb2.Strip, state: int = types_pb2.READING_STATE_KEPT, **fields: object
) -> types_pb2.Reading:
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
async def firmware_world(folder: Path) -> AsyncIterator[World]:
    glasses, phone = memory_link_pair(clock=CLOCK, latency=0.001)
    try:
        yield World(glasses, phone, folder)
    finally:
        await glasses.close()
        await phone.close()


def changed(before: ImageBgr, after: ImageBgr, quad: Quad) -> float:
    """Share of the pixels inside an upright quad that differ."""
    (x0, y0), (x1, y1) = np.ceil(quad[0]).astype(int), np.floor(quad[2]).astype(int)
    return float((before[y0:y1, x0:x1] != after[y0:y1, x0:x1]).any(axis=2).mean())


def wall_with_signs() -> Wall:
    """A sign of two lines and one of one."""
    wall = Wall()
    wall.sign("Saída de\nemergência", 200, 150)
    wall.sign("Bilheteira", 750, 400, paper=(200, 200, 200), ink=(0, 0, 0))
    return wall


async def kept(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
    return [reading_of(strip)]

"""What the glasses send waits, is dropped or is answered from memory, by the clock of the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from phone.inbox import Inbox
from shared.events import EventLog
from shared.messages.wayword.v1 import link_pb2, types_pb2


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def payload(region: int) -> bytes:
    strip = types_pb2.Strip(frame_id=1, region_id=region, captured_us=1)
    return link_pb2.LinkObject(strip=strip).SerializeToString()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def box(tmp_path: Path, clock: HandClock) -> Iterator[Inbox]:
    events = EventLog(tmp_path / "events", tier="phone", clock=clock)
    yield Inbox(clock=clock, events=events, life_s=20.0, max_waiting=4, max_remembered=4)
    events.close()


def dropped(tmp_path: Path) -> list[int]:
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    return [event["region_id"] for event in events if event["event"] == "strip_dropped"]


async def test_only_strips_worth_an_answer_are_handed_out(box: Inbox, clock: HandClock, tmp_path: Path) -> None:
    box.accept(payload(1))
    clock.now += 15
    box.accept(payload(2))
    clock.now += 5
    job = await box.next()
    assert (job.strip.region_id, job.received, job.deadline) == (2, 115.0, 135.0)
    assert dropped(tmp_path) == [1]


async def test_a_strip_sent_again_while_it_waits_lives_longer_and_keeps_its_place(
    box: Inbox, clock: HandClock, tmp_path: Path
) -> None:
    box.accept(payload(1))
    box.accept(payload(2))
    clock.now += 15
    assert box.accept(payload(1)) is None
    clock.now += 10
    job = await box.next()
    assert (job.strip.region_id, job.received, job.deadline) == (1, 100.0, 135.0)
    waiting = asyncio.create_task(box.next())
    await asyncio.sleep(0)
    assert not waiting.done()  # the other one is too old, and there is no third
    assert dropped(tmp_path) == [2]
    waiting.cancel()


async def test_an_answered_strip_is_answered_again_at_once(box: Inbox, clock: HandClock) -> None:
    box.accept(payload(1))
    answer = types_pb2.Reading(translation="Exit")
    box.remember((await box.next()).key, answer)
    clock.now += 3
    assert box.accept(payload(1)) == (answer, 123.0)


async def test_a_dropped_strip_may_come_again(box: Inbox, tmp_path: Path) -> None:
    for region in range(1, 6):
        box.accept(payload(region))
    assert dropped(tmp_path) == [1]
    assert box.accept(payload(1)) is None
    regions = [(await box.next()).strip.region_id for _ in range(4)]
    assert regions == [3, 4, 5, 1]

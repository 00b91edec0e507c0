"""The first answer is never later than without a cloud by more than 200 ms, whatever cloud and disk do."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_world import FakeReader, World, daemons, strip
from fake_transport import FakeTransport, after, never, raising, somebody_elses, way_out

from phone.cloud import CallPolicy
from phone.cloud_channel import CallRefused, CloudTransport, Refusal
from phone.ledger_rows import Outcome
from phone.refining import DIRECTION_MEMORY_S
from shared.errors import CloudUnavailable, SignalsInvalid
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.models.estimate import Estimate
from shared.models.script import Script
from shared.models.sign_evidence import LineEvidence, SignEvidence
from simulations import virtual_time
from simulations.virtual_time import VirtualClock

ALLOWED_S = 0.2
SIGNS = 6
PROVISIONAL = types_pb2.READING_STATE_PROVISIONAL
KEPT = types_pb2.READING_STATE_KEPT
REFINED = types_pb2.READING_STATE_REFINED
EVIDENCE = LineEvidence(
    (0.9, 0.8), "latin", 1.0, 30.0, 0.4, 0.6, 0.5, 0.01, 1.0, None, None, 0.9, 0.3, withheld=False
)  # fmt: skip

Cloud = Callable[[VirtualClock], CloudTransport | None]


def first_answers(folder: Path, cloud: Cloud) -> tuple[list[float], list[types_pb2.Reading], World]:
    """Seconds to the first answer of each of some signs that come together, every answer, and the world at the end."""

    async def main(clock: VirtualClock) -> tuple[list[float], list[types_pb2.Reading], World]:
        async with daemons(folder) as start:
            world = await start(clock=clock, transport=cloud(clock), call_policy=CallPolicy(deadline=2.0))
            sent = clock.monotonic()
            await world.glasses.send(*(strip(region) for region in range(SIGNS)))
            await clock.sleep(30)
            firsts: dict[int, float] = {}
            for at, reading in world.glasses.arrivals:
                firsts.setdefault(reading.region_id, at - sent)
            answers = [reading for _, reading in world.glasses.arrivals]
            world.rows = world.ledger.entries(limit=100)
            return [firsts[region] for region in range(SIGNS)], answers, world

    return virtual_time.run(main)


HOSTILE: dict[str, Cloud] = {
    "late": lambda clock: FakeTransport(after(clock, 1.9)),
    "too late": lambda clock: FakeTransport(after(clock, 50.0)),
    "never": lambda clock: FakeTransport(never),
    "garbage": lambda clock: FakeTransport(after(clock, 0.1, somebody_elses)),
    "breaks": lambda clock: FakeTransport(raising(clock, 0.3, CloudUnavailable("gone"))),
    "refuses": lambda clock: FakeTransport(raising(clock, 0.1, CallRefused("no", Refusal.OVERLOADED))),
    "unreachable": lambda clock: FakeTransport(reachable=False),
    "twice": lambda clock: FakeTransport(after(clock, 1.6), after(clock, 0.1)),
}


@pytest.mark.parametrize("slow_disk", [False, True], ids=["quick disk", "slow disk"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_no_cloud_makes_the_first_answer_late(
    kind: str, slow_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "with").mkdir()
    without, _, _ = first_answers(tmp_path / "without", lambda clock: None)
    if slow_disk:
        monkeypatch.setattr(asyncio, "to_thread", slowly)
    with_cloud, answers, world = first_answers(tmp_path / "with", HOSTILE[kind])
    assert max(late - usual for late, usual in zip(with_cloud, without, strict=True)) <= ALLOWED_S
    # And every sign has a final answer, and a row that says what came of it.
    last = {reading.region_id: reading.state for reading in answers}
    assert len(last) == SIGNS
    assert PROVISIONAL not in last.values()
    assert len(world.rows) == SIGNS
    assert not {Outcome.PENDING, Outcome.HELD} & {row.outcome for row in world.rows}


async def slowly(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """`asyncio.to_thread` with a disk that takes its time."""
    await asyncio.sleep(0.45)
    return work(*arguments, **options)


def test_a_cloud_that_answers_twice_changes_the_label_once(tmp_path: Path) -> None:
    _, answers, world = first_answers(tmp_path, HOSTILE["twice"])
    refined = [reading.region_id for reading in answers if reading.state == REFINED]
    assert len(refined) == len(set(refined)) > 0
    hedged = [row for row in world.rows if row.hedged]
    assert hedged
    (request_bytes,) = {event["bytes_out"] for event in world.events("decision") if event["escalate"]}
    assert {row.bytes_out for row in hedged} == {2 * request_bytes}
    assert any(event["hedged"] for event in world.events("cloud_call"))


def test_garbage_is_named_in_the_ledger(tmp_path: Path) -> None:
    _, _, world = first_answers(tmp_path, HOSTILE["garbage"])
    assert Outcome.GARBLED in {row.outcome for row in world.rows}


async def test_a_ledger_that_is_locked_does_not_hold_the_first_answer_back(tmp_path: Path) -> None:
    async with daemons(tmp_path) as start:
        world = await start(transport=FakeTransport(never))
        other = sqlite3.connect(tmp_path / "phone.sqlite3")
        other.execute("BEGIN IMMEDIATE")
        await world.glasses.send(strip(5))
        assert (await world.glasses.next()).state == PROVISIONAL  # while the file is still locked
        final = await world.glasses.next()
        other.rollback()
        other.close()
    assert final.state == KEPT
    assert world.events("decision")[0]["rule"] == "no ledger"
    assert not world.events("cloud_call")


def test_a_flood_of_signs_before_a_slow_disk_is_answered_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(clock: VirtualClock) -> World:
        async with daemons(tmp_path) as start:
            world = await start(clock=clock, waiting_strips=200)
            monkeypatch.setattr(asyncio, "to_thread", slowly)
            for region in range(100):
                await world.glasses.send(strip(region))
            await clock.sleep(60)
            return world

    world = virtual_time.run(main)
    assert len({reading.region_id for _, reading in world.glasses.arrivals}) == 100
    assert "no ledger" in {event["rule"] for event in world.events("decision")}


class FakeMetamodel:
    """Gives the same estimate every time, or none."""

    def __init__(self, estimate: Estimate | None) -> None:
        self._estimate = estimate

    def estimate(self, evidence: SignEvidence) -> Estimate:
        if self._estimate is None:
            raise SignalsInvalid("the sharpness is not finite")
        return self._estimate


@pytest.mark.parametrize(
    "unreadable", [types_pb2.UNREADABLE_SCRIPT, types_pb2.UNREADABLE_NO_TEXT, types_pb2.UNREADABLE_DIRECTION]
)
def test_a_script_that_the_cloud_cannot_read_or_translate_either_is_asked_about_once_in_a_while(
    unreadable: types_pb2.Unreadable.ValueType, tmp_path: Path
) -> None:
    def refused(request: cloud_pb2.ReadStripRequest) -> cloud_pb2.ReadStripReply:
        reading = types_pb2.Reading(unreadable=unreadable, direction=types_pb2.Direction(source="ko", target="en"))
        return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key, reading=reading)

    async def main(clock: VirtualClock) -> None:
        transport = FakeTransport(after(clock, 0.1, refused), after(clock, 0.1))
        reader = FakeReader(confidence=0.0, evidence=EVIDENCE, foreign=Script.HANGUL)
        async with daemons(tmp_path) as start:
            hopeless = FakeMetamodel(Estimate(0.02, 0.01, 0.0))
            world = await start(clock=clock, reader=reader, transport=transport, metamodel=hopeless)

            async def shown(region: int) -> types_pb2.Reading:
                await world.glasses.send(strip(region))
                await clock.sleep(2)
                return world.glasses.arrivals[-1][1]

            assert (await shown(1)).state == types_pb2.READING_STATE_KEPT
            assert len(transport.requests) == 1
            assert (await shown(2)).state == types_pb2.READING_STATE_KEPT
            assert len(transport.requests) == 1
            assert world.events("decision")[-1]["rule"] == "direction"
            reader.foreign = Script.THAI  # of which the cloud has said nothing
            assert (await shown(3)).state == types_pb2.READING_STATE_REFINED
            reader.foreign = Script.HANGUL
            await clock.sleep(DIRECTION_MEMORY_S)
            assert (await shown(4)).state == types_pb2.READING_STATE_REFINED
            assert len(transport.requests) == 3

    virtual_time.run(main)


@pytest.mark.parametrize("estimate", [Estimate(0.2, 0.7, 0.01), None])
def test_the_metamodels_estimate_decides_and_without_one_the_confidences_do(
    estimate: Estimate | None, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> World:
        async with daemons(tmp_path) as start:
            # The confidences say "sure"; the estimate knows better.
            reader = FakeReader(confidence=0.99, evidence=EVIDENCE)
            transport = FakeTransport(after(clock, 0.1, way_out))
            world = await start(clock=clock, reader=reader, transport=transport, metamodel=FakeMetamodel(estimate))
            await world.glasses.send(strip(1))
            await clock.sleep(5)
            world.rows = world.ledger.entries(limit=10)
            return world

    world = virtual_time.run(main)
    (row,) = world.rows
    assert row.escalate is (estimate is not None)
    assert (row.right_chance, row.helped_chance) == ((0.2, 0.7) if estimate else (None, None))
    assert bool(world.events("estimate_failed")) is (estimate is None)
    assert world.events("decision")[0]["right"] == row.right_chance

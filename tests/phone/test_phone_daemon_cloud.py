"""The daemon and the cloud: what is asked of it, what never leaves, and what comes of its answers, late or none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from daemon_world import FakeCloud, FakeReader, Start, daemons, serving, strip

from phone.cloud import CallPolicy
from phone.ledger_rows import Outcome
from shared.messages.wayword.v1 import types_pb2


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with daemons(tmp_path) as start:
        yield start


async def test_an_unsure_reading_is_shown_at_once_and_refined_when_the_cloud_answers(start: Start) -> None:
    cloud = FakeCloud()
    cloud.let.clear()
    async with serving(cloud) as port:
        world = await start(port=port)
        await world.glasses.send(strip(5))
        first = await world.glasses.next()
        assert (first.state, first.translation) == (types_pb2.READING_STATE_PROVISIONAL, "Exit")
        await cloud.asked.wait()
        cloud.let.set()
        second = await world.glasses.next()
    assert second.state == types_pb2.READING_STATE_REFINED
    assert (second.frame_id, second.region_id, second.captured_us) == (1, 5, 1)
    assert (second.text, second.translation, second.tier) == ("Saída", "Way out", types_pb2.TIER_CLOUD)
    assert {"recognise", "wait", "cloud", "cloud_recognise"} == {time.stage for time in second.stage_times}
    request = cloud.requests[0]
    assert request.strip.lines[0].image == b"picture"
    assert (request.local_text, request.direction.target) == ("Saida", "en")
    # Numbers that count up would tell which calls come from one wearer.
    assert (request.strip.frame_id, request.strip.region_id, request.strip.captured_us) == (0, 0, 0)
    assert not request.HasField("place_cell")
    assert world.reader.remembered == ["Way out"]
    entry = world.ledger.entries(limit=1)[0]
    assert (entry.escalate, entry.bytes_out) == (True, request.ByteSize())
    assert world.events("cloud_call")[0]["outcome"] == "refined"


async def test_a_cloud_of_a_later_version_is_understood_as_far_as_possible(start: Start) -> None:
    cloud = FakeCloud()
    cloud.engine = 77
    async with serving(cloud) as port:
        world = await start(port=port)
        await world.glasses.send(strip(5))
        await world.glasses.next()
        final = await world.glasses.next()
    assert (final.state, final.translation, final.engine) == (types_pb2.READING_STATE_REFINED, "Way out", 77)
    assert world.events("reading_sent")[-1]["engine"] == "77"


async def test_a_cloud_that_is_less_sure_does_not_replace_the_reading(start: Start) -> None:
    cloud = FakeCloud()
    cloud.confidence = 0.1
    async with serving(cloud) as port:
        world = await start(port=port)
        await world.glasses.send(strip(5))
        await world.glasses.next()
        final = await world.glasses.next()
    assert (final.state, final.translation) == (types_pb2.READING_STATE_KEPT, "Exit")
    assert world.events("cloud_call")[0]["outcome"] == Outcome.NO_BETTER


async def test_a_cloud_that_dies_during_the_call_leaves_the_phones_answer(start: Start) -> None:
    cloud = FakeCloud()
    cloud.let.clear()
    async with serving(cloud) as port:
        world = await start(port=port)
        await world.glasses.send(strip(5))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_PROVISIONAL
        await cloud.asked.wait()
    final = await world.glasses.next()
    assert (final.state, final.translation) == (types_pb2.READING_STATE_KEPT, "Exit")
    assert world.events("cloud_call")[0]["outcome"] == "unavailable"


async def test_a_late_cloud_leaves_the_phones_answer(start: Start) -> None:
    cloud = FakeCloud()
    cloud.let.clear()
    async with serving(cloud) as port:
        world = await start(port=port, call_policy=CallPolicy(deadline=0.2))
        await world.glasses.send(strip(5))
        states = [(await world.glasses.next()).state for _ in range(2)]
    assert states == [types_pb2.READING_STATE_PROVISIONAL, types_pb2.READING_STATE_KEPT]
    assert world.events("cloud_call")[0]["outcome"] == "deadline"


async def test_a_cloud_that_was_never_there_is_asked_a_few_times_and_then_left_alone(start: Start) -> None:
    async with serving(FakeCloud()) as port:
        pass
    world = await start(port=port, call_policy=CallPolicy(failures_to_open=2, pause=600.0, backoff=0.0))
    finals = []
    for region in range(4):
        await world.glasses.send(strip(region))
        while (reading := await world.glasses.next()).state == types_pb2.READING_STATE_PROVISIONAL:
            pass
        finals.append(reading.state)
    assert finals == [types_pb2.READING_STATE_KEPT] * 4
    rules = [event["rule"] for event in world.events("decision")]
    assert rules == ["unsure", "unsure", "cloud down", "cloud down"]
    assert [entry.bytes_out for entry in world.ledger.entries(limit=10)] == [0, 0, 0, 0]


async def test_nothing_leaves_when_the_wearer_switched_the_cloud_off(start: Start) -> None:
    cloud = FakeCloud()
    async with serving(cloud) as port:
        world = await start(port=port, cloud_use="never")
        await world.glasses.send(strip(1), strip(2))
        states = [(await world.glasses.next()).state for _ in range(2)]
    assert states == [types_pb2.READING_STATE_KEPT] * 2
    assert cloud.requests == []


async def test_a_sign_with_a_name_that_the_wearer_listed_stays_here(start: Start) -> None:
    cloud = FakeCloud()
    async with serving(cloud) as port:
        world = await start(reader=FakeReader(text="Familie Aurelia"), port=port, private_names=("Aurelia",))
        await world.glasses.send(strip(1))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_KEPT
    assert cloud.requests == []
    assert world.events("decision")[0]["rule"] == "private"


async def test_consent_opens_the_cloud_and_its_end_closes_it(start: Start) -> None:
    cloud = FakeCloud()
    async with serving(cloud) as port:
        world = await start(port=port, cloud_use="ask")
        await world.glasses.send(strip(1))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_KEPT
        world.consent.give(seconds=600)
        await world.glasses.send(strip(2, image=b"second"))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_PROVISIONAL
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_REFINED
        world.consent.withdraw()
        await world.glasses.send(strip(3))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_KEPT
    assert [request.strip.lines[0].image for request in cloud.requests] == [b"second"]


async def test_private_text_never_leaves(start: Start) -> None:
    cloud = FakeCloud()
    async with serving(cloud) as port:
        world = await start(port=port, reader=FakeReader(text="4111 1111 1111 1111"))
        await world.glasses.send(strip(1))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_KEPT
    assert cloud.requests == []
    assert "payment card" in world.ledger.entries(limit=1)[0].reason
    assert "4111" not in world.log.read_text()


async def test_nothing_leaves_that_the_ledger_cannot_record(start: Start) -> None:
    cloud = FakeCloud()
    async with serving(cloud) as port:
        world = await start(port=port, max_pages=20)
        states = []
        for region in range(120):
            await world.glasses.send(strip(region))
            while (reading := await world.glasses.next()).state == types_pb2.READING_STATE_PROVISIONAL:
                pass
            states.append(reading.state)
    recorded = world.ledger.entries(limit=1_000)
    assert states[0] == types_pb2.READING_STATE_REFINED
    assert states[-1] == types_pb2.READING_STATE_KEPT  # the disk is full, and answers still come
    assert world.events("storage_failed")
    assert len(cloud.requests) == len(recorded) < 120
    assert world.events("decision")[-1]["rule"] == "no ledger"


async def test_a_direction_the_cloud_refuses_is_not_asked_again(start: Start) -> None:
    cloud = FakeCloud()
    cloud.status = grpc.StatusCode.UNIMPLEMENTED
    async with serving(cloud) as port:
        world = await start(port=port)
        await world.glasses.send(strip(1))
        await world.glasses.next()
        await world.glasses.next()
        await world.glasses.send(strip(2))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_KEPT
    assert len(cloud.requests) == 1
    assert world.events("decision")[-1]["rule"] == "direction"


async def test_what_the_phone_does_not_know_does_not_pass_through_it_to_the_cloud(start: Start) -> None:
    cloud = FakeCloud()
    async with serving(cloud) as port:
        world = await start(port=port)
        secret = b"\x82\x3e\x06secret"  # field 1000, which this version does not have
        body = strip(1).SerializeToString() + secret
        await world.glasses.send_bytes(b"\x0a" + bytes([len(body)]) + body)
        await world.glasses.next()
        await world.glasses.next()
    assert len(cloud.requests) == 1
    assert b"secret" not in cloud.requests[0].SerializeToString()


async def test_calls_to_the_cloud_are_bounded(start: Start) -> None:
    cloud = FakeCloud()
    cloud.let.clear()
    async with serving(cloud) as port:
        world = await start(port=port, cloud_calls=1)
        await world.glasses.send(strip(1))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_PROVISIONAL
        await world.glasses.send(strip(2))
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_KEPT
        cloud.let.set()
        assert (await world.glasses.next()).state == types_pb2.READING_STATE_REFINED
    assert world.events("decision")[1]["rule"] == "cloud busy"

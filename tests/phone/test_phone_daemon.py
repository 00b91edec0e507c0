"""The daemon over a link in memory: every strip gets an answer, whatever the cloud, the disk and the glasses do."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest

from phone.battery import Battery
from phone.cascade.policy import Recogniser, Trouble
from phone.cloud import CallPolicy, CloudClient
from phone.daemon import PhoneDaemon
from phone.database import Database
from phone.ledger import Consent, Ledger, Outcome
from phone.readings import NO_MEANING, LocalLine, LocalReading, Meaning
from phone.settings import PhoneSettings
from shared.clock import SystemClock
from shared.errors import InputError, PackCorrupt
from shared.events import EventLog
from shared.link import Lane
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, link_pb2, types_pb2
from shared.models.sign_translation import TranslationEngine
from shared.wire.memory import MemoryLink, memory_link_pair

QUAD = np.array([[10, 10], [110, 10], [110, 40], [10, 40]], np.float32)
Context = grpc.aio.ServicerContext[cloud_pb2.ReadStripRequest, cloud_pb2.ReadStripReply]


def strip(region: int, *, image: bytes = b"picture", captured: int = 1) -> types_pb2.Strip:
    return types_pb2.Strip(frame_id=1, region_id=region, captured_us=captured, lines=[types_pb2.StripLine(image=image)])


@dataclass
class FakeReader:
    """Phase one as the test wants it: the picture's bytes say what happens."""

    confidence: float = 0.3
    text: str = "Saida"
    remembered: list[str] = field(default_factory=list)
    read_regions: list[int] = field(default_factory=list)
    gate: threading.Event | None = None
    finished: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        if self.gate is not None:
            self.gate.wait(timeout=10)
        self.read_regions.append(strip.region_id)
        self.finished.release()
        picture = strip.lines[0].image if strip.lines else b""
        if picture == b"hostile":
            raise InputError("the picture cannot be decoded")
        if picture == b"broken pack":
            raise PackCorrupt("the model does not run")
        blank = picture == b"blank"
        line = LocalLine(
            "" if blank else self.text, QUAD, 0.0 if blank else self.confidence, 1.0, 0.9,
            Trouble.NO_TEXT if blank else None,
        )  # fmt: skip
        exit_ = Meaning("Exit", TranslationEngine.TRANSLATOR, None, "pt", 0.95, 0.9, "mt-pt-en", "1")
        return LocalReading(
            frame_id=strip.frame_id,
            region_id=strip.region_id,
            captured_us=strip.captured_us,
            lines=(line,),
            meaning=NO_MEANING if blank else exit_,
            target="en",
            trouble=Trouble.NO_TEXT if blank else None,
            recogniser=recogniser,
            recognition_pack=("ocr-tiny-rec", "6"),
            stage_ms=(("recognise", 7.0),),
            outgoing=strip,
            cache_key="k",
        )

    def remember(self, reading: LocalReading, cloud: types_pb2.Reading) -> None:
        self.remembered.append(cloud.translation)


class FakeCloud(cloud_pb2_grpc.ReaderServicer):
    """A cloud that reads every strip as "Saída", when it is let to."""

    def __init__(self) -> None:
        self.requests: list[cloud_pb2.ReadStripRequest] = []
        self.let = asyncio.Event()
        self.let.set()
        self.asked = asyncio.Event()
        self.confidence = 0.95
        self.status: grpc.StatusCode | None = None
        self.engine: int = types_pb2.ENGINE_TRANSLATOR

    async def ReadStrip(  # noqa: N802 - gRPC's name
        self, request: cloud_pb2.ReadStripRequest, context: Context
    ) -> cloud_pb2.ReadStripReply:
        self.requests.append(request)
        self.asked.set()
        await self.let.wait()
        if self.status is not None:
            await context.abort(self.status, "as the test says")
        confidence = types_pb2.Confidence(recognition=self.confidence, translation=self.confidence)
        return cloud_pb2.ReadStripReply(
            idempotency_key=request.idempotency_key,
            reading=types_pb2.Reading(
                text="Saída",
                translation="Way out",
                direction=types_pb2.Direction(source="pt", target="en"),
                confidence=confidence,
                engine=self.engine,  # type: ignore[arg-type]  # tests may name an engine that does not exist
                stage_times=[types_pb2.StageTime(stage="recognise", milliseconds=30)],
            ),
        )


class Glasses:
    """The other end of the link."""

    def __init__(self, link: MemoryLink) -> None:
        self.link = link
        self._clock = SystemClock()
        self._readings: asyncio.Queue[types_pb2.Reading] = asyncio.Queue()
        self._listening = asyncio.create_task(self._listen())

    async def send(self, *strips: types_pb2.Strip) -> None:
        for item in strips:
            await self.send_bytes(link_pb2.LinkObject(strip=item).SerializeToString())

    async def send_bytes(self, payload: bytes) -> None:
        await self.link.send(payload, lane=Lane.BULK, deadline=self._clock.monotonic() + 10)

    async def next(self) -> types_pb2.Reading:
        async with asyncio.timeout(10):
            return await self._readings.get()

    @property
    def nothing_more(self) -> bool:
        return self._readings.empty()

    async def close(self) -> None:
        await self.link.close()
        await self._listening

    async def _listen(self) -> None:
        async for payload in self.link.receive():
            for reading in link_pb2.LinkObject.FromString(payload).readings.readings:
                self._readings.put_nowait(reading)


@dataclass
class World:
    glasses: Glasses
    reader: FakeReader
    ledger: Ledger
    consent: Consent
    daemon: PhoneDaemon
    log: Path

    def events(self, name: str) -> list[dict[str, object]]:
        records = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [record for record in records if record["event"] == name]


Start = Callable[..., Awaitable[World]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    ends: list[Callable[[], Awaitable[None]]] = []

    async def begin(
        *,
        reader: FakeReader | None = None,
        port: int | None = None,
        call_policy: CallPolicy | None = None,
        max_pages: int | None = None,
        **settings: object,
    ) -> World:
        clock = SystemClock()
        glasses_end, phone_end = memory_link_pair(clock=clock)
        await glasses_end.wait_connected()
        database = Database(tmp_path / "phone.sqlite3", max_pages=max_pages)
        events = EventLog(tmp_path / "events.jsonl", tier="phone", clock=clock)
        cloud = CloudClient(f"127.0.0.1:{port}", clock=clock, policy=call_policy) if port is not None else None
        reader = reader or FakeReader()
        ledger, consent = Ledger(database, clock=clock), Consent(database, clock=clock)
        daemon = PhoneDaemon(
            link=phone_end,
            reader=reader,
            choose_recogniser=lambda battery: Recogniser.TINY,
            cloud=cloud,
            ledger=ledger,
            consent=consent,
            battery=lambda: Battery(None, charging=False),
            settings=PhoneSettings(**settings),  # type: ignore[arg-type]
            clock=clock,
            events=events,
        )
        running = asyncio.create_task(daemon.run())
        glasses = Glasses(glasses_end)

        async def end() -> None:
            await glasses.close()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await phone_end.close()
            if cloud is not None:
                await cloud.close()
            events.close()
            database.close()

        ends.append(end)
        return World(glasses, reader, ledger, consent, daemon, tmp_path / "events.jsonl")

    yield begin
    for end in reversed(ends):
        await end()


@asynccontextmanager
async def serving(cloud: FakeCloud, port: int = 0) -> AsyncIterator[int]:
    server = grpc.aio.server()
    cloud_pb2_grpc.add_ReaderServicer_to_server(cloud, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(grace=None)


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
        world = await start(port=port, max_pages=10)
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
    reader = FakeReader(confidence=0.99, gate=threading.Event())
    world = await start(reader=reader, answer_life_s=0.05)
    await world.glasses.send(strip(1), strip(2))
    await SystemClock().sleep(0.1)
    assert reader.gate is not None
    reader.gate.set()
    while not world.events("strip_dropped"):
        await SystemClock().sleep(0.01)
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
        await asyncio.to_thread(reader.finished.acquire, timeout=10)
    world.glasses.link.cable.restore()
    assert {(await world.glasses.next()).region_id for _ in range(2)} == {1, 2}


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


async def test_the_event_log_holds_no_text_by_default(start: Start) -> None:
    world = await start(reader=FakeReader(confidence=0.99))
    await world.glasses.send(strip(1))
    await world.glasses.next()
    assert "Saida" not in world.log.read_text(encoding="utf-8")

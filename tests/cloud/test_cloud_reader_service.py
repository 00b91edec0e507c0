"""What the reader's service answers and whom it tells, without a socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest

from cloud.callers import PHONE_SCOPES, Caller, Scope
from cloud.calls import Call
from cloud.plans import ReadPlan
from cloud.reading.observing import ReadEvent, all_of
from cloud.reading.readers import LineReading, SignReading
from cloud.reading.service import PlaceMemory, ReaderService
from cloud.reading.strip_batches import REPLY_S
from cloud.reading.validation import ReadJob, TextJob
from cloud.refusals import Reason, Refusal
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import PackUnsupported, StorageError
from shared.events import EventLog
from shared.limits import MAX_BATCH_STRIPS, MAX_READING_LINES, MAX_TEXT_CHARACTERS, MAX_TRANSLATE_CHARACTERS
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, types_pb2
from shared.models.calibration import Calibration
from shared.models.packs import InstalledPack, PackManifest, Task
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck
from shared.models.sign_translation import NoTranslation, SignTranslation, TranslationEngine

PACK = InstalledPack(
    PackManifest(
        name="ocr-small-rec",
        version="6.0",
        task=Task.RECOGNITION,
        languages=("pt",),
        direction=None,
        files=(),
        encoding_version=1,
        licence="Apache-2.0",
        source="a test",
        card={},
    ),
    Path("/nowhere"),
)
SQUARE = np.array([[0, 0], [90, 0], [90, 30], [0, 30]], np.float32)
CLOCK = SystemClock()
LONG_LINES = MAX_TRANSLATE_CHARACTERS // MAX_TEXT_CHARACTERS
PHONE = Caller("phone-1", PHONE_SCOPES)
ARCHIVE = Caller("archive", frozenset({Scope.BATCH}))


class FakeReader:
    """Reads what the phone said it read, so that a test can tell answers apart."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.jobs: list[ReadJob | TextJob] = []

    def __call__(self, job: ReadJob) -> SignReading:
        self.jobs.append(job)
        self.entered.set()
        assert self.gate.wait(10), "the test never opened the gate"
        if job.local_text == "broken":
            raise PackUnsupported("the model does not answer")
        text = job.local_text or "Saída"
        recognition = Recognition(text, 0.99, 0.98, (0.99,) * len(text))
        line = LineReading(SQUARE, recognition, ScriptCheck(Script.LATIN, 1.0, True), 0.9)
        translation = SignTranslation("Exit", TranslationEngine.PHRASEBOOK, source="pt", pack_name="phrasebook")
        return SignReading((line,), None, translation, 0, {})

    def translate(self, job: TextJob) -> SignTranslation:
        self.jobs.append(job)
        if job.lines == ("?",):
            return SignTranslation("", TranslationEngine.NONE, NoTranslation.LANGUAGE_UNKNOWN)
        return SignTranslation("Exit", TranslationEngine.PHRASEBOOK, source="pt", pack_name="phrasebook")


@asynccontextmanager
async def serving(
    *readers: FakeReader,
    plan_for: Callable[[Call], ReadPlan] | None = None,
    places: PlaceMemory | None = None,
    on_read: Callable[[ReadEvent], None] | None = None,
) -> AsyncIterator[ReaderService]:
    service = ReaderService(
        readers,
        translators=[reader.translate for reader in readers],
        seconds_per_line=0.01,
        targets=frozenset({"en"}),
        recognition_pack=PACK,
        calibration=Calibration.builtin(),
        settings=CloudSettings.load(None),
        clock=CLOCK,
        events=EventLog(None, tier="cloud", clock=CLOCK),
        plan_for=plan_for,
        places=places,
        on_read=on_read,
    )
    try:
        yield service
    finally:
        for reader in readers:
            reader.gate.set()
        await service.close()


def call(caller: Caller = PHONE, *, seconds: float = 20.0) -> Call:
    return Call(caller, CLOCK.monotonic() + seconds)


def strip(text: str = "", *, key: str = "", target: str = "en") -> cloud_pb2.ReadStripRequest:
    done, picture = cv2.imencode(".webp", np.full((40, 120, 3), 200, np.uint8))
    assert done
    line = types_pb2.StripLine(
        image=picture.tobytes(), quad=types_pb2.Quad(xy=SQUARE.reshape(-1)), detection_confidence=0.9
    )
    return cloud_pb2.ReadStripRequest(
        idempotency_key=key,
        strip=types_pb2.Strip(frame_id=3, region_id=4, encoding=types_pb2.IMAGE_ENCODING_WEBP, lines=[line]),
        direction=types_pb2.Direction(source="pt", target=target),
        local_text=text,
    )


def text(*lines: str, key: str = "", target: str = "en") -> cloud_pb2.TranslateRequest:
    return cloud_pb2.TranslateRequest(
        idempotency_key=key, lines=lines, direction=types_pb2.Direction(source="pt", target=target)
    )


def batch(*strips: cloud_pb2.ReadStripRequest) -> cloud_pb2.ReadStripsRequest:
    return cloud_pb2.ReadStripsRequest(requests=strips)


async def refused(awaited: object) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await awaited  # type: ignore[misc]
    return refusal.value


async def test_strips_of_a_batch_are_answered_each_on_its_own_and_in_order() -> None:
    async with serving(FakeReader(), FakeReader()) as service:
        reply = await service.read_strips(
            batch(strip("Um"), strip("broken"), strip("Dois", target="xx"), strip("Tres")), call(ARCHIVE)
        )
    kinds = [outcome.WhichOneof("outcome") for outcome in reply.outcomes]
    assert kinds == ["reply", "failure", "failure", "reply"]
    assert [reply.outcomes[index].reply.reading.text for index in (0, 3)] == ["Um", "Tres"]
    codes = [reply.outcomes[index].failure.code for index in (1, 2)]
    assert codes == [grpc.StatusCode.INTERNAL.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0]]
    assert not reply.outcomes[1].failure.HasField("retry_after_ms")


async def test_a_batch_is_answered_before_its_deadline_whatever_is_still_undone() -> None:
    reader = FakeReader()
    reader.gate.clear()
    async with serving(reader) as service:
        its_call = call(ARCHIVE, seconds=REPLY_S + 0.2)
        reply = await service.read_strips(batch(strip("Um"), strip("Dois")), its_call)
        assert CLOCK.monotonic() < its_call.deadline
    codes = {outcome.failure.code for outcome in reply.outcomes}
    assert codes <= {
        grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
        grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
    }
    assert all(outcome.failure.HasField("retry_after_ms") for outcome in reply.outcomes)


async def test_a_phone_is_read_before_what_is_left_of_a_batch() -> None:
    reader = FakeReader()
    reader.gate.clear()
    async with serving(reader) as service:
        bulk = asyncio.create_task(service.read_strips(batch(*(strip(f"bulk {n}") for n in range(8))), call(ARCHIVE)))
        assert await asyncio.to_thread(reader.entered.wait, 10)
        phone = asyncio.create_task(service.read_strip(strip("phone"), call()))
        await asyncio.sleep(0)
        reader.gate.set()
        assert (await phone).reading.text == "phone"
        assert all(outcome.HasField("reply") for outcome in (await bulk).outcomes)
    assert [job.local_text for job in reader.jobs if isinstance(job, ReadJob)].index("phone") == 1


@pytest.mark.parametrize(("count", "reason"), [(0, Reason.MALFORMED), (MAX_BATCH_STRIPS + 1, Reason.TOO_MANY_STRIPS)])
async def test_a_batch_has_at_least_one_strip_and_a_cap(count: int, reason: Reason) -> None:
    async with serving(FakeReader()) as service:
        refusal = await refused(service.read_strips(batch(*[cloud_pb2.ReadStripRequest()] * count), call(ARCHIVE)))
    assert refusal.reason is reason


async def test_a_caller_needs_the_scope_of_what_it_calls() -> None:
    async with serving(FakeReader()) as service:
        assert (await refused(service.read_strips(batch(strip()), call(PHONE)))).reason is Reason.FORBIDDEN
        assert (await refused(service.read_strip(strip(), call(ARCHIVE)))).reason is Reason.FORBIDDEN
        assert (await refused(service.translate(text("Saída"), call(ARCHIVE)))).reason is Reason.FORBIDDEN


async def test_a_text_is_translated_with_its_engine_and_confidence() -> None:
    async with serving(FakeReader()) as service:
        reply = await service.translate(text("Saída", key="k"), call())
        nothing = await service.translate(text("?"), call())
    assert (reply.idempotency_key, reply.translation, reply.engine) == ("k", "Exit", types_pb2.ENGINE_PHRASEBOOK)
    assert (reply.direction.source, reply.direction.target) == ("pt", "en")
    assert reply.translation_pack.name == "phrasebook"
    assert [stage.stage for stage in reply.stage_times] == ["translate"]
    assert (nothing.engine, nothing.unreadable) == (types_pb2.ENGINE_NONE, types_pb2.UNREADABLE_LANGUAGE_UNKNOWN)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (text(), Reason.NO_LINES),
        (text(*["a"] * (MAX_READING_LINES + 1)), Reason.TOO_MANY_LINES),
        (text("a" * (MAX_TEXT_CHARACTERS + 1)), Reason.TEXT_TOO_LONG),
        (text(*["a" * MAX_TEXT_CHARACTERS] * LONG_LINES, "b"), Reason.TEXT_TOO_LONG),
        (text("Saída", target="xx"), Reason.TARGET_UNSUPPORTED),
        (text("Saída", target="English"), Reason.MALFORMED),
        (text("Saída", key="k" * 200), Reason.MALFORMED),
    ],
)
async def test_a_text_over_a_cap_or_against_the_contract_is_refused(
    request_: cloud_pb2.TranslateRequest, reason: Reason
) -> None:
    reader = FakeReader()
    async with serving(reader) as service:
        assert (await refused(service.translate(request_, call()))).reason is reason
    assert reader.jobs == []


async def test_the_same_key_is_computed_once_and_a_key_of_a_text_is_not_one_of_a_strip() -> None:
    reader = FakeReader()
    async with serving(reader) as service:
        for _ in range(3):
            await service.translate(text("Saída", key="k"), call())
            await service.read_strip(strip("Saída", key="k"), call())
    assert len(reader.jobs) == 2


async def test_a_job_carries_hint_deadline_and_plan() -> None:
    reader = FakeReader()
    plan = ReadPlan(beam=1, arm="narrow")
    async with serving(reader, plan_for=lambda its_call: replace(plan, arm=its_call.caller.device)) as service:
        its_call = call()
        await service.read_strip(strip("Saida"), its_call)
        await service.translate(text("Saída"), its_call)
    read, translated = reader.jobs
    assert isinstance(read, ReadJob)
    assert (read.local_text, read.deadline, read.plan) == ("Saida", its_call.deadline, ReadPlan(beam=1, arm="phone-1"))
    assert (translated.deadline, translated.plan.beam) == (its_call.deadline, 1)


async def test_the_observer_is_told_of_every_read_and_how_it_ended() -> None:
    events: list[ReadEvent] = []
    async with serving(FakeReader(), on_read=all_of([events.append])) as service:
        await service.read_strip(strip("Saída", key="k"), call())
        await service.read_strip(strip("Saída", key="k"), call())
        await service.translate(text("Saída"), call())
        await service.read_strips(batch(strip("Um"), strip(target="xx")), call(ARCHIVE))
        with pytest.raises(PackUnsupported):
            await service.read_strip(strip("broken"), call())
    told = [(event.method, event.outcome, event.remembered) for event in events]
    assert told[:3] == [
        ("ReadStrip", "answered", False),
        ("ReadStrip", "answered", True),
        ("Translate", "answered", False),
    ]
    assert sorted(told[3:5]) == [("ReadStrips", "answered", False), ("ReadStrips", "target_unsupported", False)]
    assert told[5][:2] == ("ReadStrip", "PackUnsupported")
    first, failed = events[0], events[-1]
    assert first.answered
    assert first.in_time
    assert first.agrees, "the service read what the phone had read"
    assert first.confidence is not None
    assert 0.0 < first.confidence <= 1.0
    assert (failed.confidence, failed.agrees) == (None, None)


async def test_the_observer_is_told_of_a_caller_who_left() -> None:
    reader, events = FakeReader(), list[ReadEvent]()
    reader.gate.clear()
    async with serving(reader, on_read=events.append) as service:
        leaving = asyncio.create_task(service.read_strip(strip(), call()))
        assert await asyncio.to_thread(reader.entered.wait, 10)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert [event.outcome for event in events] == ["cancelled"]


class FakePlaces:
    """Knows one sign, and keeps what it is told."""

    def __init__(self, *, failure: Exception | None = None) -> None:
        self.learnt: list[str] = []
        self._failure = failure

    async def recall(self, request: cloud_pb2.ReadStripRequest, call: Call) -> types_pb2.Reading | None:
        if self._failure is not None:
            raise self._failure
        return types_pb2.Reading(text="Farol") if request.place_cell == "8a" else None

    async def learn(self, request: cloud_pb2.ReadStripRequest, reading: types_pb2.Reading, call: Call) -> None:
        if self._failure is not None:
            raise self._failure
        self.learnt.append(reading.text)


async def test_what_the_place_remembers_is_not_read_again_and_what_was_read_is_learnt() -> None:
    reader, places, events = FakeReader(), FakePlaces(), list[ReadEvent]()
    known = strip("Farol")
    known.place_cell = "8a"
    async with serving(reader, places=places, on_read=events.append) as service:
        assert (await service.read_strip(known, call())).reading.text == "Farol"
        assert reader.jobs == []
        assert (await service.read_strip(strip("Novo"), call())).reading.text == "Novo"
    assert places.learnt == ["Novo"]
    assert [event.remembered for event in events] == [True, False]


@pytest.mark.parametrize("failure", [StorageError("Farol is full"), KeyError("Farol")])
async def test_a_memory_of_places_that_fails_costs_no_answer(
    caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    async with serving(FakeReader(), places=FakePlaces(failure=failure)) as service:
        assert (await service.read_strip(strip("Novo"), call())).reading.text == "Novo"
    assert type(failure).__name__ in caplog.text
    assert "Farol" not in caplog.text, "what an error says may quote a sign"


async def test_batches_and_texts_are_answered_over_a_socket() -> None:
    async with serving(FakeReader()) as service:
        server = CloudServer([service], CloudSettings.load(None, listen="127.0.0.1:0"))
        host, port = await server.start()
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            stub = cloud_pb2_grpc.ReaderStub(channel)
            read = await stub.ReadStrips(batch(strip("Um")), timeout=30)
            translated = await stub.Translate(text("Saída"), timeout=30)
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await stub.Translate(text("a" * (MAX_TEXT_CHARACTERS + 1)), timeout=30)
        await server.drain()
    assert read.outcomes[0].reply.reading.text == "Um"
    assert translated.translation == "Exit"
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

"""The phone's daemon between a link in memory and a cloud, with the glasses and the reader as a test wants them."""

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

from phone.battery import Battery
from phone.cascade.decision import CascadePolicy
from phone.cascade.inputs import NetworkKind, Recogniser, Thermal, Trouble
from phone.cloud import CallPolicy, CloudClient
from phone.cloud_channel import CloudChannel, CloudTransport, GrpcTransport
from phone.daemon import Estimator, PhoneDaemon
from phone.database import Database
from phone.ledger import Consent, Ledger
from phone.ledger_rows import Entry
from phone.network import NetworkState
from phone.placing import Placing
from phone.readings import NO_MEANING, LocalLine, LocalReading, Meaning
from phone.settings import PhoneSettings
from shared.clock import Clock, SystemClock
from shared.errors import InputError, PackCorrupt
from shared.events import EventLog
from shared.link import Lane
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, link_pb2, types_pb2
from shared.models.script import Script
from shared.models.sign_evidence import LineEvidence
from shared.models.sign_translation import TranslationEngine
from shared.wire.memory import MemoryLink, memory_link_pair

SYSTEM_CLOCK = SystemClock()
QUAD = np.array([[10, 10], [110, 10], [110, 40], [10, 40]], np.float32)
Context = grpc.aio.ServicerContext[cloud_pb2.ReadStripRequest, cloud_pb2.ReadStripReply]


def strip(region: int, *, image: bytes = b"picture", captured: int = 1) -> types_pb2.Strip:
    return types_pb2.Strip(frame_id=1, region_id=region, captured_us=captured, lines=[types_pb2.StripLine(image=image)])


@dataclass
class FakeReader:
    """Phase one as the test wants it: the picture's bytes say what happens."""

    confidence: float = 0.3
    text: str = "Saida"
    evidence: LineEvidence | None = None
    foreign: Script | None = None
    remembered: list[str] = field(default_factory=list)
    read_regions: list[int] = field(default_factory=list)
    gate: threading.Event | None = None
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    finished: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        self.begun.release()
        if self.gate is not None:
            self.gate.wait(timeout=30)
        self.read_regions.append(strip.region_id)
        self.finished.release()
        picture = strip.lines[0].image if strip.lines else b""
        if picture == b"hostile":
            raise InputError("the picture cannot be decoded")
        if picture == b"broken pack":
            raise PackCorrupt("the model does not run")
        blank = picture == b"blank"
        trouble = Trouble.NO_TEXT if blank else None if self.foreign is None else Trouble.SCRIPT
        line = LocalLine(
            "" if blank else self.text, QUAD, 0.0 if blank else self.confidence, 1.0, 0.9,
            trouble, foreign_script=self.foreign, evidence=self.evidence,
        )  # fmt: skip
        exit_ = Meaning("Exit", TranslationEngine.TRANSLATOR, None, "pt", 0.95, 0.9, "mt-pt-en", "1")
        return LocalReading(
            frame_id=strip.frame_id,
            region_id=strip.region_id,
            captured_us=strip.captured_us,
            lines=(line,),
            meaning=exit_ if trouble is None else NO_MEANING,
            target="en",
            trouble=trouble,
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

    def __init__(self, link: MemoryLink, *, clock: Clock) -> None:
        self.link = link
        self._clock = clock
        self.arrivals: list[tuple[float, types_pb2.Reading]] = []
        """Readings with the time they came."""
        self._readings: asyncio.Queue[types_pb2.Reading] = asyncio.Queue()
        self._listening = asyncio.create_task(self._listen())

    async def send(self, *strips: types_pb2.Strip) -> None:
        for item in strips:
            await self.send_bytes(link_pb2.LinkObject(strip=item).SerializeToString())

    async def send_bytes(self, payload: bytes) -> None:
        await self.link.send(payload, lane=Lane.BULK, deadline=self._clock.monotonic() + 10)

    async def next(self) -> types_pb2.Reading:
        async with asyncio.timeout(30):
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
                self.arrivals.append((self._clock.monotonic(), reading))
                self._readings.put_nowait(reading)


@dataclass
class World:
    glasses: Glasses
    reader: FakeReader
    ledger: Ledger
    consent: Consent
    daemon: PhoneDaemon
    database: Database
    log: Path
    rows: list[Entry] = field(default_factory=list)
    """Of the ledger, for tests that look at them when the daemon has ended."""

    def events(self, name: str) -> list[dict[str, object]]:
        records = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [record for record in records if record["event"] == name]


Start = Callable[..., Awaitable[World]]


@asynccontextmanager
async def daemons(folder: Path) -> AsyncIterator[Start]:
    """Starts daemons that keep their files in `folder`, and ends them."""
    ends: list[Callable[[], Awaitable[None]]] = []

    async def begin(
        *,
        reader: FakeReader | None = None,
        port: int | None = None,
        transport: CloudTransport | None = None,
        call_policy: CallPolicy | None = None,
        max_pages: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        policy: CascadePolicy | None = None,
        metamodel: Estimator | None = None,
        network: NetworkKind = NetworkKind.WIFI,
        metered: bool = False,
        thermal: Thermal = Thermal.UNKNOWN,
        battery: Battery = Battery(None, charging=False),  # noqa: B008 - frozen
        placing: Callable[[Database, Clock, EventLog], Placing] | None = None,
        **settings: object,
    ) -> World:
        glasses_end, phone_end = memory_link_pair(clock=clock)
        await glasses_end.wait_connected()
        database = Database(folder / "phone.sqlite3", max_pages=max_pages)
        events = EventLog(folder / "events.jsonl", tier="phone", clock=clock)
        if port is not None:
            transport = GrpcTransport(CloudChannel(f"127.0.0.1:{port}", clock=clock))
        cloud = None if transport is None else CloudClient(transport, clock=clock, policy=call_policy)
        reader = reader or FakeReader()
        ledger, consent = Ledger(database, clock=clock), Consent(database, clock=clock)
        daemon = PhoneDaemon(
            link=phone_end,
            reader=reader,
            choose_recogniser=lambda battery: Recogniser.TINY,
            cloud=cloud,
            ledger=ledger,
            consent=consent,
            battery=lambda: battery,
            settings=PhoneSettings(**settings),  # type: ignore[arg-type]
            clock=clock,
            events=events,
            policy=policy,
            metamodel=metamodel,
            network=lambda: NetworkState(network, metered=metered),
            thermal=lambda: thermal,
            placing=None if placing is None else placing(database, clock, events),
        )
        running = asyncio.create_task(daemon.run())
        glasses = Glasses(glasses_end, clock=clock)

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
        return World(glasses, reader, ledger, consent, daemon, database, folder / "events.jsonl")

    try:
        yield begin
    finally:
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

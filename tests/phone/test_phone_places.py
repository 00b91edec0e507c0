"""Places on the phone: what it remembers, what it answers from memory, what it shares, and where it is."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon_world import FakeCloud, FakeReader, daemons, serving
from google.protobuf.message import Message

from phone.cascade.inputs import NetworkKind
from phone.cascade.privacy import CloudUse
from phone.cascade.privacy_names import PrivacyOptions
from phone.cli import main
from phone.cloud_channel import CallRefused, Refusal
from phone.database import Database
from phone.ledger import Consent, Ledger
from phone.ledger_rows import Outcome
from phone.location import STALE_S, FixedPosition, GpsdPosition, Position, PositionSource, position_source
from phone.network import NetworkState
from phone.places import MAX_TRUST, PhonePlaces
from phone.places_sync import BATCH, CONTRIBUTE, FORGET, LOOKUP, PlacesSync
from phone.placing import Placing
from shared.clock import Clock, SystemClock
from shared.errors import CloudError, CloudUnavailable, LocationError, UsageError
from shared.events import EventLog
from shared.messages.wayword.v1 import places_pb2, types_pb2
from shared.places.cells import around, cell_at
from shared.places.messages import reading_message, to_message
from shared.places.reading import KnownSign, PlaceEngine, PlaceReading
from simulations.place_views import View, strip_of

LISBON = Position(38.7107, -9.1366)
CELL = LISBON.cell
FAR = cell_at(41.1456, -8.6109)
DAY_S = 86_400


class SetClock:
    """Stands still until it is set; a sleep moves it on."""

    def __init__(self) -> None:
        self.now = 20_000.0 * DAY_S

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def reading(text: str = "Saída de emergência", translation: str = "Emergency exit", **changes: Any) -> PlaceReading:
    made = PlaceReading(CELL, text, translation, "pt", "en", 0xFFFF_0000_FFFF_0001, 0.9, PlaceEngine.PHRASEBOOK)
    return replace(made, **changes)


def silent_log(clock: Clock) -> tuple[EventLog, list[tuple[str, dict[str, Any]]]]:
    """A log without a file, and what was told to it."""
    log = EventLog(None, tier="phone", clock=clock)
    told: list[tuple[str, dict[str, Any]]] = []
    log.listen(lambda event, fields, content: told.append((event, {**fields, **content})))
    return log, told


async def until(holds: Callable[[], bool]) -> None:
    """Return when something holds that other threads or processes bring about."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - a ledger or a socket has no event to wait for
            await asyncio.sleep(0.001)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def database(tmp_path: Path) -> Any:
    opened = Database(tmp_path / "phone.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def memory(database: Database, clock: SetClock) -> PhonePlaces:
    return PhonePlaces(database, clock=clock, max_signs=1000, keep_days=365)


# Memory -----------------------------------------------------------------------------------------------


async def test_what_the_phone_read_it_remembers_from_the_first_time(memory: PhonePlaces) -> None:
    assert await memory.remember(reading())
    (known,) = await memory.recall(around(CELL), "en")
    assert known.reading == reading()
    assert (known.trust, known.devices) == (0.9, 1)
    assert await memory.recall(around(FAR), "en") == []
    assert await memory.recall(around(CELL), "de") == []


def test_the_surer_of_two_readings_of_one_sign_stays(memory: PhonePlaces) -> None:
    memory.remember_now(reading("Saída de emergéncla", confidence=0.85))
    assert memory.remember_now(reading(confidence=0.99))
    assert not memory.remember_now(reading("Saida de emergencja", confidence=0.86))
    (known,) = memory.recall_now([CELL], "en")
    assert known.reading.text == "Saída de emergência"
    assert known.trust == MAX_TRUST


def test_signs_not_seen_for_long_are_forgotten_and_those_seen_are_not(memory: PhonePlaces, clock: SetClock) -> None:
    memory.remember_now(reading())
    memory.remember_now(reading("Padaria da esquina"))
    clock.now += 300 * DAY_S
    memory.remember_now(reading())
    clock.now += 100 * DAY_S
    assert [known.reading.text for known in memory.recall_now([CELL], "en")] == ["Saída de emergência"]
    assert memory.expire_now() == 1


def test_the_least_recently_seen_signs_make_room(database: Database, clock: SetClock) -> None:
    memory = PhonePlaces(database, clock=clock, max_signs=20, keep_days=365)
    names = [f"{random.Random(number).getrandbits(60):x} placa" for number in range(101)]
    for name in names:
        memory.remember_now(reading("".join(c for c in name if not c.isdigit()) + name[-30:]))
        clock.now += 60
    assert memory.counts_now().own <= 20 + 1


def test_what_the_cloud_tells_replaces_what_it_told_and_nothing_else(memory: PhonePlaces, clock: SetClock) -> None:
    near = around(CELL)
    told = KnownSign(reading("Farmácia central", "Pharmacy"), 0.7, 4)
    memory.remember_now(reading())
    memory.tell_now(near, "en", [told, KnownSign(reading("Longe daqui", cell=FAR), 0.9, 9)])
    assert {known.reading.text for known in memory.recall_now(near, "en")} == {
        "Saída de emergência",
        "Farmácia central",
    }
    assert memory.unasked_now(near, "en") == []
    clock.now += DAY_S
    assert memory.unasked_now(near, "en") == list(near)
    memory.tell_now(near, "en", [])
    assert [known.reading.text for known in memory.recall_now(near, "en")] == ["Saída de emergência"]
    assert memory.recall_now([FAR], "en") == []


def test_what_waits_to_be_shared_survives_a_kill(tmp_path: Path, clock: SetClock) -> None:
    first = Database(tmp_path / "killed.sqlite3")
    PhonePlaces(first, clock=clock, max_signs=100, keep_days=365).remember_now(reading(), share=True)
    second = Database(tmp_path / "killed.sqlite3")  # the first was never closed
    memory = PhonePlaces(second, clock=clock, max_signs=100, keep_days=365)
    (waiting,) = memory.waiting_now(10)
    assert replace(waiting.reading, confidence=0.9) == reading()
    memory.shared_now([waiting.id])
    assert memory.waiting_now(10) == []
    memory.remember_now(reading(), share=True)
    assert memory.waiting_now(10) == [], "what was shared once is not shared again"
    first.close()
    second.close()


def test_a_reading_that_changed_while_it_was_being_shared_is_shared_anew(memory: PhonePlaces) -> None:
    memory.remember_now(reading("Saída de emergéncla", confidence=0.85), share=True)
    (sent,) = memory.waiting_now(10)
    memory.remember_now(reading(confidence=0.95), share=True)
    memory.shared_now([sent.id])
    assert [item.reading.text for item in memory.waiting_now(10)] == ["Saída de emergência"]


async def test_forgetting_leaves_nothing(memory: PhonePlaces, tmp_path: Path) -> None:
    memory.remember_now(reading(), share=True)
    memory.tell_now([CELL], "en", [KnownSign(reading("Farmácia central"), 0.7, 4)])
    assert await memory.forget() == 2
    assert memory.all_now(10) == []
    assert memory.waiting_now(10) == []
    assert memory.unasked_now([CELL], "en") == [CELL]


# In the life of a sign --------------------------------------------------------------------------------


def placing_of(
    share: bool = False,
    source: PositionSource | None = None,
    *known: KnownSign,
) -> Callable[[Database, Clock, EventLog], Placing]:
    def make(database: Database, clock: Clock, events: EventLog) -> Placing:
        memory = PhonePlaces(database, clock=clock, max_signs=100, keep_days=365)
        memory.tell_now([CELL], "en", known)
        return Placing(
            memory,
            source or FixedPosition(LISBON),
            share=share,
            privacy=PrivacyOptions(),
            clock=clock,
            events=events,
        )

    return make


def signboard(region: int, lines: tuple[str, ...] = ("Saída",)) -> types_pb2.Strip:
    return strip_of(lines, View(noise=2.0), np.random.default_rng(region), frame_id=1, region_id=region)


async def test_a_sign_known_at_this_place_spares_the_cloud_and_the_ledger_says_why(tmp_path: Path) -> None:
    cloud = FakeCloud()
    known = KnownSign(reading("SAÍDA", "Way out"), 0.76, 5)
    async with daemons(tmp_path) as start, serving(cloud) as port:
        world = await start(port=port, reader=FakeReader(confidence=0.3), placing=placing_of(False, None, known))
        await world.glasses.send(signboard(1))
        answer = await world.glasses.next()
        assert (answer.text, answer.translation, answer.region_id) == ("SAÍDA", "Way out", 1)
        assert answer.state == types_pb2.READING_STATE_KEPT
        assert answer.confidence.recognition == pytest.approx(0.76)
        assert [stage.stage for stage in answer.stage_times][:2] == ["recognise", "place"]
        await until(lambda: bool(world.events("place_recalled")))
        (entry,) = world.ledger.entries(limit=10)
    assert (entry.rule, entry.bytes_out) == ("place", 0)
    assert "5 devices read it here" in entry.reason
    assert cloud.requests == []


async def test_a_sure_reading_is_not_replaced(tmp_path: Path) -> None:
    known = KnownSign(reading("SAÍDA", "Way out"), 0.76, 5)
    async with daemons(tmp_path) as start:
        world = await start(reader=FakeReader(confidence=0.99), placing=placing_of(False, None, known))
        await world.glasses.send(signboard(1))
        assert (await world.glasses.next()).translation == "Exit"


async def test_a_place_that_is_hardly_surer_answers_and_the_cloud_is_asked_too(tmp_path: Path) -> None:
    cloud = FakeCloud()
    known = KnownSign(reading("SAÍDA", "Way out!"), 0.5, 3)
    async with daemons(tmp_path) as start, serving(cloud) as port:
        world = await start(port=port, reader=FakeReader(confidence=0.3), placing=placing_of(True, None, known))
        await world.glasses.send(signboard(1))
        assert (await world.glasses.next()).translation == "Way out!"
        assert (await world.glasses.next()).translation == "Way out"
    assert [request.place_cell for request in cloud.requests] == [CELL]


async def test_the_cloud_is_told_the_place_only_with_consent(tmp_path: Path) -> None:
    cloud = FakeCloud()
    async with daemons(tmp_path) as start, serving(cloud) as port:
        world = await start(port=port, reader=FakeReader(confidence=0.3), placing=placing_of(False))
        await world.glasses.send(signboard(1))
        while (await world.glasses.next()).state == types_pb2.READING_STATE_PROVISIONAL:
            pass
    (request,) = cloud.requests
    assert not request.HasField("place_cell")


async def test_what_was_read_is_remembered_and_what_was_recalled_is_not_counted_again(
    memory: PhonePlaces, clock: SetClock
) -> None:
    events, _ = silent_log(clock)
    rings: list[int] = []
    placing = Placing(
        memory,
        FixedPosition(LISBON),
        share=True,
        privacy=PrivacyOptions(names=("Marta",)),
        clock=clock,
        events=events,
        on_waiting=lambda: rings.append(1),
    )

    def answer(text: str, stage: str = "recognise", right: float = 0.9) -> types_pb2.Reading:
        return types_pb2.Reading(
            text=text,
            translation="Something",
            direction=types_pb2.Direction(source="pt", target="en"),
            confidence=types_pb2.Confidence(recognition=right),
            stage_times=[types_pb2.StageTime(stage=stage)],
        )

    for unfit in (
        answer("Saída", "place"),
        answer("Saída", "cloud_place"),
        answer("Saída", right=0.5),
        answer("Tel. 912 345 678"),
        answer("Marta, volto já"),
        answer("Dra. Oliveira"),
        answer("a" * 600),
        answer(""),
    ):
        await placing.note(signboard(1), unfit)
    assert memory.all_now(10) == []
    await placing.note(signboard(1), answer("Saída"))
    (entry,) = memory.all_now(10)
    assert entry.waits
    assert entry.sign.reading.picture_hash is not None
    assert rings == [1]
    nowhere = Placing(memory, FixedPosition(None), share=True, privacy=PrivacyOptions(), clock=clock, events=events)
    await nowhere.note(signboard(1), answer("Entrada"))
    assert len(memory.all_now(10)) == 1


# Sharing ----------------------------------------------------------------------------------------------


class FakeCalls:
    """The places of a cloud, as a test wants them."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Message]] = []
        self.failure: CloudError | None = None
        self.signs: list[KnownSign] = []

    async def connect(self, deadline: float, *, method: str = "") -> None:
        if isinstance(self.failure, CloudUnavailable):
            raise self.failure

    async def call(self, method: str, request: Message, reply_class: Any, *, timeout: float) -> Any:  # noqa: ASYNC109
        self.made.append((method, request))
        if self.failure is not None:
            raise self.failure
        if method == LOOKUP:
            return places_pb2.LookupReply(signs=[to_message(sign) for sign in self.signs])
        if method == CONTRIBUTE:
            assert isinstance(request, places_pb2.ContributeRequest)
            return places_pb2.ContributeReply(accepted=len(request.signs))
        return places_pb2.ForgetReply(forgotten=3)

    def methods(self) -> list[str]:
        return [method for method, _ in self.made]


class Sharing:
    """A phone that shares places."""

    def __init__(self, memory: PhonePlaces, database: Database, clock: SetClock) -> None:
        self.memory, self.clock, self.database = memory, clock, database
        self.calls = FakeCalls()
        self.network = NetworkState(NetworkKind.WIFI, metered=False)
        self.ledger = Ledger(database, clock=clock)
        self.consent = Consent(database, clock=clock)
        self.log, self.told = silent_log(clock)
        self.cell: str | None = CELL

    def sync(self, *, use: CloudUse = CloudUse.ALLOW, budget: int = 10**6, share: bool = True) -> PlacesSync:
        return PlacesSync(
            self.memory,
            self.calls,
            cell=lambda: self.cell,
            target="en",
            cloud_use=use,
            consent=self.consent,
            ledger=self.ledger,
            daily_budget_bytes=budget,
            network=lambda: self.network,
            clock=self.clock,
            events=self.log,
            share=share,
            rng=random.Random(1),
        )

    async def all_steps(self, sync: PlacesSync) -> None:
        while await sync.step():
            pass

    def events(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.told if event == name]


@pytest.fixture
def sharing(memory: PhonePlaces, database: Database, clock: SetClock) -> Sharing:
    return Sharing(memory, database, clock)


async def test_what_waits_is_shared_in_batches_and_the_place_is_asked_about_once_a_day(sharing: Sharing) -> None:
    words = ("azul", "verde", "branca", "preta", "amarela", "vermelha", "nova", "velha", "larga", "alta")
    texts = [f"Placa {word}" for word in words]
    for text in (*texts, *(f"{text} da esquina" for text in texts)):
        sharing.memory.remember_now(reading(text), share=True)
    sharing.calls.signs = [KnownSign(reading("Farmácia central", "Pharmacy"), 0.7, 4)]
    waiting = sharing.memory.counts_now().waiting
    assert waiting > BATCH
    await sharing.all_steps(sharing.sync())
    assert sharing.calls.methods() == [CONTRIBUTE, CONTRIBUTE, LOOKUP]
    assert sum(len(call.signs) for _, call in sharing.calls.made[:2]) == waiting  # type: ignore[attr-defined]
    asked = sharing.calls.made[2][1]
    assert isinstance(asked, places_pb2.LookupRequest)
    assert sorted(asked.cells) == sorted(around(CELL))
    assert sharing.memory.counts_now().waiting == 0
    assert "Farmácia central" in {known.reading.text for known in sharing.memory.recall_now([CELL], "en")}
    await sharing.all_steps(sharing.sync())
    assert len(sharing.calls.made) == 3
    rows = sharing.ledger.entries(limit=10)
    assert {(row.rule, row.outcome) for row in rows} == {("place", Outcome.SHARED)}
    assert sum(row.bytes_out for row in rows) == sum(request.ByteSize() for _, request in sharing.calls.made)


@pytest.mark.parametrize(
    ("network", "use"),
    [
        (NetworkState(NetworkKind.WIFI, metered=True), CloudUse.ALLOW),
        (NetworkState(NetworkKind.CELLULAR, metered=True), CloudUse.ALLOW),
        (NetworkState(NetworkKind.NONE, metered=False), CloudUse.ALLOW),
        (NetworkState(NetworkKind.UNKNOWN, metered=False), CloudUse.ALLOW),
        (NetworkState(NetworkKind.WIFI, metered=False), CloudUse.NEVER),
        (NetworkState(NetworkKind.WIFI, metered=False), CloudUse.ASK),
    ],
)
async def test_nothing_leaves_over_a_network_that_costs_or_against_the_wearers_will(
    sharing: Sharing, network: NetworkState, use: CloudUse
) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.network = network
    assert not await sharing.sync(use=use).step()
    assert sharing.calls.made == []
    assert sharing.memory.counts_now().waiting == 1


async def test_the_wearers_consent_lets_it_go(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.consent.give(seconds=60)
    assert await sharing.sync(use=CloudUse.ASK).step()


async def test_the_days_budget_holds_for_places_too(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    assert not await sharing.sync(budget=10).step()
    assert sharing.calls.made == []
    assert sharing.ledger.entries(limit=5) == []


async def test_a_cloud_that_fails_is_asked_again_later_and_nothing_is_lost(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sync = sharing.sync()
    for failure in (CloudUnavailable("gone"), CallRefused("enough for today", Refusal.OVERLOADED)):
        sharing.calls.failure = failure
        with pytest.raises(CloudError):
            await sync.step()
    assert sharing.memory.counts_now().waiting == 1
    sharing.calls.failure = None
    await sharing.all_steps(sync)
    assert sharing.memory.counts_now().waiting == 0


async def test_pauses_after_failures_grow(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.calls.failure = CloudUnavailable("gone")
    running = asyncio.create_task(sharing.sync().run())
    await until(lambda: len(sharing.events("places_failed")) >= 6)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    pauses = [event["retry_s"] for event in sharing.events("places_failed")[:6]]
    assert pauses[5] > 4 * pauses[0]
    assert {event["error"] for event in sharing.events("places_failed")} == {"CloudUnavailable"}


async def test_a_batch_the_cloud_calls_malformed_does_not_hold_up_the_rest(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.calls.failure = CallRefused("the reading is malformed", Refusal.MALFORMED)
    assert await sharing.sync().step()
    assert sharing.memory.counts_now().waiting == 0
    assert sharing.events("places_refused")


async def test_signs_the_cloud_makes_up_are_left_out(sharing: Sharing) -> None:
    sharing.calls.signs = [
        KnownSign(reading("Noutro sítio", cell=FAR), 0.9, 9),
        KnownSign(reading("Anderswo", target="de"), 0.9, 9),
        KnownSign(reading("a" * 2000), 0.9, 9),
    ]
    await sharing.all_steps(sharing.sync())
    assert sharing.memory.counts_now().told == 0


async def test_a_wish_to_be_forgotten_goes_first_even_when_nothing_is_shared_any_more(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    assert sharing.memory.forget_now(cloud_too=True) == 1
    sharing.calls.failure = CloudUnavailable("gone")
    with pytest.raises(CloudUnavailable):
        await sharing.sync(share=False).step()
    sharing.calls.failure = None
    await sharing.all_steps(sharing.sync(share=False))
    assert sharing.calls.methods() == [FORGET]
    await sharing.all_steps(sharing.sync(share=False))
    assert sharing.calls.methods() == [FORGET]


# Where the phone is -----------------------------------------------------------------------------------


@asynccontextmanager
async def gpsd(*reports: bytes, keep_open: bool = True) -> AsyncIterator[int]:
    """A server that says what gpsd says, on a real socket."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"class":"VERSION","release":"3.25"}\n')
        assert (await reader.readline()).startswith(b"?WATCH=")
        for report in reports:
            writer.write(report + b"\n")
        await writer.drain()
        if keep_open:
            await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        done.set()
        server.close()
        await server.wait_closed()


def tpv(**fields: object) -> bytes:
    return json.dumps({"class": "TPV", "mode": 3, "lat": 38.7107, "lon": -9.1366, "eph": 8.0, **fields}).encode()


async def test_gpsd_tells_where_the_phone_is_and_an_old_position_is_none() -> None:
    clock = SetClock()
    events, told = silent_log(clock)
    async with gpsd(b'{"class":"SKY","satellites":[]}', tpv()) as port:
        source = GpsdPosition("127.0.0.1", port, clock=clock, events=events)
        assert source.position() is None
        following = asyncio.create_task(source.run())
        await until(lambda: source.position() is not None)
        assert source.position() == LISBON
        clock.now += STALE_S + 1
        assert source.position() is None
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert told == [("position_source", {"source": "gpsd"})]


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": 1},
        {"eph": 4000.0},
        {"epx": float("nan")},
        {"lat": 91.0},
        {"lat": "38"},
        {"lon": None},
        {"lat": float("nan")},
    ],
)
async def test_a_report_without_a_good_fix_is_no_position(tmp_path: Path, fields: dict[str, object]) -> None:
    clock = SetClock()
    async with gpsd(tpv(**fields), keep_open=False) as port:
        source = GpsdPosition("127.0.0.1", port, clock=clock, events=EventLog(None, tier="phone", clock=clock))
        with pytest.raises(LocationError, match="ended"):
            await source.follow()
        assert source.position() is None


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (b"no json", "no JSON"),
        (b"[1]", "no report"),
        (b'{"class":"ERROR","message":"secret"}', "reports an error"),
        (b"x" * 70_000, "longer report"),
    ],
)
async def test_what_is_no_gpsd_is_a_typed_failure(tmp_path: Path, report: bytes, reason: str) -> None:
    clock = SetClock()
    async with gpsd(report) as port:
        source = GpsdPosition("127.0.0.1", port, clock=clock, events=EventLog(None, tier="phone", clock=clock))
        with pytest.raises(LocationError, match=reason):
            await source.follow()


async def test_a_gpsd_that_is_not_there_is_a_typed_failure() -> None:
    clock = SetClock()
    async with gpsd() as port:
        pass
    source = GpsdPosition("127.0.0.1", port, clock=clock, events=EventLog(None, tier="phone", clock=clock))
    with pytest.raises(LocationError, match="cannot be reached"):
        await source.follow()


def test_a_setting_names_a_source_of_positions() -> None:
    clock = SystemClock()
    events = EventLog(None, tier="phone", clock=clock)
    assert position_source(None, clock=clock, events=events).position() is None
    assert position_source("38.7107,-9.1366", clock=clock, events=events).position() == LISBON
    assert isinstance(position_source("gpsd", clock=clock, events=events), GpsdPosition)
    for wrong in ("here", "91,0", "1,2,3", "gpsd://host", "gpsd://host:0", "nan,nan"):
        with pytest.raises(UsageError, match="no source of positions"):
            position_source(wrong, clock=clock, events=events)


# The command ------------------------------------------------------------------------------------------


def test_the_command_lists_forgets_and_deletes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "phone.sqlite3"
    database = Database(path)
    memory = PhonePlaces(database, clock=SystemClock(), max_signs=100, keep_days=365)
    memory.remember_now(reading(), share=True)
    memory.tell_now([CELL], "en", [KnownSign(reading("Farmácia\ncentral", "Pharmacy"), 0.7, 4)])
    database.close()
    given = ["--database", str(path)]
    assert main(["places", "list", *given]) == 0
    shown = capsys.readouterr().out
    assert "Saída de emergência -> Emergency exit  (read by this phone; 0.90, waits to be shared)" in shown
    assert "Farmácia / central -> Pharmacy  (read by 4 devices, told by the cloud; 0.70)" in shown
    assert main(["places", "list", "--json", *given]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["places", "forget", str(entries[0]["number"]), "987654", *given]) == 0
    assert "1 of 2" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no cloud"):
        main(["places", "delete-all", *given])
    with pytest.raises(CloudUnavailable, match="daemon will ask"):
        main(["places", "delete-all", "--cloud", "127.0.0.1:1", *given])
    database = Database(path)
    memory = PhonePlaces(database, clock=SystemClock(), max_signs=100, keep_days=365)
    assert memory.all_now(10) == []
    assert memory.cloud_must_forget_now()
    database.close()


def test_a_contribution_carries_no_name_time_or_picture() -> None:
    fields = {field.name for field, _ in reading_message(reading()).ListFields()}
    assert fields == {"cell", "text", "translation", "direction", "picture_hash", "confidence", "engine"}

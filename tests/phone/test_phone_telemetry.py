"""Telemetry of the phone: what is gathered, what is not, and that it is sent once, when that is cheap."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from phone.battery import Battery
from phone.cascade.decision import Action, Rule
from phone.cascade.inputs import NetworkKind, Thermal
from phone.cascade.policies import POLICY_NAMES
from phone.cli import main
from phone.cloud_channel import CallRefused, Refusal
from phone.database import Database
from phone.ledger_rows import Outcome
from phone.network import NetworkState
from phone.telemetry import MAX_PENDING, SEND_EVERY_S, Telemetry, is_cheap
from phone.telemetry_store import TelemetryStore
from phone.window import RadioWindow
from shared import errors
from shared.errors import CloudDeadline, CloudError, StorageError, WaywordError
from shared.events import EventLog
from shared.messages.wayword.v1.telemetry_pb2 import ReportReply, ReportRequest, TelemetryRecord
from shared.telemetry import ERRORS, KINDS, MAX_AGE_DAYS, check, curated
from shared.wire.waiting import Backoff

WIFI = NetworkState(NetworkKind.WIFI, metered=False)
NOW_S = 1_800_000_000.0


class HandClock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.now = NOW_S

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        wanted = self.now + seconds
        while self.now < wanted:  # noqa: ASYNC110 - a test moves the time
            await asyncio.sleep(0)


class FakeChannel:
    """A cloud that keeps what it takes, and fails when told to, before or after it has taken it."""

    def __init__(self) -> None:
        self.taken: dict[str, TelemetryRecord] = {}
        self.duplicates = 0
        self.calls: list[int] = []
        self.before: Callable[[ReportRequest], CloudError | None] = lambda request: None
        self.after: CloudError | None = None

    async def connect(self, deadline: float, *, method: str = "") -> None:
        assert method == "/wayword.v1.Telemetry/Report"

    async def call(self, method: str, request: Any, reply_class: Any, *, timeout: float) -> Any:  # noqa: ASYNC109
        self.calls.append(len(request.records))
        if (error := self.before(request)) is not None:
            raise error
        for record in request.records:
            check(record, text_allowed=True)
            self.duplicates += record.id in self.taken
            self.taken[record.id] = record
        if self.after is not None:
            raise self.after
        return ReportReply(accepted=len(request.records))


class World:
    """A phone that gathers, with a database of its own."""

    def __init__(self, folder: Path, *, text: bool = False, max_bytes: int = 1_000_000) -> None:
        self.clock = HandClock()
        self.database = Database(folder / "phone.sqlite3")
        self.store = TelemetryStore(self.database, max_bytes=max_bytes)
        self.channel = FakeChannel()
        self.events = EventLog(None, tier="phone", clock=self.clock)
        self.network = WIFI
        self.battery = Battery(80, charging=False)
        self.window = RadioWindow(self.clock)
        self.telemetry = Telemetry(
            self.store,
            self.channel,
            clock=self.clock,
            events=self.events,
            text=text,
            arms=lambda: {"beam": "wide"},
            network=lambda: self.network,
            battery=lambda: self.battery,
            thermal=lambda: Thermal.NORMAL,
            window=self.window,
            joules=lambda seconds: 12.4,
            backoff=Backoff(random.Random(1), first=60.0, cap=3600.0),
        )
        self.telemetry.start()

    async def gathered(self) -> list[TelemetryRecord]:
        assert await self.telemetry.flush()
        return self.store.all()

    def sent(
        self, *, tier: str = "TIER_PHONE", state: str = "READING_STATE_KEPT", text: str = "Rua da Saudade 17"
    ) -> None:
        """The daemon's own event about an answer that went to the glasses."""
        self.events.write(
            "reading_sent", content={"text": text, "translation": "Longing Street"}, frame_id=41, region_id=7,
            state=state, tier=tier, engine="ENGINE_PHRASEBOOK", since_strip_ms=123.456,
        )  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.database.close()


# What is gathered ------------------------------------------------------------------------------------


async def test_a_reading_leaves_a_few_coarse_numbers_and_known_words(world: World) -> None:
    world.sent()

    (record,) = await world.gathered()

    assert record.kind == "reading"
    assert dict(record.numbers) == {"since_strip_ms": 123.0}
    assert dict(record.labels) == {"state": "kept", "tier": "phone", "engine": "phrasebook"}
    assert dict(record.arms) == {"beam": "wide"}
    assert record.recorded_ms % 3_600_000 == 0
    assert "Saudade" not in str(record)


@pytest.mark.parametrize(
    ("text", "tier", "state", "told"),
    [
        (True, "TIER_CLOUD", "READING_STATE_REFINED", True),
        (True, "TIER_CLOUD", "READING_STATE_KEPT", False),  # known from others, and never sent from here
        (True, "TIER_PHONE", "READING_STATE_KEPT", False),
        (False, "TIER_CLOUD", "READING_STATE_REFINED", False),
    ],
)
async def test_a_text_is_told_only_when_opted_in_and_only_if_the_cloud_has_just_read_it(
    tmp_path: Path, text: bool, tier: str, state: str, told: bool
) -> None:
    world = World(tmp_path, text=text)
    world.sent(tier=tier, state=state, text="Saída")

    (record,) = await world.gathered()

    assert record.HasField("text") is told
    assert record.text == ("Saída" if told else "")
    world.database.close()


async def test_events_and_facts_that_are_on_no_list_leave_no_trace(world: World) -> None:
    world.events.write("started", cloud=True, address="home.example:50051")
    world.events.write("link", status="paired with Maria's glasses")
    world.events.write("reading_failed", region_id=7, error="PackCorrupt", reason="Rua da Saudade")
    world.events.write("storage_failed", error="SomethingOfMine", reason="/home/maria/phone.sqlite3")

    corrupt, strange = await world.gathered()

    assert dict(corrupt.labels) == {"what": "reading_failed", "error": "PackCorrupt"}
    assert dict(strange.labels) == {"what": "storage_failed", "error": "other"}
    assert not corrupt.numbers


async def test_calls_decisions_deliveries_and_crashes_are_gathered(world: World) -> None:
    world.events.write("decision", action="escalate", rule="no network", policy="cascade", network="wifi", gain=0.4)
    world.events.write("cloud_call", outcome="refined", ms=431.7, bytes_out=3001, bytes_in=190, attempts=2, hedged=True)
    world.events.write("reading_delivered", frame_id=1, seconds=0.0613, bytes_on_air=260)
    world.telemetry.crashed(errors.LinkLost("Rua da Saudade"))

    records = {record.kind: record for record in await world.gathered()}

    assert dict(records["decision"].labels)["rule"] == "no network"
    assert dict(records["cloud_call"].numbers) == {"ms": 432.0, "bytes_out": 3008.0, "bytes_in": 192.0, "attempts": 2.0}
    assert dict(records["cloud_call"].labels) == {"outcome": "refined", "hedged": "yes"}
    assert dict(records["link"].numbers) == {"ms": 61.0, "bytes": 256.0}
    assert dict(records["failure"].labels) == {"what": "crash", "error": "LinkLost"}


def test_the_lists_have_every_word_that_the_phone_uses() -> None:
    decision = KINDS["decision"].labels
    assert {rule.value for rule in Rule} < decision["rule"]
    assert {action.value for action in Action} < decision["action"]
    assert set(POLICY_NAMES) < decision["policy"]
    assert {kind.value for kind in NetworkKind} < decision["network"]
    assert {thermal.value for thermal in Thermal} < KINDS["power"].labels["thermal"]
    after_a_call = {outcome.value for outcome in Outcome} - {"kept", "held", "pending"}
    assert after_a_call < KINDS["cloud_call"].labels["outcome"]
    known = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, WaywordError)
    }
    assert ERRORS - known == {"other", "MemoryError"}


# Bounds ----------------------------------------------------------------------------------------------


async def test_above_the_cap_the_oldest_go_and_are_counted_and_the_count_is_reported(tmp_path: Path) -> None:
    world = World(tmp_path, max_bytes=10_000)
    for number in range(400):
        world.sent(text=str(number))
        if number % 20 == 19:
            await world.telemetry.flush()

    kept = await world.gathered()
    lost = world.store.lost()

    assert world.store.bytes_waiting() <= 10_000
    assert len(kept) + lost == 400
    await world.telemetry.send()
    reported = [record for record in world.channel.taken.values() if record.kind == "lost"]
    assert sum(record.numbers["records"] for record in reported) == lost
    assert world.store.lost() == 0
    world.database.close()


async def test_a_disk_that_refuses_costs_records_only_above_the_bound_in_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(TelemetryStore, "add", refuse)
    for _ in range(MAX_PENDING + 30):
        world.sent()
    assert not await world.telemetry.flush()
    assert not await world.telemetry.flush()
    monkeypatch.undo()
    kept = await world.gathered()

    # One of them says that the disk refused; it is said once, not at every try.
    assert [record.labels["what"] for record in kept if record.kind == "failure"] == ["storage_failed"]
    assert len(kept) == MAX_PENDING
    assert world.store.lost() == 31


async def test_what_the_cloud_would_no_longer_take_is_not_sent(world: World) -> None:
    world.sent()
    await world.telemetry.flush()
    world.clock.now += (MAX_AGE_DAYS + 1) * 86_400

    await world.telemetry.send()

    assert [record.kind for record in world.channel.taken.values()] == ["lost"]


# Sending ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "battery", "awake", "cheap"),
    [
        (WIFI, Battery(80, charging=False), False, True),
        (WIFI, Battery(None, charging=False), False, True),
        (WIFI, Battery(10, charging=False), False, False),
        (WIFI, Battery(10, charging=True), False, True),
        (WIFI, Battery(10, charging=False), True, True),
        (NetworkState(NetworkKind.WIFI, metered=True), Battery(80, charging=True), True, False),
        (NetworkState(NetworkKind.CELLULAR, metered=False), Battery(80, charging=False), False, False),
        (NetworkState(NetworkKind.CELLULAR, metered=False), Battery(80, charging=False), True, True),
        (NetworkState(NetworkKind.CELLULAR, metered=True), Battery(80, charging=False), True, False),
        (NetworkState(NetworkKind.UNKNOWN, metered=False), Battery(80, charging=True), False, False),
        (NetworkState(NetworkKind.CAPTIVE, metered=False), Battery(80, charging=True), True, False),
        (NetworkState(NetworkKind.NONE, metered=False), Battery(80, charging=True), False, False),
    ],
)
async def test_it_is_sent_only_when_that_is_cheap(
    world: World, network: NetworkState, battery: Battery, awake: bool, cheap: bool
) -> None:
    world.network, world.battery = network, battery
    if awake:
        world.window.passed(network.kind)
    world.sent()
    await world.telemetry.flush()

    await world.telemetry.send()

    assert is_cheap(network, battery, world.window) is cheap
    assert bool(world.channel.calls) is cheap


async def test_what_was_acknowledged_is_gone_and_what_was_not_is_sent_again(world: World) -> None:
    for _ in range(3):
        world.sent()
    await world.telemetry.flush()

    world.channel.after = CloudDeadline("the answer was lost")
    pause = await world.telemetry.send()
    assert (len(world.channel.taken), world.store.count()) == (3, 3)
    assert pause < SEND_EVERY_S

    world.channel.after = None
    await world.telemetry.send()
    assert (len(world.channel.taken), world.channel.duplicates, world.store.count()) == (3, 3, 0)


async def test_pauses_grow_while_the_cloud_is_away(world: World) -> None:
    world.sent()
    await world.telemetry.flush()
    world.channel.before = lambda request: CloudDeadline("no answer")

    pauses = [await world.telemetry.send() for _ in range(8)]

    assert pauses[0] <= 60.0
    assert 1800.0 <= pauses[-1] <= 3600.0
    assert world.store.count() == 1


async def test_a_record_that_the_cloud_chokes_on_is_found_and_does_not_hold_up_the_others(world: World) -> None:
    for _ in range(9):
        world.sent()
    await world.telemetry.flush()
    poison = world.store.all()[4].id

    def choke(request: ReportRequest) -> CloudError | None:
        found = any(record.id == poison for record in request.records)
        return CallRefused("malformed", Refusal.MALFORMED) if found else None

    world.channel.before = choke
    await world.telemetry.send()

    reading_ids = {record.id for record in world.channel.taken.values() if record.kind == "reading"}
    assert len(reading_ids) == 8
    assert poison not in reading_ids
    assert world.store.count() == 0


@pytest.mark.parametrize("refusal", [Refusal.DIRECTION, Refusal.OVERLOADED, Refusal.FORBIDDEN])
async def test_a_cloud_that_takes_no_telemetry_now_costs_no_record(world: World, refusal: Refusal) -> None:
    world.sent()
    await world.telemetry.flush()
    world.channel.before = lambda request: CallRefused("not here", refusal)

    await world.telemetry.send()

    assert world.store.count() == 1
    assert world.channel.calls == [1]


async def test_a_phone_that_dies_anywhere_between_two_steps_loses_nothing(tmp_path: Path) -> None:
    """Each kind of change fails once, at every statement; what the database then holds is what it held before."""
    first = World(tmp_path)
    for _ in range(4):
        first.sent()
    await first.telemetry.flush()
    before = [record.id for record in first.store.all()]

    steps: list[Callable[[], Any]] = [
        lambda: first.store.add([curated("power", recorded_s=NOW_S)] * 2, lost=3),
        lambda: first.store.delete(first.store.batch(), lost=True),
        lambda: first.store.clear(),
    ]
    for step in steps:
        for fails_at in range(2):
            first.database._connection.close()
            first.database._connection = dying(first.database, fails_at)
            with pytest.raises((StorageError, Dead)):
                step()
            first.database.close()
            first.database = Database(tmp_path / "phone.sqlite3")
            first.store = TelemetryStore(first.database, max_bytes=1_000_000)
            assert [record.id for record in first.store.all()] == before
            assert first.store.lost() == 0
    first.database.close()


class Dead(Exception):
    """The process is gone."""


def dying(database: Database, fails_at: int) -> Any:
    """A connection that ends in the middle of a transaction, before its statement number `fails_at`."""
    real = database._open()

    class Connection:
        def __init__(self) -> None:
            self.changes = 0

        def __enter__(self) -> Connection:
            real.__enter__()
            return self

        def __exit__(self, *_: object) -> None:
            real.close()  # nothing is committed, nothing rolled back: the file is left as it is

        def execute(self, statement: str, values: Any = ()) -> Any:
            if statement.lstrip().startswith(("INSERT", "DELETE", "UPDATE")):
                if self.changes == fails_at:
                    raise Dead
                self.changes += 1
            return real.execute(statement, values)

        def close(self) -> None:
            real.close()

    return Connection()


async def test_beside_the_daemon_it_keeps_sends_and_sums_up_by_the_clock(world: World) -> None:
    running = asyncio.create_task(world.telemetry.run())
    world.sent()
    await until(lambda: world.store.count() == 1)

    world.clock.now += 61
    await until(lambda: len(world.channel.taken) == 1)
    async with asyncio.timeout(30):
        while not any(record.kind == "power" for record in world.channel.taken.values()):
            world.clock.now += 10
            await asyncio.sleep(0.001)

    power = next(record for record in world.channel.taken.values() if record.kind == "power")
    assert dict(power.numbers) == {"percent": 80.0, "call_joules": 12.0}
    await until(lambda: world.store.count() == 0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    world.sent()
    await world.telemetry.close()
    assert world.store.count() == 1


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - another task makes it hold, and has no event
            await asyncio.sleep(0.001)


# The wearer looks ------------------------------------------------------------------------------------


async def test_show_prints_exactly_what_would_be_sent_and_delete_removes_it(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sent()
    await world.telemetry.flush()
    where = ["--database", str(world.database.path)]

    assert main(["telemetry", "show", *where]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    await world.telemetry.send()
    (record,) = world.channel.taken.values()
    assert json.loads(line) == {
        "id": record.id, "recorded_ms": str(record.recorded_ms), "kind": "reading",
        "numbers": {"since_strip_ms": 123.0},
        "labels": {"state": "kept", "tier": "phone", "engine": "phrasebook"},
        "arms": {"beam": "wide"},
    }  # fmt: skip

    world.sent()
    await world.telemetry.flush()
    assert main(["telemetry", "delete", *where]) == 0
    assert world.store.count() == 0


def test_looking_where_there_is_nothing_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "phone.sqlite3"

    assert main(["telemetry", "show", "--database", str(path)]) == 0

    assert capsys.readouterr().out == ""
    assert not path.exists()

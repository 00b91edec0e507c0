"""What phones report: only what is on the lists, each record once, in a file of bounded size."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from experiments_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.callers import ANYONE, Caller, Scope
from cloud.calls import Call
from cloud.refusals import Reason, Refusal
from cloud.telemetry.service import MAX_WAITING, TelemetryService
from cloud.telemetry.store import TelemetryStore
from shared.clock import SystemClock
from shared.errors import InputError, StorageError
from shared.events import EventLog
from shared.messages.wayword.v1.telemetry_pb2 import ReportReply, ReportRequest, TelemetryRecord
from shared.telemetry import HOUR_MS, KINDS, MAX_AGE_DAYS, MAX_RECORDS, check, curated, hour_of

NOW_S = 1_800_000_000.0
NOW_MS = int(NOW_S * 1000)
DAY_MS = 24 * HOUR_MS


def reading(*, at_s: float = NOW_S, ms: float = 120.0, **more: object) -> TelemetryRecord:
    labels = {"state": "kept", "tier": "phone", "engine": "phrasebook"}
    return curated("reading", recorded_s=at_s, numbers={"since_strip_ms": ms}, labels=labels, **more)  # type: ignore[arg-type]


def cloud_call(outcome: str, ms: float, arm: str) -> TelemetryRecord:
    labels = {"outcome": outcome, "hedged": "no"}
    return curated("cloud_call", recorded_s=NOW_S, numbers={"ms": ms}, labels=labels, arms={"beam": arm})


class Service:
    """The service with its file, as it is and after a restart."""

    def __init__(self, folder: Path, *, text_allowed: bool = False, max_bytes: int = 100_000_000) -> None:
        self.world = World(folder)
        self.world.clock.now = NOW_S
        self.path = folder / "telemetry.sqlite3"
        self.opened = 0

        def open_store() -> TelemetryStore:
            self.opened += 1
            return TelemetryStore(self.path, keep_days=30, max_bytes=max_bytes)

        self.service = TelemetryService(
            open_store,
            experiments=self.world.experiments,
            text_allowed=text_allowed,
            clock=self.world.clock,
            events=EventLog(None, tier="cloud", clock=SystemClock()),
            default_deadline_s=5.0,
            is_there=self.path.exists,
        )

    async def report(self, *records: TelemetryRecord, caller: Caller = ANYONE) -> ReportReply:
        return await self.service.report(ReportRequest(records=records), Call(caller, deadline=1e12))

    def store(self) -> TelemetryStore:
        return TelemetryStore(self.path, keep_days=30, max_bytes=100_000_000)


class RefusesToCommit:
    """A connection to a file on a full disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.full = True

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if statement == "COMMIT" and self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(statement, *values)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


# The lists -------------------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(sorted(KINDS)), value=st.floats(), word=st.text(max_size=40), at_s=st.floats(0, 4e9),
    data=st.data(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_whatever_goes_in_what_comes_out_keeps_the_rules(
    kind: str, value: float, word: str, at_s: float, data: st.DataObject
) -> None:
    rules = KINDS[kind]
    numbers = dict.fromkeys(rules.numbers, value)
    labels = dict.fromkeys((*rules.labels, *rules.versions), word)
    text = data.draw(st.none() | st.text(max_size=600))

    record = curated(kind, recorded_s=at_s, numbers=numbers, labels=labels, text=text)

    check(record, text_allowed=True)
    assert record.recorded_ms <= at_s * 1000 < record.recorded_ms + HOUR_MS
    assert not record.HasField("text") or rules.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.labels.update({"engine": "Rua da Saudade"}),
        lambda record: record.labels.update({"place": "kept"}),
        lambda record: record.numbers.update({"since_strip_ms": 120.4}),
        lambda record: record.numbers.update({"latitude": 41.0}),
        lambda record: record.numbers.update({"since_strip_ms": float("nan")}),
        lambda record: record.numbers.update({"since_strip_ms": -5.0}),
        lambda record: setattr(record, "recorded_ms", NOW_MS + 1),
        lambda record: setattr(record, "kind", "position"),
        lambda record: setattr(record, "id", "phone-17-000001"),
        lambda record: setattr(record, "text", "Rua da Saudade"),
        lambda record: record.arms.update({"beam": "Rua da Saudade"}),
        lambda record: record.arms.update({f"e{number}": "a" for number in range(17)}),
    ],
)
async def test_a_record_that_breaks_a_rule_is_refused_and_the_others_are_taken(
    service: Service, spoil: Callable[[TelemetryRecord], None]
) -> None:
    bad, good = reading(), reading()
    spoil(bad)
    with pytest.raises(InputError) as caught:
        check(bad, text_allowed=False)
    assert "Saudade" not in str(caught.value)

    reply = await service.report(bad, good)

    assert (reply.accepted, list(reply.refused)) == (1, [bad.id])


async def test_a_text_is_taken_only_where_the_operator_wants_it(tmp_path: Path) -> None:
    record = reading(text="Saída")
    (tmp_path / "no").mkdir()
    (tmp_path / "yes").mkdir()

    assert list((await Service(tmp_path / "no").report(record)).refused) == [record.id]
    allowing = Service(tmp_path / "yes", text_allowed=True)
    assert (await allowing.report(record)).accepted == 1
    assert allowing.path.stat().st_mode & 0o077 == 0, "what signs said is nobody else's"
    assert [stored.text for stored in allowing.store().records()] == ["Saída"]


# Once ------------------------------------------------------------------------------------------------


async def test_a_record_sent_again_counts_once_even_after_a_restart(tmp_path: Path) -> None:
    first = Service(tmp_path)
    records = [reading() for _ in range(5)]
    await first.report(*records)
    await first.service.close()

    again = Service(tmp_path)
    reply = await again.report(*records, reading())

    assert (reply.accepted, reply.duplicates) == (1, 5)
    assert [line.count for line in again.store().daily() if line.name == ""] == [6]


async def test_a_record_twice_in_one_report_counts_once(service: Service) -> None:
    record = reading()

    reply = await service.report(record, record)

    assert (reply.accepted, reply.duplicates) == (1, 1)


async def test_a_report_is_taken_whole_or_not_at_all(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [reading() for _ in range(3)]
    summed = 0

    def fail_at_the_third(*_: object) -> None:
        nonlocal summed
        summed += 1
        if summed == 3:
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(TelemetryStore, "_sum", fail_at_the_third)
    with pytest.raises(StorageError):
        await service.report(*records)
    monkeypatch.undo()

    assert (await service.report(*records)).accepted == 3


@pytest.mark.parametrize("days", [-1, MAX_AGE_DAYS + 1])
async def test_what_is_too_old_or_of_a_time_to_come_is_refused_for_good(service: Service, days: int) -> None:
    record = reading(at_s=NOW_S - days * 86_400)

    reply = await service.report(record)

    assert list(reply.refused) == [record.id]


async def test_nothing_of_the_sender_and_no_id_is_kept_with_a_record(service: Service) -> None:
    await service.report(reading(), caller=Caller(device="marias-phone"))

    (stored,) = service.store().records()
    assert stored.id == ""
    assert b"marias-phone" not in b"".join(path.read_bytes() for path in service.path.parent.glob("telemetry*"))


async def test_a_disk_that_refused_once_is_written_to_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.report(reading())
    store = service.service._store
    assert store is not None
    refusing = RefusesToCommit(store._connection)
    store._connection = refusing  # type: ignore[assignment]
    with pytest.raises(StorageError):
        await service.report(reading())
    refusing.full = False

    assert (await service.report(reading())).accepted == 1
    assert len(list(service.store().records())) == 2


async def test_what_is_too_old_goes_also_where_nobody_reports_any_more(tmp_path: Path) -> None:
    before = Service(tmp_path, text_allowed=True)
    await before.report(reading(text="Saída"))
    await before.service.close()

    after = Service(tmp_path)
    after.world.clock.now += 31 * 86_400
    upkeep = asyncio.create_task(after.service.upkeep())
    kept = after.store()
    async with asyncio.timeout(20):
        while list(kept.records()):  # noqa: ASYNC110 - a thread deletes, and has no event
            await asyncio.sleep(0.005)
    kept.close()
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)
    await after.service.close()


async def test_a_service_that_was_never_reported_to_makes_no_file(service: Service) -> None:
    await asyncio.to_thread(service.service._prune)

    assert service.opened == 0
    assert not service.path.exists()


# Bounds ----------------------------------------------------------------------------------------------


async def test_a_full_file_loses_its_oldest_records_first_and_never_counts_a_duplicate(tmp_path: Path) -> None:
    store = TelemetryStore(tmp_path / "t.sqlite3", keep_days=30, max_bytes=1)
    old, new = reading(at_s=NOW_S - 7200), reading()
    store.take([old, new], now_ms=NOW_MS, known_arms=lambda arms: arms)

    store.prune(now_ms=NOW_MS)

    # Nothing fits into one byte: the records went, then the ids, hour by hour, and with them the right to those hours.
    assert list(store.records()) == []
    taken = store.take([old, new], now_ms=NOW_MS, known_arms=lambda arms: arms)
    assert (len(taken.fresh), list(taken.too_old)) == (0, [old.id, new.id])
    assert store.daily() == []
    store.close()


async def test_old_records_and_ids_are_deleted_by_their_age(tmp_path: Path) -> None:
    store = TelemetryStore(tmp_path / "t.sqlite3", keep_days=3, max_bytes=10**9)
    store.take([reading()], now_ms=NOW_MS, known_arms=lambda arms: arms)

    store.prune(now_ms=NOW_MS + 4 * DAY_MS)
    assert list(store.records()) == []
    assert store.daily(), "sums are kept for longer"
    store.prune(now_ms=NOW_MS + 500 * DAY_MS)
    assert store.daily() == []
    store.close()


async def test_too_many_records_and_one_without_an_id_are_refused_as_a_whole(service: Service) -> None:
    for records in ([reading()] * (MAX_RECORDS + 1), [reading(), TelemetryRecord(kind="reading")]):
        with pytest.raises(Refusal) as caught:
            await service.report(*records)
        assert caught.value.reason is Reason.MALFORMED
    assert service.opened == 0, "the file is made with the first report that is taken"


async def test_who_may_not_report_is_refused(service: Service) -> None:
    with pytest.raises(Refusal) as caught:
        await service.report(reading(), caller=Caller(scopes=frozenset({Scope.READ})))
    assert caught.value.reason is Reason.FORBIDDEN


async def test_a_slow_disk_turns_phones_away_with_a_time_to_come_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    gate = threading.Event()
    take = TelemetryStore.take

    def slow(*arguments: object, **more: object) -> object:
        assert gate.wait(30)
        return take(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(TelemetryStore, "take", slow)
    waiting = [asyncio.create_task(service.report(reading())) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)

    with pytest.raises(Refusal) as caught:
        await service.report(reading())

    gate.set()
    assert sum([reply.accepted for reply in await asyncio.gather(*waiting)]) == MAX_WAITING
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.retry_after_s


async def test_a_file_that_is_no_database_is_a_typed_error(service: Service) -> None:
    service.path.write_bytes(b"not a database at all, but long enough to be looked at" * 20)

    with pytest.raises(StorageError):
        await service.report(reading())


# What it is for --------------------------------------------------------------------------------------


async def test_what_phones_say_of_their_calls_is_counted_for_their_arm(service: Service) -> None:
    await service.report(
        cloud_call("confirmed", 300, "wide"), cloud_call("refined", 500, "wide"), cloud_call("deadline", 3000, "wide"),
        cloud_call("confirmed", 100, "control"), cloud_call("confirmed", 100, "gone"),
    )  # fmt: skip

    wide = service.world.experiments.metrics["beam", "wide"]
    assert wide.phone_calls == 3
    assert (wide.phone_agreement.value, wide.phone_better.value) == (0.5, 0.5)
    assert ("beam", "gone") not in service.world.experiments.metrics


async def test_sums_are_by_day_and_arm(service: Service) -> None:
    await service.report(cloud_call("refined", 300, "wide"), cloud_call("refined", 500, "wide"), reading())

    sums = {(line.kind, line.arm, line.name, line.word): (line.count, line.total) for line in service.store().daily()}
    assert sums["cloud_call", "wide", "ms", ""] == (2, 800.0)
    assert sums["cloud_call", "", "ms", ""] == (2, 800.0)
    assert sums["cloud_call", "wide", "outcome", "refined"] == (2, 0.0)
    assert sums["reading", "", "", ""] == (1, 0.0)
    assert not [key for key in sums if key[1] not in {"", "wide"}]


def test_an_hour_is_all_that_a_record_says_of_its_time() -> None:
    assert hour_of(NOW_S + 1799.9) % HOUR_MS == 0
    assert uuid.UUID(hex=reading().id).version == 4, "an id with a time in it would tell more than the hour"

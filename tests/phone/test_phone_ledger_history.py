"""Files of an older Wayword, and clocks that jump: what the ledger, the budget and the consent make of them."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phone.cascade.decision import Action, Decision, Rule
from phone.cascade.inputs import Recogniser, Signals
from phone.database import MIGRATIONS, Database
from phone.ledger import CLOCK_SLACK_S, Consent, Ledger
from phone.ledger_cli import describe, parse_since
from phone.ledger_rows import Outcome, Setting, Sign
from shared.errors import StorageError, UsageError
from shared.models.estimate import Estimate

NOW = 1_800_000_000.0
DAY = 86_400.0
SIGN = Sign(7, 3, "translator", "pt", "en", "Saída")
SIGNALS = Signals(0.4, 1.0, 0.9, 0.8, None, Recogniser.TINY, None, 5_000, estimate=Estimate(0.3, 0.5, 0.01))
ESCALATE = Decision(Action.ESCALATE, Rule.UNCERTIFIED, "unsure", 0.3, 0.03)
KEEP = Decision(Action.KEEP, Rule.SURE, "sure enough", 0.01, 0.03, certified=True)


class TwoClocks:
    """A wall clock that somebody sets, and a steady one that nobody does."""

    def __init__(self) -> None:
        self.wall_now = NOW
        self.steady = 50.0

    def pass_time(self, seconds: float) -> None:
        self.wall_now += seconds
        self.steady += seconds

    def monotonic(self) -> float:
        return self.steady

    def wall(self) -> float:
        return self.wall_now

    async def sleep(self, seconds: float) -> None:
        self.pass_time(seconds)


@pytest.fixture
def clock() -> TwoClocks:
    return TwoClocks()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "phone.sqlite3"


def make_old_file(path: Path) -> None:
    """A file as the first version wrote it, with one sign kept and one asked about."""
    connection = sqlite3.connect(path)
    connection.executescript(f"BEGIN; {MIGRATIONS[0]} PRAGMA user_version = 1; COMMIT;")
    row = "(?, ?, 1, 2, ?, ?, 'why', 0.3, 0.03, ?, ?, ?, 0.4, 1, 0.9, 0.8, 'copy', '', 'en', NULL)"
    with connection:
        connection.execute(f"INSERT INTO ledger VALUES {row}", (1, NOW - 2 * DAY, 0, "sure", 0, "kept", None))
        connection.execute(f"INSERT INTO ledger VALUES {row}", (2, NOW - 60, 1, "unsure", 4_000, "refined", 250.0))
        connection.execute("INSERT INTO consent VALUES (1, ?)", (NOW + 600,))
    connection.close()


def test_a_file_of_the_first_version_opens_and_keeps_its_rows(path: Path, clock: TwoClocks) -> None:
    make_old_file(path)
    database = Database(path)
    ledger = Ledger(database, clock=clock)
    asked, kept = ledger.entries(limit=10)
    assert (kept.action, kept.outcome, kept.bytes_out, kept.certified) == (Action.KEEP, Outcome.KEPT, 0, False)
    assert (asked.action, asked.outcome, asked.cloud_ms) == (Action.ESCALATE, Outcome.REFINED, 250.0)
    assert (asked.policy, asked.network, asked.joules, asked.right_chance, asked.bytes_in) == (None,) * 4 + (0,)
    assert ledger.bytes_today() == 4_000
    assert Consent(database, clock=clock).given()
    ledger.record(SIGN, SIGNALS, ESCALATE)
    assert ledger.bytes_today() == 9_000
    database.close()
    again = Database(path)
    assert len(Ledger(again, clock=clock).entries(limit=10)) == 3
    again.close()


def test_an_old_file_can_be_looked_at_without_being_changed(path: Path, clock: TwoClocks) -> None:
    make_old_file(path)
    before = path.read_bytes()
    database = Database(path, read_only=True)
    ledger = Ledger(database, clock=clock)
    assert [entry.action for entry in ledger.entries(limit=10)] == [Action.ESCALATE, Action.KEEP]
    assert [entry.id for entry in ledger.entries(limit=10, left=True)] == [2]
    assert [(count.action, count.rule) for count in ledger.by_rule()] == [
        (Action.ESCALATE, "unsure"),
        (Action.KEEP, "sure"),
    ]
    assert sum(day.bytes_out for day in ledger.by_day()) == 4_000
    assert ledger.bytes_today() == 4_000
    assert "4000 B left  why -> refined in 0.25 s" in describe(ledger.entries(limit=1)[0])
    database.close()
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_old_file_whole(path: Path, clock: TwoClocks) -> None:
    make_old_file(path)
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE ledger ADD COLUMN budget_time REAL")  # somebody tampered with it
    connection.close()
    with pytest.raises(StorageError):
        Database(path)
    database = Database(path, read_only=True)
    assert len(Ledger(database, clock=clock).entries(limit=10)) == 2
    assert "action" not in database.columns("ledger")
    database.close()


def test_several_that_open_an_old_file_at_once_migrate_it_once(path: Path) -> None:
    make_old_file(path)
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(lambda _: Database(path), range(4)))
    assert all(database.columns("ledger") >= {"action", "budget_time"} for database in opened)
    for database in opened:
        database.close()


def test_a_row_holds_what_was_decided_upon_and_what_came_of_it(path: Path, clock: TwoClocks) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=clock, cloud="cloud.example:443")
    ledger.record(SIGN, SIGNALS, KEEP, Setting("cascade", "wifi"))
    row = ledger.record(SIGN, SIGNALS, ESCALATE, Setting("cascade", "cellular", 13.5), attempts=2)
    # Before the call it is not known whether it goes out once or twice.
    assert ledger.entries(limit=1)[0].bytes_out == 10_000
    ledger.close_call(row, Outcome.CONFIRMED, bytes_out=5_000, bytes_in=700, hedged=True, cloud_ms=900.0)
    asked, kept = ledger.entries(limit=2)
    assert (kept.certified, kept.cloud, kept.joules) == (True, "", None)
    assert (asked.right_chance, asked.helped_chance, asked.harmed_chance) == (0.3, 0.5, 0.01)
    assert (asked.policy, asked.network, asked.joules) == ("cascade", "cellular", 13.5)
    line = describe(asked)
    assert "5000 B left to cloud.example:443 over cellular  unsure -> confirmed in 0.90 s, asked twice" in line
    assert [entry.id for entry in ledger.entries(limit=9, left=True)] == [row]
    assert ledger.entries(limit=9, since=NOW + 1) == []
    database.close()


def test_a_number_that_is_none_does_not_lose_the_row(path: Path, clock: TwoClocks) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=clock)
    odd = Signals(float("nan"), float("inf"), 0.9, 0.8, None, Recogniser.TINY, None, 5_000)
    ledger.record(SIGN, odd, KEEP)
    assert ledger.entries(limit=1)[0].reason == "sure enough"
    database.close()


def test_a_call_whose_row_is_gone_or_was_decided_must_not_go_out(path: Path, clock: TwoClocks) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=clock)
    asked = ledger.record(SIGN, SIGNALS, ESCALATE)
    for row in (asked, asked + 1):
        with pytest.raises(StorageError):
            ledger.release(row, request_bytes=5_000, attempts=2, held_ms=1.0)
    assert ledger.bytes_today() == 5_000
    database.close()


def test_old_rows_go_but_none_that_the_days_budget_counts(
    path: Path, clock: TwoClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phone.ledger.MAX_ROWS", 3)
    database = Database(path)
    old, today = Ledger(database, clock=clock), Ledger(database, clock=clock)
    old.record(SIGN, SIGNALS, ESCALATE)
    clock.pass_time(DAY)
    counted = old.record(SIGN, SIGNALS, ESCALATE)
    for _ in range(6):
        old.record(SIGN, SIGNALS, KEEP)
    # A daemon that was started anew prunes with its first row.
    last = today.record(SIGN, SIGNALS, KEEP)
    assert [entry.id for entry in today.entries(limit=100)] == [last, last - 1, last - 2, last - 3, counted]
    assert today.bytes_today() == 5_000
    database.close()


# Clocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-30 * DAY, -3_600.0, 3_600.0, 30 * DAY])
def test_a_wall_clock_that_is_set_does_not_refill_the_budget(path: Path, clock: TwoClocks, jump: float) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=clock)
    ledger.record(SIGN, SIGNALS, ESCALATE)
    clock.wall_now += jump
    assert ledger.bytes_today() == 5_000
    ledger.record(SIGN, SIGNALS, ESCALATE)
    assert ledger.bytes_today() == 10_000
    clock.pass_time(DAY)
    assert ledger.bytes_today() == 0  # and it is refilled by a day that really passed
    database.close()


def test_a_clock_that_is_behind_at_a_start_does_not_refill_the_budget(path: Path, clock: TwoClocks) -> None:
    database = Database(path)
    Ledger(database, clock=clock).record(SIGN, SIGNALS, ESCALATE)
    clock.wall_now = 0.0  # a phone that knows no date before the network tells
    clock.steady = 3.0
    ledger = Ledger(database, clock=clock)
    assert ledger.bytes_today() == 5_000
    clock.pass_time(DAY / 2)
    clock.wall_now = NOW + DAY / 2
    assert ledger.bytes_today() == 5_000
    clock.pass_time(DAY / 2)
    assert ledger.bytes_today() == 0
    database.close()


def test_the_budget_counts_time_asleep_by_the_time_since_boot(path: Path, clock: TwoClocks) -> None:
    """Linux' monotonic clock stands still in suspend: by it alone a day would last a week."""
    since_boot = [100.0]
    database = Database(path)
    ledger = Ledger(database, clock=clock, elapsed=lambda: since_boot[0])
    ledger.record(SIGN, SIGNALS, ESCALATE)
    since_boot[0] += DAY
    assert ledger.bytes_today() == 0
    database.close()


def test_a_clock_that_is_set_back_does_not_prolong_the_consent(path: Path, clock: TwoClocks) -> None:
    database = Database(path)
    consent = Consent(database, clock=clock)
    consent.give(seconds=600)
    clock.wall_now -= CLOCK_SLACK_S / 2  # being corrected
    assert consent.given()
    clock.wall_now -= DAY
    assert not consent.given()
    database.close()


@pytest.mark.parametrize(("text", "ago"), [("90m", 5_400.0), ("24h", DAY), ("7d", 7 * DAY)])
def test_an_age_is_a_time(text: str, ago: float) -> None:
    assert parse_since(text, now=NOW) == NOW - ago


@pytest.mark.parametrize("text", ["yesterday", "24", "-1h", "2026-13-01", ""])
def test_what_is_no_time_is_one_clear_error(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        parse_since(text, now=NOW)

"""Ledger, consent and cache on one SQLite file: what they keep, and what they survive."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from phone.cache import TranslationCache, cache_key
from phone.cascade.decision import Action
from phone.cascade.policy import Decision, Recogniser, Rule, Signals
from phone.database import MIGRATIONS, Database
from phone.ledger import Consent, Ledger
from phone.ledger_rows import Outcome, Sign
from phone.readings import Meaning
from shared.errors import StorageError
from shared.models.sign_translation import NoTranslation, TranslationEngine

SIGNALS = Signals(0.4, 1.0, 0.9, 0.8, None, Recogniser.TINY, None, 5_000)
KEEP = Decision(Action.KEEP, Rule.SURE, "sure enough", 0.01, 0.03)
ESCALATE = Decision(Action.ESCALATE, Rule.UNSURE, "unsure of the text (40%)", 0.3, 0.03)
SIGN = Sign(7, 3, "translator", "pt", "en", "Saída")
MEANING = Meaning("Exit", TranslationEngine.PHRASEBOOK, None, "pt", 1.0, 0.97, "phrasebook", "")


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.now = wall

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "phone.sqlite3"


def _record_often(ledger: Ledger) -> None:
    for _ in range(200):
        ledger.record(SIGN, SIGNALS, KEEP)


def _cache(database: Database, clock: SetClock, errors: list[StorageError], entries: int = 100) -> TranslationCache:
    return TranslationCache(database, clock=clock, max_entries=entries, on_error=errors.append)


def test_every_decision_has_a_row_with_its_reason(path: Path, clock: SetClock) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=clock)
    ledger.record(SIGN, SIGNALS, KEEP)
    row = ledger.record(SIGN, SIGNALS, ESCALATE)
    pending, kept = ledger.entries(limit=10)
    assert (kept.escalate, kept.reason, kept.bytes_out, kept.outcome) == (False, "sure enough", 0, Outcome.KEPT)
    assert (pending.escalate, pending.bytes_out, pending.outcome) == (True, 5_000, Outcome.PENDING)
    ledger.close_call(row, Outcome.REFINED, bytes_out=5_120, cloud_ms=310.0)
    assert ledger.entries(limit=1)[0].outcome is Outcome.REFINED
    assert ledger.entries(limit=1)[0].cloud_ms == 310.0
    assert ledger.bytes_today() == 5_120
    database.close()


def test_the_ledger_keeps_no_text_unless_asked(path: Path, clock: SetClock) -> None:
    database = Database(path)
    Ledger(database, clock=clock).record(SIGN, SIGNALS, KEEP)
    Ledger(database, clock=clock, keep_text=True).record(SIGN, SIGNALS, KEEP)
    with_text, without = Ledger(database, clock=clock).entries(limit=2)
    assert without.text is None
    assert with_text.text == "Saída"
    database.close()
    path.with_name("phone.sqlite3-wal").unlink(missing_ok=True)


def test_the_budget_begins_anew_every_day(path: Path, clock: SetClock) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=clock)
    ledger.record(SIGN, SIGNALS, ESCALATE)
    assert ledger.bytes_today() == 5_000
    clock.now += 86_400
    assert ledger.bytes_today() == 0
    database.close()


def test_consent_ends_by_itself_and_on_request(path: Path, clock: SetClock) -> None:
    database = Database(path)
    consent = Consent(database, clock=clock)
    assert not consent.given()
    consent.give(seconds=60)
    assert consent.given()
    clock.now += 61
    assert not consent.given()
    consent.give(seconds=60)
    consent.withdraw()
    assert not consent.given()
    database.close()


def test_a_sign_seen_again_is_answered_from_memory_after_a_restart(path: Path, clock: SetClock) -> None:
    errors: list[StorageError] = []
    key = cache_key(["Saída  ", "de"], target="en", engines=["mt-pt-en-1"], expected=())
    database = Database(path)
    _cache(database, clock, errors).put(key, MEANING)
    database.close()
    again = Database(path)
    same = cache_key(["Saída", "de"], target="en", engines=["mt-pt-en-1"], expected=())
    assert _cache(again, clock, errors).get(same) == MEANING
    for other in (
        cache_key(["Saida", "de"], target="en", engines=["mt-pt-en-1"], expected=()),
        cache_key(["Saída", "de"], target="en", engines=["mt-pt-en-2"], expected=()),
        cache_key(["Saída", "de"], target="fr", engines=["mt-pt-en-1"], expected=()),
        cache_key(["Saída", "de"], target="en", engines=["mt-pt-en-1"], expected=("pt",)),
        cache_key(["Saída de"], target="en", engines=["mt-pt-en-1"], expected=()),
    ):
        assert _cache(again, clock, errors).get(other) is None
    assert errors == []
    again.close()


def test_a_reason_survives_the_cache(path: Path, clock: SetClock) -> None:
    database = Database(path)
    cache = _cache(database, clock, [])
    partly = Meaning(
        "Exit\nxyz", TranslationEngine.PHRASEBOOK, NoTranslation.DIRECTION_UNSUPPORTED, "pt", 1, 0.5, "phrasebook", ""
    )
    cache.put("k", partly)
    assert cache.get("k") == partly
    database.close()


def test_the_least_recently_used_translations_are_forgotten_first(path: Path, clock: SetClock) -> None:
    database = Database(path)
    cache = _cache(database, clock, [], entries=50)
    for number in range(100):
        clock.now += 1
        if number == 99:
            clock.now += 7_200
            assert cache.get("0") is not None  # used again, long after it was stored
        cache.put(str(number), MEANING)
    assert cache.get("0") is not None
    assert cache.get("1") is None
    assert cache.get("99") is not None
    assert database.query("SELECT COUNT(*) FROM translations") == [(50,)]
    database.close()


def test_an_entry_of_another_version_is_translated_anew(path: Path, clock: SetClock) -> None:
    database = Database(path)
    database.execute("INSERT INTO translations VALUES ('k', '{\"engine\": \"telepathy\"}', 0)")
    assert _cache(database, clock, []).get("k") is None
    database.close()


@pytest.mark.parametrize("content", [b"this is no database " * 500, b"SQLite format 3\x00" + b"\xff" * 8_000])
def test_a_file_that_is_no_database_is_set_aside(path: Path, clock: SetClock, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.with_name(path.name + ".corrupt-1").write_bytes(b"from last time")
    aside: list[Path] = []
    database = Database(path, on_set_aside=aside.append)
    Ledger(database, clock=clock).record(SIGN, SIGNALS, KEEP)
    assert aside == [path.with_name(path.name + ".corrupt-2")]
    assert aside[0].read_bytes() == content
    database.close()


def test_damage_found_while_running_is_survived(path: Path, clock: SetClock) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=clock, keep_text=True)
    for _ in range(200):
        ledger.record(SIGN, SIGNALS, KEEP)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    aside: list[Path] = []
    running = Database(path, on_set_aside=aside.append)
    size = path.stat().st_size
    with path.open("r+b") as file:  # everything behind the first page
        file.seek(4_096)
        file.write(os.urandom(size - 4_096))
    running.query("PRAGMA shrink_memory")  # what SQLite remembers of the pages hides the damage
    running.query("SELECT * FROM ledger")
    assert len(aside) == 1
    Ledger(running, clock=clock).record(SIGN, SIGNALS, KEEP)
    assert len(Ledger(running, clock=clock).entries(limit=10)) == 1
    running.close()


def test_a_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="newer Wayword"):
        Database(path)
    assert path.read_bytes() == before


def test_a_full_disk_is_reported_and_the_database_stays_usable(path: Path, clock: SetClock) -> None:
    database = Database(path, max_pages=24)
    errors: list[StorageError] = []
    cache = _cache(database, clock, errors)
    for number in range(200):
        cache.put(str(number), MEANING)
    assert errors
    assert "full" in errors[0].message
    assert cache.get("0") == MEANING
    ledger = Ledger(database, clock=clock)
    with pytest.raises(StorageError, match="full"):
        _record_often(ledger)
    assert ledger.bytes_today() == 0
    database.close()


def test_a_disk_too_full_for_a_new_database_is_left_as_it_was(path: Path) -> None:
    with pytest.raises(StorageError, match="full"):
        Database(path, max_pages=2)
    assert list(path.parent.iterdir()) == []


def test_a_path_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--database"):
        Database(tmp_path / "file" / "phone.sqlite3")
    with pytest.raises(StorageError, match="--database"):
        Database(tmp_path)


def test_a_reader_beside_the_daemon_changes_nothing(path: Path, clock: SetClock) -> None:
    daemon = Database(path)
    Ledger(daemon, clock=clock).record(SIGN, SIGNALS, KEEP)
    reader = Database(path, read_only=True)
    assert len(Ledger(reader, clock=clock).entries(limit=10)) == 1
    with pytest.raises(StorageError, match="readonly"):
        Ledger(reader, clock=clock).record(SIGN, SIGNALS, KEEP)
    reader.close()
    daemon.close()


def test_a_reader_sets_no_file_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database " * 500)
    with pytest.raises(StorageError):
        Database(path, read_only=True)
    assert sorted(path.parent.iterdir()) == [path]

"""What phones reported, in one SQLite file of bounded size: single records for a while, sums by day and arm for longer,
and the ids that were taken, so that a record sent twice counts once.

The file remembers nothing about who sent a record. When it is full, single records go first; then ids, oldest hour
first, and with an hour's ids goes the right to send records of that hour (`horizon`); then the sums, oldest day first.
So a duplicate is never counted, however small the file: what might be one is refused.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from shared.errors import StorageError
from shared.messages.wayword.v1 import telemetry_pb2
from shared.telemetry import HOUR_MS, MAX_AGE_DAYS

DAY_MS: Final = 86_400_000
AHEAD_MS: Final = 2 * HOUR_MS
"""How far a phone's clock may be ahead."""
DAILY_DAYS: Final = 400
"""Days for which sums are kept: a year, to compare with."""
_PRUNE_ROWS: Final = 5_000
_BUSY_S: Final = 2.0
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS ids (id BLOB PRIMARY KEY, hour INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS ids_by_hour ON ids (hour);
    CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, hour INTEGER NOT NULL, record BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS records_by_hour ON records (hour);
    CREATE TABLE IF NOT EXISTS daily (
        day TEXT NOT NULL, kind TEXT NOT NULL, experiment TEXT NOT NULL, arm TEXT NOT NULL,
        name TEXT NOT NULL, word TEXT NOT NULL, count INTEGER NOT NULL, total REAL NOT NULL,
        PRIMARY KEY (day, kind, experiment, arm, name, word)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS horizon (one INTEGER PRIMARY KEY CHECK (one = 1), hour INTEGER NOT NULL);
    INSERT OR IGNORE INTO horizon VALUES (1, 0);
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a report.

    Attributes:
        fresh: records that counted.
        duplicates: how many had come before.
        too_old: ids of those that are too old, or of a time to come.
    """

    fresh: Sequence[telemetry_pb2.TelemetryRecord]
    duplicates: int
    too_old: Sequence[str]


@dataclass(frozen=True, slots=True)
class DaySum:
    """One line of the sums. `word` is empty for a number, and so is `name` for the count of records."""

    day: str
    kind: str
    experiment: str
    arm: str
    name: str
    word: str
    count: int
    total: float


class TelemetryStore:
    """The file. Several threads may use it.

    Args:
        path: of the file; its folder is made when missing.
        keep_days: for which single records are kept.
        max_bytes: size of the file at most.

    Raises:
        StorageError: it cannot be opened.
    """

    def __init__(self, path: Path, *, keep_days: int, max_bytes: int) -> None:
        self._path = path
        self._keep_days = keep_days
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)  # it may hold what signs said
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._cannot("open", error) from error
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A phone deletes what was acknowledged: it must be on the disk by then.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            self._connection.close()
            raise self._cannot("open", error) from error

    def take(
        self,
        records: Sequence[telemetry_pb2.TelemetryRecord],
        *,
        now_ms: int,
        known_arms: Callable[[Mapping[str, str]], Mapping[str, str]],
    ) -> Taken:
        """Store a report in one transaction: it is taken whole, or not at all.

        Args:
            records: checked (`shared.telemetry.check`).
            now_ms: wall time.
            known_arms: those of a record's arms that there are; others are not counted for any arm.

        Raises:
            StorageError: the disk refuses; nothing was taken.
        """
        with self._lock:
            try:
                self._make_room()
                with self._transaction():
                    taken = self._take(records, now_ms, known_arms)
            except sqlite3.Error as error:
                raise self._cannot("write", error) from error
            return taken

    def prune(self, *, now_ms: int) -> None:
        """Delete what is too old, and the oldest of a file that is too large.

        Raises:
            StorageError: the disk refuses.
        """
        with self._lock:
            try:
                execute = self._connection.execute
                execute("DELETE FROM records WHERE hour < ?", (now_ms - self._keep_days * DAY_MS,))
                execute("DELETE FROM ids WHERE hour < ?", (now_ms - (MAX_AGE_DAYS + 1) * DAY_MS,))
                execute("DELETE FROM daily WHERE day < ?", (_day(now_ms - DAILY_DAYS * DAY_MS),))
                self._make_room()
            except sqlite3.Error as error:
                raise self._cannot("write", error) from error

    def daily(self) -> list[DaySum]:
        """All sums, by day.

        Raises:
            StorageError: the file cannot be read.
        """
        return [DaySum(*row) for row in self._rows("SELECT * FROM daily ORDER BY day, kind, experiment, arm, name")]

    def records(self) -> Iterable[telemetry_pb2.TelemetryRecord]:
        """Single records, oldest first, without their ids.

        Raises:
            StorageError: the file cannot be read.
        """
        rows = self._rows("SELECT record FROM records ORDER BY number")
        return [telemetry_pb2.TelemetryRecord.FromString(row[0]) for row in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _take(
        self,
        records: Sequence[telemetry_pb2.TelemetryRecord],
        now_ms: int,
        known_arms: Callable[[Mapping[str, str]], Mapping[str, str]],
    ) -> Taken:
        execute = self._connection.execute
        horizon = max(int(execute("SELECT hour FROM horizon").fetchone()[0]), now_ms - MAX_AGE_DAYS * DAY_MS)
        fresh: list[telemetry_pb2.TelemetryRecord] = []
        too_old: list[str] = []
        duplicates = 0
        for record in records:
            if not horizon < record.recorded_ms <= now_ms + AHEAD_MS:
                too_old.append(record.id)
                continue
            new = execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (bytes.fromhex(record.id), record.recorded_ms))
            if not new.rowcount:
                duplicates += 1
                continue
            fresh.append(record)
            stored = telemetry_pb2.TelemetryRecord()
            stored.CopyFrom(record)
            stored.ClearField("id")
            execute(
                "INSERT INTO records (hour, record) VALUES (?, ?)", (record.recorded_ms, stored.SerializeToString())
            )
            self._sum(record, known_arms(dict(record.arms)))
        return Taken(fresh, duplicates, too_old)

    def _sum(self, record: telemetry_pb2.TelemetryRecord, arms: Mapping[str, str]) -> None:
        day = _day(record.recorded_ms)
        items = [("", "", 0.0)]
        items += [(name, "", value) for name, value in record.numbers.items()]
        items += [(name, word, 0.0) for name, word in record.labels.items()]
        self._connection.executemany(
            "INSERT INTO daily VALUES (?, ?, ?, ?, ?, ?, 1, ?)"
            " ON CONFLICT DO UPDATE SET count = count + 1, total = total + excluded.total",
            [
                (day, record.kind, experiment, arm, *item)
                for experiment, arm in (("", ""), *arms.items())
                for item in items
            ],
        )

    def _make_room(self) -> None:
        while self._used() > self._max_bytes and self._shrink():
            pass

    def _used(self) -> int:
        pages, free, size = (
            int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _shrink(self) -> bool:
        """Delete some of the oldest; False when nothing is left that may go."""
        execute = self._connection.execute
        oldest = "SELECT number FROM records ORDER BY number LIMIT ?"
        if execute(f"DELETE FROM records WHERE number IN ({oldest})", (_PRUNE_ROWS,)).rowcount:
            return True
        hour = execute("SELECT MIN(hour) FROM ids").fetchone()[0]
        if hour is None:
            return bool(execute("DELETE FROM daily WHERE day = (SELECT MIN(day) FROM daily)").rowcount)
        with self._transaction():
            execute("UPDATE horizon SET hour = MAX(hour, ?)", (hour,))
            execute("DELETE FROM ids WHERE hour <= ?", (hour,))
        return True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # Also where the disk refused the commit: left open, it would keep every later one from beginning.
            self._connection.rollback()
            raise

    def _rows(self, statement: str) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(statement).fetchall()
            except sqlite3.Error as error:
                raise self._cannot("read", error) from error

    def _cannot(self, do: str, error: sqlite3.Error | OSError) -> StorageError:
        what = error.strerror if isinstance(error, OSError) else str(error)
        return StorageError(f"cannot {do} the telemetry {self._path}: {what}")


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).strftime("%Y-%m-%d")

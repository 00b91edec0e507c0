"""Telemetry that waits on the phone: a table of bounded size in the phone's database.

Each step is one transaction, so that the phone may die between any two: a record is either there or was counted as
lost, and one that is sent stays until the cloud has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from phone.database import Database, Value
from shared.messages.wayword.v1 import telemetry_pb2
from shared.telemetry import MAX_AGE_DAYS, MAX_RECORDS, curated

ROW_BYTES: Final = 32
"""Counted for each record on top of its own size: what SQLite needs around it."""
MAX_BATCH_BYTES: Final = 128 * 1024
"""Largest batch: a quarter of what a call may carry."""
_ROOM: Final = 0.9
"""Of the cap, left filled when the oldest had to go: not every record then costs a deletion."""
_LOST: Final = "telemetry_lost"
_COUNT_CHANGED: Final = (
    "INSERT INTO kept (key, value) VALUES (?, CAST(changes() AS TEXT))"
    " ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + CAST(excluded.value AS INTEGER) AS TEXT)"
)
"""Add the rows that the statement before has changed to a count."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record with its row."""

    row: int
    record: telemetry_pb2.TelemetryRecord


class TelemetryStore:
    """The table. Several threads may use it.

    Args:
        database: the phone's.
        max_bytes: of the records that wait.
    """

    def __init__(self, database: Database, *, max_bytes: int) -> None:
        self._database = database
        self._max_bytes = max_bytes

    def add(self, records: Sequence[telemetry_pb2.TelemetryRecord], *, lost: int = 0) -> None:
        """Keep records; the oldest of all give way to the newest, and are counted.

        Args:
            records: oldest first.
            lost: records that were lost before they came here.

        Raises:
            StorageError: the disk refuses; none is kept.
        """
        statements: list[tuple[str, Sequence[Value]]] = []
        for record in records:
            encoded = record.SerializeToString()
            statements.append(
                (
                    "INSERT INTO telemetry (recorded_ms, size, record) VALUES (?, ?, ?)",
                    (record.recorded_ms, len(encoded) + ROW_BYTES, encoded),
                )
            )
        waiting = self.bytes_waiting() + sum(len(record.SerializeToString()) + ROW_BYTES for record in records)
        if waiting > self._max_bytes:
            statements.append(
                (
                    "DELETE FROM telemetry WHERE number <= (SELECT number FROM ("
                    "SELECT number, SUM(size) OVER (ORDER BY number DESC) AS kept FROM telemetry)"
                    " WHERE kept > ? ORDER BY number DESC LIMIT 1)",
                    (int(self._max_bytes * _ROOM),),
                )
            )
            statements.append((_COUNT_CHANGED, (_LOST,)))
        if lost:
            statements.append((_COUNT_CHANGED.replace("changes()", str(int(lost))), (_LOST,)))
        self._database.change_all(statements)

    def drop_old(self, *, now_ms: int) -> None:
        """Delete what the cloud would no longer take, and count it.

        Raises:
            StorageError: the disk refuses.
        """
        oldest = now_ms - MAX_AGE_DAYS * 86_400_000
        self._database.change_all(
            [("DELETE FROM telemetry WHERE recorded_ms <= ?", (oldest,)), (_COUNT_CHANGED, (_LOST,))]
        )

    def own_up(self, *, now_s: float) -> None:
        """Make a record of what was lost, if anything was.

        Raises:
            StorageError: the disk refuses.
        """
        lost = self.lost()
        if not lost:
            return
        record = curated("lost", recorded_s=now_s, numbers={"records": lost})
        encoded = record.SerializeToString()
        self._database.change_all(
            [
                (
                    "INSERT INTO telemetry (recorded_ms, size, record) VALUES (?, ?, ?)",
                    (record.recorded_ms, len(encoded) + ROW_BYTES, encoded),
                ),
                (
                    "UPDATE kept SET value = CAST(CAST(value AS INTEGER) - ? AS TEXT) WHERE key = ?",
                    (lost, _LOST),
                ),
            ]
        )

    def batch(self, *, at_most: int = MAX_RECORDS) -> list[Waiting]:
        """The oldest records, as many as go into one call.

        Raises:
            StorageError: the database cannot be read.
        """
        rows = self._database.query(
            "SELECT number, record FROM telemetry ORDER BY number LIMIT ?", (min(at_most, MAX_RECORDS),)
        )
        found: list[Waiting] = []
        size = 0
        for number, encoded in rows:
            assert isinstance(number, int)  # as the columns are declared
            assert isinstance(encoded, bytes)
            size += len(encoded) + 8
            if found and size > MAX_BATCH_BYTES:
                break
            found.append(Waiting(number, telemetry_pb2.TelemetryRecord.FromString(encoded)))
        return found

    def delete(self, waiting: Sequence[Waiting], *, lost: bool = False) -> None:
        """Forget records that the cloud has, or that it never will take (`lost`).

        Raises:
            StorageError: the disk refuses.
        """
        marks = ",".join("?" * len(waiting))
        rows = tuple(item.row for item in waiting)
        statements: list[tuple[str, Sequence[Value]]] = [(f"DELETE FROM telemetry WHERE number IN ({marks})", rows)]
        if lost:
            statements.append((_COUNT_CHANGED, (_LOST,)))
        self._database.change_all(statements)

    def clear(self) -> None:
        """Forget everything, also what was lost.

        Raises:
            StorageError: the disk refuses.
        """
        self._database.change_all([("DELETE FROM telemetry", ()), ("DELETE FROM kept WHERE key = ?", (_LOST,))])

    def count(self) -> int:
        """Records that wait. Raises `StorageError`."""
        return int(self._database.query("SELECT COUNT(*) FROM telemetry")[0][0] or 0)

    def bytes_waiting(self) -> int:
        """Bytes that wait. Raises `StorageError`."""
        return int(self._database.query("SELECT COALESCE(SUM(size), 0) FROM telemetry")[0][0] or 0)

    def lost(self) -> int:
        """Records lost since the last that said so. Raises `StorageError`."""
        rows = self._database.query("SELECT value FROM kept WHERE key = ?", (_LOST,))
        return int(rows[0][0] or 0) if rows else 0

    def all(self) -> list[telemetry_pb2.TelemetryRecord]:
        """Every record that waits, oldest first. Raises `StorageError`."""
        rows = self._database.query("SELECT record FROM telemetry ORDER BY number")
        return [telemetry_pb2.TelemetryRecord.FromString(row[0]) for row in rows if isinstance(row[0], bytes)]

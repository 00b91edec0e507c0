"""The phone's one SQLite file: opening, migrating, and surviving a corrupt file or a full disk.

A file that is no database, or a damaged one, is set aside as ``<name>.corrupt-N`` and a fresh one takes its place:
what it held may be lost, the daemon goes on. A disk that is full or read-only raises `StorageError` and leaves the
connection usable, so that the caller can go on without storing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from shared.errors import StorageError

Value: TypeAlias = str | int | float | bytes | None
Row: TypeAlias = tuple[Value, ...]

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY,
        wall_time REAL NOT NULL,
        frame_id INTEGER NOT NULL,
        region_id INTEGER NOT NULL,
        escalate INTEGER NOT NULL,
        rule TEXT NOT NULL,
        reason TEXT NOT NULL,
        gain REAL NOT NULL,
        price REAL NOT NULL,
        bytes_out INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        cloud_ms REAL,
        recognition REAL NOT NULL,
        script REAL NOT NULL,
        language REAL NOT NULL,
        translation REAL NOT NULL,
        engine TEXT NOT NULL,
        source TEXT NOT NULL,
        target TEXT NOT NULL,
        text TEXT
    );
    CREATE INDEX ledger_by_time ON ledger (wall_time);
    CREATE TABLE translations (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL,
        used INTEGER NOT NULL
    );
    CREATE INDEX translations_by_use ON translations (used);
    CREATE TABLE consent (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        until REAL NOT NULL
    );
    """,
    """
    ALTER TABLE ledger ADD COLUMN action TEXT NOT NULL DEFAULT 'keep';
    ALTER TABLE ledger ADD COLUMN certified INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE ledger ADD COLUMN right_chance REAL;
    ALTER TABLE ledger ADD COLUMN helped_chance REAL;
    ALTER TABLE ledger ADD COLUMN harmed_chance REAL;
    ALTER TABLE ledger ADD COLUMN policy TEXT;
    ALTER TABLE ledger ADD COLUMN network TEXT;
    ALTER TABLE ledger ADD COLUMN cloud TEXT;
    ALTER TABLE ledger ADD COLUMN joules REAL;
    ALTER TABLE ledger ADD COLUMN held_ms REAL;
    ALTER TABLE ledger ADD COLUMN hedged INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE ledger ADD COLUMN bytes_in INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE ledger ADD COLUMN budget_time REAL NOT NULL DEFAULT 0;
    UPDATE ledger SET action = 'escalate' WHERE escalate = 1;
    UPDATE ledger SET budget_time = wall_time;
    CREATE INDEX ledger_by_budget_time ON ledger (budget_time, bytes_out) WHERE bytes_out > 0;
    ALTER TABLE consent ADD COLUMN given REAL
    """,
    """
    ALTER TABLE ledger ADD COLUMN arms TEXT;
    CREATE TABLE telemetry (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        recorded_ms INTEGER NOT NULL,
        size INTEGER NOT NULL,
        record BLOB NOT NULL
    );
    CREATE TABLE kept (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE places (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        cell INTEGER NOT NULL,
        target TEXT NOT NULL,
        shared INTEGER NOT NULL,
        key TEXT NOT NULL,
        text TEXT NOT NULL,
        translation TEXT NOT NULL,
        source TEXT NOT NULL,
        engine TEXT NOT NULL,
        picture INTEGER,
        trust REAL NOT NULL,
        devices INTEGER NOT NULL,
        day INTEGER NOT NULL,
        waiting INTEGER NOT NULL DEFAULT 0,
        UNIQUE (cell, target, shared, key)
    );
    CREATE INDEX places_by_day ON places (day);
    CREATE INDEX places_waiting ON places (waiting) WHERE waiting > 0;
    CREATE TABLE place_lookups (
        cell INTEGER NOT NULL,
        target TEXT NOT NULL,
        day INTEGER NOT NULL,
        PRIMARY KEY (cell, target)
    ) WITHOUT ROWID
    """,
)
"""Script number N brings a file from schema version N to N + 1. Only ever append; no semicolons within a statement."""

_BUSY_TIMEOUT_S: Final = 0.5
"""How long to wait for another process (`wayword-phone ledger`) to let go of the file."""
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database:
    """One connection to the phone's database, for the event loop and the thread that reads signs alike.

    Args:
        path: the file; its folder is made when missing.
        on_set_aside: called with the new name of a corrupt file that was set aside.
        max_pages: cap on the size of the file, in pages of 4096 bytes; None for SQLite's own.
        read_only: look at a file that a daemon may be using; nothing is made, migrated or set aside.

    Raises:
        StorageError: the file cannot be opened or made, or a newer version of Wayword wrote it.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_set_aside: Callable[[Path], None] | None = None,
        max_pages: int | None = None,
        read_only: bool = False,
    ) -> None:
        self._path = path
        self._on_set_aside = on_set_aside
        self._max_pages = max_pages
        self._read_only = read_only
        self._lock = threading.Lock()
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot("use", error) from error
        self._connection = self._open_or_replace()

    @property
    def path(self) -> Path:
        """Where the database is."""
        return self._path

    def execute(self, statement: str, values: Sequence[Value] = ()) -> int:
        """Run one statement that changes something, in a transaction of its own.

        Returns:
            The row id of an INSERT, and what SQLite says for other statements.

        Raises:
            StorageError: the disk is full or read-only, or the file stays locked.
        """
        return self._write(statement, values).lastrowid or 0

    def change(self, statement: str, values: Sequence[Value] = ()) -> int:
        """Run one statement that changes rows, in a transaction of its own; returns how many it changed.

        Raises:
            StorageError: the disk is full or read-only, or the file stays locked.
        """
        return self._write(statement, values).rowcount

    def change_all(self, statements: Sequence[tuple[str, Sequence[Value]]]) -> None:
        """Run several statements in one transaction: all of them count, or none.

        Raises:
            StorageError: the disk is full or read-only, or the file stays locked.
        """
        with self._lock:
            try:
                self._execute_all(statements)
                return
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise self._cannot("write", error) from error
            self._replace()
            try:
                self._execute_all(statements)
            except sqlite3.Error as error:
                raise self._cannot("write", error) from error

    def query(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        """Rows of a SELECT.

        Raises:
            StorageError: the file cannot be read.
        """
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise self._cannot("read", error) from error
            self._replace()
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._cannot("read", error) from error

    def columns(self, table: str) -> frozenset[str]:
        """Names of a table's columns: fewer than this version's in an older file that was opened to be read only.

        Raises:
            StorageError: the file cannot be read.
        """
        return frozenset(str(row[1]) for row in self.query(f"PRAGMA table_info({table})"))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _write(self, statement: str, values: Sequence[Value]) -> sqlite3.Cursor:
        with self._lock:
            try:
                return self._execute(statement, values)
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise self._cannot("write", error) from error
            self._replace()
            try:
                return self._execute(statement, values)
            except sqlite3.Error as error:
                raise self._cannot("write", error) from error

    def _execute(self, statement: str, values: Sequence[Value]) -> sqlite3.Cursor:
        with self._connection:
            return self._connection.execute(statement, values)

    def _execute_all(self, statements: Sequence[tuple[str, Sequence[Value]]]) -> None:
        with self._connection:
            self._connection.execute("BEGIN")
            for statement, values in statements:
                self._connection.execute(statement, values)

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.Error as error:
            if not _is_damage(error) or self._read_only:
                raise self._cannot("open", error) from error
        self._set_aside()
        try:
            return self._open()
        except sqlite3.Error as error:
            raise self._cannot("open", error) from error

    def _replace(self) -> None:
        if self._read_only:
            raise StorageError(f"the database {self._path} is damaged")
        self._connection.close()
        self._connection = self._open_or_replace()

    def _open(self) -> sqlite3.Connection:
        # `_lock` keeps one thread's transaction apart from another's.
        existed = self._path.exists()
        uri = f"{self._path.absolute().as_uri()}?mode={'ro' if self._read_only else 'rwc'}"
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
        try:
            if self._read_only:
                # An older file is read as it is: looking must not need a daemon to have started since the update.
                self._check_version(connection, oldest=1)
                return connection
            connection.execute("PRAGMA journal_mode = WAL")
            # With WAL, NORMAL may lose the last rows to a power cut, but never damages the file.
            connection.execute("PRAGMA synchronous = NORMAL")
            if self._max_pages is not None:
                connection.execute(f"PRAGMA max_page_count = {int(self._max_pages)}")
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise _Damaged("quick_check found damage")
            self._migrate(connection)
        except BaseException:
            connection.close()
            if not existed:
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            raise
        return connection

    def _check_version(self, connection: sqlite3.Connection, *, oldest: int) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise StorageError(
                f"the database {self._path} is of schema version {version}, written by a newer Wayword",
                hint="update Wayword, or give another file with --database",
            )
        if version < oldest:
            raise StorageError(f"{self._path} is no database of this version", hint="start the daemon on it once")
        return version

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if self._check_version(connection, oldest=0) == len(MIGRATIONS):
            return
        # All or nothing; of two processes that open an old file at once, the second finds the work done.
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = self._check_version(connection, oldest=0)
            for statement in filter(str.strip, ";".join(MIGRATIONS[version:]).split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        except BaseException:
            connection.rollback()
            raise
        connection.commit()

    def _set_aside(self) -> None:
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.corrupt-{number}")).exists():
            number += 1
        try:
            self._path.rename(aside)
            # A write-ahead log that outlives its database would be replayed into the fresh one.
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot("set aside", error) from error
        if self._on_set_aside is not None:
            self._on_set_aside(aside)

    def _cannot(self, do: str, error: sqlite3.Error | OSError) -> StorageError:
        what = error.strerror if isinstance(error, OSError) else str(error)
        return StorageError(
            f"cannot {do} the database {self._path}: {what}",
            hint="free some disk space or give another file with --database",
        )


class _Damaged(sqlite3.DatabaseError):
    """`PRAGMA quick_check` reports damage as a row, not as an error."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _is_damage(error: sqlite3.Error) -> bool:
    # The low byte is the primary result code (sqlite.org/rescode.html).
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED

"""Votes on signs in one SQLite file: what a household or a single replica uses.

The file is made with the first vote, so that a service nobody contributes to leaves nothing behind. Reading and writing
have a thread and a connection each: with a write-ahead log a look-up never waits for a vote.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from cloud.places.store import Caps, Taken, digest_of
from shared.errors import StorageError
from shared.places.cells import cell_name, cell_number
from shared.places.reading import PlaceEngine, PlaceReading
from shared.places.trust import Vote

T = TypeVar("T")

SCHEMA: Final[tuple[str, ...]] = (
    """
    CREATE TABLE signs (
        id INTEGER PRIMARY KEY,
        cell INTEGER NOT NULL,
        target TEXT NOT NULL,
        digest BLOB NOT NULL,
        source TEXT NOT NULL,
        engine TEXT NOT NULL,
        text TEXT NOT NULL,
        translation TEXT NOT NULL,
        UNIQUE (cell, target, digest)
    );
    CREATE TABLE votes (
        sign INTEGER NOT NULL REFERENCES signs (id),
        device BLOB NOT NULL,
        day INTEGER NOT NULL,
        picture INTEGER,
        PRIMARY KEY (sign, device)
    ) WITHOUT ROWID;
    CREATE INDEX votes_by_device ON votes (device);
    CREATE INDEX votes_by_day ON votes (day);
    CREATE TABLE budgets (
        device BLOB NOT NULL,
        day INTEGER NOT NULL,
        used INTEGER NOT NULL,
        PRIMARY KEY (device, day)
    ) WITHOUT ROWID
    """,
)
"""Script number N brings a file from version N to N + 1. Only ever append; no semicolons within a statement."""
_BUSY_S: Final = 1.0
"""How long a vote waits for another process that writes to the file."""
_SIGNED: Final = 1 << 63
"""SQLite's integers are signed; hashes are not."""
_AT_ONCE: Final = 500
"""Values in one statement: below SQLite's least limit on variables, 999."""


class SqlitePlaces:
    """A `PlaceStore` in a file.

    Args:
        path: of the file; its folder is made when the first vote comes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = _Lane(path, "wayword-places-read", may_create=False)
        self._writer = _Lane(path, "wayword-places-write", may_create=True)

    async def votes(self, cells: Sequence[str], target: str, *, since: int) -> list[Vote]:
        """See `PlaceStore.votes`."""
        numbers = [cell_number(cell) for cell in cells]

        def read(connection: sqlite3.Connection) -> list[Vote]:
            found: list[Vote] = []
            for start in range(0, len(numbers), _AT_ONCE):
                part = numbers[start : start + _AT_ONCE]
                rows = connection.execute(
                    "SELECT cell, source, engine, text, translation, device, day, picture FROM signs"
                    f" JOIN votes ON votes.sign = signs.id WHERE cell IN ({_marks(part)}) AND target = ? AND day >= ?",
                    (*part, target, since),
                )
                found += [_vote(row, target) for row in rows]
            return found

        return await self._reader.run(read, empty=[])

    async def put(self, vote: Vote, *, instead: Sequence[Vote], caps: Caps) -> Taken:
        """See `PlaceStore.put`."""

        def write(connection: sqlite3.Connection) -> Taken:
            used = connection.execute(
                "INSERT INTO budgets VALUES (?, ?, 1)"
                " ON CONFLICT (device, day) DO UPDATE SET used = used + 1 RETURNING used",
                (vote.device, vote.day),
            ).fetchone()[0]
            if used > caps.device_a_day:
                raise _Undone(Taken.DEVICE_FULL)
            for old in instead:
                _remove(connection, old)
            reading = vote.reading
            cell = cell_number(reading.cell)
            held = connection.execute(
                "SELECT COUNT(*) FROM signs JOIN votes ON votes.sign = signs.id WHERE cell = ? AND target = ?",
                (cell, reading.target),
            ).fetchone()[0]
            if held >= caps.cell:
                raise _Undone(Taken.CELL_FULL)
            connection.execute(
                "INSERT INTO signs (cell, target, digest, source, engine, text, translation)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (cell, target, digest) DO NOTHING",
                (
                    cell,
                    reading.target,
                    digest_of(reading),
                    reading.source,
                    reading.engine.value,
                    reading.text,
                    reading.translation,
                ),
            )
            connection.execute(
                "INSERT OR REPLACE INTO votes SELECT id, ?, ?, ? FROM signs"
                " WHERE cell = ? AND target = ? AND digest = ?",
                (
                    vote.device,
                    vote.day,
                    _signed(reading.picture_hash),
                    cell,
                    reading.target,
                    digest_of(reading),
                ),
            )
            return Taken.YES

        try:
            return await self._writer.run(write, empty=Taken.YES)
        except _Undone as undone:
            return undone.taken

    async def withdraw(self, devices: Sequence[bytes]) -> int:
        """See `PlaceStore.withdraw`."""

        def write(connection: sqlite3.Connection) -> int:
            removed = 0
            for device in devices:
                signs = connection.execute("SELECT sign FROM votes WHERE device = ?", (device,)).fetchall()
                removed += connection.execute("DELETE FROM votes WHERE device = ?", (device,)).rowcount
                connection.execute("DELETE FROM budgets WHERE device = ?", (device,))
                for (sign,) in signs:
                    _drop_unread(connection, sign)
            return removed

        return await self._writer.run(write, empty=0) if self._path.exists() else 0

    async def expire(self, before: int) -> int:
        """See `PlaceStore.expire`."""

        def write(connection: sqlite3.Connection) -> int:
            removed = connection.execute("DELETE FROM votes WHERE day < ?", (before,)).rowcount
            connection.execute("DELETE FROM budgets WHERE day < ?", (before,))
            if removed:
                connection.execute("DELETE FROM signs WHERE NOT EXISTS (SELECT 1 FROM votes WHERE sign = signs.id)")
            return int(removed)

        return await self._writer.run(write, empty=0) if self._path.exists() else 0

    async def close(self) -> None:
        """See `PlaceStore.close`."""
        await self._reader.close()
        await self._writer.close()


class _Undone(Exception):
    """Rolls a vote back that a cap has no room for."""

    def __init__(self, taken: Taken) -> None:
        super().__init__(taken.value)
        self.taken = taken


class _Lane:
    """One thread with one connection.

    Args:
        path: of the file.
        name: of the thread.
        may_create: whether a missing file is made.
    """

    def __init__(self, path: Path, name: str, *, may_create: bool) -> None:
        self._path = path
        self._may_create = may_create
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T], *, empty: T) -> T:
        """Do something in one transaction; `empty` where there is no file and none may be made.

        Raises:
            StorageError: SQLite or the disk refuses.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work, empty)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _run(self, work: Callable[[sqlite3.Connection], T], empty: T) -> T:
        try:
            connection = self._opened()
            if connection is None:
                return empty
            if not self._may_create:
                return work(connection)
            # At once, not when the first row is written: two processes that both read first could not both go on.
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            return result
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"the places in {self._path} cannot be used: {error}") from error

    def _opened(self) -> sqlite3.Connection | None:
        if self._connection is not None:
            return self._connection
        if not self._path.exists():
            if not self._may_create:
                return None
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _migrate(connection, self._path)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(SCHEMA):
            raise StorageError(f"the places in {path} were written by a newer Wayword", hint="update Wayword")
        for statement in filter(str.strip, ";".join(SCHEMA[version:]).split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(SCHEMA)}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _remove(connection: sqlite3.Connection, vote: Vote) -> None:
    reading = vote.reading
    row = connection.execute(
        "SELECT id FROM signs WHERE cell = ? AND target = ? AND digest = ?",
        (cell_number(reading.cell), reading.target, digest_of(reading)),
    ).fetchone()
    if row is not None:
        connection.execute("DELETE FROM votes WHERE sign = ? AND device = ?", (row[0], vote.device))
        _drop_unread(connection, row[0])


def _drop_unread(connection: sqlite3.Connection, sign: int) -> None:
    """A text that nobody vouches for any more is gone."""
    connection.execute(
        "DELETE FROM signs WHERE id = ? AND NOT EXISTS (SELECT 1 FROM votes WHERE sign = ?)", (sign, sign)
    )


def _vote(row: tuple[int, str, str, str, str, bytes, int, int | None], target: str) -> Vote:
    cell, source, engine, text, translation, device, day, picture = row
    return Vote(
        PlaceReading(
            cell=cell_name(cell),
            text=text,
            translation=translation,
            source=source,
            target=target,
            picture_hash=None if picture is None else picture % (2 * _SIGNED),
            engine=PlaceEngine(engine),
        ),
        device,
        day,
    )


def _signed(picture: int | None) -> int | None:
    return None if picture is None else picture - 2 * _SIGNED if picture >= _SIGNED else picture


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
